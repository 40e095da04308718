#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
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

/// Whether numbers of a mask, from `first` on, are all −∞.
template <class M>
[[nodiscard]] bool all_forbidden(const void* mask, index first, index count) {
  const M* const from = static_cast<const M*>(mask) + first;
  for (index j = 0; j < count; ++j)
    if (!(static_cast<double>(from[j]) == -std::numeric_limits<double>::infinity())) return false;
  return true;
}

/// Which keys there are for whom: lengths of the sequences, a window around the query's position,
/// and a mask of bool. Tiles that a mask fills with one value are found by reading it along its
/// rows, which costs next to nothing beside scores: masks that are causal or of blocks skip what
/// they forbid.
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
  /// A mask of numbers, whose −∞ a transform adds, and all_forbidden() of its type; or none.
  const void* added = nullptr;
  mask_strides added_at{};
  bool (*forbidden)(const void*, index first, index count) = nullptr;

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
    const range there = intersection(k, {0, end(p)});
    if (added && numbers_forbid(q, there, p)) return coverage::none;
    if (key_stride == 0) return whole ? coverage::full : coverage::partial;
    const coverage listed = listed_in(q, there, p);
    return listed == coverage::full && !whole ? coverage::partial : listed;
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
  /// Rows of a mask that is the same for all queries are one.
  [[nodiscard]] static range rows_of(const mask_strides& mask, range q) {
    return mask.query == 0 ? range{q.begin, q.begin + 1} : q;
  }
  [[nodiscard]] bool numbers_forbid(range q, range k, problem p) const {
    const range rows = rows_of(added_at, q);
    for (index i = rows.begin; i < rows.end; ++i)
      if (!forbidden(added, added_at.row(std::int32_t(i), p) + k.begin, k.count())) return false;
    return true;
  }
  [[nodiscard]] coverage listed_in(range q, range k, problem p) const {
    const range rows = rows_of(at, q);
    const bool first = allowed[at.row(std::int32_t(rows.begin), p) + k.begin];
    for (index i = rows.begin; i < rows.end; ++i)
      if (std::memchr(allowed + at.row(std::int32_t(i), p) + k.begin, first ? 0 : 1,
                      std::size_t(k.count())))
        return coverage::partial;
    return first ? coverage::full : coverage::none;
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
