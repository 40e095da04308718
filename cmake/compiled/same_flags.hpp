// What is declared extern by the headers and what is compiled here must be in one inline namespace.
#pragma once

#include "softlook/core/config.hpp"

#if !SOFTLOOK_USES_COMPILED
#error \
    "softlook: the flags of softlook::compiled are not those that CMake saw when it was configured; set CMAKE_CXX_FLAGS before softlook is added"
#endif
