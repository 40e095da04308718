// Steps of recurrent cells by their formulas, one number at a time.
#pragma once

#include "softlook/seq2seq/recurrent_cells.hpp"
#include "tests/oracle/layers.hpp"

namespace oracle {

inline real logistic(real x) { return 1 / (1 + std::exp(-x)); }

/// h' of a GRU whose reset gate acts as `at` says, whatever the parameters say.
template <class T>
matrix gru(const matrix& X, const matrix& h, const softlook::gru_parameters<T>& p,
           softlook::gru_reset at) {
  const matrix a = linear(X, widen(p.Wx), widen(p.bx));
  const matrix b = linear(h, widen(p.Wh), widen(p.bh));
  const index u = h.cols();
  matrix reset = h, next = h;
  for (index i = 0; i < h.rows(); ++i)
    for (index c = 0; c < u; ++c) reset(i, c) = h(i, c) * logistic(a(i, c) + b(i, c));
  const matrix of_reset = linear(reset, widen(p.Wh), widen(p.bh));
  for (index i = 0; i < h.rows(); ++i)
    for (index c = 0; c < u; ++c) {
      const real r = logistic(a(i, c) + b(i, c)), z = logistic(a(i, u + c) + b(i, u + c));
      const real from_state =
          at == softlook::gru_reset::after_product ? r * b(i, 2 * u + c) : of_reset(i, 2 * u + c);
      next(i, c) = (1 - z) * std::tanh(a(i, 2 * u + c) + from_state) + z * h(i, c);
    }
  return next;
}

struct lstm_truth {
  matrix hidden, cell;
};
template <class T>
lstm_truth lstm(const matrix& X, const lstm_truth& s, const softlook::lstm_parameters<T>& p) {
  const matrix g =
      sum(linear(X, widen(p.Wx), widen(p.bx)), linear(s.hidden, widen(p.Wh), widen(p.bh)));
  const index u = s.cell.cols();
  lstm_truth next = s;
  for (index i = 0; i < s.cell.rows(); ++i)
    for (index c = 0; c < u; ++c) {
      next.cell(i, c) =
          logistic(g(i, u + c)) * s.cell(i, c) + logistic(g(i, c)) * std::tanh(g(i, 2 * u + c));
      next.hidden(i, c) = logistic(g(i, 3 * u + c)) * std::tanh(next.cell(i, c));
    }
  return next;
}

}  // namespace oracle
