// MSVC itself is not at hand: its macros are, and the refusal stands before anything else is read.
// flags: -U__GNUC__ -U__clang__ -D_MSC_VER=1930
// expect: softlook: MSVC is not supported
#include "softlook/core/config.hpp"
