#pragma once

#include <utility>
#include <vector>

#include "softlook/attention/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup positional_attention Positional attention
/// Weights from learned positions alone: no token has a say in what is attended to.
/// \cases tests/unit/attention/positional_test.cpp
/// \{

/// Learned logits S(i, j) of position i for position j, (heads·N)×M, a block of N rows for each
/// query head. A view of S; keep it alive.
template <class T>
class position_logits {
 public:
  using scalar = T;

  explicit position_logits(detail::kept_view<T> S) : S_(S) {}

  [[nodiscard]] matrix_view<T> logits() const { return S_; }

 private:
  matrix_view<T> S_;
};

template <class M>
position_logits(M&&) -> position_logits<detail::scalar_of<M>>;

/// Learned logits of low rank, S = P1·P2ᵀ in each head: P1: N×(query·r), P2: M×(kv·r), heads side
/// by side. Views; keep both alive.
template <class T>
class position_factors {
 public:
  using scalar = T;

  position_factors(detail::kept_view<T> P1, detail::kept_view<T> P2) : P1_(P1), P2_(P2) {}

  [[nodiscard]] matrix_view<T> queries() const { return P1_; }
  [[nodiscard]] matrix_view<T> keys() const { return P2_; }

 private:
  matrix_view<T> P1_;
  matrix_view<T> P2_;
};

template <class A, class B>
position_factors(A&&, B&&) -> position_factors<detail::scalar_of<A>>;

namespace detail {

template <class P>
inline constexpr bool is_position_logits = false;
template <class T>
inline constexpr bool is_position_logits<position_logits<T>> = true;
template <class P>
inline constexpr bool is_position_factors = false;
template <class T>
inline constexpr bool is_position_factors<position_factors<T>> = true;

template <class P>
concept learned_logits = is_position_logits<P> || is_position_factors<P>;

/// Replaces the score, which is a sum over no features, by a learned logit.
template <class T>
struct read_logits {
  using policy_kind = transform_kind;
  matrix_view<T> S;
  index rows_of_head = 0;
  double scale = 1;

  template <class R>
  [[nodiscard]] R operator()(R, std::int32_t i, std::int32_t j, problem p) const {
    return static_cast<R>(scale) * static_cast<R>(S(rows_of_head * p.head + i, j));
  }
};

/// The loops read all positions of a call without asking again.
inline void check_learned(const char* where, const char* name, index learned, index positions) {
  if (learned < positions)
    raise_sizes(where, name, learned, "the number of positions", positions,
                "there is a learned position for each token");
}

template <class T>
void check_position_logits(const char* where, const matrix_view<T>& S, index n, index query_heads) {
  if (S.rows % query_heads != 0)
    raise_sizes(where, "position_logits rows()", S.rows, "heads.query", query_heads,
                "there is a block of learned logits for each query head");
  check_learned(where, "position_logits rows() of a head", S.rows / query_heads, n);
  check_learned(where, "position_logits cols()", S.cols, n);
}

template <class T>
void check_position_factors(const char* where, const position_factors<T>& p, index n,
                            const heads& h) {
  const matrix_view<T> P1 = p.queries(), P2 = p.keys();
  check_columns_of_heads(where, "position_factors P1.cols()", P1.cols, "heads.query", h.query);
  check_columns_of_heads(where, "position_factors P2.cols()", P2.cols, "heads.kv", h.kv_or_query());
  check_sizes(
      where, "position_factors P2.cols()", P2.cols / h.kv_or_query(), "P1.cols()",
      P1.cols / h.query,
      h.query == 1 ? "both factors have one rank" : "both factors have one rank in each head");
  check_learned(where, "position_factors P1.rows()", P1.rows, n);
  check_learned(where, "position_factors P2.rows()", P2.rows, n);
}

/// f(the call of n positions with these values), checked but for its output; what was learned
/// overlaps no output.
template <class T, class P, class F, class... Ps>
decltype(auto) with_positions(const char* where, const P& learned, index n, const matrix_view<T>& V,
                              const mutable_matrix_view<T>& O, const F& f, const Ps&... policies) {
  static_assert(!(score_policy<Ps> || ...),
                "softlook: positional attention takes no score: its scores are learned");
  static_assert(!((is_frame<Ps> || is_sequences<Ps>) || ...),
                "softlook: positional attention has a row for every position: leave frame{…} out");
  const heads h = heads_of(policies...);
  check_heads(where, h.query, h.kv_or_query());
  check_columns_of_heads(where, "V.cols()", V.cols, "heads.kv", h.kv_or_query());
  check_positions(where, "V.rows()", n);
  const auto overlaps = [&](const char* name, const matrix_view<T>& X) {
    check_overlap(where, name, O, X);
  };
  if constexpr (is_position_logits<P>) {
    const matrix_view<T> S = learned.logits(), none{nullptr, n, 0, 1, 1};
    check_position_logits(where, S, n, h.query);
    overlaps("S", S);
    const read_logits<T> read{S, S.rows / h.query, options_of(policies...).scale.value_or(1)};
    const sorted_policies<T, scores::dot, read_logits<T>, Ps...> sorted(where, scores::dot{}, read,
                                                                        policies...);
    return f(sorted.bind(none, none, V));
  } else {
    check_position_factors(where, learned, n, h);
    overlaps("P1", learned.queries());
    overlaps("P2", learned.keys());
    const sorted_policies<T, scores::dot, Ps...> sorted(where, scores::dot{}, policies...);
    return f(sorted.bind(learned.queries().rows_from(0, n), learned.keys().rows_from(0, n), V));
  }
}

template <class P, class V, class O, class... Ps>
void attend_positions(const char* where, const P& learned, const V& v, O& o,
                      const Ps&... policies) {
  using T = scalar_of<V>;
  check_sizes(where, "O.rows()", o.rows(), "V.rows()", v.rows(), "one output row for each token");
  const readable<V> values(v);
  const mutable_matrix_view<T> out = writable_view(o);
  const auto attend = [&](attention_call<T> call) {
    call.O = out;
    check_output(call);
    run(call);
  };
  with_positions(where, learned, v.rows(), values.view(), out, attend, policies...);
}

template <class P, class... Ps>
[[nodiscard]] std::vector<row_major<typename P::scalar>> weights_of_positions(
    const char* where, const P& learned, index n, const Ps&... policies) {
  using T = typename P::scalar;
  if (n < 0) raise_argument(where, "n", double(n), "a number of positions is at least 0");
  const matrix_view<T> none{nullptr, n, 0, 1, 1};
  const auto weights = [](const attention_call<T>& call) { return run_weights<false>(call); };
  return with_positions(where, learned, n, none, mutable_matrix_view<T>{}, weights, policies...);
}

/// The scalars of the learned positions and of the values, and the policies.
template <class P, class V, class... Ps>
constexpr bool check_position_types() {
  constexpr bool same = std::is_same_v<typename P::scalar, scalar_of<V>>;
  static_assert(same, "softlook: learned positions and values must share one scalar type");
  if constexpr (same)
    return check_types<V, V, V, Ps...>();
  else
    return false;
}

}  // namespace detail

/// Attention by position: what is attended to was learned for each pair of positions, whatever the
/// tokens are,
///   O = softmax(S) V,  S = P1·P2ᵀ for position_factors{P1, P2},
/// where the mask restricts each softmax.
///
/// \see Luo et al., "Learning Positional Attention for Sequential Recommendation", 2024 (PARec and,
///      with factors, FPARec; both causal: masks::causal_top_left{}; there logits are divided by
///      √d and a temperature: options{.scale = …}).
/// \see Tay et al., "Synthesizer: Rethinking Self-Attention in Transformer Models", 2020, random
///      and factorized random Synthesizer: the same call, V = G(X).
/// V: n×e -> O: n×e, in V's storage order; with heads{…} V: n×(kv·e) -> O: n×(query·e), and each
/// query head has logits of its own. Where more than n positions were learned, the first n are
/// used. A position that may attend to no other gets a row of zeros.
/// \param learned   position_logits or position_factors, of V's scalar type.
/// \param policies  transforms (they get the logits), a mask, heads, an executor, options as in
///                  attention(); options::scale multiplies the logits, its default is 1.
/// \throws shape_error  unless n positions were learned and the factors have one rank;
///         argument_error for a parameter out of range.
/// Cost: O(n²·e) time with logits, O(n²·(r + e)) with factors, which are queries and keys of
/// attention() and never make an n×n matrix. Reading logits costs as much as the rest from a few
/// hundred positions on, because they come from memory: factors of rank 16 take half the time at
/// n = 2000, e = 64.
template <detail::learned_logits P, dense_expression V, class... Ps>
[[nodiscard]] auto positional_attention(const P& learned, const V& v, const Ps&... policies) {
  if constexpr (detail::check_position_types<P, V, Ps...>()) {
    plain_matrix_like<V> o(v.rows(), detail::output_columns(v.cols(), policies...));
    detail::attend_positions("positional_attention", learned, v, o, policies...);
    return o;
  }
}

/// positional_attention() into the caller's n×e matrix, block or map, which is never resized.
/// \throws argument_error  if O overlaps V or what was learned; nothing has been written then.
template <detail::learned_logits P, dense_expression V, dense_expression O, class... Ps>
void positional_attention_into(const P& learned, const V& v, O&& o, const Ps&... policies) {
  if constexpr (detail::check_position_types<P, V, Ps...>() && detail::check_scalars<V, O>()) {
    detail::attend_positions("positional_attention_into", learned, v, o, policies...);
  }
}

/// The n×n weights of positional_attention() over n values, row-major; with heads{…} a vector of
/// matrices, one for each query head.
/// Cost: O(n²) memory.
template <detail::learned_logits P, class... Ps>
[[nodiscard]] auto positional_attention_weights(const P& learned, index n, const Ps&... policies) {
  if constexpr (detail::check_policies<typename P::scalar, Ps...>()) {
    using T = typename P::scalar;
    return detail::of_heads<detail::row_major<T>, T, Ps...>(
        detail::weights_of_positions("positional_attention_weights", learned, n, policies...));
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
