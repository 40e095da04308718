#pragma once

#include <tuple>
#include <utility>

#include "softlook/gradient/attention.hpp"
#include "softlook/gradient/detail/products.hpp"
#include "softlook/layer/multi_head.hpp"

// A multi-head attention on its way forward and back.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What the way back of a multi-head attention needs besides its inputs.
template <class T>
struct kept_attention {
  row_major<T> Q, K, V;       // projected, and turned
  row_major<T> own_K, own_V;  // keys of the layer's own, which no policy speaks of
  row_major<T> O;             // of all heads: n×(query·e)
  row_major<T> log_sum_exp;   // n×query
  row_major<T> dO;
  attention_gradients<row_major<T>> to, to_own;

  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = 0;
    for (const auto* m : {&Q, &K, &V, &own_K, &own_V, &O, &log_sum_exp, &dO, &to.dQ, &to.dK, &to.dV,
                          &to_own.dQ, &to_own.dK, &to_own.dV})
      all += bytes_of(*m);
    return all;
  }
};

template <class T>
[[nodiscard]] index own_keys(const multi_head_parameters<T>& p) {
  return index(p.bias_k.size() > 0) + index(p.add_zero_attn);
}

/// The attention inside a layer. It alone knows the policies, so that layers are compiled once.
template <class T>
class inner_attention {
 public:
  /// \throws shape_error, argument_error  unless the policies fit n queries and m keys.
  virtual void check(const multi_head_parameters<T>& p, const heads& h, index n, index m) const = 0;
  /// Turns Q and K, then O and log-sum-exp of Q, K, V.
  virtual void forward(const multi_head_parameters<T>& p, const heads& h,
                       kept_attention<T>& kept) const = 0;
  /// dQ, dK, dV of dO, turned back; and of the layer's own keys to these.
  virtual void backward(const multi_head_parameters<T>& p, const heads& h, kept_attention<T>& kept,
                        multi_head_parameters<T>& gradients) const = 0;

 protected:
  ~inner_attention() = default;
};

/// f(the executor and the options among the policies)
template <class F, class... Ps>
decltype(auto) with_plain_policies(const F& f, const Ps&... ps) {
  [[maybe_unused]] const auto plain = [](const auto& p) {
    using P = std::remove_cvref_t<decltype(p)>;
    if constexpr (executor<P> || is_options<P>)
      return std::tuple<const P&>(p);
    else
      return std::tuple<>();
  };
  return std::apply(f, std::tuple_cat(plain(ps)...));
}

template <class T, class... Ps>
class inner_attention_of final : public inner_attention<T> {
 public:
  explicit inner_attention_of(const char* where, const Ps&... ps) : where_(where), ps_(ps...) {}

  void check(const multi_head_parameters<T>& p, const heads& h, index n, index m) const override {
    if constexpr ((is_dropout<Ps> || ...))
      if (own_keys(p) > 0)
        raise_argument(where_, "keys of the layer's own", double(own_keys(p)),
                       "their gradients are not known together with dropout{…}");
    if constexpr ((std::is_same_v<Ps, padded_batch> || ...))
      if (own_keys(p) > 0)
        raise_argument(
            where_, "keys of the layer's own", double(own_keys(p)),
            "rows of padding would see them: give segments{…} instead of padded_batch{…}");
    with_call(p, h, n, m,
              [&](const attention_call<T>& call) { check_turned_positions(p.rotary, call); });
  }
  void forward(const multi_head_parameters<T>& p, const heads& h,
               kept_attention<T>& kept) const override {
    turn(p, h, kept, kept.Q, kept.K, rotary_way::forward);
    all([&](const Ps&... ps) {
      attend(kept.Q, kept.K, kept.V, kept.O, kept.log_sum_exp, h, ps...);
    });
    if (kept.own_K.rows() > 0)
      unmasked([&](const auto&... ps) {
        row_major<T> O(kept.O.rows(), kept.O.cols());
        row_major<T> L(kept.O.rows(), h.query);
        attend(kept.Q, kept.own_K, kept.own_V, O, L, h, ps...);
        using state = attention_state<row_major<T>, row_major<T>>;
        state both = merge(state{std::move(kept.O), std::move(kept.log_sum_exp)},
                           state{std::move(O), std::move(L)});
        kept.O.swap(both.output);
        kept.log_sum_exp.swap(both.log_sum_exp);
      });
  }
  void backward(const multi_head_parameters<T>& p, const heads& h, kept_attention<T>& kept,
                multi_head_parameters<T>& gradients) const override {
    all([&](const Ps&... ps) {
      attention_backward_into(kept.Q, kept.K, kept.V, kept.O, kept.log_sum_exp, kept.dO, kept.to, h,
                              ps...);
    });
    // Parts of one softmax have its output and log-sum-exp: their gradients add up.
    if (kept.own_K.rows() > 0)
      unmasked([&](const auto&... ps) {
        attention_backward_into(kept.Q, kept.own_K, kept.own_V, kept.O, kept.log_sum_exp, kept.dO,
                                kept.to_own, h, ps...);
        kept.to.dQ += kept.to_own.dQ;
        if (p.bias_k.size() == 0) return;
        gradients.bias_k += kept.to_own.dK.row(0);
        gradients.bias_v += kept.to_own.dV.row(0);
      });
    turn(p, h, kept, kept.to.dQ, kept.to.dK, rotary_way::back);
  }

 private:
  template <class F>
  void all(const F& f) const {
    std::apply(f, ps_);
  }
  template <class F>
  void unmasked(const F& f) const {
    all([&](const Ps&... ps) { with_plain_policies(f, ps...); });
  }
  template <class... Rest>
  void attend(const row_major<T>& Q, const row_major<T>& K, const row_major<T>& V, row_major<T>& O,
              row_major<T>& L, const heads& h, const Rest&... rest) const {
    using matrix = row_major<T>;
    bound_call<false, matrix, matrix, matrix, heads, Rest...> call(where_, Q, K, V, h, rest...);
    call.run(O, writable_view(L));
  }
  /// f(the call of n queries and m keys, known by its shape)
  template <class F>
  void with_call(const multi_head_parameters<T>& p, const heads& h, index n, index m,
                 const F& f) const {
    all([&](const Ps&... ps) {
      const stated_policies<T, heads, Ps...> stated(where_, h, ps...);
      f(stated.bind({nullptr, n, p.Wq.cols(), 0, 0}, {nullptr, m, p.Wk.cols(), 0, 0},
                    {nullptr, m, p.Wv.cols(), 0, 0}, {}, {}));
    });
  }
  void turn(const multi_head_parameters<T>& p, const heads& h, const kept_attention<T>& kept,
            row_major<T>& Q, row_major<T>& K, rotary_way way) const {
    if (!p.rotary) return;
    with_call(p, h, kept.Q.rows(), kept.K.rows(), [&](const attention_call<T>& call) {
      turn_by_position(p.rotary, call, writable_view(Q), writable_view(K), way);
    });
  }

  const char* where_;
  std::tuple<const Ps&...> ps_;
};

/// Inputs of a multi-head attention.
template <class View>
struct attention_rows {
  View Q, K, V;
};

/// \throws shape_error, argument_error  unless weights, heads, inputs and policies fit.
template <class T>
void check_attention_part(const char* where, const multi_head_parameters<T>& p, const heads& h,
                          const attention_rows<matrix_view<T>>& in,
                          const inner_attention<T>& inner) {
  check_attention_weights(where, p, h);
  const auto fits = [&](const char* name, index columns, const char* of, index rows) {
    check_sizes(where, name, columns, of, rows, "a row has an entry for each row of the weight");
  };
  fits("Q.cols()", in.Q.cols, "Wq.rows()", p.Wq.rows());
  fits("K.cols()", in.K.cols, "Wk.rows()", p.Wk.rows());
  fits("V.cols()", in.V.cols, "Wv.rows()", p.Wv.rows());
  check_sizes(where, "V.rows()", in.V.rows, "K.rows()", in.K.rows, "each key has one value");
  inner.check(p, h, in.Q.rows, in.K.rows);
}

/// Y = the layer. Everything is checked.
template <class T>
void attend_rows(matrix_products<T>& products, const multi_head_parameters<T>& p, const heads& h,
                 const attention_rows<matrix_view<T>>& in, const inner_attention<T>& inner,
                 kept_attention<T>& kept, const mutable_matrix_view<T>& Y) {
  const auto project = [&](const matrix_view<T>& X, const auto& W, const auto& b,
                           row_major<T>& to) {
    shape_as(to, X.rows, W.cols());
    products.multiply(X, view_of(W), writable_view(to), view_of(b));
  };
  project(in.Q, p.Wq, p.bq, kept.Q);
  project(in.K, p.Wk, p.bk, kept.K);
  project(in.V, p.Wv, p.bv, kept.V);
  const auto own = [&](const auto& bias, index columns, row_major<T>& to) {
    to.setZero(own_keys(p), own_keys(p) > 0 ? columns : 0);
    if (bias.size() > 0) to.row(0) = bias;
  };
  own(p.bias_k, p.Wk.cols(), kept.own_K);
  own(p.bias_v, p.Wv.cols(), kept.own_V);
  shape_as(kept.O, in.Q.rows, p.Wo.rows());
  shape_as(kept.log_sum_exp, in.Q.rows, h.query);
  inner.forward(p, h, kept);
  products.multiply(view_of(kept.O), view_of(p.Wo), Y, view_of(p.bo));
}

/// Gradients of weights and of inputs are added to; inputs that are one matrix have one gradient.
template <class T>
void attend_rows_back(matrix_products<T>& products, const multi_head_parameters<T>& p,
                      const heads& h, const attention_rows<matrix_view<T>>& in,
                      const inner_attention<T>& inner, kept_attention<T>& kept,
                      const matrix_view<T>& dY, multi_head_parameters<T>& gradients,
                      const attention_rows<mutable_matrix_view<T>>& to) {
  products.add(view_of(kept.O).transpose(), dY, writable_view(gradients.Wo));
  products.add_column_sums(dY, writable_view(gradients.bo));
  shape_as(kept.dO, kept.O.rows(), kept.O.cols());
  products.multiply(dY, view_of(p.Wo).transpose(), writable_view(kept.dO));
  inner.backward(p, h, kept, gradients);
  const auto back = [&](const matrix_view<T>& X, const row_major<T>& dS, const auto& W, auto& dW,
                        auto& db, const mutable_matrix_view<T>& dX) {
    products.add(X.transpose(), view_of(dS), writable_view(dW));
    products.add_column_sums(view_of(dS), writable_view(db));
    products.add(view_of(dS), view_of(W).transpose(), dX);
  };
  back(in.Q, kept.to.dQ, p.Wq, gradients.Wq, gradients.bq, to.Q);
  back(in.K, kept.to.dK, p.Wk, gradients.Wk, gradients.bk, to.K);
  back(in.V, kept.to.dV, p.Wv, gradients.Wv, gradients.bv, to.V);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
