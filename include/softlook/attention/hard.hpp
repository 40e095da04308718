#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "softlook/attention/attention.hpp"
#include "softlook/core/random.hpp"
#include "softlook/engine/run/score_rows.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup hard Hard attention
/// One key is chosen instead of a mixture.
/// \cases tests/conformance/data/luong_bahdanau
/// \{

/// How hard attention chooses one key of a row of scores.
namespace selections {

/// The largest score; of equal ones the lowest key.
struct argmax {
  [[nodiscard]] double noise(index, index) const { return 0; }
};

/// A key drawn from softmax(scores), by the Gumbel-max trick: the largest of s_j + g_j, with noise
/// that depends on (seed, head, i, j) only. Equal seeds give equal choices, whatever the threads.
/// \see Gumbel, "Statistical Theory of Extreme Values and Some Practical Applications", 1954;
///      Salmon et al., 2011 (Philox 4×32-10).
struct sample {
  std::uint64_t seed = 0;
  std::uint32_t head = 0;  ///< heads of one layer draw independently; with heads{…} of the first
  [[nodiscard]] sample of_head(index h) const {
    return {seed, head + static_cast<std::uint32_t>(h)};
  }
  [[nodiscard]] double noise(index i, index j) const {
    return detail::gumbel(seed, head, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
  }
};

}  // namespace selections

/// What hard attention chose. `choice` is −1 in a row without a key. With heads{…} a column of
/// `choice` and `log_probability` for each query head, and outputs beside each other.
template <class Matrix, int Heads = 1>
struct hard_attention_result {
  using scalar = typename Matrix::Scalar;
  Matrix output;  ///< n×e, the chosen values
  Eigen::Matrix<detail::later<Matrix, index>, Eigen::Dynamic, Heads> choice;  ///< n
  Eigen::Matrix<scalar, Eigen::Dynamic, Heads> log_probability;  ///< n, ln softmax(scores)_choice
};

namespace detail {

struct hard_choice {
  index key = -1;
  double log_probability = 0;
};

/// The largest score + noise of a row, and its log-probability. Keys of −∞ do not exist; a NaN
/// makes the log-probability NaN and chooses nothing. The row is query `i`, its scores of keys
/// `first`, `first` + `stride`, … of the problem; the choice is a place in the row.
template <class T, class Selection>
[[nodiscard]] hard_choice choose(const T* scores, index count, index i, index first,
                                 const Selection& select, index stride = 1) {
  constexpr T nothing = -std::numeric_limits<T>::infinity();
  hard_choice best;
  double best_noisy = 0;
  T top = nothing;
  for (index j = 0; j < count; ++j) {
    const T s = scores[j];
    if (std::isnan(s)) return {-1, double(s)};
    if (s == nothing) continue;
    top = s > top ? s : top;
    const double noisy = double(s) + select.noise(i, first + j * stride);
    if (best.key >= 0 && !(noisy > best_noisy)) continue;
    best.key = j;
    best_noisy = noisy;
  }
  if (best.key < 0) return best;
  // Of what +∞ leaves; else the sum is 1 at least, and what lies 80 below adds less than a
  // rounding.
  double sum = 0;
  for (index j = 0; j < count; ++j) {
    const double d = double(scores[j]) - double(top);
    if (!(d < -80)) sum += std::exp(d);
  }
  best.log_probability = double(scores[best.key]) - (double(top) + std::log(sum));
  return best;
}

/// The selection of a query head.
template <class Selection>
[[nodiscard]] auto selection_of_head(const Selection& select, [[maybe_unused]] index head) {
  if constexpr (requires { select.of_head(head); })
    return select.of_head(head);
  else
    return select;
}

/// choice(head, i, what was chosen) for every query and query head of a checked call, as tasks.
template <bool Additive, class T, class Selection, class F>
void for_each_choice(const attention_call<T>& c, const Selection& select, const F& choice) {
  const score_rows<Additive, T> rows(c);
  rows.run(0, [&](const score_block<T>& block) {
    const auto of_head = selection_of_head(select, block.head);
    for (index i = block.queries.begin; i < block.queries.end; ++i) {
      hard_choice chosen = choose(block.row(i), block.keys.count(), c.frame.query(i),
                                  c.frame.key(block.keys.begin), of_head, c.frame.key_stride);
      if (chosen.key >= 0) chosen.key += block.keys.begin;
      choice(block.head, i, chosen);
    }
  });
}

}  // namespace detail

/// One-hot rows: 1 at the largest entry, the lowest of equal ones. A row of −∞ becomes zeros, a row
/// with a NaN becomes NaN.
template <dense_expression X>
[[nodiscard]] plain_matrix_like<X> hardmax(const X& scores) {
  static_assert(real_scalar<detail::scalar_of<X>>, "softlook: hardmax takes float or double");
  const detail::row_major<detail::scalar_of<X>> S = scores.matrix();
  plain_matrix_like<X> P = plain_matrix_like<X>::Zero(S.rows(), S.cols());
  for (index i = 0; i < S.rows(); ++i) {
    const detail::hard_choice chosen =
        detail::choose(S.data() + i * S.cols(), S.cols(), i, 0, selections::argmax{});
    if (chosen.key >= 0)
      P(i, chosen.key) = 1;
    else if (std::isnan(chosen.log_probability))
      P.row(i).setConstant(std::numeric_limits<detail::scalar_of<X>>::quiet_NaN());
  }
  return P;
}

/// Hard attention: each query takes the value of one key instead of a mixture,
///   o_i = v_c,  c = argmax_j s_ij  or  c ~ softmax(s_i),
/// and ln softmax(s_i)_c is returned for the gradient estimate of REINFORCE.
///
/// \see Xu et al., "Show, Attend and Tell: Neural Image Caption Generation with Visual Attention",
///      2015, section 4.1.
/// Q: n×d, K: m×d, V: m×e -> n×e. s are the scores after scale, transforms and mask. A query
/// without a key gets choice −1, a row of zeros and log-probability 0 (it adds nothing to a sum); a
/// NaN among its scores gives choice −1 and a row of NaN.
/// \param select    selections::argmax{} or selections::sample{.seed = …}, whose heads draw as
///                  head, head + 1, … of the seed.
/// \param policies  a score, transforms, a mask, heads, a frame, an executor, options: as in
///                  attention(). In a frame a query draws as it does in the whole problem.
/// \throws shape_error, argument_error  as attention().
/// Cost: O(n·m·d + n·e), the scores by the tiled kernel, with an exponential in double for each.
/// They are stored for 16 to 96 queries at a time, at most 1 MiB or 16 rows for each worker.
template <dense_expression Q, dense_expression K, dense_expression V, class Selection, class... Ps>
[[nodiscard]] auto hard_attention(const Q& q, const K& k, const V& v, const Selection& select,
                                  const Ps&... policies) {
  static_assert(
      std::is_invocable_r_v<double, decltype(&Selection::noise), const Selection&, index, index>,
      "softlook: say how to choose: selections::argmax{} or selections::sample{…}");
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_one_sequence<Ps...>()) {
    using T = detail::scalar_of<Q>;
    constexpr int heads = (detail::is_heads<Ps> || ...) ? Eigen::Dynamic : 1;
    auto bound = detail::bind("hard_attention", q, k, v, policies...);
    const detail::attention_call<T>& call = bound.call();
    const index e = call.values();
    hard_attention_result<plain_matrix_like<Q>, heads> result;
    result.output.setZero(q.rows(), bound.output_columns());
    result.choice.setConstant(q.rows(), call.query_heads, -1);
    result.log_probability.setZero(q.rows(), call.query_heads);
    detail::for_each_choice<decltype(bound)::is_additive>(
        call, select, [&](index head, index i, const detail::hard_choice& chosen) {
          result.choice(i, head) = chosen.key;
          result.log_probability(i, head) = static_cast<T>(chosen.log_probability);
          const index first = head / call.group() * e;
          for (index c = 0; c < e; ++c)
            if (chosen.key >= 0)
              result.output(i, head * e + c) = call.V(chosen.key, first + c);
            else if (std::isnan(chosen.log_probability))
              result.output(i, head * e + c) = std::numeric_limits<T>::quiet_NaN();
        });
    return result;
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
