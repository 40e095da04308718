#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "softlook/gradient/attention.hpp"
#include "softlook/gradient/decoder_attention.hpp"
#include "softlook/score/qk_norm.hpp"
#include "softlook/score/trilinear.hpp"

// The way back through attention whose scores are dot products of rows that were made from queries
// and keys otherwise than by a product: that of dot products, tile by tile, and then that of the
// rows. Other scores with weights are attention_backward()'s (score_weights.hpp).

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// The gains of scores::qk_norm; two empty ones with scores::row_norm::l2 and ε = 0 are
/// scores::cosine.
template <class T>
struct qk_norm_parameters {
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  row gain_q{};  ///< an entry for each feature of a head; empty: ones
  row gain_k{};
  scores::qk_norm_options options{};

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("gain_q", p.gain_q...);
    f("gain_k", p.gain_k...);
    f("options", p.options...);
  }
};

/// The weights of scores::trilinear, 3·d or 2·d entries.
template <class T>
struct trilinear_parameters {
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  row w{};

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("w", p.w...);
  }
};

namespace detail {

template <class... Ps>
constexpr bool check_no_score() {
  constexpr bool none = !(score_policy<Ps> || ...);
  static_assert(none, "softlook: the score is that of the weights: leave scores::… out");
  return none;
}

/// The way back of dot products of the made rows, computed again.
template <class T, class V, class G, class Score, class... Ps>
[[nodiscard]] attention_gradients<row_major<T>> made_back(const row_major<T>& Q,
                                                          const row_major<T>& K, const V& v,
                                                          const G& dO, const Score& score,
                                                          const Ps&... policies) {
  const row_major<T> values = v;
  const auto state = attention_with_log_sum_exp(Q, K, values, score, policies...);
  return attention_backward(Q, K, values, state.output, state.log_sum_exp, dO, score, policies...);
}

/// Whether a row of a gradient has entries: what belongs to others is not read, whatever it holds.
template <class T>
[[nodiscard]] bool has_gradient(const T* d, index count) {
  for (index c = 0; c < count; ++c)
    if (d[c] != T(0)) return true;
  return false;
}

/// y = gain ∘ x / r(x) of the rows of each head, as scores::qk_norm has them, and back.
template <class T>
class normalised_heads {
 public:
  normalised_heads(const row_major<T>& X, index heads, const Eigen::Matrix<T, 1, Eigen::Dynamic>& g,
                   const scores::qk_norm_options& o)
      : rows_(X.rows()),
        heads_(heads),
        d_(X.cols() / heads),
        share_(o.norm == scores::row_norm::rms ? 1 / double(std::max<index>(d_, 1)) : 1.0),
        gain_(g),
        unit_(X.rows(), X.cols()),
        inverse_(std::size_t(rows_ * heads)) {
    for (index i = 0; i < rows_; ++i)
      for (index h = 0; h < heads; ++h) {
        const T* const x = X.data() + i * X.cols() + h * d_;
        double sum = 0;
        for (index c = 0; c < d_; ++c) sum += double(x[c]) * double(x[c]);
        const double r = std::sqrt(share_ * sum + o.epsilon);
        const double by = r == 0 ? 0 : 1 / r;
        inverse_[std::size_t(i * heads + h)] = by;
        for (index c = 0; c < d_; ++c) unit_(i, h * d_ + c) = T(double(x[c]) * by);
      }
  }

  [[nodiscard]] row_major<T> rows() const {
    row_major<T> Y = unit_;
    for (index c = 0; gain_.size() > 0 && c < Y.cols(); ++c) Y.col(c) *= gain_[c % d_];
    return Y;
  }

  ///   dx = (g ∘ dy − x̂ · share · Σ g ∘ dy ∘ x̂) / r,  dg += dy ∘ x̂
  [[nodiscard]] row_major<T> back(const row_major<T>& dY,
                                  Eigen::Matrix<T, 1, Eigen::Dynamic>& dgain) const {
    row_major<T> dX = row_major<T>::Zero(rows_, unit_.cols());
    for (index i = 0; i < rows_; ++i)
      for (index h = 0; h < heads_; ++h) {
        const index at = i * unit_.cols() + h * d_;
        const T *const dy = dY.data() + at, *const x = unit_.data() + at;
        if (!has_gradient(dy, d_)) continue;
        double along = 0;
        const auto g = [&](index c) { return gain_.size() > 0 ? gain_[c] * dy[c] : dy[c]; };
        for (index c = 0; c < d_; ++c) {
          along += double(g(c)) * double(x[c]);
          if (dgain.size() > 0) dgain[c] += dy[c] * x[c];
        }
        const double by = inverse_[std::size_t(i * heads_ + h)];
        for (index c = 0; c < d_; ++c)
          dX.data()[at + c] = T(by * (double(g(c)) - double(x[c]) * share_ * along));
      }
    return dX;
  }

 private:
  index rows_, heads_, d_;
  double share_;
  const Eigen::Matrix<T, 1, Eigen::Dynamic>& gain_;
  row_major<T> unit_;
  std::vector<double> inverse_;
};

template <class M, class G>
void check_scored(const char* where, index queries, index columns, const M& dO, const G& weights,
                  const G& gradients) {
  check_gradients(where, weights, gradients);
  check_sizes(where, "dO.rows()", dO.rows(), "Q.rows()", queries, "a gradient for each query");
  check_sizes(where, "dO.cols()", dO.cols(), "the columns of the output", columns,
              "a gradient for each entry of the output");
}

}  // namespace detail

/// The way back through attention(Q, K, V, scores::qk_norm(p.gain_q, p.gain_k, p.options),
/// policies…), given dO, with weights computed again; adds to the gradients of the gains.
///   x̂ = x / r:   dx = (g ∘ dy − x̂ · (Σ g ∘ dy ∘ x̂) / d) / r   (rms; l2: not divided by d)
/// A row of zeros without an ε gets none.
/// \see Henry et al., 2020, Eq. (3); Zhang and Sennrich, 2019, Eq. (4).
/// \param policies  those of the call but the score.
/// \throws shape_error  as attention(), and unless dO and gradients fit; nothing is written then.
/// Cost: that of attention and of attention_backward().
template <class T, dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto scored_attention_backward(const qk_norm_parameters<T>& p, const Q& q, const K& k,
                                             const V& v, const G& dO,
                                             qk_norm_parameters<T>& gradients,
                                             const Ps&... policies) {
  attention_gradients<plain_matrix_like<Q>> g;
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, G>() &&
                detail::check_no_score<Ps...>()) {
    using matrix = detail::row_major<T>;
    const char* where = "scored_attention_backward";
    const heads h = detail::heads_of(policies...);
    const auto bound = detail::bind(where, q, k, v, scores::dot{}, policies...);
    const index d = bound.call().query_features();
    for (const auto* gain : {&p.gain_q, &p.gain_k})
      if (gain->size() > 0)
        detail::check_sizes(where, gain == &p.gain_q ? "gain_q.size()" : "gain_k.size()",
                            gain->size(), "the features of a head", d,
                            "a gain has an entry for each feature of a head");
    detail::check_parameter<T>(where, "epsilon", p.options.epsilon, detail::parameter::not_negative,
                               "it is finite and not negative");
    detail::check_scored(where, q.rows(), bound.output_columns(), dO, p, gradients);
    const detail::normalised_heads<T> of_q(matrix(q), h.query, p.gain_q, p.options);
    const detail::normalised_heads<T> of_k(matrix(k), h.kv_or_query(), p.gain_k, p.options);
    const auto all =
        p.options.norm == scores::row_norm::rms
            ? detail::made_back<T>(of_q.rows(), of_k.rows(), v, dO, scores::scaled_dot{},
                                   policies...)
            : detail::made_back<T>(of_q.rows(), of_k.rows(), v, dO, scores::dot{}, policies...);
    g.dQ = of_q.back(all.dQ, gradients.gain_q);
    g.dK = of_k.back(all.dK, gradients.gain_k);
    g.dV = all.dV;
  }
  return g;
}

/// The same with scores::trilinear(p.w); adds to gradients.w.
/// \see Seo et al., "Bidirectional Attention Flow for Machine Comprehension", 2017, Eq. (1).
template <class T, dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto scored_attention_backward(const trilinear_parameters<T>& p, const Q& q,
                                             const K& k, const V& v, const G& dO,
                                             trilinear_parameters<T>& gradients,
                                             const Ps&... policies) {
  attention_gradients<plain_matrix_like<Q>> g;
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, G>() &&
                detail::check_no_score<Ps...>()) {
    using matrix = detail::row_major<T>;
    const char* where = "scored_attention_backward";
    const auto bound = detail::bind(where, q, k, v, scores::trilinear<T>(p.w), policies...);
    const index d = bound.call().query_features(), heads = bound.call().query_heads;
    const index kv = bound.call().kv_heads, wide = d + 1;
    detail::check_scored(where, q.rows(), bound.output_columns(), dO, p, gradients);
    const bool joined = p.w.size() == 3 * d;
    const auto product = [&](index c) { return joined ? p.w[2 * d + c] : T(0); };
    const matrix queries = q, keys = k;
    matrix Q_made = matrix::Zero(q.rows(), heads * wide), K_made(k.rows(), kv * wide);
    for (index h = 0; h < heads; ++h)
      for (index i = 0; i < q.rows(); ++i)
        for (index c = 0; c < d; ++c) {
          const T x = queries(i, h * d + c);
          Q_made(i, h * wide + c) = joined ? x * product(c) + p.w[d + c] : p.w[d + c];
          Q_made(i, h * wide + d) += p.w[c] * x;
        }
    for (index h = 0; h < kv; ++h) {
      K_made.middleCols(h * wide, d) = keys.middleCols(h * d, d);
      K_made.col(h * wide + d).setOnes();
    }
    const auto all = detail::made_back<T>(Q_made, K_made, v, dO, scores::dot{}, policies...);
    g.dQ.setZero(q.rows(), q.cols());
    g.dK.resize(k.rows(), k.cols());
    for (index h = 0; h < kv; ++h) g.dK.middleCols(h * d, d) = all.dK.middleCols(h * wide, d);
    for (index h = 0; h < heads; ++h)
      for (index i = 0; i < q.rows(); ++i) {
        const T* const dy = all.dQ.data() + i * all.dQ.cols() + h * wide;
        if (!detail::has_gradient(dy, wide)) continue;
        for (index c = 0; c < d; ++c) {
          const T x = queries(i, h * d + c);
          g.dQ(i, h * d + c) = dy[c] * product(c) + dy[d] * p.w[c];
          gradients.w[c] += dy[d] * x;
          gradients.w[d + c] += dy[c];
          if (joined) gradients.w[2 * d + c] += dy[c] * x;
        }
      }
    g.dV = all.dV;
  }
  return g;
}

/// \}

SOFTLOOK_NAMESPACE_END
