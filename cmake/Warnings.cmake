# What our own tests, examples and benchmarks are compiled with; the softlook target carries none of
# it. Eigen and GoogleTest come as imported targets, hence as system headers.
#
# Without a build type this is -O2 with assertions: Eigen's and our own invariants stay checked, and
# the kernels run at the speed that users of a plain -O2 get. Any build type replaces it.
function(softlook_settings target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wconversion -Wshadow -Werror
    $<$<CONFIG:>:-O2>)
  target_link_libraries(${target} PRIVATE softlook::softlook)
endfunction()
