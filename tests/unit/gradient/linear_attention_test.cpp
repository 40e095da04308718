#include "softlook/gradient/linear_attention.hpp"

#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::linear_attention_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using gradients = linear_attention_gradients<double>;

/// All products x_a·x_b, with the way back.
struct squares {
  template <class Rows>
  auto operator()(const Rows& X) const {
    matrix Y(X.rows(), X.cols() * X.cols());
    for (index a = 0; a < X.cols(); ++a)
      for (index b = 0; b < X.cols(); ++b)
        Y.col(a * X.cols() + b) = X.col(a).cwiseProduct(X.col(b));
    return Y;
  }
  template <class Rows, class G>
  auto backward(const Rows& X, const G& dY) const {
    matrix dX = matrix::Zero(X.rows(), X.cols());
    for (index a = 0; a < X.cols(); ++a)
      for (index b = 0; b < X.cols(); ++b) {
        const index c = a * X.cols() + b;
        dX.col(a) += dY.col(c).cwiseProduct(X.col(b));
        dX.col(b) += dY.col(c).cwiseProduct(X.col(a));
      }
    return dX;
  }
};

/// Four query heads share two heads of keys.
struct problem_of {
  static constexpr heads of{.query = 4, .kv = 2};
  matrix Q, K, V, dO;

  problem_of(index n, index m, generator& random)
      : Q(random_matrix<matrix>(n, 12, random)),
        K(random_matrix<matrix>(m, 6, random)),
        V(random_matrix<matrix>(m, 10, random)),
        dO(random_matrix<matrix>(n, 20, random)) {}

  template <class F>
  void expect(const gradients& g, const F& loss, const char* what) {
    SCOPED_TRACE(what);
    expect_gradient("Q", Q, g.dQ, loss, 1e-6);
    expect_gradient("K", K, g.dK, loss, 1e-6);
    expect_gradient("V", V, g.dV, loss, 1e-6);
  }
};

TEST(LinearAttentionGradient, OfAllKeysIsThatOfDifferences) {
  generator random = seed(16201);
  problem_of p(5, 7, random);
  const auto check = [&](const char* what, const auto&... policies) {
    const gradients g = linear_attention_backward(p.Q, p.K, p.V, p.dO, p.of, policies...);
    p.expect(
        g, [&] { return inner_product(p.dO, linear_attention(p.Q, p.K, p.V, p.of, policies...)); },
        what);
  };
  check("elu + 1");
  check("scale, epsilon", options{.scale = 0.5}, normalizations::sum{.epsilon = 0.3});
  check("as given", features::identity{}, normalizations::none{});
  check("relu", features::relu{}, normalizations::sum{.epsilon = 1});
  check("retention", features::identity{}, normalizations::retention{}, options{.scale = 0.7});
  check("squares", features::map(9, squares{}), normalizations::sum{.epsilon = 0.1});
}

// Eleven features are no whole vectors.
TEST(LinearAttentionGradient, OfThePerformerIsThatOfDifferences) {
  generator random = seed(16210);
  problem_of p(5, 7, random), square(6, 6, random);
  for (const random_feature_options& o :
       {random_feature_options{.features = 11, .seed = 4},
        random_feature_options{.features = 16, .scale = 0.3, .key_shift = 0.5},
        random_feature_options{.features = 11, .epsilon = 0.25}}) {
    const random_features<double> favor(3, o);
    const auto check = [&](const char* what, const auto&... policies) {
      const gradients g = linear_attention_backward(p.Q, p.K, p.V, p.dO, p.of, favor, policies...);
      p.expect(
          g,
          [&] {
            return inner_product(p.dO, linear_attention(p.Q, p.K, p.V, p.of, favor, policies...));
          },
          what);
    };
    check("sum");
    check("none", normalizations::none{});
    check("sum, epsilon", normalizations::sum{.epsilon = 0.3}, options{.scale = 0.5});
    const gradients g =
        causal_linear_attention_backward(square.Q, square.K, square.V, square.dO, square.of, favor);
    square.expect(
        g,
        [&] {
          return inner_product(
              square.dO, causal_linear_attention(square.Q, square.K, square.V, square.of, favor));
        },
        "in order");
  }
}

TEST(LinearAttentionGradient, InOrderIsThatOfDifferences) {
  generator random = seed(16202);
  for (const index n : {1, 11}) {
    problem_of p(n, n, random);
    const auto check = [&](const char* what, const auto&... policies) {
      const gradients g = causal_linear_attention_backward(p.Q, p.K, p.V, p.dO, p.of, policies...);
      p.expect(
          g,
          [&] {
            return inner_product(p.dO, causal_linear_attention(p.Q, p.K, p.V, p.of, policies...));
          },
          what);
    };
    check("elu + 1");
    check("as given", features::identity{}, normalizations::none{}, options{.scale = 0.5});
    check("relu", features::relu{}, normalizations::sum{.epsilon = 1});
    check("retention", features::identity{}, normalizations::retention{});
    check("squares", features::map(9, squares{}), normalizations::sum{.epsilon = 0.1});
  }
}

TEST(LinearAttentionGradient, OfGatesAndStrengthsIsThatOfDifferences) {
  generator random = seed(16203);
  const index n = 11;
  problem_of p(n, n, random);
  p.K *= 0.4;
  matrix gamma = matrix::Constant(1, 2, 0.9), G = random_matrix<matrix>(n, 2, random);
  matrix by_feature = random_matrix<matrix>(n, 6, random);
  gamma(0, 1) = 0.6;
  G = -G.cwiseAbs();
  by_feature = -by_feature.cwiseAbs();
  matrix beta = random_matrix<matrix>(n, 2, random).cwiseAbs();
  matrix shared = random_matrix<matrix>(n, 1, random).cwiseAbs();
  shared(3, 0) = 0;
  const auto check = [&](const char* what, matrix* gate, matrix* strength,
                         const auto&... policies) {
    SCOPED_TRACE(what);
    const gradients g = fast_weights_backward(p.Q, p.K, p.V, p.dO, p.of, policies...);
    const auto loss = [&] {
      return inner_product(p.dO, fast_weights(p.Q, p.K, p.V, p.of, policies...));
    };
    p.expect(g, loss, what);
    if (gate)
      expect_gradient("gate", *gate, g.dgate, loss, 1e-6);
    else
      EXPECT_EQ(g.dgate.size(), 0);
    if (strength)
      expect_gradient("strength", *strength, g.dstrength, loss, 1e-6);
    else
      EXPECT_EQ(g.dstrength.size(), 0);
  };
  check("decay", &gamma, nullptr, gates::decay{gamma});
  check("decay, retention", &gamma, nullptr, gates::decay{gamma}, normalizations::retention{});
  check("decay, sum", &gamma, nullptr, gates::decay{gamma}, normalizations::sum{.epsilon = 20});
  check("log decay", &G, nullptr, gates::log_decay{G}, options{.scale = 0.5});
  check("by feature", &by_feature, nullptr, gates::log_decay{by_feature});
  check("delta", nullptr, &beta, updates::delta{beta});
  check("delta, one for all heads", nullptr, &shared, updates::delta{shared});
  check("gated delta", &G, &beta, gates::log_decay{G}, updates::delta{beta});
  check("delta by feature", &by_feature, &beta, gates::log_decay{by_feature}, updates::delta{beta});
}

TEST(LinearAttentionGradient, OfStatesIsThatOfDifferences) {
  generator random = seed(16204);
  const index n = 7;
  problem_of p(n, n, random);
  p.K *= 0.4;
  matrix beta = random_matrix<matrix>(n, 2, random).cwiseAbs();
  matrix first = random_matrix<matrix>(6, 5, random), last = random_matrix<matrix>(6, 5, random);
  const auto state_of = [&](const matrix& S) {
    linear_state<double> state(3, 5, 2);
    for (index h = 0; h < 2; ++h) state.weights(h) = S.middleRows(3 * h, 3);
    return state;
  };
  const auto matrix_of = [&](const linear_state<double>& state) {
    matrix S(6, 5);
    for (index h = 0; h < 2; ++h) S.middleRows(3 * h, 3) = state.weights(h);
    return S;
  };
  const auto loss = [&] {
    linear_state<double> state = state_of(first);
    const matrix O = fast_weights(p.Q, p.K, p.V, state, p.of, updates::delta{beta});
    return inner_product(p.dO, O) + inner_product(last, matrix_of(state));
  };
  linear_state<double> dstate = state_of(last);
  const gradients g = fast_weights_backward(p.Q, p.K, p.V, p.dO, state_of(first), dstate, p.of,
                                            updates::delta{beta});
  p.expect(g, loss, "states");
  expect_gradient("strength", beta, g.dstrength, loss, 1e-6);
  expect_gradient("first", first, matrix_of(dstate), loss, 1e-6);
}

TEST(LinearAttentionGradient, OfNothingIsNothing) {
  const matrix none(0, 3), dO = matrix::Ones(2, 3);
  const gradients g = linear_attention_backward(matrix::Ones(2, 3), none, none, dO);
  EXPECT_EQ(g.dQ, matrix::Zero(2, 3));
  EXPECT_EQ(causal_linear_attention_backward(none, none, none, none).dQ.rows(), 0);
}

TEST(LinearAttentionGradient, RefusesWhatDoesNotFit) {
  const matrix X = matrix::Ones(4, 3);
  const auto refused = [&](const auto& call) { return message_of<shape_error>(call); };
  EXPECT_NE(refused([&] {
              (void)fast_weights_backward(X, X, X, matrix::Ones(3, 3));
            }).find("fast_weights_backward: dO.rows() is 3 but Q.rows() is 4"),
            std::string::npos);
  linear_state<double> first(3, 3), small(2, 3);
  EXPECT_NE(refused([&] {
              (void)fast_weights_backward(X, X, X, X, first, small);
            }).find("state.features() is 2"),
            std::string::npos);
}

}  // namespace
}  // namespace softlook::linear_attention_test
