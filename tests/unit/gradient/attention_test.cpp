#include "softlook/gradient/attention.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "softlook/core/dropout.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "softlook/mask/dilated.hpp"
#include "softlook/transform/t5_bias.hpp"
#include "softlook/transform/temperature.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/layers.hpp"

namespace softlook::attention_test {
namespace {

using namespace softlook_test;
using wide = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;

/// The formulas with plain loops, from weights of the call: of float calls those of the same call
/// in double. `slope(s, i, j, head)` is the derivative of the transforms.
struct truth {
  wide dQ, dK, dV;
};
template <class T, class Slope, class... Ps>
truth plain_gradients(const row_major<T>& Q, const row_major<T>& K, const row_major<T>& V,
                      const row_major<T>& dO, index heads_q, index heads_kv, const Slope& slope,
                      const Ps&... policies) {
  const softlook::heads h{.query = heads_q, .kv = heads_kv};
  const auto P =
      attention_weights(Q.template cast<double>(), K.template cast<double>(), h, policies...);
  const index d = Q.cols() / heads_q, e = V.cols() / heads_kv, n = Q.rows(), m = K.rows();
  const long double scale = 1 / std::sqrt(static_cast<long double>(d));
  truth g{wide::Zero(n, Q.cols()), wide::Zero(m, K.cols()), wide::Zero(m, V.cols())};
  for (index x = 0; x < heads_q; ++x) {
    const index y = x / (heads_q / heads_kv);
    const row_major<double>& p = P[std::size_t(x)];
    for (index i = 0; i < n; ++i) {
      std::vector<long double> dP(static_cast<std::size_t>(m));
      long double dot = 0;
      for (index j = 0; j < m; ++j) {
        long double sum = 0;
        for (index c = 0; c < e; ++c)
          sum += static_cast<long double>(dO(i, x * e + c)) * V(j, y * e + c);
        dP[std::size_t(j)] = sum;
        dot += p(i, j) * sum;
      }
      for (index j = 0; j < m; ++j) {
        long double s = 0;
        for (index c = 0; c < d; ++c)
          s += static_cast<long double>(Q(i, x * d + c)) * K(j, y * d + c);
        const long double dS =
            p(i, j) * (dP[std::size_t(j)] - dot) * slope(double(s * scale), i, j, x);
        for (index c = 0; c < d; ++c) {
          g.dQ(i, x * d + c) += scale * dS * K(j, y * d + c);
          g.dK(j, y * d + c) += scale * dS * Q(i, x * d + c);
        }
        for (index c = 0; c < e; ++c) g.dV(j, y * e + c) += p(i, j) * dO(i, x * e + c);
      }
    }
  }
  return g;
}
constexpr auto no_slope = [](double, index, index, index) { return 1.0; };

template <class T>
void expect_near(const char* what, const row_major<T>& actual, const wide& expected) {
  ASSERT_TRUE(actual.allFinite()) << what;
  const long double size = std::max(1.0L, expected.size() ? expected.cwiseAbs().maxCoeff() : 0.0L);
  EXPECT_LE((actual.template cast<long double>() - expected).cwiseAbs().maxCoeff(),
            60 * static_cast<long double>(std::numeric_limits<T>::epsilon()) * size)
      << what;
}

struct shape {
  index n, m, d, e, query = 1, kv = 1;
};

template <class T>
class AttentionGradient : public ::testing::Test {
 protected:
  generator random = seed(16100);

  template <class Slope, class... Ps>
  void expect(const shape& s, const Slope& slope, const Ps&... policies) {
    const auto matrix = [&](index rows, index cols) {
      return random_matrix<row_major<T>>(rows, cols, random);
    };
    const row_major<T> Q = matrix(s.n, s.d * s.query), K = matrix(s.m, s.d * s.kv),
                       V = matrix(s.m, s.e * s.kv), dO = matrix(s.n, s.e * s.query);
    const truth t = plain_gradients(Q, K, V, dO, s.query, s.kv, slope, policies...);
    const heads h{.query = s.query, .kv = s.kv};
    on_every_set([&](const options& o) {
      const auto state = attention_with_log_sum_exp(Q, K, V, h, o, policies...);
      const auto g =
          attention_backward(Q, K, V, state.output, state.log_sum_exp, dO, h, o, policies...);
      SCOPED_TRACE(::testing::Message() << s.n << "x" << s.m << " d " << s.d << " e " << s.e);
      expect_near("dQ", g.dQ, t.dQ);
      expect_near("dK", g.dK, t.dK);
      expect_near("dV", g.dV, t.dV);
    });
  }
};
TYPED_TEST_SUITE(AttentionGradient, scalars, scalar_names);

TYPED_TEST(AttentionGradient, IsThatOfTheFormulas) {
  for (const shape& s :
       {shape{1, 1, 1, 1}, shape{3, 5, 4, 2}, shape{7, 1, 3, 5}, shape{17, 33, 8, 16},
        shape{50, 97, 33, 20}, shape{200, 260, 16, 12}, shape{9, 300, 64, 7}, shape{300, 9, 5, 64},
        shape{40, 40, 8, 8, 4, 2}, shape{210, 30, 8, 8, 3, 1}})
    this->expect(s, no_slope);
}

TYPED_TEST(AttentionGradient, SeesMasks) {
  this->expect({100, 100, 8, 8}, no_slope, masks::causal_top_left{});
  this->expect({60, 230, 8, 8}, no_slope, masks::causal_bottom_right{});
  this->expect({230, 60, 8, 8}, no_slope, masks::causal_bottom_right{});  // empty rows
  this->expect({300, 300, 8, 8, 2, 1}, no_slope, masks::window{.left = 20, .right = 3});
  this->expect({30, 70, 8, 8}, no_slope, masks::padding{.length = 41});
  this->expect({250, 250, 8, 8}, no_slope, masks::where([](std::int32_t i, std::int32_t j) {
                 return (i * 7 + j * 3) % 5 != 0;
               }));
}

TYPED_TEST(AttentionGradient, GoesThroughTransforms) {
  this->expect({100, 120, 8, 8}, no_slope, transforms::alibi{0.25});
  this->expect(
      {100, 120, 8, 8},
      [](double s, index, index, index) {
        const double t = std::tanh(s / 1.5);
        return 1 - t * t;
      },
      transforms::soft_cap{1.5}, masks::causal_top_left{});
  this->expect(
      {40, 50, 8, 8, 2, 2},
      [](double s, index i, index j, index) { return 2 * s * 0.1 + double(i - j) * 0.01; },
      transforms::map([](auto s, std::int32_t i, std::int32_t j) {
        using S = decltype(s);
        return s * s * S(0.1) + s * S(i - j) * S(0.01);
      }));
  const Eigen::VectorXd t = Eigen::VectorXd::LinSpaced(2, 0.5, 2);
  this->expect(
      {40, 50, 8, 8, 2, 2}, [&](double, index, index, index head) { return 1 / t[head]; },
      transforms::temperature(t));
}

TYPED_TEST(AttentionGradient, DoesNotDependOnThreadsOrStorage) {
  using T = TypeParam;
  const auto matrix = [&](index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, this->random);
  };
  const row_major<T> Q = matrix(430, 24), K = matrix(410, 12), V = matrix(410, 20),
                     dO = matrix(430, 40);
  const heads h{.query = 2, .kv = 1};
  const auto state = attention_with_log_sum_exp(Q, K, V, h, masks::causal_top_left{});
  const auto of = [&](const auto& q, const auto& k, const auto& v, const auto&... more) {
    return attention_backward(q, k, v, state.output, state.log_sum_exp, dO, h,
                              masks::causal_top_left{}, more...);
  };
  const auto one = of(Q, K, V);
  const exec::thread_pool pool(3);
  const auto three = of(Q, K, V, pool);
  EXPECT_TRUE(bitwise_equal(one.dQ, three.dQ));
  EXPECT_TRUE(bitwise_equal(one.dK, three.dK));
  EXPECT_TRUE(bitwise_equal(one.dV, three.dV));
  const col_major<T> q = Q, k = K, v = V;
  const auto columns = of(q, k, v);
  EXPECT_TRUE(bitwise_equal(one.dQ, columns.dQ));
  EXPECT_TRUE(bitwise_equal(one.dK, columns.dK));
  EXPECT_TRUE(bitwise_equal(one.dV, columns.dV));
}

TYPED_TEST(AttentionGradient, OfWhatIsMaskedIsZero) {
  using T = TypeParam;
  for (const T poison : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
    row_major<T> Q = random_matrix<row_major<T>>(70, 8, this->random);
    row_major<T> K = random_matrix<row_major<T>>(90, 8, this->random);
    row_major<T> V = random_matrix<row_major<T>>(90, 8, this->random);
    const row_major<T> dO = random_matrix<row_major<T>>(70, 8, this->random);
    const masks::padding mask{.length = 61};
    on_every_set([&](const options& o) {
      const auto of = [&] {
        const auto state = attention_with_log_sum_exp(Q, K, V, mask, o);
        return attention_backward(Q, K, V, state.output, state.log_sum_exp, dO, mask, o);
      };
      const auto clean = of();
      const row_major<T> kept_K = K, kept_V = V;
      K.bottomRows(29).setConstant(poison);
      V.bottomRows(29).setConstant(poison);
      const auto g = of();
      ASSERT_TRUE(g.dQ.allFinite() && g.dK.allFinite() && g.dV.allFinite());
      EXPECT_LE(max_error(g.dQ, clean.dQ), 1e-5);
      EXPECT_LE(max_error(g.dK, clean.dK), 1e-5);
      EXPECT_EQ(g.dV.bottomRows(29).cwiseAbs().maxCoeff(), T(0));
      EXPECT_EQ(g.dK.bottomRows(29).cwiseAbs().maxCoeff(), T(0));
      K = kept_K;
      V = kept_V;
    });
    // A query that is not finite spoils its own row, and the keys that it sees.
    Q.row(3).setConstant(poison);
    const masks::causal_top_left causal;
    const auto state = attention_with_log_sum_exp(Q, K, V, causal);
    const auto g = attention_backward(Q, K, V, state.output, state.log_sum_exp, dO, causal);
    EXPECT_TRUE(g.dQ.bottomRows(66).allFinite());
    EXPECT_TRUE(g.dK.bottomRows(86).allFinite());
    EXPECT_TRUE(g.dV.bottomRows(86).allFinite());
    EXPECT_FALSE(g.dQ.row(3).allFinite());
  }
}

// Finite numbers whose products are not: what is masked is not read, nor is what a query does not
// see.
TYPED_TEST(AttentionGradient, OfWhatIsMaskedIsZeroWhereNumbersOverflow) {
  using T = TypeParam;
  const T huge = std::numeric_limits<T>::max() / 2;
  row_major<T> Q = random_matrix<row_major<T>>(70, 8, this->random);
  row_major<T> K = random_matrix<row_major<T>>(90, 8, this->random);
  row_major<T> V = random_matrix<row_major<T>>(90, 8, this->random);
  const row_major<T> dO = random_matrix<row_major<T>>(70, 8, this->random) * T(100);
  on_every_set([&](const options& o) {
    const auto of = [&](const auto& mask) {
      const auto state = attention_with_log_sum_exp(Q, K, V, mask, o);
      return attention_backward(Q, K, V, state.output, state.log_sum_exp, dO, mask, o);
    };
    const row_major<T> kept_Q = Q, kept_V = V;
    V.bottomRows(29).setConstant(huge);
    const auto g = of(masks::padding{.length = 61});
    EXPECT_TRUE(g.dQ.allFinite() && g.dK.allFinite() && g.dV.allFinite());
    EXPECT_EQ(g.dK.bottomRows(29), row_major<T>::Zero(29, 8));
    EXPECT_EQ(g.dV.bottomRows(29), row_major<T>::Zero(29, 8));
    V = kept_V;
    Q.row(3) *= huge;  // its scores are not finite
    const auto causal = of(masks::causal_top_left{});
    EXPECT_FALSE(causal.dQ.row(3).allFinite());
    EXPECT_TRUE(causal.dQ.bottomRows(66).allFinite());
    EXPECT_TRUE(causal.dK.bottomRows(86).allFinite());
    EXPECT_TRUE(causal.dV.bottomRows(86).allFinite());
    Q = kept_Q;
  });
}

TEST(AttentionGradientOf, InputsIsThatOfDifferences) {
  generator random = seed(16110);
  using matrix = row_major<double>;
  matrix Q = random_matrix<matrix>(5, 6, random), K = random_matrix<matrix>(7, 3, random),
         V = random_matrix<matrix>(7, 4, random);
  const matrix dO = random_matrix<matrix>(5, 8, random), dL = random_matrix<matrix>(5, 2, random);
  const heads h{.query = 2, .kv = 1};
  const Eigen::VectorXd sink = Eigen::VectorXd::LinSpaced(2, -0.5, 0.5);
  const auto check = [&](const auto&... policies) {
    const auto loss = [&] {
      const auto s = attention_with_log_sum_exp(Q, K, V, h, policies...);
      return inner_product(dO, s.output) + inner_product(dL, s.log_sum_exp);
    };
    const auto s = attention_with_log_sum_exp(Q, K, V, h, policies...);
    attention_gradients<matrix> g;
    backward_extras<double> extras;
    extras.dL = detail::view_of(dL);
    attention_backward_into(Q, K, V, s.output, s.log_sum_exp, dO, g, extras, h, policies...);
    expect_gradient("Q", Q, g.dQ, loss);
    expect_gradient("K", K, g.dK, loss);
    expect_gradient("V", V, g.dV, loss);
  };
  check();
  check(masks::causal_top_left{}, transforms::soft_cap{2});
  check(dropout{.probability = 0.4, .seed = 7});
  check(sinks(sink));
  check(scores::dot{}, options{.scale = 0.3});
  const std::vector<std::int32_t> queries{0, 2, 5}, keys{0, 3, 7};
  check(segments{.queries = queries, .keys = keys}, masks::causal_top_left{});
}

TEST(AttentionGradientOf, PoliciesIsThatOfDifferences) {
  generator random = seed(16120);
  using matrix = row_major<double>;
  const matrix Q = random_matrix<matrix>(5, 6, random), K = random_matrix<matrix>(7, 6, random),
               V = random_matrix<matrix>(7, 4, random), dO = random_matrix<matrix>(5, 4, random);
  const heads h{.query = 2};
  matrix B = random_matrix<matrix>(10, 7, random);
  Eigen::VectorXd sink = random_matrix<Eigen::VectorXd>(2, 1, random);
  const auto state = [&] {
    return attention_with_log_sum_exp(Q, K, V, h, transforms::soft_cap{2}, transforms::bias(B),
                                      sinks(sink));
  };
  matrix dB = matrix::Zero(10, 7);
  Eigen::VectorXd dsink(2);
  backward_extras<double> extras;
  extras.dsinks = dsink.data();
  extras.scores = [&](const score_gradients<double>& g, index head) {
    for (index i = 0; i < g.dS.rows; ++i)
      for (index j = 0; j < g.dS.cols; ++j) {
        dB(5 * head + g.first_query + i, g.first_key + j) += g.dS(i, j);
        EXPECT_NEAR(g.S(i, j),
                    Q.row(g.first_query + i)
                            .segment(3 * head, 3)
                            .dot(K.row(g.first_key + j).segment(3 * head, 3)) /
                        std::sqrt(3.0),
                    1e-12);
      }
  };
  const auto s = state();
  attention_gradients<matrix> g;
  attention_backward_into(Q, K, V, s.output, s.log_sum_exp, dO, g, extras, h,
                          transforms::soft_cap{2}, transforms::bias(B), sinks(sink));
  const auto loss = [&] { return inner_product(dO, state().output); };
  expect_gradient("B", B, dB, loss);
  expect_gradient("sink", sink, dsink, loss);
}

// l(x + h·w) − l(x − h·w) = 2h·⟨dl, w⟩, of directions as large as the inputs are. Scores are of one
// size, so that no softmax is a choice: what one input is larger by, another is smaller by.
TEST(AttentionGradientOf, ADirectionIsThatOfDifferencesAtEveryMagnitude) {
  generator random = seed(16130);
  using matrix = row_major<double>;
  const heads h{.query = 2, .kv = 1};
  struct magnitudes {
    double Q, K, V, dO;
  };
  for (const double size : {1e-3, 1.0, 1e3})
    for (const magnitudes& of : {magnitudes{size, 1 / size, 1, 1},
                                 {1 / size, size, size, 1},
                                 {1, 1, size, 1 / size},
                                 {1, 1, size, size}}) {
      const auto matrices = [&] {
        return std::array<matrix, 3>{random_matrix<matrix>(31, 12, random, of.Q),
                                     random_matrix<matrix>(57, 6, random, of.K),
                                     random_matrix<matrix>(57, 10, random, of.V)};
      };
      const auto x = matrices(), w = matrices();
      const matrix dO = random_matrix<matrix>(31, 20, random, of.dO);
      const auto check = [&](const auto&... policies) {
        const auto loss = [&](double step) {
          std::array<matrix, 3> at;
          for (std::size_t k = 0; k < 3; ++k) at[k] = x[k] + step * w[k];
          return inner_product(dO, attention(at[0], at[1], at[2], h, policies...));
        };
        const auto s = attention_with_log_sum_exp(x[0], x[1], x[2], h, policies...);
        const auto g =
            attention_backward(x[0], x[1], x[2], s.output, s.log_sum_exp, dO, h, policies...);
        const double along =
            inner_product(g.dQ, w[0]) + inner_product(g.dK, w[1]) + inner_product(g.dV, w[2]);
        double nearest = std::numeric_limits<double>::infinity();
        for (const double step : {1e-4, 1e-5, 1e-6})
          nearest = std::min(nearest, std::abs((loss(step) - loss(-step)) / (2 * step) - along));
        ASSERT_TRUE(std::isfinite(along));
        EXPECT_LE(nearest, 1e-8 * std::max(std::abs(along), of.V * of.dO)) << size;
      };
      check();
      check(masks::causal_bottom_right{}, transforms::soft_cap{2});
    }
}

TEST(AttentionGradientOf, WrongShapesIsRefusedBeforeAnythingIsWritten) {
  using matrix = row_major<float>;
  const matrix Q = matrix::Ones(4, 3), K = matrix::Ones(5, 3), V = matrix::Ones(5, 2);
  const auto s = attention_with_log_sum_exp(Q, K, V);
  attention_gradients<matrix> g{matrix::Constant(4, 3, 7), {}, {}};
  EXPECT_NE(message_of<shape_error>([&] {
              attention_backward_into(Q, K, V, s.output, s.log_sum_exp, matrix::Ones(4, 3), g);
            }).find("dO.cols() is 3 but the output's columns is 2"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              attention_backward_into(Q, K, V, s.output, Eigen::VectorXf(s.log_sum_exp.head(3)),
                                      s.output, g);
            }).find("log_sum_exp.rows() is 3"),
            std::string::npos);
  EXPECT_EQ(g.dQ, matrix::Constant(4, 3, 7));
  EXPECT_EQ(g.dK.size(), 0);
}

TEST(AttentionGradientOf, AForbiddenScoreBeyondTheRangeIsZeroThroughAnyTransform) {
  // Inputs are finite; their products are not, and 0 · ∞ in the derivative of a transform is NaN.
  row_major<float> Q = row_major<float>::Constant(20, 4, 1),
                   V = row_major<float>::Constant(9, 3, 1);
  row_major<float> K = row_major<float>::Constant(9, 4, 0.5F);
  Q *= 1e10F;
  K.topRows(6) *= 1e-10F;
  K.bottomRows(3).setConstant(3e38F);
  const row_major<float> dO = row_major<float>::Constant(20, 3, 0.25F);
  const masks::where mask([](std::int32_t, std::int32_t j) { return j < 6; });
  const transforms::map half(
      [](auto s, std::int32_t, std::int32_t) { return decltype(s)(0.5) * s; });
  on_every_set([&](const options& o) {
    const auto s = attention_with_log_sum_exp(Q, K, V, mask, half, o);
    const auto g = attention_backward(Q, K, V, s.output, s.log_sum_exp, dO, mask, half, o);
    EXPECT_TRUE(g.dQ.allFinite());
    EXPECT_TRUE((g.dK.bottomRows(3).array() == 0).all());
    EXPECT_TRUE((g.dV.bottomRows(3).array() == 0).all());
  });
}

TEST(AttentionGradientOf, NothingIsNothing) {
  using matrix = row_major<float>;
  for (const auto& [n, m] : {std::pair<index, index>{0, 5}, {4, 0}}) {
    const matrix Q = matrix::Ones(n, 3), K = matrix::Ones(m, 3), V = matrix::Ones(m, 2);
    const auto s = attention_with_log_sum_exp(Q, K, V);
    const auto g = attention_backward(Q, K, V, s.output, s.log_sum_exp, matrix::Ones(n, 2));
    EXPECT_EQ(g.dQ, matrix::Zero(n, 3));
    EXPECT_EQ(g.dK, matrix::Zero(m, 3));
    EXPECT_EQ(g.dV, matrix::Zero(m, 2));
  }
}

}  // namespace
}  // namespace softlook::attention_test
