#include "softlook/core/error.hpp"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "tests/support/errors.hpp"

namespace softlook::error_test {
namespace {

using softlook_test::expect_error;

TEST(Errors, AreInvalidArguments) {
  static_assert(std::is_base_of_v<std::invalid_argument, shape_error>);
  static_assert(std::is_base_of_v<std::invalid_argument, argument_error>);
}

TEST(Errors, SizesThatAgreeRaiseNothing) {
  detail::check_sizes("attention", "K.cols()", 64, "Q.cols()", 64, "one feature size");
}

TEST(Errors, MessageOfSizesFollowsTheGrammar) {
  try {
    detail::check_sizes("attention", "K.cols()", 48, "Q.cols()", 64,
                        "queries and keys share one feature size");
    FAIL() << "no error";
  } catch (const shape_error& error) {
    EXPECT_STREQ(error.what(),
                 "attention: K.cols() is 48 but Q.cols() is 64 "
                 "(queries and keys share one feature size)");
  }
}

TEST(Errors, MessageOfAnArgumentNamesItsValueAndTheRule) {
  expect_error<argument_error>(
      [] { detail::raise_argument("exec::thread_pool", "threads", -3.0, "at least 1"); },
      {"exec::thread_pool: threads is -3 (at least 1)"});
}

TEST(Errors, AMessageThatIsTooLongIsCut) {
  const std::string rule(2000, 'x');
  try {
    detail::raise_argument("attention", "options.scale", 2.0, rule);
    FAIL() << "no error";
  } catch (const argument_error& error) {
    const std::string whole = "attention: options.scale is 2 (" + rule + ")";
    EXPECT_EQ(error.what(), whole.substr(0, sizeof(detail::message) - 1));
  }
}

}  // namespace
}  // namespace softlook::error_test
