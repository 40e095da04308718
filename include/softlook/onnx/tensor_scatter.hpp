#pragma once

#include <algorithm>
#include <cstdint>

#include "softlook/onnx/detail/checks.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace onnx {

/// \addtogroup onnx
/// \{

/// `update` has the shape of `past_cache` but for the axis, on which it is not longer.
template <class Element>
struct tensor_scatter_inputs {
  tensor<const Element> past_cache;            ///< (B, …, rows, …)
  tensor<const Element> update;                ///< (B, …, new rows, …)
  tensor<const std::int64_t> write_indices{};  ///< (B): the first row to be written; else 0
};

/// linear: rows end within the cache. circular: they go on at its begin.
enum class scatter_mode { linear, circular };

struct tensor_scatter_attributes {
  index axis = -2;  ///< of the rows, counted from behind where negative; not the batch
  scatter_mode mode = scatter_mode::linear;
};

template <class Element>
struct tensor_scatter_outputs {
  tensor<Element> present_cache;  ///< of the shape of past_cache, whose memory it may be
};

namespace detail {

/// A cache as blocks of rows: `outer` of them in each sequence.
struct scatter_sizes {
  index sequences = 0;
  index outer = 0;
  index rows = 0;
  index new_rows = 0;
  index numbers = 0;  // in a row
};

template <class Element>
[[nodiscard]] scatter_sizes checked(const tensor_scatter_inputs<Element>& in,
                                    const tensor_scatter_attributes& a,
                                    const tensor_scatter_outputs<Element>& out) {
  const char* where = "onnx::tensor_scatter";
  require_given(where, "past_cache", in.past_cache);
  require_given(where, "update", in.update);
  require_given(where, "present_cache", out.present_cache);
  const extents &cache = in.past_cache.shape, &update = in.update.shape;
  const index rank = cache.rank(), axis = a.axis < 0 ? a.axis + rank : a.axis;
  if (axis < 1 || axis >= rank)
    raise_argument(
        where, "axis", double(a.axis),
        formatted("it is one of the %td axes of past_cache, but not the batch", rank).text);
  check_tensor(where, "past_cache", in.past_cache);
  check_tensor(where, "update", in.update, rank, "update has the rank of past_cache");
  for (index k = 0; k < rank; ++k)
    if (k != axis)
      check_extent(where, "update", update, k, "that of past_cache", cache[k],
                   "shapes differ on the axis alone");
  if (update[axis] > cache[axis])
    raise_sizes(where, formatted("update.shape[%td]", axis).text, update[axis],
                "that of past_cache", cache[axis], "there is no more to write than there is room");
  check_shape(where, "present_cache", out.present_cache, cache, "it has the shape of past_cache");
  if (out.present_cache.data != in.past_cache.data)
    check_apart(where, "present_cache", out.present_cache, "past_cache", in.past_cache);
  check_apart(where, "present_cache", out.present_cache, "update", in.update);
  const index last = a.mode == scatter_mode::linear ? cache[axis] - update[axis] : cache[axis] - 1;
  if (in.write_indices.is_given()) {
    check_shape(where, "write_indices", in.write_indices, {cache[0]},
                "there is an index for each sequence");
    check_apart(where, "present_cache", out.present_cache, "write_indices", in.write_indices);
    for (index s = 0; s < cache[0]; ++s)
      if (const std::int64_t first = in.write_indices.data[s]; first < 0 || first > last)
        raise_argument(where, formatted("write_indices[%td]", s).text, double(first),
                       formatted("it lies between 0 and %td, as the rows have to fit", last).text);
  }
  return {cache[0], cache.numbers(1, axis), cache[axis], update[axis],
          cache.numbers(axis + 1, rank)};
}

}  // namespace detail

/// ONNX TensorScatter, of opset 24: present_cache is past_cache with rows of each sequence s
/// written,
///   present[s, …, (w_s + r) mod rows, …] = update[s, …, r, …]
///
/// \see https://onnx.ai/onnx/operators/onnx__TensorScatter.html
/// A cache that the caller keeps, filled as keys and values come: with present_cache.data =
/// past_cache.data nothing but the new rows is written. Then nonpad_kv_seqlen of attention() says
/// how many rows there are. Element is any type that can be copied.
/// \throws shape_error unless shapes fit; argument_error for an axis that is not there or that of
///         the batch, an index with which rows do not fit (linear) or that lies outside the cache
///         (circular), or memory that overlaps otherwise. Nothing has been written then.
template <class Element>
void tensor_scatter(const tensor_scatter_inputs<Element>& in,
                    const tensor_scatter_attributes& attributes,
                    const tensor_scatter_outputs<Element>& out) {
  const detail::scatter_sizes s = detail::checked(in, attributes, out);
  Element* const cache = out.present_cache.data;
  if (cache != in.past_cache.data)
    std::copy_n(in.past_cache.data, in.past_cache.shape.numbers(), cache);
  const Element* from = in.update.data;
  if (s.rows == 0 || s.numbers == 0) return;
  for (index b = 0; b < s.sequences; ++b) {
    const index first = in.write_indices.is_given() ? index(in.write_indices.data[b]) : 0;
    const index until_end = std::min(s.rows - first, s.new_rows);
    for (index block = b * s.outer; block < (b + 1) * s.outer; ++block) {
      Element* const to = cache + block * s.rows * s.numbers;
      std::copy_n(from, until_end * s.numbers, to + first * s.numbers);
      std::copy_n(from + until_end * s.numbers, (s.new_rows - until_end) * s.numbers, to);
      from += s.new_rows * s.numbers;
    }
  }
}

/// \}

}  // namespace onnx
SOFTLOOK_NAMESPACE_END
