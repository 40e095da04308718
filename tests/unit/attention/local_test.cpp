#include "softlook/attention/local.hpp"

#include <atomic>
#include <vector>

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/numbers.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::local_test {
namespace {

using namespace softlook_test;
using oracle::real;

/// The paper's formulas; `score(i, j)` is −∞ where a mask forbids.
struct local_truth {
  oracle::matrix weights;
  std::vector<real> position;
};

template <class Score>
oracle::matrix window_softmax(index queries, index keys, const Score& score,
                              const std::vector<real>& position, index window) {
  oracle::matrix weights = oracle::matrix::Zero(queries, keys);
  for (index i = 0; i < queries; ++i) {
    const real p = position[std::size_t(i)];
    real top = -oracle::infinity, sum = 0;
    const auto inside = [&](index j) { return std::fabs(real(j) - p) <= real(window); };
    for (index j = 0; j < keys; ++j)
      if (inside(j)) top = std::max(top, score(i, j));
    if (top == -oracle::infinity) continue;
    for (index j = 0; j < keys; ++j)
      if (inside(j)) sum += std::exp(score(i, j) - top);
    for (index j = 0; j < keys; ++j)
      if (inside(j)) weights(i, j) = std::exp(score(i, j) - top) / sum;
  }
  return weights;
}

template <class Score>
local_truth local_m(index queries, index keys, const Score& score, index window, index first) {
  local_truth truth;
  for (index i = 0; i < queries; ++i) truth.position.push_back(real(first + i));
  truth.weights = window_softmax(queries, keys, score, truth.position, window);
  return truth;
}

template <class T>
class LocalAttention : public ::testing::Test {
 protected:
  static constexpr index d = 5, e = 3, a = 4;
  generator random = seed(31);
  row_major<T> Q, K, V;
  row_major<T> W = random_matrix<row_major<T>>(d, a, random);
  column<T> v = random_matrix<column<T>>(a, 1, random);

  void make(index n, index m) {
    Q = random_matrix<row_major<T>>(n, d, random);
    K = random_matrix<row_major<T>>(m, d, random);
    V = random_matrix<row_major<T>>(m, e, random);
  }
  real score(index i, index j) const {
    real sum = 0;
    for (index f = 0; f < d; ++f) sum += real(Q(i, f)) * real(K(j, f));
    return sum / std::sqrt(real(d));
  }
  real position(index i) const {
    real z = 0;
    for (index h = 0; h < a; ++h) {
      real sum = 0;
      for (index f = 0; f < d; ++f) sum += real(Q(i, f)) * real(W(f, h));
      z += std::tanh(sum) * real(v[h]);
    }
    return real(K.rows()) / (1 + std::exp(-z));
  }
  template <class Score>
  local_truth local_p(const Score& s, index window) const {
    local_truth truth;
    for (index i = 0; i < Q.rows(); ++i) truth.position.push_back(position(i));
    truth.weights = window_softmax(Q.rows(), K.rows(), s, truth.position, window);
    const real sigma = real(window) / 2;
    for (index i = 0; i < Q.rows(); ++i)
      for (index j = 0; j < K.rows(); ++j) {
        const real off = real(j) - truth.position[std::size_t(i)];
        truth.weights(i, j) *= std::exp(-off * off / (2 * sigma * sigma));
      }
    return truth;
  }

  double score_magnitude() const { return double(d) * max_magnitude(Q) * max_magnitude(K); }
  /// sigmoid has a slope of 1/4; tanh is off by a few ε, its argument like a dot product.
  double position_bound() const {
    const double of_tanh =
        dot_product_bound<T>(d, max_magnitude(Q) * max_magnitude(W) * d) + 8 * epsilon_of<T>();
    return double(K.rows()) * (double(v.cwiseAbs().sum()) * of_tanh / 4 + epsilon_of<T>());
  }
  /// The Gaussian's slope is at most e^{−1/2}/σ; the factor is a difference of log-sum-exps.
  double weight_bound(index window, double magnitude) const {
    return attention_bound<T>(double(2 * window + 1), d, magnitude, 1) +
           2 * log_sum_exp_rounding<T>(magnitude, double(2 * window + 1)) +
           2 * position_bound() / double(window);
  }
  /// Rows whose window is the same for every position within the bound.
  bool decided(real p) const {
    return std::fabs(p - std::round(p)) > 2 * real(position_bound()) || K.rows() == 0;
  }

  template <class Output>
  void expect_output(const Output& output, const local_truth& truth, double bound) const {
    ASSERT_EQ(output.rows(), Q.rows());
    ASSERT_EQ(output.cols(), V.cols());
    const oracle::matrix expected = oracle::product(truth.weights, oracle::widen(V));
    index undecided = 0;
    for (index i = 0; i < Q.rows(); ++i) {
      if (!decided(truth.position[std::size_t(i)])) {
        ++undecided;
        continue;
      }
      EXPECT_LE(max_error(output.row(i), expected.row(i)), bound * (1 + max_magnitude(V))) << i;
    }
    EXPECT_LE(undecided, 1 + Q.rows() / 20);
  }
};
TYPED_TEST_SUITE(LocalAttention, scalars, scalar_names);

struct local_sizes {
  index n, m, window, first;
};

TYPED_TEST(LocalAttention, MonotonicIsSoftmaxInAMovingWindow) {
  for (const local_sizes s : {local_sizes{1, 1, 0, 0},
                              {7, 7, 2, 0},
                              {13, 5, 1, -3},
                              {5, 300, 4, 280},
                              {150, 151, 10, 2},
                              {1, 97, 3, 50},
                              {0, 4, 1, 0},
                              {3, 0, 1, 0}}) {
    this->make(s.n, s.m);
    const auto score = [&](index i, index j) { return this->score(i, j); };
    const auto truth = local_m(s.n, s.m, score, s.window, s.first);
    const alignments::monotonic where{.window = s.window, .first = s.first};
    const double bound =
        attention_bound<TypeParam>(double(2 * s.window + 1), this->d, this->score_magnitude(), 1);
    const auto output = local_attention(this->Q, this->K, this->V, where);
    EXPECT_LE(max_error(output, oracle::product(truth.weights, oracle::widen(this->V))),
              bound * (1 + max_magnitude(this->V)));
    EXPECT_LE(max_error(local_attention_weights(this->Q, this->K, where), truth.weights), bound);
  }
}

TYPED_TEST(LocalAttention, PredictiveIsThePapersFormula) {
  for (const local_sizes s : {local_sizes{1, 1, 1, 0},
                              {5, 2, 3, 0},
                              {53, 31, 2, 0},
                              {1, 300, 10, 0},
                              {200, 97, 1, 0},
                              {101, 400, 7, 0},
                              {0, 5, 2, 0},
                              {4, 0, 2, 0}}) {
    this->make(s.n, s.m);
    const auto truth = this->local_p([&](index i, index j) { return this->score(i, j); }, s.window);
    const alignments::predictive where(this->W, this->v, s.window);
    const double bound = this->weight_bound(s.window, this->score_magnitude());
    const auto result = local_attention(this->Q, this->K, this->V, where);
    this->expect_output(result.output, truth, bound);
    ASSERT_EQ(result.position.size(), s.n);
    for (index i = 0; i < s.n; ++i)
      EXPECT_NEAR(result.position[i], double(truth.position[std::size_t(i)]),
                  this->position_bound());
    const auto weights = local_attention_weights(this->Q, this->K, where);
    for (index i = 0; i < s.n; ++i) {
      if (!this->decided(truth.position[std::size_t(i)])) continue;
      EXPECT_LE(max_error(weights.row(i), truth.weights.row(i)), bound);
      EXPECT_LE(double(weights.row(i).sum()), 1 + unit_sum_bound<TypeParam>(double(s.m)));
    }
  }
}

TYPED_TEST(LocalAttention, TellsPoliciesTheQueryAndTheKeyInAnyOrder) {
  using T = TypeParam;
  constexpr index n = 120, m = 90, window = 6;
  this->make(n, m);
  const auto B = random_matrix<row_major<T>>(n, m, this->random);
  const masks::causal_bottom_right mask;
  const auto score = [&](index i, index j) {
    return j <= i + m - n ? this->score(i, j) + real(B(i, j)) : -oracle::infinity;
  };
  const double magnitude = this->score_magnitude() + max_magnitude(B);
  const alignments::predictive where(this->W, this->v, window);
  const auto result = local_attention(this->Q, this->K, this->V, where, transforms::bias(B), mask);
  this->expect_output(result.output, this->local_p(score, window),
                      this->weight_bound(window, magnitude));
  const auto moving = local_attention(this->Q, this->K, this->V, alignments::monotonic{.window = 6},
                                      mask, transforms::bias(B));
  EXPECT_LE(
      max_error(moving,
                oracle::product(local_m(n, m, score, window, 0).weights, oracle::widen(this->V))),
      attention_bound<T>(2 * window + 1, this->d, magnitude, 1) * (1 + max_magnitude(this->V)));
}

TYPED_TEST(LocalAttention, HoldsOnEveryKernelAndInstructionSet) {
  this->make(40, 64);
  const auto truth = this->local_p([&](index i, index j) { return this->score(i, j); }, 4);
  const alignments::predictive where(this->W, this->v, 4);
  for (const instruction_set isa : available_instruction_sets())
    for (const kernel which : {kernel::naive, kernel::tiled, kernel::few_queries}) {
      const options o{.isa = isa, .kernel = which};
      const auto result = local_attention(this->Q, this->K, this->V, where, o);
      this->expect_output(result.output, truth, this->weight_bound(4, this->score_magnitude()));
    }
}

TYPED_TEST(LocalAttention, HasTheSameBitsForAnyExecutorStorageOrderAndSplit) {
  using T = TypeParam;
  this->make(131, 200);
  const alignments::predictive where(this->W, this->v, 5);
  const auto once = local_attention(this->Q, this->K, this->V, where).output;
  exec::thread_pool pool(3);
  EXPECT_TRUE(bitwise_equal(once, local_attention(this->Q, this->K, this->V, where, pool).output));
  const col_major<T> q = this->Q, k = this->K, values = this->V;
  EXPECT_TRUE(bitwise_equal(once, local_attention(q, k, values, where).output));
  row_major<T> parts(131, this->e);
  parts.topRows(50) = local_attention(this->Q.topRows(50), this->K, this->V, where).output;
  parts.bottomRows(81) = local_attention(this->Q.bottomRows(81), this->K, this->V, where).output;
  EXPECT_TRUE(bitwise_equal(once, parts));
}

TYPED_TEST(LocalAttention, KeepsNaNWhereItIsUsed) {
  constexpr auto nan = std::numeric_limits<TypeParam>::quiet_NaN();
  this->make(30, 60);
  const alignments::predictive where(this->W, this->v, 2);
  const auto clean = local_attention(this->Q, this->K, this->V, where);
  auto values = this->V;
  const index hit = index(std::lround(double(clean.position[7])));
  values.row(std::min<index>(hit, 59)).setConstant(nan);
  const auto weights = local_attention_weights(this->Q, this->K, where);
  const auto poisoned = local_attention(this->Q, this->K, values, where).output;
  for (index i = 0; i < 30; ++i) {
    if (weights(i, std::min<index>(hit, 59)) > 0)
      EXPECT_TRUE(row_is_nan(poisoned, i)) << i;
    else
      EXPECT_TRUE(bitwise_equal(poisoned.row(i), clean.output.row(i))) << i;
  }
  this->Q(4, 1) = nan;
  const auto lost = local_attention(this->Q, this->K, this->V, where);
  EXPECT_TRUE(std::isnan(lost.position[4]));
  EXPECT_TRUE(row_is_nan(local_attention_weights(this->Q, this->K, where), 4));
  for (index i = 0; i < 30; ++i) {
    if (i == 4)
      EXPECT_TRUE(row_is_nan(lost.output, i));
    else
      EXPECT_TRUE(bitwise_equal(lost.output.row(i), clean.output.row(i))) << i;
  }
}

TYPED_TEST(LocalAttention, GivesZerosWhereNoKeyIsLeft) {
  this->make(6, 20);
  const auto moving =
      local_attention(this->Q, this->K, this->V, alignments::monotonic{.window = 1, .first = 18});
  for (const index i : {3, 4, 5}) EXPECT_TRUE(row_is_zero(moving, i)) << i;
  EXPECT_FALSE(row_is_zero(moving, 2));
  const alignments::predictive where(this->W, this->v, 2);
  const auto masked =
      local_attention(this->Q, this->K, this->V, where, masks::padding{.length = 0}).output;
  for (index i = 0; i < 6; ++i) EXPECT_TRUE(row_is_zero(masked, i));
}

/// Counts the scores that a transform is asked about.
struct counter {
  std::atomic<index>* calls;
  template <class S>
  S operator()(S s, std::int32_t, std::int32_t) const {
    calls->fetch_add(1, std::memory_order_relaxed);
    return s;
  }
};

TYPED_TEST(LocalAttention, TakesWorkInProportionToTheWindow) {
  constexpr index n = 3000, window = 4, lanes = 48, rows = 8;
  index last = 0;
  for (const index m : {2000, 8000}) {
    this->make(n, m);
    const alignments::predictive where(this->W, this->v, window);
    std::atomic<index> calls{0};
    (void)local_attention(this->Q, this->K, this->V, where, transforms::map(counter{&calls}));
    // Twice: each register tile looks at its windows' hull, and the hulls overlap by a window.
    const index hulls = m + (n / lanes + 1) * (2 * window + 1 + 2 * rows);
    EXPECT_LE(calls.load(), 2 * lanes * hulls);
    EXPECT_LE(calls.load(), n * m / 4);
    calls = 0;
    (void)local_attention(this->Q.topRows(1), this->K, this->V, where,
                          transforms::map(counter{&calls}));
    EXPECT_LE(calls.load(), 2 * lanes * (2 * window + 1 + 2 * rows));
    calls = 0;
    (void)local_attention(this->Q.topRows(1000), this->K, this->V,
                          alignments::monotonic{.window = window},
                          transforms::map(counter{&calls}));
    if (last > 0) {
      EXPECT_EQ(calls.load(), last);
    }
    last = calls.load();
  }
}

/// Scores and keys that differ from head to head; of one head, in a call of its own.
struct of_head {
  std::int32_t alone = -1;
  [[nodiscard]] std::int32_t number(problem p) const { return alone < 0 ? p.head : alone; }
  auto score() const {
    return transforms::map([*this](auto s, std::int32_t i, std::int32_t j, problem p) {
      return s + decltype(s)((i + 2 * j) % 5 * number(p)) / 4;
    });
  }
  auto mask() const {
    return masks::where(
        [*this](std::int32_t i, std::int32_t j, problem p) { return (i + j) % 7 != number(p); });
  }
};

TYPED_TEST(LocalAttention, GivesEachHeadTheBitsOfItsColumns) {
  using T = TypeParam;
  constexpr index n = 45, m = 70, query = 4, wide = 5, deep = 3;
  const exec::thread_pool two(2), many(7);
  for (const index kv : {4, 2, 1}) {
    this->Q = random_matrix<row_major<T>>(n, query * wide, this->random);
    this->K = random_matrix<row_major<T>>(m, kv * wide, this->random);
    this->V = random_matrix<row_major<T>>(m, kv * deep, this->random);
    const heads h{.query = query, .kv = kv};
    const alignments::predictive predicted(this->W, this->v, 4);
    const alignments::monotonic moving{.window = 4, .first = 3};
    const of_head all;
    for (const kernel which : {kernel::tiled, kernel::few_queries, kernel::naive}) {
      SCOPED_TRACE(::testing::Message() << "kv " << kv << " kernel " << int(which));
      const options o{.kernel = which};
      const auto p =
          local_attention(this->Q, this->K, this->V, predicted, h, all.score(), all.mask(), o, two);
      const auto p_many = local_attention(this->Q, this->K, this->V, predicted, h, all.score(),
                                          all.mask(), o, many);
      EXPECT_TRUE(bitwise_equal(p.output, p_many.output));
      EXPECT_TRUE(bitwise_equal(p.position, p_many.position));
      const auto p_weights =
          local_attention_weights(this->Q, this->K, predicted, h, all.score(), all.mask(), two);
      const auto mono =
          local_attention(this->Q, this->K, this->V, moving, h, all.score(), all.mask(), o, two);
      ASSERT_EQ(p.position.cols(), query);
      ASSERT_EQ(p_weights.size(), std::size_t(query));
      for (index head = 0; head < query; ++head) {
        const index shared = head / (query / kv);
        const auto q = this->Q.middleCols(head * wide, wide);
        const auto k = this->K.middleCols(shared * wide, wide);
        const auto values = this->V.middleCols(shared * deep, deep);
        const of_head one{std::int32_t(head)};
        const auto own = local_attention(q, k, values, predicted, one.score(), one.mask(), o);
        EXPECT_TRUE(bitwise_equal(p.output.middleCols(head * deep, deep), own.output)) << head;
        EXPECT_TRUE(bitwise_equal(p.position.col(head), own.position)) << head;
        EXPECT_TRUE(
            bitwise_equal(p_weights[std::size_t(head)],
                          local_attention_weights(q, k, predicted, one.score(), one.mask())))
            << head;
        EXPECT_TRUE(
            bitwise_equal(mono.middleCols(head * deep, deep),
                          local_attention(q, k, values, moving, one.score(), one.mask(), o)))
            << head;
      }
    }
  }
}

TYPED_TEST(LocalAttention, KeepsANaNPositionInItsHead) {
  using T = TypeParam;
  this->Q = random_matrix<row_major<T>>(6, 10, this->random);
  this->K = random_matrix<row_major<T>>(20, 10, this->random);
  this->V = random_matrix<row_major<T>>(20, 6, this->random);
  const alignments::predictive where(this->W, this->v, 2);
  const heads two{.query = 2};
  const auto clean = local_attention(this->Q, this->K, this->V, where, two);
  this->Q(4, 7) = std::numeric_limits<T>::quiet_NaN();
  const auto lost = local_attention(this->Q, this->K, this->V, where, two);
  EXPECT_TRUE(std::isnan(lost.position(4, 1)));
  EXPECT_TRUE(row_is_nan(lost.output.rightCols(3), 4));
  EXPECT_TRUE(bitwise_equal(lost.output.leftCols(3), clean.output.leftCols(3)));
  const auto weights = local_attention_weights(this->Q, this->K, where, two);
  EXPECT_TRUE(all_finite(weights[0]));
  EXPECT_TRUE(row_is_nan(weights[1], 4));
}

TYPED_TEST(LocalAttention, RejectsHeadsThatDoNotFit) {
  this->make(3, 4);
  const alignments::predictive where(this->W, this->v, 2);
  const auto call = [&](const auto& q, const auto& k, const auto& of_keys, const heads& h) {
    return [&, h] { (void)local_attention(q, k, of_keys, where, h); };
  };
  expect_error<argument_error>(call(this->Q, this->K, this->V, {.query = 0}),
                               {"local_attention", "heads.query is 0"});
  expect_error<shape_error>(call(this->Q, this->K, this->V, {.query = 2}),
                            {"Q.cols() is 5", "heads.query is 2"});
  row_major<TypeParam> q(3, 10), k(4, 10), values(4, 3);
  q.setOnes(), k.setOnes(), values.setOnes();
  expect_error<shape_error>(call(q, k, values, {.query = 2}), {"V.cols() is 3", "heads.kv is 2"});
  expect_error<shape_error>(call(q, this->K, values, {.query = 2, .kv = 2}),
                            {"K.cols() is 5", "heads.kv is 2"});
  expect_error<shape_error>(call(q, k, values, {.query = 1}), {"W.rows() is 5", "Q.cols() is 10"});
}

TYPED_TEST(LocalAttention, RejectsWhatDoesNotFit) {
  this->make(3, 4);
  expect_error<argument_error>(
      [&] {
        (void)local_attention(this->Q, this->K, this->V, alignments::monotonic{.window = -1});
      },
      {"local_attention", "window is -1"});
  expect_error<argument_error>(
      [&] {
        (void)local_attention(this->Q, this->K, this->V,
                              alignments::predictive(this->W, this->v, 0));
      },
      {"local_attention", "window is 0"});
  expect_error<argument_error>(
      [&] { (void)local_attention_weights(this->Q, this->K, alignments::monotonic{.window = -2}); },
      {"local_attention_weights", "window is -2"});
  const row_major<TypeParam> narrow = this->W.topRows(2);
  expect_error<shape_error>(
      [&] {
        (void)local_attention_weights(this->Q, this->K, alignments::predictive(narrow, this->v, 2));
      },
      {"local_attention_weights", "W.rows() is 2", "Q.cols() is 5"});
  const column<TypeParam> longer = column<TypeParam>::Zero(7);
  expect_error<shape_error>(
      [&] {
        (void)local_attention(this->Q, this->K, this->V,
                              alignments::predictive(this->W, longer, 2));
      },
      {"local_attention", "v.size() is 7", "W.cols() is 4"});
  expect_error<shape_error>(
      [&] {
        (void)local_attention(this->Q, this->K, this->V.topRows(2),
                              alignments::predictive(this->W, this->v, 2));
      },
      {"local_attention", "V.rows() is 2", "K.rows() is 4"});
  expect_error<shape_error>(
      [&] {
        (void)local_attention(this->Q, this->K.leftCols(3), this->V,
                              alignments::monotonic{.window = 1});
      },
      {"local_attention", "K.cols() is 3", "Q.cols() is 5"});
}

}  // namespace
}  // namespace softlook::local_test
