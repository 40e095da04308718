#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "softlook/core/activation.hpp"
#include "softlook/core/weight_storage.hpp"
#include "softlook/engine/kernels/dispatch.hpp"
#include "softlook/engine/kernels/eight_bits.hpp"
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

/// How packed weights are kept where they are not of T. Kernels are reached through it, so that
/// they are compiled only where it is made.
template <class T>
struct packed_storage {
  weight_storage kept = weight_storage::exact;
  void (*pack)(const char* where, const matrix_view<T>& W, aligned_vector<T>& panels,
               aligned_vector<T>& scales) = nullptr;
  product_kernel<T> (*linear_of)(instruction_set isa) = nullptr;
  // Where X is rounded as well: by what, and the scalars of a rounded row.
  rounding_kernel<T> (*rounding_of)(instruction_set isa) = nullptr;
  index (*rounded_columns)(index inputs) = nullptr;
};

/// f(row, column, position) for every weight and where it is packed.
template <class T, class F>
void for_each_packed(const matrix_view<T>& W, const F& f) {
  constexpr index width = packed_panel_width<T>;
  for (index first = 0; first < W.cols; first += width)
    for (index k = 0; k < W.rows; ++k)
      for (index c = first; c < std::min(first + width, W.cols); ++c)
        f(k, c, first * W.rows + k * width + c - first);
}

/// The positions are of numbers of Stored from the start of zeroed panels.
template <class T, class Stored>
void set_packed(aligned_vector<T>& panels, index position, const Stored& x) {
  std::memcpy(reinterpret_cast<std::byte*>(panels.data()) + position * index(sizeof x), &x,
              sizeof x);
}

template <class T>
[[nodiscard]] aligned_vector<T> stored_panels(const matrix_view<T>& W, std::size_t bytes) {
  const auto count = std::size_t(packed_size<T>(W.rows, W.cols));
  return aligned_vector<T>(std::max(count * bytes / sizeof(T), std::size_t(packed_panel_width<T>)));
}

template <class T>
void pack_bfloat16(const char*, const matrix_view<T>& W, aligned_vector<T>& panels,
                   aligned_vector<T>&) {
  panels = stored_panels(W, sizeof(Eigen::bfloat16));
  for_each_packed(W, [&](index k, index c, index position) {
    set_packed(panels, position, static_cast<Eigen::bfloat16>(W(k, c)));
  });
}

/// Of each column of W, whole panels.
template <class T>
[[nodiscard]] aligned_vector<T> scales_of_columns(const matrix_view<T>& W) {
  aligned_vector<T> scales(std::size_t(round_up(W.cols, packed_panel_width<T>)), T(0));
  for_each_packed(W, [&](index k, index c, index) {
    T& most = scales[std::size_t(c)];
    most = std::max(most, std::abs(W(k, c)));
  });
  for (T& s : scales) s = scale_of_8_bits(s);
  return scales;
}
[[nodiscard]] inline std::int8_t in_8_bits(double x, double scale) {
  return static_cast<std::int8_t>(scale > 0 ? std::lrint(x / scale) : 0);
}

/// \throws argument_error  for a weight that is not finite.
template <class T>
void pack_int8(const char* where, const matrix_view<T>& W, aligned_vector<T>& panels,
               aligned_vector<T>& scales) {
  check_finite(where, "weight ", W);
  panels = stored_panels(W, 1);
  scales = scales_of_columns(W);
  for_each_packed(W, [&](index k, index c, index position) {
    set_packed(panels, position, in_8_bits(W(k, c), scales[std::size_t(c)]));
  });
}

template <class T>
[[nodiscard]] packed_storage<T> packed_as_bfloat16() {
  return {weight_storage::bfloat16, &pack_bfloat16<T>, &stored_linear_of<T, bfloat16_bits>};
}
template <class T>
[[nodiscard]] packed_storage<T> packed_as_int8() {
  return {weight_storage::int8, &pack_int8<T>, &stored_linear_of<T, std::int8_t>};
}

/// The kernel of an activation, or none.
template <class T>
[[nodiscard]] auto function_of(activation f, const layer_kernels<T>& kernels)
    -> void (*)(T*, index) {
  switch (f) {
    case activation::relu:
      return kernels.relu;
    case activation::gelu:
      return kernels.gelu;
    case activation::gelu_tanh:
      return kernels.gelu_tanh;
    case activation::silu:
      return kernels.silu;
    case activation::none:
      break;
  }
  return nullptr;
}

/// W (inputs × outputs), a bias and an activation.
template <class T>
class packed_linear {
 public:
  packed_linear() = default;
  /// `bias` is 1×outputs, or empty.
  packed_linear(const matrix_view<T>& W, const matrix_view<T>& bias, activation f)
      : packed_linear("", W, bias, f, {}) {}
  /// \throws argument_error  for a weight that cannot be kept so.
  packed_linear(const char* where, const matrix_view<T>& W, const matrix_view<T>& bias,
                activation f, const packed_storage<T>& how)
      : inputs_(W.rows), outputs_(W.cols), activation_(f), how_(how) {
    if (how.pack) {
      how.pack(where, W, panels_, scales_);
    } else {
      // A panel even without inputs: kernels step to a column of it, which null would not allow.
      panels_.resize(
          std::size_t(std::max<index>(packed_size<T>(W.rows, W.cols), packed_panel_width<T>)));
      if (inputs_ > 0 && outputs_ > 0)
        products_of<T>(best_instruction_set()).pack(W, panels_.data());
    }
    if (bias.cols > 0) bias_ = padded_row(bias, outputs_);
  }

  [[nodiscard]] index inputs() const { return inputs_; }
  [[nodiscard]] index outputs() const { return outputs_; }
  [[nodiscard]] weight_storage storage() const { return how_.kept; }
  /// What a product reads of memory.
  [[nodiscard]] std::size_t bytes() const { return (panels_.size() + scales_.size()) * sizeof(T); }

  /// Columns of the matrix, with a row for each of X, that a product rounds X into; 0 where it does
  /// not.
  [[nodiscard]] index rounded_columns() const {
    return how_.rounded_columns ? how_.rounded_columns(inputs_) : 0;
  }

  /// Y = f(X·W + bias) ∘ factor + residual.
  [[nodiscard]] product_args<T> args(instruction_set isa, const matrix_view<T>& X,
                                     const mutable_matrix_view<T>& Y,
                                     const mutable_matrix_view<T>& rounded,
                                     const matrix_view<T>& residual = {},
                                     const matrix_view<T>& factor = {}) const {
    product_args<T> a;
    a.X = X;
    a.panels = panels_.data();
    a.bias = bias_.empty() ? nullptr : bias_.data();
    a.Y = Y;
    a.residual = residual;
    a.factor = factor;
    if (how_.linear_of) {
      a.scales = scales_.empty() ? nullptr : scales_.data();
      a.linear = how_.linear_of(isa);
    }
    if (how_.rounding_of) {
      a.rounded = rounded;
      a.round = how_.rounding_of(isa);
    }
    if (activation_ != activation::none) a.activate = function_of(activation_, layers_of<T>(isa));
    return a;
  }
  void run(instruction_set isa, const executor_ref& exec, const matrix_view<T>& X,
           const mutable_matrix_view<T>& Y, const mutable_matrix_view<T>& rounded = {}) const {
    run_product(products_of<T>(isa), exec, args(isa, X, Y, rounded));
  }

 private:
  index inputs_ = 0;
  index outputs_ = 0;
  aligned_vector<T> panels_;
  aligned_vector<T> scales_;
  aligned_vector<T> bias_;
  activation activation_ = activation::none;
  packed_storage<T> how_;
};

/// Rows of one worker's normalisation.
inline constexpr index norm_block = 32;

/// Gain, bias and ε of a layer normalisation, or of an RMS normalisation, which is not centred.
template <class T>
class row_norm {
 public:
  row_norm() = default;
  /// `bias` is 1×features, or empty.
  row_norm(const matrix_view<T>& gain, const matrix_view<T>& bias, double epsilon,
           bool centred = true)
      : features_(gain.cols),
        gain_(padded_row(gain, gain.cols)),
        bias_(padded_row(bias, gain.cols)),
        epsilon_(T(epsilon)),
        centred_(centred) {}

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
    layers_of<T>(isa).layer_norm({X, Y, gain_.data(), bias_.data(), epsilon_, centred_}, rows,
                                 scratch);
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
  bool centred_ = true;
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
