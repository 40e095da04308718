// Every mask and every transform, as its own type, through every kernel.
#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::policies_test {
namespace {

using namespace softlook_test;

template <class T>
class AttentionWithPolicies : public ::testing::Test {
 protected:
  static constexpr index n = 45, m = 70;
  problem_inputs<T> p =
      random_problem<T>({.queries = n, .keys = m, .features = 6, .values = 5}, seed(161));
  generator random = seed(162);

  template <class... Policies>
  void expect_agreement(const Policies&... policies) const {
    expect_every_way_agrees(p.Q, p.K, p.V, std::nullopt, policies...);
  }
};
TYPED_TEST_SUITE(AttentionWithPolicies, scalars, scalar_names);

TYPED_TEST(AttentionWithPolicies, MaskNone) { this->expect_agreement(masks::none{}); }

TYPED_TEST(AttentionWithPolicies, MaskCausalTopLeft) {
  this->expect_agreement(masks::causal_top_left{});
}

TYPED_TEST(AttentionWithPolicies, MaskCausalBottomRight) {
  this->expect_agreement(masks::causal_bottom_right{});
}

TYPED_TEST(AttentionWithPolicies, MaskCausalWithOffset) {
  for (const index offset : {-20, -1, 3, 30})
    this->expect_agreement(masks::causal{.offset = offset});
}

TYPED_TEST(AttentionWithPolicies, MaskWindow) {
  this->expect_agreement(masks::window{.left = 4, .right = 2});
  this->expect_agreement(masks::window{.left = 0, .right = 0, .offset = 9});
  this->expect_agreement(masks::window{.left = 40});
  this->expect_agreement(masks::window_of(16));
}

TYPED_TEST(AttentionWithPolicies, MaskPadding) {
  for (const index length : {0, 1, 33, 69, 70})
    this->expect_agreement(masks::padding{.length = length});
}

TYPED_TEST(AttentionWithPolicies, MaskDense) {
  row_major<bool> attend(this->n, this->m);
  for (index k = 0; k < attend.size(); ++k) attend.data()[k] = this->random.chance(0.4);
  this->expect_agreement(masks::dense{attend});
  this->expect_agreement(masks::dense_ignoring(attend));
}

TYPED_TEST(AttentionWithPolicies, MaskWhere) {
  this->expect_agreement(
      masks::where([](std::int32_t i, std::int32_t j) { return (i * j) % 3 != 1; }));
}

TYPED_TEST(AttentionWithPolicies, MasksCombined) {
  this->expect_agreement(masks::window{.left = 9, .right = 9} &
                         !masks::window{.left = 2, .right = 2});
  this->expect_agreement(masks::causal_top_left{} | masks::padding{.length = 5});
}

TYPED_TEST(AttentionWithPolicies, TransformSoftCap) {
  for (const double cap : {0.1, 1.0, 50.0}) this->expect_agreement(transforms::soft_cap{cap});
}

TYPED_TEST(AttentionWithPolicies, TransformAlibi) {
  this->expect_agreement(transforms::alibi{0.5});
  this->expect_agreement(transforms::alibi{0.01}, masks::causal_bottom_right{});
}

TYPED_TEST(AttentionWithPolicies, TransformBias) {
  using T = TypeParam;
  const auto B = random_matrix<row_major<T>>(this->n, this->m, this->random);
  const col_major<T> by_columns = B;
  const row_major<T> row = B.row(0);
  const col_major<T> column = B.col(0);
  this->expect_agreement(transforms::bias{B});
  this->expect_agreement(transforms::bias{by_columns});
  this->expect_agreement(transforms::bias{row});
  this->expect_agreement(transforms::bias{column});
}

TYPED_TEST(AttentionWithPolicies, TransformMap) {
  this->expect_agreement(transforms::map([](auto s, std::int32_t i, std::int32_t j) {
    using S = decltype(s);
    return s * S(0.5) + S(0.01) * S(i - 2 * j);
  }));
}

TYPED_TEST(AttentionWithPolicies, TransformsChained) {
  const auto B = random_matrix<row_major<TypeParam>>(this->n, this->m, this->random);
  this->expect_agreement(transforms::soft_cap{2.0}, transforms::bias{B}, transforms::alibi{0.1},
                         masks::causal_bottom_right{});
}

TYPED_TEST(AttentionWithPolicies, PoliciesInAnyOrder) {
  const masks::causal_top_left mask;
  const transforms::soft_cap cap{2.0};
  const transforms::alibi slope{0.1};
  const scores::dot score;
  const exec::sequential run;
  options opts;
  opts.scale = 0.2;
  const auto one = attention(this->p.Q, this->p.K, this->p.V, mask, cap, slope, score, opts, run);
  EXPECT_TRUE(bitwise_equal(
      one, attention(this->p.Q, this->p.K, this->p.V, run, opts, score, cap, mask, slope)));
  EXPECT_TRUE(bitwise_equal(
      one, attention(this->p.Q, this->p.K, this->p.V, cap, run, slope, mask, opts, score)));
}

}  // namespace
}  // namespace softlook::policies_test
