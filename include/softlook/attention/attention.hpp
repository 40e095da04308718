#pragma once

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "softlook/attention/state.hpp"
#include "softlook/engine/call/bound_call.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "softlook/mask/dense.hpp"
#include "softlook/mask/padding.hpp"
#include "softlook/mask/where.hpp"
#include "softlook/mask/window.hpp"
#include "softlook/score/additive.hpp"
#include "softlook/score/general.hpp"
#include "softlook/score/trilinear.hpp"
#include "softlook/transform/transforms.hpp"

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

/// Room for the log-sum-exp of a call: n numbers, or n×heads where heads{…} is given.
template <class Matrix, class... Ps>
using state_of =
    std::conditional_t<(is_heads<Ps> || ...), multi_head_state<Matrix>, attention_state<Matrix>>;

template <reach Reach, class Q, class K, class V, class... Ps>
[[nodiscard]] auto attend_state(const char* where, const Q& q, const K& k, const V& v,
                                const Ps&... policies) {
  constexpr bool small = Reach == reach::any && is_small_call<Q, K, V, Ps...>();
  bound_call<small, Q, K, V, Ps...> call(where, q, k, v, policies...);
  using matrix = plain_matrix_like<Q>;
  using state = state_of<matrix, Ps...>;
  state out{matrix(q.rows(), call.output_columns()),
            typename state::log_sum_exp_type(q.rows(), call.call().query_heads)};
  call.template run<Reach>(out.output, writable_view(out.log_sum_exp));
  return out;
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
///                  executor, heads, a frame, options: in any order, at most one of a kind but
///                  transforms.
/// With heads{.query = h, .kv = g} heads lie side by side, Q: n×(h·d), K: m×(g·d), V: m×(g·e) ->
/// O: n×(h·e), each query head attends to its group's keys and values,
///   O_h = attention(Q_h, K_g, V_g),  g = h / (query / kv),
/// read in place; functors, biases and ALiBi slopes are told the query head.
/// \see Vaswani et al., 2017, section 3.2.2; Shazeer, 2019 (multi-query); Ainslie et al., 2023
///      (grouped).
/// \throws shape_error  unless K.cols() == Q.cols() (or the score's matrices fit),
///         V.rows() == K.rows(), heads divide the columns and kv divides query; argument_error for
///         a parameter out of range.
/// Cost: O(n·m·(d + e)) time; scratch per worker independent of n and m. Never stores n×m.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto attention(const Q& q, const K& k, const V& v, const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, V, Ps...>()) {
    return detail::bind_any("attention", q, k, v, policies...).output();
  }
}

/// attention() into the caller's n×e (or n×(query·e)) matrix, block or map, which is never resized.
/// \throws argument_error  if O overlaps an input; nothing has been written then.
template <dense_expression Q, row_expression K, row_expression V, dense_expression O, class... Ps>
void attention_into(const Q& q, const K& k, const V& v, O&& o, const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, V, Ps...>() &&
                detail::check_stored_scalars<Q, O>()) {
    detail::bind_any("attention_into", q, k, v, policies...).run(o);
  }
}

/// attention() and the natural log-sum-exp of each row's scores (scaled, transformed, masked), a
/// vector, or with heads{…} n×query; −∞ for an empty row.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto attention_with_log_sum_exp(const Q& q, const K& k, const V& v,
                                              const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, V, Ps...>()) {
    return detail::attend_state<detail::reach::any>("attention_with_log_sum_exp", q, k, v,
                                                    policies...);
  }
}

/// attention() by the tiled kernel, whatever the shape.
/// \see Dao et al., "FlashAttention", 2022; Dao, "FlashAttention-2", 2023, algorithm 1.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto flash_attention(const Q& q, const K& k, const V& v, const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, V, Ps...>()) {
    return detail::bind("flash_attention", q, k, v, policies...)
        .template output<detail::reach::tiled>();
  }
}

/// attention_into() by the tiled kernel.
template <dense_expression Q, row_expression K, row_expression V, dense_expression O, class... Ps>
void flash_attention_into(const Q& q, const K& k, const V& v, O&& o, const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, V, Ps...>() &&
                detail::check_stored_scalars<Q, O>()) {
    detail::bind("flash_attention_into", q, k, v, policies...)
        .template run<detail::reach::tiled>(o);
  }
}

/// attention_with_log_sum_exp() by the tiled kernel.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto flash_attention_with_log_sum_exp(const Q& q, const K& k, const V& v,
                                                    const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, V, Ps...>()) {
    return detail::attend_state<detail::reach::tiled>("flash_attention_with_log_sum_exp", q, k, v,
                                                      policies...);
  }
}

/// Columns of one head in a packed n×(heads·d) matrix; no copy.
template <dense_expression X>
[[nodiscard]] auto head_columns(X&& x, index head, index count) {
  static_assert(!detail::dying_matrix<X>,
                "softlook: head_columns looks at its matrix; give it one that outlives the block");
  if (count < 1 || x.cols() % count != 0)
    detail::raise_sizes("head_columns", "X.cols()", x.cols(), "the number of heads", count,
                        "every head has the same number of columns");
  if (head < 0 || head >= count)
    detail::raise_argument("head_columns", "head", double(head),
                           "it must lie between 0 and " + std::to_string(count - 1));
  const index width = x.cols() / count;
  return x.middleCols(head * width, width);
}

/// How a call would be computed.
struct attention_plan {
  softlook::kernel kernel = kernel::tiled;
  instruction_set isa = instruction_set::baseline;
  tile_shape tile{};                ///< tiled: keys in a tile, register tiles of queries in a task
  index keys_in_chunk = 0;          ///< few_queries: keys of a task
  index tasks = 0;                  ///< at a time
  index workers = 0;                ///< that get a task
  std::size_t scratch_bytes = 0;    ///< of all workers, at most: a step over few keys takes none
  std::size_t projected_bytes = 0;  ///< projected inputs: O((n + m)·a), 0 for dot products
  std::string reason{};             ///< why this kernel
};

namespace detail {

template <class T>
[[nodiscard]] attention_plan describe(const attention_call<T>& c) {
  const index concurrency = c.exec.concurrency;
  attention_plan out;
  out.isa = c.isa;
  out.projected_bytes = std::size_t(sizes_of_inputs(c).total()) * sizeof(T);
  const planned_run run = plan_run(c, shape_of(c));
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
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] attention_plan plan_attention(const Q& q, const K& k, const V& v,
                                            const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, V, Ps...>()) {
    auto call = detail::bind("plan_attention", q, k, v, policies...);
    if constexpr (detail::is_small_call<Q, K, V, Ps...>()) {
      attention_plan plan;
      plan.kernel = kernel::naive;
      plan.isa = call.call().isa;
      plan.tasks = plan.workers = 1;
      plan.reason = "the types say that the matrices are small: plain loops, without a kernel";
      return plan;
    } else {
      return detail::describe(call.call());
    }
  }
}

/// What naive_attention returns: output n×e, weights n×m, log-sum-exp n; with heads{…} the weights
/// are a vector of matrices, one for each query head, and the log-sum-exp is n×query.
template <class Matrix, class Weights = Matrix, class State = attention_state<Matrix>>
struct naive_result {
  Matrix output;
  Weights weights;
  typename State::log_sum_exp_type log_sum_exp;
};

/// Attention with everything stored: the baseline, and the one that shows its weights.
/// Cost: O(n·m) memory for each head.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto naive_attention(const Q& q, const K& k, const V& v, const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, V, Ps...>()) {
    using matrix = detail::wide_matrix_like<Q>;
    using T = typename matrix::Scalar;
    using state = detail::state_of<matrix, Ps...>;
    using weights = decltype(detail::of_heads<matrix, T, Ps...>({}));
    auto call = detail::bind("naive_attention", q, k, v, policies...);
    auto& c = call.call();
    naive_result<matrix, weights, state> result{
        matrix(q.rows(), call.output_columns()),
        {},
        typename state::log_sum_exp_type(q.rows(), c.query_heads)};
    c.O = detail::writable_view(result.output);
    c.log_sum_exp = detail::writable_view(result.log_sum_exp);
    result.weights = detail::of_heads<matrix, T, Ps...>(call.stored());
    return result;
  }
}

/// The n×m weights of attention(), without values:
///   P = softmax(scale · Q Kᵀ), restricted to the mask.
/// A query that may attend to no key gets a row of zeros. With heads{…} a vector of matrices, one
/// for each query head.
template <dense_expression Q, row_expression K, class... Ps>
[[nodiscard]] auto attention_weights(const Q& q, const K& k, const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, K, Ps...>()) {
    using matrix = detail::wide_matrix_like<Q>;
    return detail::bind_any("attention_weights", q, k, detail::no_values{}, policies...)
        .template weights_as<matrix>();
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

/// The scores of every query head become those at a stage; `capping` are the transforms up to the
/// soft cap.
template <class T>
[[nodiscard]] std::vector<row_major<T>> scores_at(stage at, std::vector<row_major<T>> all,
                                                  const attention_call<T>& c,
                                                  const transform_calls<T>& capping) {
  policy_calls<T> calls = c.policy;
  if (at == stage::capped) calls.transform = capping;
  for (index head = 0; head < c.query_heads; ++head) {
    const mutable_matrix_view<T> S = view_of_scores(all[std::size_t(head)]);
    if (at != stage::raw) transform_matrix(calls, c.frame, c.problem_of(head), S);
    if (at == stage::masked) mask_matrix(calls, c.frame, c.problem_of(head), S);
  }
  return all;
}

/// The transforms up to and with the last soft_cap.
template <class T, class... Ps>
[[nodiscard]] auto capping_of(const stated_policies<T, Ps...>& policies) {
  return first_steps(policies.transforms(),
                     std::make_index_sequence<transforms_until_capped<Ps...>()>{});
}

}  // namespace detail

/// The n×m scores at a stage; exactly what attention() softens. With heads{…} a vector of matrices,
/// one for each query head.
template <dense_expression Q, row_expression K, class... Ps>
[[nodiscard]] auto attention_scores(const Q& q, const K& k, stage at, const Ps&... policies) {
  if constexpr (detail::check_stored_types<Q, K, K, Ps...>()) {
    using matrix = detail::wide_matrix_like<Q>;
    using T = typename matrix::Scalar;
    auto call = detail::bind("attention_scores", q, k, detail::no_values{}, policies...);
    const auto capping = detail::capping_of(call.policies());
    auto raw = call.raw_scores();
    return detail::of_heads<matrix, T, Ps...>(detail::scores_at(
        at, std::move(raw), call.call(), detail::calls_of_transform<T>(capping, call.call().isa)));
  }
}

/// \}

SOFTLOOK_NAMESPACE_END

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_INSTANTIATE_MASKS(extern, float)
SOFTLOOK_INSTANTIATE_MASKS(extern, double)
SOFTLOOK_INSTANTIATE_TRANSFORMS(extern, float)
SOFTLOOK_INSTANTIATE_TRANSFORMS(extern, double)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
#endif
