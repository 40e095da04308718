#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "softlook/core/heads.hpp"
#include "softlook/engine/call/sorted_call.hpp"

// From a checked call of linear attention to tasks.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// A feature map that is not computed inside the loop: rows of one head to rows of features.
/// `scratch` has room for a number for each row.
template <class T>
struct feature_calls {
  feature_kind kind = feature_kind::as_given;
  const void* self = nullptr;
  index (*features)(const void* self, const char* where, index inputs) = nullptr;
  void (*apply)(const void* self, const char* where, instruction_set isa, const matrix_view<T>& X,
                bool keys, const mutable_matrix_view<T>& out, T* scratch) = nullptr;
};

/// A call of linear attention; heads lie side by side in columns.
template <class T>
struct linear_call {
  const char* where = "linear_attention";
  bool causal = false;
  matrix_view<T> Q, K, V;
  mutable_matrix_view<T> O;
  heads of{};
  feature_calls<T> map{};
  matrix_view<T> gate{};  // n×heads or n×(heads·features) logarithms, or 1×heads decays
  bool log_gate = false;
  matrix_view<T> strength{};  // n×heads or n×1
  divisor_kind divisor = divisor_kind::one;
  double epsilon = 0;
  options opts{};
  executor_ref exec{};
  T* state = nullptr;    // of all key heads, or none
  T* scratch = nullptr;  // beside it, for a token of each key head
  state_shape given{};   // its shape

  [[nodiscard]] index kv() const { return of.kv_or_query(); }
  [[nodiscard]] index group() const { return of.query / kv(); }
  [[nodiscard]] index inputs() const { return K.cols / kv(); }
  [[nodiscard]] index values() const { return V.cols / kv(); }
  [[nodiscard]] index features() const {
    return map.features ? map.features(map.self, where, inputs()) : inputs();
  }
  [[nodiscard]] bool gate_by_feature(index features) const {
    return gate.data && gate.cols != kv() && gate.cols == kv() * features;
  }
};

template <class T>
void check_linear_heads(const linear_call<T>& c) {
  check_heads(c.where, c.of.query, c.kv());
  check_columns_of_heads(c.where, "Q.cols()", c.Q.cols, "heads.query", c.of.query);
  check_columns_of_heads(c.where, "K.cols()", c.K.cols, "heads.kv", c.kv());
  check_columns_of_heads(c.where, "V.cols()", c.V.cols, "heads.kv", c.kv());
}

template <class T>
void check_linear_policies(const linear_call<T>& c, index features) {
  const char* where = c.where;
  if (c.gate.data) {
    if (c.log_gate)
      check_sizes(where, "gates::log_decay rows()", c.gate.rows, "K.rows()", c.K.rows,
                  "a decay for each token");
    if (!c.log_gate || !c.gate_by_feature(features))
      check_sizes(where, c.log_gate ? "gates::log_decay cols()" : "gates::decay size()",
                  c.gate.cols, "the number of key heads", c.kv(),
                  c.log_gate ? "a decay for each head, or for each feature of each head"
                             : "a decay for each head");
    for (index h = 0; !c.log_gate && h < c.gate.cols; ++h)
      check_parameter<T>(where, "gates::decay of a head", double(c.gate(0, h)),
                         parameter::not_negative, "a decay is finite and not negative");
    if (c.divisor == divisor_kind::retention && c.gate_by_feature(features))
      raise<argument_error>(std::string(where) +
                            ": normalizations::retention needs one decay for a head, not one for "
                            "each feature (its rows are divided by the root of the sum of decays)");
  }
  if (c.strength.data) {
    check_sizes(where, "updates::delta rows()", c.strength.rows, "K.rows()", c.K.rows,
                "a strength for each token");
    if (c.strength.cols != 1)
      check_sizes(where, "updates::delta cols()", c.strength.cols, "the number of key heads",
                  c.kv(), "a strength for each head, or one for all");
  }
  check_parameter<T>(where, "options.scale", c.opts.scale.value_or(1), parameter::finite,
                     "a scale is finite");
  check_parameter<T>(where, "normalizations::sum epsilon", c.epsilon, parameter::not_negative,
                     "it is finite and not negative");
}

template <class T>
void check_linear_inputs(const linear_call<T>& c, index features) {
  const char* where = c.where;
  check_sizes(where, "K.cols()", c.inputs(), "Q.cols()", c.Q.cols / c.of.query,
              c.of.query == 1 ? "queries and keys share one feature size"
                              : "queries and keys share one feature size for each head");
  check_sizes(where, "V.rows()", c.V.rows, "K.rows()", c.K.rows, "each key has one value");
  if (c.causal)
    check_sizes(where, "Q.rows()", c.Q.rows, "K.rows()", c.K.rows,
                "each token has a query and a key");
  check_linear_policies(c, features);
  if (c.state) {
    check_sizes(where, "state.features()", c.given.features, "the number of features", features,
                "a state belongs to one feature map");
    check_sizes(where, "state.values()", c.given.values, "V.cols()", c.values(),
                "a state belongs to one size of values");
  }
}

/// Everything that must hold before anything is written.
template <class T>
void check_linear(const linear_call<T>& c, index features) {
  const char* where = c.where;
  check_linear_inputs(c, features);
  check_sizes(where, "O.rows()", c.O.rows, "Q.rows()", c.Q.rows, "one output row for each query");
  check_sizes(where, "O.cols()", c.O.cols, "V.cols()", c.values() * c.of.query,
              c.of.query == 1 ? "an output row is as long as a value"
                              : "an output row holds a value for each query head");
  check_overlap(where, "Q", c.O, c.Q);
  check_overlap(where, "K", c.O, c.K);
  check_overlap(where, "V", c.O, c.V);
  check_overlap(where, "the gate", c.O, c.gate);
  check_overlap(where, "the strengths", c.O, c.strength);
}

template <class T>
void run_linear(const linear_call<T>& c);

}  // namespace detail
SOFTLOOK_NAMESPACE_END

#if !SOFTLOOK_USES_COMPILED
#include "softlook/linear/detail/run_linear.inl"
#endif
