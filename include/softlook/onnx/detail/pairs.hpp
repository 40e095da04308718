#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "softlook/onnx/tensor.hpp"

// Masks of ONNX Attention as policies: pairs that are left, and what is added to scores.

SOFTLOOK_NAMESPACE_BEGIN
namespace onnx::detail {

/// A mask of up to four dimensions, aligned at the right, beside (sequences, heads, queries, keys):
/// extents of 1 are repeated, but the last one is never.
struct mask_strides {
  index sequence = 0;
  index head = 0;
  index query = 0;
  index last_key = 0;  // keys behind it are as if it held −∞ for them

  mask_strides() = default;
  explicit mask_strides(const extents& shape) {
    const auto stride = [&](index from_behind) {
      const index axis = shape.rank() - from_behind;
      return axis < 0 || shape[axis] == 1 ? 0 : shape.numbers(axis + 1, shape.rank());
    };
    query = stride(2);
    head = stride(3);
    sequence = stride(4);
    last_key = shape.rank() > 0 ? std::max<index>(shape[shape.rank() - 1] - 1, 0) : 0;
  }
  /// Of the first key.
  [[nodiscard]] index row(std::int32_t i, problem p) const {
    return p.sequence * sequence + p.head * head + i * query;
  }
};

/// Which keys there are for whom: lengths of the sequences, a window around the query's position,
/// and a mask of bool.
struct allowed_pairs {
  using policy_kind = mask_kind;
  static constexpr bool everything = true;
  static constexpr index unbounded = std::numeric_limits<std::int32_t>::max();

  index queries = 0;
  index keys = 0;                         // that the mask speaks of
  const std::int32_t* lengths = nullptr;  // of the sequences: the last query is at the last key
  index past = 0;                         // else: keys before the first query
  index left = unbounded;
  index right = unbounded;
  const bool* allowed = &everything;
  mask_strides at{};
  index key_stride = 0;  // 0: there is no mask of bool

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    const std::int32_t from = j - i, last = std::int32_t(at.last_key);
    const bool attended = allowed[at.row(i, p) + (j < last ? j : last) * key_stride];
    return (int{from >= low(p)} & int{from <= high(p)} & int{j < end(p)} & int{attended}) != 0;
  }
  [[nodiscard]] range key_range(range q, problem p) const {
    return intersection({q.begin + low(p), q.end + high(p)}, {0, end(p)});
  }
  [[nodiscard]] coverage coverage_of(range q, range k, problem p) const {
    const index nearest = k.begin - (q.end - 1), farthest = (k.end - 1) - q.begin;
    if (k.begin >= end(p) || nearest > high(p) || farthest < low(p)) return coverage::none;
    const bool whole = nearest >= low(p) && farthest <= high(p) && k.end <= end(p);
    if (key_stride == 0) return whole ? coverage::full : coverage::partial;
    if (at.query != 0) return coverage::partial;
    return listed(intersection(k, {0, end(p)}), whole, p);
  }

 private:
  [[nodiscard]] static std::int32_t clamped(index x) {
    return std::int32_t(std::clamp<index>(x, -unbounded, unbounded));
  }
  [[nodiscard]] index offset(problem p) const {
    return lengths ? lengths[p.sequence] - queries : past;
  }
  [[nodiscard]] std::int32_t low(problem p) const {
    return left == unbounded ? std::int32_t(-unbounded) : clamped(offset(p) - left);
  }
  [[nodiscard]] std::int32_t high(problem p) const {
    return right == unbounded ? std::int32_t(unbounded) : clamped(offset(p) + right);
  }
  [[nodiscard]] std::int32_t end(problem p) const {
    return std::int32_t(lengths ? std::min<index>(lengths[p.sequence], keys) : keys);
  }
  /// Of a mask that is the same for all queries, such as that of padding.
  [[nodiscard]] coverage listed(range k, bool whole, problem p) const {
    const bool* const row = allowed + at.row(0, p);
    index count = 0;
    for (index j = k.begin; j < k.end; ++j) count += row[j] ? 1 : 0;
    if (count == 0) return coverage::none;
    return whole && count == k.count() ? coverage::full : coverage::partial;
  }
};

/// s ← s + M_ij; −∞ forbids the pair, whatever its score is.
template <class M>
struct added_mask {
  using policy_kind = transform_kind;
  const M* data = nullptr;
  mask_strides at{};

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    const std::int32_t last = std::int32_t(at.last_key);
    const S added = static_cast<S>(data[at.row(i, p) + (j < last ? j : last)]);
    return added == -std::numeric_limits<S>::infinity() ? added : s + added;
  }
};

}  // namespace onnx::detail
SOFTLOOK_NAMESPACE_END
