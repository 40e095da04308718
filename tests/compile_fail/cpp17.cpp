// flags: -std=c++17
// expect: softlook: C++20 is needed
#include "softlook/core/config.hpp"
