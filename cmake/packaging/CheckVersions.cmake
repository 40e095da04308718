# Run as  cmake -DROOT=<source tree> -P CheckVersions.cmake.  Fails where a file that cannot read the version out of
# include/softlook/core/version.hpp says another one.
file(STRINGS "${ROOT}/include/softlook/core/version.hpp" lines REGEX "define SOFTLOOK_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
string(REGEX REPLACE "[^0-9;]" "" numbers "${lines}")
list(JOIN numbers "." version)
if(NOT version MATCHES "^[0-9]+\\.[0-9]+\\.[0-9]+$")
  message(FATAL_ERROR "include/softlook/core/version.hpp: no version found")
endif()

# says(<file> <pattern>): the first number that the pattern finds is the version.
function(says file pattern)
  file(READ "${ROOT}/${file}" text)
  if(NOT text MATCHES "${pattern}")
    message(SEND_ERROR "${file}: no version found")
  elseif(NOT CMAKE_MATCH_1 STREQUAL version)
    message(SEND_ERROR "${file}: says ${CMAKE_MATCH_1}, but include/softlook/core/version.hpp ${version}")
  else()
    message(STATUS "${file}: ${version}")
  endif()
endfunction()

says(CHANGELOG.md "\n## \\[([0-9.]+)\\]")
says(cmake/packaging/CITATION.cff "\nversion: ([0-9.]+)\n")
says(cmake/packaging/vcpkg/softlook/vcpkg.json "\"version\": \"([0-9.]+)\"")
