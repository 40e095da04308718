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

  /// Into O, and into the log-sum-exp if it has data; tiled, or by the kernel that is chosen.
  template <reach Reach = reach::any, class O>
  void run(O& o, const mutable_matrix_view<scalar>& log_sum_exp = {}) {
    call_.O = writable_view(o);
    call_.log_sum_exp = log_sum_exp;
    check_output(call_);
    if constexpr (Reach == reach::any) {
      set_kernels();
    } else {
      call_.opts.kernel = kernel::tiled;
      stated::template set_kernels<reach::tiled, false>(call_);
    }
    detail::run(call_);
  }
  template <reach Reach = reach::any>
  [[nodiscard]] matrix output() {
    matrix o(call_.Q.rows, output_columns());
    run<Reach>(o);
    return o;
  }
  /// Alone; with what else the call has room for; scores before transforms and mask.
  [[nodiscard]] std::vector<row_major<scalar>> weights() const {
    return run_weights<stated::is_additive>(call_);
  }
  [[nodiscard]] std::vector<row_major<scalar>> stored() const {
    return run_stored<stated::is_additive>(call_);
  }
  [[nodiscard]] std::vector<row_major<scalar>> raw_scores() const {
    return run_raw_scores<stated::is_additive>(call_);
  }

  /// Without the functions that run it, if set_kernels() was not called.
  [[nodiscard]] attention_call<scalar>& call() { return call_; }
  [[nodiscard]] const attention_call<scalar>& call() const { return call_; }
  [[nodiscard]] const stated_policies<scalar, Ps...>& policies() const { return policies_; }

  /// Those that the call's types do not rule out.
  void set_kernels() {
    constexpr bool decided = stated::has_options || stated::projects || (is_heads<Ps> || ...);
    constexpr reach within = decided ? reach::any
                                     : reach_of(Q::RowsAtCompileTime, K::RowsAtCompileTime,
                                                K::ColsAtCompileTime, index(sizeof(scalar)));
    stated::template set_kernels<within, stated::has_options>(call_);
  }

 private:
  using stated = stated_policies<scalar, Ps...>;

  [[nodiscard]] matrix_view<scalar> values() const {
    if constexpr (std::is_same_v<V, no_values>)
      return keys_.view().columns(0, 0);
    else
      return values_.view();
  }

  readable<Q> queries_;
  readable<K> keys_;
  readable<V> values_;
  stated policies_;
  attention_call<scalar> call_;
};

template <class Q, class K, class V, class... Ps>
[[nodiscard]] bound_call<Q, K, V, Ps...> bind(const char* where, const Q& q, const K& k, const V& v,
                                              const Ps&... policies) {
  return {where, q, k, v, policies...};
}

/// In the storage order of Matrix; number by number, because Eigen's assignment takes longer to
/// compile.
template <class Matrix, class T>
[[nodiscard]] Matrix as_matrix(row_major<T>&& given) {
  if constexpr (std::is_same_v<Matrix, row_major<T>>) {
    return std::move(given);
  } else {
    Matrix out(given.rows(), given.cols());
    T* to = out.data();
    for (index j = 0; j < given.cols(); ++j)
      for (index i = 0; i < given.rows(); ++i) *to++ = given.data()[i * given.cols() + j];
    return out;
  }
}

/// What a call with heads{…} gives is one for each head: all of them, or the only one.
template <class Matrix, class T, class... Ps>
[[nodiscard]] auto of_heads(std::vector<row_major<T>>&& all) {
  if constexpr ((is_heads<Ps> || ...)) {
    std::vector<Matrix> heads(all.size());
    for (std::size_t h = 0; h < all.size(); ++h) heads[h] = as_matrix<Matrix>(std::move(all[h]));
    return heads;
  } else {
    return as_matrix<Matrix>(std::move(all.front()));
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
