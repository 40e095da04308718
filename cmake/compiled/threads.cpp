// Part of softlook::compiled: the threads of a pool.
// clang-format off
#include "softlook/exec/thread_pool.hpp"
#include "softlook/exec/detail/team.inl"
// clang-format on

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace exec::detail {

template team* hired<team>(index);
template void dismiss<team>(team*);
template void work_with<team>(team&, pool_job&, index);

}  // namespace exec::detail
SOFTLOOK_NAMESPACE_END
