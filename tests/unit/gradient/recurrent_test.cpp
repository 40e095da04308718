#include "softlook/gradient/recurrent.hpp"

#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::recurrent_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

template <class Parameters>
Parameters cell_of(index inputs, index units, index gates, bool biased, generator& random) {
  Parameters p;
  p.Wx = random_matrix<typename Parameters::matrix>(inputs, gates * units, random, 0.5);
  p.Wh = random_matrix<typename Parameters::matrix>(units, gates * units, random, 0.5);
  if (biased) {
    p.bx = random_matrix<typename Parameters::row>(1, gates * units, random);
    p.bh = random_matrix<typename Parameters::row>(1, gates * units, random);
  }
  return p;
}

/// Steps and sequences: a step of several, one sequence, several sequences.
struct walk {
  index steps, sequences;
};
constexpr walk walks[] = {{1, 4}, {5, 1}, {3, 2}};
constexpr reading orders[] = {reading::forwards, reading::backwards};

TEST(GruGradient, IsThatOfDifferences) {
  generator random = seed(16101);
  for (const gru_reset reset : {gru_reset::after_product, gru_reset::before_product})
    for (const auto& [steps, n] : walks)
      for (const reading order : orders) {
        auto p = cell_of<gru_parameters<double>>(3, 5, 3, n != 4, random);
        p.reset = reset;
        matrix X = random_matrix<matrix>(steps * n, 3, random);
        matrix h = random_matrix<matrix>(n, 5, random);
        const matrix dH = random_matrix<matrix>(steps * n, 5, random);
        saved_gru<double> saved, other;
        gru_forward(p, X, h, saved, order);
        auto gradients = zeros_like(p);
        const matrix dX = gru_backward(p, saved, dH, gradients);
        const matrix dh = saved.dfirst;
        const auto loss = [&] { return inner_product(dH, gru_forward(p, X, h, other, order)); };
        expect_gradient("X", X, dX, loss);
        expect_gradient("h", h, dh, loss);
        expect_parameter_gradients(p, gradients, loss);
      }
}

TEST(LstmGradient, IsThatOfDifferences) {
  generator random = seed(16102);
  for (const auto& [steps, n] : walks)
    for (const reading order : orders) {
      auto p = cell_of<lstm_parameters<double>>(3, 5, 4, n != 4, random);
      matrix X = random_matrix<matrix>(steps * n, 3, random);
      lstm_state<matrix> first{random_matrix<matrix>(n, 5, random),
                               random_matrix<matrix>(n, 5, random)};
      const matrix dH = random_matrix<matrix>(steps * n, 5, random);
      const matrix dc = random_matrix<matrix>(n, 5, random);
      saved_lstm<double> saved, other;
      lstm_forward(p, X, first, saved, order);
      auto gradients = zeros_like(p);
      const matrix dX = lstm_backward(p, saved, dH, dc, gradients);
      const auto loss = [&] {
        const double of_states = inner_product(dH, lstm_forward(p, X, first, other, order));
        return of_states + inner_product(dc, other.last_cell());
      };
      expect_gradient("X", X, dX, loss);
      expect_gradient("hidden", first.hidden, saved.dfirst.hidden, loss);
      expect_gradient("cell", first.cell, saved.dfirst.cell, loss);
      expect_parameter_gradients(p, gradients, loss);
    }
}

TEST(SsruGradient, IsThatOfDifferences) {
  generator random = seed(16103);
  for (const auto& [steps, n] : walks)
    for (const reading order : orders) {
      ssru_parameters<double> p;
      p.W = random_matrix<ssru_parameters<double>::matrix>(3, 5, random);
      p.Wf = random_matrix<ssru_parameters<double>::matrix>(3, 5, random);
      if (n != 4) p.bf = random_matrix<ssru_parameters<double>::row>(1, 5, random);
      matrix X = random_matrix<matrix>(steps * n, 3, random);
      matrix first = random_matrix<matrix>(n, 5, random);
      const matrix dH = random_matrix<matrix>(steps * n, 5, random);
      const matrix dc = random_matrix<matrix>(n, 5, random);
      saved_ssru<double> saved, other;
      ssru_forward(p, X, first, saved, order);
      auto gradients = zeros_like(p);
      const matrix dX = ssru_backward(p, saved, dH, dc, gradients);
      const auto loss = [&] {
        const double of_states = inner_product(dH, ssru_forward(p, X, first, other, order));
        return of_states + inner_product(dc, other.last_cell());
      };
      expect_gradient("X", X, dX, loss);
      expect_gradient("cell", first, saved.dfirst, loss);
      expect_parameter_gradients(p, gradients, loss);
    }
}

/// The way forward is that of the cells.
TEST(RecurrentGradient, ForwardIsThatOfTheCell) {
  generator random = seed(16104);
  const matrix X = random_matrix<matrix>(6, 3, random);
  for (const gru_reset reset : {gru_reset::after_product, gru_reset::before_product}) {
    auto p = cell_of<gru_parameters<double>>(3, 5, 3, true, random);
    p.reset = reset;
    const matrix first = random_matrix<matrix>(1, 5, random);
    matrix h = first;
    const matrix states = gru_cell<double>(p).sequence(X, h);
    saved_gru<double> saved;
    EXPECT_LE((gru_forward(p, X, first, saved, reading::forwards) - states).cwiseAbs().maxCoeff(),
              1e-14);
  }
  const auto p = cell_of<lstm_parameters<double>>(3, 5, 4, true, random);
  const lstm_state<matrix> first{random_matrix<matrix>(1, 5, random),
                                 random_matrix<matrix>(1, 5, random)};
  lstm_state<matrix> state = first;
  const matrix states = lstm_cell<double>(p).sequence(X, state);
  saved_lstm<double> saved;
  EXPECT_LE((lstm_forward(p, X, first, saved, reading::forwards) - states).cwiseAbs().maxCoeff(),
            1e-14);
  EXPECT_LE((saved.last_cell() - state.cell).cwiseAbs().maxCoeff(), 1e-14);
}

TEST(RecurrentGradient, RefusesWhatDoesNotFit) {
  generator random = seed(16105);
  const auto p = cell_of<gru_parameters<double>>(3, 5, 3, true, random);
  auto gradients = zeros_like(p);
  saved_gru<double> saved;
  const auto refused = [&](const auto& call) { return message_of<shape_error>(call); };
  EXPECT_EQ(refused([&] {
              gru_forward(p, matrix::Zero(5, 3), matrix::Zero(2, 5), saved, reading::forwards);
            }),
            "gru_forward: X.rows() is 5 but whole steps of the state's rows is 4 (each step has a "
            "row for each row of the state)");
  EXPECT_NE(refused([&] {
              gru_forward(p, matrix::Zero(4, 2), matrix::Zero(2, 5), saved, reading::forwards);
            }).find("X.cols() is 2"),
            std::string::npos);
  gru_forward(p, matrix::Zero(4, 3), matrix::Zero(2, 5), saved, reading::forwards);
  EXPECT_NE(refused([&] {
              gru_backward(p, saved, matrix::Zero(2, 5), gradients);
            }).find("dY.rows() is 2"),
            std::string::npos);
}

TEST(RecurrentParameters, AreWalkedByName) {
  generator random = seed(16106);
  auto p = cell_of<gru_parameters<double>>(3, 5, 3, true, random);
  p.reset = gru_reset::before_product;
  const gru_parameters<float> narrow = cast_parameters<float>(p);
  EXPECT_EQ(narrow.reset, gru_reset::before_product);
  EXPECT_EQ(narrow.Wh(4, 3), float(p.Wh(4, 3)));
  EXPECT_EQ(parameter_count(p), 8 * 15 + 30);
}

}  // namespace
}  // namespace softlook::recurrent_test
