// Misuse: which exception, and whether its message names both values.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "softlook/core/error.hpp"

namespace softlook_test {

/// Calls f and expects exactly this error, with every given piece of text in its message.
template <class Error, class F>
void expect_error(const F& f, std::initializer_list<const char*> pieces) {
  try {
    f();
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const char* piece : pieces)
      EXPECT_NE(message.find(piece), std::string::npos) << "no \"" << piece << "\" in: " << message;
    return;
  } catch (const std::exception& other) {
    ADD_FAILURE() << "another exception: " << other.what();
    return;
  }
  ADD_FAILURE() << "no exception";
}

/// What the error says that f throws.
template <class Error, class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace softlook_test
