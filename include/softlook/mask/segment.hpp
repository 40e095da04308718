#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/mask/detail/band.hpp"
#include "softlook/mask/detail/divider.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup sparse_masks
/// \{

namespace detail {
/// Lengths beyond any position are one segment.
[[nodiscard]] constexpr softlook::detail::divider segments_of(index length) {
  return softlook::detail::divider(softlook::detail::band::clamp(length));
}
}  // namespace detail

/// Queries and keys of one segment,
///   ⌊i / length⌋ = ⌊j / length⌋:
/// documents packed one after another, or A⁽¹⁾ of fixed attention.
///
/// \see Child et al., "Generating Long Sequences with Sparse Transformers", 2019, section 4.3.
struct same_segment {
  using policy_kind = mask_kind;
  index length = 1;

  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem) const {
    return i / length == j / length;
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    if (q.empty()) return {};
    return intersection({q.begin / length * length, ((q.end - 1) / length + 1) * length},
                        {0, p.keys});
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem) const {
    // In 32 bits: a division of 64 takes several times as long, and tiles are asked often.
    const auto segment = [size = softlook::detail::band::clamp(length)](index position) {
      return static_cast<std::int32_t>(position) / size;
    };
    const std::int32_t q_first = segment(q.begin), q_last = segment(q.end - 1);
    const std::int32_t k_first = segment(k.begin), k_last = segment(k.end - 1);
    if (q_last < k_first || k_last < q_first) return coverage::none;
    return q_first == q_last && k_first == k_last ? coverage::full : coverage::partial;
  }
  /// \throws argument_error for a length below 1.
  void check(const char* where, problem) const {
    if (length < 1)
      softlook::detail::raise_argument(where, "masks::same_segment.length", double(length),
                                       "a segment holds at least 1 position");
  }

  struct lookup_type {
    using policy_kind = mask_kind;
    softlook::detail::divider segment;
    [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem) const {
      return segment(i) == segment(j);
    }
    [[nodiscard]] constexpr range key_range(range, problem p) const { return {0, p.keys}; }
    [[nodiscard]] constexpr coverage coverage_of(range, range, problem) const {
      return coverage::partial;
    }
  };
  [[nodiscard]] constexpr lookup_type lookup_form() const { return {detail::segments_of(length)}; }
};

/// The last `count` keys of every segment, for every query:
///   j mod length ≥ length − count
/// A⁽²⁾ of fixed attention: those positions sum up their segment for later ones.
///
/// \see Child et al., 2019, section 4.3.
struct segment_ends {
  using policy_kind = mask_kind;
  index length = 1;
  index count = 1;

  [[nodiscard]] constexpr bool allows(std::int32_t, std::int32_t j, problem) const {
    return j % length >= length - count;
  }
  [[nodiscard]] constexpr range key_range(range, problem p) const {
    return {std::min<index>(length - count, p.keys), p.keys};
  }
  [[nodiscard]] constexpr coverage coverage_of(range, range k, problem) const {
    const index live = ends_before(k.end) - ends_before(k.begin);
    if (live == 0) return coverage::none;
    return live == k.count() ? coverage::full : coverage::partial;
  }
  /// \throws argument_error unless 1 ≤ count ≤ length.
  void check(const char* where, problem) const {
    if (length < 1)
      softlook::detail::raise_argument(where, "masks::segment_ends.length", double(length),
                                       "a segment holds at least 1 position");
    if (count < 1 || count > length)
      softlook::detail::raise_argument(
          where, "masks::segment_ends.count", double(count),
          "it must lie between 1 and the length of a segment, " + std::to_string(length));
  }

  struct lookup_type {
    using policy_kind = mask_kind;
    softlook::detail::divider segment;
    std::int32_t length;
    std::int32_t first;
    [[nodiscard]] constexpr bool allows(std::int32_t, std::int32_t j, problem) const {
      return j - segment(j) * length >= first;
    }
    [[nodiscard]] constexpr range key_range(range, problem p) const { return {0, p.keys}; }
    [[nodiscard]] constexpr coverage coverage_of(range, range, problem) const {
      return coverage::partial;
    }
  };
  [[nodiscard]] constexpr lookup_type lookup_form() const {
    using softlook::detail::band;
    return {detail::segments_of(length), band::clamp(length), band::clamp(length - count)};
  }

 private:
  [[nodiscard]] constexpr index ends_before(index position) const {
    const std::int32_t size = softlook::detail::band::clamp(length);
    const auto j = static_cast<std::int32_t>(position);
    return index{j / size} * count + std::max<index>(j % size - (length - count), 0);
  }
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
