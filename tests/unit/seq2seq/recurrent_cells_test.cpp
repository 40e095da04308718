#include "softlook/seq2seq/recurrent_cells.hpp"

#include <gtest/gtest.h>

#include "tests/oracle/recurrent.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"

namespace softlook::recurrent_cells_test {
namespace {

using namespace softlook_test;
using oracle::lstm_truth;
using oracle::real;

/// c' and h of an SSRU by its formula.
template <class T>
lstm_truth ssru(const oracle::matrix& X, const lstm_truth& s, const ssru_parameters<T>& p) {
  lstm_truth next = s;
  for (index i = 0; i < s.cell.rows(); ++i)
    for (index c = 0; c < s.cell.cols(); ++c) {
      real gate = p.bf.size() > 0 ? real(p.bf[c]) : 0, candidate = 0;
      for (index k = 0; k < X.cols(); ++k) {
        gate += X(i, k) * real(p.Wf(k, c));
        candidate += X(i, k) * real(p.W(k, c));
      }
      const real f = oracle::logistic(gate);
      next.cell(i, c) = f * s.cell(i, c) + (1 - f) * candidate;
      next.hidden(i, c) = std::max(real(0), next.cell(i, c));
    }
  return next;
}

/// Gates of sums of `terms` products of magnitude about 1.
template <class T>
double cell_bound(index terms) {
  return double(16 + 2 * terms) * epsilon_of<T>();
}

/// sin(0.7 i + 1.3 j + k), as in the script that made the golden values.
Eigen::MatrixXd wave(index rows, index cols, double k) {
  Eigen::MatrixXd W(rows, cols);
  for (index i = 0; i < rows; ++i)
    for (index j = 0; j < cols; ++j) W(i, j) = std::sin(0.7 * double(i) + 1.3 * double(j) + k);
  return W;
}

template <class T>
class RecurrentCell : public ::testing::Test {
 protected:
  static constexpr index inputs = 7, units = 5;
  generator random = seed(991);

  row_major<T> matrix(index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, random);
  }
  template <class Parameters>
  Parameters parameters(index gates) {
    Parameters p;
    p.Wx = matrix(inputs, gates * units) / T(3);
    p.Wh = matrix(units, gates * units) / T(3);
    p.bx = matrix(1, gates * units);
    p.bh = matrix(1, gates * units);
    return p;
  }
  gru_parameters<T> gru_weights(gru_reset reset) {
    auto p = parameters<gru_parameters<T>>(3);
    p.reset = reset;
    return p;
  }
  lstm_parameters<T> lstm_weights() { return parameters<lstm_parameters<T>>(4); }
  ssru_parameters<T> ssru_weights() {
    return {matrix(inputs, units), matrix(inputs, units), matrix(1, units)};
  }
};
TYPED_TEST_SUITE(RecurrentCell, scalars, scalar_names);

TYPED_TEST(RecurrentCell, AGruIsItsFormula) {
  using T = TypeParam;
  for (const gru_reset reset : {gru_reset::after_product, gru_reset::before_product})
    for (const bool biased : {true, false}) {
      auto p = this->gru_weights(reset);
      if (!biased) p.bx = p.bh = row_vector<T>();
      const gru_cell<T> cell(p);
      EXPECT_EQ(cell.inputs(), this->inputs);
      EXPECT_EQ(cell.units(), this->units);
      for (const index rows : {0, 1, 2, 19}) {
        const row_major<T> X = this->matrix(rows, this->inputs),
                           h = this->matrix(rows, this->units);
        const oracle::matrix truth = oracle::gru(oracle::widen(X), oracle::widen(h), p, p.reset);
        on_every_set([&](const options& opts) {
          EXPECT_LE(max_error(cell(X, h, opts), truth), cell_bound<T>(this->inputs + this->units));
        });
      }
    }
}

TYPED_TEST(RecurrentCell, AnLstmIsItsFormula) {
  using T = TypeParam;
  for (const bool biased : {true, false}) {
    auto p = this->lstm_weights();
    if (!biased) p.bx = p.bh = row_vector<T>();
    const lstm_cell<T> cell(p);
    for (const index rows : {0, 1, 2, 19}) {
      const row_major<T> X = this->matrix(rows, this->inputs);
      const lstm_state<row_major<T>> s{this->matrix(rows, this->units),
                                       this->matrix(rows, this->units)};
      const lstm_truth truth =
          oracle::lstm(oracle::widen(X), {oracle::widen(s.hidden), oracle::widen(s.cell)}, p);
      on_every_set([&](const options& opts) {
        const auto next = cell(X, s, opts);
        EXPECT_LE(max_error(next.hidden, truth.hidden), cell_bound<T>(this->inputs + this->units));
        EXPECT_LE(max_error(next.cell, truth.cell), 4 * cell_bound<T>(this->inputs + this->units));
      });
    }
  }
}

TYPED_TEST(RecurrentCell, AnSsruIsItsFormula) {
  using T = TypeParam;
  for (const bool biased : {true, false}) {
    auto p = this->ssru_weights();
    if (!biased) p.bf = row_vector<T>();
    const ssru_cell<T> cell(p);
    EXPECT_EQ(cell.inputs(), this->inputs);
    EXPECT_EQ(cell.units(), this->units);
    for (const index rows : {0, 1, 2, 19}) {
      const row_major<T> X = this->matrix(rows, this->inputs);
      const ssru_state<row_major<T>> s{this->matrix(rows, this->units),
                                       this->matrix(rows, this->units)};
      const lstm_truth truth =
          ssru(oracle::widen(X), {oracle::widen(s.hidden), oracle::widen(s.cell)}, p);
      on_every_set([&](const options& opts) {
        const auto next = cell(X, s, opts);
        EXPECT_LE(max_error(next.cell, truth.cell), 4 * cell_bound<T>(this->inputs));
        EXPECT_LE(max_error(next.hidden, truth.hidden), 4 * cell_bound<T>(this->inputs));
        // What was given out before does not matter.
        const auto same = cell(X, ssru_state<row_major<T>>{s.cell, s.cell}, opts);
        EXPECT_TRUE(bitwise_equal(same.hidden, next.hidden));
      });
    }
  }
}

// PyTorch 2.13.0 (CPU), torch.nn.GRUCell(3, 2) and LSTMCell(3, 2) in float64; every weight
// w[i][j] = sin(0.7 i + 1.3 j + k) with k = 0.1 (weight_ih), 0.2 (weight_hh), 0.3 (bias_ih),
// 0.4 (bias_hh), 0.5 (x), 1.5 (h), 2.5 (c); x has two rows.
TEST(RecurrentCellGolden, AGruComputesWhatTorchDoes) {
  gru_parameters<double> p;
  p.Wx = wave(6, 3, 0.1).transpose();
  p.Wh = wave(6, 2, 0.2).transpose();
  p.bx = wave(1, 6, 0.3);
  p.bh = wave(1, 6, 0.4);
  Eigen::MatrixXd torch(2, 2);
  torch << 0.80561979204049827, -0.48708711422661316, 0.72195960717657282, -0.17727749627374714;
  EXPECT_LE(max_error(gru_cell<double>(p)(wave(2, 3, 0.5), wave(2, 2, 1.5)), torch),
            cell_bound<double>(5));
}

TEST(RecurrentCellGolden, AnLstmComputesWhatTorchDoes) {
  lstm_parameters<double> p;
  p.Wx = wave(8, 3, 0.1).transpose();
  p.Wh = wave(8, 2, 0.2).transpose();
  p.bx = wave(1, 8, 0.3);
  p.bh = wave(1, 8, 0.4);
  Eigen::MatrixXd hidden(2, 2), cell(2, 2);
  hidden << -0.14489312445866309, -0.14597269448669975, -0.20774978272989236, -0.040710203691672678;
  cell << -0.34451298324797552, -0.87182820705005437, -0.5162816029153855, -0.48870238709640978;
  const lstm_state<Eigen::MatrixXd> s{wave(2, 2, 1.5), wave(2, 2, 2.5)};
  const auto next = lstm_cell<double>(p)(wave(2, 3, 0.5), s);
  EXPECT_LE(max_error(next.hidden, hidden), cell_bound<double>(5));
  EXPECT_LE(max_error(next.cell, cell), cell_bound<double>(5));
}

TYPED_TEST(RecurrentCell, ASequenceIsItsStepsBitForBit) {
  using T = TypeParam;
  const row_major<T> X = this->matrix(11, this->inputs), start = this->matrix(1, this->units);
  const exec::thread_pool pool(3);
  const auto check = [&](const auto& run_sequence, const auto& run_step) {
    on_every_set([&](options opts) {
      workspace space;
      opts.workspace = &space;
      row_major<T> expected(11, this->units);
      for (index i = 0; i < 11; ++i) expected.row(i) = run_step(X.row(i), i == 0, opts);
      EXPECT_TRUE(bitwise_equal(run_sequence(X, opts), expected));
      EXPECT_TRUE(bitwise_equal(run_sequence(col_major<T>(X), opts), expected));
    });
  };
  for (const gru_reset reset : {gru_reset::after_product, gru_reset::before_product}) {
    const gru_cell<T> cell(this->gru_weights(reset));
    row_major<T> h = start;
    check(
        [&](const auto& x, const options& opts) {
          row_major<T> last = start;
          const row_major<T> all = cell.sequence(x, last, pool, opts);
          EXPECT_TRUE(bitwise_equal(last, all.bottomRows(1)));
          return all;
        },
        [&](const auto& x, bool first, const options& opts) {
          if (first) h = start;
          cell.advance(x, h, opts);
          return h;
        });
    row_major<T> untouched = start;
    EXPECT_EQ(cell.sequence(X.topRows(0), untouched).rows(), 0);
    EXPECT_TRUE(bitwise_equal(untouched, start));
  }
  const auto check_cell = [&](const auto& cell) {
    lstm_state<row_major<T>> s;
    check(
        [&](const auto& x, const options& opts) {
          lstm_state<col_major<T>> last{start, start};
          const row_major<T> all = cell.sequence(x, last, pool, opts);
          EXPECT_TRUE(bitwise_equal(row_major<T>(last.hidden), all.bottomRows(1)));
          return all;
        },
        [&](const auto& x, bool first, const options& opts) {
          if (first) s = {start, start};
          cell.advance(x, s, opts);
          return s.hidden;
        });
  };
  check_cell(lstm_cell<T>(this->lstm_weights()));
  check_cell(ssru_cell<T>(this->ssru_weights()));
}

TYPED_TEST(RecurrentCell, NanStaysInItsRow) {
  using T = TypeParam;
  row_major<T> X = this->matrix(3, this->inputs);
  const row_major<T> h = this->matrix(3, this->units);
  const gru_cell<T> cell(this->gru_weights(gru_reset::after_product));
  const row_major<T> clean = cell(X, h);
  X(1, 2) = std::numeric_limits<T>::quiet_NaN();
  const row_major<T> Y = cell(X, h);
  EXPECT_TRUE(row_is_nan(Y, 1));
  EXPECT_TRUE(bitwise_equal(Y.row(0), clean.row(0)));
  EXPECT_TRUE(bitwise_equal(Y.row(2), clean.row(2)));
  const auto s = ssru_cell<T>(this->ssru_weights())(X, ssru_state<row_major<T>>{h, h});
  EXPECT_TRUE(row_is_nan(s.cell, 1));
  EXPECT_TRUE(row_is_nan(s.hidden, 1));
  EXPECT_TRUE(s.hidden.row(0).allFinite());
  EXPECT_TRUE(s.hidden.row(2).allFinite());
}

TYPED_TEST(RecurrentCell, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const gru_cell<T> gru(this->gru_weights(gru_reset::after_product));
  const lstm_cell<T> lstm(this->lstm_weights());
  row_major<T> h = row_major<T>::Constant(2, 5, T(42));
  lstm_state<row_major<T>> s{h, h};
  expect_error<shape_error>([&] { gru.advance(this->matrix(2, 6), h); },
                            {"gru_cell", "X.cols() is 6", "inputs() is 7"});
  expect_error<shape_error>([&] { gru.advance(this->matrix(3, 7), h); },
                            {"gru_cell", "rows of the state is 2", "is 3"});
  expect_error<shape_error>([&] { (void)gru(this->matrix(2, 7), this->matrix(2, 4)); },
                            {"state.cols() is 4", "units() is 5"});
  expect_error<shape_error>([&] { (void)gru.sequence(this->matrix(3, 7), h); },
                            {"rows of the state is 2", "is 1"});
  expect_error<shape_error>([&] { lstm.advance(this->matrix(2, 6), s); },
                            {"lstm_cell", "X.cols() is 6", "7"});
  s.cell = this->matrix(2, 4);
  expect_error<shape_error>([&] { lstm.advance(this->matrix(2, 7), s); },
                            {"lstm_cell", "state.cell.cols() is 4", "5"});
  const ssru_cell<T> ssru(this->ssru_weights());
  s = {h, h};
  expect_error<shape_error>([&] { ssru.advance(this->matrix(2, 6), s); },
                            {"ssru_cell", "X.cols() is 6", "7"});
  expect_error<shape_error>([&] { (void)ssru.sequence(this->matrix(3, 7), s); },
                            {"ssru_cell", "rows of the state is 2", "is 1"});
  s.hidden = this->matrix(2, 4);
  expect_error<shape_error>([&] { ssru.advance(this->matrix(2, 7), s); },
                            {"ssru_cell", "state.hidden.cols() is 4", "5"});
  EXPECT_TRUE((s.cell.array() == T(42)).all());
  EXPECT_TRUE((h.array() == T(42)).all());
  row_major<T> all = this->matrix(4, 20);
  expect_error<argument_error>([&] { gru.advance(all.block(0, 0, 2, 7), all.block(0, 6, 2, 5)); },
                               {"gru_cell", "the state overlaps X"});
  auto p = this->gru_weights(gru_reset::after_product);
  p.Wx.conservativeResize(7, 14);
  expect_error<shape_error>([&] { (void)gru_cell<T>(p); },
                            {"gru_cell", "Wx.cols() is 14", "gates · Wh.rows() is 15"});
  auto q = this->lstm_weights();
  q.bh.conservativeResize(3);
  expect_error<shape_error>([&] { (void)lstm_cell<T>(q); }, {"lstm_cell", "bh.size() is 3", "20"});
  auto r = this->ssru_weights();
  r.bf.conservativeResize(3);
  expect_error<shape_error>([&] { (void)ssru_cell<T>(r); }, {"ssru_cell", "bf.size() is 3", "5"});
  r.Wf.conservativeResize(7, 4);
  expect_error<shape_error>([&] { (void)ssru_cell<T>(r); },
                            {"ssru_cell", "Wf.cols() is 4", "W.cols() is 5"});
  r.Wf.conservativeResize(6, 5);
  expect_error<shape_error>([&] { (void)ssru_cell<T>(r); },
                            {"ssru_cell", "Wf.rows() is 6", "W.rows() is 7"});
}

}  // namespace
}  // namespace softlook::recurrent_cells_test
