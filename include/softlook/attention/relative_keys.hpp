#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include "softlook/engine/call/readable.hpp"
#include "softlook/engine/run/shown_weights.hpp"
#include "softlook/transform/relative_rows.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup transforms
/// \{

/// What Shaw's relative positions on keys add to the scores of some queries:
///   R(i, h, r) = scale · q_i^h · a_r,  −clip ≤ r ≤ clip
///
/// \see Shaw et al., "Self-Attention with Relative Position Representations", 2018, Eq. (4), (5).
/// Q: n×(heads·d). A: (2·clip + 1)×d, row r + clip for the relative position r, shared by all
/// heads; or ×(heads·d), the columns of a head its own. Holds n·heads·(2·clip + 7) numbers, of the
/// queries as they are when it is made.
/// \throws shape_error     unless heads divides the columns of Q and A has the columns of one head
///                         or of all.
/// \throws argument_error  unless A has an odd number of rows, heads ≥ 1, the scale is finite, and
///                         n·(2·clip + 7) < 2³¹.
/// Cost: O(n·heads·clip·d), by the product of the kernels.
template <real_scalar T>
class relative_keys {
 public:
  /// An unset scale is 1/√d, that of scores::scaled_dot.
  template <dense_expression Q, dense_expression A>
  relative_keys(const Q& q, const A& a, index heads = 1, std::optional<double> scale = {})
      : queries_(q.rows()), heads_(heads), clip_(a.rows() / 2) {
    static_assert(
        std::is_same_v<detail::scalar_of<Q>, T> && std::is_same_v<detail::scalar_of<A>, T>,
        "softlook: Q, A and what is made of them share one scalar type");
    const detail::readable<Q> queries(q);
    const detail::readable<A> positions(a);
    make(queries.view(), positions.view(), scale);
  }

  [[nodiscard]] index queries() const { return queries_; }
  [[nodiscard]] index heads() const { return heads_; }
  /// Relative positions beyond ±clip() are those of ±clip().
  [[nodiscard]] index clip() const { return clip_; }

  /// \throws argument_error  unless there is such a query and such a head.
  [[nodiscard]] T operator()(index query, index head, index relative) const {
    check_within("query", query, queries_);
    check_within("head", head, heads_);
    return *of_head(head, 0).at(std::int32_t(query),
                                std::int32_t(query + std::clamp(relative, -clip(), clip())));
  }
  /// Those of a head, query 0 at the given position, for kernels that add blocks of them.
  [[nodiscard]] detail::relative_rows<T> of_head(index head, std::int32_t position) const {
    return {values_.data() + head * queries_ * width(), width(), std::int32_t(clip_), position};
  }

 private:
  [[nodiscard]] index width() const { return detail::relative_rows<T>::width(clip_); }
  void check_within(const char* name, index at, index count) const {
    if (at < 0 || at >= count)
      detail::raise_argument("relative_keys", name, double(at),
                             detail::formatted("there are %td", count).text);
  }

  void make(const matrix_view<T>& Q, const matrix_view<T>& A, std::optional<double> given) {
    const char* const where = "relative_keys";
    if (heads_ < 1) detail::raise_argument(where, "heads", double(heads_), "there is at least 1");
    if (Q.cols % heads_ != 0)
      detail::raise_sizes(where, "Q.cols()", Q.cols, "heads", heads_,
                          "every head has the same number of columns");
    const index d = Q.cols / heads_;
    if (A.rows % 2 == 0)
      detail::raise_argument(where, "A.rows()", double(A.rows),
                             "it is 2 · clip + 1: a row for each position from -clip to clip");
    if (A.cols != Q.cols)
      detail::check_sizes(where, "A.cols()", A.cols, "Q.cols() / heads", d,
                          "a relative position has the features of a head, or of all");
    if (queries_ > std::numeric_limits<std::int32_t>::max() / width())
      detail::raise_argument(
          where, "A.rows()", double(A.rows),
          detail::formatted("6 more, times Q.rows(), %td, are below 2^31", queries_).text);
    const double scale = given.value_or(1 / std::sqrt(double(std::max<index>(d, 1))));
    detail::check_parameter<T>(where, "scale", scale, detail::parameter::finite,
                               "a scale is finite");
    values_.resize(static_cast<std::size_t>(heads_ * queries_ * width()));
    const instruction_set isa = detail::chosen_instruction_set(where, options{});
    const detail::register_shape& r = detail::registers_of<T>(isa);
    std::vector<T> packed(
        static_cast<std::size_t>((detail::round_up(queries_, r.width()) + r.rows) * d));
    for (index h = 0; h < heads_; ++h) {
      T* const of_head = values_.data() + h * queries_ * width();
      detail::whole_scores_of<T>(isa)(
          Q.columns(h * d, d), A.columns(A.cols == Q.cols ? h * d : 0, d), T(scale),
          {of_head + detail::relative_rows<T>::margin, queries_, A.rows, width(), 1},
          packed.data());
      for (index i = 0; i < queries_; ++i) detail::fill_margins(of_head + i * width(), clip_);
    }
  }

  index queries_;
  index heads_;
  index clip_;
  std::vector<T> values_;
};

template <class Q, class A>
relative_keys(const Q&, const A&) -> relative_keys<detail::scalar_of<Q>>;
template <class Q, class A>
relative_keys(const Q&, const A&, index) -> relative_keys<detail::scalar_of<Q>>;
template <class Q, class A>
relative_keys(const Q&, const A&, index, std::optional<double>)
    -> relative_keys<detail::scalar_of<Q>>;

namespace transforms {

/// Shaw's relative positions on keys, with a look-up for each score:
///   s ← s + R(i, head, clip(j − (f + i)))
/// which makes of scaled dot products  s_ij = q_i·(k_j + a_{clip(j − (f + i))}) / √d.
///
/// \see Shaw et al., 2018, Eq. (4).
/// R has a row for each query of the problem and a head for each query head. Its first query stands
/// at position f; unset it is m − n, so that the last query is beside the last key. A view of R.
template <real_scalar T>
struct relative_keys {
  using policy_kind = transform_kind;
  using scalar = T;

  explicit relative_keys(const softlook::relative_keys<T>& R, std::optional<index> first_query = {})
      : R_(&R), first_(first_query) {}
  explicit relative_keys(softlook::relative_keys<T>&&, std::optional<index> = {}) = delete;
  explicit relative_keys(const softlook::relative_keys<T>&&, std::optional<index> = {}) = delete;

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return s + static_cast<S>(*added(p).at(i, j));
  }
  /// R of a head, for kernels that add blocks of it.
  [[nodiscard]] softlook::detail::relative_rows<T> added(problem p) const {
    return R_->of_head(p.head, softlook::detail::position_of_query_0(first_, p));
  }
  /// \throws shape_error     unless R has a head for each query head and a row for each query.
  /// \throws argument_error  unless 0 ≤ f and f + n < 2³¹.
  void check(const char* where, problem p) const {
    using softlook::detail::raise_sizes;
    if (p.head >= R_->heads())
      raise_sizes(where, "transforms::relative_keys heads", R_->heads(),
                  "the number of query heads", p.head + 1, "R has a head for each query head");
    softlook::detail::check_sizes(where, "transforms::relative_keys queries", R_->queries(),
                                  "Q.rows()", p.queries, "R has a row for each query");
    if (first_ && (*first_ < 0 || *first_ > std::numeric_limits<std::int32_t>::max() - p.queries))
      softlook::detail::raise_argument(where, "transforms::relative_keys first_query",
                                       double(*first_), "positions lie between 0 and 2^31");
  }

 private:
  const softlook::relative_keys<T>* R_;
  std::optional<index> first_;
};

template <class T>
relative_keys(const softlook::relative_keys<T>&) -> relative_keys<T>;
template <class T>
relative_keys(const softlook::relative_keys<T>&, std::optional<index>) -> relative_keys<T>;

}  // namespace transforms
/// \}

SOFTLOOK_NAMESPACE_END
