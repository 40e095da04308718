#pragma once

#include "softlook/layer/detail/attention_block.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The cache of the keys and values of one attention; copies share its pages.
template <class T>
class key_store {
 public:
  template <class Block>
  explicit key_store(const Block& of)
      : extra_(of.extra_keys()),
        cache_(
            {.heads = 1, .key_features = of.key_outputs(), .value_features = of.value_outputs()}) {}

  /// Room for so many rows and the keys of the layer's own.
  void reserve(index rows) { cache_.reserve(rows + extra_); }
  [[nodiscard]] kept_keys<T> keys(index rows) { return {&cache_, rows}; }
  [[nodiscard]] const kv_cache<T>& cache() const { return cache_; }
  template <class Block>
  [[nodiscard]] bool fits(const Block& b) const {
    return cache_.shape().key_features == b.key_outputs() &&
           cache_.shape().value_features == b.value_outputs() && extra_ == b.extra_keys();
  }

 private:
  index extra_;
  kv_cache<T> cache_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
