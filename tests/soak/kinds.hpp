// Kinds of cases that the soak runs, each compiled in a file of its own.
#pragma once

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/cases.hpp"

namespace softlook_soak {

using softlook_test::choices;

/// Runs the case that the choices make. \throws finding  for what is wrong.
using case_function = void (*)(choices&);

void forward_float(choices& from);
void forward_double(choices& from);
void extreme_float(choices& from);
void extreme_double(choices& from);
void backward_float(choices& from);
void backward_double(choices& from);
void layers_float(choices& from);
void layers_double(choices& from);
void call(choices& from);

/// A Case that expects, outside of any test.
template <class Case>
void run_expecting(choices& from) {
  ::testing::TestPartResultArray failures;
  std::string about;
  {
    const ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    Case one(from, softlook_test::soak_part);
    about = one.description();
    one.check();
  }
  if (failures.size() > 0)
    throw softlook_test::finding(about + "\n" + failures.GetTestPartResult(0).message());
}

}  // namespace softlook_soak
