#pragma once

#include "softlook/gradient/attention.hpp"
#include "softlook/gradient/detail/products.hpp"

// Attention between the rows of a feature map, or between its columns, on its way forward and back.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What the way back of an attention with dot scores needs.
template <class T>
struct kept_rows {
  row_major<T> Q, K, V;
  row_major<T> O, log_sum_exp;
  row_major<T> dO;
  attention_gradients<row_major<T>> to;

  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = 0;
    for (const auto* m : {&Q, &K, &V, &O, &log_sum_exp, &dO, &to.dQ, &to.dK, &to.dV})
      all += bytes_of(*m);
    return all;
  }
};

/// The policies of an attention that only a layer's matrices are handed to.
template <class T, class... Ps>
constexpr bool check_row_policies() {
  constexpr bool no_score = !(score_policy<Ps> || ...);
  static_assert(no_score, "softlook: the score of this attention is the dot product");
  if constexpr (no_score)
    return check_policies<T, Ps...>() && check_single_head<Ps...>();
  else
    return false;
}

/// \throws shape_error, argument_error  unless the policies fit n queries and m keys.
template <class T, class... Ps>
void check_rows(const char* where, index n, index m, index features, index values,
                const Ps&... policies) {
  const stated_policies<T, scores::dot, Ps...> stated(where, scores::dot{}, policies...);
  (void)stated.bind({nullptr, n, features, 0, 0}, {nullptr, m, features, 0, 0},
                    {nullptr, m, values, 0, 0}, {}, {});
}

template <class T, class... Ps>
void attend_kept(const char* where, kept_rows<T>& kept, const Ps&... policies) {
  using matrix = row_major<T>;
  shape_as(kept.O, kept.Q.rows(), kept.V.cols());
  shape_as(kept.log_sum_exp, kept.Q.rows(), 1);
  bound_call<false, matrix, matrix, matrix, scores::dot, Ps...> call(where, kept.Q, kept.K, kept.V,
                                                                     scores::dot{}, policies...);
  call.run(kept.O, writable_view(kept.log_sum_exp));
}

/// kept.to, from kept.dO.
template <class T, class... Ps>
void attend_kept_back(kept_rows<T>& kept, const Ps&... policies) {
  attention_backward_into(kept.Q, kept.K, kept.V, kept.O, kept.log_sum_exp, kept.dO, kept.to,
                          scores::dot{}, policies...);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
