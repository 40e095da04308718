#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace onnx {

/// \addtogroup onnx
/// \{

/// The shape of a tensor: up to 8 dimensions.
class extents {
 public:
  static constexpr index most = 8;

  constexpr extents() = default;
  constexpr extents(std::initializer_list<index> of) : extents(of.begin(), index(of.size())) {}
  /// From the array of a runtime, of whatever integers it is.
  template <class Integer>
  constexpr extents(const Integer* of, index rank) : rank_(rank) {
    if (rank < 0 || rank > most)
      softlook::detail::raise_argument("onnx::extents", "rank", double(rank),
                                       "a tensor has between 0 and 8 dimensions");
    for (index k = 0; k < rank; ++k) of_[k] = static_cast<index>(of[k]);
  }

  [[nodiscard]] constexpr index rank() const { return rank_; }
  [[nodiscard]] constexpr index operator[](index axis) const { return of_[axis]; }
  /// The product over the axes from `first` up to `end`.
  [[nodiscard]] constexpr index numbers(index first, index end) const {
    index count = 1;
    for (index k = first; k < end; ++k) count *= of_[k];
    return count;
  }
  [[nodiscard]] constexpr index numbers() const { return numbers(0, rank_); }
  friend constexpr bool operator==(const extents&, const extents&) = default;

 private:
  index of_[most] = {};
  index rank_ = 0;
};

/// Numbers in memory, row-major and contiguous, and their shape; a view. Element is const for
/// inputs. One without data and dimensions stands for an input or output that is left out.
template <class Element>
struct tensor {
  Element* data = nullptr;
  extents shape{};

  [[nodiscard]] constexpr bool is_given() const { return data != nullptr || shape.rank() > 0; }

  /// What is written can be read.
  constexpr operator tensor<const Element>() const
    requires(!std::is_const_v<Element>)
  {
    return {data, shape};
  }
};

/// What is added to the scores, or, of bool, which of them are left: true = attend. Numbers are of
/// the type in which a call computes, T, or of 16 bits beside float.
template <class T>
class mask_tensor {
 public:
  enum class element { none, boolean, same, half, bfloat16 };

  mask_tensor() = default;
  template <class M>
  mask_tensor(const tensor<M>& mask)
      : data_(mask.data), shape_(mask.shape), bytes_(index(sizeof(M))) {
    using type = std::remove_const_t<M>;
    static_assert(
        std::is_same_v<type, bool> || std::is_same_v<softlook::detail::arithmetic<type>, T>,
        "softlook: a mask is of bool, of the type of Q, or of 16 bits beside float");
    if (!mask.is_given()) return;
    if constexpr (std::is_same_v<type, bool>)
      element_ = element::boolean;
    else if constexpr (std::is_same_v<type, Eigen::half>)
      element_ = element::half;
    else if constexpr (std::is_same_v<type, Eigen::bfloat16>)
      element_ = element::bfloat16;
    else
      element_ = element::same;
  }

  [[nodiscard]] element of() const { return element_; }
  [[nodiscard]] const extents& shape() const { return shape_; }
  template <class M>
  [[nodiscard]] tensor<const M> as() const {
    return {static_cast<const M*>(data_), shape_};
  }
  /// Its bytes, of whatever type.
  [[nodiscard]] tensor<const char> memory() const {
    return {static_cast<const char*>(data_), {shape_.numbers() * bytes_}};
  }

 private:
  const void* data_ = nullptr;
  extents shape_{};
  index bytes_ = 0;
  element element_ = element::none;
};

/// \}

}  // namespace onnx
SOFTLOOK_NAMESPACE_END
