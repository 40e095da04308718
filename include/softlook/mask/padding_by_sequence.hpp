#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/mask/detail/numbers.hpp"
#include "softlook/mask/padding.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup masks
/// \{

/// Of each sequence of a batch (problem::sequence) only the first keys are real, the rest is
/// padding:
///   j < length(sequence)
/// A view of the lengths.
struct padding_by_sequence {
  using policy_kind = mask_kind;

  explicit padding_by_sequence(softlook::detail::kept_numbers lengths) : lengths_(lengths) {}

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return of(p).allows(i, j, p);
  }
  [[nodiscard]] range key_range(range q, problem p) const { return of(p).key_range(q, p); }
  [[nodiscard]] coverage coverage_of(range q, range k, problem p) const {
    return of(p).coverage_of(q, k, p);
  }
  /// \throws shape_error without a length for the sequence; argument_error unless it lies between 0
  /// and the number of keys.
  void check(const char* where, problem p) const {
    softlook::detail::check_sequence(where, "masks::padding_by_sequence lengths.size()", lengths_,
                                     p);
    const std::int32_t length = softlook::detail::of_sequence(lengths_, p);
    if (length < 0 || length > p.keys)
      softlook::detail::raise_argument(
          where, "masks::padding_by_sequence length", length,
          softlook::detail::formatted(
              "of sequence %d: it must lie between 0 and the number of keys, %d", int(p.sequence),
              int(p.keys))
              .text);
  }

 private:
  [[nodiscard]] padding of(problem p) const { return {softlook::detail::of_sequence(lengths_, p)}; }

  std::span<const std::int32_t> lengths_;
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
