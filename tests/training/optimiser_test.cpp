// AdamW, its schedule and clipping, against plain loops over numbers in long double.
#include "examples/training/optimiser.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "tests/support/errors.hpp"
#include "tests/training/weights.hpp"

namespace optimiser_test {
namespace {

using examples::adamw;
using examples::adamw_options;
using examples::clip_by_global_norm;
using examples::cosine_schedule;
using examples::global_norm;
using softlook_test::expect_error;
using softlook_test::kit_weights;
using softlook_test::random_kit_weights;
using softlook_test::same_numbers;

/// All numbers in the order of for_each_parameter, row by row; with whether each is one of a matrix
/// with several rows and columns.
struct flat {
  std::vector<long double> numbers;
  std::vector<bool> of_matrix;
};
template <class P>
flat flattened(const P& p) {
  flat all;
  softlook::for_each_parameter(
      [&](const std::string&, const auto& m) {
        for (Eigen::Index i = 0; i < m.rows(); ++i)
          for (Eigen::Index j = 0; j < m.cols(); ++j) {
            all.numbers.push_back(static_cast<long double>(m(i, j)));
            all.of_matrix.push_back(m.rows() > 1 && m.cols() > 1);
          }
      },
      p);
  return all;
}

/// The largest distance from the paper's formulas after some steps, of numbers around 1.
template <class T>
long double distance_after(int steps, const adamw_options& o) {
  auto weights = random_kit_weights<T>(1);
  adamw<kit_weights<T>> optimiser(weights, o);
  flat w = flattened(weights);
  std::vector<long double> m(w.numbers.size()), v(w.numbers.size());
  for (int t = 1; t <= steps; ++t) {
    const double rate = 0.01 * t;
    const auto gradients = random_kit_weights<T>(std::uint64_t(t) + 1);
    const flat g = flattened(gradients);
    for (std::size_t k = 0; k < m.size(); ++k) {
      const long double b1 = o.beta1, b2 = o.beta2;
      m[k] = b1 * m[k] + (1 - b1) * g.numbers[k];
      v[k] = b2 * v[k] + (1 - b2) * g.numbers[k] * g.numbers[k];
      const long double first = m[k] / (1 - std::pow(b1, t));
      const long double second = v[k] / (1 - std::pow(b2, t));
      const bool decays = o.decay_vectors || w.of_matrix[k];
      const long double decay = decays ? o.weight_decay * w.numbers[k] : 0.0L;
      w.numbers[k] -= rate * (first / (std::sqrt(second) + o.epsilon) + decay);
    }
    optimiser.step(weights, gradients, rate);
  }
  EXPECT_EQ(optimiser.steps(), steps);
  const flat is = flattened(weights);
  long double most = 0;
  for (std::size_t k = 0; k < m.size(); ++k) {
    EXPECT_TRUE(std::isfinite(is.numbers[k]));
    most = std::max(most, std::abs(is.numbers[k] - w.numbers[k]));
  }
  return most;
}

TEST(AdamW, IsThePapersFormula) {
  for (const bool vectors : {false, true}) {
    adamw_options o{.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3, .weight_decay = 0.3};
    o.decay_vectors = vectors;
    EXPECT_LE(distance_after<double>(25, o), 1e-14L);
    EXPECT_LE(distance_after<float>(25, o), 5e-6L);
  }
  EXPECT_LE(distance_after<double>(25, {}), 1e-14L);
  EXPECT_LE(distance_after<double>(3, {.beta1 = 0, .beta2 = 0, .weight_decay = 0}), 1e-14L);
}

TEST(AdamW, FirstStepIsTheSignOfTheGradient) {
  auto weights = random_kit_weights<double>(1);
  const auto before = weights;
  auto gradients = random_kit_weights<double>(2);
  for (const double size : {1e-3, 1.0, 1e3}) {
    adamw<kit_weights<double>> optimiser(weights, {.weight_decay = 0});
    auto scaled = gradients;
    scaled.E *= size;
    weights = before;
    optimiser.step(weights, scaled, 0.5);
    for (Eigen::Index k = 0; k < weights.E.size(); ++k)
      EXPECT_NEAR(before.E.data()[k] - weights.E.data()[k], gradients.E.data()[k] > 0 ? 0.5 : -0.5,
                  1e-3);
  }
}

TEST(AdamW, WithoutAGradientOnlyDecays) {
  auto weights = random_kit_weights<double>(1);
  const auto before = weights;
  adamw<kit_weights<double>> optimiser(weights, {.weight_decay = 0.25});
  optimiser.step(weights, softlook::zeros_like(weights), 0.5);
  EXPECT_EQ(weights.E, before.E * 0.875);
  EXPECT_EQ(weights.parts[1].W, before.parts[1].W * 0.875);
  EXPECT_EQ(weights.parts[1].b, before.parts[1].b);
}

TEST(AdamW, RefusesWhatDoesNotFitAndChangesNothing) {
  auto weights = random_kit_weights<float>(1);
  const auto before = weights;
  using optimiser_type = adamw<kit_weights<float>>;
  optimiser_type optimiser(weights);
  auto wrong = random_kit_weights<float>(2);
  wrong.parts[1].W.resize(4, 3);
  expect_error<softlook::shape_error>(
      [&] { optimiser.step(weights, wrong, 0.1); },
      {"adamw::step: gradients.parts.1.W is 4x3 but weights.parts.1.W is 4x2"});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_error<softlook::argument_error>([&] { optimiser.step(weights, before, nan); },
                                         {"rate is nan"});
  expect_error<softlook::argument_error>([&] { optimiser.step(weights, before, -1); },
                                         {"rate is -1"});
  EXPECT_TRUE(same_numbers(weights, before));
  EXPECT_TRUE(same_numbers(optimiser.first_moments(), softlook::zeros_like(weights)));
  EXPECT_EQ(optimiser.steps(), 0);

  const auto made = [&](const adamw_options& o) { return [&, o] { optimiser_type(weights, o); }; };
  expect_error<softlook::argument_error>(made({.beta1 = 1}), {"beta1 is 1"});
  expect_error<softlook::argument_error>(made({.beta2 = -0.5}), {"beta2 is -0.5"});
  expect_error<softlook::argument_error>(made({.epsilon = 0}), {"epsilon is 0"});
  expect_error<softlook::argument_error>(made({.weight_decay = nan}), {"weight_decay is nan"});
  expect_error<softlook::shape_error>([&] { optimiser.resume(before, wrong, 3); },
                                      {"second.parts.1.W is 4x3"});
  expect_error<softlook::argument_error>([&] { optimiser.resume(before, before, -3); },
                                         {"steps is -3"});
  EXPECT_TRUE(same_numbers(optimiser.first_moments(), softlook::zeros_like(weights)));
}

TEST(Schedule, GrowsThenFallsAsACosine) {
  const cosine_schedule rate{.highest = 0.4, .lowest = 0.1, .warmup = 4, .steps = 24};
  EXPECT_DOUBLE_EQ(rate(0), 0.1);
  EXPECT_DOUBLE_EQ(rate(1), 0.2);
  EXPECT_DOUBLE_EQ(rate(3), 0.4);
  EXPECT_DOUBLE_EQ(rate(4), 0.4);
  EXPECT_DOUBLE_EQ(rate(9), 0.1 + 0.15 * (1 + std::sqrt(0.5)));
  EXPECT_DOUBLE_EQ(rate(14), 0.25);
  EXPECT_DOUBLE_EQ(rate(19), 0.1 + 0.15 * (1 - std::sqrt(0.5)));
  EXPECT_EQ(rate(24), 0.1);
  EXPECT_EQ(rate(1000), 0.1);
  for (int t = 4; t < 30; ++t) EXPECT_GE(rate(t), rate(t + 1)) << t;
}

TEST(Schedule, EdgesOfItsSettings) {
  EXPECT_EQ((cosine_schedule{.highest = 0.5, .steps = 1})(0), 0.5);
  EXPECT_EQ((cosine_schedule{.highest = 0.5, .warmup = 10, .steps = 5})(4), 0.25);
  EXPECT_EQ((cosine_schedule{.highest = 0.5, .warmup = 10, .steps = 5})(10), 0.0);
  EXPECT_EQ((cosine_schedule{.highest = 0.5, .lowest = 0.5, .steps = 5})(2), 0.5);
  const auto of = [](const cosine_schedule& s, std::int64_t t) { return [=] { (void)s(t); }; };
  expect_error<softlook::argument_error>(of({.highest = -1}, 0), {"highest is -1"});
  expect_error<softlook::argument_error>(of({.highest = 1, .lowest = 2}, 0), {"lowest is 2"});
  expect_error<softlook::argument_error>(of({.warmup = -1}, 0), {"warmup is -1"});
  expect_error<softlook::argument_error>(of({.steps = 0}, 0), {"steps is 0"});
  expect_error<softlook::argument_error>(of({}, -1), {"step is -1"});
}

TEST(Clipping, KeepsTheDirection) {
  auto g = random_kit_weights<double>(5);
  long double sum = 0;
  for (const long double x : flattened(g).numbers) sum += x * x;
  const double norm = double(std::sqrt(sum));
  EXPECT_NEAR(global_norm(g), norm, 1e-14);
  const auto before = g;
  EXPECT_NEAR(clip_by_global_norm(g, norm / 4), norm, 1e-14);
  EXPECT_NEAR(global_norm(g), norm / 4, 1e-14);
  EXPECT_LE((g.E - before.E / 4).cwiseAbs().maxCoeff(), 1e-15);
  EXPECT_LE((g.parts[1].b - before.parts[1].b / 4).cwiseAbs().maxCoeff(), 1e-15);
}

TEST(Clipping, LeavesWhatIsShortAsItIs) {
  auto g = random_kit_weights<float>(5);
  const auto before = g;
  clip_by_global_norm(g, 1e6);
  EXPECT_TRUE(same_numbers(g, before));
  auto zero = softlook::zeros_like(g);
  EXPECT_EQ(clip_by_global_norm(zero, 1.0), 0.0);
  EXPECT_TRUE(same_numbers(zero, softlook::zeros_like(g)));
}

TEST(Clipping, TakesFloatsWhoseSquaresFloatCannotHold) {
  auto g = softlook::zeros_like(random_kit_weights<float>(5));
  g.E(0, 0) = 3e30f;
  g.parts[0].b(1) = 4e30f;
  EXPECT_NEAR(clip_by_global_norm(g, 10) / 5e30, 1, 1e-6);
  EXPECT_NEAR(g.E(0, 0), 6, 1e-5);
  EXPECT_NEAR(g.parts[0].b(1), 8, 1e-5);
}

TEST(Clipping, RefusesWhatHasDiverged) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto g = random_kit_weights<float>(5);
    g.parts[1].W(0, 0) = bad;
    const auto before = g.E;
    expect_error<softlook::argument_error>(
        [&] { clip_by_global_norm(g, 1e-3); },
        {"clip_by_global_norm: the length of the gradients is ", "diverged"});
    EXPECT_EQ(g.E, before);
  }
  auto g = random_kit_weights<float>(5);
  expect_error<softlook::argument_error>([&] { clip_by_global_norm(g, 0); }, {"most is 0"});
}

}  // namespace
}  // namespace optimiser_test
