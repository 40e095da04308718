#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "softlook/attention/attention.hpp"
#include "softlook/attention/detail/head_calls.hpp"
#include "softlook/attention/detail/monotonic_rows.hpp"
#include "softlook/engine/run/score_rows.hpp"
#include "softlook/exec/sequential.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup monotonic Monotonic attention
/// Alignments that only move forward: in expectation, or one key after another.
/// \cases tests/conformance/data/luong_bahdanau
/// \{

/// How monotonic attention is computed.
///   recursive  the expectation by its recurrence over the keys
///   parallel   the same in logarithms, blocks of keys at once: for long memories and gradients
///   hard       what the expectation is of: the first key whose probability exceeds 1/2
enum class monotonic_form { recursive, parallel, hard };

struct monotonic_options {
  monotonic_form form = monotonic_form::recursive;
  double score_bias = 0;  ///< r, added to every score; −4 is usual at the start of training
};

/// The output n×e and the weights n×m. The last row of weights is what the next call continues
/// from. With heads{…} outputs beside each other, and a matrix of weights for each query head.
template <class Matrix, class Weights = Matrix>
struct monotonic_result {
  Matrix output;
  Weights weights;
};

/// The weights before the first query: all on the first key.
template <real_scalar T>
[[nodiscard]] Eigen::Matrix<T, 1, Eigen::Dynamic> monotonic_start(index keys) {
  Eigen::Matrix<T, 1, Eigen::Dynamic> start = Eigen::Matrix<T, 1, Eigen::Dynamic>::Zero(keys);
  if (keys > 0) start[0] = 1;
  return start;
}
/// The same, a row for each query head.
template <real_scalar T>
[[nodiscard]] Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> monotonic_start(index keys,
                                                                               index heads) {
  return monotonic_start<T>(keys).replicate(heads, 1);
}

namespace detail {

template <class T>
void check_not_negative(const char* where, const row_major<T>& previous) {
  for (index k = 0; k < previous.size(); ++k)
    if (previous.data()[k] < 0)
      raise_argument(where, "a previous weight", double(previous.data()[k]),
                     "weights are not negative");
}

/// The weights before the first query, as a row.
template <class P>
[[nodiscard]] row_major<scalar_of<P>> checked_previous(const char* where, const P& previous,
                                                       const char* keys_name, index keys) {
  static_assert(P::IsVectorAtCompileTime, "softlook: the previous weights are a vector");
  check_sizes(where, "previous.size()", previous.size(), keys_name, keys,
              "the previous weights have an entry for each key");
  row_major<scalar_of<P>> row(1, keys);
  for (index j = 0; j < keys; ++j) row(0, j) = previous[j];
  check_not_negative(where, row);
  return row;
}

/// The same of every query head.
template <class P>
[[nodiscard]] row_major<scalar_of<P>> checked_previous(const char* where, const P& previous,
                                                       index keys, index heads) {
  check_sizes(where, "previous.rows()", previous.rows(), "heads.query", heads,
              "each query head goes on from previous weights of its own");
  check_sizes(where, "previous.cols()", previous.cols(), "K.rows()", keys,
              "the previous weights have an entry for each key");
  row_major<scalar_of<P>> rows = previous.matrix();
  check_not_negative(where, rows);
  return rows;
}

/// Rows of energies become rows of weights.
template <class T, class P>
void expected_alignments(const executor_ref& exec, monotonic_form form, const P& previous,
                         mutable_matrix_view<T> E) {
  const index m = E.cols;
  const bool logarithms = form == monotonic_form::parallel;
  std::vector<later<T, double>> energies(std::size_t(m), 0), row(std::size_t(m), 0);
  for (index j = 0; j < m; ++j) {
    const auto weight = double(previous[j]);
    row[std::size_t(j)] = logarithms ? log_weight(weight) : weight;
  }
  monotonic_scan scan(logarithms ? m : 0);
  for (index i = 0; i < E.rows; ++i) {
    for (index j = 0; j < m; ++j) energies[std::size_t(j)] = double(E(i, j));
    if (logarithms)
      scan.run(exec, energies.data(), row.data());
    else
      monotonic_recursion(energies.data(), m, row.data());
    for (index j = 0; j < m; ++j) {
      const double x = row[std::size_t(j)];
      E(i, j) = T(logarithms ? std::exp(x) : x);
    }
  }
}

/// A one-hot row, a row of zeros past the last key, NaN from where the head was lost.
template <class Row>
void write_choice(const monotonic_head& head, Row&& weights) {
  using T = scalar_of<Row>;
  weights.setZero();
  if (head.lost)
    weights.tail(weights.size() - head.key).setConstant(std::numeric_limits<T>::quiet_NaN());
  else if (head.key < weights.size())
    weights[head.key] = 1;
}

/// The energies of one query, computed for 64 keys at a time as they are asked for. Blocks lie at
/// multiples of 64, so that an energy does not depend on where the search began.
template <class T>
class lazy_energies {
 public:
  lazy_energies(const attention_call<T>& call, double bias) : call_(call), bias_(bias) {}

  void begin_row(index i) {
    row_ = i;
    keys_ = {};
  }
  [[nodiscard]] double operator()(index j) {
    if (j < keys_.begin || j >= keys_.end) fill(j / block * block);
    return double(S_(0, j - keys_.begin)) + bias_;
  }

 private:
  static constexpr index block = 64;

  void fill(index first) {
    keys_ = {first, std::min(first + block, call_.K.rows)};
    with_inputs(part_of(call_, {row_, row_ + 1}, keys_),
                [&](const running_call<T>& run) { S_ = masked_scores(run, {0, 1}); });
  }

  const attention_call<T>& call_;
  double bias_;
  index row_ = 0;
  range keys_{};
  row_major<T> S_;
};

/// All energies without their bias, n×m, and −∞ where a key is masked.
template <bool Additive, class T>
[[nodiscard]] row_major<T> all_energies(const attention_call<T>& call) {
  row_major<T> S =
      row_major<T>::Constant(call.Q.rows, call.K.rows, -std::numeric_limits<T>::infinity());
  const score_rows<Additive, T> rows(call);
  rows.run(0, [&](const score_block<T>& block) {
    for (index i = block.queries.begin; i < block.queries.end; ++i)
      std::copy_n(block.row(i), block.keys.count(), S.data() + i * S.cols() + block.keys.begin);
  });
  return S;
}

/// Where the head stands after each query.
template <class T, class P>
[[nodiscard]] auto hard_alignments(const attention_call<T>& call, double bias, const P& previous) {
  lazy_energies<T> energy(call, bias);
  std::vector<later<T, monotonic_head>> heads;
  monotonic_head head = head_of(previous);
  for (index i = 0; i < call.Q.rows; ++i) {
    energy.begin_row(i);
    advance(head, call.K.rows, energy);
    heads.push_back(head);
  }
  return heads;
}

template <class T>
void choose_values(const std::vector<monotonic_head>& heads, const matrix_view<T>& values,
                   const mutable_matrix_view<T>& O, row_major<T>& weights) {
  for (index i = 0; i < O.rows; ++i) {
    const monotonic_head& head = heads[std::size_t(i)];
    write_choice(head, weights.row(i));
    for (index c = 0; c < O.cols; ++c)
      O(i, c) = head.lost                ? std::numeric_limits<T>::quiet_NaN()
                : head.key < values.rows ? values(head.key, c)
                                         : T(0);
  }
}

/// The output of a call of one head, and its weights.
template <bool Additive, class T>
[[nodiscard]] row_major<T> attend_monotonic(const attention_call<T>& call,
                                            const monotonic_options& how,
                                            const row_major<T>& previous) {
  if (how.form == monotonic_form::hard) {
    row_major<T> W(call.Q.rows, call.K.rows);
    const auto from = previous.row(0);
    choose_values(hard_alignments(call, how.score_bias, from), call.V, call.O, W);
    return W;
  }
  const row_major<T> S = all_energies<Additive>(call);
  row_major<T> W = S.array() + T(how.score_bias);
  expected_alignments<T>(call.exec, how.form, previous.row(0), writable_view(W));
  weighted_sum(W, S, call.V, call.O);
  return W;
}

}  // namespace detail

/// Monotonic alignments from energies:
///   p_ij = sigmoid(e_ij)
///   α_ij = p_ij Σ_{k≤j} α_{i−1,k} Π_{l=k}^{j−1} (1 − p_il)        (recursive and parallel)
///   α_ij = 1 for the first j ≥ t_{i−1} with e_ij > 0, t_i = j     (hard)
/// The expectation is over walks that start where the last query stopped and stop at key j with
/// probability p_ij. A walk that passes the last key is over: rows sum to at most 1, and after a
/// hard row of zeros all are zeros.
///
/// \see Raffel et al., "Online and Linear-Time Attention by Enforcing Monotonic Alignments", 2017,
///      algorithm 1, Eq. (8), (9) and appendix C. There the parallel form divides by a product that
///      is clipped away from zero; here it is a scan without a division, exact for any energies.
/// E: n×m, previous: m -> n×m in E's storage order. Energies of −∞ are never chosen, of +∞ always.
/// A NaN reaches the keys from its own on, in its row and the later ones. Computed in double.
/// \param previous  the weights of the query before, a vector; monotonic_start(m) at first. The
///                  hard form starts at its first key that has a weight.
/// \param exec      runs blocks of keys of the parallel form.
/// \throws shape_error unless previous has m entries; argument_error if one is negative.
/// Cost: O(n·m); the parallel form takes four logarithms and exponentials more for each pair.
template <dense_expression E, dense_expression P, executor Executor = exec::sequential>
[[nodiscard]] auto monotonic_weights(const E& energies, const P& previous,
                                     monotonic_form form = monotonic_form::recursive,
                                     const Executor& exec = {}) {
  if constexpr (detail::check_scalars<E, P>()) {
    const auto from =
        detail::checked_previous("monotonic_weights", previous, "E.cols()", energies.cols());
    plain_matrix_like<E> W = energies.matrix();
    if (form == monotonic_form::hard) {
      detail::monotonic_head head = detail::head_of(from.row(0));
      for (index i = 0; i < W.rows(); ++i) {
        detail::advance(head, W.cols(), [&](index j) { return double(W(i, j)); });
        detail::write_choice(head, W.row(i));
      }
    } else {
      detail::expected_alignments(detail::ref_to(exec), form, from.row(0),
                                  detail::writable_view(W));
    }
    return W;
  }
}

/// Monotonic attention:
///   O = α V,  α = monotonic_weights(scores + r, previous)
///
/// The scores are those of attention(): scores::additive with a vector from weight_norm() gives the
/// energies of Raffel et al., scores::general Luong's, options::scale their factor g. A mask
/// forbids keys (masks::padding for a padded memory). Q: n×d, K: m×d, V: m×e, previous: m ->
/// output n×e, weights n×m, in Q's storage order. Queries follow one another; a call for all of
/// them and one for each, handing on the weights, give the same. A row without any chance to stop
/// is zero; without keys all are. With heads{…} each query head has walks of its own, those of a
/// call on its columns: `previous` has a row for each, `weights` a matrix.
/// \see monotonic_weights() for the formula and for NaN.
/// \throws shape_error  unless previous has m entries, or m columns and a row for each query head,
///         and the shapes fit as in attention(); argument_error for a negative previous weight or a
///         score bias that is not finite.
/// Cost: O(n·m·(d + e)) and n×m memory for each head, the scores by the tiled kernel; hard
/// O((64·n + m)·d + n·e): it computes only the scores on the way. Keys that a score projects are
/// projected for each query head.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression P,
          class... Ps>
[[nodiscard]] auto monotonic_attention(const Q& q, const K& k, const V& v,
                                       const monotonic_options& how, const P& previous,
                                       const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, P>() &&
                detail::check_all_rows<Ps...>()) {
    using T = detail::scalar_of<Q>;
    using matrix = plain_matrix_like<Q>;
    using weights = decltype(detail::of_heads<matrix, T, Ps...>({}));
    const char* where = "monotonic_attention";
    auto bound = detail::bind(where, q, k, v, policies...);
    detail::attention_call<T>& call = bound.call();
    const detail::row_major<T> from = [&] {
      if constexpr ((detail::is_heads<Ps> || ...))
        return detail::checked_previous(where, previous, k.rows(), call.query_heads);
      else
        return detail::checked_previous(where, previous, "K.rows()", k.rows());
    }();
    detail::check_parameter<T>(where, "score_bias", how.score_bias, detail::parameter::finite,
                               "a bias of scores is finite");
    monotonic_result<matrix, weights> result{matrix(q.rows(), bound.output_columns()), {}};
    call.O = detail::writable_view(result.output);
    std::vector<detail::row_major<T>> all(std::size_t(call.query_heads));
    detail::for_each_head(call, [&](index head, const detail::attention_call<T>& one) {
      all[std::size_t(head)] = detail::attend_monotonic<decltype(bound)::is_additive>(
          one, how, detail::row_major<T>(from.row(head)));
    });
    result.weights = detail::of_heads<matrix, T, Ps...>(std::move(all));
    return result;
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
