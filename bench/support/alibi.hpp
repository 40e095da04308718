#pragma once

#include <cstdint>
#include <cstdlib>

namespace bench {

/// ALiBi as a user writes it, one slope.
struct alibi {
  float slope = 0.0625f;
  template <class T>
  T operator()(T s, std::int32_t i, std::int32_t j) const {
    return s - T(slope) * T(std::abs(i - j));
  }
};

}  // namespace bench
