// The order of the named parts: scale → soft cap → bias, ALiBi → mask → softmax.
#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::stages_test {
namespace {

using namespace softlook_test;

template <class T>
class ScoreStages : public ::testing::Test {
 protected:
  static constexpr index n = 6, m = 8;
  static constexpr T infinity = std::numeric_limits<T>::infinity();
  problem_inputs<T> p = random_problem<T>(
      {.queries = n, .keys = m, .features = 5, .values = 3, .magnitude = 2}, seed(111));
  generator random = seed(112);
  row_major<T> B = random_matrix<row_major<T>>(n, m, random);
  double tolerance = rounding_of<T>(20, 1);

  row_major<T> raw() const { return attention_scores(p.Q, p.K, stage::raw); }
};
TYPED_TEST_SUITE(ScoreStages, scalars, scalar_names);

TYPED_TEST(ScoreStages, RawScoresAreScaledProducts) {
  const row_major<TypeParam> product = this->p.Q * this->p.K.transpose() / std::sqrt(TypeParam(5));
  EXPECT_LE(max_error(this->raw(), product), this->tolerance);
}

TYPED_TEST(ScoreStages, CappedScoresFollowTheLastSoftCap) {
  using T = TypeParam;
  const auto at = [&](stage s) {
    return attention_scores(this->p.Q, this->p.K, s, transforms::soft_cap{2.0},
                            transforms::bias{this->B}, masks::causal_top_left{});
  };
  const row_major<T> raw = this->raw();
  const row_major<T> capped = T(2) * (raw / T(2)).array().tanh().matrix();
  EXPECT_TRUE(bitwise_equal(at(stage::raw), raw));
  EXPECT_LE(max_error(at(stage::capped), capped), this->tolerance);
  EXPECT_LE(max_error(at(stage::biased), capped + this->B), this->tolerance);
  const auto masked = at(stage::masked);
  const auto biased = at(stage::biased);
  for (index i = 0; i < this->n; ++i)
    for (index j = 0; j < this->m; ++j)
      EXPECT_TRUE(same_bits(masked(i, j), j <= i ? biased(i, j) : -this->infinity));
}

TYPED_TEST(ScoreStages, CappedScoresAreRawWithoutASoftCap) {
  EXPECT_TRUE(bitwise_equal(
      attention_scores(this->p.Q, this->p.K, stage::capped, transforms::bias{this->B}),
      this->raw()));
}

TYPED_TEST(ScoreStages, TransformsComposeLeftToRight) {
  using T = TypeParam;
  const transforms::map twice([](auto s, std::int32_t, std::int32_t) { return s + s; });
  const row_major<T> raw = this->raw();
  const row_major<T> bias_last = T(2) * raw + this->B, bias_first = T(2) * (raw + this->B);
  EXPECT_LE(max_error(attention_scores(this->p.Q, this->p.K, stage::biased, twice,
                                       transforms::bias{this->B}),
                      bias_last),
            this->tolerance);
  EXPECT_LE(max_error(attention_scores(this->p.Q, this->p.K, stage::biased,
                                       transforms::bias{this->B}, twice),
                      bias_first),
            this->tolerance);
}

TYPED_TEST(ScoreStages, ScaleComesBeforeTheSoftCap) {
  options opts;
  opts.scale = 10.0;
  const auto capped =
      attention_scores(this->p.Q, this->p.K, stage::capped, opts, transforms::soft_cap{1.0});
  EXPECT_LE(max_magnitude(capped), 1.0);
  const row_major<TypeParam> raw = attention_scores(this->p.Q, this->p.K, stage::raw, opts);
  const row_major<TypeParam> truth = raw.array().tanh();
  EXPECT_LE(max_error(capped, truth), this->tolerance);
}

TYPED_TEST(ScoreStages, WeightsAreTheSoftmaxOfMaskedScores) {
  const auto masked = attention_scores(this->p.Q, this->p.K, stage::masked,
                                       transforms::bias{this->B}, masks::causal_top_left{});
  const auto weights =
      attention_weights(this->p.Q, this->p.K, transforms::bias{this->B}, masks::causal_top_left{});
  for (index i = 0; i < this->n; ++i) {
    long double sum = 0;
    for (index j = 0; j < this->m; ++j) sum += std::exp(static_cast<long double>(masked(i, j)));
    for (index j = 0; j < this->m; ++j)
      EXPECT_NEAR(weights(i, j),
                  static_cast<double>(std::exp(static_cast<long double>(masked(i, j))) / sum),
                  this->tolerance);
  }
}

TYPED_TEST(ScoreStages, WeightsAreThoseOfNaiveAttentionUpToRounding) {
  EXPECT_LE(max_error(attention_weights(this->p.Q, this->p.K, masks::causal_top_left{},
                                        transforms::soft_cap{3.0}),
                      naive_attention(this->p.Q, this->p.K, this->p.V, masks::causal_top_left{},
                                      transforms::soft_cap{3.0})
                          .weights),
            this->tolerance);
}

TYPED_TEST(ScoreStages, OfNoQueriesOrNoKeysAreEmpty) {
  const row_major<TypeParam> none(0, 5);
  for (const stage s : {stage::raw, stage::capped, stage::biased, stage::masked}) {
    EXPECT_EQ(attention_scores(none, this->p.K, s).rows(), 0);
    EXPECT_EQ(attention_scores(none, this->p.K, s).cols(), this->m);
    EXPECT_EQ(attention_scores(this->p.Q, none, s).cols(), 0);
  }
  EXPECT_EQ(attention_weights(this->p.Q, none).rows(), this->n);
}

}  // namespace
}  // namespace softlook::stages_test
