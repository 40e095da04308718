#pragma once

#include "softlook/gradient/detail/packed_weights.hpp"
#include "softlook/gradient/detail/products.hpp"
#include "softlook/seq2seq/recurrent_cells.hpp"

// The steps of recurrent cells, forward and back through time.

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// In which order a recurrent cell reads its steps.
enum class reading { forwards, backwards };

/// \}

template <class T>
struct saved_gru;
template <class T>
struct saved_lstm;
template <class T>
struct saved_ssru;

namespace detail {

/// Rows of X, step behind step: each step has as many rows as the state.
struct step_rows {
  index rows = 0;
  index each = 0;
  reading order = reading::forwards;

  [[nodiscard]] index steps() const { return each > 0 ? rows / each : 0; }
  /// The first row of the step that is read as number `step`.
  [[nodiscard]] index row_of(index step) const {
    return (order == reading::forwards ? step : steps() - 1 - step) * each;
  }
  template <class View>
  [[nodiscard]] View of(const View& all, index step) const {
    return all.rows_from(row_of(step), each);
  }
};

/// Of one kind of cell: the rows and columns of X and of the first state fit the weights.
inline step_rows checked_steps(const char* where, index rows, index cols, index inputs, index each,
                               index state_cols, index units, reading order) {
  check_sizes(where, "X.cols()", cols, "inputs", inputs,
              "a row of X has an entry for each row of the cell's weights");
  check_sizes(where, "the state's columns", state_cols, "units", units,
              "a row of a state has an entry for each unit");
  check_sizes(where, "X.rows()", rows, "whole steps of the state's rows",
              each > 0 ? rows / each * each : 0, "each step has a row for each row of the state");
  return {rows, each, order};
}

template <class Parameters>
void check_cell(const char* where, const Parameters& p, index gates) {
  const char* rule = "each gate has a column for each unit";
  check_sizes(where, "Wx.cols()", p.Wx.cols(), "gates · Wh.rows()", gates * p.Wh.rows(), rule);
  check_sizes(where, "Wh.cols()", p.Wh.cols(), "gates · Wh.rows()", gates * p.Wh.rows(), rule);
  for (const auto& [name, b] : {std::pair("bx.size()", &p.bx), std::pair("bh.size()", &p.bh)})
    if (b->size() > 0) check_sizes(where, name, b->size(), "Wx.cols()", p.Wx.cols(), rule);
}

/// Some entries of a row of biases, which may be empty.
template <class T>
[[nodiscard]] matrix_view<T> part_of_bias(const matrix_view<T>& b, index first, index count) {
  return b.cols > 0 ? b.columns(first, count) : matrix_view<T>{};
}

/// f(entry of each…) for all entries of views of one shape.
template <class F, class View, class... Views>
void for_each_entry(const F& f, const View& first, const Views&... others) {
  for (index i = 0; i < first.rows; ++i)
    for (index c = 0; c < first.cols; ++c) f(first(i, c), others(i, c)...);
}

template <class T>
void gru_steps(const gru_parameters<T>& p, saved_gru<T>& s, const layer_call& call) {
  const index u = p.Wh.rows();
  const bool before_product = p.reset == gru_reset::before_product;
  matrix_products<T>(call).multiply(view_of(s.X), view_of(p.Wx), writable_view(s.gates),
                                    view_of(p.bx));
  s.of_gates.pack(call, view_of(p.Wh).columns(0, 2 * u), part_of_bias(view_of(p.bh), 0, 2 * u));
  s.of_candidate.pack(call, view_of(p.Wh).columns(2 * u, u), part_of_bias(view_of(p.bh), 2 * u, u));
  for (index step = 0; step < s.steps.steps(); ++step) {
    const auto rows = [&](auto& m) { return s.steps.of(writable_view(m), step); };
    const auto h = rows(s.before), gates = rows(s.gates), inner = rows(s.inner), H = rows(s.H);
    const auto r = gates.columns(0, u), z = gates.columns(u, u), n = gates.columns(2 * u, u);
    if (step > 0) copy_rows(s.steps.of(view_of(s.H), step - 1), h);
    s.of_gates.add(call, as_input(h), gates.columns(0, 2 * u));
    for_each_entry([](T& gate) { gate = math::sigmoid(gate); }, gates.columns(0, 2 * u));
    if (before_product) {
      for_each_entry([](T& x, T reset, T state) { x = reset * state; }, inner, r, h);
      s.of_candidate.add(call, as_input(inner), n);
    } else {
      s.of_candidate.multiply(call, as_input(h), inner);
      for_each_entry([](T& sum, T reset, T x) { sum += reset * x; }, n, r, inner);
    }
    for_each_entry(
        [](T& next, T& candidate, T update, T state) {
          candidate = math::tanh(candidate);
          next = (T(1) - update) * candidate + update * state;
        },
        H, n, z, h);
  }
}

/// s.dsums: the gradients of the sums inside the gates; s.dinner: that of the candidate's product.
template <class T>
void gru_steps_back(const gru_parameters<T>& p, saved_gru<T>& s, const matrix_view<T>& dH,
                    const layer_call& call) {
  const index u = p.Wh.rows();
  const bool before_product = p.reset == gru_reset::before_product;
  s.of_gates.pack(call, view_of(p.Wh).columns(0, 2 * u).transpose());
  s.of_candidate.pack(call, view_of(p.Wh).columns(2 * u, u).transpose());
  const auto dh = writable_view(s.dfirst);  // of the state after the step, then of the one before
  for (index step = s.steps.steps() - 1; step >= 0; --step) {
    const auto rows = [&](auto& m) { return s.steps.of(writable_view(m), step); };
    const auto h = rows(s.before), gates = rows(s.gates), dsums = rows(s.dsums);
    const auto inner = rows(s.inner), dinner = rows(s.dinner);
    const auto r = gates.columns(0, u), z = gates.columns(u, u), n = gates.columns(2 * u, u);
    const auto dr = dsums.columns(0, u), dz = dsums.columns(u, u), dn = dsums.columns(2 * u, u);
    for_each_entry([](T& d, T given) { d += given; }, dh, s.steps.of(dH, step));
    for_each_entry(
        [](T& d, T& update_sum, T& candidate_sum, T update, T candidate, T state) {
          candidate_sum = d * (T(1) - update) * (T(1) - candidate * candidate);
          update_sum = d * (state - candidate) * update * (T(1) - update);
          d *= update;
        },
        dh, dz, dn, z, n, h);
    if (before_product) {
      s.of_candidate.multiply(call, as_input(dn), dinner);
      for_each_entry(
          [](T& d, T& reset_sum, T given, T reset, T state) {
            d += given * reset;
            reset_sum = given * state * reset * (T(1) - reset);
          },
          dh, dr, dinner, r, h);
    } else {
      for_each_entry(
          [](T& product, T& reset_sum, T sum, T reset, T x) {
            product = sum * reset;
            reset_sum = sum * x * reset * (T(1) - reset);
          },
          dinner, dr, dn, r, inner);
      s.of_candidate.add(call, as_input(dinner), dh);
    }
    s.of_gates.add(call, as_input(dsums.columns(0, 2 * u)), dh);
  }
}

template <class T>
void gru_gradients(const gru_parameters<T>& p, saved_gru<T>& s, gru_parameters<T>& g,
                   const layer_call& call) {
  const index u = p.Wh.rows();
  const bool before_product = p.reset == gru_reset::before_product;
  matrix_products<T> products(call);
  const auto dsums = view_of(s.dsums), dinner = view_of(s.dinner), before = view_of(s.before);
  const auto dgates = dsums.columns(0, 2 * u), dcandidate = dsums.columns(2 * u, u);
  const auto dWh = writable_view(g.Wh), dbh = writable_view(g.bh);
  products.add(view_of(s.X).transpose(), dsums, writable_view(g.Wx));
  products.add_column_sums(dsums, writable_view(g.bx));
  products.add(before.transpose(), dgates, dWh.columns(0, 2 * u));
  products.add((before_product ? view_of(s.inner) : before).transpose(),
               before_product ? dcandidate : dinner, dWh.columns(2 * u, u));
  if (dbh.cols > 0) {
    products.add_column_sums(dgates, dbh.columns(0, 2 * u));
    products.add_column_sums(before_product ? dcandidate : dinner, dbh.columns(2 * u, u));
  }
  products.multiply(dsums, view_of(p.Wx).transpose(), writable_view(s.dX));
}

template <class T>
void lstm_steps(const lstm_parameters<T>& p, saved_lstm<T>& s, const layer_call& call) {
  const index u = p.Wh.rows();
  matrix_products<T>(call).multiply(view_of(s.X), view_of(p.Wx), writable_view(s.gates),
                                    view_of(p.bx));
  s.of_state.pack(call, view_of(p.Wh), view_of(p.bh));
  for (index step = 0; step < s.steps.steps(); ++step) {
    const auto rows = [&](auto& m) { return s.steps.of(writable_view(m), step); };
    const auto h = rows(s.before.hidden), c = rows(s.before.cell), gates = rows(s.gates);
    if (step > 0) {
      copy_rows(s.steps.of(view_of(s.H), step - 1), h);
      copy_rows(s.steps.of(view_of(s.cells), step - 1), c);
    }
    s.of_state.add(call, as_input(h), gates);
    for_each_entry([](T& gate) { gate = math::sigmoid(gate); }, gates.columns(0, 2 * u));
    for_each_entry([](T& x) { x = math::tanh(x); }, gates.columns(2 * u, u));
    for_each_entry([](T& gate) { gate = math::sigmoid(gate); }, gates.columns(3 * u, u));
    for_each_entry(
        [](T& H, T& cell, T last, T take, T keep, T x, T show) {
          cell = keep * last + take * x;
          H = show * math::tanh(cell);
        },
        rows(s.H), rows(s.cells), c, gates.columns(0, u), gates.columns(u, u),
        gates.columns(2 * u, u), gates.columns(3 * u, u));
  }
}

template <class T>
void lstm_steps_back(const lstm_parameters<T>& p, saved_lstm<T>& s, const matrix_view<T>& dH,
                     const layer_call& call) {
  const index u = p.Wh.rows();
  s.of_state.pack(call, view_of(p.Wh).transpose());
  const auto dh = writable_view(s.dfirst.hidden), dc = writable_view(s.dfirst.cell);
  for (index step = s.steps.steps() - 1; step >= 0; --step) {
    const auto gates = s.steps.of(view_of(s.gates), step);
    const auto before = s.steps.of(view_of(s.before.cell), step);
    const auto cells = s.steps.of(view_of(s.cells), step), given = s.steps.of(dH, step);
    const auto dsums = s.steps.of(writable_view(s.dsums), step);
    for (index i = 0; i < dh.rows; ++i)
      for (index k = 0; k < u; ++k) {
        const T take = gates(i, k), keep = gates(i, u + k), x = gates(i, 2 * u + k);
        const T show = gates(i, 3 * u + k), t = math::tanh(cells(i, k));
        const T d = dh(i, k) + given(i, k), dcell = dc(i, k) + d * show * (T(1) - t * t);
        dsums(i, k) = dcell * x * take * (T(1) - take);
        dsums(i, u + k) = dcell * before(i, k) * keep * (T(1) - keep);
        dsums(i, 2 * u + k) = dcell * take * (T(1) - x * x);
        dsums(i, 3 * u + k) = d * t * show * (T(1) - show);
        dc(i, k) = dcell * keep;
      }
    s.of_state.multiply(call, as_input(dsums), dh);
  }
}

template <class T>
void lstm_gradients(const lstm_parameters<T>& p, saved_lstm<T>& s, lstm_parameters<T>& g,
                    const layer_call& call) {
  matrix_products<T> products(call);
  const auto dsums = view_of(s.dsums);
  products.add(view_of(s.X).transpose(), dsums, writable_view(g.Wx));
  products.add(view_of(s.before.hidden).transpose(), dsums, writable_view(g.Wh));
  products.add_column_sums(dsums, writable_view(g.bx));
  products.add_column_sums(dsums, writable_view(g.bh));
  products.multiply(dsums, view_of(p.Wx).transpose(), writable_view(s.dX));
}

template <class T>
void ssru_steps(const ssru_parameters<T>& p, saved_ssru<T>& s, const layer_call& call) {
  matrix_products<T> products(call);
  products.multiply(view_of(s.X), view_of(p.Wf), writable_view(s.forget), view_of(p.bf));
  products.multiply(view_of(s.X), view_of(p.W), writable_view(s.candidate));
  for (index step = 0; step < s.steps.steps(); ++step) {
    const auto rows = [&](auto& m) { return s.steps.of(writable_view(m), step); };
    if (step > 0) copy_rows(s.steps.of(view_of(s.cells), step - 1), rows(s.before));
    for_each_entry(
        [](T& H, T& cell, T& keep, T candidate, T last) {
          keep = math::sigmoid(keep);
          cell = keep * last + (T(1) - keep) * candidate;
          H = cell < T(0) ? T(0) : cell;  // NaN stays
        },
        rows(s.H), rows(s.cells), rows(s.forget), rows(s.candidate), rows(s.before));
  }
}

template <class T>
void ssru_steps_back(saved_ssru<T>& s, const matrix_view<T>& dH) {
  const auto dc = writable_view(s.dfirst);
  for (index step = s.steps.steps() - 1; step >= 0; --step) {
    const auto rows = [&](auto& m) { return s.steps.of(writable_view(m), step); };
    const auto cells = rows(s.cells), before = rows(s.before), given = rows(s.forget);
    for_each_entry([](T& d, T cell, T dh) { d += cell > T(0) ? dh : T(0); }, dc, cells,
                   s.steps.of(dH, step));
    for_each_entry(
        [](T& d, T& forget_sum, T& dcandidate, T keep, T candidate, T last) {
          forget_sum = d * (last - candidate) * keep * (T(1) - keep);
          dcandidate = d * (T(1) - keep);
          d *= keep;
        },
        dc, rows(s.dforget), rows(s.dcandidate), given, rows(s.candidate), before);
  }
}

template <class T>
void ssru_gradients(const ssru_parameters<T>& p, saved_ssru<T>& s, ssru_parameters<T>& g,
                    const layer_call& call) {
  matrix_products<T> products(call);
  const auto dforget = view_of(s.dforget), dcandidate = view_of(s.dcandidate);
  products.add(view_of(s.X).transpose(), dforget, writable_view(g.Wf));
  products.add(view_of(s.X).transpose(), dcandidate, writable_view(g.W));
  products.add_column_sums(dforget, writable_view(g.bf));
  products.multiply(dforget, view_of(p.Wf).transpose(), writable_view(s.dX));
  products.add(dcandidate, view_of(p.W).transpose(), writable_view(s.dX));
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
