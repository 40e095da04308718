#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "softlook/core/random.hpp"
#include "softlook/mask/block_sparse.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "softlook/mask/dilated.hpp"
#include "softlook/mask/global_tokens.hpp"
#include "softlook/mask/of_heads.hpp"
#include "softlook/mask/segment.hpp"
#include "softlook/mask/window.hpp"

// The sparse patterns of the literature, composed of masks. All are policies of attention() and
// combine further with &, | and !; positions count queries and keys from the same origin.

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \defgroup sparse_masks Sparse patterns
/// Masks whose empty tiles cost nothing: block-sparse, strided, fixed, Longformer, BigBird. They
/// are masks like the others, joined with `&`, `|` and `!`.
/// \cases tests/unit/mask/patterns_test.cpp
/// \program examples/sparse.cpp
/// \{

namespace detail {
inline void check_pattern(bool ok, const char* where, const char* name, index value,
                          const char* rule) {
  if (!ok) softlook::detail::raise_argument(where, name, double(value), rule);
}

template <mask_policy A, mask_policy B>
[[nodiscard]] constexpr auto by_turns(const A& even, const B& odd) {
  return (even & of_heads{.every = 2, .first = 0}) | (odd & of_heads{.every = 2, .first = 1});
}
}  // namespace detail

/// Strided attention, causal:
///   A = A⁽¹⁾ ∪ A⁽²⁾,  A⁽¹⁾ᵢ = {j : i − stride ≤ j ≤ i},  A⁽²⁾ᵢ = {j ≤ i : (i − j) mod stride = 0}
///
/// \see Child et al., "Generating Long Sequences with Sparse Transformers", 2019, section 4.3 (one
///      head that merges both sets, section 4.2).
/// A⁽²⁾ spreads its keys thinly: prefer fixed() where time counts (dilated_window says why).
/// \throws argument_error for a stride below 1.
template <std::same_as<window> Window = window>  // here and below: compiled with a call
[[nodiscard]] auto strided(index stride) {
  detail::check_pattern(stride >= 1, "masks::strided", "stride", stride,
                        "a stride is at least 1 position");
  return Window{.left = stride, .right = 0} |
         dilated_window{.left = {}, .right = 0, .dilation = stride};
}

/// Strided attention whose heads take turns: A⁽¹⁾ in even heads, A⁽²⁾ in odd ones (section 4.2,
/// multi-head form).
template <std::same_as<window> Window = window>
[[nodiscard]] auto strided_by_head(index stride) {
  const auto merged = strided<Window>(stride);
  return detail::by_turns(merged.a, merged.b);
}

/// Fixed attention, causal:
///   A = A⁽¹⁾ ∪ A⁽²⁾,
///   A⁽¹⁾ᵢ = {j ≤ i : ⌊j / stride⌋ = ⌊i / stride⌋},
///   A⁽²⁾ᵢ = {j ≤ i : j mod stride ≥ stride − summaries}
///
/// \see Child et al., 2019, section 4.3; the paper takes 8, 16 or 32 summaries at a stride of 128.
/// \throws argument_error unless 1 ≤ summaries ≤ stride.
template <std::same_as<same_segment> Segment = same_segment>
[[nodiscard]] auto fixed(index stride, index summaries) {
  detail::check_pattern(stride >= 1, "masks::fixed", "stride", stride,
                        "a stride is at least 1 position");
  detail::check_pattern(summaries >= 1 && summaries <= stride, "masks::fixed", "summaries",
                        summaries, "it must lie between 1 and the stride");
  return (Segment{stride} | segment_ends{stride, summaries}) & causal_top_left{};
}

/// Fixed attention whose heads take turns: A⁽¹⁾ in even heads, A⁽²⁾ in odd ones.
template <std::same_as<same_segment> Segment = same_segment>
[[nodiscard]] auto fixed_by_head(index stride, index summaries) {
  const auto merged = fixed<Segment>(stride, summaries);
  return detail::by_turns(merged.a.a, merged.a.b) & merged.b;
}

struct longformer_pattern {
  index window = 512;           ///< w: w/2 keys on each side, and the query itself
  index dilation = 1;           ///< between the keys of the window
  std::vector<index> global{};  ///< tokens that see all and are seen by all
};

/// Longformer: a (dilated) sliding window, and some tokens with global attention.
///
/// \see Beltagy et al., "Longformer: The Long-Document Transformer", 2020, section 3.1. The paper's
///      second set of projections for global tokens is the caller's: this is its mask.
/// \throws argument_error for a window that is negative or odd, a dilation below 1, or a negative
///         position.
template <std::same_as<longformer_pattern> Pattern = longformer_pattern>
[[nodiscard]] auto longformer(const Pattern& pattern) {
  const char* const where = "masks::longformer";
  detail::check_pattern(pattern.window >= 0 && pattern.window % 2 == 0, where, "window",
                        pattern.window, "half of it lies on each side: an even number");
  detail::check_pattern(pattern.dilation >= 1, where, "dilation", pattern.dilation,
                        "neighbours are 1 or more positions apart");
  return dilated_window{.left = pattern.window / 2,
                        .right = pattern.window / 2,
                        .dilation = pattern.dilation} |
         global_tokens(pattern.global);
}

/// All sizes but `block` count blocks.
struct big_bird_pattern {
  index block = 96;
  index window = 3;        ///< around the query's own block, which counts; odd
  index global = 2;        ///< the first ones, which see all and are seen by all
  index random = 3;        ///< further ones for each block of queries
  std::uint64_t seed = 0;  ///< of the random ones
};

namespace detail {

/// `count` of the key blocks that are still off in a row, each choice equally likely up to 2⁻³².
/// \see Knuth, "The Art of Computer Programming" 2, 1997, section 3.4.2, algorithm P.
template <class Layout>
void add_random_blocks(Layout& layout, index row, const big_bird_pattern& pattern, index head) {
  std::vector<index> off;
  for (index c = 0; c < layout.cols(); ++c)
    if (!layout(row, c)) off.push_back(c);
  const index count = std::min(pattern.random, index(off.size()));
  for (index k = 0; k < count; ++k) {
    const std::uint64_t word = softlook::detail::random_words(
        pattern.seed, std::uint32_t(head), std::uint32_t(row), std::uint32_t(k))[0];
    const index chosen = k + index((word * std::uint64_t(index(off.size()) - k)) >> 32);
    std::swap(off[std::size_t(k)], off[std::size_t(chosen)]);
    layout(row, off[std::size_t(k)]) = true;
  }
}

}  // namespace detail

/// BigBird (internal global tokens): blocks in a window, global blocks, and random blocks, for
/// self-attention of `tokens` tokens.
///
/// \see Zaheer et al., "Big Bird: Transformers for Longer Sequences", 2020, section 2 and appendix
///      D; the paper takes blocks of 64.
/// The random blocks of a row depend on seed, head and row only, never on threads; `heads` > 1
/// gives each head its own. A row with fewer blocks left takes them all.
/// \throws argument_error for a size out of range.
template <std::same_as<big_bird_pattern> Pattern = big_bird_pattern>
[[nodiscard]] block_sparse big_bird(const Pattern& pattern, index tokens, index heads = 1) {
  using truth = std::remove_cvref_t<decltype(pattern.block > 0)>;
  using layout = Eigen::Matrix<truth, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto check = [](bool ok, const char* name, index value, const char* rule) {
    detail::check_pattern(ok, "masks::big_bird", name, value, rule);
  };
  check(pattern.block >= 1, "block", pattern.block, "a block holds at least 1 position");
  check(pattern.window >= 1 && pattern.window % 2 == 1, "window", pattern.window,
        "blocks around the query's own, which counts: an odd number");
  check(pattern.global >= 0, "global", pattern.global, "a number of blocks is at least 0");
  check(pattern.random >= 0, "random", pattern.random, "a number of blocks is at least 0");
  check(tokens >= 0, "tokens", tokens, "a number of tokens is at least 0");
  check(heads >= 1, "heads", heads, "there is at least 1 head");
  const index blocks = (tokens + pattern.block - 1) / pattern.block, side = pattern.window / 2;
  const index global = std::min(pattern.global, blocks);
  std::vector<layout> layouts(std::size_t(heads), layout::Constant(blocks, blocks, false));
  for (index head = 0; head < heads; ++head) {
    layout& on = layouts[std::size_t(head)];
    on.topRows(global).setConstant(true);
    on.leftCols(global).setConstant(true);
    for (index r = global; r < blocks; ++r) {
      for (index c = std::max<index>(r - side, 0); c <= std::min(r + side, blocks - 1); ++c)
        on(r, c) = true;
      detail::add_random_blocks(on, r, pattern, head);
    }
  }
  return {layouts, pattern.block};
}

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
