#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup core Options, errors and scratch
/// What calls of all kinds share.
/// \{

using index = Eigen::Index;

/// Half-open interval [begin, end) of query or key positions.
struct range {
  index begin = 0;
  index end = 0;
  [[nodiscard]] constexpr index count() const { return end > begin ? end - begin : 0; }
  [[nodiscard]] constexpr bool empty() const { return end <= begin; }
  friend constexpr bool operator==(range, range) = default;
};

[[nodiscard]] constexpr range intersection(range a, range b) {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end)};
}

/// The smallest interval that holds both.
[[nodiscard]] constexpr range hull(range a, range b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

/// How much of a tile of (query, key) pairs a mask lets through. `partial` is always correct.
enum class coverage { none, partial, full };

/// What a policy may know of the call it is asked in: the sizes of the problem, the query head, and
/// of a batch of sequences the number of the one that the rows belong to.
struct problem {
  std::int32_t queries = 0;
  std::int32_t keys = 0;
  std::int32_t head = 0;
  std::int32_t heads = 1;
  std::int32_t sequence = 0;  // of a batch
};

/// Instruction sets the kernels are compiled for; `baseline` is what the compiler may assume.
enum class instruction_set { baseline, avx2, avx512 };

[[nodiscard]] constexpr const char* name_of(instruction_set isa) {
  switch (isa) {
    case instruction_set::avx512:
      return "avx512";
    case instruction_set::avx2:
      return "avx2";
    case instruction_set::baseline:
      break;
  }
  return "baseline";
}

/// The ways to compute one attention.
///   naive        stores the scores (n×m); the baseline
///   tiled        FlashAttention's online softmax over tiles; scratch independent of n and m
///   few_queries  reads every key and value once, for a handful of queries (decoding)
enum class kernel { naive, tiled, few_queries };

[[nodiscard]] constexpr const char* name_of(kernel which) {
  switch (which) {
    case kernel::naive:
      return "naive";
    case kernel::tiled:
      return "tiled";
    case kernel::few_queries:
      break;
  }
  return "few_queries";
}

/// Keys in a tile (rounded up to whole register rows) and register tiles of queries in a task.
struct tile_shape {
  index keys = 0;
  index query_tiles = 0;
};

class workspace;

/// Everything that is not a score, a transform, a mask or an executor. Unset members mean "choose".
struct options {
  std::optional<double> scale{};             ///< multiplies Q Kᵀ; 1/√d for scaled_dot, else 1
  std::optional<instruction_set> isa{};      ///< force an instruction set
  std::optional<softlook::kernel> kernel{};  ///< pin the kernel: bits then never depend on n
  std::optional<tile_shape> tile{};          ///< force the tile shape
  softlook::workspace* workspace = nullptr;  ///< scratch kept between calls; one call at a time
};

/// A matrix in memory: pointer, sizes and a stride for each direction.
template <class Element>
struct strided_view {
  Element* data = nullptr;
  index rows = 0;
  index cols = 0;
  index row_stride = 0;
  index col_stride = 0;

  [[nodiscard]] Element& operator()(index i, index j) const {
    return data[i * row_stride + j * col_stride];
  }
  [[nodiscard]] strided_view columns(index first, index count) const {
    return {rows > 0 && count > 0 ? data + first * col_stride : data, rows, count, row_stride,
            col_stride};
  }
  [[nodiscard]] strided_view rows_from(index first, index count) const {
    return {cols > 0 && count > 0 ? data + first * row_stride : data, count, cols, row_stride,
            col_stride};
  }
  [[nodiscard]] strided_view transpose() const {
    return {data, cols, rows, col_stride, row_stride};
  }
};

template <class T>
using matrix_view = strided_view<const T>;
template <class T>
using mutable_matrix_view = strided_view<T>;

/// \}

namespace detail {

template <class T, class U>
struct type_later {
  using type = U;
};
/// U in a template on T. What is made of a type that depends on nothing is compiled with the
/// template, in every file; what is made of this one, with a call.
template <class T, class U>
using later = typename type_later<T, U>::type;

/// What has been written, to be read.
template <class T>
[[nodiscard]] constexpr matrix_view<T> as_input(const mutable_matrix_view<T>& x) {
  return {x.data, x.rows, x.cols, x.row_stride, x.col_stride};
}

/// The first and the last element of a matrix in memory.
template <class T>
struct memory_ends {
  const T* first;
  const T* last;
};

/// Of a matrix that is not empty.
template <class T>
[[nodiscard]] memory_ends<T> ends_of(const matrix_view<T>& x) {
  const index r = (x.rows - 1) * x.row_stride, c = (x.cols - 1) * x.col_stride;
  if (r >= 0 && c >= 0) return {x.data, x.data + r + c};
  return {x.data + std::min<index>(r, 0) + std::min<index>(c, 0),
          x.data + std::max<index>(r, 0) + std::max<index>(c, 0)};
}

/// Whether all of one matrix lies before all of the other.
template <class T>
[[nodiscard]] bool lie_apart(const memory_ends<T>& a, const memory_ends<T>& b) {
  const std::less<const T*> before;
  return before(a.last, b.first) || before(b.last, a.first);
}
/// Neither is empty.
template <class T>
[[nodiscard]] bool lie_apart(const matrix_view<T>& a, const matrix_view<T>& b) {
  return lie_apart(ends_of(a), ends_of(b));
}

/// A vector of either orientation as one row.
template <class T>
[[nodiscard]] constexpr matrix_view<T> as_row(matrix_view<T> x) {
  return x.rows == 1 ? x : x.transpose();
}

}  // namespace detail

SOFTLOOK_NAMESPACE_END
