// flags: -ffinite-math-only
// expect: softlook: 
// expect: compile without them
#include "softlook/core/config.hpp"
