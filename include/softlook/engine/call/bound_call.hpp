#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "softlook/engine/call/readable.hpp"
#include "softlook/engine/call/sorted_call.hpp"

// The one door: Eigen expressions and policies become a checked call, which is run, shown or
// planned.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// A checked call of expressions, which it keeps evaluated.
template <class Q, class K, class V, class... Ps>
class bound_call {
 public:
  using scalar = scalar_of<Q>;
  using matrix = plain_matrix_like<Q>;

  bound_call(const char* where, const Q& q, const K& k, const V& v, const Ps&... ps)
      : queries_(q),
        keys_(k),
        values_(v),
        policies_(where, ps...),
        call_(policies_.bind(queries_.view(), keys_.view(), values())) {}

  /// By this kernel, whatever the options say.
  bound_call& pin(std::optional<kernel> which) {
    if (which) call_.opts.kernel = which;
    return *this;
  }

  [[nodiscard]] index output_columns() const { return call_.values() * call_.query_heads; }

  /// Into O, and into the log-sum-exp if it has data.
  template <class O>
  void run(O& o, const mutable_matrix_view<scalar>& log_sum_exp = {}) {
    call_.O = writable_view(o);
    call_.log_sum_exp = log_sum_exp;
    check_output(call_);
    detail::run(call_);
  }
  [[nodiscard]] matrix output() {
    matrix o(call_.Q.rows, output_columns());
    run(o);
    return o;
  }
  [[nodiscard]] std::vector<row_major<scalar>> weights() const { return run_weights(call_); }

  [[nodiscard]] attention_call<scalar>& call() { return call_; }
  [[nodiscard]] const attention_call<scalar>& call() const { return call_; }
  [[nodiscard]] const sorted_policies<scalar, Ps...>& policies() const { return policies_; }

 private:
  [[nodiscard]] matrix_view<scalar> values() const {
    if constexpr (std::is_same_v<V, no_values>)
      return keys_.view().columns(0, 0);
    else
      return values_.view();
  }

  readable<Q> queries_;
  readable<K> keys_;
  readable<V> values_;
  sorted_policies<scalar, Ps...> policies_;
  attention_call<scalar> call_;
};

template <class Q, class K, class V, class... Ps>
[[nodiscard]] bound_call<Q, K, V, Ps...> bind(const char* where, const Q& q, const K& k, const V& v,
                                              const Ps&... policies) {
  return {where, q, k, v, policies...};
}

/// What a call with heads{…} gives is one for each head: all of them, or the only one.
template <class Matrix, class T, class... Ps>
[[nodiscard]] auto of_heads(std::vector<row_major<T>>&& all) {
  if constexpr ((is_heads<Ps> || ...)) {
    std::vector<Matrix> heads;
    for (row_major<T>& one : all) heads.emplace_back(std::move(one));
    return heads;
  } else {
    return Matrix(std::move(all.front()));
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
