#include "softlook/transform/transforms.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>

#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::transforms_test {
namespace {

using softlook_test::expect_error;
using softlook_test::row_major;

constexpr problem size{.queries = 3, .keys = 5, .head = 1};

TEST(SoftCap, IsTheCapTimesTheTanhOfTheFraction) {
  const transforms::soft_cap cap{3.0};
  EXPECT_EQ(cap(0.0, 0, 0, size), 0.0);
  for (double s = -20; s <= 20; s += 0.5) {
    EXPECT_NEAR(cap(s, 0, 0, size), 3 * std::tanh(s / 3), 1e-14);
    EXPECT_LE(std::fabs(cap(s, 0, 0, size)), 3);
  }
}

TEST(Alibi, PutsTheLastQueryBesideTheLastKey) {
  const transforms::alibi bias{0.5};
  EXPECT_EQ(bias(1.0, 2, 4, size), 1.0);
  EXPECT_EQ(bias(1.0, 2, 0, size), 1.0 - 0.5 * 4);
  EXPECT_EQ(bias(1.0, 0, 0, size), 1.0 - 0.5 * 2);
  EXPECT_EQ(bias(1.0, 0, 4, size), 1.0 - 0.5 * 2);
}

TEST(Alibi, TakesTheSlopeOfTheHead) {
  const Eigen::VectorXd slopes = Eigen::VectorXd::LinSpaced(3, 0.25, 0.75);
  const transforms::alibi_per_head bias{slopes};
  for (std::int32_t head = 0; head < 3; ++head)
    EXPECT_EQ(bias(1.0, 0, 0, {.queries = 3, .keys = 5, .head = head}), 1.0 - 2 * slopes[head]);
}

// Press et al., 2022, section 3: "for 8 heads the geometric sequence 1/2 … 1/2^8".
TEST(AlibiSlopes, AreGeometricForAPowerOfTwo) {
  const Eigen::VectorXd eight = transforms::alibi_slopes(8);
  for (index h = 0; h < 8; ++h) EXPECT_DOUBLE_EQ(eight[h], std::exp2(-double(h + 1)));
  const Eigen::VectorXd sixteen = transforms::alibi_slopes(16);
  for (index h = 0; h < 16; ++h) EXPECT_DOUBLE_EQ(sixteen[h], std::exp2(-0.5 * double(h + 1)));
  EXPECT_DOUBLE_EQ(transforms::alibi_slopes(1)[0], std::exp2(-8.0));
}

// The rule of Press et al.'s published code for other counts: the slopes of the next lower power of
// two, then every other slope of the next higher one.
TEST(AlibiSlopes, InterleaveForOtherCounts) {
  const Eigen::VectorXd twelve = transforms::alibi_slopes(12);
  ASSERT_EQ(twelve.size(), 12);
  for (index h = 0; h < 8; ++h) EXPECT_DOUBLE_EQ(twelve[h], std::exp2(-double(h + 1)));
  for (index h = 0; h < 4; ++h) EXPECT_DOUBLE_EQ(twelve[8 + h], std::exp2(-0.5 - double(h)));
  const Eigen::VectorXd three = transforms::alibi_slopes(3);
  EXPECT_DOUBLE_EQ(three[0], std::exp2(-4.0));
  EXPECT_DOUBLE_EQ(three[1], std::exp2(-8.0));
  EXPECT_DOUBLE_EQ(three[2], std::exp2(-2.0));
}

TEST(AlibiSlopes, OfNoHeadsAreNone) { EXPECT_EQ(transforms::alibi_slopes(0).size(), 0); }

TEST(AlibiSlopes, RejectANegativeCount) {
  expect_error<argument_error>([] { (void)transforms::alibi_slopes(-2); }, {"heads is -2"});
}

TEST(Bias, IsAddedAtItsPlace) {
  auto random = softlook_test::seed(31);
  const auto B = softlook_test::random_matrix<row_major<double>>(3, 5, random);
  const transforms::bias bias{B};
  for (std::int32_t i = 0; i < 3; ++i)
    for (std::int32_t j = 0; j < 5; ++j) EXPECT_EQ(bias(2.0, i, j, size), 2.0 + B(i, j));
}

TEST(Bias, RepeatsOneRowOrOneColumn) {
  const Eigen::RowVectorXd row = Eigen::RowVectorXd::LinSpaced(5, 0, 4);
  const Eigen::VectorXd col = Eigen::VectorXd::LinSpaced(3, 0, 2);
  for (std::int32_t i = 0; i < 3; ++i) {
    for (std::int32_t j = 0; j < 5; ++j) {
      EXPECT_EQ(transforms::bias{row}(1.0, i, j, size), 1.0 + row[j]);
      EXPECT_EQ(transforms::bias{col}(1.0, i, j, size), 1.0 + col[i]);
    }
  }
}

TEST(Bias, HasABlockOfRowsForEachHead) {
  auto random = softlook_test::seed(32);
  const auto B = softlook_test::random_matrix<row_major<double>>(4 * 3, 5, random);
  const row_major<double> one_column = B.leftCols(1);
  for (std::int32_t head = 0; head < 4; ++head) {
    const problem heads{.queries = 3, .keys = 5, .head = head, .heads = 4};
    EXPECT_NO_THROW(transforms::bias{B}.check("here", heads));
    EXPECT_NO_THROW(transforms::bias{one_column}.check("here", heads));
    for (std::int32_t i = 0; i < 3; ++i)
      for (std::int32_t j = 0; j < 5; ++j) {
        EXPECT_EQ(transforms::bias{B}(2.0, i, j, heads), 2.0 + B(3 * head + i, j));
        EXPECT_EQ(transforms::bias{one_column}(2.0, i, j, heads), 2.0 + B(3 * head + i, 0));
      }
  }
}

TEST(Bias, IsSharedByTheHeadsOtherwise) {
  auto random = softlook_test::seed(33);
  const auto B = softlook_test::random_matrix<row_major<double>>(3, 5, random);
  const row_major<double> one_row = B.topRows(1);
  const problem heads{.queries = 3, .keys = 5, .head = 2, .heads = 4};
  EXPECT_EQ(transforms::bias{B}(2.0, 1, 4, heads), 2.0 + B(1, 4));
  EXPECT_EQ(transforms::bias{one_row}(2.0, 1, 4, heads), 2.0 + B(0, 4));
}

TEST(Bias, OfHeadsWithOneQueryHasARowForEachHead) {
  auto random = softlook_test::seed(34);
  const auto B = softlook_test::random_matrix<row_major<double>>(4, 5, random);
  for (std::int32_t head = 0; head < 4; ++head) {
    const problem heads{.queries = 1, .keys = 5, .head = head, .heads = 4};
    EXPECT_EQ(transforms::bias{B}(2.0, 0, 3, heads), 2.0 + B(head, 3));
  }
}

TEST(Bias, RejectsOtherSizes) {
  const problem heads{.queries = 3, .keys = 5, .head = 0, .heads = 4};
  const auto rejects = [&](index rows, index cols, std::initializer_list<const char*> pieces) {
    const row_major<float> B(rows, cols);
    expect_error<shape_error>([&] { transforms::bias{B}.check("here", heads); }, pieces);
  };
  rejects(4, 5, {"here", "transforms::bias rows() is 4", "Q.rows() is 3"});
  rejects(6, 5, {"transforms::bias rows() is 6", "each head"});
  rejects(12, 4, {"transforms::bias cols() is 4", "K.rows() is 5"});
  rejects(0, 5, {"transforms::bias rows() is 0"});
}

TEST(MappedScores, PassPositionsAndTheHead) {
  const transforms::map without_head([](auto s, std::int32_t i, std::int32_t j) {
    return s + static_cast<decltype(s)>(10 * i + j);
  });
  EXPECT_EQ(without_head(0.5f, 2, 3, size), 23.5f);
  const transforms::map with_head([](auto s, std::int32_t, std::int32_t, std::int32_t head) {
    return s * static_cast<decltype(s)>(head + 4);
  });
  EXPECT_EQ(with_head(2.0, 0, 0, size), 10.0);
}

TEST(TransformsThatHoldAMatrix, RejectATemporary) {
  static_assert(!std::is_constructible_v<transforms::bias<double>, row_major<double>>);
  static_assert(!std::is_constructible_v<transforms::alibi_per_head, Eigen::VectorXd>);
}

}  // namespace
}  // namespace softlook::transforms_test
