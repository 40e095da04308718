# softlook_check_headers(<target>): one translation unit per public header, which includes it first
# (nothing may be missing) and twice (the guard holds). Files of the stamped room have no guard and
# are parts of engine/kernels/dispatch.hpp, so only *.hpp counts.
function(softlook_check_headers target)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS
       RELATIVE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/include/*.hpp")
  list(FILTER headers EXCLUDE REGEX "exec/openmp\\.hpp$")  # needs a flag; its own test includes it
  set(sources "")
  foreach(header IN LISTS headers)
    string(MAKE_C_IDENTIFIER "${header}" name)
    set(source "${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cpp")
    file(CONFIGURE OUTPUT "${source}" CONTENT
         "#include <@header@>\n#include <@header@>\n\nint include_of_@name@() { return 0; }\n" @ONLY)
    list(APPEND sources "${source}")
  endforeach()
  add_library(${target} OBJECT ${sources})
  softlook_settings(${target})
  # Only compiling is the test; nothing runs, so nothing needs optimising.
  target_compile_options(${target} PRIVATE -O0)
endfunction()
