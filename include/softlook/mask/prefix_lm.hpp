#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/mask/detail/band.hpp"
#include "softlook/mask/detail/numbers.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup masks
/// \{

/// Which corner of the n×m matrix of pairs a causal diagonal goes through: j ≤ i, or j ≤ i + m − n.
enum class corner { top_left, bottom_right };

namespace detail {

/// The first `prefix` keys, and those up to the diagonal.
struct prefix_and_past {
  using policy_kind = mask_kind;
  std::int32_t prefix = 0;
  corner diagonal = corner::top_left;

  [[nodiscard]] constexpr std::int32_t offset(problem p) const {
    return diagonal == corner::top_left ? 0 : p.keys - p.queries;
  }
  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return (int{j < prefix} | int{j - i <= offset(p)}) != 0;  // no branch: it vectorises
  }
  /// Begins at the first key: the past does.
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    if (q.empty()) return {};
    return {0, std::clamp<index>(q.end + offset(p), std::min<index>(prefix, p.keys), p.keys)};
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem p) const {
    const range rest{std::max<index>(k.begin, prefix), k.end};
    if (rest.empty()) return coverage::full;
    const coverage past = softlook::detail::band{.high = offset(p)}.coverage_of(q, rest, p);
    return past == coverage::none && k.begin < prefix ? coverage::partial : past;
  }
};

}  // namespace detail

/// Prefix language models: every query sees the prefix, and its own past,
///   j < prefix  or  j ≤ i          (corner::top_left)
///   j < prefix  or  j ≤ i + m − n  (corner::bottom_right)
///
/// \see Liu et al., "Generating Wikipedia by Summarizing Long Sequences", 2018, section 4.2.3;
///      Raffel et al., 2020, section 3.2.1 (prefix LM).
/// A prefix beyond the last key is all of them: a prompt that is read piece by piece grows into it.
struct prefix_lm {
  using policy_kind = mask_kind;
  index prefix = 0;
  corner diagonal = corner::top_left;

  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return lookup_form().allows(i, j, p);
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    return lookup_form().key_range(q, p);
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem p) const {
    return lookup_form().coverage_of(q, k, p);
  }
  [[nodiscard]] constexpr detail::prefix_and_past lookup_form() const {
    return {softlook::detail::band::clamp(prefix), diagonal};
  }
  /// \throws argument_error for a negative prefix.
  void check(const char* where, problem) const {
    if (prefix < 0)
      softlook::detail::raise_argument(where, "masks::prefix_lm.prefix", double(prefix),
                                       "a prefix holds 0 or more keys");
  }
};

/// The same with a prefix for each sequence of a batch (problem::sequence). A view of them.
struct prefix_lm_by_sequence {
  using policy_kind = mask_kind;

  explicit prefix_lm_by_sequence(softlook::detail::kept_numbers prefixes,
                                 corner diagonal = corner::top_left)
      : prefixes_(prefixes), diagonal_(diagonal) {}

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return of(p).allows(i, j, p);
  }
  [[nodiscard]] range key_range(range q, problem p) const { return of(p).key_range(q, p); }
  [[nodiscard]] coverage coverage_of(range q, range k, problem p) const {
    return of(p).coverage_of(q, k, p);
  }
  /// \throws shape_error without a prefix for the sequence; argument_error for a negative one.
  void check(const char* where, problem p) const {
    softlook::detail::check_sequence(where, "masks::prefix_lm_by_sequence prefixes.size()",
                                     prefixes_, p);
    if (of(p).prefix < 0)
      softlook::detail::raise_argument(
          where, "masks::prefix_lm_by_sequence prefix", of(p).prefix,
          softlook::detail::formatted("of sequence %d: a prefix holds 0 or more keys",
                                      int(p.sequence))
              .text);
  }

 private:
  [[nodiscard]] detail::prefix_and_past of(problem p) const {
    return {softlook::detail::of_sequence(prefixes_, p), diagonal_};
  }

  std::span<const std::int32_t> prefixes_;
  corner diagonal_;
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
