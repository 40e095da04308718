#pragma once

#include <optional>
#include <vector>

#include "softlook/engine/run/row_chain.hpp"
#include "softlook/layer/layer_norm.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Layers one after another, with a norm at the end where one is given.
template <class Layer, class Norm = layer_norm<typename Layer::scalar>>
class layer_stack {
 public:
  using T = typename Layer::scalar;

  /// \throws argument_error without layers; shape_error unless all have the same features.
  layer_stack(const char* where, std::vector<Layer> layers, std::optional<Norm> final_norm)
      : layers_(std::move(layers)), final_norm_(std::move(final_norm)) {
    if (layers_.empty())
      raise_argument(where, "layers.size()", 0, "a stack has at least one layer");
    for (const Layer& l : layers_)
      check_sizes(where, "layer.features()", l.features(), "features()", features(),
                  "all layers take and give the same features");
    if (final_norm_)
      check_sizes(where, "final_norm.features()", final_norm_->features(), "features()", features(),
                  "the norm takes what the layers give");
  }

  [[nodiscard]] index features() const { return layers_.front().features(); }
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  [[nodiscard]] const std::optional<Norm>& final_norm() const { return final_norm_; }

  /// Scalars of scratch; of_layer(layer) is what a layer needs.
  template <class F>
  [[nodiscard]] index scratch_size(index rows, const F& of_layer) const {
    index most = 0;
    for (const Layer& l : layers_) most = std::max(most, of_layer(l));
    return most + matrix_cursor<T>::size(rows, features());
  }
  /// f(layer, number, from, to, scratch) runs one layer; the chain is that of the whole stack, so
  /// that the end of a layer and the beginning of the next are one set of tasks.
  template <class F>
  void run(row_chain<T>& chain, const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const scratch_space<T>& scratch, const F& f) const {
    matrix_cursor<T> cursor(scratch);
    const auto between = cursor.take(X.rows, features());
    matrix_view<T> from = X;
    for (std::size_t k = 0; k < layers_.size(); ++k) {
      const bool last = k + 1 == layers_.size() && !final_norm_;
      f(layers_[k], k, from, last ? Y : between, cursor.left());
      from = as_input(between);
    }
    if (final_norm_) chain.norm(final_norm_->rows(), from, Y);
  }

 private:
  std::vector<Layer> layers_;
  std::optional<Norm> final_norm_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
