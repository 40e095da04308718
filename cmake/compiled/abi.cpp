// Compiled by cmake/Compiled.cmake, which reads the text out of the object file.
#include "softlook/core/config.hpp"

#define SOFTLOOK_TEXT_EXPANDED(x) #x
#define SOFTLOOK_TEXT(x) SOFTLOOK_TEXT_EXPANDED(x)

extern const char softlook_abi[];
const char softlook_abi[] = "softlook_abi=<" SOFTLOOK_TEXT(SOFTLOOK_ABI) ">";
