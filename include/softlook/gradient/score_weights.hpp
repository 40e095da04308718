#pragma once

#include <type_traits>

#include "softlook/gradient/detail/projected_scores.hpp"
#include "softlook/score/additive.hpp"
#include "softlook/score/dot.hpp"
#include "softlook/score/general.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What gradients of a weight are added to: a matrix or vector with a name, or any expression of
/// one whose memory can be written. A view; an empty one is nothing.
template <class T>
struct gradient_view : mutable_matrix_view<T> {
  gradient_view() = default;
  template <dense_expression X>
    requires(!detail::dying_matrix<X>)
  gradient_view(X&& x) : mutable_matrix_view<T>(of(x)) {}
  template <detail::dying_matrix X>
  gradient_view(X&&) = delete;  // a view of a temporary would dangle

 private:
  template <class X>
  [[nodiscard]] static mutable_matrix_view<T> of(X& x) {
    static_assert(std::is_same_v<detail::scalar_of<X>, T>,
                  "softlook: gradients have the scalar type of what they belong to");
    const mutable_matrix_view<T> view = detail::writable_view(x);
    if constexpr (X::IsVectorAtCompileTime && X::ColsAtCompileTime == 1)
      return view.transpose();
    else
      return view;
  }
};

/// Where gradients of the weights of a score go, under the names and in the shapes that the score
/// gives them. They are added to, so that calls of a batch add up; what is left out is not
/// computed:
///   auto g = zeros_like(p);  // additive_parameters: Wq, Wk, v, b
///   backward_extras<float> extras;
///   extras.weights = {.Wq = g.Wq, .Wk = g.Wk, .v = g.v, .b = g.b};
///   attention_backward_into(Q, K, V, O, L, dO, gradients, extras, p.score());
template <class T>
struct score_weight_gradients {
  gradient_view<T> W{};   ///< scores::general, scores::concat
  gradient_view<T> Wq{};  ///< scores::additive
  gradient_view<T> Wk{};  ///< scores::additive
  gradient_view<T> v{};   ///< scores::additive, additive_projected, concat
  gradient_view<T> b{};   ///< scores::additive
};

/// \}

namespace detail {

/// Whether attention_backward() knows a score.
template <class Score>
inline constexpr bool has_way_back =
    std::is_same_v<Score, scores::scaled_dot> || std::is_same_v<Score, scores::dot>;
template <class T>
inline constexpr bool has_way_back<scores::general<T>> = true;
template <class T>
inline constexpr bool has_way_back<scores::additive<T>> = true;
template <class T>
inline constexpr bool has_way_back<scores::additive_projected<T>> = true;
template <class T>
inline constexpr bool has_way_back<scores::concat<T>> = true;

/// Whether queries and keys are projected by rows of one matrix.
template <class Score>
inline constexpr bool has_joint_weights = true;
template <class T>
inline constexpr bool has_joint_weights<scores::additive<T>> = false;

template <class T>
void check_weight_gradient(const char* where, const char* name, const mutable_matrix_view<T>& g,
                           index rows, index cols) {
  if (!g.data) return;
  if (rows == 0)
    raise<argument_error>(
        formatted("%s: the gradient of %s is asked for, but the score has none", where, name).text);
  const char* rule = "a gradient has the shape of its weight";
  check_sizes(where, formatted("rows of the gradient of %s", name).text, g.rows, "its rows", rows,
              rule);
  check_sizes(where, formatted("columns of the gradient of %s", name).text, g.cols, "its columns",
              cols, rule);
}

/// Those of the projections of a call whose score is Score.
/// \throws shape_error, argument_error  unless they are those of weights that the score has.
template <class Score, class T>
[[nodiscard]] projection_gradients<T> projections_of(const attention_call<T>& c,
                                                     const score_weight_gradients<T>& g) {
  const matrix_view<T> Wq = c.score.project_queries.value_or(matrix_view<T>{});
  const matrix_view<T> Wk = c.score.project_keys.value_or(matrix_view<T>{});
  const matrix_view<T> b = c.score.query_bias.value_or(matrix_view<T>{});
  constexpr bool joint = has_joint_weights<Score>;
  check_weight_gradient(c.where, "W", g.W, joint ? Wq.rows + Wk.rows : 0, Wq.cols);
  check_weight_gradient(c.where, "Wq", g.Wq, joint ? 0 : Wq.rows, Wq.cols);
  check_weight_gradient(c.where, "Wk", g.Wk, joint ? 0 : Wk.rows, Wk.cols);
  check_weight_gradient(c.where, "v", g.v, c.score.v.rows, c.score.v.cols);
  check_weight_gradient(c.where, "b", g.b, b.rows, b.cols);
  if (!joint) return {g.Wq, g.Wk, g.b};
  if (!g.W.data) return {};
  return {g.W.rows_from(0, Wq.rows), g.W.rows_from(Wq.rows, Wk.rows), {}};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
