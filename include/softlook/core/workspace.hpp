#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// Scratch memory that lives as long as the caller wants: pass options{.workspace = &w} and
/// repeated calls allocate nothing once it has grown. It serves one call at a time.
class workspace {
 public:
  /// At least `bytes`, aligned to a cache line; the contents are not kept when it grows.
  [[nodiscard]] std::byte* reserve(std::size_t bytes) {
    if (bytes > bytes_) {
      memory_.reset();
      bytes_ = 0;
      memory_.reset(static_cast<std::byte*>(::operator new(bytes, alignment)));
      bytes_ = bytes;
    }
    return memory_.get();
  }
  /// Bytes held.
  [[nodiscard]] std::size_t bytes() const { return bytes_ + (inner_ ? inner_->bytes() : 0); }

  /// What a layer gives to the attention inside it, while its own matrices are in this one.
  [[nodiscard]] workspace& inner() {
    if (!inner_) inner_ = std::make_unique<workspace>();
    return *inner_;
  }

 private:
  static constexpr std::align_val_t alignment{64};
  struct release {
    void operator()(std::byte* p) const { ::operator delete(p, alignment); }
  };
  std::unique_ptr<std::byte, release> memory_;
  std::size_t bytes_ = 0;
  std::unique_ptr<workspace> inner_;
};

/// \}

SOFTLOOK_NAMESPACE_END
