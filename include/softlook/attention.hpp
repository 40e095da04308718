#pragma once

#include <tuple>
#include <utility>

#include "softlook/detail/call.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "softlook/mask/dense.hpp"
#include "softlook/mask/padding.hpp"
#include "softlook/mask/where.hpp"
#include "softlook/mask/window.hpp"
#include "softlook/score/additive.hpp"
#include "softlook/score/general.hpp"
#include "softlook/score/transform.hpp"
#include "softlook/score/trilinear.hpp"
#include "softlook/state.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup attention Softmax attention
/// Every query takes the mean of the values, weighted by the softmax of its scores; stored, in
/// tiles, or for few queries. Scores, transforms, masks and executors are policies of the same
/// call.
/// \cases tests/conformance/data/torch/sdpa, tests/conformance/data/onnx_attention/attention,
///        tests/conformance/data/other/flash_attention, tests/conformance/data/other/hf_attention,
///        tests/conformance/data/other/jax_attention
/// \program examples/causal_self_attention.cpp
/// \{

namespace detail {

template <class T>
[[nodiscard]] mutable_matrix_view<T> column_view(Eigen::Matrix<T, Eigen::Dynamic, 1>& x) {
  return {x.data(), x.rows(), 1, 1, x.rows()};
}

/// f(sorted call) of a call into O whose shapes are checked.
template <class Q, class K, class V, class O, class F, class... Ps>
void with_checked_call(const char* where, const Q& q, const K& k, const V& v, O& o, const F& f,
                       const Ps&... policies) {
  using T = scalar_of<Q>;
  const readable<Q> queries(q);
  const readable<K> keys(k);
  const readable<V> values(v);
  forward_call<T> given;
  given.where = where;
  given.Q = queries.view();
  given.K = keys.view();
  given.V = values.view();
  given.O = writable_view(o);
  sorted_call<T, Ps...> sorted(given, policies...);
  check_output(sorted.call);
  f(sorted);
}

/// Runs into O, and into the log-sum-exp if it has data.
template <class Q, class K, class V, class O, class... Ps>
void attend(const char* where, std::optional<kernel> forced, const Q& q, const K& k, const V& v,
            O& o, mutable_matrix_view<scalar_of<Q>> log_sum_exp, const Ps&... policies) {
  const auto run = [&](auto& sorted) {
    sorted.call.log_sum_exp = log_sum_exp;
    if (forced) sorted.call.opts.kernel = forced;
    sorted.run();
  };
  with_checked_call(where, q, k, v, o, run, policies...);
}

template <class Q, class K, class V, class... Ps>
[[nodiscard]] auto attend_state(const char* where, std::optional<kernel> forced, const Q& q,
                                const K& k, const V& v, const Ps&... policies) {
  using T = scalar_of<Q>;
  attention_state<plain_matrix_like<Q>> state{plain_matrix_like<Q>(q.rows(), v.cols()),
                                              Eigen::Matrix<T, Eigen::Dynamic, 1>(q.rows())};
  attend(where, forced, q, k, v, state.output, column_view(state.log_sum_exp), policies...);
  return state;
}

/// f(sorted call) for the functions that need no values.
template <class Q, class K, class F, class... Ps>
[[nodiscard]] auto with_scores(const char* where, const Q& q, const K& k, const F& f,
                               const Ps&... policies) {
  const readable<Q> queries(q);
  const readable<K> keys(k);
  forward_call<scalar_of<Q>> given;
  given.where = where;
  given.Q = queries.view();
  given.K = keys.view();
  given.V = given.K.columns(0, 0);
  const sorted_call<scalar_of<Q>, Ps...> sorted(given, policies...);
  return f(sorted);
}

}  // namespace detail

/// Scaled dot-product attention, or any other score,
///   O = softmax(scale · Q Kᵀ) V,
/// where the mask restricts each softmax to the keys that its query may attend to.
///
/// \see Vaswani et al., "Attention Is All You Need", 2017, Eq. (1).
/// Q: n×d, K: m×d, V: m×e -> O: n×e, a dynamic matrix in Q's storage order.
/// A query that may attend to no key, or whose scores are all −∞, gets a row of zeros.
/// \param policies  a score (default scaled_dot), transforms (applied as written), a mask, an
///                  executor, options: in any order, at most one of a kind but transforms.
/// \throws shape_error  unless K.cols() == Q.cols() (or the score's matrices fit) and
///         V.rows() == K.rows(); argument_error for a parameter out of range.
/// Cost: O(n·m·(d + e)) time; scratch per worker independent of n and m. Never stores n×m.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto attention(const Q& q, const K& k, const V& v, const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    plain_matrix_like<Q> o(q.rows(), v.cols());
    detail::attend("attention", {}, q, k, v, o, {}, policies...);
    return o;
  }
}

/// attention() into the caller's n×e matrix, block or map, which is never resized.
/// \throws argument_error  if O overlaps an input; nothing has been written then.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
void attention_into(const Q& q, const K& k, const V& v, O&& o, const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, O>()) {
    detail::attend("attention_into", {}, q, k, v, o, {}, policies...);
  }
}

/// attention() and the natural log-sum-exp of each row's scores (scaled, transformed, masked); −∞
/// for an empty row.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto attention_with_log_sum_exp(const Q& q, const K& k, const V& v,
                                              const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    return detail::attend_state("attention_with_log_sum_exp", {}, q, k, v, policies...);
  }
}

/// attention() by the tiled kernel, whatever the shape.
/// \see Dao et al., "FlashAttention", 2022; Dao, "FlashAttention-2", 2023, algorithm 1.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto flash_attention(const Q& q, const K& k, const V& v, const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    plain_matrix_like<Q> o(q.rows(), v.cols());
    detail::attend("flash_attention", kernel::tiled, q, k, v, o, {}, policies...);
    return o;
  }
}

/// attention_into() by the tiled kernel.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
void flash_attention_into(const Q& q, const K& k, const V& v, O&& o, const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, O>()) {
    detail::attend("flash_attention_into", kernel::tiled, q, k, v, o, {}, policies...);
  }
}

/// attention_with_log_sum_exp() by the tiled kernel.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto flash_attention_with_log_sum_exp(const Q& q, const K& k, const V& v,
                                                    const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    return detail::attend_state("flash_attention_with_log_sum_exp", kernel::tiled, q, k, v,
                                policies...);
  }
}

/// How a call would be computed.
struct attention_plan {
  softlook::kernel kernel = kernel::tiled;
  instruction_set isa = instruction_set::baseline;
  tile_shape tile{};                ///< tiled: keys in a tile, register tiles of queries in a task
  index keys_in_chunk = 0;          ///< few_queries: keys of a task
  index tasks = 0;                  ///< at a time
  index workers = 0;                ///< that get a task
  std::size_t scratch_bytes = 0;    ///< of all workers
  std::size_t projected_bytes = 0;  ///< projected inputs: O((n + m)·a), 0 for dot products
  std::string reason{};             ///< why this kernel
};

namespace detail {

template <class T, class... Ps>
[[nodiscard]] attention_plan describe(const sorted_call<T, Ps...>& sorted) {
  const forward_call<T>& c = sorted.call;
  const index concurrency = sorted.exec().concurrency;
  attention_plan out;
  out.isa = c.isa;
  out.projected_bytes = std::size_t(sizes_of_projections(c).total()) * sizeof(T);
  const planned_run run = plan_run(c, registers_of<T>(c.isa), concurrency);
  out.kernel = run.chosen.kernel;
  out.reason = run.chosen.reason;
  if (out.kernel == kernel::naive) {  // S and P of each head that is in progress
    out.tasks = c.query_heads;
    out.workers = std::min(concurrency, out.tasks);
    out.scratch_bytes = std::size_t(2 * out.workers * c.Q.rows * c.K.rows) * sizeof(T);
    return out;
  }
  out.tasks = run.tasks;
  out.workers = run.workers;
  out.scratch_bytes = std::size_t(run.workers * run.each + run.partials) * sizeof(T);
  if (out.kernel == kernel::tiled)
    out.tile = {run.chosen.tiled.key_tile, run.chosen.tiled.query_tiles};
  else
    out.keys_in_chunk = run.chosen.chunk;
  return out;
}

}  // namespace detail

/// What attention(Q, K, V, policies…) would do, without doing it: kernel, instruction set, tiles,
/// scratch and the reason. Of the matrices only the shapes matter.
/// \throws  as attention().
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] attention_plan plan_attention(const Q& q, const K& k, const V& v,
                                            const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    using T = detail::scalar_of<Q>;
    const detail::readable<Q> queries(q);
    const detail::readable<K> keys(k);
    const detail::readable<V> values(v);
    detail::forward_call<T> given;
    given.where = "plan_attention";
    given.Q = queries.view();
    given.K = keys.view();
    given.V = values.view();
    return detail::describe(detail::sorted_call<T, Ps...>(given, policies...));
  }
}

/// What naive_attention returns: output n×e, weights n×m, log-sum-exp n.
template <class Matrix>
struct naive_result {
  Matrix output;
  Matrix weights;
  typename attention_state<Matrix>::vector log_sum_exp;
};

/// Attention with everything stored: the baseline, and the one that shows its weights.
/// Cost: O(n·m) memory.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto naive_attention(const Q& q, const K& k, const V& v, const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    using T = detail::scalar_of<Q>;
    using matrix = plain_matrix_like<Q>;
    const detail::readable<Q> queries(q);
    const detail::readable<K> keys(k);
    const detail::readable<V> values(v);
    naive_result<matrix> result{
        matrix(q.rows(), v.cols()), {}, typename attention_state<matrix>::vector(q.rows())};
    detail::forward_call<T> given;
    given.where = "naive_attention";
    given.Q = queries.view();
    given.K = keys.view();
    given.V = values.view();
    given.O = detail::writable_view(result.output);
    given.log_sum_exp = detail::column_view(result.log_sum_exp);
    detail::sorted_call<T, Ps...> sorted(given, policies...);
    result.weights = detail::run_weights(sorted.call, sorted.exec()).front();
    return result;
  }
}

/// The n×m weights of attention(), without values:
///   P = softmax(scale · Q Kᵀ), restricted to the mask.
/// A query that may attend to no key gets a row of zeros.
template <dense_expression Q, dense_expression K, class... Ps>
[[nodiscard]] auto attention_weights(const Q& q, const K& k, const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, K, Ps...>()) {
    const auto weights = [](const auto& sorted) {
      return plain_matrix_like<Q>(detail::run_weights(sorted.call, sorted.exec()).front());
    };
    return detail::with_scores("attention_weights", q, k, weights, policies...);
  }
}

/// Where on their way the scores are looked at:
///   raw     scale · score
///   capped  after the transforms up to and with the last soft_cap
///   biased  after all transforms
///   masked  −∞ where the mask forbids
enum class stage { raw, capped, biased, masked };

namespace detail {

template <class F>
inline constexpr bool is_soft_cap = std::is_same_v<F, transforms::soft_cap>;

template <class... Ps>
[[nodiscard]] constexpr std::size_t transforms_until_capped() {
  constexpr bool transform[] = {transform_policy<Ps>..., false};
  constexpr bool cap[] = {is_soft_cap<Ps>..., false};
  std::size_t seen = 0, until = 0;
  for (std::size_t k = 0; k < sizeof...(Ps); ++k) {
    if (transform[k]) ++seen;
    if (cap[k]) until = seen;
  }
  return until;
}

template <class... Fs, std::size_t... I>
[[nodiscard]] constexpr auto first_steps(const transform_chain<Fs...>& chain,
                                         std::index_sequence<I...>) {
  return chain_of(std::make_tuple(std::get<I>(chain.steps)...));
}

/// The transforms up to and with the last soft_cap.
template <class T, class... Ps>
void cap_scores(const mutable_matrix_view<T>& S, problem shape, const Ps&... policies) {
  const auto chain = first_steps(transforms_of(policies...),
                                 std::make_index_sequence<transforms_until_capped<Ps...>()>{});
  using capping = edits<std::remove_cv_t<decltype(chain)>, masks::none>;
  const capping first{chain, {}};
  edit_matrix<T, capping>(&first, S, shape, false);
}

}  // namespace detail

/// The n×m scores at a stage; exactly what attention() softens.
template <dense_expression Q, dense_expression K, class... Ps>
[[nodiscard]] auto attention_scores(const Q& q, const K& k, stage at, const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, K, Ps...>()) {
    using T = detail::scalar_of<Q>;
    const auto scores = [&](const auto& sorted) {
      detail::row_major<T> S = detail::run_raw_scores(sorted.call, sorted.exec());
      const mutable_matrix_view<T> view{S.data(), S.rows(), S.cols(), S.cols(), 1};
      if (at == stage::capped)
        detail::cap_scores(view, sorted.call.shape(0), policies...);
      else if (at != stage::raw)
        sorted.call.policy.edit_matrix(sorted.call.policy.policies, view, sorted.call.shape(0),
                                       at == stage::masked);
      return plain_matrix_like<Q>(S);
    };
    return detail::with_scores("attention_scores", q, k, scores, policies...);
  }
}

/// \}

SOFTLOOK_NAMESPACE_END

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_INSTANTIATE_MASKS(extern, float)
SOFTLOOK_INSTANTIATE_MASKS(extern, double)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
#endif
