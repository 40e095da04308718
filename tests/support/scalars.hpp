// The scalar types that every numerical test runs in.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace softlook_test {

// Sanitizers triple the time of compiling, and what they look for hides in both alike: .ci/run asks
// them about one, and a representative program about both.
#if defined(SOFTLOOK_TEST_FLOAT_ALONE)
using scalars = ::testing::Types<float>;
#else
using scalars = ::testing::Types<float, double>;
#endif

struct scalar_names {
  template <class Scalar>
  static std::string GetName(int) {
    return sizeof(Scalar) == sizeof(float) ? "float" : "double";
  }
};

}  // namespace softlook_test
