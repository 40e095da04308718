#pragma once

#include "softlook/attention/tensors.hpp"

// Optional: batches in Eigen::Tensor and Eigen::TensorMap, of a module that Eigen does not promise
// to keep: a program that has such tensors includes it itself.

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup tensors
/// \{

/// What the four dimensions of a tensor are.
enum class tensor_order { sequence_head_row_feature, sequence_row_head_feature };

namespace detail {

template <class Element, class Tensor>
[[nodiscard]] tensor_view<Element> view_of_tensor(Element* data, const Tensor& x,
                                                  tensor_order order) {
  static_assert(Tensor::NumDimensions == 4, "softlook: a batch has four dimensions");
  index size[4], stride[4];
  const auto& sizes = x.dimensions();  // dimension(k) takes another type of k for maps
  for (std::size_t k = 0; k < 4; ++k) size[k] = index(sizes[k]);
  index apart = 1;
  for (int k = 0; k < 4; ++k) {
    const int at = int(Tensor::Layout) == int(Eigen::RowMajor) ? 3 - k : k;
    stride[at] = apart;
    apart *= size[at];
  }
  const int head = order == tensor_order::sequence_head_row_feature ? 1 : 2, row = 3 - head;
  return {data,      size[0],      size[head],  size[row], size[3],
          stride[0], stride[head], stride[row], stride[3]};
}

}  // namespace detail

/// A tensor, or a map of one, of either layout, as it lies in memory.
template <class Tensor>
[[nodiscard]] auto view_of(const Tensor& x, tensor_order order) {
  return detail::view_of_tensor(static_cast<const typename Tensor::Scalar*>(x.data()), x, order);
}
template <class Tensor>
[[nodiscard]] auto view_of(Tensor& x, tensor_order order) {
  return detail::view_of_tensor(x.data(), x, order);
}

/// \}

SOFTLOOK_NAMESPACE_END
