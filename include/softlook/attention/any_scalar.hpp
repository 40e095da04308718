#pragma once

#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "softlook/attention/attention.hpp"

// Not part of attention.hpp: the same calls with numbers that no kernel is compiled for.

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup attention
/// \{

/// Numbers that no kernel is compiled for: long double, and those that carry derivatives, as
/// Eigen::AutoDiffScalar, stan::math::var and autodiff::var do.
template <class T>
concept other_scalar = !real_scalar<detail::arithmetic<T>> && !std::is_integral_v<T>;

namespace detail {

/// The weights of one head, plain loops in the order of the naive path.
template <class T>
class plain_head {
 public:
  /// s = scale · q·k, transformed; −∞ where it is forbidden.
  template <class Q, class K, class Chain, class Mask>
  plain_head(const Q& q, const K& k, double scale, const Chain& chain, const Mask& mask,
             const problem& p)
      : P_(q.rows(), k.rows()), live_(std::size_t(q.rows() * k.rows())) {
    for (index i = 0; i < P_.rows(); ++i) {
      const auto row = std::int32_t(i);
      bool some = false;
      T top(0);
      for (index j = 0; j < P_.cols(); ++j) {
        if (!mask.allows(row, std::int32_t(j), p)) continue;
        T s(0);
        for (index c = 0; c < q.cols(); ++c) s += q(i, c) * k(j, c);
        s = chain(T(s * T(scale)), row, std::int32_t(j), p);
        if (s == T(-std::numeric_limits<double>::infinity())) continue;
        live_[std::size_t(i * P_.cols() + j)] = true;
        P_(i, j) = s;
        if (!some || s > top) top = s;
        some = true;
      }
      soften(i, top);
    }
  }

  [[nodiscard]] bool live(index i, index j) const { return live_[std::size_t(i * P_.cols() + j)]; }
  [[nodiscard]] const row_major<T>& weights() const { return P_; }

 private:
  void soften(index i, const T& top) {
    using std::exp;
    T sum(0);
    for (index j = 0; j < P_.cols(); ++j) {
      P_(i, j) = live(i, j) ? T(exp(T(P_(i, j) - top))) : T(0);
      if (live(i, j)) sum += P_(i, j);
    }
    for (index j = 0; j < P_.cols(); ++j)
      if (live(i, j)) P_(i, j) = P_(i, j) / sum;
  }

  row_major<T> P_;
  std::vector<bool> live_;
};

/// Says which policies plain loops do not know.
template <class... Ps>
constexpr bool check_plain_policies() {
  constexpr bool known =
      ((transform_policy<Ps> || mask_policy<Ps> || std::is_same_v<Ps, scores::scaled_dot> ||
        std::is_same_v<Ps, scores::dot> || is_heads<Ps> || is_options<Ps>) &&
       ...);
  static_assert(known,
                "softlook: with numbers that no kernel knows attention takes scaled_dot or dot, "
                "transforms, a mask, heads{…} and the scale of options{…}");
  if constexpr (known)
    return check_policies<double, Ps...>();
  else
    return false;
}

/// f(head, P) of each query head, P its plain_head.
template <class Q, class K, class V, class F, class... Ps>
void for_each_plain_head(const char* where, const Q& q, const K& k, const V& v, const F& f,
                         const Ps&... policies) {
  using T = scalar_of<Q>;
  const heads h = heads_of(policies...);
  const index kv = h.kv_or_query();
  check_heads(where, h.query, kv);
  check_columns_of_heads(where, "Q.cols()", q.cols(), "heads.query", h.query);
  check_columns_of_heads(where, "V.cols()", v.cols(), "heads.kv", kv);
  const index d = q.cols() / h.query;
  check_sizes(where, "K.cols()", k.cols(), "heads.kv times the columns of a query head", kv * d,
              "a key is as long as a query");
  check_sizes(where, "V.rows()", v.rows(), "K.rows()", k.rows(), "each key has a value");
  check_positions(where, "Q.rows()", q.rows());
  check_positions(where, "K.rows()", k.rows());
  const auto chain = transforms_of(policies...);
  const auto mask = policy_or<mask_kind>(masks::none{}, policies...);
  const options o = options_of(policies...);
  const bool by_root = !(std::is_same_v<Ps, scores::dot> || ...);
  const double scale = o.scale.value_or(by_root && d > 0 ? 1 / std::sqrt(double(d)) : 1.0);
  const auto problem_of = [&](index head) {
    return problem{std::int32_t(q.rows()), std::int32_t(k.rows()), std::int32_t(head),
                   std::int32_t(h.query), 0};
  };
  for (index head = 0; head < h.query; ++head) {
    chain.template check<double>(where, problem_of(head));
    check_policy<double>(mask, where, problem_of(head));
  }
  for (index head = 0; head < h.query; ++head) {
    const index of = head / (h.query / kv);
    f(head, of,
      plain_head<T>(q.middleCols(head * d, d), k.middleCols(of * d, d), scale, chain, mask,
                    problem_of(head)));
  }
}

}  // namespace detail

/// attention() by plain loops that keep the n×m weights of a head, in any scalar: so derivatives of
/// Eigen::AutoDiffScalar, or of a tape, go through attention, whose own way back
/// (gradient/attention.hpp) needs neither.
/// \param policies  scaled_dot or dot, transforms, a mask, heads, options{.scale}; a user's
///                  function of scores takes `auto`.
/// \throws shape_error, argument_error  as attention().
/// An empty row gives zeros. Cost: O(n·m·(d + e)) operations of the scalar.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
  requires other_scalar<detail::scalar_of<Q>>
[[nodiscard]] plain_matrix_like<Q> attention(const Q& q, const K& k, const V& v,
                                             const Ps&... policies) {
  using T = detail::scalar_of<Q>;
  plain_matrix_like<Q> O;
  if constexpr (detail::check_plain_policies<Ps...>()) {
    const index e = v.cols() / std::max<index>(detail::heads_of(policies...).kv_or_query(), 1);
    O = plain_matrix_like<Q>::Constant(q.rows(), e * detail::heads_of(policies...).query, T(0));
    detail::for_each_plain_head(
        "attention", q, k, v,
        [&](index head, index of, const detail::plain_head<T>& P) {
          for (index i = 0; i < q.rows(); ++i)
            for (index j = 0; j < k.rows(); ++j)
              if (P.live(i, j))
                for (index c = 0; c < e; ++c)
                  O(i, head * e + c) += P.weights()(i, j) * v(j, of * e + c);
        },
        policies...);
  }
  return O;
}

/// attention_weights() the same way, of one head.
template <dense_expression Q, dense_expression K, class... Ps>
  requires other_scalar<detail::scalar_of<Q>>
[[nodiscard]] plain_matrix_like<Q> attention_weights(const Q& q, const K& k,
                                                     const Ps&... policies) {
  plain_matrix_like<Q> weights;
  static_assert(!(detail::is_heads<Ps> || ...), "softlook: call it for each head");
  if constexpr (detail::check_plain_policies<Ps...>())
    detail::for_each_plain_head(
        "attention_weights", q, k, k, [&](index, index, const auto& P) { weights = P.weights(); },
        policies...);
  return weights;
}

/// \}

SOFTLOOK_NAMESPACE_END
