#pragma once

#include <Eigen/Core>
#include <concepts>
#include <type_traits>
#include <utility>

#include "softlook/core/dropout.hpp"
#include "softlook/core/frame.hpp"
#include "softlook/core/heads.hpp"
#include "softlook/core/segments.hpp"
#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// What a policy says it is: `using policy_kind = mask_kind;`
struct score_kind {};
struct transform_kind {};
struct mask_kind {};

template <class P, class Kind>
concept policy_of_kind =
    requires { typename P::policy_kind; } && std::same_as<typename P::policy_kind, Kind>;

template <class P>
concept score_policy = policy_of_kind<P, score_kind>;

template <class P>
concept transform_policy = policy_of_kind<P, transform_kind>;

template <class P>
concept mask_policy =
    policy_of_kind<P, mask_kind> && requires(const P& mask, std::int32_t i, range r, problem p) {
      { mask.allows(i, i, p) } -> std::convertible_to<bool>;
      { mask.key_range(r, p) } -> std::convertible_to<range>;
      { mask.coverage_of(r, r, p) } -> std::convertible_to<coverage>;
    };

namespace detail {
struct any_task {
  void operator()(index, index) const {}
};
}  // namespace detail

/// Runs tasks: bulk(count, f) calls f(task, worker) once for every task in [0, count), with worker
/// in [0, concurrency()) and never two tasks of one worker at a time, and returns when all are
/// done.
template <class E>
concept executor = requires(const E& e, const detail::any_task& f) {
  { e.concurrency() } -> std::convertible_to<index>;
  e.bulk(index{}, f);
};

class sinks;
struct low_precision;

template <class P>
concept policy =
    score_policy<P> || transform_policy<P> || mask_policy<P> || executor<P> ||
    std::same_as<P, options> || std::same_as<P, heads> || std::same_as<P, frame> ||
    std::same_as<P, segments> || std::same_as<P, padded_batch> || std::same_as<P, sinks> ||
    std::same_as<P, dropout> || std::same_as<P, low_precision>;

template <class T>
concept real_scalar = std::same_as<T, float> || std::same_as<T, double>;

template <class X>
concept dense_expression =
    std::is_base_of_v<Eigen::DenseBase<std::remove_cvref_t<X>>, std::remove_cvref_t<X>>;

/// Rows of keys or of values in a storage of their own: int8_rows, paged_rows, those of a kv_cache.
/// They say with which scalar they are computed (Scalar), how many they are, and how kernels read
/// them.
template <class X>
concept stored_rows = requires { typename std::remove_cvref_t<X>::stored_rows_tag; };

/// What attention takes as K and V: an expression of float or double, of Eigen::half or
/// Eigen::bfloat16 (then the arithmetic is in float), or stored rows.
template <class X>
concept row_expression = dense_expression<X> || stored_rows<X>;

namespace detail {

/// The scalar in which numbers of a type are computed: float for those of 16 bits.
template <class S>
using arithmetic =
    std::conditional_t<std::is_same_v<S, Eigen::half> || std::is_same_v<S, Eigen::bfloat16>, float,
                       S>;

template <class X>
using scalar_of = typename std::remove_cvref_t<X>::Scalar;

template <class X>
inline constexpr bool has_strides =
    (int(std::remove_cvref_t<X>::Flags) & int(Eigen::DirectAccessBit)) != 0;

template <class X>
inline constexpr bool is_plain_object =
    std::is_base_of_v<Eigen::PlainObjectBase<std::remove_cvref_t<X>>, std::remove_cvref_t<X>>;

template <class T>
using row_major = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class X>
inline constexpr bool is_row_major =
    (int(std::remove_cvref_t<X>::Flags) & int(Eigen::RowMajorBit)) != 0;

/// A plain matrix that is gone after the statement: a view of it would dangle.
template <class X>
concept dying_matrix = dense_expression<X> && !std::is_lvalue_reference_v<X> && is_plain_object<X>;

template <class X>
[[nodiscard]] auto view_of(const X& x) {
  static_assert(has_strides<X>,
                "softlook: this policy only looks at its matrix; evaluate the expression into a "
                "matrix of your own first");
  return matrix_view<scalar_of<X>>{x.derived().data(), x.rows(), x.cols(), x.derived().rowStride(),
                                   x.derived().colStride()};
}

/// Asserts nothing of the matrix that a policy keeps a view of.
struct any_matrix {
  template <class X>
  static constexpr void check() {}
};

/// What a policy that looks at a matrix takes: a matrix with a name, or any expression with
/// strides. Rule::check<X>() holds the static_asserts that tell what it must be besides.
template <class T, class Rule = any_matrix>
struct kept_view : matrix_view<T> {
  template <dense_expression X>
    requires(!dying_matrix<X>)
  kept_view(X&& x) : matrix_view<T>(of(x)) {}
  template <dying_matrix X>
  kept_view(X&&) = delete;  // a view of a temporary would dangle

 private:
  template <class X>
  [[nodiscard]] static matrix_view<T> of(const X& x) {
    Rule::template check<X>();
    static_assert(std::is_same_v<scalar_of<X>, T>,
                  "softlook: the matrices of a policy must share one scalar type");
    return view_of(x);
  }
};

/// policy.check<T>(where, p), or policy.check(where, p), if there is anything that it checks: T is
/// the scalar of the call, which must hold the policy's parameters.
template <class T = double, class Policy>
void check_policy(const Policy& policy, const char* where, problem p) {
  if constexpr (requires { policy.template check<T>(where, p); })
    policy.template check<T>(where, p);
  else if constexpr (requires { policy.check(where, p); })
    policy.check(where, p);
}

/// A matrix read in place, in any strides: one type for a scalar and an order, so that what takes
/// it is compiled once.
template <class T, int Order = int(Eigen::RowMajor)>
using strided_map = Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Order>,
                               Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;

/// A view as Eigen sees it. The order decides in which order Eigen walks over it, and so the bits
/// of a sum.
template <int Order = int(Eigen::RowMajor), class T>
[[nodiscard]] strided_map<T, Order> map_of(const matrix_view<T>& x) {
  using strides = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  return {x.data, x.rows, x.cols,
          Order == int(Eigen::RowMajor) ? strides(x.row_stride, x.col_stride)
                                        : strides(x.col_stride, x.row_stride)};
}

/// The row of a policy's matrix that belongs to a query: see check_broadcast().
template <class View>
[[nodiscard]] constexpr index row_of_query(const View& M, std::int32_t i, problem p) {
  if (M.rows == 1) return 0;
  return M.rows == p.queries ? i : index{p.head} * p.queries + i;
}

/// A mask in the form that is asked pair by pair: parameters resolved, so that the loop vectorises.
template <class Mask>
[[nodiscard]] constexpr auto lookup_form(const Mask& mask) {
  if constexpr (requires { mask.lookup_form(); })
    return mask.lookup_form();
  else
    return mask;
}

}  // namespace detail

/// A dynamic matrix with the scalar and the storage order of an expression.
template <class X>
using plain_matrix_like =
    Eigen::Matrix<typename std::remove_cvref_t<X>::Scalar, Eigen::Dynamic, Eigen::Dynamic,
                  detail::is_row_major<X> ? int(Eigen::RowMajor) : int(Eigen::ColMajor)>;

namespace detail {

/// The same with the scalar of the arithmetic.
template <class X>
using wide_matrix_like =
    Eigen::Matrix<arithmetic<scalar_of<X>>, Eigen::Dynamic, Eigen::Dynamic,
                  is_row_major<X> ? int(Eigen::RowMajor) : int(Eigen::ColMajor)>;

}  // namespace detail

/// \}

SOFTLOOK_NAMESPACE_END
