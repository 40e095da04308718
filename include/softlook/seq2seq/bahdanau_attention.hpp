#pragma once

#include "softlook/score/additive.hpp"
#include "softlook/seq2seq/detail/decoder_memory.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup additive
/// \{

/// g · v / |v|: the weight vector of normalised additive attention (weight normalisation).
/// \see Salimans and Kingma, 2016, Eq. (2). A zero v stays zero.
/// \throws argument_error  unless g is finite.
template <dense_expression V>
[[nodiscard]] auto weight_norm(const V& v, detail::scalar_of<V> g) {
  using T = detail::scalar_of<V>;
  detail::check_parameter<T>("weight_norm", "g", double(g), detail::parameter::finite,
                             "it is finite");
  Eigen::Matrix<T, Eigen::Dynamic, 1> out(v.size());
  if constexpr (int(V::RowsAtCompileTime) == 1)
    out = v.matrix().transpose();
  else
    out = v.matrix();
  const T norm = out.stableNorm();
  if (norm > 0) out *= g / norm;
  return out;
}

/// The matrices of an additive score as parameters of a model hold them; an empty b is none.
template <class T>
struct additive_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;
  matrix Wq{};  ///< d_q×a
  matrix Wk{};  ///< d_k×a
  vector v{};   ///< a
  vector b{};   ///< a

  /// The score policy, a view of them.
  [[nodiscard]] scores::additive<T> score() const&;
  scores::additive<T> score() const&& = delete;  // a view of a temporary would dangle

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("Wq", p.Wq...);
    f("Wk", p.Wk...);
    f("v", p.v...);
    f("b", p.b...);
  }
};

namespace detail {

/// The policy of these matrices; an empty b is none.
template <class T, class M, class V>
[[nodiscard]] scores::additive<T> additive_score(const M& Wq, const M& Wk, const V& v, const V& b) {
  if (b.size() == 0) return scores::additive<T>(Wq, Wk, v);
  return scores::additive<T>(Wq, Wk, v, b);
}

/// A copy of the score and its matrices.
/// \throws shape_error  unless they share one hidden size.
template <class T>
[[nodiscard]] decoder_score<T> owned(const char* where, const scores::additive<T>& score) {
  const score_recipe<T> r =
      score.template recipe<T>(where, score.query_features(), score.key_features());
  decoder_score<T> own;
  own.queries = {packed_linear<T>(*r.project_queries, r.query_bias.value_or(matrix_view<T>{}),
                                  activation::none),
                 "Wq.rows()", "Wq maps a query to the hidden features"};
  own.keys = {packed_linear<T>(*r.project_keys, {}, activation::none), "Wk.rows()",
              "Wk maps a key to the hidden features"};
  own.v = map_of(r.v).transpose();
  own.additive = true;
  return own;
}

/// Queries and keys stay as they are.
template <class T>
[[nodiscard]] decoder_score<T> owned(const char* where,
                                     const scores::additive_projected<T>& score) {
  const score_recipe<T> r =
      score.template recipe<T>(where, score.query_features(), score.key_features());
  const char* rule = "projected queries, projected keys and v share one size";
  decoder_score<T> own;
  own.queries = {{}, "keys.cols()", rule};
  own.keys = {{}, "v.size()", rule};
  own.v = map_of(r.v).transpose();
  own.additive = true;
  return own;
}

}  // namespace detail

template <class T>
scores::additive<T> additive_parameters<T>::score() const& {
  return detail::additive_score<T>(Wq, Wk, v, b);
}

/// Bahdanau's attention as a decoder uses it: a score, the memory projected once by
/// set_memory(keys, values), then a step for each query.
///   e_ij = v · tanh(s_i W_q + h_j W_k + b),  α_i = softmax(e_i),  c_i = Σ_j α_ij value_j
///
///     bahdanau_attention<float> decoder(scores::additive{Wq, Wk, v});
///
/// scores::additive_projected{v} leaves queries and keys as they are: e_ij = v · tanh(s_i + h_j),
/// Keras' AdditiveAttention.
/// \see Bahdanau et al., 2015, Eq. (4)–(6) and appendix A.1.2.
/// The score is a view; the attention owns copies of its matrices, which may die, and of the
/// projected memory, which takes 4·m·a + m·e scalars: set_memory() also packs the keys and takes
/// e^{2k} and tanh k, so that a step costs a multiply-add and a reciprocal for a key and hidden
/// feature.
/// Cost of a step: O(d_q·a + m·(a + e)) for each query. Steps run on the few-query kernel, or on
/// the naive one where options::kernel asks for it. Keys are packed for the best instruction set: a
/// step that is forced to another one packs them anew. A row has the same bits alone and among
/// others.
template <real_scalar T>
class bahdanau_attention final : public detail::decoder_memory<T> {
 public:
  /// \param score  scores::additive{Wq, Wk, v}, scores::additive{Wq, Wk, v, b} or
  ///               scores::additive_projected{v}.
  /// \throws shape_error  unless both projections, v and b share one hidden size.
  template <score_policy Score>
  explicit bahdanau_attention(const Score& score) : detail::decoder_memory<T>(own(score)) {}

  /// Context (n×e) and weights (n×m) of one query row, or of several.
  /// \param policies  transforms, a mask, an executor, options as in attention().
  /// \throws argument_error  before set_memory(); shape_error unless query.cols() == W_q.rows().
  template <dense_expression Q, class... Ps>
  [[nodiscard]] decoder_step<T> step(const Q& query, const Ps&... policies) const {
    return this->template attend<true>("bahdanau_attention::step", query, this->projected_keys(),
                                       policies...);
  }

  /// step() into the caller's matrices, which are never resized; the weights are row-major. With a
  /// workspace that has grown, or for queries of a few thousand hidden features, it allocates
  /// nothing.
  /// \throws  as step(); argument_error if one of them overlaps the query.
  template <dense_expression Q, dense_expression C, dense_expression W, class... Ps>
  void step_into(const Q& query, C&& context, W&& weights, const Ps&... policies) const {
    this->template attend_into<true>("bahdanau_attention::step_into", query, this->projected_keys(),
                                     context, weights, policies...);
  }

 private:
  template <class Score>
  [[nodiscard]] static detail::decoder_score<T> own(const Score& score) {
    constexpr bool additive = detail::is_made_from<Score, scores::additive> ||
                              detail::is_made_from<Score, scores::additive_projected>;
    static_assert(additive,
                  "softlook: bahdanau_attention takes scores::additive{Wq, Wk, v}, "
                  "scores::additive{Wq, Wk, v, b} or scores::additive_projected{v}; "
                  "luong_attention takes the multiplicative scores");
    if constexpr (additive) {
      constexpr bool same = detail::scalar_fits<Score, T>();
      static_assert(same,
                    "softlook: the parameters must have the scalar type of bahdanau_attention<T>");
      if constexpr (same) return detail::owned<T>("bahdanau_attention", score);
    }
    return {};
  }
};

/// \}

SOFTLOOK_NAMESPACE_END
