#pragma once

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// Two matrices, or a matrix and a parameter, whose sizes do not fit together.
struct shape_error : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// A parameter whose value is out of range, or an output that overlaps an input.
struct argument_error : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

namespace detail {

template <class Error>
[[noreturn, gnu::cold, gnu::noinline]] inline void raise(const char* message) {
#if SOFTLOOK_EXCEPTIONS
  throw Error(message);
#else
  std::fprintf(stderr, "%s\n", message);
  std::abort();
#endif
}

template <class Error>
[[noreturn, gnu::cold, gnu::noinline]] inline void raise(const std::string& message) {
  raise<Error>(message.c_str());
}

/// The text of an error, cut where it is too long. A std::string put together from pieces is
/// compiled anew for every file (in C++20), which took a twelfth of the time for a call.
struct message {
  char text[1024];
};

[[gnu::cold, gnu::noinline, gnu::format(printf, 1, 2)]] inline message formatted(const char* format,
                                                                                 ...) {
  message m;
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(m.text, sizeof m.text, format, values);
  va_end(values);
  return m;
}

/// "attention: K.cols() is 48 but Q.cols() is 64 (queries and keys share one feature size)"
[[noreturn, gnu::cold, gnu::noinline]] inline void raise_sizes(const char* where, const char* left,
                                                               long long left_is, const char* right,
                                                               long long right_is,
                                                               const char* rule) {
  raise<shape_error>(
      formatted("%s: %s is %lld but %s is %lld (%s)", where, left, left_is, right, right_is, rule)
          .text);
}

inline void check_sizes(const char* where, const char* left, long long left_is, const char* right,
                        long long right_is, const char* rule) {
  if (left_is != right_is) raise_sizes(where, left, left_is, right, right_is, rule);
}

/// A matrix of a policy is n×m, or has one row or one column that is repeated, or a block of n rows
/// for each query head.
inline void check_broadcast(const char* where, const char* rows_name, long long rows,
                            const char* cols_name, long long cols, const problem& p) {
  if (rows != 1 && rows != static_cast<long long>(p.queries) * p.heads)
    check_sizes(where, rows_name, rows, "Q.rows()", p.queries,
                "it has a row for each query, or for each query of each head, or one for all");
  if (cols != 1)
    check_sizes(where, cols_name, cols, "K.rows()", p.keys,
                "it has a column for each key, or one column for all");
}

/// "masks::padding: length is 12 (it must be between 0 and the number of keys, 8)"
[[noreturn, gnu::cold, gnu::noinline]] inline void raise_argument(const char* where,
                                                                  const char* name, double is,
                                                                  const char* rule) {
  raise<argument_error>(formatted("%s: %s is %.9g (%s)", where, name, is, rule).text);
}

[[noreturn, gnu::cold, gnu::noinline]] inline void raise_argument(const char* where,
                                                                  const char* name, double is,
                                                                  const std::string& rule) {
  raise_argument(where, name, is, rule.c_str());
}

/// "attention: options.scale is 1e+39 (a scale is finite, between -3.40282347e+38 and
/// 3.40282347e+38)"
[[noreturn, gnu::cold, gnu::noinline]] inline void raise_outside(const char* where,
                                                                 const char* name, double is,
                                                                 double least, double most,
                                                                 const char* rule) {
  raise<argument_error>(
      formatted("%s: %s is %.9g (%s, between %.9g and %.9g)", where, name, is, rule, least, most)
          .text);
}

/// What a number that parameterises a call must be.
enum class parameter { finite, not_negative, positive };

/// Parameters are given in double whatever a call computes in: T must hold them. A positive number
/// that is 0 in T is none, and one that is ∞ in T would turn rows into NaN.
template <class T>
void check_parameter(const char* where, const char* name, double value, parameter must_be,
                     const char* rule) {
  using limits = std::numeric_limits<T>;
  constexpr double most = limits::max(), least = limits::denorm_min();
  // Up to half a unit beyond, which rounds to the largest number: a decimal of it may lie there.
  const double size = std::abs(value);
  const bool fits = size <= most * (1 + double(limits::epsilon()) / 4);
  if (must_be == parameter::finite) {
    if (!fits) raise_outside(where, name, value, -most, most, rule);
  } else if (!fits || !(value >= least || (must_be == parameter::not_negative && value == 0))) {
    raise_outside(where, name, value, least, most, rule);
  }
}

}  // namespace detail

/// \}

SOFTLOOK_NAMESPACE_END
