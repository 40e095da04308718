// flags: -ffast-math
// expect: softlook: 
// expect: compile without them
#include "softlook/core/config.hpp"
