#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/mask/detail/numbers.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup masks
/// \{

/// Documents packed into one sequence, a number for each token: a query sees the keys of its own
/// document,
///   id_q(i) = id_k(j)
/// Of any lengths; documents of one length are same_segment.
///
/// \see Krell et al., "Efficient Sequence Packing without Cross-contamination", 2021, section 3.2.
/// Views of the numbers, which may be any and must not change. Where those of the keys never
/// decrease, as packing leaves them, tiles of other documents cost nothing: the keys of a tile of
/// queries are found in O(log m). Numbers in any other order are asked tile by tile.
/// Cost: one pass over the numbers when it is made.
class documents {
 public:
  using policy_kind = mask_kind;

  /// Of self-attention.
  explicit documents(softlook::detail::kept_numbers ids) : documents(ids, ids) {}
  documents(softlook::detail::kept_numbers of_queries, softlook::detail::kept_numbers of_keys)
      : queries_(of_queries),
        keys_(of_keys),
        sorted_queries_(std::is_sorted(queries_.begin(), queries_.end())),
        sorted_keys_(std::is_sorted(keys_.begin(), keys_.end())) {}

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem) const {
    return queries_[std::size_t(i)] == keys_[std::size_t(j)];
  }
  [[nodiscard]] range key_range(range q, problem p) const {
    if (q.empty()) return {};
    if (!sorted_keys_) return {0, p.keys};
    const extent ids = extent_of(queries_, q, sorted_queries_);
    return {std::lower_bound(keys_.begin(), keys_.end(), ids.least) - keys_.begin(),
            std::upper_bound(keys_.begin(), keys_.end(), ids.most) - keys_.begin()};
  }
  /// Exact where the numbers of both never decrease.
  [[nodiscard]] coverage coverage_of(range q, range k, problem) const {
    const extent of_q = extent_of(queries_, q, sorted_queries_);
    const extent of_k = extent_of(keys_, k, sorted_keys_);
    if (of_q.most < of_k.least || of_k.most < of_q.least) return coverage::none;
    if (of_q.least == of_q.most && of_k == of_q) return coverage::full;
    return sorted_queries_ && sorted_keys_ && !meet(q, k) ? coverage::none : coverage::partial;
  }
  /// \throws shape_error unless there is a number for each query and each key.
  void check(const char* where, problem p) const {
    softlook::detail::check_sizes(where, "masks::documents of_queries.size()",
                                  static_cast<long long>(queries_.size()), "Q.rows()", p.queries,
                                  "there is a number for each query");
    softlook::detail::check_sizes(where, "masks::documents of_keys.size()",
                                  static_cast<long long>(keys_.size()), "K.rows()", p.keys,
                                  "there is a number for each key");
  }

 private:
  using numbers = std::span<const std::int32_t>;

  struct extent {
    std::int32_t least;
    std::int32_t most;
    friend constexpr bool operator==(extent, extent) = default;
  };

  [[nodiscard]] static extent extent_of(numbers ids, range r, bool sorted) {
    const std::int32_t* const first = ids.data() + r.begin;
    const std::int32_t* const end = ids.data() + r.end;
    if (sorted) return {*first, *(end - 1)};
    extent all{*first, *first};
    for (const std::int32_t* id = first; id != end; ++id)
      all = {std::min(all.least, *id), std::max(all.most, *id)};
    return all;
  }
  /// Whether two sorted parts share a number.
  [[nodiscard]] bool meet(range q, range k) const {
    index i = q.begin, j = k.begin;
    while (i < q.end && j < k.end) {
      const std::int32_t a = queries_[std::size_t(i)], b = keys_[std::size_t(j)];
      if (a == b) return true;
      if (a < b)
        ++i;
      else
        ++j;
    }
    return false;
  }

  numbers queries_;
  numbers keys_;
  bool sorted_queries_;
  bool sorted_keys_;
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
