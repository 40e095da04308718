#include "softlook/attention/monotonic.hpp"

#include <atomic>
#include <cfenv>
#include <vector>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/seq2seq/bahdanau_attention.hpp"
#include "tests/oracle/numbers.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::monotonic_test {
namespace {

using namespace softlook_test;
using oracle::real;

constexpr monotonic_form expected_forms[] = {monotonic_form::recursive, monotonic_form::parallel};

real probability(real energy) { return 1 / (1 + std::exp(-energy)); }

/// The definition: α_ij = p_ij Σ_{k≤j} α_{i−1,k} Π_{l=k}^{j−1} (1 − p_il). 1 − p = sigmoid(−e).
oracle::matrix definition(const oracle::matrix& E, const oracle::matrix& previous) {
  oracle::matrix A = oracle::matrix::Zero(E.rows(), E.cols());
  for (index i = 0; i < E.rows(); ++i)
    for (index j = 0; j < E.cols(); ++j)
      for (index k = 0; k <= j; ++k) {
        real walk = i == 0 ? previous(0, k) : A(i - 1, k);
        for (index l = k; l < j; ++l) walk *= probability(-E(i, l));
        A(i, j) += probability(E(i, j)) * walk;
      }
  return A;
}

/// Raffel et al., algorithm 1, for given outcomes of all its coin tosses: key of each query, or −1.
std::vector<index> walk(index queries, index keys, index start, unsigned tosses) {
  std::vector<index> chosen;
  index t = start;
  for (index i = 0; i < queries; ++i) {
    while (t < keys && !(tosses >> (i * keys + t) & 1u)) ++t;
    chosen.push_back(t < keys ? t : -1);
  }
  return chosen;
}

/// Relative: each energy is exact, a weight is a sum of products of up to keys + queries decisions.
template <class T>
double decisions_bound(index decisions) {
  return epsilon_of<T>() + 8 * double(decisions + 1) * epsilon_of<double>();
}

template <class T>
class MonotonicWeights : public ::testing::Test {
 protected:
  generator random = seed(53);
  static row_major<T> start(index keys) { return monotonic_start<T>(keys); }
};
TYPED_TEST_SUITE(MonotonicWeights, scalars, scalar_names);

TYPED_TEST(MonotonicWeights, FollowTheirDefinition) {
  for (const auto& [n, m] : {std::pair<index, index>{1, 1}, {3, 2}, {7, 31}, {40, 17}}) {
    const auto E = random_matrix<row_major<TypeParam>>(n, m, this->random, 3);
    row_major<TypeParam> previous = random_matrix<row_major<TypeParam>>(1, m, this->random);
    previous = previous.cwiseAbs() / (1 + previous.cwiseAbs().sum());
    for (const auto& from : {this->start(m), previous}) {
      const oracle::matrix truth = definition(oracle::widen(E), oracle::widen(from));
      for (const monotonic_form form : expected_forms) {
        const auto A = monotonic_weights(E, from.row(0), form);
        EXPECT_LE(max_error(A, truth), decisions_bound<TypeParam>(n + m)) << n << "x" << m;
        EXPECT_LE(double(A.rowwise().sum().maxCoeff()), 1 + unit_sum_bound<TypeParam>(double(m)));
      }
    }
  }
}

TYPED_TEST(MonotonicWeights, AreTheExpectationOfHardWalks) {
  for (const auto& [n, m] : {std::pair<index, index>{1, 4}, {3, 3}, {4, 3}, {2, 6}}) {
    const auto E = random_matrix<row_major<TypeParam>>(n, m, this->random, 2);
    oracle::matrix expectation = oracle::matrix::Zero(n, m);
    for (unsigned tosses = 0; tosses < 1u << (n * m); ++tosses) {
      real chance = 1;
      row_major<TypeParam> energies(n, m);
      for (index i = 0; i < n; ++i)
        for (index j = 0; j < m; ++j) {
          const bool stop = (tosses >> (i * m + j) & 1u) != 0;
          chance *= probability(stop ? real(E(i, j)) : -real(E(i, j)));
          energies(i, j) = stop ? TypeParam(1) : TypeParam(-1);
        }
      const std::vector<index> chosen = walk(n, m, 0, tosses);
      const auto hard = monotonic_weights(energies, this->start(m).row(0), monotonic_form::hard);
      for (index i = 0; i < n; ++i) {
        const index j = chosen[std::size_t(i)];
        ASSERT_EQ(hard.row(i).sum(), TypeParam(j < 0 ? 0 : 1));
        if (j < 0) continue;
        ASSERT_EQ(hard(i, j), TypeParam(1));
        expectation(i, j) += chance;
      }
    }
    for (const monotonic_form form : expected_forms)
      EXPECT_LE(max_error(monotonic_weights(E, this->start(m).row(0), form), expectation),
                decisions_bound<TypeParam>(n + m));
  }
}

TYPED_TEST(MonotonicWeights, AreTheSameInOneCallOrStepByStepAndInBlocks) {
  constexpr index n = 6, m = 2500;  // three blocks of the parallel form
  // Seldom stops: the walks reach the last block.
  const row_major<TypeParam> E =
      random_matrix<row_major<TypeParam>>(n, m, this->random).array() - TypeParam(6);
  const auto once = monotonic_weights(E, this->start(m).row(0), monotonic_form::recursive);
  const auto scanned = monotonic_weights(E, this->start(m).row(0), monotonic_form::parallel);
  EXPECT_LE(max_error(scanned, once), decisions_bound<TypeParam>(n + m));
  EXPECT_GT(double(once.row(n - 1).tail(400).sum()), 0.01);
  exec::thread_pool pool(3);
  EXPECT_TRUE(bitwise_equal(
      scanned, monotonic_weights(E, this->start(m).row(0), monotonic_form::parallel, pool)));
  for (const monotonic_form form : expected_forms) {
    const auto whole = monotonic_weights(E, this->start(m).row(0), form);
    row_major<TypeParam> last = this->start(m);
    for (index i = 0; i < n; ++i) {
      last = monotonic_weights(E.row(i), last.row(0), form);
      EXPECT_LE(max_error(last, whole.row(i)), double(n) * decisions_bound<TypeParam>(m));
    }
  }
}

TYPED_TEST(MonotonicWeights, NeedNoClippingForExtremeEnergies) {
  constexpr index n = 5, m = 1500;
  for (int trial = 0; trial < 4; ++trial) {
    row_major<TypeParam> E(n, m);
    for (index i = 0; i < n; ++i)
      for (index j = 0; j < m; ++j)
        E(i, j) = TypeParam(this->random.chance(trial == 3 ? 0.001 : 0.01) ? 1e4 : -1e4);
    E(0, 0) = 1e4;  // passing this key has probability e^−10000
    E(1, 0) = -1e4;
    const auto hard = monotonic_weights(E, this->start(m).row(0), monotonic_form::hard);
    for (const monotonic_form form : expected_forms) {
      const auto A = monotonic_weights(E, this->start(m).row(0), form);
      ASSERT_TRUE(all_finite(A));
      EXPECT_LE(max_error(A, hard), decisions_bound<TypeParam>(n + m));
    }
  }
}

TYPED_TEST(MonotonicWeights, ReachAKeyBehindOneThatIsNeverPassed) {
  // Clipped products divide the weight of key 2 by (almost) nothing; it must arrive whole.
  row_major<TypeParam> E(1, 4), previous(1, 4);
  E << TypeParam(1e4), 0, 0, 0;
  previous << 0, 0, 1, 0;
  for (const monotonic_form form : expected_forms) {
    const auto A = monotonic_weights(E, previous.row(0), form);
    row_major<TypeParam> truth(1, 4);
    truth << 0, 0, TypeParam(0.5), TypeParam(0.25);
    EXPECT_LE(max_error(A, truth), decisions_bound<TypeParam>(4));
  }
}

TYPED_TEST(MonotonicWeights, TreatInfiniteEnergiesAsCertain) {
  constexpr auto inf = std::numeric_limits<TypeParam>::infinity();
  row_major<TypeParam> E(3, 4), truth(3, 4);
  E << -inf, 0, inf, 0,    //
      0, -inf, -inf, inf,  //
      -inf, -inf, -inf, -inf;
  truth << 0, TypeParam(0.5), TypeParam(0.5), 0,  //
      0, 0, 0, 1,                                 //
      0, 0, 0, 0;
  std::feclearexcept(FE_ALL_EXCEPT);
  for (const monotonic_form form : expected_forms)
    EXPECT_LE(max_error(monotonic_weights(E, this->start(4).row(0), form), truth),
              decisions_bound<TypeParam>(8));
  EXPECT_EQ(std::fetestexcept(FE_INVALID | FE_DIVBYZERO), 0);
}

TYPED_TEST(MonotonicWeights, StayEmptyPastTheLastKey) {
  row_major<TypeParam> E(3, 3);
  E << -1, 1, 1,   //
      -1, -1, -1,  //
      1, 1, 1;
  const auto A = monotonic_weights(E, this->start(3).row(0), monotonic_form::hard);
  EXPECT_EQ(A(0, 1), TypeParam(1));
  EXPECT_TRUE(row_is_zero(A, 1));
  EXPECT_TRUE(row_is_zero(A, 2));
  for (const monotonic_form form :
       {monotonic_form::recursive, monotonic_form::parallel, monotonic_form::hard}) {
    EXPECT_EQ(monotonic_weights(E.leftCols(0), this->start(0).row(0), form).cols(), 0);
    EXPECT_EQ(monotonic_weights(E.topRows(0), this->start(3).row(0), form).rows(), 0);
  }
}

TYPED_TEST(MonotonicWeights, KeepNaNBehindItsKey) {
  constexpr auto nan = std::numeric_limits<TypeParam>::quiet_NaN();
  row_major<TypeParam> E = row_major<TypeParam>::Zero(3, 5);
  E(1, 2) = nan;
  for (const monotonic_form form : expected_forms) {
    const auto A = monotonic_weights(E, this->start(5).row(0), form);
    EXPECT_TRUE(all_finite(A.row(0)));
    EXPECT_TRUE(all_finite(A.leftCols(2)));
    for (const index i : {1, 2}) EXPECT_TRUE(row_is_nan(A.rightCols(3), i));
  }
  E(0, 1) = 1;
  const auto hard =
      monotonic_weights(E.array() - TypeParam(0.5), this->start(5).row(0), monotonic_form::hard);
  EXPECT_EQ(hard(0, 1), TypeParam(1));
  for (const index i : {1, 2}) EXPECT_TRUE(row_is_nan(hard.rightCols(3), i));
}

TYPED_TEST(MonotonicWeights, RejectWhatDoesNotFit) {
  const row_major<TypeParam> E = row_major<TypeParam>::Zero(2, 3);
  row_major<TypeParam> previous = this->start(4);
  expect_error<shape_error>([&] { (void)monotonic_weights(E, previous.row(0)); },
                            {"monotonic_weights", "previous.size() is 4", "E.cols() is 3"});
  previous = this->start(3);
  previous(0, 1) = TypeParam(-0.25);
  expect_error<argument_error>([&] { (void)monotonic_weights(E, previous.row(0)); },
                               {"monotonic_weights", "-0.25"});
}

template <class T>
class MonotonicAttention : public ::testing::Test {
 protected:
  static constexpr index n = 6, m = 19, d = 4, dk = 3, a = 5;
  generator random = seed(77);
  row_major<T> Q = random_matrix<row_major<T>>(n, d, random);
  row_major<T> K = random_matrix<row_major<T>>(m, dk, random);
  row_major<T> V = random_matrix<row_major<T>>(m, 2, random);
  row_major<T> Wq = random_matrix<row_major<T>>(d, a, random);
  row_major<T> Wk = random_matrix<row_major<T>>(dk, a, random);
  row_major<T> W = random_matrix<row_major<T>>(d, dk, random);
  column<T> v = random_matrix<column<T>>(a, 1, random);
  column<T> b = random_matrix<column<T>>(a, 1, random);

  /// g·v/|v| · tanh(q Wq + k Wk + b) + r
  oracle::matrix bahdanau(real g, real r) const {
    const oracle::matrix q = oracle::product(oracle::widen(Q), oracle::widen(Wq));
    const oracle::matrix k = oracle::product(oracle::widen(K), oracle::widen(Wk));
    real norm = 0;
    for (index h = 0; h < a; ++h) norm += real(v[h]) * real(v[h]);
    oracle::matrix E(n, m);
    for (index i = 0; i < n; ++i)
      for (index j = 0; j < m; ++j) {
        E(i, j) = r;
        for (index h = 0; h < a; ++h)
          E(i, j) += g * real(v[h]) / std::sqrt(norm) * std::tanh(q(i, h) + k(j, h) + real(b[h]));
      }
    return E;
  }
  /// g · q W k + r
  oracle::matrix luong(real g, real r) const {
    const oracle::matrix q = oracle::product(oracle::widen(Q), oracle::widen(W));
    oracle::matrix E(n, m);
    for (index i = 0; i < n; ++i)
      for (index j = 0; j < m; ++j)
        E(i, j) = g * oracle::inner_product(q, i, oracle::widen(K), j) + r;
    return E;
  }
  /// Each of up to n + m decisions is relatively off by the error of its energy at most.
  double bound(double magnitude) const {
    const double of_energy =
        dot_product_bound<T>(d + dk + a, 1 + double(d) * double(dk) * magnitude);
    return std::expm1(double(n + m) * of_energy) + decisions_bound<T>(n + m);
  }
  oracle::matrix start() const { return oracle::widen(monotonic_start<T>(m)); }
  template <class Result>
  void expect_result(const Result& result, const oracle::matrix& E, double magnitude) const {
    const oracle::matrix truth = definition(E, start());
    EXPECT_LE(max_error(result.weights, truth), bound(magnitude));
    EXPECT_LE(max_error(result.output, oracle::product(truth, oracle::widen(V))),
              double(m) * bound(magnitude) * max_magnitude(V));
  }
};
TYPED_TEST_SUITE(MonotonicAttention, scalars, scalar_names);

TYPED_TEST(MonotonicAttention, TakesBahdanausAndLuongsScores) {
  using T = TypeParam;
  const column<T> normed = weight_norm(this->v, T(1.5));
  const auto from = monotonic_start<T>(this->m);
  for (const instruction_set isa : available_instruction_sets())
    for (const monotonic_form form : expected_forms) {
      const monotonic_options how{.form = form, .score_bias = -1};
      this->expect_result(monotonic_attention(this->Q, this->K, this->V, how, from,
                                              scores::additive(this->Wq, this->Wk, normed, this->b),
                                              options{.isa = isa}),
                          this->bahdanau(1.5, -1), max_magnitude(this->v));
      this->expect_result(
          monotonic_attention(this->Q, this->K, this->V, how, from, scores::general(this->W),
                              options{.scale = 0.75, .isa = isa}),
          this->luong(0.75, -1),
          max_magnitude(this->Q) * max_magnitude(this->W) * max_magnitude(this->K));
    }
}

TYPED_TEST(MonotonicAttention, NeverMeetsAMaskedKey) {
  using T = TypeParam;
  constexpr index length = 11;
  const auto from = monotonic_start<T>(this->m);
  auto poisoned = this->V;
  poisoned.bottomRows(this->m - length).setConstant(std::numeric_limits<T>::quiet_NaN());
  oracle::matrix E = this->luong(1, 0);
  E.rightCols(this->m - length).setConstant(-oracle::infinity);
  for (const monotonic_form form : expected_forms) {
    const auto result =
        monotonic_attention(this->Q, this->K, poisoned, {.form = form}, from,
                            scores::general(this->W), masks::padding{.length = length});
    this->expect_result(monotonic_result<row_major<T>>{result.output, result.weights}, E,
                        max_magnitude(this->Q) * max_magnitude(this->W) * max_magnitude(this->K));
  }
  const auto none = monotonic_attention(this->Q, this->K, poisoned, {}, from,
                                        scores::general(this->W), masks::padding{.length = 0});
  EXPECT_EQ(max_magnitude(none.output), 0);
  EXPECT_TRUE(all_finite(none.output));
}

TYPED_TEST(MonotonicAttention, GoesOnFromTheWeightsOfTheStepBefore) {
  using T = TypeParam;
  const scores::general score(this->W);
  const auto from = monotonic_start<T>(this->m);
  for (const monotonic_form form : {monotonic_form::recursive, monotonic_form::hard}) {
    const monotonic_options how{.form = form, .score_bias = -0.5};
    const auto whole = monotonic_attention(this->Q, this->K, this->V, how, from, score);
    Eigen::Matrix<T, 1, Eigen::Dynamic> last = from;
    for (index i = 0; i < this->n; ++i) {
      const auto step = monotonic_attention(this->Q.row(i), this->K, this->V, how, last, score);
      last = step.weights.row(0);
      EXPECT_LE(
          max_error(last, whole.weights.row(i)),
          this->bound(max_magnitude(this->Q) * max_magnitude(this->W) * max_magnitude(this->K)));
    }
  }
}

TYPED_TEST(MonotonicAttention, HardTakesTheValueOfTheFirstPositiveScore) {
  using T = TypeParam;
  constexpr index keys = 500;
  const auto memory = random_matrix<row_major<T>>(keys, this->dk, this->random);
  const auto values = random_matrix<row_major<T>>(keys, 2, this->random);
  const auto B = random_matrix<row_major<T>>(this->n, keys, this->random);
  const double bias = -4;
  const auto hard = monotonic_attention(this->Q, memory, values, {monotonic_form::hard, bias},
                                        monotonic_start<T>(keys), scores::general(this->W),
                                        transforms::bias(B), masks::padding{.length = 450});
  const oracle::matrix q = oracle::product(oracle::widen(this->Q), oracle::widen(this->W));
  index t = 0;
  for (index i = 0; i < this->n; ++i) {
    while (t < 450 &&
           !(oracle::inner_product(q, i, oracle::widen(memory), t) + real(B(i, t)) + bias > 0))
      ++t;
    if (t == 450) {
      EXPECT_TRUE(row_is_zero(hard.weights, i) && row_is_zero(hard.output, i));
    } else {
      EXPECT_EQ(hard.weights(i, t), T(1)) << i;
      EXPECT_EQ(hard.weights.row(i).sum(), T(1));
      EXPECT_TRUE(bitwise_equal(hard.output.row(i), values.row(t)));
    }
  }
}

/// Scores and keys that differ from head to head; of one head, in a call of its own.
struct of_head {
  std::int32_t alone = -1;
  [[nodiscard]] std::int32_t number(problem p) const { return alone < 0 ? p.head : alone; }
  auto score() const {
    return transforms::map([*this](auto s, std::int32_t i, std::int32_t j, problem p) {
      return s + decltype(s)((i + 2 * j) % 5 - 2 * number(p)) / 4;
    });
  }
  auto mask() const {
    return masks::where(
        [*this](std::int32_t i, std::int32_t j, problem p) { return (i + j) % 7 != number(p); });
  }
};

TYPED_TEST(MonotonicAttention, GivesEachHeadTheBitsOfItsColumns) {
  using T = TypeParam;
  constexpr index queries = 20, keys = 150, query = 4, features = 5, e = 3;
  const exec::thread_pool two(2), many(7);
  for (const index kv : {4, 2}) {
    this->Q = random_matrix<row_major<T>>(queries, query * features, this->random);
    this->K = random_matrix<row_major<T>>(keys, kv * features, this->random);
    this->V = random_matrix<row_major<T>>(keys, kv * e, this->random);
    const heads h{.query = query, .kv = kv};
    row_major<T> previous = monotonic_start<T>(keys, query);
    previous.row(2).setConstant(T(1) / T(keys));
    const of_head all;
    for (const monotonic_form form :
         {monotonic_form::recursive, monotonic_form::parallel, monotonic_form::hard}) {
      SCOPED_TRACE(::testing::Message() << "kv " << kv << " form " << int(form));
      const monotonic_options how{form, -1};
      const auto result = monotonic_attention(this->Q, this->K, this->V, how, previous, h,
                                              all.score(), all.mask(), two);
      const auto other = monotonic_attention(this->Q, this->K, this->V, how, previous, h,
                                             all.score(), all.mask(), many);
      EXPECT_TRUE(bitwise_equal(result.output, other.output));
      ASSERT_EQ(result.weights.size(), std::size_t(query));
      for (index head = 0; head < query; ++head) {
        const index shared = head / (query / kv);
        const of_head one{std::int32_t(head)};
        const auto own = monotonic_attention(this->Q.middleCols(head * features, features),
                                             this->K.middleCols(shared * features, features),
                                             this->V.middleCols(shared * e, e), how,
                                             previous.row(head), one.score(), one.mask());
        EXPECT_TRUE(bitwise_equal(result.output.middleCols(head * e, e), own.output)) << head;
        EXPECT_TRUE(bitwise_equal(result.weights[std::size_t(head)], own.weights)) << head;
      }
    }
  }
}

TYPED_TEST(MonotonicAttention, RejectsHeadsThatDoNotFit) {
  using T = TypeParam;
  const row_major<T> X = row_major<T>::Zero(3, 4);
  const auto call = [&](const row_major<T>& previous, const heads& h) {
    return [&, h] { (void)monotonic_attention(X, X, X, {}, previous, h); };
  };
  const row_major<T> start = monotonic_start<T>(3, 2);
  row_major<T> negative = start;
  negative(1, 2) = T(-0.5);
  expect_error<shape_error>(call(start, {.query = 4}),
                            {"monotonic_attention", "previous.rows() is 2", "heads.query is 4"});
  expect_error<shape_error>(call(monotonic_start<T>(5, 2), {.query = 2}),
                            {"previous.cols() is 5", "K.rows() is 3"});
  expect_error<argument_error>(call(negative, {.query = 2}), {"-0.5"});
  expect_error<shape_error>(call(start, {.query = 3}), {"Q.cols() is 4", "heads.query is 3"});
}

struct counter {
  std::atomic<index>* calls;
  template <class S>
  S operator()(S s, std::int32_t, std::int32_t) const {
    calls->fetch_add(1, std::memory_order_relaxed);
    return s;
  }
};

TYPED_TEST(MonotonicAttention, HardAsksForScoresOnItsWayOnly) {
  using T = TypeParam;
  constexpr index keys = 6400, block = 64;
  const auto memory = random_matrix<row_major<T>>(keys, this->d, this->random);
  std::atomic<index> calls{0};
  const auto hard = monotonic_attention(this->Q, memory, memory, {monotonic_form::hard, -2},
                                        monotonic_start<T>(keys), transforms::map(counter{&calls}));
  index last = 0;
  ASSERT_EQ(hard.weights.row(this->n - 1).maxCoeff(&last), T(1));
  EXPECT_LE(calls.load(), block * (this->n + last / block + 1));
}

TYPED_TEST(MonotonicAttention, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const scores::general score(this->W);
  const auto call = [&](const auto& values, const monotonic_options& how, index entries) {
    (void)monotonic_attention(this->Q, this->K, values, how, monotonic_start<T>(entries), score);
  };
  for (const monotonic_form form : {monotonic_form::recursive, monotonic_form::hard}) {
    expect_error<shape_error>([&] { call(this->V.topRows(3), {form}, 19); },
                              {"monotonic_attention", "V.rows() is 3", "K.rows() is 19"});
    expect_error<shape_error>([&] { call(this->V, {form}, 18); },
                              {"monotonic_attention", "previous.size() is 18", "K.rows() is 19"});
    expect_error<argument_error>(
        [&] { call(this->V, {form, std::numeric_limits<double>::infinity()}, 19); },
        {"monotonic_attention", "score_bias is inf"});
    expect_error<shape_error>(
        [&] {
          (void)monotonic_attention(this->Q, this->K, this->V, {form}, monotonic_start<T>(this->m));
        },
        {"K.cols() is 3", "Q.cols() is 4"});
  }
}

}  // namespace
}  // namespace softlook::monotonic_test
