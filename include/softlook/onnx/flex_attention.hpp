#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "softlook/onnx/detail/heads.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace onnx {

/// \addtogroup onnx
/// \{

template <class T>
struct flex_attention_inputs {
  tensor<const T> Q;  ///< (B, H, n, d)
  tensor<const T> K;  ///< (B, G, m, d), H a multiple of G
  tensor<const T> V;  ///< (B, G, m, e)
};

struct flex_attention_attributes {
  std::optional<double> scale{};  ///< 1/√d
  int softmax_precision = 0;      ///< as in attention()
};

template <class T>
struct flex_attention_outputs {
  tensor<T> Y;  ///< (B, H, n, e)
};

/// The subgraph score_mod as a function: f(score, sequence, head, query, key) → score. −∞ forbids
/// the pair. Indices are std::int32_t; see transforms::map for what is vectorised.
template <class F>
struct score_mod {
  F f;
  explicit score_mod(F function) : f(std::move(function)) {}
};
template <class F>
score_mod(F) -> score_mod<F>;

/// The subgraph prob_mod as a function: f(weight, sequence, head, query, key) → weight. Only stored
/// weights can be changed, so such a call keeps n×m numbers for each worker.
template <class F>
struct prob_mod {
  F f;
  explicit prob_mod(F function) : f(std::move(function)) {}
};
template <class F>
prob_mod(F) -> prob_mod<F>;

namespace detail {

inline constexpr const char* in_flex_attention = "onnx::flex_attention";

/// f as a function of (number, query, key, problem).
template <class F>
struct modified {
  using policy_kind = transform_kind;
  F f;

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    static_assert(
        std::is_invocable_v<const F&, S, std::int32_t, std::int32_t, std::int32_t, std::int32_t>,
        "softlook: score_mod and prob_mod take f(x, sequence, head, query, key)");
    return static_cast<S>(f(s, p.sequence, p.head, i, j));
  }
};

template <template <class> class Mod, class P>
inline constexpr bool is_mod = false;
template <template <class> class Mod, class F>
inline constexpr bool is_mod<Mod, Mod<F>> = true;

/// g(modified) of the policy of one kind, or g().
template <template <class> class Mod, class G>
void with_mod(const G& g) {
  g();
}
template <template <class> class Mod, class G, class P, class... Ps>
void with_mod(const G& g, [[maybe_unused]] const P& p, const Ps&... ps) {
  if constexpr (is_mod<Mod, P>)
    g(modified<decltype(p.f)>{p.f});
  else
    with_mod<Mod>(g, ps...);
}

template <class... Ps>
constexpr bool check_flex_policies() {
  using softlook::detail::at_most_one;
  constexpr bool known =
      ((runs_a_call<Ps> || is_mod<score_mod, Ps> || is_mod<prob_mod, Ps>) && ...);
  constexpr bool single =
      at_most_one<executor<Ps>...> && at_most_one<std::is_same_v<Ps, options>...> &&
      at_most_one<is_mod<score_mod, Ps>...> && at_most_one<is_mod<prob_mod, Ps>...>;
  static_assert(known,
                "softlook: flex_attention takes onnx::score_mod(f), onnx::prob_mod(f), an "
                "executor and options{…}");
  static_assert(single, "softlook: give at most one score_mod, prob_mod, executor and options{…}");
  return known && single;
}

template <class T>
void check(const flex_attention_inputs<T>& in, const flex_attention_attributes& a,
           const flex_attention_outputs<T>& out) {
  const char* where = in_flex_attention;
  require_given(where, "Q", in.Q);
  require_given(where, "K", in.K);
  require_given(where, "V", in.V);
  require_given(where, "Y", out.Y);
  check_tensor(where, "Q", in.Q, 4, "it is (batch, heads, queries, features)");
  check_tensor(where, "K", in.K, 4, "it is (batch, heads, keys, features)");
  check_tensor(where, "V", in.V, 4, "it is (batch, heads, keys, features)");
  const extents &Q = in.Q.shape, &K = in.K.shape, &V = in.V.shape;
  check_shape(where, "K", in.K, {Q[0], K[1], K[2], Q[3]},
              "queries and keys share one feature size");
  check_shape(where, "V", in.V, {Q[0], K[1], K[2], V[3]}, "each key has one value");
  softlook::detail::check_heads(where, Q[1], K[1]);
  softlook::detail::check_positions(where, "the queries", Q[2]);
  softlook::detail::check_positions(where, "the keys", K[2]);
  check_shape(where, "Y", out.Y, {Q[0], Q[1], Q[2], V[3]}, "a value for each query and head");
  check_apart(where, "Y", out.Y, "Q", in.Q);
  check_apart(where, "Y", out.Y, "K", in.K);
  check_apart(where, "Y", out.Y, "V", in.V);
  check_softmax_precision(where, a.softmax_precision);
}

/// O = f(P) V of one head; what has the weight 0 touches nothing.
template <class T, class F>
void mix_values(const row_major<T>& P, const matrix_view<T>& V, const problem& p, const F& f,
                const mutable_matrix_view<T>& O) {
  for (index i = 0; i < O.rows; ++i) {
    T* const to = O.data + i * O.row_stride;
    std::fill_n(to, O.cols, T(0));
    for (index j = 0; j < V.rows; ++j) {
      const T weight = f(P(i, j), std::int32_t(i), std::int32_t(j), p);
      const T* const value = V.data + j * V.row_stride;
      if (weight != T(0))
        for (index c = 0; c < O.cols; ++c) to[c] += weight * value[c];
    }
  }
}

/// Q, K, V and the result of a checked call.
template <class T, class Stored>
struct flex_heads {
  tensor_view<const T> Q;
  tensor_view<const Stored> K;
  tensor_view<const Stored> V;
  tensor_view<T> O;
};

/// With weights that are stored and changed.
template <class T, class Stored, class F, class... Transform>
void attend_stored(const softlook::detail::executor_ref& exec, const flex_heads<T, Stored>& x,
                   const options& o, const F& f, const Transform&... transform) {
  const softlook::detail::stated_policies<T, Transform...> stated(
      softlook::detail::layer_call_of(in_flex_attention, o), transform...);
  const shown_call<T> call{o.isa.value(), T(o.scale.value()), (*stated).policy};
  for_each_head(exec, x.Q, x.K.rows, [&](const problem& p) {
    const matrix_as<T, Stored> V(x.V, p.sequence, p.head / (p.heads / std::int32_t(x.V.heads)));
    mix_values(scores_of(call, x.Q, x.K, p, shown::weights), V.view(), p, f,
               matrix_of(x.O, p.sequence, p.head));
  });
}

template <class T, class... Ps>
void attend(const flex_attention_inputs<T>& in, const flex_attention_attributes& a,
            const flex_attention_outputs<T>& out, const Ps&... ps) {
  using scalar = arithmetic<T>;
  check(in, a, out);
  const options o = options_with<T>(in_flex_attention, softlook::detail::options_of(ps...), a.scale,
                                    in.Q.shape[3]);
  const numbers_as<scalar, T> queries(in.Q);
  numbers_from<scalar, T> results(out.Y);
  const index heads = in.K.shape[1];
  const flex_heads<scalar, T> x{heads_of(queries.read(), in.Q.shape[1]), heads_of(in.K, heads),
                                heads_of(in.V, heads), heads_of(results.write(), in.Q.shape[1])};
  with_mod<score_mod>(
      [&](const auto&... transform) {
        if constexpr ((is_mod<prob_mod, Ps> || ...))
          with_mod<prob_mod>(
              [&](const auto&... f) {
                attend_stored(softlook::detail::exec_of(ps...), x, o, f..., transform...);
              },
              ps...);
        else
          with_executor(
              [&](const auto&... exec) {
                attention_into(x.Q, x.K, x.V, x.O, transform..., o, exec...);
              },
              ps...);
      },
      ps...);
  results.store();
}

}  // namespace detail

/// ONNX FlexAttention of the domain ai.onnx.preview:
///   Y = prob_mod(softmax(score_mod(scale · Q Kᵀ))) V
///
/// \see https://github.com/onnx/onnx/blob/main/docs/Operators.md (ai.onnx.preview.FlexAttention)
/// The subgraphs are functions: onnx::score_mod(f), onnx::prob_mod(f), in any order with an
/// executor and options{…}, whose scale is unset. Without prob_mod nothing of size n×m is stored;
/// with it the weights of a head are, and a changed weight of 0 leaves its value out, whatever that
/// holds. A query all of whose scores are −∞ gets weights of 0.
/// \throws as attention().
/// Cost: as softlook::attention(); with prob_mod plain loops over stored weights.
template <class T, class... Ps>
void flex_attention(const flex_attention_inputs<T>& in, const flex_attention_attributes& attributes,
                    const flex_attention_outputs<T>& out, const Ps&... policies) {
  static_assert(real_scalar<softlook::detail::arithmetic<T>>,
                "softlook: tensors are of float, double, Eigen::half or Eigen::bfloat16");
  if constexpr (detail::check_flex_policies<Ps...>())
    detail::attend(in, attributes, out, policies...);
}

/// \}

}  // namespace onnx
SOFTLOOK_NAMESPACE_END
