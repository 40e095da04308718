#pragma once

#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "softlook/attention/attention.hpp"
#include "softlook/attention/detail/local_windows.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup local Local attention
/// A window of keys that moves with the query, or where the query predicts it.
/// \cases tests/unit/attention/local_test.cpp
/// \{

/// Where local attention looks.
namespace alignments {

/// Luong's local-m: query i looks at keys p_i − D … p_i + D with p_i = first + i.
struct monotonic {
  index window = 1;  ///< D
  index first = 0;   ///< position of query 0 (a decoder's step, for one query)
};

namespace detail {
template <class T>
struct predictive_vector {
  template <class V>
  static constexpr void check() {
    static_assert(V::IsVectorAtCompileTime, "softlook: v of a predicted position is a vector");
    static_assert(std::is_same_v<softlook::detail::scalar_of<V>, T>,
                  "softlook: W and v of a predicted position must share one scalar type");
  }
};
}  // namespace detail

/// Luong's local-p: the position is predicted from the query, p_i = m · sigmoid(v · tanh(q_i W)),
/// counted from 0 and not rounded, and a Gaussian with σ = D/2 favours keys near it.
/// W: d×a, v: a. Views of both, which all heads share.
template <class T>
struct predictive {
  using scalar = T;

  predictive(softlook::detail::kept_view<T> W,
             softlook::detail::kept_view<T, detail::predictive_vector<T>> v, index window)
      : W_(W), v_(softlook::detail::as_row(v)), window_(window) {}

  [[nodiscard]] const matrix_view<T>& W() const { return W_; }
  [[nodiscard]] const matrix_view<T>& v() const { return v_; }
  [[nodiscard]] index window() const { return window_; }

 private:
  matrix_view<T> W_;
  matrix_view<T> v_;
  index window_;
};

template <class M, class V>
predictive(M&&, V&&, index) -> predictive<softlook::detail::scalar_of<M>>;

}  // namespace alignments

/// What local-p returns: the output n×e and the predicted position of each query. With heads{…} a
/// column of positions for each query head, and outputs beside each other.
template <class Matrix, int Heads = 1>
struct local_result {
  Matrix output;
  Eigen::Matrix<typename Matrix::Scalar, Eigen::Dynamic, Heads> position;
};

namespace detail {

inline void check_half_width(const char* where, index window, index least) {
  if (window < least)
    raise_argument(where, "window", double(window),
                   least == 0 ? "D is the number of keys on either side, 0 or more"
                              : "D is the number of keys on either side; σ = D/2 is positive");
}

[[nodiscard]] inline masks::window window_around(const alignments::monotonic& m) {
  return {.left = m.window, .right = m.window, .offset = m.first};
}

template <class T>
void check_predictive(const char* where, const alignments::predictive<T>& p, index features) {
  check_half_width(where, p.window(), 1);
  check_sizes(where, "alignments::predictive W.rows()", p.W().rows, "Q.cols()", features,
              "W maps a query to the hidden features of its position");
  check_sizes(where, "alignments::predictive v.size()", p.v().cols, "W.cols()", p.W().cols,
              "v has an entry for each hidden feature");
}

/// The few-query kernel reads all keys, so short calls are tiled too unless the caller pins one.
template <class... Ps>
[[nodiscard]] kernel local_kernel(const Ps&... policies) {
  return options_of(policies...).kernel.value_or(kernel::tiled);
}

template <class Q, class... Ps>
[[nodiscard]] std::vector<double> positions_of(
    const char* where, const Q& q, index keys,
    const alignments::predictive<scalar_of<Q>>& alignment, const Ps&... policies) {
  const heads h = heads_of(policies...);
  check_heads(where, h.query, h.kv_or_query());
  check_columns_of_heads(where, "Q.cols()", q.cols(), "heads.query", h.query);
  check_predictive(where, alignment, q.cols() / h.query);
  check_positions(where, "Q.rows()", q.rows());
  check_positions(where, "K.rows()", keys);
  const readable<Q> queries(q);
  const position_predictor<scalar_of<Q>> predict{alignment.W(), alignment.v(), keys, h.query};
  return predict(queries.view(), chosen_instruction_set(where, options_of(policies...)),
                 exec_of(policies...));
}

/// The rows of each head in the order of its windows.
template <class T>
[[nodiscard]] row_major<T> rows_by_window(const matrix_view<T>& Q, index heads,
                                          const sorted_windows<T>& windows) {
  row_major<T> sorted(Q.rows, Q.cols);
  const index features = Q.cols / heads;
  for (index i = 0; i < Q.rows; ++i)
    for (index c = 0; c < Q.cols; ++c) sorted(i, c) = Q(windows.row(c / features, i), c);
  return sorted;
}

/// Attention of sorted queries over their windows, and what its weights were normalised by.
template <class Matrix, class K, class V, class... Ps>
[[nodiscard]] multi_head_state<Matrix> state_over_windows(
    const char* where, const row_major<typename Matrix::Scalar>& sorted, const K& k,
    const V& values, const sorted_windows<typename Matrix::Scalar>& windows,
    const Ps&... policies) {
  auto bound = bind(where, sorted, k, values, policies...);
  multi_head_state<Matrix> state{Matrix(sorted.rows(), bound.output_columns()),
                                 Matrix(sorted.rows(), heads_of(policies...).query)};
  bound.pin(local_kernel(policies...)).set_kernels();
  bound.call().O = writable_view(state.output);
  bound.call().log_sum_exp = writable_view(state.log_sum_exp);
  check_output(bound.call());
  run_over_windows(bound.call(), windows);
  return state;
}

/// a_i(j) = softmax_j(s_i)·g_i(j) over the windows. The kernels give softmax(s + ln g)·V, and what
/// it was normalised by; the log-sum-exp of s alone gives back the paper's weights.
template <class Q, class K, class V, class... Ps>
[[nodiscard]] plain_matrix_like<Q> attend_windows(const Q& q, const K& k, const V& v,
                                                  const sorted_windows<scalar_of<Q>>& windows,
                                                  index half_width, const Ps&... policies) {
  using T = scalar_of<Q>;
  using matrix = plain_matrix_like<Q>;
  const char* where = "local_attention";
  const index heads = heads_of(policies...).query;
  const readable<Q> given(q);
  const row_major<T> sorted = rows_by_window(given.view(), heads, windows);
  const auto favoured = state_over_windows<matrix>(where, sorted, k, v, windows, policies...,
                                                   gaussian_of(windows, half_width));
  const row_major<T> nothing(k.rows(), 0);
  const auto plain = state_over_windows<matrix>(where, sorted, k, nothing, windows, policies...);
  matrix output(q.rows(), favoured.output.cols());
  const index e = output.cols() / heads;
  for (index head = 0; head < heads; ++head)
    for (index i = 0; i < q.rows(); ++i) {
      const T all = plain.log_sum_exp(i, head);
      const bool empty = all == -std::numeric_limits<T>::infinity();
      const T kept = empty ? T(0) : std::exp(favoured.log_sum_exp(i, head) - all);
      for (index c = head * e; c < (head + 1) * e; ++c)
        output(windows.row(head, i), c) = empty ? T(0) : favoured.output(i, c) * kept;
    }
  return output;
}

}  // namespace detail

/// Local attention with monotonic alignment (local-m): softmax attention over a window that moves
/// one key with each query,
///   a_i = softmax(s_ij, |j − p_i| ≤ D),  p_i = first + i.
///
/// \see Luong et al., "Effective Approaches to Attention-based Neural Machine Translation", 2015,
///      section 3.2. Keys before the first and after the last do not exist.
/// Q: n×d, K: m×d, V: m×e -> n×e in Q's storage order. A query whose window holds no key gets
/// zeros.
/// \param policies  as in attention(): score (default scaled_dot), transforms, a further mask, …
/// \throws argument_error  for a negative window; otherwise as attention().
/// Cost: O(n·D·(d + e)), whatever m is. A score that projects keys projects all of them: project
/// the memory once and use scores::additive_projected where that counts.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto local_attention(const Q& q, const K& k, const V& v,
                                   const alignments::monotonic& alignment, const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    detail::check_half_width("local_attention", alignment.window, 0);
    return detail::with_mask(
        detail::window_around(alignment),
        [&](const auto&... ps) {
          return detail::bind("local_attention", q, k, v, ps...)
              .pin(detail::local_kernel(policies...))
              .output();
        },
        policies...);
  }
}

/// Local attention with predictive alignment (local-p):
///   p_i = m · sigmoid(v · tanh(q_i W)),
///   a_ij = softmax(s_ij, |j − p_i| ≤ D)_j · exp(−(j − p_i)² / (2σ²)),  σ = D/2,
///   o_i = Σ_j a_ij v_j.
/// Weights of a row sum to at most 1: the Gaussian comes after the softmax, as in the paper. j
/// counts from 0. For a padded memory of real length S give K.topRows(S) and V.topRows(S): m is S
/// then.
///
/// \see Luong et al., 2015, section 3.2, Eq. (9) and (10).
/// Shapes, policies and empty rows as with local-m. A query whose position is NaN gets NaN. With
/// heads{…} each query head has the output and the positions of a call on its columns; W and v are
/// those of all heads.
/// \throws argument_error  unless D ≥ 1; shape_error unless W and v fit.
/// Cost: O(n·(d·a + D·(2d + e)) + m·(2d + e)), where the second part is at most a register tile of
/// queries (16 to 48) meeting every key: queries are sorted by position, so that those of one tile
/// look at nearly the same keys. The scores are computed twice, and keys that a score projects are
/// projected for each query head.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto local_attention(const Q& q, const K& k, const V& v,
                                   const alignments::predictive<detail::scalar_of<Q>>& alignment,
                                   const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_all_rows<Ps...>()) {
    using T = detail::scalar_of<Q>;
    constexpr int columns = (detail::is_heads<Ps> || ...) ? Eigen::Dynamic : 1;
    detail::check_sizes("local_attention", "V.rows()", v.rows(), "K.rows()", k.rows(),
                        "each key has one value");
    const std::vector<double> positions =
        detail::positions_of("local_attention", q, k.rows(), alignment, policies...);
    const index heads = detail::heads_of(policies...).query;
    const detail::sorted_windows<T> windows(positions, heads, {alignment.window(), k.rows()});
    local_result<plain_matrix_like<Q>, columns> result{
        detail::attend_windows(q, k, v, windows, alignment.window(), policies...), {}};
    result.position.resize(q.rows(), heads);
    const index e = result.output.cols() / heads;
    for (index head = 0; head < heads; ++head)
      for (index i = 0; i < q.rows(); ++i) {
        const T position = T(positions[std::size_t(head * q.rows() + i)]);
        result.position(i, head) = position;
        for (index c = 0; std::isnan(position) && c < e; ++c)
          result.output(i, head * e + c) = position;
      }
    return result;
  }
}

/// The n×m weights of local-m; with heads{…} a vector of matrices, one for each query head.
/// Cost: O(n·m) memory.
template <dense_expression Q, dense_expression K, class... Ps>
[[nodiscard]] auto local_attention_weights(const Q& q, const K& k,
                                           const alignments::monotonic& alignment,
                                           const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, K, Ps...>()) {
    detail::check_half_width("local_attention_weights", alignment.window, 0);
    return detail::with_mask(
        detail::window_around(alignment),
        [&](const auto&... ps) { return attention_weights(q, k, ps...); }, policies...);
  }
}

/// The n×m weights of local-p; with heads{…} a vector of matrices, one for each query head.
/// Cost: O(n·m) memory.
template <dense_expression Q, dense_expression K, class... Ps>
[[nodiscard]] auto local_attention_weights(
    const Q& q, const K& k, const alignments::predictive<detail::scalar_of<Q>>& alignment,
    const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, K, Ps...>() && detail::check_all_rows<Ps...>()) {
    using T = detail::scalar_of<Q>;
    const std::vector<double> positions =
        detail::positions_of("local_attention_weights", q, k.rows(), alignment, policies...);
    const detail::sorted_windows<T> windows(positions, detail::heads_of(policies...).query,
                                            {alignment.window(), k.rows(), false});
    auto bound = detail::bind("local_attention_weights", q, k, detail::no_values{}, policies...);
    auto all = detail::weights_over_windows<decltype(bound)::is_additive>(bound.call(), windows);
    const auto near = detail::gaussian_of(windows, alignment.window());
    index row = 0;  // of those of all heads
    for (auto& P : all)
      for (index i = 0; i < P.rows(); ++i, ++row)
        for (index j = 0; j < P.cols(); ++j)
          P(i, j) = std::isnan(positions[std::size_t(row)])
                        ? T(positions[std::size_t(row)])
                        : P(i, j) * std::exp(near.exponent(row, std::int32_t(j)));
    return detail::of_heads<plain_matrix_like<Q>, T, Ps...>(std::move(all));
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
