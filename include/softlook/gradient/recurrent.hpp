#pragma once

#include "softlook/gradient/detail/recurrent_steps.hpp"
#include "softlook/gradient/linear.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What gru_forward() keeps of N rows: (inputs + 6·units)·N numbers and the packed weights of the
/// state; the way back adds (inputs + 4·units)·N.
template <class T>
struct saved_gru {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix X{};
  matrix before{};  ///< the state that each step met
  matrix gates{};   ///< reset, update, candidate
  matrix inner{};   ///< h·Wh_n + bh_n, or r ∘ h where the reset comes first
  matrix H{};       ///< the states, N×units
  matrix dX{};      ///< written by gru_backward()
  matrix dfirst{};  ///< the gradient of the first state
  matrix dsums{}, dinner{};
  detail::packed_weights<T> of_gates{}, of_candidate{};
  detail::step_rows steps{};

  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return bytes_of(X) + bytes_of(before) + bytes_of(gates) + bytes_of(inner) + bytes_of(H) +
           bytes_of(dX) + bytes_of(dfirst) + bytes_of(dsums) + bytes_of(dinner) + of_gates.bytes() +
           of_candidate.bytes();
  }
};

/// What lstm_forward() keeps: (inputs + 8·units)·N numbers and the packed weights of the state; the
/// way back adds (inputs + 4·units)·N.
template <class T>
struct saved_lstm {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix X{};
  lstm_state<matrix> before{};  ///< the state that each step met
  matrix gates{};               ///< input, forget, candidate, output
  matrix cells{};
  matrix H{};                   ///< the hidden states, N×units
  matrix dX{};                  ///< written by lstm_backward()
  lstm_state<matrix> dfirst{};  ///< the gradient of the first state
  matrix dsums{};
  detail::packed_weights<T> of_state{};
  detail::step_rows steps{};

  /// The cells after the last step that was read.
  [[nodiscard]] auto last_cell() const {
    return cells.middleRows(steps.steps() > 0 ? steps.row_of(steps.steps() - 1) : 0, steps.each);
  }
  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return bytes_of(X) + bytes_of(before.hidden) + bytes_of(before.cell) + bytes_of(gates) +
           bytes_of(cells) + bytes_of(H) + bytes_of(dX) + bytes_of(dfirst.hidden) +
           bytes_of(dfirst.cell) + bytes_of(dsums) + of_state.bytes();
  }
};

/// What ssru_forward() keeps: (inputs + 5·units)·N numbers; the way back adds
/// (inputs + 2·units)·N.
template <class T>
struct saved_ssru {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix X{};
  matrix before{};  ///< the cell that each step met
  matrix forget{}, candidate{};
  matrix cells{};
  matrix H{};       ///< max(0, cells), N×units
  matrix dX{};      ///< written by ssru_backward()
  matrix dfirst{};  ///< the gradient of the first cell
  matrix dforget{}, dcandidate{};
  detail::step_rows steps{};

  [[nodiscard]] auto last_cell() const {
    return cells.middleRows(steps.steps() > 0 ? steps.row_of(steps.steps() - 1) : 0, steps.each);
  }
  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return bytes_of(X) + bytes_of(before) + bytes_of(forget) + bytes_of(candidate) +
           bytes_of(cells) + bytes_of(H) + bytes_of(dX) + bytes_of(dfirst) + bytes_of(dforget) +
           bytes_of(dcandidate);
  }
};

namespace detail {

/// The first state, where the first step reads it.
template <class Matrix, class First>
void begin_states(const step_rows& steps, Matrix& before, const First& first, index units) {
  shape_as(before, steps.rows, units);
  if (steps.steps() > 0) before.middleRows(steps.row_of(0), steps.each) = first;
}

/// The gradient of the last state, which is carried from step to step.
template <class Matrix, class Last>
void begin_carried(const char* where, const step_rows& steps, Matrix& carried, const Last& last,
                   index units) {
  shape_as(carried, steps.each, units);
  if (last.size() == 0) {
    carried.setZero();
    return;
  }
  check_sizes(where, "the rows of the last cell's gradient", last.rows(), "the state's rows",
              steps.each, "a gradient has the shape of what it belongs to");
  check_sizes(where, "the columns of the last cell's gradient", last.cols(), "units", units,
              "a gradient has the shape of what it belongs to");
  carried = last;
}

}  // namespace detail

/// The states H of a gru_cell after each step, N×units, kept as saved.H. X has N = steps·n rows,
/// those of a step together, where h, the first state, has n:
///   N = n  is one step of n sequences;  n = 1  is one sequence.
/// reading::backwards begins with the last step; rows stay where they are.
/// \param policies  an executor and options.
/// \throws shape_error  unless X and h fit the weights and each other.
template <class T, dense_expression X, dense_expression H, class... Ps>
const auto& gru_forward(const gru_parameters<T>& p, const X& x, const H& h, saved_gru<T>& saved,
                        reading order, const Ps&... policies) {
  const char* where = "gru_forward";
  const index u = p.Wh.rows();
  detail::check_cell(where, p, 3);
  saved.steps =
      detail::checked_steps(where, x.rows(), x.cols(), p.Wx.rows(), h.rows(), h.cols(), u, order);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  saved.X = x;
  detail::begin_states(saved.steps, saved.before, h, u);
  detail::shape_as(saved.gates, x.rows(), 3 * u);
  detail::shape_as(saved.inner, x.rows(), u);
  detail::shape_as(saved.H, x.rows(), u);
  detail::gru_steps(p, saved, call);
  return saved.H;
}

/// Back through time: dH is the gradient of every state, that of the last one included. Gives dX,
/// and saved.dfirst, that of the first state.
/// \throws shape_error  unless dH has the shape of H and gradients that of the weights.
template <class T, dense_expression G, class... Ps>
const auto& gru_backward(const gru_parameters<T>& p, saved_gru<T>& saved, const G& dH,
                         gru_parameters<T>& gradients, const Ps&... policies) {
  const char* where = "gru_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dH, saved.H);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  const detail::readable<G> given(dH);
  const index u = p.Wh.rows();
  detail::shape_as(saved.dfirst, saved.steps.each, u);
  saved.dfirst.setZero();
  detail::shape_as(saved.dsums, dH.rows(), 3 * u);
  detail::shape_as(saved.dinner, dH.rows(), u);
  detail::shape_as(saved.dX, saved.X.rows(), saved.X.cols());
  detail::gru_steps_back(p, saved, given.view(), call);
  detail::gru_gradients(p, saved, gradients, call);
  return saved.dX;
}

/// gru_forward() of an lstm_cell, from a state of n rows; saved.last_cell() is the last cell.
template <class T, dense_expression X, class M, class... Ps>
const auto& lstm_forward(const lstm_parameters<T>& p, const X& x, const lstm_state<M>& state,
                         saved_lstm<T>& saved, reading order, const Ps&... policies) {
  const char* where = "lstm_forward";
  const index u = p.Wh.rows();
  detail::check_cell(where, p, 4);
  saved.steps = detail::checked_steps(where, x.rows(), x.cols(), p.Wx.rows(), state.hidden.rows(),
                                      state.hidden.cols(), u, order);
  detail::check_output_gradient(where, state.cell, state.hidden);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  saved.X = x;
  detail::begin_states(saved.steps, saved.before.hidden, state.hidden, u);
  detail::begin_states(saved.steps, saved.before.cell, state.cell, u);
  detail::shape_as(saved.gates, x.rows(), 4 * u);
  detail::shape_as(saved.cells, x.rows(), u);
  detail::shape_as(saved.H, x.rows(), u);
  detail::lstm_steps(p, saved, call);
  return saved.H;
}

/// gru_backward() of an lstm_cell; dcell is the gradient of the last cell, empty where it is none.
template <class T, dense_expression G, dense_expression C, class... Ps>
const auto& lstm_backward(const lstm_parameters<T>& p, saved_lstm<T>& saved, const G& dH,
                          const C& dcell, lstm_parameters<T>& gradients, const Ps&... policies) {
  const char* where = "lstm_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dH, saved.H);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  const detail::readable<G> given(dH);
  const index u = p.Wh.rows();
  detail::begin_carried(where, saved.steps, saved.dfirst.cell, dcell, u);
  detail::shape_as(saved.dfirst.hidden, saved.steps.each, u);
  saved.dfirst.hidden.setZero();
  detail::shape_as(saved.dsums, dH.rows(), 4 * u);
  detail::shape_as(saved.dX, saved.X.rows(), saved.X.cols());
  detail::lstm_steps_back(p, saved, given.view(), call);
  detail::lstm_gradients(p, saved, gradients, call);
  return saved.dX;
}

/// gru_forward() of an ssru_cell, from the cell of the state; saved.last_cell() is the last one.
template <class T, dense_expression X, dense_expression C, class... Ps>
const auto& ssru_forward(const ssru_parameters<T>& p, const X& x, const C& cell,
                         saved_ssru<T>& saved, reading order, const Ps&... policies) {
  const char* where = "ssru_forward";
  const index u = p.W.cols();
  detail::check_sizes(where, "Wf.rows()", p.Wf.rows(), "W.rows()", p.W.rows(),
                      "both take a row of X");
  detail::check_sizes(where, "Wf.cols()", p.Wf.cols(), "W.cols()", u,
                      "the gate and the candidate have a column for each unit");
  if (p.bf.size() > 0)
    detail::check_sizes(where, "bf.size()", p.bf.size(), "W.cols()", u, "an entry for each unit");
  saved.steps = detail::checked_steps(where, x.rows(), x.cols(), p.W.rows(), cell.rows(),
                                      cell.cols(), u, order);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  saved.X = x;
  detail::begin_states(saved.steps, saved.before, cell, u);
  for (auto* m : {&saved.forget, &saved.candidate, &saved.cells, &saved.H})
    detail::shape_as(*m, x.rows(), u);
  detail::ssru_steps(p, saved, call);
  return saved.H;
}

/// gru_backward() of an ssru_cell; dcell as in lstm_backward(). At a cell of 0 the slope is 0.
template <class T, dense_expression G, dense_expression C, class... Ps>
const auto& ssru_backward(const ssru_parameters<T>& p, saved_ssru<T>& saved, const G& dH,
                          const C& dcell, ssru_parameters<T>& gradients, const Ps&... policies) {
  const char* where = "ssru_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dH, saved.H);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  const detail::readable<G> given(dH);
  const index u = p.W.cols();
  detail::begin_carried(where, saved.steps, saved.dfirst, dcell, u);
  detail::shape_as(saved.dforget, dH.rows(), u);
  detail::shape_as(saved.dcandidate, dH.rows(), u);
  detail::shape_as(saved.dX, saved.X.rows(), saved.X.cols());
  detail::ssru_steps_back(saved, given.view());
  detail::ssru_gradients(p, saved, gradients, call);
  return saved.dX;
}

/// \}

SOFTLOOK_NAMESPACE_END
