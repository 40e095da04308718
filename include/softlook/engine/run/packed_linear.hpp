#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <vector>

#include "softlook/core/activation.hpp"
#include "softlook/engine/kernels/dispatch.hpp"
#include "softlook/engine/run/product.hpp"

// What layers keep: weights in the order in which the kernels read them.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Memory that begins at a cache line, so that no vector of it crosses two.
template <class T>
struct cache_aligned {
  using value_type = T;
  cache_aligned() = default;
  template <class U>
  explicit cache_aligned(const cache_aligned<U>&) {}
  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{64}));
  }
  void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t{64}); }
  friend bool operator==(const cache_aligned&, const cache_aligned&) = default;
};

template <class T>
using aligned_vector = std::vector<T, cache_aligned<T>>;

/// A row filled up with zeros to whole panels, which are whole vectors of any instruction set.
template <class T>
[[nodiscard]] aligned_vector<T> padded_row(const matrix_view<T>& row, index count) {
  aligned_vector<T> padded(std::size_t(round_up(count, packed_panel_width<T>)), T(0));
  for (index c = 0; c < count && c < row.cols; ++c) padded[std::size_t(c)] = row(0, c);
  return padded;
}

/// W (inputs × outputs), a bias and an activation.
template <class T>
class packed_linear {
 public:
  packed_linear() = default;
  /// `bias` is 1×outputs, or empty.
  packed_linear(const matrix_view<T>& W, const matrix_view<T>& bias, activation f)
      : inputs_(W.rows),
        outputs_(W.cols),
        // A panel even without inputs: kernels step to a column of it, which null would not allow.
        panels_(
            std::size_t(std::max<index>(packed_size<T>(W.rows, W.cols), packed_panel_width<T>))),
        activation_(f) {
    if (inputs_ > 0 && outputs_ > 0) products_of<T>(best_instruction_set()).pack(W, panels_.data());
    if (bias.cols > 0) bias_ = padded_row(bias, outputs_);
  }

  [[nodiscard]] index inputs() const { return inputs_; }
  [[nodiscard]] index outputs() const { return outputs_; }

  /// Y = f(X·W + bias) + residual.
  [[nodiscard]] product_args<T> args(instruction_set isa, const matrix_view<T>& X,
                                     const mutable_matrix_view<T>& Y,
                                     const matrix_view<T>& residual = {}) const {
    product_args<T> a;
    a.X = X;
    a.panels = panels_.data();
    a.bias = bias_.empty() ? nullptr : bias_.data();
    a.Y = Y;
    a.residual = residual;
    if (activation_ != activation::none) a.activate = function_of(layers_of<T>(isa));
    return a;
  }
  void run(instruction_set isa, const executor_ref& exec, const matrix_view<T>& X,
           const mutable_matrix_view<T>& Y, const matrix_view<T>& residual = {}) const {
    run_product(products_of<T>(isa), exec, args(isa, X, Y, residual));
  }

 private:
  [[nodiscard]] auto function_of(const layer_kernels<T>& kernels) const -> void (*)(T*, index) {
    switch (activation_) {
      case activation::relu:
        return kernels.relu;
      case activation::gelu:
        return kernels.gelu;
      case activation::gelu_tanh:
        return kernels.gelu_tanh;
      case activation::none:
        break;
    }
    return nullptr;
  }

  index inputs_ = 0;
  index outputs_ = 0;
  aligned_vector<T> panels_;
  aligned_vector<T> bias_;
  activation activation_ = activation::none;
};

/// Rows of one worker's layer normalisation.
inline constexpr index norm_block = 32;

/// Gain, bias and ε of a layer normalisation.
template <class T>
class row_norm {
 public:
  row_norm() = default;
  /// `bias` is 1×features, or empty.
  row_norm(const matrix_view<T>& gain, const matrix_view<T>& bias, double epsilon)
      : features_(gain.cols),
        gain_(padded_row(gain, gain.cols)),
        bias_(padded_row(bias, gain.cols)),
        epsilon_(T(epsilon)) {}

  [[nodiscard]] index features() const { return features_; }
  /// Scalars of scratch for a worker.
  [[nodiscard]] index scratch_size() const { return index(gain_.size()); }
  [[nodiscard]] static index workers(index rows, const executor_ref& exec) {
    return std::clamp<index>(ceil_div(rows, norm_block), 1, exec.concurrency);
  }

  /// Some rows; `scratch` is of one worker.
  void run_rows(instruction_set isa, const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
                range rows, T* scratch) const {
    if (features_ == 0) return;
    layers_of<T>(isa).layer_norm({X, Y, gain_.data(), bias_.data(), epsilon_}, rows, scratch);
  }
  void run(instruction_set isa, const executor_ref& exec, const matrix_view<T>& X,
           const mutable_matrix_view<T>& Y, T* scratch) const {
    if (features_ == 0) return;
    run_tasks(exec, ceil_div(X.rows, norm_block), [&](index task, index worker) {
      const index first = task * norm_block;
      run_rows(isa, X, Y, {first, std::min(first + norm_block, X.rows)},
               scratch + worker * scratch_size());
    });
  }

 private:
  index features_ = 0;
  aligned_vector<T> gain_;
  aligned_vector<T> bias_;
  T epsilon_ = 0;
};

/// A vector of either orientation as a row.
/// \throws shape_error  unless it has `count` entries, or none.
template <class T>
[[nodiscard]] matrix_view<T> checked_row(const char* where, const char* name,
                                         const matrix_view<T>& v, const char* of, index count) {
  if (v.rows * v.cols == 0) return {};
  if (v.rows != 1 && v.cols != 1)
    raise_sizes(where, name, v.rows * v.cols, of, count, "it is a vector");
  const matrix_view<T> row = v.rows == 1 ? v : v.transpose();
  check_sizes(where, name, v.rows * v.cols, of, count, "it has an entry for each of them, or none");
  return row;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
