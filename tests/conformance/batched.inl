// The standard policies of batched.hpp, instantiated once per scalar by batched_float.cpp and
// batched_double.cpp: the kernels of every combination are what takes time to compile.
#include "batched.hpp"

namespace conformance {
namespace detail {

/// Every mask of the call in one expression; what is not asked for is there in a form that allows
/// everything.
template <class Run>
auto with_combined_mask(const mask_parts& parts, const bool_matrix& allowed, index n, index m,
                        const Run& then) {
  namespace masks = softlook::masks;
  index offset = parts.causal_offset.value_or(m);
  if (parts.causal == mask_parts::diagonal::top_left) offset = 0;
  if (parts.causal == mask_parts::diagonal::bottom_right) offset = m - n;
  return then(parts.window.value_or(masks::window{}) & masks::causal{.offset = offset} &
              masks::padding{.length = parts.length.value_or(m)} & masks::dense(allowed));
}

/// The mask in its own type where there is only one.
template <class Run>
auto with_mask(const mask_parts& parts, const bool_matrix* allowed, index n, index m,
               const Run& then) {
  namespace masks = softlook::masks;
  const bool causal = parts.causal != mask_parts::diagonal::none;
  const int count = int{causal} + int{parts.causal_offset.has_value()} +
                    int{parts.window.has_value()} + int{parts.length.has_value()} +
                    int{allowed != nullptr};
  if (count == 0) return then(masks::none{});
  if (count == 1) {
    if (parts.causal == mask_parts::diagonal::top_left) return then(masks::causal_top_left{});
    if (causal) return then(masks::causal_bottom_right{});
    if (parts.causal_offset) return then(masks::causal{.offset = *parts.causal_offset});
    if (parts.window) return then(*parts.window);
    if (parts.length) return then(masks::padding{.length = *parts.length});
    return then(masks::dense(*allowed));
  }
  const bool_matrix everything = bool_matrix::Constant(n == 1 ? n : 1, m == 1 ? m : 1, true);
  return with_combined_mask(parts, allowed != nullptr ? *allowed : everything, n, m, then);
}

/// Transforms meet either no mask or the combined one: each pair of types is a kernel to compile.
template <class T, class Run>
auto with_policies(const attention_call& call, const mask_parts& parts, const bool_matrix* allowed,
                   const matrix<T>& B, const Run& then) {
  namespace transforms = softlook::transforms;
  const index n = call.Q.rows, m = call.K.rows;
  const bool masked = parts.causal != mask_parts::diagonal::none || parts.causal_offset ||
                      parts.window || parts.length || allowed != nullptr;
  const bool_matrix everything = bool_matrix::Constant(1, 1, true);
  const bool_matrix& dense = allowed != nullptr ? *allowed : everything;
  const auto with_any_mask = [&](const auto&... transform) {
    if (!masked) return then(transform...);
    return with_combined_mask(parts, dense, n, m,
                              [&](const auto& mask) { return then(transform..., mask); });
  };
  if (call.soft_cap && call.bias)
    return with_any_mask(transforms::soft_cap{*call.soft_cap}, transforms::bias(B));
  if (call.soft_cap) return with_any_mask(transforms::soft_cap{*call.soft_cap});
  if (call.bias) return with_any_mask(transforms::bias(B));
  return with_mask(parts, allowed, n, m, [&](const auto& mask) { return then(mask); });
}

}  // namespace detail

template <class T>
attention_answer run(const mode& m, const attention_call& call) {
  attention_answer answer;
  const index n = call.Q.rows, keys = call.K.rows;
  if (call.wants_scores) {
    check(call);
    answer.scores = grid::zeros(call.Q.batches, call.Q.heads, n, keys);
  }
  const auto solve = [&](head_problem<T>& p, index b, index h) {
    const bool_matrix allowed =
        call.allowed ? bool_matrix((call.allowed->head<double>(b, h).array() != 0).matrix())
                     : bool_matrix();
    const matrix<T> B = call.bias ? call.bias->head<T>(b, h) : matrix<T>();
    if (call.bias) p.added += live_bias_magnitude(B, p.scores().magnitude);
    if (call.soft_cap) p.added += *call.soft_cap;
    return detail::with_policies<T>(
        call, call.mask(b), call.allowed ? &allowed : nullptr, B, [&](const auto&... policies) {
          if (call.wants_scores) {
            const auto S = attend_scores(m, p, *call.wants_scores, policies...);
            for (index k = 0; k < p.query_heads; ++k)
              answer.scores.set_head<T>(b, h + k, S[static_cast<std::size_t>(k)]);
          }
          return attend(m, p, policies...);
        });
  };
  attention_answer rest = for_each_problem<T>(m, call, solve);
  rest.scores = std::move(answer.scores);
  return rest;
}

}  // namespace conformance
