// What a mask says of tiles against what it says of pairs, by brute force.
#pragma once

#include <gtest/gtest.h>

#include "softlook/core/concepts.hpp"
#include "softlook/mask/detail/band.hpp"

namespace softlook_test {

enum class answers { correct, exact };

/// coverage from allows() alone.
template <class Mask>
softlook::coverage true_coverage(const Mask& mask, softlook::range q, softlook::range k,
                                 softlook::problem size) {
  bool any = false, all = true;
  for (auto i = q.begin; i < q.end; ++i) {
    for (auto j = k.begin; j < k.end; ++j) {
      const bool allowed =
          mask.allows(static_cast<std::int32_t>(i), static_cast<std::int32_t>(j), size);
      any = any || allowed;
      all = all && allowed;
    }
  }
  if (!any) return softlook::coverage::none;
  return all ? softlook::coverage::full : softlook::coverage::partial;
}

/// One tile: `partial` is always correct, `none` and `full` must be true; an exact mask finds them.
template <class Mask>
void expect_true_coverage(const Mask& mask, softlook::range q, softlook::range k,
                          softlook::problem size, answers required) {
  using softlook::coverage;
  const coverage said = mask.coverage_of(q, k, size);
  if (said == coverage::partial && required == answers::correct) return;
  EXPECT_EQ(static_cast<int>(said), static_cast<int>(true_coverage(mask, q, k, size)))
      << "queries [" << q.begin << ", " << q.end << ") keys [" << k.begin << ", " << k.end
      << ") of " << size.queries << "x" << size.keys;
}

/// Every allowed key of every query lies in the range that bounds the loop.
template <class Mask>
void expect_range_holds_every_allowed_key(const Mask& mask, softlook::range q,
                                          softlook::problem size) {
  const softlook::range keys = mask.key_range(q, size);
  for (auto i = q.begin; i < q.end; ++i) {
    for (std::int32_t j = 0; j < size.keys; ++j) {
      if (j >= keys.begin && j < keys.end) continue;
      EXPECT_FALSE(mask.allows(static_cast<std::int32_t>(i), j, size))
          << "query " << i << " key " << j << " outside [" << keys.begin << ", " << keys.end
          << ") of queries [" << q.begin << ", " << q.end << ") of " << size.queries << "x"
          << size.keys;
    }
  }
}

/// Every tile of every problem up to `largest` queries and keys.
template <class Mask>
void expect_tiles_agree_with_pairs(const Mask& mask, answers required = answers::correct,
                                   std::int32_t largest = 7) {
  for (std::int32_t n = 1; n <= largest; ++n) {
    for (std::int32_t m = 1; m <= largest; ++m) {
      const softlook::problem size{.queries = n, .keys = m};
      for (std::int32_t q = 0; q < n; ++q) {
        for (std::int32_t q_end = q + 1; q_end <= n; ++q_end) {
          expect_range_holds_every_allowed_key(mask, {q, q_end}, size);
          for (std::int32_t k = 0; k < m; ++k) {
            for (std::int32_t k_end = k + 1; k_end <= m; ++k_end) {
              expect_true_coverage(mask, {q, q_end}, {k, k_end}, size, required);
            }
          }
        }
      }
      if (::testing::Test::HasFailure()) return;
    }
  }
}

/// The form that the kernels ask pair by pair allows what the mask itself allows.
template <class Mask>
void expect_lookup_agrees(const Mask& mask, softlook::problem size) {
  const auto fast = softlook::detail::lookup_form(mask);
  for (std::int32_t i = 0; i < size.queries; ++i)
    for (std::int32_t j = 0; j < size.keys; ++j)
      ASSERT_EQ(fast.allows(i, j, size), mask.allows(i, j, size)) << i << " " << j;
}

}  // namespace softlook_test
