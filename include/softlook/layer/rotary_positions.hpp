#pragma once

#include <limits>
#include <memory>

#include "softlook/engine/run/attention_call.hpp"

SOFTLOOK_NAMESPACE_BEGIN

template <real_scalar T>
class rotary_embedding;

namespace detail {
/// Rows turn, or gradients of turned rows become those of the rows.
enum class rotary_way { forward, back };
}  // namespace detail

/// \addtogroup layers
/// \{

/// How a layer turns its projected queries and keys by their positions: a rotary_embedding
/// (positional.hpp), which converts to it. Made without one it leaves them as they are. The loops
/// are compiled only into a program that makes one of a rotary_embedding.
template <class T>
class rotary_positions {
 public:
  rotary_positions() = default;
  rotary_positions(const rotary_embedding<T>& by)  // NOLINT(google-explicit-constructor)
      : head_features_(by.head_features()),
        count_(by.positions().value_or(unlimited)),
        by_(std::make_shared<rotary_embedding<T>>(by)),
        turn_([](const void* turned_by, const mutable_matrix_view<T>& X, index first,
                 detail::rotary_way way) {
          Eigen::Map<detail::row_major<T>, 0, Eigen::OuterStride<>> rows(
              X.data, X.rows, X.cols, Eigen::OuterStride<>(X.row_stride));
          const auto& embedding = *static_cast<const rotary_embedding<T>*>(turned_by);
          if (way == detail::rotary_way::forward)
            embedding.in_place(rows, first);
          else
            embedding.gradient_in_place(rows, first);
        }) {}

  [[nodiscard]] explicit operator bool() const { return by_ != nullptr; }
  /// Of the heads that it turns.
  [[nodiscard]] index head_features() const { return head_features_; }
  /// \throws argument_error  where cos and sin were given for fewer positions than `end`.
  void check_end(const char* where, index end) const {
    if (by_ && end > count_)
      detail::raise_argument(where, "the last position", double(end - 1),
                             detail::formatted("cos and sin are given for %td", count_).text);
  }
  /// Turns rows at positions first, first + 1, …, or their gradients, in place. Columns are
  /// adjacent.
  void turn(const mutable_matrix_view<T>& X, index first,
            detail::rotary_way way = detail::rotary_way::forward) const {
    if (by_ && X.rows > 0) turn_(by_.get(), X, first, way);
  }

 private:
  static constexpr index unlimited = std::numeric_limits<index>::max();

  index head_features_ = 0;
  index count_ = unlimited;
  std::shared_ptr<const void> by_;
  void (*turn_)(const void* by, const mutable_matrix_view<T>& X, index first,
                detail::rotary_way way) = nullptr;
};

/// \}

SOFTLOOK_NAMESPACE_END
