// The scalar types that every numerical test runs in.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace softlook_test {

using scalars = ::testing::Types<float, double>;

struct scalar_names {
  template <class Scalar>
  static std::string GetName(int) {
    return sizeof(Scalar) == sizeof(float) ? "float" : "double";
  }
};

}  // namespace softlook_test
