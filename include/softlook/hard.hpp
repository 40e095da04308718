#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "softlook/attention.hpp"
#include "softlook/core/random.hpp"

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
  Matrix output;                                             ///< n×e, the chosen values
  Eigen::Matrix<index, Eigen::Dynamic, 1> choice;            ///< n
  Eigen::Matrix<scalar, Eigen::Dynamic, 1> log_probability;  ///< n, ln softmax(scores)_choice
};

namespace detail {

/// A transform or mask of n queries, asked about a block of them that starts at `first`.
template <class P>
struct shifted_policy {
  const P& whole;
  std::int32_t first;
  std::int32_t queries;

  [[nodiscard]] problem of_all(problem p) const {
    p.queries = queries;
    return p;
  }
  void check(const char* where, problem p) const {
    if constexpr (requires { whole.check(where, p); }) whole.check(where, of_all(p));
  }
};

template <class P>
struct shifted_transform : shifted_policy<P> {
  using policy_kind = transform_kind;
  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return this->whole(s, i + this->first, j, this->of_all(p));
  }
};

template <class P>
struct shifted_mask : shifted_policy<P> {
  using policy_kind = mask_kind;
  [[nodiscard]] range shifted(range r) const {
    return {r.begin + this->first, r.end + this->first};
  }
  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return this->whole.allows(i + this->first, j, this->of_all(p));
  }
  [[nodiscard]] range key_range(range q, problem p) const {
    return this->whole.key_range(shifted(q), this->of_all(p));
  }
  [[nodiscard]] coverage coverage_of(range q, range k, problem p) const {
    return this->whole.coverage_of(shifted(q), k, this->of_all(p));
  }
};

template <class P>
[[nodiscard]] decltype(auto) shifted(const P& policy, index first, index queries) {
  const auto f = static_cast<std::int32_t>(first), n = static_cast<std::int32_t>(queries);
  if constexpr (transform_policy<P>)
    return shifted_transform<P>{{policy, f, n}};
  else if constexpr (mask_policy<P>)
    return shifted_mask<P>{{policy, f, n}};
  else
    return (policy);
}

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
  double best_score = nothing, best_noisy = nothing, largest = nothing, sum = 0;
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
    if (s > largest) {
      sum = sum * std::exp(largest - s) + 1;
      largest = s;
    } else {
      sum += std::exp(s - largest);
    }
  }
  if (best.key >= 0) best.log_probability = best_score - (largest + std::log(sum));
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
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    using T = detail::scalar_of<Q>;
    constexpr index block = 128;
    const char* where = "hard_attention";
    detail::check_sizes(where, "V.rows()", v.rows(), "K.rows()", k.rows(),
                        "each key has one value");
    detail::check_positions(where, "Q.rows()", q.rows());
    const plain_matrix_like<Q> queries = q.matrix();
    const plain_matrix_like<K> keys = k.matrix();
    const plain_matrix_like<V> values = v.matrix();
    hard_attention_result<plain_matrix_like<Q>> result;
    result.output.setZero(q.rows(), v.cols());
    result.choice.setConstant(q.rows(), -1);
    result.log_probability.setZero(q.rows());
    index first = 0;
    do {  // also for no query at all: policies are checked
      const index count = std::min(block, q.rows() - first);
      const detail::row_major<T> S =
          attention_scores(queries.middleRows(first, count), keys, stage::masked,
                           detail::shifted(policies, first, q.rows())...);
      for (index r = 0; r < count; ++r) {
        const index i = first + r;
        const detail::hard_choice chosen = detail::choose(S.row(r), i, select);
        result.choice[i] = chosen.key;
        result.log_probability[i] = static_cast<T>(chosen.log_probability);
        if (chosen.key >= 0)
          result.output.row(i) = values.row(chosen.key);
        else if (std::isnan(chosen.log_probability))
          result.output.row(i).setConstant(std::numeric_limits<T>::quiet_NaN());
      }
      first += block;
    } while (first < q.rows());
    return result;
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
