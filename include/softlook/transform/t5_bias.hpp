#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/transform/relative_rows.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup transforms
/// \{

/// How T5 sorts relative positions into buckets: near distances one by one, far ones on a
/// logarithmic scale, everything from `max_distance` on in the last bucket.
struct t5_buckets {
  index count = 32;
  index max_distance = 128;
  bool bidirectional = true;  ///< half of the buckets for later keys; false: those share bucket 0
};

namespace detail {

/// Buckets of one direction; the first half of them holds one distance each.
[[nodiscard]] constexpr index t5_one_direction(const t5_buckets& b) {
  return b.bidirectional ? b.count / 2 : b.count;
}

inline void check_t5_buckets(const char* where, const t5_buckets& b) {
  constexpr index largest = index(1) << 24;  // a bias for each distance is stored
  if (b.bidirectional && b.count % 2 != 0)
    raise_argument(where, "buckets.count", double(b.count),
                   "each of the two directions has half of the buckets");
  if (t5_one_direction(b) < 2 || b.count > largest)
    raise_argument(where, "buckets.count", double(b.count),
                   "there are at least 2 buckets for each direction, and at most 2^24");
  if (b.max_distance <= t5_one_direction(b) / 2 || b.max_distance > largest)
    raise_argument(where, "buckets.max_distance", double(b.max_distance),
                   "it lies beyond the distances that have a bucket of their own, " +
                       std::to_string(t5_one_direction(b) / 2) + ", and below 2^24");
}

[[nodiscard]] inline index t5_bucket_unchecked(index relative, const t5_buckets& b) {
  const index count = t5_one_direction(b), exact = count / 2;
  const index first = b.bidirectional && relative > 0 ? count : 0;
  if (!b.bidirectional && relative > 0) return 0;
  // Nothing lies beyond max_distance; clamped first, because −relative may not exist.
  const index distance =
      relative > 0 ? std::min(relative, b.max_distance) : -std::max(relative, -b.max_distance);
  if (distance < exact) return first + distance;
  // A distance exactly on a border belongs to the farther bucket, whatever log rounds to.
  constexpr double rounding = 1e-9;
  const double steps = std::log(double(distance) / double(exact)) /
                       std::log(double(b.max_distance) / double(exact)) * double(count - exact);
  return first + std::min(count - 1, exact + static_cast<index>(steps + rounding));
}

}  // namespace detail

/// T5's bucket of a relative position r = key − query. With c buckets for each direction, e = c/2:
///   |r| < e:  |r|,   otherwise  min(c − 1, e + ⌊ln(|r|/e) / ln(max_distance/e) · (c − e)⌋),
/// and c more for r > 0 when bidirectional (c = count/2). Otherwise c = count and r > 0 is bucket
/// 0.
///
/// \see Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
///      Transformer", 2020, section 2.1, and their published code.
/// \throws argument_error  unless each direction has two buckets, count is even when bidirectional,
///                         and max_distance > e.
[[nodiscard]] inline index t5_bucket(index relative, const t5_buckets& buckets = {}) {
  detail::check_t5_buckets("t5_bucket", buckets);
  return detail::t5_bucket_unchecked(relative, buckets);
}

/// T5's learned bias of each bucket and head, spread over distances:
///   b(r, h) = table(bucket(r), h)
///
/// table: buckets × heads, copied. Holds 2·max_distance + 7 numbers for each head.
/// \see t5_bucket, transforms::t5_bias
template <real_scalar T>
class t5_relative_bias {
 public:
  using matrix_type = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

  /// \throws shape_error     unless the table has a row for each bucket.
  /// \throws argument_error  as t5_bucket().
  template <dense_expression M>
  explicit t5_relative_bias(const M& table, const t5_buckets& buckets = {})
      : reach_(buckets.max_distance), heads_(table.cols()) {
    static_assert(std::is_same_v<detail::scalar_of<M>, T>,
                  "softlook: the table and the bias share one scalar type");
    const char* where = "t5_relative_bias";
    detail::check_t5_buckets(where, buckets);
    detail::check_sizes(where, "table.rows()", table.rows(), "buckets.count", buckets.count,
                        "the table has a row for each bucket and a column for each head");
    const matrix_type rows = table.matrix();
    by_distance_.resize(static_cast<std::size_t>(width() * heads_));
    for (index r = -reach_; r <= reach_; ++r) {
      const index bucket = detail::t5_bucket_unchecked(r, buckets);
      for (index h = 0; h < heads_; ++h) by_distance_[place(r, h)] = rows(bucket, h);
    }
    for (index h = 0; h < heads_; ++h)
      detail::fill_margins(by_distance_.data() + h * width(), reach_);
  }

  [[nodiscard]] index heads() const { return heads_; }
  /// Relative positions beyond ±reach() have the bias of ±reach().
  [[nodiscard]] index reach() const { return reach_; }

  /// The bias of a relative position r = key − query. \throws argument_error  unless there is such
  /// a head.
  [[nodiscard]] T operator()(index relative, index head) const {
    check_head("t5_relative_bias", head);
    return by_distance_[place(std::clamp(relative, -reach_, reach_), head)];
  }

  /// One head's bias as a matrix, n×m; query i stands at position first_query + i, keys at 0, 1, …
  /// For looking at it; transforms::t5_bias does without. \throws argument_error  unless there is
  /// such a head and no size is negative.
  [[nodiscard]] matrix_type matrix(index queries, index keys, index head,
                                   index first_query = 0) const {
    const char* where = "t5_relative_bias::matrix";
    check_head(where, head);
    if (queries < 0) detail::raise_argument(where, "queries", double(queries), "at least 0");
    if (keys < 0) detail::raise_argument(where, "keys", double(keys), "at least 0");
    matrix_type B(queries, keys);
    for (index j = 0; j < keys; ++j)
      for (index i = 0; i < queries; ++i)
        B(i, j) = by_distance_[place(std::clamp(j - first_query - i, -reach_, reach_), head)];
    return B;
  }

  /// The biases of a head, query 0 at the given position, for kernels that add blocks of them.
  [[nodiscard]] detail::relative_rows<T> of_head(index head, std::int32_t position) const {
    return {by_distance_.data() + head * width(), 0, static_cast<std::int32_t>(reach_), position};
  }

 private:
  [[nodiscard]] index width() const { return detail::relative_rows<T>::width(reach_); }
  [[nodiscard]] std::size_t place(index relative, index head) const {
    return static_cast<std::size_t>(head * width() + relative + reach_ +
                                    detail::relative_rows<T>::margin);
  }
  void check_head(const char* where, index head) const {
    if (head < 0 || head >= heads_)
      detail::raise_argument(where, "head", double(head),
                             "the table has " + std::to_string(heads_) + " heads");
  }

  index reach_;
  index heads_;
  std::vector<T> by_distance_;
};

template <class M>
t5_relative_bias(const M&, const t5_buckets&) -> t5_relative_bias<detail::scalar_of<M>>;
template <class M>
t5_relative_bias(const M&) -> t5_relative_bias<detail::scalar_of<M>>;

namespace transforms {

/// T5's bias, with a look-up for each score and no n×m matrix:
///   s ← s + b(j − (f + i), head)
///
/// The first query stands at position f; unset it is m − n, so that the last query is beside the
/// last key, as in decoding with a cache. A view of the bias, one head for each query head. T5 does
/// not scale its scores: give scores::dot as well, or options{.scale = 1} to a multi_head layer.
/// Its layers share the bias of the first one: keep one t5_relative_bias for all of them.
/// \see Raffel et al., 2020, section 2.1.
template <real_scalar T>
struct t5_bias {
  using policy_kind = transform_kind;
  using scalar = T;

  explicit t5_bias(const t5_relative_bias<T>& bias, std::optional<index> first_query = {})
      : bias_(&bias), first_(first_query) {}
  explicit t5_bias(t5_relative_bias<T>&&, std::optional<index> = {}) = delete;  // would dangle
  explicit t5_bias(const t5_relative_bias<T>&&, std::optional<index> = {}) = delete;

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return s + static_cast<S>(*added(p).at(i, j));
  }
  /// The biases of a head, for kernels that add blocks of them.
  [[nodiscard]] softlook::detail::relative_rows<T> added(problem p) const {
    return bias_->of_head(p.head, softlook::detail::position_of_query_0(first_, p));
  }
  /// \throws shape_error     unless the table has a column for each query head.
  /// \throws argument_error  unless 0 ≤ f and f + n < 2³¹.
  void check(const char* where, problem p) const {
    if (p.head >= bias_->heads())
      softlook::detail::raise_sizes(where, "transforms::t5_bias heads", bias_->heads(),
                                    "the number of query heads", p.head + 1,
                                    "the table has a column for each query head");
    if (first_ && (*first_ < 0 || *first_ > std::numeric_limits<std::int32_t>::max() - p.queries))
      softlook::detail::raise_argument(where, "transforms::t5_bias first_query", double(*first_),
                                       "positions lie between 0 and 2^31");
  }

 private:
  const t5_relative_bias<T>* bias_;
  std::optional<index> first_;
};

template <class T>
t5_bias(const t5_relative_bias<T>&) -> t5_bias<T>;
template <class T>
t5_bias(const t5_relative_bias<T>&, std::optional<index>) -> t5_bias<T>;

}  // namespace transforms
/// \}

SOFTLOOK_NAMESPACE_END
