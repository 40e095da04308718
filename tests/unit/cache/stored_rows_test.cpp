// Keys and values of 16 and of 8 bits: the kernels read them exactly, in every instruction set, and
// what is lost is what their rounding loses.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "softlook/cache.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::stored_rows_test {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::expect_error;
using softlook_test::random_problem;
using matrix = softlook_test::row_major<float>;

template <class Stored>
class SixteenBits : public ::testing::Test {};
using stored_types = ::testing::Types<Eigen::half, Eigen::bfloat16>;
TYPED_TEST_SUITE(SixteenBits, stored_types);

/// All numbers of a type, as values of single keys: their weight is 1.
TYPED_TEST(SixteenBits, EveryNumberIsReadAsItIs) {
  constexpr index cols = 64, rows = 65536 / cols;
  Eigen::Matrix<TypeParam, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> V(rows, cols);
  for (int x = 0; x < 65536; ++x)
    V.data()[x] = std::bit_cast<TypeParam>(static_cast<std::uint16_t>(x));
  const matrix Q = matrix::Zero(rows, 1), K = matrix::Zero(rows, 1);
  const auto own_key = masks::where([](std::int32_t i, std::int32_t j) { return i == j; });
  for (const instruction_set isa : available_instruction_sets())
    for (const kernel by : {kernel::tiled, kernel::few_queries}) {
      const matrix O = attention(Q, K, V, own_key, softlook::options{.isa = isa, .kernel = by});
      for (int x = 0; x < 65536; ++x) {
        const float is = O.data()[x], wanted = static_cast<float>(V.data()[x]);
        // A row with a number that is not finite is summed with care: zeros keep no sign there.
        ASSERT_TRUE(std::isnan(wanted) ? std::isnan(is) : is == wanted)
            << name_of(isa) << ' ' << name_of(by) << " bits " << x << ": " << is;
      }
    }
}

/// Few queries multiply numbers of 16 and 8 bits where they lie; those of the call's own type are
/// read in place by the ordinary kernel.
TYPED_TEST(SixteenBits, HaveProductsOfTheirOwn) {
  using stored = detail::bits_of<TypeParam>;
  for (const instruction_set isa : available_instruction_sets()) {
    EXPECT_TRUE((detail::stored_rows_of<float, stored>(isa).dot));
    EXPECT_TRUE((detail::stored_rows_of<float, stored>(isa).add));
    EXPECT_TRUE((detail::stored_rows_of<float, std::int8_t, true>(isa).dot));
    EXPECT_FALSE((detail::stored_rows_of<float, float>(isa).dot));
    EXPECT_FALSE((detail::stored_rows_of<float, float>(isa).add));
  }
}

/// Matrices without columns may have no memory.
TYPED_TEST(SixteenBits, OfNoColumnsGiveRowsOfNothing) {
  using stored = Eigen::Matrix<TypeParam, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using no_columns = Eigen::Map<const stored, 0, Eigen::OuterStride<>>;
  const no_columns none(nullptr, 40, 0, Eigen::OuterStride<>(2));
  for (const instruction_set isa : available_instruction_sets())
    for (const kernel by : {kernel::tiled, kernel::few_queries})
      for (const index n : {1, 30}) {
        const softlook::options opts{.isa = isa, .kernel = by};
        const matrix Q = matrix::Ones(n, 3), V = matrix::Ones(40, 2);
        const stored K = stored::Constant(40, 3, TypeParam(1));
        const matrix O = attention(Q, K, none, opts);
        EXPECT_EQ(O.rows(), n);
        EXPECT_EQ(O.cols(), 0);
        EXPECT_TRUE(attention(matrix(n, 0), none, V, opts).isApproxToConstant(1, 1e-6F));
        const no_columns two(nullptr, 2, 0, Eigen::OuterStride<>(2));
        EXPECT_TRUE(attention(matrix(n, 0), two, V.topRows(2), opts).isApproxToConstant(1, 1e-6F));
      }
}

TYPED_TEST(SixteenBits, GiveTheBitsOfTheNumbersConverted) {
  using row_order = Eigen::Matrix<TypeParam, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using col_order = Eigen::Matrix<TypeParam, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
  for (const index n : {1, 7, 60})
    for (const index m : {1, 37, 700})
      for (const index d : {3, 16, 64}) {
        const auto in = random_problem<float>(
            {.queries = n, .keys = m, .features = 2 * d, .values = d + 5}, softlook_test::seed(71));
        const heads two{.query = 2, .kv = 1};
        const matrix Q = softlook_test::random_matrix<matrix>(
            n, 4 * d, *std::make_unique<softlook_test::generator>(5));
        const row_order K = in.K.template cast<TypeParam>(), V = in.V.template cast<TypeParam>();
        const col_order K_columns = K, V_columns = V;
        const matrix K_wide = K.template cast<float>(), V_wide = V.template cast<float>();
        const matrix O = attention(Q, K_wide, V_wide, two);
        ASSERT_TRUE(all_finite(O));
        EXPECT_TRUE(bitwise_equal(attention(Q, K, V, two), O)) << n << ' ' << m << ' ' << d;
        EXPECT_TRUE(bitwise_equal(attention(Q, K_columns, V_columns, two), O));
        EXPECT_TRUE(bitwise_equal(attention(Q, K, V_wide, two), O));
        EXPECT_TRUE(
            bitwise_equal(attention(Q, TypeParam(1) * K, V, two), O));  // not a matrix in memory
      }
}

TYPED_TEST(SixteenBits, QueriesAndOutputsToo) {
  using stored = Eigen::Matrix<TypeParam, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto in = random_problem<float>({.queries = 20, .keys = 50, .features = 16, .values = 16},
                                        softlook_test::seed(72));
  const stored Q = in.Q.template cast<TypeParam>(), K = in.K.template cast<TypeParam>(),
               V = in.V.template cast<TypeParam>();
  const auto wide = attention_with_log_sum_exp(Q.template cast<float>(), K.template cast<float>(),
                                               V.template cast<float>());
  const auto state = attention_with_log_sum_exp(Q, K, V);
  static_assert(std::is_same_v<typename decltype(state.output)::Scalar, TypeParam>);
  static_assert(std::is_same_v<typename decltype(state.log_sum_exp)::Scalar, float>);
  const stored rounded = wide.output.template cast<TypeParam>();
  EXPECT_TRUE((state.output.array() == rounded.array()).all());
  EXPECT_TRUE(bitwise_equal(state.log_sum_exp, wide.log_sum_exp));
  stored into(20, 16);
  attention_into(Q, K, V, into);
  EXPECT_TRUE((into.array() == rounded.array()).all());
  expect_error<shape_error>([&] { attention_into(Q, K, V, into.topRows(3)); }, {"3", "20"});
  // Weights and scores are those of the arithmetic.
  EXPECT_LE((attention_weights(Q, K) -
             attention_weights(Q.template cast<float>(), K.template cast<float>()))
                .cwiseAbs()
                .maxCoeff(),
            0.0F);
  const auto naive = naive_attention(Q, K, V);
  EXPECT_LE((naive.output - wide.output).cwiseAbs().maxCoeff(), 1e-5F);
}

TYPED_TEST(SixteenBits, ScoresThatProjectReadThem) {
  const auto in = random_problem<float>({.queries = 9, .keys = 30, .features = 8, .values = 8},
                                        softlook_test::seed(73));
  const matrix W = in.K.topRows(8);
  const auto K = in.K.template cast<TypeParam>().eval(), V = in.V.template cast<TypeParam>().eval();
  const matrix wide =
      attention(in.Q, K.template cast<float>(), V.template cast<float>(), scores::general{W});
  EXPECT_TRUE(bitwise_equal(attention(in.Q, K, V, scores::general{W}), wide));
  EXPECT_TRUE(bitwise_equal(
      attention(in.Q, K, V, scores::cosine{}),
      attention(in.Q, K.template cast<float>(), V.template cast<float>(), scores::cosine{})));
}

TEST(Int8Rows, HoldNumbersWithinHalfAStepOfTheirRow) {
  const auto in = random_problem<float>({.queries = 4, .keys = 90, .features = 24, .values = 24},
                                        softlook_test::seed(74));
  matrix X = in.K;
  X.row(3).setZero();
  X.row(4) *= 1e30F;
  X.row(5) *= 1e-30F;
  X.row(6) *= 1e-40F;  // below what a scale holds: zeros
  const int8_rows rows(X, 2);
  const matrix back = rows.matrix();
  for (index i = 0; i < 90; ++i)
    for (index h = 0; h < 2; ++h) {
      const matrix was = X.row(i).segment(h * 12, 12), is = back.row(i).segment(h * 12, 12);
      const float most = was.cwiseAbs().maxCoeff();
      EXPECT_LE((was - is).cwiseAbs().maxCoeff(), i == 6 ? most : most / 254 * 1.001F) << i;
    }
}

TEST(Int8Rows, GiveWhatTheyHold) {
  for (const instruction_set isa : available_instruction_sets())
    for (const index n : {1, 40}) {
      const auto in = random_problem<float>(
          {.queries = n, .keys = 333, .features = 96, .values = 38}, softlook_test::seed(75));
      const int8_rows K(in.K, 2), V(in.V, 2);
      const softlook::options opts{.isa = isa};
      const matrix Q = in.Q;
      const heads two{.query = 2};
      const matrix is = attention(Q, K, V, two, masks::causal_bottom_right{}, opts);
      const matrix wanted =
          attention(Q, K.matrix(), V.matrix(), two, masks::causal_bottom_right{}, opts);
      ASSERT_TRUE(all_finite(is));
      // A single query multiplies by the scale what it has summed, or its weight.
      EXPECT_LE((is - wanted).cwiseAbs().maxCoeff(), n == 1 ? 2e-6F : 0.0F) << name_of(isa);
    }
}

TEST(Int8Rows, AreReadWithTheScaleOfEachHead) {
  const auto in = random_problem<float>({.queries = 30, .keys = 40, .features = 32, .values = 24},
                                        softlook_test::seed(76));
  matrix K = in.K, V = in.V;
  K.rightCols(16) *= 50;
  V.rightCols(12) *= 0.01F;
  const heads two{.query = 2};
  const int8_rows K8(K, 2), V8(V, 2);
  const matrix wanted = attention(in.Q, K8.matrix(), V8.matrix(), two);
  ASSERT_TRUE(all_finite(wanted));
  const matrix naive = attention(in.Q, K8, V8, two, softlook::options{.kernel = kernel::naive});
  EXPECT_LE((naive - wanted).cwiseAbs().maxCoeff(), 2e-6F);
  EXPECT_TRUE(bitwise_equal(attention_weights(in.Q, K8, two)[1],
                            attention_weights(in.Q, K8.matrix(), two)[1]));
  // A head whose columns have several scales.
  expect_error<shape_error>([&] { (void)attention(in.Q, K8, V8); }, {"32", "16"});
  const int8_rows K4(K, 4);
  expect_error<shape_error>([&] { (void)attention(in.Q, K4, V8, two); }, {"16", "8"});
  const int8_rows K1(K, 1), V1(V, 1);
  EXPECT_TRUE(
      bitwise_equal(attention(in.Q, K1, V1, two), attention(in.Q, K1.matrix(), V1.matrix(), two)));
}

TEST(Int8Rows, RefuseWhatTheyCannotHold) {
  matrix X = matrix::Ones(3, 4);
  expect_error<argument_error>([&] { int8_rows(X, 0); }, {"heads", "0"});
  expect_error<shape_error>([&] { int8_rows(X, 3); }, {"4", "3"});
  expect_error<shape_error>([] { int8_rows(matrix(3, 0), 2); }, {"2", "0"});
  X(2, 1) = std::numeric_limits<float>::infinity();
  expect_error<argument_error>([&] { int8_rows(X, 1); }, {"X(2, 1)", "inf"});
  expect_error<shape_error>(
      [] { int8_rows(int8_rows<>::numbers(3, 4), int8_rows<>::scales_matrix(2, 1)); }, {"2", "3"});
}

}  // namespace
}  // namespace softlook::stored_rows_test
