#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "softlook/attention/attention.hpp"
#include "softlook/core/random.hpp"
#include "softlook/engine/kernels/softmax_state.hpp"

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
  std::uint32_t head = 0;  ///< heads of one layer draw independently
  [[nodiscard]] double noise(index i, index j) const {
    return detail::gumbel(seed, head, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
  }
};

}  // namespace selections

/// What hard attention chose. `choice` is −1 in a row without a key.
template <class Matrix>
struct hard_attention_result {
  using scalar = typename Matrix::Scalar;
  Matrix output;  ///< n×e, the chosen values
  Eigen::Matrix<detail::later<Matrix, index>, Eigen::Dynamic, 1> choice;  ///< n
  Eigen::Matrix<scalar, Eigen::Dynamic, 1> log_probability;  ///< n, ln softmax(scores)_choice
};

namespace detail {

struct hard_choice {
  index key = -1;
  double log_probability = 0;
};

/// One pass over a row of scores: the largest score + noise, and log Σ exp as it goes. Keys of −∞
/// do not exist; a NaN makes the log-probability NaN and chooses nothing. The row is query `i`.
template <class Row, class Selection>
[[nodiscard]] hard_choice choose(const Row& scores, index i, const Selection& select) {
  constexpr double nothing = -std::numeric_limits<double>::infinity();
  hard_choice best;
  double best_score = nothing, best_noisy = nothing;
  auto softmax = natural_softmax<double>::init();
  for (index j = 0; j < scores.size(); ++j) {
    const double s = static_cast<double>(scores[j]);
    if (std::isnan(s)) return {-1, s};
    if (s == nothing) continue;
    const double noisy = s + select.noise(i, j);
    if (best.key < 0 || noisy > best_noisy) {
      best.key = j;
      best_noisy = noisy;
      best_score = s;
    }
    if (s > softmax.maximum)
      softmax.absorb(s, 1);
    else
      natural_softmax<double>{s, 1}.merge_into(softmax.maximum, softmax.sum);
  }
  if (best.key >= 0) best.log_probability = best_score - (softmax.maximum + std::log(softmax.sum));
  return best;
}

}  // namespace detail

/// One-hot rows: 1 at the largest entry, the lowest of equal ones. A row of −∞ becomes zeros, a row
/// with a NaN becomes NaN.
template <dense_expression X>
[[nodiscard]] plain_matrix_like<X> hardmax(const X& scores) {
  static_assert(real_scalar<detail::scalar_of<X>>, "softlook: hardmax takes float or double");
  const plain_matrix_like<X> S = scores.matrix();
  plain_matrix_like<X> P = plain_matrix_like<X>::Zero(S.rows(), S.cols());
  for (index i = 0; i < S.rows(); ++i) {
    const detail::hard_choice chosen = detail::choose(S.row(i), i, selections::argmax{});
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
/// \param select    selections::argmax{} or selections::sample{.seed = …}.
/// \param policies  a score, transforms, a mask, an executor, options: as in attention().
/// \throws shape_error, argument_error  as attention().
/// Cost: O(n·m·d + n·e). Scores are made for 128 queries at a time and passed over once, so scratch
/// is O(m); no kernel but the materialised one computes them.
template <dense_expression Q, dense_expression K, dense_expression V, class Selection, class... Ps>
[[nodiscard]] auto hard_attention(const Q& q, const K& k, const V& v, const Selection& select,
                                  const Ps&... policies) {
  static_assert(
      std::is_invocable_r_v<double, decltype(&Selection::noise), const Selection&, index, index>,
      "softlook: say how to choose: selections::argmax{} or selections::sample{…}");
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_single_head<Ps...>()) {
    using T = detail::scalar_of<Q>;
    constexpr index block = 128;
    auto bound = detail::bind("hard_attention", q, k, v, policies...);
    const detail::attention_call<T>& call = bound.call();
    hard_attention_result<plain_matrix_like<Q>> result;
    result.output.setZero(q.rows(), v.cols());
    result.choice.setConstant(q.rows(), -1);
    result.log_probability.setZero(q.rows());
    detail::with_inputs(call, [&](const detail::running_call<T>& run) {
      for (index first = 0; first < q.rows(); first += block) {
        const range rows{first, std::min(first + block, q.rows())};
        const detail::row_major<T> S = detail::masked_scores(run, rows);
        for (index i = rows.begin; i < rows.end; ++i) {
          const detail::hard_choice chosen = detail::choose(S.row(i - first), i, select);
          result.choice[i] = chosen.key;
          result.log_probability[i] = static_cast<T>(chosen.log_probability);
          if (chosen.key >= 0)
            for (index c = 0; c < call.V.cols; ++c) result.output(i, c) = call.V(chosen.key, c);
          else if (std::isnan(chosen.log_probability))
            result.output.row(i).setConstant(std::numeric_limits<T>::quiet_NaN());
        }
      }
    });
    return result;
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
