# Run as  cmake -DCOMPILER=<c++> -DSOURCE=<file> -DINCLUDES=<a;b> [-DUSE=<options>] -P CompileFail.cmake.
# SOURCE is compiled with MUST_FAIL and must fail with the text of its first "// expect: " line in the
# first error, and those of the others anywhere; that it compiles without, the test of them all says. A
# "// flags: " line adds flags, and USE, options that bring softlook.hpp precompiled, is left away. A
# "// only: gcc" line says that clang cannot see the fault at all.
file(STRINGS "${SOURCE}" expected REGEX "^// expect: ")
file(STRINGS "${SOURCE}" flags REGEX "^// flags: ")
file(STRINGS "${SOURCE}" only_gcc REGEX "^// only: gcc$")
if(NOT expected)
  message(FATAL_ERROR "${SOURCE}: no '// expect: ' line")
endif()

if(only_gcc)
  execute_process(COMMAND "${COMPILER}" --version OUTPUT_VARIABLE banner)
  if(banner MATCHES "clang")
    message("SKIPPED: ${COMPILER} cannot see this fault")
    return()
  endif()
endif()
string(REPLACE "// flags: " "" flags "${flags}")
separate_arguments(flags UNIX_COMMAND "${flags}")

# English messages, whatever the user's language is.
set(ENV{LC_ALL} C)
set(command "${COMPILER}" -std=c++20 -fsyntax-only -Wall -Wextra -Werror)
foreach(dir IN LISTS INCLUDES)
  list(APPEND command -isystem "${dir}")
endforeach()

if(NOT flags)
  separate_arguments(use UNIX_COMMAND "${USE}")
  list(APPEND command ${use})
endif()

execute_process(COMMAND ${command} -DMUST_FAIL ${flags} "${SOURCE}"
                RESULT_VARIABLE status ERROR_VARIABLE output OUTPUT_QUIET)
if(status EQUAL 0)
  list(JOIN flags " " flags)
  message(FATAL_ERROR "must not compile with -DMUST_FAIL ${flags}, but does")
endif()
# The reader starts at the first error, so the first expected text has to be in it.
string(REGEX MATCH "[^\n]*error: [^\n]*" place "${output}")
foreach(line IN LISTS expected)
  string(REPLACE "// expect: " "" text "${line}")
  string(FIND "${place}" "${text}" position)
  if(position EQUAL -1)
    message("${output}")
    message(FATAL_ERROR "'${text}' is missing in: ${place}")
  endif()
  set(place "${output}")
endforeach()
