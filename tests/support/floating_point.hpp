// Floating-point exceptions, trapped.
#pragma once

#include <gtest/gtest.h>

#include <cfenv>

namespace softlook_test {

/// Traps the given exceptions where the platform can, and looks at the flags anyway.
class no_exceptions {
 public:
  explicit no_exceptions(int forbidden = FE_INVALID | FE_DIVBYZERO) : forbidden_(forbidden) {
    std::feclearexcept(FE_ALL_EXCEPT);
#if defined(__GLIBC__)
    feenableexcept(forbidden_);
#endif
  }
  ~no_exceptions() {
#if defined(__GLIBC__)
    fedisableexcept(forbidden_);
#endif
    EXPECT_EQ(std::fetestexcept(forbidden_), 0);
  }
  no_exceptions(const no_exceptions&) = delete;
  no_exceptions& operator=(const no_exceptions&) = delete;

 private:
  int forbidden_;
};

}  // namespace softlook_test
