#pragma once

#include "softlook/engine/call/layer_call.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Weights packed once for the many products of one call: those of each step of a sequence. The
/// memory stays for the next call.
template <class T>
class packed_weights {
 public:
  void pack(const layer_call& call, const matrix_view<T>& W, const matrix_view<T>& bias = {}) {
    memory_.resize(std::size_t(packed_size_with_bias<T>(W.rows, W.cols)));
    const product_args<T> a = packed_with_bias(products_of<T>(call.isa), W, bias, memory_.data());
    bias_ = a.bias ? a.bias - memory_.data() : 0;
  }
  /// Y = X·W + bias.
  void multiply(const layer_call& call, const matrix_view<T>& X,
                const mutable_matrix_view<T>& Y) const {
    run(call, X, Y, {});
  }
  /// Y += X·W + bias.
  void add(const layer_call& call, const matrix_view<T>& X, const mutable_matrix_view<T>& Y) const {
    run(call, X, Y, as_input(Y));
  }

  [[nodiscard]] std::size_t bytes() const { return memory_.size() * sizeof(T); }

 private:
  void run(const layer_call& call, const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const matrix_view<T>& residual) const {
    if (Y.rows == 0 || Y.cols == 0) return;
    product_args<T> a;
    a.X = X;
    a.Y = Y;
    a.panels = memory_.data();
    a.bias = bias_ > 0 ? memory_.data() + bias_ : nullptr;
    a.residual = residual;
    run_product(products_of<T>(call.isa), call.exec, a);
  }

  aligned_vector<T> memory_;
  index bias_ = 0;  // where it begins in memory_; 0: none
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
