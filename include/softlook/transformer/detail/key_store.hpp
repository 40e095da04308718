#pragma once

#include "softlook/layer/detail/attention_block.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Where kept_keys lie: grows, keeps what it holds.
template <class T>
class key_store {
 public:
  template <class Block>
  explicit key_store(const Block& of)
      : extra_(of.extra_keys()), K_(extra_, of.key_outputs()), V_(extra_, of.value_outputs()) {}

  [[nodiscard]] index capacity() const { return K_.rows() - extra_; }
  void reserve(index rows) {
    if (rows <= capacity()) return;
    K_.conservativeResize(rows + extra_, Eigen::NoChange);
    V_.conservativeResize(rows + extra_, Eigen::NoChange);
  }
  /// Room for these rows; doubles, so that row after row costs no more than all at once.
  void make_room(index rows) {
    if (rows > capacity()) reserve(std::max(rows, 2 * capacity()));
  }
  [[nodiscard]] kept_keys<T> keys(index rows) {
    return {{K_.data(), K_.rows(), K_.cols(), K_.cols(), 1},
            {V_.data(), V_.rows(), V_.cols(), V_.cols(), 1},
            rows};
  }
  template <class Block>
  [[nodiscard]] bool fits(const Block& b) const {
    return K_.cols() == b.key_outputs() && V_.cols() == b.value_outputs() &&
           extra_ == b.extra_keys();
  }

 private:
  index extra_;
  row_major<T> K_;
  row_major<T> V_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
