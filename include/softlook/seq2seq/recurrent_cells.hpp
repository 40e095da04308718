#pragma once

#include "softlook/core/math.hpp"
#include "softlook/engine/call/layer_call.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup seq2seq
/// \{

/// Where a GRU's reset gate acts: on the product of the state (torch, cuDNN), or on the state
/// before the product (Cho et al., 2014; Bahdanau et al., 2015, appendix A).
enum class gru_reset { after_product, before_product };

/// Weights of a GRU, inputs × outputs, the gates beside each other: reset, update, candidate. Of a
/// torch.nn.GRUCell they are weight_ih.transpose(), weight_hh.transpose(), bias_ih, bias_hh.
template <class T>
struct gru_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix Wx{};     ///< inputs × 3·units
  matrix Wh{};     ///< units × 3·units
  row bx{}, bh{};  ///< empty: none
  gru_reset reset = gru_reset::after_product;

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("Wx", p.Wx...);
    f("Wh", p.Wh...);
    f("bx", p.bx...);
    f("bh", p.bh...);
    f("reset", p.reset...);
  }
};

/// Weights of an LSTM; the gates are input, forget, candidate, output, as in torch.nn.LSTMCell.
template <class T>
struct lstm_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix Wx{};     ///< inputs × 4·units
  matrix Wh{};     ///< units × 4·units
  row bx{}, bh{};  ///< empty: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("Wx", p.Wx...);
    f("Wh", p.Wh...);
    f("bx", p.bx...);
    f("bh", p.bh...);
  }
};

/// Weights of an SSRU.
template <class T>
struct ssru_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix W{};   ///< inputs × units: the candidate
  matrix Wf{};  ///< inputs × units: the forget gate
  row bf{};     ///< empty: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("W", p.W...);
    f("Wf", p.Wf...);
    f("bf", p.bf...);
  }
};

/// n×units each.
template <class Matrix>
struct lstm_state {
  Matrix hidden;
  Matrix cell;
};

/// The same of an SSRU, which reads the cell alone; `hidden` is what the last step gave.
template <class Matrix>
using ssru_state = lstm_state<Matrix>;

namespace detail {

/// The sizes of a recurrent cell, and what calls of any cell check.
struct cell_sizes {
  const char* where;
  index inputs;
  index units;

  template <class T>
  void check(const matrix_view<T>& X, const mutable_matrix_view<T>& state, const char* name,
             index rows) const {
    check_sizes(where, "X.cols()", X.cols, "inputs()", inputs,
                "a row of X has an entry for each row of the cell's weights");
    check_sizes(where, name, state.cols, "units()", units,
                "a row of a state has an entry for each unit");
    check_sizes(where, "the rows of the state", state.rows, "the sequences", rows,
                "each sequence has a state");
    check_overlap(where, "X", state, X, "the state");
  }
};

/// The two products of a recurrent cell, and what calls of any cell have in common.
template <class T>
class cell_products {
 public:
  template <class Parameters>
  cell_products(const char* where, const Parameters& p, index gates) : where_(where) {
    units_ = p.Wh.rows();
    check_sizes(where, "Wx.cols()", p.Wx.cols(), "gates · Wh.rows()", gates * units_,
                "each gate has a column for each unit");
    check_sizes(where, "Wh.cols()", p.Wh.cols(), "gates · Wh.rows()", gates * units_,
                "each gate has a column for each unit");
    const auto bias = [&](const char* name, const auto& b) {
      return checked_row(where, name, view_of(b), "Wx.cols()", p.Wx.cols());
    };
    of_inputs_ = {view_of(p.Wx), bias("bx.size()", p.bx), activation::none};
    of_state_ = {view_of(p.Wh), bias("bh.size()", p.bh), activation::none};
  }

  [[nodiscard]] index inputs() const { return of_inputs_.inputs(); }
  [[nodiscard]] index units() const { return units_; }
  [[nodiscard]] const packed_linear<T>& of_inputs() const { return of_inputs_; }
  [[nodiscard]] const packed_linear<T>& of_state() const { return of_state_; }

  [[nodiscard]] cell_sizes sizes() const { return {where_, inputs(), units_}; }

 private:
  const char* where_;
  index units_ = 0;
  packed_linear<T> of_inputs_;
  packed_linear<T> of_state_;
};

/// All rows at once, step(from_x), or, where there is room for the states, one after another: then
/// the state has one row.
template <class T, class F>
void run_cell(const mutable_matrix_view<T>& from_x, const mutable_matrix_view<T>& state,
              const mutable_matrix_view<T>* states, const F& step) {
  if (!states) return step(from_x);
  for (index i = 0; i < from_x.rows; ++i) {
    step(from_x.rows_from(i, 1));
    for (index c = 0; c < state.cols; ++c) (*states)(i, c) = state(0, c);
  }
}

template <class T>
struct lstm_views {
  mutable_matrix_view<T> hidden;
  mutable_matrix_view<T> cell;
};

/// The calls of a cell that keeps lstm_state, which has
///   sizes()                                    what its inputs are checked by
///   scratch_size(rows of X, of the state)      scalars of scratch
///   run(X, lstm_views, states, scratch, call)  as run_cell() says
/// and is a friend.
template <class Cell, class T>
class lstm_calls {
 public:
  using scalar = T;

  /// The next state. \param policies  an executor, options.
  /// \throws shape_error  unless x and the state fit the cell and each other.
  template <dense_expression X, class M, class... Ps>
  [[nodiscard]] lstm_state<M> operator()(const X& x, const lstm_state<M>& state,
                                         const Ps&... policies) const {
    lstm_state<M> next = state;
    advance(x, next, policies...);
    return next;
  }
  /// The next state in place. With options{.workspace} it allocates nothing.
  template <dense_expression X, class M, class... Ps>
  void advance(const X& x, lstm_state<M>& state, const Ps&... policies) const {
    if constexpr (check_scalars<X, M>() && check_layer_policies<T, Ps...>()) {
      const readable<X> in(x);
      call(in.view(), state, x.rows(), nullptr, policies...);
    }
  }
  /// The hidden states after each row of one sequence, n×units; `state`, of one row, is the first
  /// and then the last.
  template <dense_expression X, class M, class... Ps>
  [[nodiscard]] auto sequence(const X& x, lstm_state<M>& state, const Ps&... policies) const {
    plain_matrix_like<X> states(x.rows(), cell().units());
    if constexpr (check_scalars<X, M>() && check_layer_policies<T, Ps...>()) {
      const readable<X> in(x);
      const mutable_matrix_view<T> out = writable_view(states);
      call(in.view(), state, 1, &out, policies...);
    }
    return states;
  }

 private:
  [[nodiscard]] const Cell& cell() const { return static_cast<const Cell&>(*this); }

  template <class M, class... Ps>
  void call(const matrix_view<T>& X, lstm_state<M>& state, index sequences,
            const mutable_matrix_view<T>* states, const Ps&... policies) const {
    const lstm_views<T> views{writable_view(state.hidden), writable_view(state.cell)};
    const cell_sizes sizes = cell().sizes();
    sizes.check(X, views.hidden, "state.hidden.cols()", sequences);
    sizes.check(X, views.cell, "state.cell.cols()", sequences);
    const layer_call call = layer_call_of(sizes.where, policies...);
    run_layer<T>(call, cell().scratch_size(X.rows, views.hidden.rows),
                 [&](const auto& scratch) { cell().run(X, views, states, scratch, call); });
  }
};

}  // namespace detail

/// A gated recurrent unit:
///   r = σ(x·Wx_r + bx_r + h·Wh_r + bh_r),  z = σ(x·Wx_z + bx_z + h·Wh_z + bh_z)
///   n = tanh(x·Wx_n + bx_n + r ∘ (h·Wh_n + bh_n)),  h' = (1 − z) ∘ n + z ∘ h
/// or, with gru_reset::before_product,
///   n = tanh(x·Wx_n + bx_n + (r ∘ h)·Wh_n + bh_n)
///
/// \see Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder", 2014, Eq. (5)–(8),
///      where z means what 1 − z means in appendix A of Bahdanau et al., 2015.
/// Computes what torch.nn.GRUCell does.
///
/// X: n×inputs, state: n×units. Cost: O(n·units·(inputs + units)).
template <class T>
class gru_cell {
 public:
  using scalar = T;

  /// \throws shape_error  unless the weights fit each other.
  explicit gru_cell(const gru_parameters<T>& p) : products_("gru_cell", p, 3) {
    if (p.reset == gru_reset::after_product) return;
    const index units = p.Wh.rows();
    const auto part = [&](index first, index count) {
      matrix_view<T> b{};
      if (p.bh.size() > 0) b = detail::view_of(p.bh).columns(first, count);
      return detail::packed_linear<T>(detail::view_of(p.Wh).columns(first, count), b,
                                      activation::none);
    };
    gates_ = part(0, 2 * units);
    candidate_ = part(2 * units, units);
    before_ = true;
  }

  [[nodiscard]] index inputs() const { return products_.inputs(); }
  [[nodiscard]] index units() const { return products_.units(); }

  /// The next state, in the storage order of the last. \param policies  an executor, options.
  /// \throws shape_error  unless x and h fit the cell and each other.
  template <dense_expression X, dense_expression H, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const H& h, const Ps&... policies) const {
    plain_matrix_like<H> next = h;
    advance(x, next, policies...);
    return next;
  }
  /// The next state in place. With options{.workspace} it allocates nothing.
  template <dense_expression X, dense_expression H, class... Ps>
  void advance(const X& x, H&& h, const Ps&... policies) const {
    if constexpr (detail::check_scalars<X, H>() && detail::check_layer_policies<T, Ps...>()) {
      const detail::readable<X> in(x);
      const mutable_matrix_view<T> state = detail::writable_view(h);
      products_.sizes().check(in.view(), state, "state.cols()", x.rows());
      run(in.view(), state, nullptr, policies...);
    }
  }
  /// The states after each row of one sequence, n×units; h, 1×units, is the first and then the
  /// last.
  template <dense_expression X, dense_expression H, class... Ps>
  [[nodiscard]] auto sequence(const X& x, H&& h, const Ps&... policies) const {
    plain_matrix_like<X> states(x.rows(), units());
    if constexpr (detail::check_scalars<X, H>() && detail::check_layer_policies<T, Ps...>()) {
      const detail::readable<X> in(x);
      const mutable_matrix_view<T> state = detail::writable_view(h);
      products_.sizes().check(in.view(), state, "state.cols()", 1);
      const mutable_matrix_view<T> out = detail::writable_view(states);
      run(in.view(), state, &out, policies...);
    }
    return states;
  }

 private:
  template <class... Ps>
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& h,
           const mutable_matrix_view<T>* states, const Ps&... policies) const {
    const detail::layer_call call = detail::layer_call_of(products_.sizes().where, policies...);
    detail::run_layer<T>(call, scratch_size(X.rows, h.rows),
                         [&](const auto& scratch) { run(X, h, states, scratch, call); });
  }
  [[nodiscard]] index scratch_size(index inputs, index states) const {
    using cursor = detail::matrix_cursor<T>;
    return cursor::size(inputs, 3 * units()) + cursor::size(states, 3 * units()) +
           cursor::size(states, units());
  }
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& h,
           const mutable_matrix_view<T>* states, const detail::scratch_space<T>& scratch,
           const detail::layer_call& call) const {
    detail::matrix_cursor<T> cursor(scratch);
    const auto from_x = cursor.take(X.rows, 3 * units());
    const auto from_h = cursor.take(h.rows, 3 * units());
    const auto reset = cursor.take(h.rows, units());
    products_.of_inputs().run(call.isa, call.exec, X, from_x);
    detail::run_cell(from_x, h, states, [&](const mutable_matrix_view<T>& of_rows) {
      step(call, of_rows, h, from_h, reset);
    });
  }

  void step(const detail::layer_call& call, const mutable_matrix_view<T>& from_x,
            const mutable_matrix_view<T>& h, const mutable_matrix_view<T>& from_h,
            const mutable_matrix_view<T>& reset) const {
    const index u = units();
    const auto gate = [&](index i, index c) { return math::sigmoid(from_x(i, c) + from_h(i, c)); };
    if (before_) {
      gates_.run(call.isa, call.exec, detail::as_input(h), from_h.columns(0, 2 * u));
      for (index i = 0; i < h.rows; ++i)
        for (index c = 0; c < u; ++c) reset(i, c) = gate(i, c) * h(i, c);
      candidate_.run(call.isa, call.exec, detail::as_input(reset), from_h.columns(2 * u, u));
    } else {
      products_.of_state().run(call.isa, call.exec, detail::as_input(h), from_h);
      for (index i = 0; i < h.rows; ++i)
        for (index c = 0; c < u; ++c) from_h(i, 2 * u + c) *= gate(i, c);
    }
    for (index i = 0; i < h.rows; ++i)
      for (index c = 0; c < u; ++c) {
        const T z = gate(i, u + c), n = math::tanh(from_x(i, 2 * u + c) + from_h(i, 2 * u + c));
        h(i, c) = (T(1) - z) * n + z * h(i, c);
      }
  }

  detail::cell_products<T> products_;
  detail::packed_linear<T> gates_;      // of the state, where the reset comes first
  detail::packed_linear<T> candidate_;  // the same
  bool before_ = false;
};

/// A long short-term memory cell:
///   i, f, o = σ(x·Wx + bx + h·Wh + bh) of their gates,  g = tanh(x·Wx_g + bx_g + h·Wh_g + bh_g)
///   c' = f ∘ c + i ∘ g,  h' = o ∘ tanh(c')
///
/// \see Hochreiter and Schmidhuber, 1997; Gers et al., 2000 (the forget gate).
/// Computes what torch.nn.LSTMCell does.
///
/// X: n×inputs, hidden and cell: n×units.
template <class T>
class lstm_cell : public detail::lstm_calls<lstm_cell<T>, T> {
 public:
  /// \throws shape_error  unless the weights fit each other.
  explicit lstm_cell(const lstm_parameters<T>& p) : products_("lstm_cell", p, 4) {}

  [[nodiscard]] index inputs() const { return products_.inputs(); }
  [[nodiscard]] index units() const { return products_.units(); }

 private:
  friend detail::lstm_calls<lstm_cell, T>;
  [[nodiscard]] detail::cell_sizes sizes() const { return products_.sizes(); }
  [[nodiscard]] index scratch_size(index inputs, index states) const {
    using cursor = detail::matrix_cursor<T>;
    return cursor::size(inputs, 4 * units()) + cursor::size(states, 4 * units());
  }
  void run(const matrix_view<T>& X, const detail::lstm_views<T>& state,
           const mutable_matrix_view<T>* states, const detail::scratch_space<T>& scratch,
           const detail::layer_call& call) const {
    detail::matrix_cursor<T> cursor(scratch);
    const auto from_x = cursor.take(X.rows, 4 * units());
    const auto from_h = cursor.take(state.hidden.rows, 4 * units());
    products_.of_inputs().run(call.isa, call.exec, X, from_x);
    detail::run_cell(from_x, state.hidden, states, [&](const mutable_matrix_view<T>& of_rows) {
      step(call, of_rows, state.hidden, state.cell, from_h);
    });
  }

  void step(const detail::layer_call& call, const mutable_matrix_view<T>& from_x,
            const mutable_matrix_view<T>& h, const mutable_matrix_view<T>& c,
            const mutable_matrix_view<T>& from_h) const {
    const index u = units();
    products_.of_state().run(call.isa, call.exec, detail::as_input(h), from_h);
    const auto sum = [&](index i, index k) { return from_x(i, k) + from_h(i, k); };
    for (index i = 0; i < h.rows; ++i)
      for (index k = 0; k < u; ++k) {
        const T keep = math::sigmoid(sum(i, u + k)), take = math::sigmoid(sum(i, k));
        c(i, k) = keep * c(i, k) + take * math::tanh(sum(i, 2 * u + k));
        h(i, k) = math::sigmoid(sum(i, 3 * u + k)) * math::tanh(c(i, k));
      }
  }

  detail::cell_products<T> products_;
};

/// A simpler simple recurrent unit, whose gate and candidate depend on the input alone:
///   f = σ(x·Wf + bf),  c' = f ∘ c + (1 − f) ∘ (x·W),  h = max(0, c')
///
/// \see Kim et al., "From Research to Production and Back: Ludicrously Fast Neural Machine
///      Translation", 2019, section 3.1.
/// All products of a sequence are one, before its loop; a step reads no weights of the state.
///
/// X: n×inputs, hidden and cell: n×units. Cost: O(n·units·inputs).
template <class T>
class ssru_cell : public detail::lstm_calls<ssru_cell<T>, T> {
 public:
  /// \throws shape_error  unless the weights fit each other.
  explicit ssru_cell(const ssru_parameters<T>& p) : products_(joined(p)) {}

  [[nodiscard]] index inputs() const { return products_.inputs(); }
  [[nodiscard]] index units() const { return products_.outputs() / 2; }

 private:
  friend detail::lstm_calls<ssru_cell, T>;
  static constexpr const char* name_ = "ssru_cell";

  /// The gate and the candidate beside each other, one product.
  [[nodiscard]] static detail::packed_linear<T> joined(const ssru_parameters<T>& p) {
    const index inputs = p.W.rows(), units = p.W.cols();
    const char* rule = "the gate and the candidate have a column for each unit";
    detail::check_sizes(name_, "Wf.rows()", p.Wf.rows(), "W.rows()", inputs,
                        "both take a row of X");
    detail::check_sizes(name_, "Wf.cols()", p.Wf.cols(), "W.cols()", units, rule);
    const matrix_view<T> given =
        detail::checked_row(name_, "bf.size()", detail::view_of(p.bf), "W.cols()", units);
    typename ssru_parameters<T>::matrix both(inputs, 2 * units);
    both.leftCols(units) = p.Wf;
    both.rightCols(units) = p.W;
    typename ssru_parameters<T>::row bias(given.cols > 0 ? 2 * units : 0);
    for (index c = 0; c < bias.size(); ++c) bias[c] = c < units ? given(0, c) : T(0);
    return {detail::view_of(both), detail::view_of(bias), activation::none};
  }

  [[nodiscard]] detail::cell_sizes sizes() const { return {name_, inputs(), units()}; }
  [[nodiscard]] index scratch_size(index rows, index) const {
    return detail::matrix_cursor<T>::size(rows, products_.outputs());
  }
  void run(const matrix_view<T>& X, const detail::lstm_views<T>& state,
           const mutable_matrix_view<T>* states, const detail::scratch_space<T>& scratch,
           const detail::layer_call& call) const {
    const auto from_x = detail::matrix_cursor<T>(scratch).take(X.rows, products_.outputs());
    products_.run(call.isa, call.exec, X, from_x);
    detail::run_cell(from_x, state.hidden, states, [&](const mutable_matrix_view<T>& of_rows) {
      step(of_rows, state.hidden, state.cell);
    });
  }

  void step(const mutable_matrix_view<T>& from_x, const mutable_matrix_view<T>& h,
            const mutable_matrix_view<T>& c) const {
    const index u = units();
    for (index i = 0; i < h.rows; ++i)
      for (index k = 0; k < u; ++k) {
        const T keep = math::sigmoid(from_x(i, k));
        c(i, k) = keep * c(i, k) + (T(1) - keep) * from_x(i, u + k);
        h(i, k) = c(i, k) < T(0) ? T(0) : c(i, k);  // NaN stays
      }
  }

  detail::packed_linear<T> products_;
};

/// \}

SOFTLOOK_NAMESPACE_END
