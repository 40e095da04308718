#include "softlook/gradient/score_weights.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "softlook/core/dropout.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "softlook/gradient/attention.hpp"
#include "softlook/gradient/decoder_attention.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/layers.hpp"

namespace softlook::score_weights_test {
namespace {

using namespace softlook_test;
using wide = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;

template <class T>
using column = Eigen::Matrix<T, Eigen::Dynamic, 1>;

/// The formulas with plain loops, from weights of the call in double: heads beside each other,
/// v·tanh(q + k).
struct truth {
  wide dQ, dK, dV, dv;
};
template <class T, class Slope, class... Ps>
truth plain_gradients(const row_major<T>& Q, const row_major<T>& K, const row_major<T>& V,
                      const column<T>& v, const row_major<T>& dO, const heads& h,
                      const Slope& slope, const Ps&... policies) {
  const Eigen::VectorXd v_wide = v.template cast<double>();
  const auto P = attention_weights(Q.template cast<double>(), K.template cast<double>(), h,
                                   scores::additive_projected(v_wide), policies...);
  const index group = h.query / h.kv_or_query(), n = Q.rows(), m = K.rows(), a = v.size(),
              e = V.cols() / h.kv_or_query();
  truth g{wide::Zero(n, Q.cols()), wide::Zero(m, K.cols()), wide::Zero(m, V.cols()),
          wide::Zero(a, 1)};
  std::vector<long double> t(static_cast<std::size_t>(a));
  for (index x = 0; x < h.query; ++x) {
    const index y = x / group;
    const row_major<double>& p = P[std::size_t(x)];
    const wide dP = dO.middleCols(x * e, e).template cast<long double>() *
                    V.middleCols(y * e, e).template cast<long double>().transpose();
    for (index i = 0; i < n; ++i) {
      long double dot = 0;
      for (index j = 0; j < m; ++j) dot += p(i, j) * dP(i, j);
      for (index j = 0; j < m; ++j) {
        for (index c = 0; c < e; ++c) g.dV(j, y * e + c) += p(i, j) * dO(i, x * e + c);
        if (p(i, j) == 0) continue;
        long double s = 0;
        for (index c = 0; c < a; ++c) {
          t[std::size_t(c)] =
              std::tanh(static_cast<long double>(Q(i, x * a + c)) + K(j, y * a + c));
          s += v[c] * t[std::size_t(c)];
        }
        const long double dS = p(i, j) * (dP(i, j) - dot) * slope(double(s));
        for (index c = 0; c < a; ++c) {
          const long double d = dS * v[c] * (1 - t[std::size_t(c)] * t[std::size_t(c)]);
          g.dQ(i, x * a + c) += d;
          g.dK(j, y * a + c) += d;
          g.dv(c, 0) += dS * t[std::size_t(c)];
        }
      }
    }
  }
  return g;
}
constexpr auto no_slope = [](double) { return 1.0; };

template <class T, class Matrix>
void expect_near(const char* what, const Matrix& actual, const wide& expected) {
  ASSERT_TRUE(actual.allFinite()) << what;
  const long double size = std::max(1.0L, expected.size() ? expected.cwiseAbs().maxCoeff() : 0.0L);
  EXPECT_LE((actual.template cast<long double>() - expected).cwiseAbs().maxCoeff(),
            100 * static_cast<long double>(std::numeric_limits<T>::epsilon()) * size)
      << what;
}

struct shape {
  index n, m, a, e, query = 1, kv = 1;
};

template <class T>
class AdditiveGradient : public ::testing::Test {
 protected:
  generator random = seed(16200);

  [[nodiscard]] row_major<T> matrix(index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, random);
  }

  template <class Slope, class... Ps>
  void expect(const shape& s, double size, const Slope& slope, const Ps&... policies) {
    const row_major<T> Q = T(size) * matrix(s.n, s.a * s.query),
                       K = T(size) * matrix(s.m, s.a * s.kv), V = matrix(s.m, s.e * s.kv),
                       dO = matrix(s.n, s.e * s.query);
    const column<T> v = matrix(s.a, 1);
    const heads h{.query = s.query, .kv = s.kv};
    const truth t = plain_gradients(Q, K, V, v, dO, h, slope, policies...);
    const scores::additive_projected score(v);
    on_every_set([&](const options& o) {
      SCOPED_TRACE(::testing::Message()
                   << s.n << "x" << s.m << " a " << s.a << " e " << s.e << " size " << size);
      const auto state = attention_with_log_sum_exp(Q, K, V, h, score, o, policies...);
      attention_gradients<row_major<T>> g;
      column<T> dv = column<T>::Zero(s.a);
      backward_extras<T> extras;
      extras.weights.v = dv;
      attention_backward_into(Q, K, V, state.output, state.log_sum_exp, dO, g, extras, h, score, o,
                              policies...);
      expect_near<T>("dQ", g.dQ, t.dQ);
      expect_near<T>("dK", g.dK, t.dK);
      expect_near<T>("dV", g.dV, t.dV);
      expect_near<T>("dv", dv, t.dv);
    });
  }
};
TYPED_TEST_SUITE(AdditiveGradient, scalars, scalar_names);

TYPED_TEST(AdditiveGradient, IsThatOfTheFormulas) {
  for (const shape& s :
       {shape{1, 1, 1, 1}, shape{3, 5, 4, 2}, shape{7, 1, 3, 5}, shape{17, 33, 8, 16},
        shape{50, 97, 33, 20}, shape{200, 260, 16, 12}, shape{9, 300, 40, 7}, shape{300, 9, 5, 64},
        shape{40, 40, 8, 8, 4, 2}, shape{210, 30, 8, 8, 3, 1}})
    this->expect(s, 1, no_slope);
}

TYPED_TEST(AdditiveGradient, HoldsForAllMagnitudes) {
  // tanh of small sums, by exponentials, of each pair; and all of them in one call.
  for (const double size : {1e-3, 0.2, 4.0, 30.0, 300.0})
    this->expect({60, 80, 12, 8}, size, no_slope);
  using T = TypeParam;
  row_major<T> Q = this->matrix(70, 12), K = this->matrix(90, 12);
  for (index i = 0; i < 70; ++i) Q.row(i) *= T(std::pow(10.0, double(i % 7) - 4));
  for (index j = 0; j < 90; ++j) K.row(j) *= T(std::pow(10.0, double(j % 5) - 3));
  const row_major<T> V = this->matrix(90, 8), dO = this->matrix(70, 8);
  const column<T> v = this->matrix(12, 1);
  const truth t = plain_gradients(Q, K, V, v, dO, heads{}, no_slope);
  on_every_set([&](const options& o) {
    const auto state = attention_with_log_sum_exp(Q, K, V, scores::additive_projected(v), o);
    const auto g = attention_backward(Q, K, V, state.output, state.log_sum_exp, dO,
                                      scores::additive_projected(v), o);
    expect_near<T>("dQ", g.dQ, t.dQ);
    expect_near<T>("dK", g.dK, t.dK);
  });
}

TYPED_TEST(AdditiveGradient, SeesMasksAndTransforms) {
  this->expect({100, 100, 8, 8}, 1, no_slope, masks::causal_top_left{});
  this->expect({60, 230, 8, 8}, 1, no_slope, masks::causal_bottom_right{});
  this->expect({230, 60, 8, 8}, 1, no_slope, masks::causal_bottom_right{});  // empty rows
  this->expect({300, 300, 8, 8, 2, 1}, 1, no_slope, masks::window{.left = 20, .right = 3});
  this->expect({30, 70, 8, 8}, 1, no_slope, masks::padding{.length = 41});
  this->expect({210, 250, 8, 8}, 1, no_slope, masks::where([](std::int32_t i, std::int32_t j) {
                 return (i * 7 + j * 3) % 5 != 0;
               }));
  this->expect(
      {100, 120, 8, 8}, 1,
      [](double s) {
        const double t = std::tanh(s / 1.5);
        return 1 - t * t;
      },
      transforms::soft_cap{1.5}, masks::causal_top_left{});
}

TYPED_TEST(AdditiveGradient, DoesNotDependOnThreadsOrStorage) {
  using T = TypeParam;
  const row_major<T> Q = this->matrix(430, 24), K = this->matrix(410, 12),
                     V = this->matrix(410, 20), dO = this->matrix(430, 40);
  const row_major<T> Wq = this->matrix(12, 10), Wk = this->matrix(12, 10);
  const column<T> v = this->matrix(10, 1), b = this->matrix(10, 1);
  const heads h{.query = 2, .kv = 1};
  const scores::additive score(Wq, Wk, v, b);
  const masks::causal_top_left causal;
  const auto state = attention_with_log_sum_exp(Q, K, V, h, score, causal);
  struct all {
    attention_gradients<row_major<T>> of;
    additive_parameters<T> weights;
  };
  const auto of = [&](const auto& q, const auto& k, const auto& values, const auto&... more) {
    all g{{}, zeros_like(additive_parameters<T>{Wq, Wk, v, b})};
    backward_extras<T> extras;
    extras.weights = {.Wq = g.weights.Wq, .Wk = g.weights.Wk, .v = g.weights.v, .b = g.weights.b};
    attention_gradients<plain_matrix_like<decltype(q)>> made;
    attention_backward_into(q, k, values, state.output, state.log_sum_exp, dO, made, extras, h,
                            score, causal, more...);
    g.of = {made.dQ, made.dK, made.dV};
    return g;
  };
  const all one = of(Q, K, V);
  const exec::thread_pool pool(3);
  const col_major<T> q = Q, k = K, values = V;
  for (const all& other : {of(Q, K, V, pool), of(q, k, values)}) {
    EXPECT_TRUE(bitwise_equal(one.of.dQ, other.of.dQ));
    EXPECT_TRUE(bitwise_equal(one.of.dK, other.of.dK));
    EXPECT_TRUE(bitwise_equal(one.of.dV, other.of.dV));
    for_each_parameter([](const std::string& name, const auto& a,
                          const auto& c) { EXPECT_TRUE(bitwise_equal(a, c)) << name; },
                       one.weights, other.weights);
  }
}

TYPED_TEST(AdditiveGradient, OfWhatIsMaskedIsZero) {
  using T = TypeParam;
  const row_major<T> Wq = this->matrix(8, 9), Wk = this->matrix(8, 9);
  const column<T> v = this->matrix(9, 1);
  const scores::additive score(Wq, Wk, v);
  for (const T poison : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
    row_major<T> Q = this->matrix(70, 8), K = this->matrix(90, 8), V = this->matrix(90, 8);
    const row_major<T> dO = this->matrix(70, 8);
    const masks::padding mask{.length = 61};
    on_every_set([&](const options& o) {
      struct all {
        attention_gradients<row_major<T>> of;
        row_major<T> dWk = row_major<T>::Zero(8, 9);
        column<T> dv = column<T>::Zero(9);
      };
      const auto of = [&] {
        all g;
        backward_extras<T> extras;
        extras.weights.Wk = g.dWk;
        extras.weights.v = g.dv;
        const auto state = attention_with_log_sum_exp(Q, K, V, score, mask, o);
        attention_backward_into(Q, K, V, state.output, state.log_sum_exp, dO, g.of, extras, score,
                                mask, o);
        return g;
      };
      const all clean = of();
      const row_major<T> kept_K = K, kept_V = V;
      K.bottomRows(29).setConstant(poison);
      V.bottomRows(29).setConstant(poison);
      const all g = of();
      ASSERT_TRUE(g.of.dQ.allFinite() && g.of.dK.allFinite() && g.of.dV.allFinite());
      ASSERT_TRUE(g.dWk.allFinite() && g.dv.allFinite());
      EXPECT_LE(max_error(g.of.dQ, clean.of.dQ), 1e-5);
      EXPECT_LE(max_error(g.of.dK, clean.of.dK), 1e-5);
      EXPECT_LE(max_error(g.dWk, clean.dWk), 1e-4);
      EXPECT_LE(max_error(g.dv, clean.dv), 1e-4);
      EXPECT_EQ(g.of.dV.bottomRows(29).cwiseAbs().maxCoeff(), T(0));
      EXPECT_EQ(g.of.dK.bottomRows(29).cwiseAbs().maxCoeff(), T(0));
      K = kept_K;
      V = kept_V;
    });
    // A query that is not finite spoils its own row, and the keys that it sees.
    Q.row(3).setConstant(poison);
    const masks::causal_top_left causal;
    const row_major<T> q = Q, k = K;
    const column<T> u = this->matrix(8, 1);
    const auto state = attention_with_log_sum_exp(q, k, V, causal, scores::additive_projected(u));
    const auto g = attention_backward(q, k, V, state.output, state.log_sum_exp, dO, causal,
                                      scores::additive_projected(u));
    EXPECT_TRUE(g.dQ.bottomRows(66).allFinite());
    EXPECT_TRUE(g.dK.bottomRows(86).allFinite());
    EXPECT_TRUE(g.dV.bottomRows(86).allFinite());
  }
}

/// Inputs and weights against differences of the loss, for some score of one head of queries of d_q
/// features and keys of d_k.
class ScoreWeights : public ::testing::Test {
 protected:
  using matrix = row_major<double>;
  generator random = seed(16210);

  [[nodiscard]] matrix of(index rows, index cols) {
    return random_matrix<matrix>(rows, cols, random);
  }
  matrix Q = of(7, 6), K = of(5, 4), V = of(5, 6);
  const matrix dO = of(7, 6), dL = of(7, 2);

  /// make() gives the score; set(extras) says where gradients go.
  template <class Make, class Set, class... Ps>
  void check(const heads& h, const Make& make, const Set& set, const Ps&... policies) {
    const matrix given = dO.leftCols(V.cols() * h.query / h.kv_or_query());
    const matrix given_L = dL.leftCols(h.query);
    loss = [this, given, given_L, h, make, policies...] {
      const auto s = attention_with_log_sum_exp(Q, K, V, h, make(), policies...);
      double sum = inner_product(given, s.output);
      for (index i = 0; i < s.log_sum_exp.rows(); ++i)
        for (index x = 0; x < s.log_sum_exp.cols(); ++x)
          if (std::isfinite(s.log_sum_exp(i, x)))  // not of a query without keys
            sum += given_L(i, x) * s.log_sum_exp(i, x);
      return sum;
    };
    const auto s = attention_with_log_sum_exp(Q, K, V, h, make(), policies...);
    attention_gradients<matrix> g;
    backward_extras<double> extras;
    extras.dL = detail::view_of(given_L);
    set(extras.weights);
    attention_backward_into(Q, K, V, s.output, s.log_sum_exp, given, g, extras, h, make(),
                            policies...);
    expect_gradient("Q", Q, g.dQ, loss);
    expect_gradient("K", K, g.dK, loss);
    expect_gradient("V", V, g.dV, loss);
  }
  std::function<double()> loss;
};

TEST_F(ScoreWeights, OfAdditiveScoresAreThoseOfDifferences) {
  additive_parameters<double> p{of(6, 3), of(4, 3), of(3, 1), of(3, 1)};
  const auto run = [&](const auto&... policies) {
    auto g = zeros_like(p);
    check(
        heads{}, [&] { return p.score(); },
        [&](auto& w) {
          w.Wq = g.Wq;
          w.Wk = g.Wk;
          w.v = g.v;
          w.b = g.b;
        },
        policies...);
    expect_parameter_gradients(p, g, loss);
  };
  run();
  run(masks::window{.left = 2, .right = 4}, transforms::soft_cap{2});
  run(masks::padding{.length = 3});
  run(masks::causal_bottom_right{});  // two queries without keys
  run(dropout{.probability = 0.4, .seed = 7});
  run(options{.scale = 0.3});
  const std::vector<std::int32_t> queries{0, 3, 7}, keys{0, 2, 5};
  run(segments{.queries = queries, .keys = keys}, masks::causal_top_left{});
  const Eigen::VectorXd sink = Eigen::VectorXd::Constant(1, 0.5);
  run(sinks(sink));
}

TEST_F(ScoreWeights, OfHeadsAddUp) {
  additive_parameters<double> p{of(3, 3), of(4, 3), of(3, 1), of(3, 1)};
  auto g = zeros_like(p);
  V = of(5, 3);
  check(
      heads{.query = 2, .kv = 1}, [&] { return p.score(); },
      [&](auto& w) {
        w.Wq = g.Wq;
        w.Wk = g.Wk;
        w.v = g.v;
        w.b = g.b;
      },
      masks::causal_top_left{});
  expect_parameter_gradients(p, g, loss);
}

TEST_F(ScoreWeights, OfConcatAndGeneralAreThoseOfDifferences) {
  matrix W = of(10, 3);
  Eigen::VectorXd v = of(3, 1);
  const auto concat = [&](const auto&... policies) {
    matrix dW = matrix::Zero(10, 3);
    Eigen::VectorXd dv = Eigen::VectorXd::Zero(3);
    check(
        heads{}, [&] { return scores::concat(W, v); },
        [&](auto& w) {
          w.W = dW;
          w.v = dv;
        },
        policies...);
    expect_gradient("W", W, dW, loss);
    expect_gradient("v", v, dv, loss);
  };
  concat();
  concat(masks::causal_top_left{}, transforms::soft_cap{2});
  matrix U = of(6, 4);
  const auto general = [&](const auto&... policies) {
    matrix dU = matrix::Zero(6, 4);
    check(heads{}, [&] { return scores::general(U); }, [&](auto& w) { w.W = dU; }, policies...);
    expect_gradient("U", U, dU, loss);
  };
  general();
  general(masks::causal_bottom_right{}, options{.scale = 0.7});
  general(masks::padding{.length = 3}, transforms::soft_cap{2});
  matrix H = of(3, 4);
  V = of(5, 3);
  matrix dH = matrix::Zero(3, 4);
  check(heads{.query = 2, .kv = 1}, [&] { return scores::general(H); }, [&](auto& w) { w.W = dH; });
  expect_gradient("H", H, dH, loss);
}

TEST_F(ScoreWeights, InFloatAreThoseInDouble) {
  const additive_parameters<double> p{of(6, 20), of(4, 20), of(20, 1), of(20, 1)};
  Q = of(90, 6);
  K = of(70, 4);
  V = of(70, 6);
  const matrix given = of(90, 6);
  const auto of_scalar = [&]<class T>(T, const options& o) {
    const additive_parameters<T> q = cast_parameters<T>(p);
    const row_major<T> Q_ = Q.cast<T>(), K_ = K.cast<T>(), V_ = V.cast<T>(), dO_ = given.cast<T>();
    auto g = zeros_like(q);
    attention_gradients<row_major<T>> of;
    backward_extras<T> extras;
    extras.weights.Wq = g.Wq;
    extras.weights.Wk = g.Wk;
    extras.weights.v = g.v;
    extras.weights.b = g.b;
    const auto s = attention_with_log_sum_exp(Q_, K_, V_, q.score(), o);
    attention_backward_into(Q_, K_, V_, s.output, s.log_sum_exp, dO_, of, extras, q.score(), o);
    return std::pair(of, g);
  };
  on_every_set([&](const options& o) {
    const auto narrow = of_scalar(float{}, o);
    const auto exact = of_scalar(double{}, o);
    expect_same_gradient("Q", narrow.first.dQ, exact.first.dQ);
    expect_same_gradient("K", narrow.first.dK, exact.first.dK);
    expect_same_parameter_gradients(narrow.second, exact.second);
  });
}

TEST_F(ScoreWeights, AreAddedToAndMayBeLeftOut) {
  const additive_parameters<double> p{of(6, 3), of(4, 3), of(3, 1), {}};
  const auto s = attention_with_log_sum_exp(Q, K, V, p.score());
  attention_gradients<matrix> g;
  matrix once = matrix::Zero(6, 3), twice = matrix::Ones(6, 3);
  backward_extras<double> extras;
  extras.weights.Wq = once;
  const auto run = [&] {
    attention_backward_into(Q, K, V, s.output, s.log_sum_exp, dO, g, extras, p.score());
  };
  run();
  EXPECT_GT(once.cwiseAbs().maxCoeff(), 1e-3);
  extras.weights.Wq = twice;
  run();
  run();
  EXPECT_LE(max_error(twice, matrix(matrix::Ones(6, 3) + 2 * once)), 1e-14);
}

TEST_F(ScoreWeights, OfWrongShapesAreRefusedBeforeAnythingIsWritten) {
  const additive_parameters<double> p{of(6, 3), of(4, 3), of(3, 1), {}};
  const auto s = attention_with_log_sum_exp(Q, K, V, p.score());
  attention_gradients<matrix> g{matrix::Constant(7, 6, 7), {}, {}};
  matrix wrong = matrix::Zero(5, 3);
  Eigen::VectorXd b = Eigen::VectorXd::Zero(3);
  backward_extras<double> extras;
  const auto run = [&] {
    attention_backward_into(Q, K, V, s.output, s.log_sum_exp, dO, g, extras, p.score());
  };
  extras.weights.Wq = wrong;
  EXPECT_NE(message_of<shape_error>(run).find("rows of the gradient of Wq is 5 but its rows is 6"),
            std::string::npos);
  extras.weights = {};
  extras.weights.b = b;
  EXPECT_NE(message_of<argument_error>(run).find("gradient of b is asked for"), std::string::npos);
  extras.weights = {};
  extras.weights.W = wrong;
  EXPECT_NE(message_of<argument_error>(run).find("gradient of W is asked for"), std::string::npos);
  EXPECT_EQ(g.dQ, matrix::Constant(7, 6, 7));
  EXPECT_EQ(wrong, matrix::Zero(5, 3));
}

TEST_F(ScoreWeights, OfNothingAreNothing) {
  const additive_parameters<double> p{of(6, 3), of(4, 3), of(3, 1), {}};
  for (const auto& [n, m] : {std::pair<index, index>{0, 5}, {4, 0}}) {
    const matrix q = matrix::Ones(n, 6), k = matrix::Ones(m, 4), values = matrix::Ones(m, 2);
    const auto s = attention_with_log_sum_exp(q, k, values, p.score());
    auto dw = zeros_like(p);
    backward_extras<double> extras;
    extras.weights.Wq = dw.Wq;
    extras.weights.v = dw.v;
    attention_gradients<matrix> g;
    attention_backward_into(q, k, values, s.output, s.log_sum_exp, matrix::Ones(n, 2), g, extras,
                            p.score());
    EXPECT_EQ(g.dQ, matrix::Zero(n, 6));
    EXPECT_EQ(g.dK, matrix::Zero(m, 4));
    EXPECT_EQ(dw.Wq, matrix::Zero(6, 3));
    EXPECT_EQ(dw.v, Eigen::VectorXd::Zero(3));
  }
}

TEST_F(ScoreWeights, AreNotNeededForGradientsOfScores) {
  const Eigen::VectorXd v = of(6, 1);
  const matrix keys = of(5, 6);
  const auto s = attention_with_log_sum_exp(Q, keys, V, scores::additive_projected(v));
  index seen = 0;
  backward_extras<double> extras;
  extras.scores = [&](const score_gradients<double>& g, index) {
    for (index i = 0; i < g.dS.rows; ++i)
      for (index j = 0; j < g.dS.cols; ++j, ++seen) {
        double score = 0;
        for (index c = 0; c < 6; ++c)
          score += v[c] * std::tanh(Q(g.first_query + i, c) + keys(g.first_key + j, c));
        EXPECT_NEAR(g.S(i, j), score, 1e-13);
      }
  };
  attention_gradients<matrix> g;
  attention_backward_into(Q, keys, V, s.output, s.log_sum_exp, dO, g, extras,
                          scores::additive_projected(v));
  EXPECT_EQ(seen, 35);
}

}  // namespace
}  // namespace softlook::score_weights_test
