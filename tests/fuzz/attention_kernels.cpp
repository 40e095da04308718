#include "tests/fuzz/attention_kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_FUZZED_KERNELS()
}  // namespace detail
SOFTLOOK_NAMESPACE_END
