// Linear attention and fast weights against their definitions: plain loops, one token after
// another.
#include "softlook/linear.hpp"

#include <gtest/gtest.h>

#include <cfenv>
#include <stdexcept>
#include <vector>

#include "softlook/exec/thread_pool.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace attention_test {
namespace {

using softlook::causal_linear_attention;
using softlook::causal_linear_attention_into;
using softlook::fast_weights;
using softlook::fast_weights_into;
using softlook::index;
using softlook::linear_attention;
using softlook::linear_attention_into;
using softlook::range;
using softlook_test::expect_error;
using softlook_test::generator;
using softlook_test::row_major;
namespace features = softlook::features;
namespace gates = softlook::gates;
namespace normalizations = softlook::normalizations;
namespace updates = softlook::updates;

using wide = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class T>
row_major<T> random(index rows, index cols, generator& g, double low = -1, double high = 1) {
  row_major<T> X(rows, cols);
  for (index i = 0; i < rows; ++i)
    for (index j = 0; j < cols; ++j) X(i, j) = static_cast<T>(g.uniform(low, high));
  return X;
}

enum class map_of { identity, elu, relu };
enum class division { none, sum, retention };

/// What the oracle is told; empty matrices are absent.
struct program {
  map_of map = map_of::identity;
  division divide = division::none;
  long double scale = 1;
  wide log_decay{};  // n×1 or n×d
  wide strength{};   // n×1
};

long double feature(map_of m, long double x) {
  if (m == map_of::relu) return x > 0 ? x : 0;
  if (m == map_of::elu) return x > 0 ? x + 1 : std::exp(x);
  return x;
}

wide mapped(map_of m, const wide& X) {
  return X.unaryExpr([m](long double x) { return feature(m, x); });
}

/// The outputs, the state, and the largest sum of magnitudes behind an output.
struct truth {
  wide output, state;
  long double magnitude = 0;
};

/// max(|x|, √w) of Sun et al., or the sum; never 0.
long double divisor(division d, long double x, long double decay_sum) {
  if (d == division::none) return 1;
  if (d == division::sum) return x == 0 ? 1 : x;
  return std::max(std::abs(x), std::sqrt(decay_sum));
}

truth oracle(const wide& Q, const wide& K, const wide& V, const program& p) {
  const index d = K.cols();
  truth t{wide::Zero(Q.rows(), V.cols()), wide::Zero(d, V.cols())};
  wide sizes = wide::Zero(d, V.cols()), z = wide::Zero(d, 1);
  long double decay_sum = 0;
  for (index i = 0; i < Q.rows(); ++i) {
    const wide k = mapped(p.map, K.row(i)).transpose();
    const wide q = p.scale * mapped(p.map, Q.row(i));
    long double first_decay = 1;
    for (index f = 0; f < d && p.log_decay.size() > 0; ++f) {
      const long double a = std::exp(p.log_decay(i, p.log_decay.cols() == 1 ? 0 : f));
      t.state.row(f) *= a;
      sizes.row(f) *= a;
      z(f, 0) *= a;
      if (f == 0) first_decay = a;
    }
    decay_sum = first_decay * decay_sum + 1;
    wide u = V.row(i), size = u.cwiseAbs();
    if (p.strength.size() > 0) {
      u = p.strength(i, 0) * (u - k.transpose() * t.state);
      size = p.strength(i, 0) * (size + k.cwiseAbs().transpose() * sizes);
    }
    t.state += k * u;
    sizes += k.cwiseAbs() * size;
    z += k;
    const long double under = divisor(p.divide, (q * z)(0, 0), decay_sum);
    t.output.row(i) = q * t.state / under;
    if (V.cols() > 0 && d > 0)
      t.magnitude = std::max(t.magnitude, (q.cwiseAbs() * sizes).maxCoeff() / std::abs(under));
  }
  return t;
}

/// Every output is a sum of products of rounded numbers, behind it `features` terms for each of
/// two products and, through the decays, a rounding for each token.
template <class T>
double linear_bound(index features, index tokens, long double magnitude) {
  return 2 * (2 * static_cast<double>(features) + static_cast<double>(tokens) + 16) *
         static_cast<double>(std::numeric_limits<T>::epsilon()) * static_cast<double>(magnitude);
}

template <class M>
double distance(const M& X, const wide& truth) {
  if (X.size() == 0) return 0;
  if (!X.allFinite()) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>((X.template cast<long double>() - truth).cwiseAbs().maxCoeff());
}

template <class T>
class LinearAttention : public ::testing::Test {};
TYPED_TEST_SUITE(LinearAttention, softlook_test::scalars, softlook_test::scalar_names);

template <class T>
struct inputs {
  row_major<T> Q, K, V, G, Gf, B;
  inputs(index n, index d, index e, std::uint64_t seed) {
    generator g = softlook_test::seed(seed);
    Q = random<T>(n, d, g);
    K = random<T>(n, d, g) / T(std::sqrt(double(d)));
    V = random<T>(n, e, g);
    G = random<T>(n, 1, g, -0.5, 0);
    Gf = random<T>(n, d, g, -2, 0);
    B = random<T>(n, 1, g, 0, 1);
  }
};

constexpr int programs = 8;

program program_of(int which, const auto& x) {
  program p;
  const bool delta = which == 2 || which == 4 || which == 6;
  if (which == 0) p = {map_of::elu, division::sum};
  if (which == 3 || which == 4 || which == 7) p.log_decay = x.G.template cast<long double>();
  if (which == 5 || which == 6) p.log_decay = x.Gf.template cast<long double>();
  if (delta) p.strength = x.B.template cast<long double>();
  if (which == 7) p.divide = division::retention;
  return p;
}

template <class T, class Executor = softlook::exec::sequential>
row_major<T> run_program(int which, const inputs<T>& x, range rows,
                         softlook::linear_state<T>& state, const softlook::options& o,
                         const Executor& on = {}) {
  const auto part = [&](const row_major<T>& X) {
    return row_major<T>(X.middleRows(rows.begin, rows.count()));
  };
  const row_major<T> Q = part(x.Q), K = part(x.K), V = part(x.V), G = part(x.G), Gf = part(x.Gf),
                     B = part(x.B);
  switch (which) {
    case 0:
      return causal_linear_attention(Q, K, V, state, o, on);
    case 1:
      return fast_weights(Q, K, V, state, o, on);
    case 2:
      return fast_weights(Q, K, V, state, updates::delta{B}, o, on);
    case 3:
      return fast_weights(Q, K, V, state, gates::log_decay{G}, o, on);
    case 4:
      return fast_weights(Q, K, V, state, o, on, gates::log_decay{G}, updates::delta{B});
    case 5:
      return fast_weights(Q, K, V, state, gates::log_decay{Gf}, o, on);
    case 6:
      return fast_weights(Q, K, V, state, updates::delta{B}, gates::log_decay{Gf}, o, on);
    default:
      return fast_weights(Q, K, V, state, normalizations::retention{}, gates::log_decay{G}, o, on);
  }
}

TYPED_TEST(LinearAttention, ChunksAndSingleTokensFollowTheDefinition) {
  using T = TypeParam;
  for (const auto isa : softlook::available_instruction_sets())
    for (const auto& [n, d, e] : {std::tuple<index, index, index>{1, 1, 1},
                                  {7, 5, 3},
                                  {31, 17, 64},
                                  {32, 64, 50},
                                  {33, 3, 81},
                                  {97, 40, 33}})
      for (int which = 0; which < programs; ++which) {
        SCOPED_TRACE(::testing::Message() << name_of(isa) << " n=" << n << " d=" << d << " e=" << e
                                          << " program " << which);
        const inputs<T> x(n, d, e, static_cast<std::uint64_t>(n * 100 + d));
        const truth t = oracle(x.Q.template cast<long double>(), x.K.template cast<long double>(),
                               x.V.template cast<long double>(), program_of(which, x));
        const double bound = linear_bound<T>(d, n, t.magnitude);
        softlook::linear_state<T> whole(d, e), stepped(d, e);
        const softlook::options o{.isa = isa};
        EXPECT_LE(distance(run_program(which, x, {0, n}, whole, o), t.output), bound);
        for (index i = 0; i < n; ++i) {
          const row_major<T> row = run_program(which, x, {i, i + 1}, stepped, o);
          EXPECT_LE(distance(row, t.output.row(i)), bound) << "token " << i;
        }
        const double of_state =
            linear_bound<T>(d, n, 1 + t.state.cwiseAbs().maxCoeff() * std::sqrt(double(n)));
        EXPECT_LE(distance(whole.weights(), t.state), of_state);
        EXPECT_LE(distance(stepped.weights(), t.state), of_state);
      }
}

/// φ(Q)·φ(K)ᵀ as a matrix.
wide full_oracle(const wide& Q, const wide& K, const wide& V, map_of m, bool divide) {
  wide P = mapped(m, Q) * mapped(m, K).transpose();
  for (index i = 0; divide && i < P.rows(); ++i)
    if (P.row(i).sum() != 0) P.row(i) /= P.row(i).sum();
  return P * V;
}

TYPED_TEST(LinearAttention, WithoutAnOrderFollowsTheDefinition) {
  using T = TypeParam;
  for (const auto isa : softlook::available_instruction_sets())
    for (const auto& [n, m] : {std::pair<index, index>{1, 1}, {5, 64}, {700, 3}, {40, 131}}) {
      generator g = softlook_test::seed(11);
      const row_major<T> Q = random<T>(n, 19, g), K = random<T>(m, 19, g), V = random<T>(m, 21, g);
      const wide q = Q.template cast<long double>(), k = K.template cast<long double>(),
                 v = V.template cast<long double>();
      const softlook::options o{.isa = isa};
      const normalizations::none none;
      EXPECT_LE(distance(linear_attention(Q, K, V, o), full_oracle(q, k, v, map_of::elu, true)),
                linear_bound<T>(19, m, 1));
      EXPECT_LE(distance(linear_attention(Q, K, V, features::relu{}, o),
                         full_oracle(q, k, v, map_of::relu, true)),
                linear_bound<T>(19, m, 1));
      EXPECT_LE(distance(linear_attention(Q, K, V, features::identity{}, none, o),
                         full_oracle(q, k, v, map_of::identity, false)),
                linear_bound<T>(19, m, 19 * std::sqrt(double(m))));
    }
}

TYPED_TEST(LinearAttention, LastCausalRowMeetsEveryKey) {
  using T = TypeParam;
  const inputs<T> x(75, 24, 10, 3);
  const row_major<T> full = linear_attention(x.Q, x.K, x.V);
  const row_major<T> causal = causal_linear_attention(x.Q, x.K, x.V);
  EXPECT_LE(distance(row_major<T>(causal.row(74)), full.row(74).template cast<long double>()),
            linear_bound<T>(24, 75, 1));
}

/// Rows of retention as the paper's parallel form has them: R = (scale·QKᵀ ∘ D/√(row sums of D)),
/// O = R/max(|row sums of R|, 1)·V.
TYPED_TEST(LinearAttention, NormalisedRetentionIsThePapersParallelForm) {
  using T = TypeParam;
  const index n = 50, d = 8, e = 6;
  const inputs<T> x(n, d, e, 5);
  const auto gamma = softlook::retention_decays<T>(1);
  EXPECT_EQ(gamma[0], T(31) / T(32));
  const long double scale = 1 / std::sqrt(8.0L);
  wide R = scale * x.Q.template cast<long double>() * x.K.template cast<long double>().transpose();
  for (index i = 0; i < n; ++i) {
    long double decays = 0;
    for (index j = 0; j < n; ++j) {
      const long double D = j <= i ? std::pow(31.0L / 32, static_cast<long double>(i - j)) : 0;
      decays += D;
      R(i, j) *= D;
    }
    R.row(i) /= std::sqrt(decays);
    R.row(i) /= std::max(std::abs(R.row(i).sum()), 1.0L);
  }
  const auto O = fast_weights(x.Q, x.K, x.V, gates::decay{gamma}, normalizations::retention{},
                              softlook::options{.scale = static_cast<double>(scale)});
  EXPECT_LE(distance(O, R * x.V.template cast<long double>()), linear_bound<T>(d, n, n));
}

TYPED_TEST(LinearAttention, StateContinuesAtTheEndOfAChunkToTheBit) {
  using T = TypeParam;
  const inputs<T> x(100, 20, 30, 7);
  for (int which = 0; which < programs; ++which) {
    softlook::linear_state<T> whole(20, 30), parts(20, 30);
    const row_major<T> O = run_program(which, x, {0, 100}, whole, {});
    row_major<T> P(100, 30);
    P.topRows(64) = run_program(which, x, {0, 64}, parts, {});
    P.bottomRows(36) = run_program(which, x, {64, 100}, parts, {});
    EXPECT_EQ(O, P) << "program " << which;
    EXPECT_EQ(row_major<T>(whole.weights()), row_major<T>(parts.weights()));
    EXPECT_EQ(whole.key_sum(), parts.key_sum());
    EXPECT_EQ(whole.decay_sum(), parts.decay_sum());
  }
}

TYPED_TEST(LinearAttention, RowIsIndependentOfLaterRowsToTheBit) {
  using T = TypeParam;
  const T infinite = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  for (const auto isa : softlook::available_instruction_sets())
    for (const index at : {index{0}, index{13}, index{31}, index{32}, index{61}})
      for (int which = 0; which < programs; ++which) {
        const inputs<T> clean(70, 9, 37, 17);
        inputs<T> poisoned = clean;
        poisoned.K(at, 3) = nan;
        poisoned.V(at, 36) = infinite;
        poisoned.V(at, 0) = nan;
        poisoned.Q(at, 1) = -infinite;
        softlook::linear_state<T> a(9, 37), b(9, 37);
        const row_major<T> O = run_program(which, clean, {0, 70}, a, {.isa = isa});
        const row_major<T> P = run_program(which, poisoned, {0, 70}, b, {.isa = isa});
        EXPECT_EQ(O.topRows(at), P.topRows(at)) << name_of(isa) << " program " << which;
        for (index i = at; i < 70; ++i)
          EXPECT_TRUE(std::isnan(P(i, 0))) << "row " << i << " program " << which;
      }
}

TYPED_TEST(LinearAttention, InfiniteValueStaysInItsColumn) {
  using T = TypeParam;
  inputs<T> x(40, 6, 20, 19);
  x.V(5, 7) = std::numeric_limits<T>::infinity();
  const row_major<T> O = causal_linear_attention(x.Q, x.K, x.V);
  for (index i = 0; i < 40; ++i)
    for (index c = 0; c < 20; ++c)
      EXPECT_EQ(std::isfinite(O(i, c)), i < 5 || c != 7) << i << ", " << c;
  EXPECT_GT(O(39, 7), 0);  // elu + 1 is positive: no NaN
}

TYPED_TEST(LinearAttention, GroupsOfQueryHeadsShareKeys) {
  using T = TypeParam;
  const index n = 45, d = 12, e = 10;
  generator g = softlook_test::seed(23);
  const row_major<T> Q = random<T>(n, 4 * d, g), K = random<T>(n, 2 * d, g),
                     V = random<T>(n, 2 * e, g), G = random<T>(n, 2, g, -1, 0),
                     Gf = random<T>(n, 2 * d, g, -1, 0);
  const softlook::heads h{.query = 4, .kv = 2};
  const row_major<T> O = causal_linear_attention(Q, K, V, h, gates::log_decay{G});
  const row_major<T> F = causal_linear_attention(Q, K, V, h, gates::log_decay{Gf});
  const row_major<T> all = linear_attention(Q, K, V, h);
  for (index q = 0; q < 4; ++q) {
    const index kv = q / 2;
    const auto Qh = Q.middleCols(q * d, d), Kh = K.middleCols(kv * d, d),
               Gh = Gf.middleCols(kv * d, d);
    const auto Vh = V.middleCols(kv * e, e);
    const auto Gc = G.col(kv);
    EXPECT_EQ(row_major<T>(O.middleCols(q * e, e)),
              row_major<T>(causal_linear_attention(Qh, Kh, Vh, gates::log_decay{Gc})));
    EXPECT_EQ(row_major<T>(F.middleCols(q * e, e)),
              row_major<T>(causal_linear_attention(Qh, Kh, Vh, gates::log_decay{Gh})));
    EXPECT_EQ(row_major<T>(all.middleCols(q * e, e)), row_major<T>(linear_attention(Qh, Kh, Vh)));
  }
}

TYPED_TEST(LinearAttention, ExecutorsAndStorageOrdersChangeNoBit) {
  using T = TypeParam;
  const index n = 600, d = 10, e = 18;
  generator g = softlook_test::seed(29);
  const row_major<T> Q = random<T>(n, 3 * d, g), K = random<T>(n, 3 * d, g),
                     V = random<T>(n, 3 * e, g), B = random<T>(n, 3, g, 0, 0.1);
  using columns = softlook_test::col_major<T>;
  const columns Qc = Q, Kc = K, Vc = V, Bc = B;
  const softlook::heads h{.query = 3};
  const softlook::exec::thread_pool pool(3);
  softlook::workspace memory;
  const softlook::options o{.workspace = &memory};
  const row_major<T> full = linear_attention(Q, K, V, h);
  const row_major<T> causal = causal_linear_attention(Q, K, V, h, updates::delta{B});
  EXPECT_EQ(full, linear_attention(Q, K, V, h, pool));
  EXPECT_EQ(full, row_major<T>(linear_attention(Qc, Kc, Vc, o, h)));
  EXPECT_EQ(full, linear_attention(Q, K, V, softlook_test::round_robin{}, h, o));
  EXPECT_EQ(full, linear_attention(Q * T(1), K, Vc, softlook_test::last_task_first{}, h));
  EXPECT_EQ(causal, causal_linear_attention(Q, K, V, h, updates::delta{B}, pool));
  EXPECT_EQ(causal, row_major<T>(causal_linear_attention(Qc, Kc, Vc, h, updates::delta{Bc}, o)));
  columns O(n + 2, 3 * e);
  causal_linear_attention_into(Qc, K, Vc, O.middleRows(1, n), h, updates::delta{Bc});
  EXPECT_EQ(causal, row_major<T>(O.middleRows(1, n)));
}

TYPED_TEST(LinearAttention, WorkersThatShareTheValuesOfAHeadChangeNoBit) {
  using T = TypeParam;
  const T infinite = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const index n = 150, d = 9, e = 75;
  inputs<T> clean(n, d, e, 61), poisoned = clean;
  poisoned.V(40, 3) = nan;
  poisoned.V(41, 37) = infinite;
  poisoned.V(70, 74) = -infinite;
  poisoned.K(90, 2) = nan;
  const auto same = [](const auto& A, const auto& B) {
    return ((A.array() == B.array()) || (A.array().isNaN() && B.array().isNaN())).all();
  };
  for (const auto isa : softlook::available_instruction_sets())
    for (int which = 0; which < programs; ++which)
      for (const inputs<T>* x : {&clean, &poisoned}) {
        softlook::linear_state<T> one(d, e);
        const row_major<T> before = run_program(which, *x, {0, 13}, one, {.isa = isa});
        const softlook::linear_state<T> started = one;
        const row_major<T> O = run_program(which, *x, {13, n}, one, {.isa = isa});
        for (const index workers : {2, 3, 5, 40}) {
          softlook::linear_state<T> many = started;
          const row_major<T> P = run_program(which, *x, {13, n}, many, {.isa = isa},
                                             softlook_test::thread_per_worker{workers});
          EXPECT_TRUE(same(O, P)) << name_of(isa) << " program " << which << " of " << workers;
          EXPECT_TRUE(same(row_major<T>(one.weights()), row_major<T>(many.weights())));
          EXPECT_TRUE(same(row_major<T>(one.key_sum()), row_major<T>(many.key_sum())));
          EXPECT_EQ(one.decay_sum(), many.decay_sum());
        }
      }
}

TYPED_TEST(LinearAttention, WorkersThatShareAHeadKnowGroupsMapsAndStorage) {
  using T = TypeParam;
  const index n = 200, d = 6, e = 40;
  generator g = softlook_test::seed(67);
  const row_major<T> Q = random<T>(n, 4 * d, g), K = random<T>(n, 2 * d, g),
                     V = random<T>(n, 2 * e, g), G = random<T>(n, 2, g, -1, 0);
  const softlook::heads h{.query = 4, .kv = 2};
  const softlook_test::col_major<T> Vc = V;
  const features::map map(d, [](const auto& X) { return X.cwiseMax(T(0)); });
  const row_major<T> O = causal_linear_attention(Q, K, V, h, map, gates::log_decay{G});
  for (const index workers : {4, 7}) {
    const softlook_test::round_robin on{workers};
    EXPECT_EQ(O, causal_linear_attention(Q, K, V, h, map, gates::log_decay{G}, on));
    softlook_test::col_major<T> into(n, 4 * e);
    causal_linear_attention_into(Q, K, Vc, into, h, features::relu{}, gates::log_decay{G}, on);
    EXPECT_EQ(O, row_major<T>(into));
    const row_major<T> none(n, 0);
    EXPECT_EQ(causal_linear_attention(Q, K, none, h, on).cols(), 0);
  }
}

/// Long enough to be summed in pieces.
TYPED_TEST(LinearAttention, PiecesOfManyKeysFollowTheDefinitionAndDependOnTheirNumberAlone) {
  using T = TypeParam;
  for (const index m : {1023, 1024, 3000, 9000}) {
    generator g = softlook_test::seed(71);
    const row_major<T> Q = random<T>(40, 7, g), K = random<T>(m, 7, g), V = random<T>(m, 5, g);
    const row_major<T> O = linear_attention(Q, K, V);
    EXPECT_LE(
        distance(O, full_oracle(Q.template cast<long double>(), K.template cast<long double>(),
                                V.template cast<long double>(), map_of::elu, true)),
        linear_bound<T>(7, m, 1));
    for (const index workers : {2, 16})
      EXPECT_EQ(O, linear_attention(Q, K, V, softlook_test::thread_per_worker{workers}));
    EXPECT_EQ(O.topRows(3), linear_attention(Q.topRows(3), K, V));
  }
}

TYPED_TEST(LinearAttention, QueryThatMeetsNothingGetsZeros) {
  using T = TypeParam;
  generator g = softlook_test::seed(31);
  const row_major<T> Q = -random<T>(40, 4, g, 0.5, 1), V = random<T>(40, 3, g);
  std::feclearexcept(FE_ALL_EXCEPT);
  EXPECT_TRUE(linear_attention(Q, Q, V, features::relu{}).isZero(0));
  EXPECT_TRUE(causal_linear_attention(Q, Q, V, features::relu{}).isZero(0));
  EXPECT_TRUE(causal_linear_attention(Q.topRows(2), Q.topRows(2), V.topRows(2), features::relu{})
                  .isZero(0));
  const row_major<T> none(0, 4), no_values(0, 3);
  EXPECT_TRUE(linear_attention(Q, none, no_values).isZero(0));
  EXPECT_EQ(linear_attention(none, Q, V).rows(), 0);
  EXPECT_EQ(causal_linear_attention(none, none, no_values).rows(), 0);
  const row_major<T> no_features(40, 0), no_columns(40, 0);
  EXPECT_TRUE(causal_linear_attention(no_features, no_features, V).isZero(0));
  EXPECT_EQ(causal_linear_attention(Q, Q, no_columns).cols(), 0);
  EXPECT_EQ(std::fetestexcept(FE_INVALID | FE_DIVBYZERO), 0);
}

TYPED_TEST(LinearAttention, DecayOfZeroForgetsWithoutATrace) {
  using T = TypeParam;
  const T forget = -std::numeric_limits<T>::infinity();
  for (const index reset : {index{0}, index{9}, index{40}}) {
    const inputs<T> x(64, 7, 9, 37);
    row_major<T> G = row_major<T>::Zero(64, 1);
    G(reset, 0) = forget;
    const row_major<T> Gf = G.replicate(1, 7);
    const index left = 64 - reset;
    const row_major<T> fresh =
        fast_weights(x.Q.bottomRows(left), x.K.bottomRows(left), x.V.bottomRows(left));
    std::feclearexcept(FE_ALL_EXCEPT);
    const row_major<T> O = fast_weights(x.Q, x.K, x.V, gates::log_decay{G});
    const row_major<T> F = fast_weights(x.Q, x.K, x.V, gates::log_decay{Gf});
    EXPECT_EQ(std::fetestexcept(FE_INVALID | FE_DIVBYZERO), 0);
    const double bound = linear_bound<T>(7, 64, 64);
    EXPECT_LE(distance(row_major<T>(O.bottomRows(left)), fresh.template cast<long double>()),
              bound);
    EXPECT_LE(distance(row_major<T>(F.bottomRows(left)), fresh.template cast<long double>()),
              bound);
  }
}

/// The delta rule replaces what the state says of a key; the sum of outer products mixes.
TYPED_TEST(LinearAttention, DeltaRuleRemembersTheLastValueOfEachKey) {
  using T = TypeParam;
  const index d = 16, n = 3 * d;
  generator g = softlook_test::seed(41);
  const row_major<T> K = row_major<T>::Identity(d, d).replicate(3, 1), V = random<T>(n, 5, g);
  const row_major<T> beta = row_major<T>::Ones(n, 1);
  softlook::linear_state<T> state(d, 5);
  static_cast<void>(fast_weights(K, K, V, state, updates::delta{beta}));
  EXPECT_LE(distance(state.weights(), V.bottomRows(d).template cast<long double>()),
            linear_bound<T>(1, 3, 1));
}

TYPED_TEST(LinearAttention, UsersFeatureMapIsUsedForQueriesAndKeys) {
  using T = TypeParam;
  const inputs<T> x(300, 6, 11, 43);
  const auto relu = [](const auto& X) { return X.cwiseMax(T(0)); };
  const features::map map(6, relu);
  softlook::linear_state<T> a(6, 11), b(6, 11);
  EXPECT_EQ(causal_linear_attention(x.Q, x.K, x.V, a, features::relu{}),
            causal_linear_attention(x.Q, x.K, x.V, b, map));
  EXPECT_EQ(row_major<T>(a.weights()), row_major<T>(b.weights()));
  EXPECT_EQ(linear_attention(x.Q, x.K, x.V, features::relu{}),
            linear_attention(x.Q, x.K, x.V, map));
  for (index i = 0; i < 3; ++i)
    EXPECT_EQ(causal_linear_attention(x.Q.row(i), x.K.row(i), x.V.row(i), a, features::relu{}),
              causal_linear_attention(x.Q.row(i), x.K.row(i), x.V.row(i), b, map));
}

struct broken_map : std::runtime_error {
  using std::runtime_error::runtime_error;
};

TYPED_TEST(LinearAttention, ErrorOfAUsersFeatureMapReachesTheCaller) {
  using T = TypeParam;
  const inputs<T> x(64, 4, 4, 47);
  const auto throws = [](const auto& X) -> row_major<T> {
    if (X.rows() > 0) throw broken_map("no features today");
    return X;
  };
  expect_error<broken_map>(
      [&] { static_cast<void>(linear_attention(x.Q, x.K, x.V, features::map(4, throws))); },
      {"no features today"});
  const auto narrow = [](const auto& X) { return row_major<T>(X.leftCols(3)); };
  expect_error<softlook::shape_error>(
      [&] { static_cast<void>(linear_attention(x.Q, x.K, x.V, features::map(4, narrow))); },
      {"linear_attention: features::map cols() is 3 but count is 4"});
}

TYPED_TEST(LinearAttention, StateIsAValue) {
  using T = TypeParam;
  const inputs<T> x(10, 5, 7, 53);
  softlook::linear_state<T> state(5, 7);
  static_cast<void>(causal_linear_attention(x.Q, x.K, x.V, state));
  EXPECT_EQ(state.decay_sum(), T(10));
  softlook::linear_state<T> branch = state;
  const row_major<T> one = causal_linear_attention(x.Q.row(0), x.K.row(0), x.V.row(0), state);
  EXPECT_EQ(one, causal_linear_attention(x.Q.row(0), x.K.row(0), x.V.row(0), branch));
  state.set_zero();
  EXPECT_TRUE(state.weights().isZero(0));
  EXPECT_TRUE(state.key_sum().isZero(0));
  EXPECT_EQ(state.decay_sum(), T(0));
}

TYPED_TEST(LinearAttention, ScratchDoesNotGrowWithTheTokens) {
  using T = TypeParam;
  softlook::workspace memory;
  const softlook::options o{.workspace = &memory};
  generator g = softlook_test::seed(59);
  const row_major<T> X = random<T>(4096, 16, g);
  static_cast<void>(causal_linear_attention(X.topRows(64), X.topRows(64), X.topRows(64), o));
  const std::size_t before = memory.bytes();
  static_cast<void>(causal_linear_attention(X, X, X, o));
  EXPECT_EQ(memory.bytes(), before);
  const row_major<T> many = random<T>(16384, 16, g);  // as many pieces as there may be
  static_cast<void>(linear_attention(many, many, many, o));
  const std::size_t of_pieces = memory.bytes();
  const row_major<T> twice = many.replicate(2, 1);
  static_cast<void>(linear_attention(twice, twice, twice, o));
  EXPECT_EQ(memory.bytes(), of_pieces);
}

TYPED_TEST(LinearAttention, MisuseIsNamed) {
  using T = TypeParam;
  using softlook::argument_error;
  using softlook::heads;
  using softlook::options;
  using softlook::shape_error;
  generator g = softlook_test::seed(61);
  const row_major<T> X = random<T>(8, 4, g), narrow = X.leftCols(3), few = X.topRows(5);
  row_major<T> O = X;
  softlook::linear_state<T> state(4, 4), wrong(3, 4), flat(4, 3), two(4, 4, 2);
  const auto shape = [](const auto& f, std::initializer_list<const char*> text) {
    expect_error<shape_error>(f, text);
  };
  const auto argument = [](const auto& f, std::initializer_list<const char*> text) {
    expect_error<argument_error>(f, text);
  };
  shape([&] { linear_attention_into(X, narrow, X, O); },
        {"linear_attention_into: K.cols() is 3 but Q.cols() is 4"});
  shape([&] { linear_attention_into(X, X, few, O); }, {"V.rows() is 5 but K.rows() is 8"});
  shape([&] { causal_linear_attention_into(X, few, few, O); },
        {"causal_linear_attention_into: Q.rows() is 8 but K.rows() is 5", "a query and a key"});
  shape([&] { fast_weights_into(X, X, X, O.leftCols(3)); },
        {"fast_weights_into: O.cols() is 3 but V.cols() is 4"});
  row_major<T> Q = X;
  argument([&] { fast_weights_into(Q, X, X, Q); }, {"O overlaps Q"});
  row_major<T> G = row_major<T>::Zero(8, 4);
  argument([&] { fast_weights_into(X, X, X, G, gates::log_decay{G}); }, {"O overlaps the gate"});
  argument([&] { fast_weights_into(X, X, X, G, heads{.query = 4}, updates::delta{G}); },
           {"O overlaps the strengths"});
  shape([&] { fast_weights_into(X, X, X, O, gates::log_decay{few}); },
        {"gates::log_decay rows() is 5 but K.rows() is 8"});
  shape([&] { fast_weights_into(X, X, X, O, gates::log_decay{narrow}); },
        {"gates::log_decay cols() is 3 but the number of key heads is 1"});
  const Eigen::Matrix<T, 1, 2> gamma(T(1), T(1));
  shape([&] { fast_weights_into(X, X, X, O, gates::decay{gamma}); },
        {"gates::decay size() is 2 but the number of key heads is 1"});
  argument([&] { fast_weights_into(X, X, X, O, gates::log_decay{X}, normalizations::retention{}); },
           {"normalizations::retention needs one decay for a head"});
  shape([&] { fast_weights_into(X, X, X, O, updates::delta{few}); },
        {"updates::delta rows() is 5 but K.rows() is 8"});
  shape([&] { fast_weights_into(X, X, X, O, updates::delta{narrow}); },
        {"updates::delta cols() is 3 but the number of key heads is 1"});
  shape([&] { fast_weights_into(X, X, X, O, wrong); },
        {"state.features() is 3 but the number of features is 4"});
  shape([&] { fast_weights_into(X, X, X, O, flat); }, {"state.values() is 3 but V.cols() is 4"});
  shape([&] { fast_weights_into(X, X, X, O, two); }, {"state.heads() is 2 but heads.kv is 1"});
  shape([&] { linear_attention_into(X, X, X, O, heads{.query = 3}); },
        {"Q.cols() is 4 but heads.query is 3"});
  shape([&] { linear_attention_into(X, X, X, O, heads{.query = 4, .kv = 3}); },
        {"heads.query is 4 but heads.kv is 3"});
  argument([&] { linear_attention_into(X, X, X, O, heads{.query = 0}); }, {"heads.query is 0"});
  argument([&] { linear_attention_into(X, X, X, O, options{.scale = std::nan("")}); },
           {"options.scale is nan"});
  argument([&] { linear_attention_into(X, X, X, O, normalizations::sum{.epsilon = -1}); },
           {"normalizations::sum epsilon is -1"});
  argument([&] { softlook::linear_state<T>(-1, 2); }, {"linear_state: features is -1"});
  argument([&] { softlook::linear_state<T>(1, 2, 0); }, {"linear_state: heads is 0"});
  argument([&] { static_cast<void>(state.weights(1)); },
           {"linear_state: head is 1 (it must lie between 0 and 0)"});
  argument([&] { static_cast<void>(softlook::retention_decays<T>(-1)); },
           {"retention_decays: heads is -1"});
  EXPECT_EQ(O, X);
}

}  // namespace
}  // namespace attention_test
