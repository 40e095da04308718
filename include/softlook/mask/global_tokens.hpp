#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/mask/detail/bits.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup sparse_masks
/// \{

/// Tokens that see every key and that every query sees: position i or position j is global. Joined
/// to a local mask, `window{…} | global_tokens{0}`.
///
/// \see Beltagy et al., "Longformer", 2020, section 3.1 (global attention); Zaheer et al., "Big
///      Bird", 2020, section 2 (internal global tokens).
/// Positions beyond the last query or key are ignored. Holds its own copy of them: 1 bit for each
/// position up to the last one.
class global_tokens {
 public:
  using policy_kind = mask_kind;

  /// \throws argument_error for a negative position, or one of more than 31 bits.
  explicit global_tokens(std::span<const index> positions) {
    for (const index at : positions) {
      if (at < 0 || at >= std::numeric_limits<std::int32_t>::max())
        softlook::detail::raise_argument("masks::global_tokens", "position", double(at),
                                         "positions count from 0 and are 32-bit");
      form_.size = std::max(form_.size, static_cast<std::int32_t>(at + 1));
    }
    // One bit more than positions: what lies behind them is looked up there.
    auto words = std::make_shared<std::vector<std::uint32_t>>(
        std::size_t(softlook::detail::words_for(form_.size + 1)));
    for (const index at : positions) (*words)[std::size_t(at) / 32] |= 1u << (at % 32);
    form_.words = words->data();
    form_.span = softlook::detail::span_of_bits(form_.words, form_.size);
    owner_ = std::move(words);
  }
  global_tokens(std::initializer_list<index> positions)
      : global_tokens(std::span<const index>(positions.begin(), positions.size())) {}

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return form_.allows(i, j, p);
  }
  [[nodiscard]] range key_range(range q, problem p) const { return form_.key_range(q, p); }
  [[nodiscard]] coverage coverage_of(range q, range k, problem p) const {
    return form_.coverage_of(q, k, p);
  }

  struct lookup_type {
    using policy_kind = mask_kind;
    const std::uint32_t* words = nullptr;
    std::int32_t size = 0;
    range span{};

    [[nodiscard]] bool is_global(std::int32_t k) const {
      return softlook::detail::bit_at(words, k < size ? k : size);
    }
    [[nodiscard]] coverage globals_in(range tokens) const {
      const coverage live =
          softlook::detail::bits_set(words, {tokens.begin, std::min<index>(tokens.end, size)});
      return live == coverage::full && tokens.end > size ? coverage::partial : live;
    }
    [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem) const {
      return (int{is_global(i)} | int{is_global(j)}) != 0;
    }
    [[nodiscard]] range key_range(range q, problem p) const {
      const range all{0, p.keys};
      return globals_in(q) == coverage::none ? intersection(span, all) : all;
    }
    [[nodiscard]] coverage coverage_of(range q, range k, problem) const {
      const coverage in_q = globals_in(q), in_k = globals_in(k);
      if (in_q == coverage::full || in_k == coverage::full) return coverage::full;
      return in_q == coverage::none ? in_k : coverage::partial;
    }
  };
  /// A view; it lives as long as this mask or a copy of it.
  [[nodiscard]] const lookup_type& lookup_form() const { return form_; }

 private:
  lookup_type form_;
  std::shared_ptr<const std::vector<std::uint32_t>> owner_;
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
