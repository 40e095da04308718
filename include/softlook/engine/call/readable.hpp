#pragma once

#include <type_traits>

#include "softlook/engine/call/policies.hpp"
#include "softlook/engine/kernels/dispatch.hpp"

// Eigen expressions as views.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// An input as a view: the expression's own memory where it has strides, else a matrix evaluated
/// once.
template <class X>
class readable {
 public:
  using scalar = scalar_of<X>;
  explicit readable(const X& x) : held_(x) {}
  [[nodiscard]] matrix_view<scalar> view() const {
    if constexpr (has_strides<X>)
      return view_of(held_);
    else
      return {held_.data(), held_.rows(), held_.cols(), held_.rowStride(), held_.colStride()};
  }

 private:
  std::conditional_t<has_strides<X>, const X&, const plain_matrix_like<X>> held_;
};

template <class X>
[[nodiscard]] mutable_matrix_view<scalar_of<X>> writable_view(X& x) {
  static_assert(has_strides<X>,
                "softlook: the output must be a matrix, block or map whose memory can be written");
  static_assert((int(std::remove_cvref_t<X>::Flags) & int(Eigen::LvalueBit)) != 0,
                "softlook: the output must be a matrix, block or map whose memory can be written");
  return {x.derived().data(), x.rows(), x.cols(), x.derived().rowStride(), x.derived().colStride()};
}

template <class X, class... Xs>
constexpr bool check_scalars() {
  constexpr bool real = real_scalar<scalar_of<X>> && (real_scalar<scalar_of<Xs>> && ...);
  constexpr bool same = (std::is_same_v<scalar_of<Xs>, scalar_of<X>> && ...);
  static_assert(real, "softlook: attention is computed in float or double; cast the inputs first");
  static_assert(same || !real, "softlook: Q, K, V and the output must share one scalar type");
  return real && same;
}

/// Scalars of the inputs, policies of the rest.
template <class Q, class K, class V, class... Ps>
constexpr bool check_types() {
  if constexpr (check_scalars<Q, K, V>())
    return check_policies<scalar_of<Q>, Ps...>();
  else
    return false;
}

/// The same where matrices may be kept in fewer bits than those of the arithmetic.
template <class Q, class... Xs>
constexpr bool check_stored_scalars() {
  using T = arithmetic<scalar_of<Q>>;
  constexpr bool real = real_scalar<T> && (real_scalar<arithmetic<scalar_of<Xs>>> && ...);
  constexpr bool same = (std::is_same_v<arithmetic<scalar_of<Xs>>, T> && ...);
  static_assert(real,
                "softlook: attention is computed in float or double, and reads Eigen::half and "
                "Eigen::bfloat16 besides; cast the inputs first");
  static_assert(
      same || !real,
      "softlook: Q, K, V and the output must share one scalar type, or be of float and of "
      "16 bits, which are computed in float");
  return real && same;
}
template <class Q, class K, class V, class... Ps>
constexpr bool check_stored_types() {
  if constexpr (check_stored_scalars<Q, K, V>())
    return check_policies<arithmetic<scalar_of<Q>>, Ps...>();
  else
    return false;
}

/// The columns of an output whose heads have not been checked yet.
template <class... Ps>
[[nodiscard]] index output_columns(index value_columns, const Ps&... policies) {
  const heads h = heads_of(policies...);
  return h.query > 0 && h.kv_or_query() > 0 ? value_columns / h.kv_or_query() * h.query : 0;
}

/// The place of V in calls that need no values.
struct no_values {};

/// Queries as a view of T, converted if they are kept in fewer bits.
template <class X, class T>
class queries_as {
 public:
  explicit queries_as(const X& x) : held_(x.template cast<T>()) {}
  [[nodiscard]] matrix_view<T> view() const { return view_of(held_); }

 private:
  const row_major<T> held_;
};
template <class X, class T>
  requires std::is_same_v<scalar_of<X>, T>
class queries_as<X, T> : public readable<X> {
  using readable<X>::readable;
};

/// How numbers of 16 bits are known to the kernels.
template <class S>
using bits_of = std::conditional_t<std::is_same_v<S, Eigen::half>, half_bits, bfloat16_bits>;

/// What a source holds; columns that share a scale are read together.
template <class T>
[[nodiscard]] row_major<T> matrix_of_rows(const row_source<T>& rows) {
  const index step = rows.scale_columns > 0 ? rows.scale_columns : std::max<index>(rows.cols, 1);
  row_major<T> all(rows.rows, rows.cols), part(rows.rows, round_up(std::min(step, rows.cols), 4));
  for (index c = 0; c < rows.cols && rows.rows > 0; c += step) {
    const index count = std::min(step, rows.cols - c);
    rows.read->copy(rows.columns(c, count), {0, rows.rows}, part.cols(), part.data());
    for (index i = 0; i < rows.rows; ++i)
      for (index k = 0; k < count; ++k) all(i, c + k) = part(i, k);
  }
  return all;
}

/// Keys or values, read by the kernels as T.
template <class X, class T>
class rows_as {
 public:
  explicit rows_as(const X& x) : held_(x) {}
  /// No data: what is stored otherwise is known by its shape.
  [[nodiscard]] matrix_view<T> shape() const { return {nullptr, held_.rows(), held_.cols(), 0, 0}; }
  [[nodiscard]] row_source<T> source(instruction_set isa) const {
    if constexpr (stored_rows<X>) {
      return held_.source(isa);
    } else {
      const auto view = held_.view();
      using bits = bits_of<scalar_of<X>>;
      const matrix_view<bits> X_bits{reinterpret_cast<const bits*>(view.data), view.rows, view.cols,
                                     view.row_stride, view.col_stride};
      return source_of<T>(X_bits, stored_rows_of<T, bits>(isa));
    }
  }
  /// For who wants a matrix: converted once.
  [[nodiscard]] matrix_view<T> matrix(instruction_set isa) {
    const row_source<T> rows = source(isa);
    if (converted_.size() == 0) converted_ = matrix_of_rows(rows);
    return {converted_.data(), rows.rows, rows.cols, converted_.cols(), 1};
  }

 private:
  struct viewed : readable<X> {
    explicit viewed(const X& x) : readable<X>(x) {}
    [[nodiscard]] index rows() const { return this->view().rows; }
    [[nodiscard]] index cols() const { return this->view().cols; }
  };
  std::conditional_t<stored_rows<X>, const X&, const viewed> held_;
  row_major<T> converted_;
};
template <class X, class T>
  requires(dense_expression<X> && std::is_same_v<scalar_of<X>, T>)
class rows_as<X, T> : public readable<X> {
 public:
  using readable<X>::readable;
  [[nodiscard]] matrix_view<T> shape() const { return this->view(); }
  [[nodiscard]] row_source<T> source(instruction_set isa) const {
    return source_of<T>(this->view(), stored_rows_of<T, T>(isa));
  }
  [[nodiscard]] matrix_view<T> matrix(instruction_set) const { return this->view(); }
};
template <class T>
class rows_as<no_values, T> {
 public:
  explicit rows_as(const no_values&) {}
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
