#include "examples/training/progress.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <limits>

#include "examples/training/random.hpp"

namespace progress_test {
namespace {

using examples::duration_text;
using examples::generator;
using examples::progress;
using examples::progress_text;

TEST(Progress, SaysHowFarAndHowLong) {
  EXPECT_EQ(progress_text(500, 2000, 0, 0.31, 20),
            "[#####---------------]  500/2000  loss 0.3100  25.0 steps/s  1 min 00 s left");
  // The steps of an earlier run took none of the seconds.
  EXPECT_EQ(progress_text(1500, 2000, 1000, 2.5, 50),
            "[###############-----]  1500/2000  loss 2.5000  10.0 steps/s  50 s left");
  EXPECT_EQ(progress_text(3, 3, 0, 0, 1),
            "[####################]  3/3  loss 0.0000  3.0 steps/s  0 s left");
  EXPECT_EQ(progress_text(0, 3, 0, 1, 0),
            "[--------------------]  0/3  loss 1.0000  0.0 steps/s  ? left");
  EXPECT_EQ(progress_text(0, 0, 0, 1, 0).substr(0, 22), "[####################]");
}

TEST(Progress, Durations) {
  EXPECT_EQ(duration_text(0.4), "0 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(185), "3 min 05 s");
  EXPECT_EQ(duration_text(2 * 3600 + 7 * 60), "2 h 07 min");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::infinity()), "?");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::quiet_NaN()), "?");
}

TEST(Progress, IsQuietWhereThereIsNoTerminal) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  {
    progress bar(100, 0, file);
    for (int k = 1; k <= 100; ++k) bar.show(k, 5.0);
    EXPECT_DOUBLE_EQ(bar.loss(), 5.0);
  }
  EXPECT_EQ(std::ftell(file), 0);
  std::fclose(file);
}

TEST(Progress, SmoothsTheLoss) {
  progress bar(100);
  bar.show(1, 1.0);
  EXPECT_DOUBLE_EQ(bar.loss(), 1.0);
  bar.show(2, 3.0);
  EXPECT_DOUBLE_EQ(bar.loss(), 2.0);
  for (int k = 3; k < 400; ++k) bar.show(k, 4.0);
  EXPECT_NEAR(bar.loss(), 4.0, 1e-6);
}

TEST(Random, GoesOnFromItsState) {
  generator a(1);
  for (int k = 0; k < 5; ++k) a.bits();
  generator b(a.state());
  for (int k = 0; k < 5; ++k) EXPECT_EQ(a.bits(), b.bits());
  // splitmix64 of the seed 0, as its authors' program gives it.
  EXPECT_EQ(generator(0).bits(), 0xE220A8397B1DCDAFU);
}

TEST(Random, IsDistributedAsItSays) {
  generator random(3);
  double sum = 0, squares = 0, uniform = 0;
  constexpr int count = 20000;
  int of_three[3] = {};
  for (int k = 0; k < count; ++k) {
    const double x = random.normal(), u = random.uniform(2, 4);
    ASSERT_TRUE(u >= 2 && u < 4);
    sum += x;
    squares += x * x;
    uniform += u;
    ++of_three[random.below(3)];
  }
  EXPECT_NEAR(sum / count, 0, 0.03);
  EXPECT_NEAR(squares / count, 1, 0.05);
  EXPECT_NEAR(uniform / count, 3, 0.03);
  for (const int n : of_three) EXPECT_NEAR(n, count / 3.0, 300);
  Eigen::MatrixXf W(10, 14);
  examples::fill_glorot(W, random);
  EXPECT_LE(W.cwiseAbs().maxCoeff(), 0.5f);
  EXPECT_GE(W.cwiseAbs().maxCoeff(), 0.45f);
  examples::fill_normal(W, 0.02, random);
  EXPECT_NEAR(W.norm() / std::sqrt(140.0), 0.02, 0.004);
}

}  // namespace
}  // namespace progress_test
