#include "softlook/attention/low_precision.hpp"

#include <gtest/gtest.h>

#include "softlook/cache/int8_rows.hpp"
#include "softlook/cache/kv_cache.hpp"
#include "softlook/layer/low_precision.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/patterns.hpp"
#include "softlook/mask/window.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/oracle/attention.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"

namespace softlook::low_precision_test {
namespace {

using namespace softlook_test;

constexpr low_precision emulated{.emulated = true};

struct problem_of_floats {
  row_major<float> Q, K, V;
};

class RoundedAttention : public ::testing::Test {
 protected:
  generator random = seed(1704);

  problem_of_floats inputs(index n, index m, index d, index e) {
    return {random_matrix<row_major<float>>(n, d, random),
            random_matrix<row_major<float>>(m, d, random),
            random_matrix<row_major<float>>(m, e, random)};
  }
  static bool has_unit() {
    return !available_dot_units(number_format::bfloat16).empty() &&
           available_dot_units(number_format::bfloat16).back() == dot_unit::amx;
  }
};

/// f(policies…) for masks and transforms that leave whole tiles, parts of them, and none.
template <class F>
void with_each_mask(const F& f) {
  f("none");
  f("causal", masks::causal{});
  f("window", masks::window{.left = 20, .right = 3});
  f("fixed", masks::fixed(32, 4));
  f("soft cap", transforms::soft_cap{2}, masks::causal_bottom_right{});
}

TEST_F(RoundedAttention, OfTheUnitHasTheBitsOfItsEmulation) {
  if (!has_unit()) GTEST_SKIP() << "no unit";
  for (const index n : {9, 48, 100, 200})
    for (const index m : {0, 1, 17, 96, 97, 300})
      for (const index d : {1, 16, 33, 64}) {
        const auto in = inputs(n, m, d, d == 16 ? 5 : d);
        with_each_mask([&](const char* name, const auto&... ps) {
          const auto run = [&](const low_precision& how) {
            return row_major<float>(flash_attention(in.Q, in.K, in.V, ps..., how));
          };
          ASSERT_TRUE(bitwise_equal(run({}), run(emulated)))
              << name << " " << n << "x" << m << "x" << d;
        });
      }
}

/// Bound by the definition: of scores, then of weights, then of values.
TEST_F(RoundedAttention, IsWithinItsErrorOfAttention) {
  constexpr oracle::real u = 0x1p-8L;
  // Values that lie in place, in whole vectors, and others.
  for (const index n : {9, 100})
    for (const index m : {17, 97, 300})
      for (const index d : {16, 63, 64}) {
        const auto in = inputs(n, m, d, d);
        const row_major<float> O = flash_attention(in.Q, in.K, in.V, emulated);
        const oracle::matrix Q = oracle::widen(in.Q), K = oracle::widen(in.K),
                             V = oracle::widen(in.V);
        const oracle::real scale = 1 / std::sqrt(oracle::real(d));
        const oracle::matrix S = scale * Q * K.transpose();
        const oracle::matrix sizes = scale * Q.cwiseAbs() * K.cwiseAbs().transpose();
        oracle::real worst = 0;
        for (index i = 0; i < n; ++i) {
          // A score that is wrong by δ changes its weight by a factor of e^{±2δ} at most.
          const oracle::real delta =
              (2 * u + u * u + oracle::real(d) * 0x1p-23L) * sizes.row(i).maxCoeff();
          oracle::matrix P = (S.row(i).array() - S.row(i).maxCoeff()).exp().matrix();
          P /= P.sum();
          const oracle::matrix truth = P * V, reach = P * V.cwiseAbs();
          for (index c = 0; c < V.cols(); ++c) {
            const oracle::real bound = reach(0, c) * (std::exp(2 * delta) * (1 + u) * (1 + u) - 1 +
                                                      oracle::real(m) * 0x1p-22L);
            const oracle::real error = std::fabs(O(i, c) - truth(0, c));
            worst = std::max(worst, error / bound);
            ASSERT_LE(error, bound) << n << "x" << m << "x" << d;
          }
        }
        EXPECT_GT(worst, 0.001L) << "nothing is rounded";
      }
}

/// Where queries, keys and values are rounded before, the weights alone differ, by half a step of 8
/// bits each.
TEST_F(RoundedAttention, IsAttentionOfRoundedNumbers) {
  const auto nearest = [](const row_major<float>& X) {
    return row_major<float>(X.cast<Eigen::bfloat16>().cast<float>());
  };
  constexpr double log4_e = 0.72134752044448170368;
  for (const index n : {70, 200})
    for (const index m : {130, 300})
      for (const index e : {20, 64}) {
        const auto in = inputs(n, m, 64, e);
        const row_major<float> K = nearest(in.K), V = nearest(in.V);
        const float bound = 0x1p-8F * (1 + 0x1p-4F) * V.cwiseAbs().maxCoeff();
        with_each_mask([&](const char* name, const auto&... ps) {
          // Without transforms scores are in units of log 4.
          const double unit = sizeof...(ps) == 2 ? 1 : log4_e;
          const row_major<float> Q = nearest(in.Q * float(unit / 8));
          const row_major<float> O = flash_attention(in.Q, in.K, in.V, ps..., emulated);
          const row_major<float> R = flash_attention(Q, K, V, ps..., options{.scale = 1 / unit});
          EXPECT_LE((O - R).cwiseAbs().maxCoeff(), bound)
              << name << " " << n << "x" << m << "x" << e;
        });
      }
}

TEST_F(RoundedAttention, OfNumbersThatNeedNoRoundingIsAttention) {
  // Small integers, and weights that are all 1: products and sums are exact.
  row_major<float> Q = row_major<float>::Zero(60, 32), K(200, 32), V(200, 24);
  for (index k = 0; k < K.size(); ++k) K.data()[k] = float(k % 7) - 3;
  for (index k = 0; k < V.size(); ++k) V.data()[k] = float(k % 11) - 5;
  EXPECT_TRUE(bitwise_equal(flash_attention(Q, K, V, masks::causal{}, emulated),
                            flash_attention(Q, K, V, masks::causal{})));
}

TEST_F(RoundedAttention, HasTheSameBitsOnAnyExecutorAndForHeads) {
  const auto in = inputs(200, 130, 64, 64);
  const heads four{.query = 4, .kv = 4};
  const row_major<float> expected = attention(in.Q, in.K, in.V, four, emulated);
  on_other_executors([&](const auto& executor, const char* name) {
    EXPECT_TRUE(bitwise_equal(attention(in.Q, in.K, in.V, four, executor, emulated), expected))
        << name;
  });
  for (index h = 0; h < 4; ++h)
    EXPECT_TRUE(bitwise_equal(
        row_major<float>(attention(in.Q.middleCols(16 * h, 16), in.K.middleCols(16 * h, 16),
                                   in.V.middleCols(16 * h, 16), emulated)),
        row_major<float>(expected.middleCols(16 * h, 16))));
}

TEST_F(RoundedAttention, ReadsAnyStorageAndSequences) {
  const auto in = inputs(200, 200, 24, 40);
  const row_major<float> expected = attention(in.Q, in.K, in.V, emulated);
  const col_major<float> Q = in.Q, K = in.K, V = in.V;
  EXPECT_TRUE(bitwise_equal(row_major<float>(attention(Q, K, V, emulated)), expected));
  const std::vector<std::int32_t> offsets{0, 60, 200};
  const row_major<float> both =
      attention(in.Q, in.K, in.V, segments{.queries = offsets, .keys = offsets}, emulated);
  EXPECT_TRUE(bitwise_equal(row_major<float>(both.bottomRows(140)),
                            row_major<float>(attention(in.Q.bottomRows(140), in.K.bottomRows(140),
                                                       in.V.bottomRows(140), emulated))));
}

TEST_F(RoundedAttention, ForbiddenKeysTouchNothing) {
  auto in = inputs(60, 150, 16, 20);
  const row_major<float> expected =
      flash_attention(in.Q, in.K.topRows(60), in.V.topRows(60), masks::causal_top_left{}, emulated);
  in.K.bottomRows(90).setConstant(std::numeric_limits<float>::quiet_NaN());
  in.V.bottomRows(90).setConstant(std::numeric_limits<float>::infinity());
  const row_major<float> O = flash_attention(in.Q, in.K, in.V, masks::causal_top_left{}, emulated);
  EXPECT_LE((O - expected).cwiseAbs().maxCoeff(), 0.05F);
  EXPECT_TRUE(O.allFinite());
}

/// Of few queries and rows of 8 bits.
class RoundedFewQueries : public RoundedAttention {
 protected:
  static constexpr low_precision emulated{.as = number_format::int8, .emulated = true};
  using rows = int8_rows<float>;
};

TEST_F(RoundedFewQueries, HaveTheBitsOfTheirEmulation) {
  for (const dot_unit unit : available_dot_units(number_format::int8)) {
    if (unit == dot_unit::amx) continue;
    const low_precision native{.as = number_format::int8, .unit = unit};
    for (const index d : {64, 128})
      for (const index m : {1, 15, 16, 17, 70, 1200})
        for (const heads& h : {heads{.query = 1, .kv = 1}, heads{.query = 6, .kv = 2}}) {
          const auto in = inputs(2, m, d * h.query, 1);
          const index kv = h.kv_or_query();
          const auto K = random_matrix<row_major<float>>(m, d * kv, random);
          const auto V = random_matrix<row_major<float>>(m, d * kv, random);
          const rows k(K, kv), v(V, kv);
          on_every_set([&](const options& opts) {
            EXPECT_TRUE(bitwise_equal(attention(in.Q, k, v, h, opts, native),
                                      attention(in.Q, k, v, h, opts, emulated)))
                << name_of(unit) << " " << m << "x" << d;
          });
          kv_cache<float, std::int8_t> cache({.heads = kv, .key_features = d, .value_features = d},
                                             {.page_rows = 16});
          cache.append(K, V);
          EXPECT_TRUE(bitwise_equal(cache.attend(in.Q, native), cache.attend(in.Q, emulated)));
        }
  }
}

TEST_F(RoundedFewQueries, AreWithinTheirErrorOfAttention) {
  for (const index d : {64, 192})
    for (const index m : {1, 40, 700}) {
      const auto in = inputs(3, m, d, 64);
      const rows k(in.K, 1), v(in.V, 1);
      const oracle::matrix Q = oracle::widen(in.Q);
      const oracle::matrix K = oracle::widen(row_major<float>(k.matrix()));
      const oracle::matrix V = oracle::widen(row_major<float>(v.matrix()));
      const oracle::real scale = 1 / std::sqrt(oracle::real(d));
      const row_major<float> O = attention(in.Q, k, v, emulated);
      oracle::real worst = 0;
      for (index i = 0; i < O.rows(); ++i) {
        const oracle::matrix S = scale * Q.row(i) * K.transpose();
        oracle::matrix P = (S.array() - S.maxCoeff()).exp().matrix();
        const oracle::real l = P.sum(), step = Q.row(i).cwiseAbs().maxCoeff() / 127;
        const oracle::real delta =
            scale * step / 2 * K.cwiseAbs().rowwise().sum().maxCoeff() * (1 + 0x1p-20L);
        const oracle::real largest = oracle::real(v.scales().maxCoeff()) / 65535;
        const oracle::matrix truth = P * V / l, reach = P * V.cwiseAbs() / l;
        for (index c = 0; c < O.cols(); ++c) {
          const oracle::real error = std::fabs(O(i, c) - truth(0, c));
          const oracle::real bound =
              reach(0, c) * (std::exp(2 * delta) - 1 + oracle::real(m + d) * 0x1p-22L) +
              std::exp(delta) * oracle::real(m) * 127 * largest / 2 / l;
          worst = std::max(worst, error / bound);
          ASSERT_LE(error, bound) << m << "x" << d;
        }
      }
      EXPECT_GT(worst, m == 1 ? 0 : 1e-5L) << m << "x" << d << ": nothing is rounded";
    }
}

TEST_F(RoundedFewQueries, OfOtherRowsAreThoseOfFloat) {
  const auto in = inputs(2, 50, 48, 48);
  const rows k(in.K, 1), v(in.V, 1);
  EXPECT_TRUE(bitwise_equal(attention(in.Q, k, v, emulated), attention(in.Q, k, v)));
  EXPECT_TRUE(bitwise_equal(attention(in.Q, in.K, in.V, emulated), attention(in.Q, in.K, in.V)));
}

TEST_F(RoundedFewQueries, OfABadQueryAreNanInItsRowAlone) {
  auto in = inputs(3, 50, 64, 64);
  const rows k(in.K, 1), v(in.V, 1);
  const row_major<float> expected = attention(in.Q, k, v, emulated);
  in.Q(1, 7) = std::numeric_limits<float>::quiet_NaN();
  row_major<float> O = attention(in.Q, k, v, emulated);
  EXPECT_TRUE(row_is_nan(O, 1));
  O.row(1) = expected.row(1);
  EXPECT_TRUE(bitwise_equal(O, expected));
}

TEST_F(RoundedAttention, IsRefusedWhereItCannotBe) {
  const auto in = inputs(20, 20, 8, 8);
  const auto run = [&](const low_precision& how) { (void)attention(in.Q, in.K, in.V, how); };
  expect_error<argument_error>(
      [&] { run({.as = number_format::int8, .unit = dot_unit::amx, .emulated = true}); },
      {"amx", "int8", "avx512"});
  expect_error<argument_error>([&] { run({.unit = dot_unit::avx512, .emulated = true}); },
                               {"avx512", "amx"});
  if (!has_unit()) expect_error<argument_error>([&] { run({.unit = dot_unit::amx}); }, {"amx"});
}

}  // namespace
}  // namespace softlook::low_precision_test
