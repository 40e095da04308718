#include <gtest/gtest.h>

#include <cmath>

#include "examples/search/model.hpp"
#include "tests/support/gradients.hpp"

namespace {

using softlook::index;

const search::sizes small{.symbols = 4, .digits = 3, .cells = 3, .features = 4};

TEST(SearchTask, OneCellOfARowHasTheSymbolThatIsAskedFor) {
  examples::generator random(1);
  const auto p = search::draw({}, 200, random);
  ASSERT_EQ(p.count(), 200);
  for (std::size_t row = 0; row < 200; ++row)
    for (std::size_t cell = 0; cell < 12; ++cell) {
      const std::size_t at = row * 12 + cell;
      const bool asked_for = std::int32_t(cell) == p.place[row];
      EXPECT_EQ(p.symbol[at] == p.cue[row], asked_for);
      if (asked_for) {
        EXPECT_EQ(p.digit[at], p.wanted[row]);
      }
    }
}

TEST(SearchModel, SoftGradientsAreCentralDifferences) {
  examples::generator random(2);
  auto p = search::first_weights<double>(small, random);
  const auto rows = search::draw(small, 5, random);
  auto gradients = softlook::zeros_like(p);
  (void)search::soft(p, rows, &gradients);
  softlook_test::expect_parameter_gradients(
      p, gradients, [&] { return search::soft<double>(p, rows, nullptr).loss; });
}

/// The same row so many times, each with a choice of its own.
search::problems repeated(const search::problems& row, std::int32_t times) {
  search::problems all;
  all.cells = row.cells;
  for (std::int32_t k = 0; k < times; ++k) {
    const auto append = [](auto& to, const auto& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    append(all.cue, row.cue);
    append(all.wanted, row.wanted);
    append(all.place, row.place);
    append(all.symbol, row.symbol);
    append(all.digit, row.digit);
    all.of_query.push_back(k);
    all.of_cell.insert(all.of_cell.end(), std::size_t(row.cells), k);
  }
  return all;
}

/// The mean over many choices of a row is the gradient of what is expected of them.
TEST(SearchModel, HardGradientsAreThoseOfTheExpectedLossInTheMean) {
  examples::generator random(3);
  auto p = search::first_weights<double>(small, random);
  p.cue.tokens *= 2;
  const auto row = search::draw(small, 1, random);
  const auto expected_loss = [&] {
    search::saved<double> s;
    search::embed(p, row, s);
    const auto P = softlook::attention_weights(s.Q.Y, s.K.Y);
    double loss = 0;
    for (index c = 0; c < small.cells; ++c) {
      const Eigen::RowVectorXd logits = s.V.Y.row(c) * p.output.W + p.output.b;
      loss += P(0, c) * (std::log(logits.array().exp().sum()) - logits(row.wanted[0]));
    }
    return loss;
  };
  constexpr int calls = 20, times = 2000, draws = calls * times;
  const auto many = repeated(row, times);
  auto sum = softlook::zeros_like(p);
  search::reinforce how{.baseline = {.decay = 1, .value = -1}, .entropy = 0, .seed = 1};
  for (int k = 0; k < calls; ++k) (void)search::hard(p, many, how, sum);
  softlook::for_each_parameter(
      [&](const std::string& name, auto& w, const auto& g) {
        for (index i = 0; i < w.rows(); ++i)
          for (index j = 0; j < w.cols(); ++j) {
            const double at = w(i, j), step = 1e-5;
            w(i, j) = at + step;
            const double above = expected_loss();
            w(i, j) = at - step;
            const double below = expected_loss();
            w(i, j) = at;
            // Five deviations of a mean of terms that are smaller than 1.
            EXPECT_NEAR(g(i, j) / calls, (above - below) / (2 * step), 5 / std::sqrt(double(draws)))
                << name << '(' << i << ", " << j << ')';
          }
      },
      p, sum);
}

TEST(SearchModel, SameSeedSameChoices) {
  examples::generator random(4);
  const auto p = search::first_weights<float>(small, random);
  const auto rows = search::draw(small, 6, random);
  auto a = softlook::zeros_like(p), b = a, c = a;
  search::reinforce first{.seed = 5}, second{.seed = 5}, other{.seed = 6};
  (void)search::hard(p, rows, first, a);
  (void)search::hard(p, rows, second, b);
  (void)search::hard(p, rows, other, c);
  EXPECT_EQ(a.cue.tokens, b.cue.tokens);
  EXPECT_NE(a.cue.tokens, c.cue.tokens);
}

}  // namespace
