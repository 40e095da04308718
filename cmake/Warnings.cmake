# What our own tests, examples and benchmarks are compiled with; the softlook target carries none of
# it. Eigen and GoogleTest come as imported targets, hence as system headers.
#
# Without a build type this is -O2 with assertions: Eigen's and our own invariants stay checked, and
# the kernels run at the speed that users of a plain -O2 get. Any build type replaces it.
function(softlook_settings target)
  softlook_collect_late(${target})
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wconversion -Wshadow -Werror
    $<$<CONFIG:>:-O2>)
  target_link_libraries(${target} PRIVATE softlook::softlook)
endfunction()

# softlook_collect_late(<target>): gcc would collect its garbage again and again while it reads Eigen's templates, which
# takes an eighth of its time. A process stays below 1.7 GB.
function(softlook_collect_late target)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE --param=ggc-min-expand=50 --param=ggc-min-heapsize=1000000)
  endif()
endfunction()

# softlook_batches(<target> <size>): its files are compiled, so many at a time, as one translation unit, because half of
# what each emits alone is the same code of Eigen, GoogleTest and the standard library. CMAKE_UNITY_BUILD and
# CMAKE_UNITY_BUILD_BATCH_SIZE replace this. Call it after the last target_sources.
function(softlook_batches target size)
  get_target_property(sources ${target} SOURCES)
  list(LENGTH sources count)
  if(count GREATER 1 AND NOT DEFINED CMAKE_UNITY_BUILD)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON)
  endif()
  if(NOT DEFINED CMAKE_UNITY_BUILD_BATCH_SIZE)
    set_target_properties(${target} PROPERTIES UNITY_BUILD_BATCH_SIZE ${size})
  endif()
endfunction()
