#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "softlook/attention/relative_keys.hpp"
#include "softlook/gradient/attention.hpp"
#include "softlook/transform/t5_bias.hpp"

// What transforms hold is learned from the gradients of scores: visitors of backward_extras that
// sum them.

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup transform_gradients Gradients of what transforms hold
/// Visitors for backward_extras<T>::scores that sum gradients of scores to those of biases, slopes,
/// temperatures and relative positions:
///
///     bias_gradient<float> dB(n, m);
///     backward_extras<float> extras{.scores = std::ref(dB)};
///     attention_backward_into(Q, K, V, O, L, dO, gradients, extras, transforms::bias(B));
///     dB.gradient(B.rows(), B.cols());
///
/// They are made for the n×m scores of one sequence without a frame, and know how many query heads
/// there are. What a visitor is given is the gradient behind all transforms, so those behind the
/// one that is learned only add, as a bias does. Sums are kept in double for each query, which no
/// two tasks of the way back share at a time: no bit depends on threads. Calls add up; make a new
/// one to begin again.
/// \cases tests/unit/gradient/transforms_test.cpp
/// \{

namespace detail {

/// The sizes of a call, against which each block is checked.
struct score_sizes {
  index queries = 0;
  index keys = 0;
  index heads = 1;

  void check(const char* where) const {
    for (const auto& [name, size, least] :
         {check_of{"queries", queries, 0}, {"keys", keys, 0}, {"heads", heads, 1}})
      if (size < least) raise_argument(where, name, double(size), "a number of rows, or of heads");
  }
  template <class T>
  void check(const char* where, const score_gradients<T>& block, index head) const {
    const auto within = [&](const char* name, index end, const char* of, index size) {
      if (end > size)
        raise_sizes(where, name, end, of, size, "it is made for the sizes of the call");
    };
    within("rows of the call", block.first_query + block.dS.rows, "queries", queries);
    within("keys of the call", block.first_key + block.dS.cols, "keys", keys);
    within("heads of the call", head + 1, "heads", heads);
  }

 private:
  struct check_of {
    const char* name;
    index size;
    index least;
  };
};

/// f(query, key, dS, S) for each pair of a block that is not 0.
template <class T, class F>
void for_each_score(const score_gradients<T>& block, const F& f) {
  for (index i = 0; i < block.dS.rows; ++i)
    for (index j = 0; j < block.dS.cols; ++j)
      if (const T d = block.dS(i, j); d != T(0))
        f(block.first_query + i, block.first_key + j, double(d), double(block.S(i, j)));
}

/// Numbers for each query of each head.
class query_sums {
 public:
  query_sums(const score_sizes& of, index count)
      : of_(of), count_(count), sums_(std::size_t(of.heads * of.queries * count)) {}

  [[nodiscard]] double* of(index query, index head) {
    return sums_.data() + (head * of_.queries + query) * count_;
  }
  /// Of the queries of a head, one after the other.
  [[nodiscard]] double total(index head, index which) const {
    double sum = 0;
    for (index i = 0; i < of_.queries; ++i)
      sum += sums_[std::size_t((head * of_.queries + i) * count_ + which)];
    return sum;
  }
  [[nodiscard]] double at(index query, index head, index which) const {
    return sums_[std::size_t((head * of_.queries + query) * count_ + which)];
  }

 private:
  score_sizes of_;
  index count_;
  std::vector<double> sums_;
};

[[nodiscard]] inline score_sizes checked_sizes(const char* where, index queries, index keys,
                                               index heads) {
  const score_sizes of{queries, keys, heads};
  of.check(where);
  return of;
}

}  // namespace detail

/// Of transforms::bias:  dB_ij = Σ dS over what has the bias B_ij. Holds heads·n·m numbers.
template <real_scalar T>
class bias_gradient {
 public:
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

  /// \throws argument_error  unless sizes are not negative and there is a head.
  bias_gradient(index queries, index keys, index heads = 1)
      : of_(detail::checked_sizes(where_, queries, keys, heads)), sums_(of_, keys) {}

  void operator()(const score_gradients<T>& block, index head) {
    of_.check(where_, block, head);
    detail::for_each_score(block,
                           [&](index i, index j, double d, double) { sums_.of(i, head)[j] += d; });
  }

  /// Of a B with these rows (n, n·heads or 1) and columns (m or 1).
  /// \throws shape_error  for a B that transforms::bias would not take.
  [[nodiscard]] matrix gradient(index rows, index cols) const {
    detail::check_broadcast(
        where_, "rows", rows, "cols", cols,
        {std::int32_t(of_.queries), std::int32_t(of_.keys), 0, std::int32_t(of_.heads)});
    Eigen::MatrixXd all = Eigen::MatrixXd::Zero(rows, cols);
    for (index head = 0; head < of_.heads; ++head)
      for (index i = 0; i < of_.queries; ++i) {
        const index row = rows == 1 ? 0 : rows == of_.queries ? i : head * of_.queries + i;
        for (index j = 0; j < of_.keys; ++j) all(row, cols == 1 ? 0 : j) += sums_.at(i, head, j);
      }
    return all.template cast<T>();
  }

 private:
  static constexpr const char* where_ = "bias_gradient";
  detail::score_sizes of_;
  detail::query_sums sums_;
};

/// Of transforms::alibi and alibi_per_head:  dslope = −Σ dS·|i + m − n − j|. Holds heads·n numbers.
template <real_scalar T>
class alibi_gradient {
 public:
  /// \throws argument_error  unless sizes are not negative and there is a head.
  alibi_gradient(index queries, index keys, index heads = 1)
      : of_(detail::checked_sizes(where_, queries, keys, heads)), sums_(of_, 1) {}

  void operator()(const score_gradients<T>& block, index head) {
    of_.check(where_, block, head);
    const index ahead = of_.keys - of_.queries;
    detail::for_each_score(block, [&](index i, index j, double d, double) {
      *sums_.of(i, head) -= d * double(std::abs(i + ahead - j));
    });
  }

  /// One for each query head; where heads share a slope, its gradient is their sum.
  [[nodiscard]] Eigen::VectorXd slopes() const {
    Eigen::VectorXd all(of_.heads);
    for (index head = 0; head < of_.heads; ++head) all[head] = sums_.total(head, 0);
    return all;
  }

 private:
  static constexpr const char* where_ = "alibi_gradient";
  detail::score_sizes of_;
  detail::query_sums sums_;
};

/// Of transforms::temperature, the first of the transforms:  dt = −Σ dS·S / t². Holds heads·n
/// numbers.
template <real_scalar T>
class temperature_gradient {
 public:
  /// \throws argument_error  unless sizes are not negative and there is a head.
  temperature_gradient(index queries, index keys, index heads = 1)
      : of_(detail::checked_sizes(where_, queries, keys, heads)), sums_(of_, 1) {}

  void operator()(const score_gradients<T>& block, index head) {
    of_.check(where_, block, head);
    detail::for_each_score(
        block, [&](index i, index, double d, double s) { *sums_.of(i, head) -= d * s; });
  }

  /// Of the temperatures t, one for each query head. \throws shape_error  unless there are as many.
  template <dense_expression V>
  [[nodiscard]] Eigen::VectorXd gradient(const V& t) const {
    static_assert(V::IsVectorAtCompileTime, "softlook: temperatures are a vector");
    detail::check_sizes(where_, "temperatures.size()", t.size(), "heads", of_.heads,
                        "one temperature for each query head");
    Eigen::VectorXd all(of_.heads);
    for (index head = 0; head < of_.heads; ++head)
      all[head] = sums_.total(head, 0) / (double(t[head]) * double(t[head]));
    return all;
  }

 private:
  static constexpr const char* where_ = "temperature_gradient";
  detail::score_sizes of_;
  detail::query_sums sums_;
};

/// Of transforms::t5_bias:  dtable(b, h) = Σ dS of head h over the pairs whose relative position is
/// in bucket b. Holds heads·n·buckets numbers.
/// \see Raffel et al., 2020, section 2.1.
template <real_scalar T>
class t5_bias_gradient {
 public:
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

  /// \param first_query  as that of the transform.
  /// \throws argument_error  unless sizes are not negative and there is a head; as t5_bucket().
  t5_bias_gradient(index queries, index keys, index heads, const t5_buckets& buckets = {},
                   std::optional<index> first_query = {})
      : of_(detail::checked_sizes(where_, queries, keys, heads)),
        buckets_((detail::check_t5_buckets(where_, buckets), buckets)),
        first_(first_query.value_or(keys - queries)),
        sums_(of_, buckets.count) {
    for (index r = -buckets.max_distance; r <= buckets.max_distance; ++r)
      by_distance_.push_back(detail::t5_bucket_unchecked(r, buckets));
  }

  void operator()(const score_gradients<T>& block, index head) {
    of_.check(where_, block, head);
    const index reach = buckets_.max_distance;
    detail::for_each_score(block, [&](index i, index j, double d, double) {
      const index relative = std::clamp(j - first_ - i, -reach, reach);
      sums_.of(i, head)[by_distance_[std::size_t(relative + reach)]] += d;
    });
  }

  /// buckets × heads.
  [[nodiscard]] matrix table() const {
    matrix all(buckets_.count, of_.heads);
    for (index head = 0; head < of_.heads; ++head)
      for (index b = 0; b < buckets_.count; ++b) all(b, head) = T(sums_.total(head, b));
    return all;
  }

 private:
  static constexpr const char* where_ = "t5_bias_gradient";
  detail::score_sizes of_;
  t5_buckets buckets_;
  index first_;
  std::vector<index> by_distance_;
  detail::query_sums sums_;
};

/// Of transforms::relative_keys:  dR(i, h, r) = Σ dS over the keys at relative position r, from
/// which Q and the embeddings A get
///   dA_r = scale·Σ_ih dR(i, h, r) q_i^h,   dq_i^h += scale·Σ_r dR(i, h, r) a_r.
/// Holds heads·n·(2·clip + 1) numbers.
/// \see Shaw et al., 2018, Eq. (4).
template <real_scalar T>
class relative_keys_gradient {
 public:
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

  /// \param first_query  as that of the transform.
  /// \throws argument_error  unless sizes are not negative and there is a head.
  relative_keys_gradient(const softlook::relative_keys<T>& R, index keys,
                         std::optional<index> first_query = {})
      : of_(detail::checked_sizes(where_, R.queries(), keys, R.heads())),
        clip_(R.clip()),
        first_(first_query.value_or(keys - R.queries())),
        sums_(of_, 2 * clip_ + 1) {}

  void operator()(const score_gradients<T>& block, index head) {
    of_.check(where_, block, head);
    detail::for_each_score(block, [&](index i, index j, double d, double) {
      sums_.of(i, head)[std::clamp(j - first_ - i, -clip_, clip_) + clip_] += d;
    });
  }

  /// Adds to dQ what the queries get from here, and returns dA. Q, A and the scale are those that R
  /// was made of.
  /// \throws shape_error  unless Q, A and dQ fit R; nothing has been written then.
  template <dense_expression Q, dense_expression A, dense_expression D>
  [[nodiscard]] matrix add_to(const Q& q, const A& a, D& dQ,
                              std::optional<double> scale = {}) const {
    using detail::check_sizes;
    check_sizes(where_, "Q.rows()", q.rows(), "queries", of_.queries, "Q is that of R");
    check_sizes(where_, "Q.cols() % heads", q.cols() % of_.heads, "0", 0, "Q is that of R");
    check_sizes(where_, "A.rows()", a.rows(), "2 * clip + 1", 2 * clip_ + 1, "A is that of R");
    const index d = q.cols() / of_.heads;
    if (a.cols() != q.cols())
      check_sizes(where_, "A.cols()", a.cols(), "Q.cols() / heads", d, "A is that of R");
    check_sizes(where_, "dQ.rows()", dQ.rows(), "Q.rows()", q.rows(), "dQ has the shape of Q");
    check_sizes(where_, "dQ.cols()", dQ.cols(), "Q.cols()", q.cols(), "dQ has the shape of Q");
    const detail::row_major<T> queries = q, positions = a;
    const double by = scale.value_or(1 / std::sqrt(double(std::max<index>(d, 1))));
    Eigen::MatrixXd dA = Eigen::MatrixXd::Zero(a.rows(), a.cols());
    std::vector<double> of_query(static_cast<std::size_t>(d));
    for (index head = 0; head < of_.heads; ++head) {
      const index own = a.cols() == q.cols() ? head * d : 0;
      for (index i = 0; i < of_.queries; ++i) {
        std::fill(of_query.begin(), of_query.end(), 0.0);
        for (index r = 0; r < a.rows(); ++r) {
          const double x = by * sums_.at(i, head, r);
          if (x == 0) continue;
          for (index c = 0; c < d; ++c) {
            dA(r, own + c) += x * double(queries(i, head * d + c));
            of_query[std::size_t(c)] += x * double(positions(r, own + c));
          }
        }
        for (index c = 0; c < d; ++c) dQ(i, head * d + c) += T(of_query[std::size_t(c)]);
      }
    }
    return dA.template cast<T>();
  }

 private:
  static constexpr const char* where_ = "relative_keys_gradient";
  detail::score_sizes of_;
  index clip_;
  index first_;
  detail::query_sums sums_;
};

template <class T>
relative_keys_gradient(const softlook::relative_keys<T>&, index) -> relative_keys_gradient<T>;
template <class T>
relative_keys_gradient(const softlook::relative_keys<T>&, index, std::optional<index>)
    -> relative_keys_gradient<T>;

/// \}

SOFTLOOK_NAMESPACE_END
