# softlook::compiled, a static library of explicit instantiations (include/softlook/engine/kernels/instantiate.hpp)
# for faster compiling; the same headers, the same results. Below another project it is built when
# something links to it; SOFTLOOK_BUILD_COMPILED builds it always and installs it.

# The inline namespace that the compiler's flags lead to; a unit whose flags lead to another one
# compiles what it needs itself. Read out of an object file, which works for any target.
if(NOT DEFINED SOFTLOOK_COMPILED_ABI)
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
  if(CMAKE_BUILD_TYPE)
    set(CMAKE_TRY_COMPILE_CONFIGURATION "${CMAKE_BUILD_TYPE}")
  endif()
  get_directory_property(softlook_options COMPILE_OPTIONS)
  list(FILTER softlook_options EXCLUDE REGEX "\\$<")
  try_compile(softlook_abi_known "${PROJECT_BINARY_DIR}/compiled_abi"
    "${PROJECT_SOURCE_DIR}/cmake/compiled/abi.cpp"
    CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${PROJECT_SOURCE_DIR}/include"
    COMPILE_DEFINITIONS ${softlook_options} -fno-lto
    CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON
    COPY_FILE "${PROJECT_BINARY_DIR}/compiled_abi/abi.a"
    OUTPUT_VARIABLE softlook_abi_output)
  unset(CMAKE_TRY_COMPILE_TARGET_TYPE)
  if(NOT softlook_abi_known)
    message(FATAL_ERROR "softlook: cmake/compiled/abi.cpp does not compile:\n${softlook_abi_output}")
  endif()
  file(STRINGS "${PROJECT_BINARY_DIR}/compiled_abi/abi.a" softlook_abi REGEX "softlook_abi=<[a-z0-9_]+>")
  string(REGEX REPLACE ".*softlook_abi=<([a-z0-9_]+)>.*" "\\1" softlook_abi "${softlook_abi}")
  set(SOFTLOOK_COMPILED_ABI "${softlook_abi}" CACHE INTERNAL "inline namespace of softlook::compiled")
endif()

file(GLOB softlook_compiled_sources CONFIGURE_DEPENDS
     "${PROJECT_SOURCE_DIR}/cmake/compiled/*.cpp")
list(FILTER softlook_compiled_sources EXCLUDE REGEX "/abi\\.cpp$")
add_library(softlook_compiled STATIC ${softlook_compiled_sources})
add_library(softlook::compiled ALIAS softlook_compiled)
set_target_properties(softlook_compiled PROPERTIES
  EXPORT_NAME compiled POSITION_INDEPENDENT_CODE ON
  EXCLUDE_FROM_ALL "$<NOT:$<BOOL:${SOFTLOOK_BUILD_COMPILED}>>")
target_link_libraries(softlook_compiled PUBLIC softlook)
target_compile_definitions(softlook_compiled PUBLIC
  SOFTLOOK_COMPILED "SOFTLOOK_COMPILED_${SOFTLOOK_COMPILED_ABI}=1")
# Kernels at full speed in a debug build too, and where there is no build type.
target_compile_options(softlook_compiled PRIVATE $<$<OR:$<CONFIG:>,$<CONFIG:Debug>>:-O2>)
