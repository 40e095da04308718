// flags: -ffinite-math-only
// expect: softlook: 
// expect: compile without
#include "softlook/core/config.hpp"
