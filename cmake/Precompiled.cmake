include_guard(GLOBAL)
include("${PROJECT_SOURCE_DIR}/cmake/Warnings.cmake")

# softlook_precompile(<target> <header...>): keeps these headers in precompiled form for the target, and
# for others with the same flags. CMAKE_DISABLE_PRECOMPILE_HEADERS leaves all of it out.
function(softlook_precompile target)
  target_precompile_headers(${target} PRIVATE ${ARGN})
  softlook_cacheable(${target})
endfunction()

# softlook_reuse_precompiled(<target> <owner>): takes those of <owner>.
function(softlook_reuse_precompiled target owner)
  target_precompile_headers(${target} REUSE_FROM ${owner})
  softlook_cacheable(${target})
endfunction()

# Without these ccache compiles anew whatever uses precompiled headers; cmake/setup.sh has the rest.
function(softlook_cacheable target)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(${target} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
  elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
endfunction()

# softlook_light_settings(<target> <level>): softlook_settings, with another level of optimisation where
# there is no build type, and in the build type Sanitized of .ci/run: sanitized tests compile three times
# as fast without optimising.
function(softlook_light_settings target level)
  softlook_settings(${target})
  target_compile_options(${target} PRIVATE $<$<OR:$<CONFIG:>,$<CONFIG:Sanitized>>:${level}>)
endfunction()

# softlook_program_settings(<target>): for programs that use every part of softlook. The kernels are those
# of softlook::compiled, so -O1 is enough where there is no build type.
function(softlook_program_settings target)
  if(NOT TARGET softlook_everything)
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/everything.cpp" CONTENT "")
    add_library(softlook_everything OBJECT EXCLUDE_FROM_ALL "${PROJECT_BINARY_DIR}/everything.cpp")
    softlook_light_settings(softlook_everything -O1)
    target_link_libraries(softlook_everything PRIVATE softlook::compiled)
    softlook_precompile(softlook_everything <iostream> <softlook/softlook.hpp>)
  endif()
  softlook_light_settings(${target} -O1)
  target_link_libraries(${target} PRIVATE softlook::compiled)
  softlook_reuse_precompiled(${target} softlook_everything)
endfunction()
