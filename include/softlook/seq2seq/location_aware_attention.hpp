#pragma once

#include <algorithm>
#include <utility>

#include "softlook/seq2seq/bahdanau_attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup location
/// \{

namespace detail {

/// Additive attention whose keys know something of earlier weights:
///   e_j = v · tanh(q W_q + h_j W_k + f_j U + b).
template <class T>
class additive_with_features : public decoder_memory<T> {
 public:
  using typename decoder_memory<T>::matrix;

 protected:
  /// `features_name` is what the caller calls the size of U's rows.
  additive_with_features(const char* where, const scores::additive<T>& score, const matrix& U,
                         const char* features_name)
      : decoder_memory<T>(own(where, score)), U_(U) {
    check_sizes(where, features_name, U_.cols(), "Wq.cols()", this->score().v.size(),
                "queries and earlier weights are projected to one hidden size");
  }
  additive_with_features(const additive_with_features&) = default;
  additive_with_features(additive_with_features&&) = default;
  additive_with_features& operator=(const additive_with_features&) = default;
  additive_with_features& operator=(additive_with_features&&) = default;
  ~additive_with_features() = default;

  void check_inputs(const char* where, index query_rows, index query_features, const char* name,
                    index entries) const {
    this->check_query(where, query_features);
    check_sizes(where, "query.rows()", query_rows, "the number of queries in a step", 1,
                "each step depends on the weights of the one before");
    check_sizes(where, name, entries, "memory_size()", this->memory_size(),
                "there is an entry for each row of the memory");
  }
  /// features: a row for each key that is attended to.
  template <class Query, class... Ps>
  [[nodiscard]] decoder_step<T> attend_with(const char* where, const Query& query,
                                            const matrix& features, const Ps&... policies) const {
    const matrix keys = map_of(this->projected_keys()) + features * U_;
    return this->template attend<true>(where, query, view_of(keys), policies...);
  }

 private:
  [[nodiscard]] static decoder_score<T> own(const char* where, const scores::additive<T>& score) {
    decoder_score<T> own = owned<T>(where, score);
    own.keys_stay = false;
    return own;
  }

  matrix U_;
};

}  // namespace detail

/// The response of every filter c at every position j, m×k,
///   f_jc = Σ_l F_cl · x_{j + l − ⌊r/2⌋},
/// with zeros beyond the ends: a cross-correlation, as deep-learning libraries call a convolution.
/// F: k×r, x: m. Cost: O(m·r·k).
template <dense_expression F, dense_expression X>
[[nodiscard]] auto location_features(const F& filters, const X& x) {
  using T = detail::scalar_of<F>;
  static_assert(X::IsVectorAtCompileTime, "softlook: earlier weights are a vector");
  if constexpr (detail::check_scalars<F, X>()) {
    const detail::row_major<T> taps = filters.matrix();
    const Eigen::Matrix<T, Eigen::Dynamic, 1> row = detail::as_column<T>(x);
    const index m = row.size(), half = taps.cols() / 2;
    detail::row_major<T> features = detail::row_major<T>::Zero(m, taps.rows());
    for (index j = 0; j < m; ++j)
      for (index c = 0; c < taps.rows(); ++c) {
        const index begin = std::max<index>(half - j, 0);
        const index end = std::min(taps.cols(), m + half - j);
        T sum = 0;
        for (index l = begin; l < end; ++l) sum += taps(c, l) * row[j + l - half];
        features(j, c) = sum;
      }
    return features;
  }
}

/// Parameters of location_aware_attention; an empty b is none.
template <real_scalar T>
struct location_aware_parameters {
  using matrix = typename decoder_step<T>::matrix;
  using vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;
  matrix Wq;       ///< d_q×a
  matrix Wk;       ///< d_k×a
  matrix filters;  ///< k×r
  matrix U;        ///< k×a
  vector v;        ///< a
  vector b{};      ///< a

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("Wq", p.Wq...);
    f("Wk", p.Wk...);
    f("filters", p.filters...);
    f("U", p.U...);
    f("v", p.v...);
    f("b", p.b...);
  }
};

/// Location-aware attention: additive scores that also see a convolution of the weights of the step
/// before,
///   f_j = F ∗ α_{i−1},  e_ij = v · tanh(s_i W_q + h_j W_k + f_ij U + b),  α_i = softmax(e_i).
///
/// \see Chorowski et al., "Attention-Based Models for Speech Recognition", 2015, Eq. (8) and (9);
///      options{.scale = β} is their sharpening. location_features() says what ∗ is.
/// Owns copies of its parameters and of the projected memory (set_memory).
/// Cost of a step: O(d_q·a + m·(r·k + k·a + a + e)).
template <real_scalar T>
class location_aware_attention final : public detail::additive_with_features<T> {
 public:
  using typename detail::additive_with_features<T>::matrix;

  /// \throws shape_error  unless all share one hidden size and U has a row for each filter.
  explicit location_aware_attention(const location_aware_parameters<T>& p)
      : detail::additive_with_features<T>("location_aware_attention",
                                          detail::additive_score<T>(p.Wq, p.Wk, p.v, p.b), p.U,
                                          "U.cols()"),
        filters_(p.filters) {
    detail::check_sizes("location_aware_attention", "filters.rows()", filters_.rows(), "U.rows()",
                        p.U.rows(), "U has a row for each filter");
  }

  /// Context (1×e) and weights (1×m) of one query row.
  /// \param previous  α_{i−1}, an entry for each row of the memory; zeros before the first step.
  /// \param policies  transforms, a mask, an executor, options as in attention().
  /// \throws argument_error  before set_memory(); shape_error unless query and previous fit.
  template <dense_expression Q, dense_expression P, class... Ps>
  [[nodiscard]] decoder_step<T> step(const Q& query, const P& previous,
                                     const Ps&... policies) const {
    static_assert(detail::check_scalars<Q, P, matrix>());
    const char* where = "location_aware_attention::step";
    this->check_inputs(where, query.rows(), query.cols(), "previous.size()", previous.size());
    const matrix features = location_features(filters_, previous);
    return this->attend_with(where, query, features.topRows(this->projected_keys().rows),
                             policies...);
  }

 private:
  matrix filters_;
};

/// Parameters of coverage_attention; an empty b is none.
template <real_scalar T>
struct coverage_parameters {
  using matrix = typename decoder_step<T>::matrix;
  using vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;
  matrix Wq;   ///< d_q×a
  matrix Wk;   ///< d_k×a
  vector w_c;  ///< a
  vector v;    ///< a
  vector b{};  ///< a

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("Wq", p.Wq...);
    f("Wk", p.Wk...);
    f("w_c", p.w_c...);
    f("v", p.v...);
    f("b", p.b...);
  }
};

/// Attention with coverage: additive scores that see how much a key was attended to so far,
///   c_i = Σ_{i'<i} α_i',  e_ij = v · tanh(s_i W_q + h_j W_k + c_ij w_c + b),  α_i = softmax(e_i).
///
/// \see See et al., "Get To The Point: Summarization with Pointer-Generator Networks", 2017,
///      Eq. (10) and (11); Tu et al., "Modeling Coverage for Neural Machine Translation", 2016,
///      section 3.1 (their linguistic coverage divides c_ij by a key's fertility: hand that in).
/// The caller adds up the weights, `c += step.weights`; coverage_loss() is the penalty.
/// Owns copies of its parameters and of the projected memory (set_memory).
/// Cost of a step: O(d_q·a + m·(a + e)).
template <real_scalar T>
class coverage_attention final : public detail::additive_with_features<T> {
 public:
  using typename detail::additive_with_features<T>::matrix;

  /// \throws shape_error  unless all share one hidden size.
  explicit coverage_attention(const coverage_parameters<T>& p)
      : detail::additive_with_features<T>("coverage_attention",
                                          detail::additive_score<T>(p.Wq, p.Wk, p.v, p.b),
                                          p.w_c.transpose(), "w_c.size()") {}

  /// Context (1×e) and weights (1×m) of one query row.
  /// \param coverage  c_i, an entry for each row of the memory; zeros before the first step.
  /// \param policies  transforms, a mask, an executor, options as in attention().
  /// \throws argument_error  before set_memory(); shape_error unless query and coverage fit.
  template <dense_expression Q, dense_expression P, class... Ps>
  [[nodiscard]] decoder_step<T> step(const Q& query, const P& coverage,
                                     const Ps&... policies) const {
    static_assert(detail::check_scalars<Q, P, matrix>());
    const char* where = "coverage_attention::step";
    this->check_inputs(where, query.rows(), query.cols(), "coverage.size()", coverage.size());
    const matrix features = detail::as_column<T>(coverage).topRows(this->projected_keys().rows);
    return this->attend_with(where, query, features, policies...);
  }
};

/// The coverage loss of each step,
///   loss_i = Σ_j min(α_ij, c_ij),  c_i = Σ_{i'<i} α_i'.
/// \see See et al., 2017, Eq. (12). weights: n×m -> n; the first is 0.
template <dense_expression W>
[[nodiscard]] auto coverage_loss(const W& weights) {
  using T = detail::scalar_of<W>;
  static_assert(real_scalar<T>, "softlook: coverage_loss takes float or double");
  const detail::row_major<T> A = weights.matrix();
  Eigen::Matrix<T, 1, Eigen::Dynamic> coverage =
      Eigen::Matrix<T, 1, Eigen::Dynamic>::Zero(A.cols());
  Eigen::Matrix<T, Eigen::Dynamic, 1> loss(A.rows());
  for (index i = 0; i < A.rows(); ++i) {
    T sum = 0;
    for (index j = 0; j < A.cols(); ++j) sum += std::min(A(i, j), coverage[j]);
    loss[i] = sum;
    coverage += A.row(i);
  }
  return loss;
}

/// \}

SOFTLOOK_NAMESPACE_END
