#pragma once

#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/core/math.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace transforms {

/// \defgroup transforms Transforms of scores
/// What happens to a score between the product and the softmax: soft caps, ALiBi, biases, a
/// function of your own.
/// \cases tests/conformance/data/torch/flex, tests/conformance/data/other/hf_attention
/// \program examples/custom_score_and_mask.cpp
/// \{

/// Scores stay within ±c:
///   s ← c · tanh(s / c)
/// \see Gemma Team, "Gemma 2", 2024, section 2 (logit soft-capping).
struct soft_cap {
  using policy_kind = transform_kind;
  double cap;

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t, std::int32_t, problem) const {
    const S c = static_cast<S>(cap), inverse = static_cast<S>(1 / cap);
    return c * math::tanh(S(s * inverse));  // a product of S may be an expression
  }
  /// \throws argument_error unless the cap is positive and finite, and 1/cap as well, in S.
  template <class S = double>
  void check(const char* where, problem) const {
    constexpr double most = std::numeric_limits<S>::max();
    if (!(cap >= 1 / most && cap <= most))
      softlook::detail::raise_outside(where, "transforms::soft_cap.cap", cap, 1 / most, most,
                                      "a cap and its inverse are positive and finite");
  }
};

/// Attention with linear biases; the last query is next to the last key:
///   s ← s − slope·|i + m − n − j|
/// \see Press et al., "Train Short, Test Long", 2022, section 3.
struct alibi {
  using policy_kind = transform_kind;
  static constexpr bool is_shift = true;  // its derivative is 1
  double slope;

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    const std::int32_t between = (i - p.queries) + (p.keys - j);
    const std::int32_t distance = between < 0 ? -between : between;
    return s - S(static_cast<S>(slope) * static_cast<S>(distance));
  }
  /// \throws argument_error unless the slope is finite in S.
  template <class S = double>
  void check(const char* where, problem) const {
    softlook::detail::check_parameter<S>(where, "transforms::alibi.slope", slope,
                                         softlook::detail::parameter::finite, "a slope is finite");
  }
};

namespace detail {
struct vector_of_slopes {
  template <class V>
  static constexpr void check() {
    static_assert(std::is_same_v<softlook::detail::scalar_of<V>, double>,
                  "softlook: ALiBi slopes are a vector of double, as alibi_slopes(heads) gives");
    static_assert(V::IsVectorAtCompileTime,
                  "softlook: ALiBi slopes are a vector, one entry for each query head");
  }
};
}  // namespace detail

/// ALiBi with a slope for each query head (multi-head attention). A view of the slopes.
struct alibi_per_head {
  using policy_kind = transform_kind;
  static constexpr bool is_shift = true;

  explicit alibi_per_head(softlook::detail::kept_view<double, detail::vector_of_slopes> slopes)
      : slopes_(softlook::detail::as_row(slopes).transpose()) {}

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return alibi{slopes_(p.head, 0)}(s, i, j, p);
  }
  /// \throws shape_error unless every head has a slope; argument_error unless it is finite in S.
  template <class S = double>
  void check(const char* where, problem p) const {
    if (p.head >= slopes_.rows)
      softlook::detail::raise_sizes(where, "transforms::alibi_per_head slopes.size()", slopes_.rows,
                                    "the number of query heads", p.head + 1,
                                    "one slope for each query head");
    softlook::detail::check_parameter<S>(where, "transforms::alibi_per_head slope",
                                         slopes_(p.head, 0), softlook::detail::parameter::finite,
                                         "a slope is finite");
  }

 private:
  matrix_view<double> slopes_;
};

/// The slopes of Press et al. for any number of heads: 2^(−8/h), 2^(−16/h), … for a power of two h;
/// otherwise those of the next lower power of two, then every other one of twice as many.
[[nodiscard]] inline Eigen::VectorXd alibi_slopes(index heads) {
  if (heads < 0)
    softlook::detail::raise_argument("transforms::alibi_slopes", "heads", double(heads),
                                     "a number of heads is at least 0");
  Eigen::VectorXd slopes(heads);
  index power = 1;
  while (2 * power <= heads) power *= 2;
  for (index h = 0; h < heads; ++h)
    slopes[h] = h < power ? std::exp2(-8.0 * double(h + 1) / double(power))
                          : std::exp2(-4.0 * double(2 * (h - power) + 1) / double(power));
  return slopes;
}

/// A number added to each score:
///   s ← s + B_ij
/// B: n×m, or one row or one column that is repeated, or (heads·n)×m with a block for each query
/// head. −∞ forbids a pair. A view of B.
template <class T>
struct bias {
  using policy_kind = transform_kind;
  using scalar = T;

  explicit bias(softlook::detail::kept_view<T> B) : B_(B) {}

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return s + static_cast<S>(B_(softlook::detail::row_of_query(B_, i, p), B_.cols == 1 ? 0 : j));
  }
  /// B of a head as a matrix of all queries and keys, for kernels that add blocks of it.
  [[nodiscard]] matrix_view<T> added(problem p) const {
    const index first = B_.rows == 1 ? 0 : softlook::detail::row_of_query(B_, 0, p);
    return {B_.data + first * B_.row_stride, p.queries, p.keys, B_.rows == 1 ? 0 : B_.row_stride,
            B_.cols == 1 ? 0 : B_.col_stride};
  }
  /// \throws shape_error unless B is n×m (or has one row, heads·n rows, or one column).
  void check(const char* where, problem p) const {
    softlook::detail::check_broadcast(where, "transforms::bias rows()", B_.rows,
                                      "transforms::bias cols()", B_.cols, p);
  }

 private:
  matrix_view<T> B_;
};

template <class M>
bias(M&&) -> bias<softlook::detail::scalar_of<M>>;

/// A user's f(s, i, j), f(s, i, j, head) or f(s, i, j, problem) of a score, its query and its key
/// (std::int32_t); it may hold parameters of its own. Branch-free functions, and those of
/// softlook::math, are vectorised by the kernels.
template <class F>
struct map {
  using policy_kind = transform_kind;
  F f;

  explicit map(F function) : f(std::move(function)) {}

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    constexpr bool takes_head =
        std::is_invocable_v<const F&, S, std::int32_t, std::int32_t, std::int32_t>;
    constexpr bool takes_problem =
        std::conjunction_v<std::bool_constant<!takes_head>,
                           std::is_invocable<const F&, S, std::int32_t, std::int32_t, problem>>;
    static_assert(
        takes_head || takes_problem || std::is_invocable_v<const F&, S, std::int32_t, std::int32_t>,
        "softlook: transforms::map takes f(s, i, j), f(s, i, j, head) or "
        "f(s, i, j, problem)");
    if constexpr (takes_head)
      return static_cast<S>(f(s, i, j, p.head));
    else if constexpr (takes_problem)
      return static_cast<S>(f(s, i, j, p));
    else
      return static_cast<S>(f(s, i, j));
  }
};

template <class F>
map(F) -> map<F>;

/// \}

}  // namespace transforms
SOFTLOOK_NAMESPACE_END
