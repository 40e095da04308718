// flags: -ffast-math
// expect: softlook: 
// expect: compile without
#include "softlook/core/config.hpp"
