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

/// Sizes that a type tells; stored rows tell none.
template <class X>
[[nodiscard]] constexpr index rows_of_type() {
  if constexpr (dense_expression<X>)
    return X::RowsAtCompileTime;
  else
    return Eigen::Dynamic;
}
template <class X>
[[nodiscard]] constexpr index columns_of_type() {
  if constexpr (dense_expression<X>)
    return X::ColsAtCompileTime;
  else
    return Eigen::Dynamic;
}

/// Columns that the type of T's own values tells: those of others, which kernels convert, are not
/// known. The place of V in calls that need no values is no matrix.
template <class T, class V>
[[nodiscard]] constexpr index value_columns_of_type() {
  if constexpr (std::is_same_v<V, no_values>)
    return 0;
  else if constexpr (std::is_same_v<scalar_of<V>, T>)
    return columns_of_type<V>();
  else
    return Eigen::Dynamic;
}

/// Whether policies leave the choice of a kernel to the sizes.
template <class T, class... Ps>
[[nodiscard]] constexpr bool sizes_decide() {
  using stated = stated_policies<T, Ps...>;
  return !(stated::has_options || stated::projects || ((is_heads<Ps> || is_sequences<Ps>) || ...));
}

/// Whether a call is one of plain loops: see small.hpp.
template <class Q, class K, class V, class... Ps>
[[nodiscard]] constexpr bool is_small_call() {
  using T = arithmetic<scalar_of<Q>>;
  constexpr bool plain = (std::is_same_v<scalar_of<Q>, T> && std::is_same_v<scalar_of<K>, T>) &&
                         !((is_sinks<Ps> || is_dropout<Ps>) || ...);
  if constexpr (plain && sizes_decide<T, Ps...>() && !stated_policies<T, Ps...>::is_additive)
    return is_small(Q::RowsAtCompileTime, rows_of_type<K>(), columns_of_type<K>(),
                    value_columns_of_type<T, V>());
  else
    return false;
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

/// A checked call of expressions, which it keeps evaluated. A small one has no sources of rows,
/// which only the kernels read.
template <bool Small, class Q, class K, class V, class... Ps>
class bound_call {
 public:
  using scalar = arithmetic<scalar_of<Q>>;
  using matrix = plain_matrix_like<Q>;
  static constexpr bool is_additive = stated_policies<scalar, Ps...>::is_additive;

  bound_call(const char* where, const Q& q, const K& k, const V& v, const Ps&... ps)
      : queries_(q),
        keys_(k),
        values_(v),
        policies_(where, ps...),
        call_(policies_.bind_here(queries_.view(), keys_.shape(), value_shape(), key_source(),
                                  value_source())) {
    if constexpr (stated::projects) want_matrices();
  }

  /// By this kernel, whatever the options say.
  bound_call& pin(std::optional<kernel> which) {
    if (which) call_.opts.kernel = which;
    return *this;
  }

  [[nodiscard]] index output_columns() const { return call_.values() * call_.query_heads; }

  /// Into O, and into the log-sum-exp if it has data; tiled, or by the kernel that is chosen.
  template <reach Reach = reach::any, class O>
  void run(O& o, const mutable_matrix_view<scalar>& log_sum_exp = {}) {
    const auto of_caller = writable_view(o);
    if constexpr (std::is_same_v<scalar_of<O>, scalar>) {
      run_into<Reach>(of_caller, log_sum_exp);
    } else {
      row_major<scalar> wide(of_caller.rows, of_caller.cols);
      run_into<Reach>(writable_view(wide), log_sum_exp);
      o = wide.template cast<scalar_of<O>>();
    }
  }
  template <reach Reach = reach::any>
  [[nodiscard]] matrix output() {
    matrix o(call_.Q.rows, output_columns());
    run<Reach>(o);
    return o;
  }
  /// Alone; with what else the call has room for; scores before transforms and mask.
  [[nodiscard]] std::vector<row_major<scalar>> weights() {
    want_matrices();
    return run_weights<stated::is_additive>(call_);
  }
  /// A Matrix, or with heads{…} one for each.
  template <class Matrix>
  [[nodiscard]] auto weights_as() {
    if constexpr (Small) {
      want_matrices();
      Matrix P(call_.Q.rows, call_.K.rows);
      small_weights(call_, writable_view(P));
      return P;
    } else {
      return of_heads<Matrix, scalar, Ps...>(weights());
    }
  }
  [[nodiscard]] std::vector<row_major<scalar>> stored() {
    want_matrices();
    return run_stored<stated::is_additive>(call_);
  }
  [[nodiscard]] std::vector<row_major<scalar>> raw_scores() {
    want_matrices();
    return run_raw_scores<stated::is_additive>(call_);
  }

  /// Without the functions that run it, if set_kernels() was not called.
  [[nodiscard]] attention_call<scalar>& call() { return call_; }
  [[nodiscard]] const attention_call<scalar>& call() const { return call_; }
  [[nodiscard]] const stated_policies<scalar, Ps...>& policies() const { return policies_; }

  /// Those that the call's types do not rule out.
  void set_kernels() {
    if constexpr (Small) {
      call_.forward = &run_small<scalar>;
    } else {
      constexpr reach within = !sizes_decide<scalar, Ps...>()
                                   ? reach::any
                                   : reach_of(Q::RowsAtCompileTime, rows_of_type<K>(),
                                              columns_of_type<K>(), index(sizeof(scalar)));
      stated::template set_kernels<within, stated::has_options>(call_);
    }
  }

 private:
  using stated = stated_policies<scalar, Ps...>;

  static constexpr bool has_values = !std::is_same_v<V, no_values>;

  [[nodiscard]] matrix_view<scalar> value_shape() const {
    if constexpr (has_values)
      return values_.shape();
    else
      return keys_.shape().columns(0, 0);
  }
  [[nodiscard]] row_source<scalar> key_source() const {
    if constexpr (Small)
      return {};
    else
      return keys_.source((*policies_).isa);
  }
  [[nodiscard]] row_source<scalar> value_source() const {
    if constexpr (Small)
      return {};
    else if constexpr (has_values)
      return values_.source((*policies_).isa);
    else
      return key_source().columns(0, 0);
  }
  /// K and V as matrices of T, for what reads them without a source.
  void want_matrices() {
    call_.K = keys_.matrix(call_.isa);
    if constexpr (has_values)
      call_.V = values_.matrix(call_.isa);
    else
      call_.V = call_.K.columns(0, 0);
  }

  template <reach Reach>
  void run_into(const mutable_matrix_view<scalar>& O,
                const mutable_matrix_view<scalar>& log_sum_exp) {
    call_.O = O;
    call_.log_sum_exp = log_sum_exp;
    check_output(call_);
    if constexpr (Reach == reach::any) {
      set_kernels();
    } else {
      call_.opts.kernel = kernel::tiled;
      stated::template set_kernels<reach::tiled, false>(call_);
    }
    if constexpr (stated::has_options)
      if (call_.opts.kernel == kernel::naive) want_matrices();
    detail::run(call_);
  }

  queries_as<Q, scalar> queries_;
  rows_as<K, scalar> keys_;
  rows_as<V, scalar> values_;
  stated policies_;
  attention_call<scalar>& call_;  // that of policies_
};

template <class Q, class K, class V, class... Ps>
[[nodiscard]] bound_call<false, Q, K, V, Ps...> bind(const char* where, const Q& q, const K& k,
                                                     const V& v, const Ps&... policies) {
  return {where, q, k, v, policies...};
}
/// For who asks for the output or the weights, however they come about.
template <class Q, class K, class V, class... Ps>
[[nodiscard]] bound_call<is_small_call<Q, K, V, Ps...>(), Q, K, V, Ps...> bind_any(
    const char* where, const Q& q, const K& k, const V& v, const Ps&... policies) {
  return {where, q, k, v, policies...};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
