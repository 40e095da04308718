#include "softlook/attention/location.hpp"
#include "softlook/seq2seq/location_aware_attention.hpp"

#include <vector>

#include "tests/oracle/numbers.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::location_test {
namespace {

using namespace softlook_test;
using oracle::real;

/// softmax of each row; −∞ is nothing.
oracle::matrix softmax(oracle::matrix S) {
  for (index i = 0; i < S.rows(); ++i) {
    real top = -oracle::infinity, sum = 0;
    for (index j = 0; j < S.cols(); ++j) top = std::max(top, S(i, j));
    for (index j = 0; j < S.cols(); ++j) {
      S(i, j) = top == -oracle::infinity ? 0 : std::exp(S(i, j) - top);
      sum += S(i, j);
    }
    for (index j = 0; j < S.cols(); ++j) S(i, j) = sum > 0 ? S(i, j) / sum : real(0);
  }
  return S;
}

template <class T>
class LocationAttention : public ::testing::Test {
 protected:
  static constexpr index d = 6;
  generator random = seed(19);
};
TYPED_TEST_SUITE(LocationAttention, scalars, scalar_names);

TYPED_TEST(LocationAttention, IsTheSoftmaxOfTheProjectedQuery) {
  using T = TypeParam;
  struct sizes {
    index n, m, locations;
  };
  for (const sizes s : {sizes{1, 1, 1}, {3, 40, 40}, {130, 201, 300}, {2, 0, 5}, {0, 3, 3}}) {
    const auto Q = random_matrix<row_major<T>>(s.n, this->d, this->random);
    const auto W = random_matrix<col_major<T>>(this->d, s.locations, this->random);
    const auto V = random_matrix<row_major<T>>(s.m, 2, this->random);
    const oracle::matrix truth =
        softmax(oracle::product(oracle::widen(Q), oracle::widen(W.leftCols(s.m))));
    const double bound = attention_bound<T>(
        double(s.m), this->d, double(this->d) * max_magnitude(Q) * max_magnitude(W), 1);
    EXPECT_LE(max_error(location_attention_weights(Q, W, s.m), truth), bound);
    EXPECT_LE(max_error(location_attention(Q, W, V), oracle::product(truth, oracle::widen(V))),
              bound * (1 + max_magnitude(V)));
    const auto S = oracle::product(oracle::widen(Q), oracle::widen(W.leftCols(s.m)));
    oracle::matrix masked = S;
    if (masked.size() > 0) masked.rightCols(s.m - s.m / 2).setConstant(-oracle::infinity);
    EXPECT_LE(max_error(location_attention(Q, W, V, masks::padding{.length = s.m / 2}),
                        oracle::product(softmax(masked), oracle::widen(V))),
              bound * (1 + max_magnitude(V)));
  }
}

TYPED_TEST(LocationAttention, GivesEachHeadTheBitsOfItsColumns) {
  using T = TypeParam;
  constexpr index n = 9, m = 30, query = 4, e = 2;
  for (const index kv : {4, 2}) {
    const auto Q = random_matrix<row_major<T>>(n, query * this->d, this->random);
    const auto W = random_matrix<col_major<T>>(kv * this->d, 40, this->random);
    const auto V = random_matrix<row_major<T>>(m, kv * e, this->random);
    const heads h{.query = query, .kv = kv};
    for (const kernel which : {kernel::tiled, kernel::few_queries}) {
      const options o{.kernel = which};
      const auto output = location_attention(Q, W, V, h, o);
      const auto weights = location_attention_weights(Q, W, m, h);
      for (index head = 0; head < query; ++head) {
        const index shared = head / (query / kv);
        const auto q = Q.middleCols(head * this->d, this->d);
        const auto w = W.middleRows(shared * this->d, this->d);
        EXPECT_TRUE(bitwise_equal(output.middleCols(head * e, e),
                                  location_attention(q, w, V.middleCols(shared * e, e), o)))
            << head;
        EXPECT_TRUE(bitwise_equal(weights[std::size_t(head)], location_attention_weights(q, w, m)))
            << head;
      }
    }
    const row_major<T> narrow = W.topRows(3);
    expect_error<shape_error>(
        [&] { (void)location_attention(Q, narrow, V, h); },
        {"location_attention", "W.rows() is 3", kv == query ? "is 24" : "heads.kv is 12"});
    expect_error<argument_error>([&] { (void)location_attention(Q, W, V, heads{.query = 0}); },
                                 {"heads.query is 0"});
  }
}

TYPED_TEST(LocationAttention, RejectsTooFewLocations) {
  using T = TypeParam;
  const row_major<T> Q = row_major<T>::Zero(2, 6), W = row_major<T>::Zero(6, 4);
  const row_major<T> V = row_major<T>::Zero(5, 1);
  expect_error<shape_error>([&] { (void)location_attention(Q, W, V); },
                            {"location_attention", "W.cols() is 4", "V.rows() is 5"});
  expect_error<shape_error>([&] { (void)location_attention_weights(Q.leftCols(3), W, 4); },
                            {"location_attention_weights", "W.rows() is 6", "Q.cols() is 3"});
}

oracle::matrix correlation(const oracle::matrix& F, const oracle::matrix& x) {
  oracle::matrix f = oracle::matrix::Zero(x.cols(), F.rows());
  for (index j = 0; j < x.cols(); ++j)
    for (index c = 0; c < F.rows(); ++c)
      for (index l = 0; l < F.cols(); ++l) {
        const index at = j + l - F.cols() / 2;
        if (at >= 0 && at < x.cols()) f(j, c) += F(c, l) * x(0, at);
      }
  return f;
}

TYPED_TEST(LocationAttention, CorrelatesFiltersWithZerosBeyondTheEnds) {
  using T = TypeParam;
  for (const index width : {1, 2, 3, 8, 31})
    for (const index m : {0, 1, 5, 20}) {
      const auto F = random_matrix<col_major<T>>(3, width, this->random);
      const auto x = random_matrix<row_major<T>>(1, m, this->random);
      const auto truth = correlation(oracle::widen(F), oracle::widen(x));
      const double bound =
          dot_product_bound<T>(double(width), double(width) * max_magnitude(F) * max_magnitude(x));
      EXPECT_LE(max_error(location_features(F, x.row(0)), truth), bound);
      EXPECT_LE(max_error(location_features(F, x.row(0).transpose()), truth), bound);
    }
}

/// Both attentions whose scores see earlier weights, against v·tanh(s Wq + h Wk + f U + b).
template <class T>
class AwareAttention : public ::testing::Test {
 protected:
  static constexpr index m = 13, dq = 4, dk = 3, a = 5, steps = 4, k = 2;
  using matrix = typename decoder_step<T>::matrix;
  generator random = seed(23);
  matrix queries = random_matrix<matrix>(steps, dq, random);
  matrix keys = random_matrix<matrix>(m, dk, random);
  matrix values = random_matrix<matrix>(m, 2, random);
  matrix Wq = random_matrix<matrix>(dq, a, random);
  matrix Wk = random_matrix<matrix>(dk, a, random);
  matrix filters = random_matrix<matrix>(k, 5, random);
  matrix U = random_matrix<matrix>(k, a, random);
  column<T> v = random_matrix<column<T>>(a, 1, random);
  column<T> b = random_matrix<column<T>>(a, 1, random);
  column<T> w_c = random_matrix<column<T>>(a, 1, random);

  location_aware_attention<T> location_aware() const {
    return location_aware_attention<T>({Wq, Wk, filters, U, v, b});
  }
  coverage_attention<T> coverage() const { return coverage_attention<T>({Wq, Wk, w_c, v, b}); }

  /// One step's weights; features m×k, map k×a.
  oracle::matrix weights(index step, const oracle::matrix& features, const oracle::matrix& map,
                         index length) const {
    const oracle::matrix q = oracle::product(oracle::widen(queries.row(step)), oracle::widen(Wq));
    const oracle::matrix h = oracle::product(oracle::widen(keys), oracle::widen(Wk));
    const oracle::matrix f = oracle::product(features, map);
    oracle::matrix S = oracle::matrix::Zero(1, m);
    for (index j = 0; j < m; ++j)
      for (index x = 0; x < a; ++x)
        S(0, j) += real(v[x]) * std::tanh(q(0, x) + h(j, x) + f(j, x) + real(b[x]));
    for (index j = length; j < m; ++j) S(0, j) = -oracle::infinity;
    return softmax(S);
  }
  /// What each step hands on is off itself; tanh has a slope of 1.
  double bound() const {
    const double sums =
        double(v.cwiseAbs().sum()) * double(dq + dk + 5 * k) *
        (1 + max_magnitude(queries) * max_magnitude(Wq) + max_magnitude(keys) * max_magnitude(Wk) +
         double(steps) * max_magnitude(filters) * max_magnitude(U) +
         double(steps) * max_magnitude(w_c));
    return double(steps) * (dot_product_bound<T>(a + dq + dk, sums) + unit_sum_bound<T>(m));
  }
};
TYPED_TEST_SUITE(AwareAttention, scalars, scalar_names);

TYPED_TEST(AwareAttention, SeesAConvolutionOfTheWeightsBefore) {
  for (const index length : {13, 7, 1, 0}) {
    auto attend = this->location_aware();
    attend.set_memory(this->keys, this->values, length);
    column<TypeParam> previous = column<TypeParam>::Zero(this->m);
    oracle::matrix before = oracle::matrix::Zero(1, this->m);
    for (index i = 0; i < this->steps; ++i) {
      const auto step = attend.step(this->queries.row(i), previous);
      const auto truth = this->weights(i, correlation(oracle::widen(this->filters), before),
                                       oracle::widen(this->U), length);
      EXPECT_LE(max_error(step.weights, truth), this->bound()) << length;
      EXPECT_LE(max_error(step.context, oracle::product(truth, oracle::widen(this->values))),
                double(this->m) * this->bound() * max_magnitude(this->values));
      previous = step.weights.transpose();
      before = truth;
    }
  }
}

TYPED_TEST(AwareAttention, SeesWhatWasCovered) {
  for (const index length : {13, 6}) {
    auto attend = this->coverage();
    attend.set_memory(this->keys, this->values, length);
    Eigen::Matrix<TypeParam, 1, Eigen::Dynamic> covered =
        Eigen::Matrix<TypeParam, 1, Eigen::Dynamic>::Zero(this->m);
    oracle::matrix sum = oracle::matrix::Zero(1, this->m);
    row_major<TypeParam> all(this->steps, this->m);
    std::vector<real> losses;
    for (index i = 0; i < this->steps; ++i) {
      const auto step = attend.step(this->queries.row(i), covered);
      const auto truth =
          this->weights(i, sum.transpose(), oracle::widen(this->w_c.transpose()), length);
      EXPECT_LE(max_error(step.weights, truth), this->bound());
      EXPECT_LE(max_error(step.context, oracle::product(truth, oracle::widen(this->values))),
                double(this->m) * this->bound() * max_magnitude(this->values));
      losses.push_back(0);
      for (index j = 0; j < this->m; ++j) losses.back() += std::min(truth(0, j), sum(0, j));
      covered += step.weights;
      all.row(i) = step.weights;
      sum += truth;
    }
    const auto loss = coverage_loss(all);
    for (index i = 0; i < this->steps; ++i)
      EXPECT_NEAR(loss[i], double(losses[std::size_t(i)]), double(this->m) * this->bound());
    EXPECT_EQ(loss[0], TypeParam(0));
  }
}

TYPED_TEST(AwareAttention, IsBahdanausWithoutEarlierWeights) {
  bahdanau_attention<TypeParam> plain(scores::additive{this->Wq, this->Wk, this->v, this->b});
  plain.set_memory(this->keys, this->values);
  auto aware = this->location_aware();
  auto covering = this->coverage();
  aware.set_memory(this->keys, this->values);
  covering.set_memory(this->keys, this->values);
  const column<TypeParam> nothing = column<TypeParam>::Zero(this->m);
  const auto q = this->queries.row(2);
  const masks::padding mask{.length = 9};
  const transforms::soft_cap cap{.cap = 2};
  const auto truth = plain.step(q, mask, cap);
  EXPECT_TRUE(bitwise_equal(aware.step(q, nothing, mask, cap).weights, truth.weights));
  EXPECT_TRUE(bitwise_equal(covering.step(q, nothing, mask, cap).context, truth.context));
}

TYPED_TEST(AwareAttention, LeavesOutABiasThatIsEmpty) {
  auto with = location_aware_attention<TypeParam>(
      {this->Wq, this->Wk, this->filters, this->U, this->v, column<TypeParam>::Zero(this->a)});
  auto without = location_aware_attention<TypeParam>(
      {this->Wq, this->Wk, this->filters, this->U, this->v, {}});
  with.set_memory(this->keys, this->values);
  without.set_memory(this->keys, this->values);
  const column<TypeParam> previous = column<TypeParam>::Constant(this->m, TypeParam(0.25));
  EXPECT_TRUE(bitwise_equal(with.step(this->queries.row(0), previous).weights,
                            without.step(this->queries.row(0), previous).weights));
}

TYPED_TEST(AwareAttention, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const column<T> previous = column<T>::Zero(this->m), shorter = column<T>::Zero(4);
  auto aware = this->location_aware();
  expect_error<argument_error>([&] { (void)aware.step(this->queries.row(0), previous); },
                               {"location_aware_attention::step", "set_memory"});
  aware.set_memory(this->keys, this->values);
  expect_error<shape_error>(
      [&] { (void)aware.step(this->queries.row(0), shorter); },
      {"location_aware_attention::step", "previous.size() is 4", "memory_size() is 13"});
  expect_error<shape_error>([&] { (void)aware.step(this->queries, previous); },
                            {"location_aware_attention::step", "query.rows() is 4"});
  expect_error<shape_error>([&] { (void)aware.step(this->queries.row(0).leftCols(3), previous); },
                            {"query.cols() is 3", "Wq.rows() is 4"});
  expect_error<shape_error>([&] { aware.set_memory(this->values, this->values); },
                            {"keys.cols() is 2", "Wk.rows() is 3"});
  auto covering = this->coverage();
  covering.set_memory(this->keys, this->values);
  expect_error<shape_error>([&] { (void)covering.step(this->queries.row(0), shorter); },
                            {"coverage_attention::step", "coverage.size() is 4"});
  expect_error<shape_error>(
      [&] { (void)coverage_attention<T>({this->Wq, this->Wk, shorter, this->v, this->b}); },
      {"coverage_attention", "w_c.size() is 4", "Wq.cols() is 5"});
  expect_error<shape_error>(
      [&] {
        (void)location_aware_attention<T>(
            {this->Wq, this->Wk, this->filters.topRows(1), this->U, this->v, this->b});
      },
      {"location_aware_attention", "filters.rows() is 1", "U.rows() is 2"});
  expect_error<shape_error>(
      [&] {
        (void)location_aware_attention<T>(
            {this->Wq, this->Wk, this->filters, this->U, shorter, this->b});
      },
      {"location_aware_attention", "v.size() is 4", "Wq.cols() is 5"});
}

TYPED_TEST(AwareAttention, CoverageLossIsTheOverlapWithThePast) {
  row_major<TypeParam> A(3, 3);
  A << 0.5, 0.25, 0.25,  //
      0.25, 0.75, 0,     //
      1, 0, 0;
  const auto loss = coverage_loss(A);
  EXPECT_EQ(loss[0], TypeParam(0));
  EXPECT_EQ(loss[1], TypeParam(0.25 + 0.25));
  EXPECT_EQ(loss[2], TypeParam(0.75));
}

}  // namespace
}  // namespace softlook::location_test
