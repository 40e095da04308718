#pragma once

#include <optional>

#include "softlook/detail/decoder.hpp"
#include "softlook/score/additive.hpp"
#include "softlook/score/dot.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup multiplicative
/// \{

/// Luong's attention as a decoder uses it: the memory projected once by set_memory(keys, values),
/// then a step for each query.
///   dot      e_j = q · k_j
///   general  e_j = q W k_jᵀ,            W: d_q×d_k
///   concat   e_j = v · tanh([q k_j] W), W: (d_q + d_k)×a, v: a
/// scaled_dot is dot over √d. Weights are softmax(e), the context Σ_j α_j value_j.
///
/// \see Luong et al., "Effective Approaches to Attention-based Neural Machine Translation", 2015,
///      Eq. (7) and (8). Owns copies of its parameters and of the memory, which `general` and
///      `concat` project when it is set.
/// Cost of a step: O(m·(d_k + e)) for each query, with concat O(d_q·a + m·(a + e)).
template <real_scalar T>
class luong_attention final : public detail::decoder_memory<T> {
 public:
  using typename detail::decoder_memory<T>::matrix;
  using typename detail::decoder_memory<T>::vector;

  [[nodiscard]] static luong_attention dot() { return luong_attention(kind::dot); }
  [[nodiscard]] static luong_attention scaled_dot() { return luong_attention(kind::scaled_dot); }

  template <dense_expression M>
  [[nodiscard]] static luong_attention general(const M& W) {
    static_assert(detail::check_scalars<M, matrix>());
    luong_attention a(kind::general);
    a.W_ = W;
    return a;
  }

  /// \throws shape_error  unless v.size() == W.cols().
  template <dense_expression M, dense_expression V>
  [[nodiscard]] static luong_attention concat(const M& W, const V& v) {
    static_assert(detail::check_scalars<M, V, matrix>());
    luong_attention a(kind::concat);
    a.W_ = W;
    a.v_ = detail::as_column<T>(v);
    detail::check_sizes("luong_attention::concat", "v.size()", a.v_.size(), "W.cols()", a.W_.cols(),
                        "v has an entry for each hidden feature");
    return a;
  }

  /// Context (n×e) and weights (n×m) of one query row, or of several.
  /// \param policies  transforms, a mask, an executor, options as in attention().
  /// \throws argument_error  before set_memory(); shape_error unless the query fits.
  template <dense_expression Q, class... Ps>
  [[nodiscard]] decoder_step<T> step(const Q& query, const Ps&... policies) const {
    static_assert(detail::check_scalars<Q, matrix>());
    const char* where = "luong_attention::step";
    const matrix q = query.matrix();
    switch (kind_) {
      case kind::general:
        detail::check_sizes(where, "query.cols()", q.cols(), "W.rows()", W_.rows(),
                            "W maps a query to the features of a key");
        break;  // the memory holds K Wᵀ
      case kind::concat: {
        detail::check_sizes(where, "query.cols()", q.cols(), "W.rows() - keys.cols()",
                            W_.rows() - key_features_, "W maps a query beside a key");
        const auto isa = detail::chosen_instruction_set(where, detail::options_of(policies...));
        return this->attend(where, detail::projected(Wq_, q, isa), scores::additive_projected{v_},
                            policies...);
      }
      case kind::scaled_dot:
        return this->attend(where, q, scores::scaled_dot{}, policies...);
      case kind::dot:
        break;
    }
    return this->attend(where, q, scores::dot{}, policies...);
  }

 private:
  enum class kind { dot, scaled_dot, general, concat };
  explicit luong_attention(kind which) : kind_(which) {}

  void check_key_features(const char* where, index features) const override {
    if (kind_ == kind::general)
      detail::check_sizes(where, "keys.cols()", features, "W.cols()", W_.cols(),
                          "W maps a query to the features of a key");
    if (kind_ == kind::concat && features > W_.rows())
      detail::raise_sizes(where, "keys.cols()", features, "W.rows()", W_.rows(),
                          "W maps a query beside a key, so it has more rows than a key features");
  }
  [[nodiscard]] matrix project(const matrix& keys) override {
    key_features_ = keys.cols();
    if (kind_ != kind::general && kind_ != kind::concat) return keys;
    if (kind_ == kind::concat) Wq_ = detail::packed<T>(matrix(W_.topRows(W_.rows() - keys.cols())));
    const matrix Wk =
        kind_ == kind::concat ? matrix(W_.bottomRows(keys.cols())) : matrix(W_.transpose());
    return detail::projected(detail::packed<T>(Wk), keys, detail::best_instruction_set());
  }
  [[nodiscard]] bool takes_prepared_keys() const override { return kind_ == kind::concat; }

  kind kind_;
  matrix W_;
  detail::packed_linear<T> Wq_;  // concat: the upper rows of W
  vector v_;
  index key_features_ = 0;
};

/// \}

SOFTLOOK_NAMESPACE_END
