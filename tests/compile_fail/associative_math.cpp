// clang defines no macro for this flag, so only gcc can refuse it.
// only: gcc
// flags: -fassociative-math -fno-signed-zeros -fno-trapping-math
// expect: softlook: 
// expect: compile without them
#include "softlook/core/config.hpp"
