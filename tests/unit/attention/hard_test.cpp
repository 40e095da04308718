#include "softlook/attention/hard.hpp"

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/numbers.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::hard_test {
namespace {

using namespace softlook_test;
using oracle::real;

template <class T>
class HardAttention : public ::testing::Test {
 protected:
  static constexpr index n = 9, m = 31, d = 4;
  generator random = seed(91);
  row_major<T> Q = random_matrix<row_major<T>>(n, d, random);
  col_major<T> K = random_matrix<col_major<T>>(m, d, random);
  row_major<T> V = random_matrix<row_major<T>>(m, 3, random);

  real score(index i, index j) const {
    real sum = 0;
    for (index f = 0; f < d; ++f) sum += real(Q(i, f)) * real(K(j, f));
    return sum / std::sqrt(real(d));
  }
  real log_probability(index i, index chosen, index keys) const {
    real sum = 0;
    for (index j = 0; j < keys; ++j) sum += std::exp(score(i, j) - score(i, chosen));
    return -std::log(sum);
  }
  double bound() const {
    return log_sum_exp_rounding<T>(2 * d * max_magnitude(Q) * max_magnitude(K), m);
  }
};
TYPED_TEST_SUITE(HardAttention, scalars, scalar_names);

TYPED_TEST(HardAttention, TakesTheValueOfTheLargestScore) {
  const auto result = hard_attention(this->Q, this->K, this->V, selections::argmax{});
  for (index i = 0; i < this->n; ++i) {
    index best = 0;
    for (index j = 1; j < this->m; ++j)
      if (this->score(i, j) > this->score(i, best)) best = j;
    EXPECT_EQ(result.choice[i], best);
    EXPECT_TRUE(bitwise_equal(result.output.row(i), this->V.row(best)));
    EXPECT_NEAR(result.log_probability[i], double(this->log_probability(i, best, this->m)),
                this->bound());
  }
}

TYPED_TEST(HardAttention, SamplesByNoiseOfSeedHeadQueryAndKey) {
  for (const std::uint32_t head : {0u, 5u}) {
    const selections::sample select{.seed = 42, .head = head};
    const auto result = hard_attention(this->Q, this->K, this->V, select);
    for (index i = 0; i < this->n; ++i) {
      index best = -1;
      real largest = -oracle::infinity;
      for (index j = 0; j < this->m; ++j) {
        const real noisy = this->score(i, j) + real(select.noise(i, j));
        if (noisy > largest) {
          largest = noisy;
          best = j;
        }
      }
      ASSERT_EQ(result.choice[i], best);
      EXPECT_TRUE(bitwise_equal(result.output.row(i), this->V.row(best)));
      EXPECT_NEAR(result.log_probability[i], double(this->log_probability(i, best, this->m)),
                  this->bound());
    }
  }
}

TYPED_TEST(HardAttention, SamplesKeysAsOftenAsTheirWeights) {
  constexpr index draws = 20000, keys = 5;
  const row_major<TypeParam> q = this->Q.row(0).replicate(draws, 1);
  const row_major<TypeParam> few = this->K.topRows(keys);
  const auto result = hard_attention(q, few, this->V.topRows(keys), selections::sample{.seed = 7});
  for (index j = 0; j < keys; ++j) {
    const double p = std::exp(double(this->log_probability(0, j, keys)));
    const double five_sigma = 5 * std::sqrt(p * (1 - p) / double(draws));
    const auto hits = (result.choice.array() == j).count();
    EXPECT_NEAR(double(hits) / double(draws), p, five_sigma) << j;
  }
}

TYPED_TEST(HardAttention, NeverChoosesAMaskedKey) {
  const auto result = hard_attention(this->Q, this->K, this->V, selections::sample{.seed = 1},
                                     masks::causal_top_left{});
  for (index i = 0; i < this->n; ++i) {
    EXPECT_LE(result.choice[i], i);
    EXPECT_NEAR(result.log_probability[i],
                double(this->log_probability(i, result.choice[i], i + 1)), this->bound());
  }
  EXPECT_EQ(result.log_probability[0], TypeParam(0));
}

TYPED_TEST(HardAttention, ChoosesNothingInAnEmptyRow) {
  const auto result =
      hard_attention(this->Q, this->K, this->V, selections::argmax{}, masks::causal{.offset = -2});
  for (index i = 0; i < 2; ++i) {
    EXPECT_EQ(result.choice[i], -1);
    EXPECT_EQ(result.log_probability[i], TypeParam(0));
    EXPECT_TRUE(row_is_zero(result.output, i));
  }
  EXPECT_EQ(result.choice[2], 0);
}

TYPED_TEST(HardAttention, TakesTheLowestOfEqualScores) {
  const row_major<TypeParam> same = this->K.row(3).replicate(6, 1);
  const auto result = hard_attention(this->Q, same, this->V.topRows(6), selections::argmax{});
  EXPECT_TRUE((result.choice.array() == 0).all());
}

TYPED_TEST(HardAttention, KeepsANaNInItsRow) {
  const auto clean = hard_attention(this->Q, this->K, this->V, selections::argmax{});
  this->Q(4, 1) = std::numeric_limits<TypeParam>::quiet_NaN();
  const auto result = hard_attention(this->Q, this->K, this->V, selections::argmax{});
  EXPECT_EQ(result.choice[4], -1);
  EXPECT_TRUE(row_is_nan(result.output, 4));
  EXPECT_TRUE(std::isnan(result.log_probability[4]));
  for (const index i : {0, 3, 5, 8}) EXPECT_EQ(result.choice[i], clean.choice[i]);
}

TYPED_TEST(HardAttention, RejectsValuesThatAreNotTheKeys) {
  expect_error<shape_error>(
      [&] { (void)hard_attention(this->Q, this->K, this->V.topRows(4), selections::argmax{}); },
      {"hard_attention", "V.rows() is 4", "K.rows() is 31"});
}

TYPED_TEST(HardAttention, TellsPoliciesTheQueryHoweverManyThereAre) {
  using T = TypeParam;
  for (const index queries : {0, 1, 128, 129, 300}) {
    const auto q = random_matrix<row_major<T>>(queries, 4, this->random);
    const auto B = random_matrix<row_major<T>>(queries, this->m, this->random);
    const auto mask = masks::causal_bottom_right{} & masks::window{.left = 40, .offset = -120};
    const transforms::bias bias{B};
    const transforms::alibi slope{0.25};
    const auto S = attention_scores(q, this->K, stage::masked, bias, slope, mask);
    const auto result = hard_attention(q, this->K, this->V, selections::argmax{}, bias, slope, mask,
                                       exec::sequential{}, options{});
    const auto P = hardmax(S);
    ASSERT_EQ(result.choice.size(), queries);
    for (index i = 0; i < queries; ++i) {
      if (result.choice[i] < 0)
        EXPECT_TRUE(row_is_zero(P, i)) << i;
      else
        EXPECT_EQ(P(i, result.choice[i]), T(1)) << i << " of " << queries;
    }
  }
}

template <class R, class S>
void expect_equal(const R& a, const S& b) {
  EXPECT_TRUE(bitwise_equal(a.output, b.output));
  EXPECT_TRUE((a.choice.array() == b.choice.array()).all());
  EXPECT_TRUE(bitwise_equal(a.log_probability, b.log_probability));
}

TYPED_TEST(HardAttention, OfHeadsIsThatOfEachHeadAloneWhateverTheThreads) {
  using T = TypeParam;
  const index queries = 130, keys = 90;
  const masks::causal_bottom_right mask;
  const exec::thread_pool pool(3);
  const auto v = random_matrix<column<T>>(4, 1, this->random);
  const auto q = random_matrix<row_major<T>>(queries, 6 * 4, this->random);
  for (const index kv : {6, 2}) {
    const heads h{.query = 6, .kv = kv};
    const auto k = random_matrix<row_major<T>>(keys, kv * 4, this->random);
    const auto values = random_matrix<col_major<T>>(keys, kv * 3, this->random);
    const auto compare = [&](const auto& select, const auto& of_head, const auto& score) {
      const auto all = hard_attention(q, k, values, select, h, score, mask);
      ASSERT_EQ(all.output.cols(), 18);
      for (index head = 0; head < 6; ++head) {
        const auto one =
            hard_attention(head_columns(q, head, 6), head_columns(k, head * kv / 6, kv),
                           head_columns(values, head * kv / 6, kv), of_head(head), score, mask);
        EXPECT_TRUE(bitwise_equal(all.output.middleCols(head * 3, 3), one.output)) << head;
        EXPECT_TRUE((all.choice.col(head).array() == one.choice.array()).all()) << head;
        EXPECT_TRUE(bitwise_equal(all.log_probability.col(head), one.log_probability)) << head;
      }
      expect_equal(hard_attention(q, k, values, select, h, score, mask, pool), all);
      expect_equal(hard_attention(q, k, values, select, h, score, mask, round_robin{}), all);
    };
    const auto argmax = [](index) { return selections::argmax{}; };
    const auto sample = [](index head) {
      return selections::sample{.seed = 9, .head = 2 + static_cast<std::uint32_t>(head)};
    };
    compare(selections::argmax{}, argmax, scores::scaled_dot{});
    compare(sample(0), sample, scores::scaled_dot{});
    compare(sample(0), sample, scores::additive_projected{v});
  }
}

TYPED_TEST(HardAttention, TakesAdditiveScores) {
  using T = TypeParam;
  const auto v = random_matrix<column<T>>(4, 1, this->random);
  const auto result = hard_attention(this->Q, this->K, this->V, selections::argmax{},
                                     scores::additive_projected{v});
  for (index i = 0; i < this->n; ++i) {
    const auto score = [&](index j) {
      real sum = 0;
      for (index f = 0; f < 4; ++f)
        sum += real(v(f)) * std::tanh(real(this->Q(i, f)) + real(this->K(j, f)));
      return sum;
    };
    index best = 0;
    for (index j = 1; j < this->m; ++j)
      if (score(j) > score(best)) best = j;
    real sum = 0;
    for (index j = 0; j < this->m; ++j) sum += std::exp(score(j) - score(best));
    EXPECT_EQ(result.choice[i], best);
    EXPECT_NEAR(result.log_probability[i], double(-std::log(sum)), this->bound());
  }
}

TYPED_TEST(HardAttention, DrawsInAPartAsInTheWhole) {
  const selections::sample select{.seed = 3};
  const auto whole = hard_attention(this->Q, this->K, this->V, select);
  const auto part = hard_attention(this->Q.bottomRows(4), this->K, this->V, select,
                                   frame{.first_query = 5, .queries = 9});
  EXPECT_TRUE((part.choice.array() == whole.choice.tail(4).array()).all());
}

TYPED_TEST(HardAttention, StoresBlocksOfScores) {
  using T = TypeParam;
  const auto q = random_matrix<row_major<T>>(4000, 4, this->random);
  const auto k = random_matrix<row_major<T>>(500, 4, this->random);
  workspace scratch;
  options how;
  how.workspace = &scratch;
  (void)hard_attention(q.topRows(2000), k, k, selections::argmax{}, how);
  const std::size_t before = scratch.bytes();
  EXPECT_LE(before, 2000 * 500 * sizeof(T) / 4);
  (void)hard_attention(q, k, k, selections::argmax{}, how);
  EXPECT_EQ(scratch.bytes(), before);
}

TYPED_TEST(HardAttention, RejectsPoliciesThatDoNotFitAllQueries) {
  const row_major<TypeParam> B = row_major<TypeParam>::Zero(4, this->m);
  expect_error<shape_error>(
      [&] {
        (void)hard_attention(this->Q, this->K, this->V, selections::argmax{}, transforms::bias{B});
      },
      {"transforms::bias rows() is 4", "Q.rows() is 9"});
}

TYPED_TEST(HardAttention, HardmaxIsOneHot) {
  using T = TypeParam;
  const T none = -std::numeric_limits<T>::infinity();
  const T nan = std::numeric_limits<T>::quiet_NaN();
  row_major<T> S(5, 3);
  S << 1, 3, 2, 4, 4, 4, none, none, none, none, -5, none, 0, nan, 1;
  const auto P = hardmax(S);
  row_major<T> expected(5, 3);
  expected << 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, nan, nan, nan;
  EXPECT_TRUE(bitwise_equal(P, expected));
  EXPECT_TRUE(bitwise_equal(hardmax(S.topRows(4) + S.topRows(4)), expected.topRows(4)));
  EXPECT_EQ(hardmax(row_major<T>(0, 3)).rows(), 0);
  EXPECT_EQ(hardmax(row_major<T>(2, 0)).cols(), 0);
}

}  // namespace
}  // namespace softlook::hard_test
