#pragma once

#include <type_traits>

#include "softlook/score/additive.hpp"
#include "softlook/score/dot.hpp"
#include "softlook/score/general.hpp"
#include "softlook/seq2seq/detail/decoder_memory.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup multiplicative
/// \{

namespace detail {

/// q · k of rows as they are.
template <class T>
[[nodiscard]] decoder_score<T> owned_dot(bool scale_by_root) {
  decoder_score<T> own;
  own.queries.size = "keys.cols()";
  own.queries.rule = "queries and keys share one feature size";
  own.scale_by_root = scale_by_root;
  return own;
}
template <class T>
[[nodiscard]] decoder_score<T> owned(const char*, const scores::dot&) {
  return owned_dot<T>(false);
}
template <class T>
[[nodiscard]] decoder_score<T> owned(const char*, const scores::scaled_dot&) {
  return owned_dot<T>(true);
}

/// q · (k Wᵀ): a key is multiplied once, a query in every step.
template <class T>
[[nodiscard]] decoder_score<T> owned(const char* where, const scores::general<T>& score) {
  const score_recipe<T> r =
      score.template recipe<T>(where, score.query_features(), score.key_features());
  const char* rule = "W maps a query to the features of a key";
  decoder_score<T> own;
  own.queries.size = "W.rows()";
  own.queries.rule = rule;
  own.keys = {packed_linear<T>(r.project_queries->transpose(), {}, activation::none), "W.cols()",
              rule};
  return own;
}

/// \throws shape_error  unless v.size() == W.cols().
template <class T>
[[nodiscard]] decoder_score<T> owned(const char* where, const scores::concat<T>& score) {
  const score_recipe<T> r = score.template recipe<T>(where, score.joint_features(), 0);
  decoder_score<T> own;
  own.joint = map_of(*r.project_queries);
  own.queries.size = "W.rows() - keys.cols()";
  own.queries.rule = "W maps a query beside a key";
  own.v = map_of(r.v).transpose();
  own.additive = true;
  return own;
}

}  // namespace detail

/// Luong's attention as a decoder uses it: a score, the memory projected once by
/// set_memory(keys, values), then a step for each query.
///   scores::dot{}         e_j = q · k_j
///   scores::scaled_dot{}  e_j = q · k_j / √d
///   scores::general{W}    e_j = q W k_jᵀ,            W: d_q×d_k
///   scores::concat{W, v}  e_j = v · tanh([q k_j] W), W: (d_q + d_k)×a, v: a
/// Weights are softmax(e), the context Σ_j α_j value_j.
///
///     luong_attention<float> decoder(scores::general{W});
///
/// \see Luong et al., "Effective Approaches to Attention-based Neural Machine Translation", 2015,
///      Eq. (7) and (8).
/// The score is a view; the attention owns copies of its matrices, which may die, and of the
/// memory, which `general` and `concat` project when it is set. `concat` packs its keys as
/// bahdanau_attention does, for the best instruction set.
/// Cost of a step: O(m·(d_k + e)) for each query, with concat O(d_q·a + m·(a + e)).
template <real_scalar T>
class luong_attention final : public detail::decoder_memory<T> {
 public:
  /// \throws shape_error  unless v.size() == W.cols().
  template <score_policy Score>
  explicit luong_attention(const Score& score) : detail::decoder_memory<T>(own(score)) {}

  /// Context (n×e) and weights (n×m) of one query row, or of several.
  /// \param policies  transforms, a mask, an executor, options as in attention().
  /// \throws argument_error  before set_memory(); shape_error unless the query fits.
  template <dense_expression Q, class... Ps>
  [[nodiscard]] decoder_step<T> step(const Q& query, const Ps&... policies) const {
    const char* where = "luong_attention::step";
    const matrix_view<T> keys = this->projected_keys();
    return this->score().additive ? this->template attend<true>(where, query, keys, policies...)
                                  : this->template attend<false>(where, query, keys, policies...);
  }

  /// step() into the caller's matrices, which are never resized; the weights are row-major. With a
  /// workspace that has grown, or for queries of a few thousand hidden features, it allocates
  /// nothing.
  /// \throws  as step(); argument_error if one of them overlaps the query.
  template <dense_expression Q, dense_expression C, dense_expression W, class... Ps>
  void step_into(const Q& query, C&& context, W&& weights, const Ps&... policies) const {
    const char* where = "luong_attention::step_into";
    const matrix_view<T> keys = this->projected_keys();
    if (this->score().additive)
      this->template attend_into<true>(where, query, keys, context, weights, policies...);
    else
      this->template attend_into<false>(where, query, keys, context, weights, policies...);
  }

 private:
  template <class Score>
  [[nodiscard]] static detail::decoder_score<T> own(const Score& score) {
    constexpr bool known =
        std::is_same_v<Score, scores::dot> || std::is_same_v<Score, scores::scaled_dot> ||
        detail::is_made_from<Score, scores::general> || detail::is_made_from<Score, scores::concat>;
    static_assert(known,
                  "softlook: luong_attention takes scores::dot{}, scores::scaled_dot{}, "
                  "scores::general{W} or scores::concat{W, v}; bahdanau_attention takes "
                  "scores::additive{Wq, Wk, v}");
    if constexpr (known) {
      constexpr bool same = detail::scalar_fits<Score, T>();
      static_assert(same,
                    "softlook: the parameters must have the scalar type of luong_attention<T>");
      if constexpr (same) return detail::owned<T>("luong_attention", score);
    }
    return {};
  }
};

/// \}

SOFTLOOK_NAMESPACE_END
