#pragma once

#include "softlook/gradient/transformer.hpp"
#include "softlook/mpi/attention.hpp"
#include "softlook/mpi/gradient.hpp"

// Not part of mpi.hpp: the way forward and back through layers whose rows lie on ranks. All but the
// attention goes row by row.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The attention inside a layer, over ranks.
template <class T, class... Ps>
class ranks_attention final : public inner_attention<T> {
 public:
  ranks_attention(const char* where, const mpi::communicator& comm, const mpi::partition& at,
                  const Ps&... ps)
      : where_(where), comm_(comm), at_(at), ps_(ps...) {}

  /// What a rank can check alone; the rest is agreed on with the first attention.
  void check(const multi_head_parameters<T>& p, const heads&, index, index) const override {
    if (own_keys(p) > 0)
      raise_argument(where_, "keys of the layer's own", double(own_keys(p)),
                     "rows on several ranks have none");
    p.rotary.check_end(where_, at_.rows());
  }
  void forward(const multi_head_parameters<T>& p, const heads& h,
               kept_attention<T>& kept) const override {
    turn(p, kept.Q, rotary_way::forward);
    turn(p, kept.K, rotary_way::forward);
    std::apply(
        [&](const Ps&... ps) {
          auto state =
              mpi::attention_with_log_sum_exp(comm_, kept.Q, kept.K, kept.V, at_, h, ps...);
          kept.O.swap(state.output);
          kept.log_sum_exp.swap(state.log_sum_exp);
        },
        ps_);
  }
  void backward(const multi_head_parameters<T>& p, const heads& h, kept_attention<T>& kept,
                multi_head_parameters<T>&) const override {
    std::apply(
        [&](const Ps&... ps) {
          kept.to = mpi::attention_backward(comm_, kept.Q, kept.K, kept.V, kept.O, kept.log_sum_exp,
                                            kept.dO, at_, h, ps...);
        },
        ps_);
    turn(p, kept.to.dQ, rotary_way::back);
    turn(p, kept.to.dK, rotary_way::back);
  }

 private:
  void turn(const multi_head_parameters<T>& p, row_major<T>& X, rotary_way way) const {
    if (!p.rotary) return;
    const mutable_matrix_view<T> rows = writable_view(X);
    for (const mpi::row_run& run : at_.runs(comm_.rank())) {
      const index step = run.stride == 1 ? run.count : 1;
      for (index k = 0; k < run.count; k += step)
        p.rotary.turn(rows.rows_from(run.local + k, step), run.global + k * run.stride, way);
    }
  }

  const char* where_;
  const mpi::communicator& comm_;
  const mpi::partition& at_;
  std::tuple<const Ps&...> ps_;
};

/// f(layer_call of the executor and the options among policies)
template <class... Ps>
[[nodiscard]] layer_call local_call_of(const char* where, const Ps&... ps) {
  return with_plain_policies([&](const auto&... plain) { return layer_call_of(where, plain...); },
                             ps...);
}

}  // namespace detail
namespace mpi {

/// \addtogroup mpi
/// \{

/// The way forward through a stack of encoder layers over a sequence whose rows lie on ranks: each
/// gives its rows of X and has its rows of saved.Y(). Collective. Weights are the same on all
/// ranks; rotary positions are those of the whole sequence.
/// \param policies  of attention(comm, …): a mask, transforms, dropout, an executor, options,
///        mpi::options.
/// \throws  as transformer_encoder_forward() on the rank that is wrong, and as mpi::attention();
///         argument_error where layers have keys of their own.
template <class T, dense_expression X, class... Ps>
const auto& transformer_encoder_forward(const communicator& comm,
                                        const transformer_encoder_parameters<T>& p,
                                        const transformer_layer_options& o, const X& x,
                                        saved_transformer_encoder<T>& saved, const partition& at,
                                        const Ps&... policies) {
  constexpr const char* where = "mpi::transformer_encoder_forward";
  const softlook::detail::readable<X> in(x);
  const softlook::detail::ranks_attention<T, Ps...> inner(where, comm, at, policies...);
  const softlook::detail::encoder_rows<T> rows{inner};
  softlook::detail::agree(comm, where, [&](softlook::detail::call_facts&) {
    softlook::detail::check_sizes(where, "X.rows()", x.rows(), "the rows that the partition gives",
                                  at.rows(comm.rank()), "each rank gives its own rows");
    softlook::detail::check_way_ahead<T>(where, p, o, in.view(), rows);
  });
  softlook::detail::go_ahead<T>(p, o, softlook::detail::local_call_of(where, policies...), rows,
                                in.view(), saved.rows);
  return saved.Y();
}
/// This rank's rows of dX, and what its rows add to the gradients of all weights: their sums over
/// ranks (sum_gradients()) are those of the sequence. Collective.
/// \throws  as transformer_encoder_backward(), on all ranks.
template <class T, dense_expression G, class... Ps>
const auto& transformer_encoder_backward(const communicator& comm,
                                         const transformer_encoder_parameters<T>& p,
                                         const transformer_layer_options& o,
                                         saved_transformer_encoder<T>& saved, const G& dY,
                                         transformer_encoder_parameters<T>& gradients,
                                         const partition& at, const Ps&... policies) {
  constexpr const char* where = "mpi::transformer_encoder_backward";
  softlook::detail::agree(comm, where, [&](softlook::detail::call_facts&) {
    softlook::detail::check_way_back(where, p, saved, dY, gradients);
    saved.dY = dY;
  });
  const softlook::detail::ranks_attention<T, Ps...> inner(where, comm, at, policies...);
  softlook::detail::go_back<T>(p, o, softlook::detail::local_call_of(where, policies...),
                               softlook::detail::encoder_rows<T>{inner}, saved, gradients);
  return saved.dX;
}

/// transformer_encoder_forward() of a stack whose rows see none behind them.
/// \param policies  a mask is joined to the causal one.
template <class T, dense_expression X, class... Ps>
const auto& causal_transformer_forward(const communicator& comm,
                                       const transformer_encoder_parameters<T>& p,
                                       const transformer_layer_options& o, const X& x,
                                       saved_transformer_encoder<T>& saved, const partition& at,
                                       const Ps&... policies) {
  softlook::detail::with_mask(
      masks::causal_top_left{},
      [&](const auto&... with) { transformer_encoder_forward(comm, p, o, x, saved, at, with...); },
      policies...);
  return saved.Y();
}
template <class T, dense_expression G, class... Ps>
const auto& causal_transformer_backward(const communicator& comm,
                                        const transformer_encoder_parameters<T>& p,
                                        const transformer_layer_options& o,
                                        saved_transformer_encoder<T>& saved, const G& dY,
                                        transformer_encoder_parameters<T>& gradients,
                                        const partition& at, const Ps&... policies) {
  softlook::detail::with_mask(
      masks::causal_top_left{},
      [&](const auto&... with) {
        transformer_encoder_backward(comm, p, o, saved, dY, gradients, at, with...);
      },
      policies...);
  return saved.dX;
}

/// \}

}  // namespace mpi
SOFTLOOK_NAMESPACE_END
