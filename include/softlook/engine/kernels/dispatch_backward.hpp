#pragma once

#include "softlook/core/dual.hpp"
#include "softlook/engine/kernels/backward_args.hpp"
#include "softlook/engine/kernels/dispatch.hpp"

// The kernels of the way back, in the rooms of the others: who does not ask for gradients does not
// read them.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// ∂f/∂s of a chain of transforms, by a dual number.
template <class F, class T>
[[nodiscard]] inline T slope_of_score(const F& f, T s, std::int32_t i, std::int32_t j, problem p) {
  return f(math::dual<T>(s, T(1)), i, j, p).derivative;
}

#if SOFTLOOK_KERNELS_ELSEWHERE
#define SOFTLOOK_STAMP_ROOM "softlook/engine/stamped/softmax/slopes.inl"
#else
#define SOFTLOOK_STAMP_ROOM "softlook/engine/stamped/backward.inl"
#endif
#include "softlook/engine/stamped/all_sets.inl"

template <class T, bool Additive>
[[nodiscard]] backward_kernel<T, Additive> backward_kernel_of(instruction_set isa);
#if !SOFTLOOK_KERNELS_ELSEWHERE
template <class T, bool Additive>
backward_kernel<T, Additive> backward_kernel_of([[maybe_unused]] instruction_set isa) {
  return SOFTLOOK_STAMPED(isa, tiled_backward<T, Additive>);
}
#endif

/// The derivative of a chain of transforms, compiled for a set.
template <class T, class Transform>
void set_derivative(transform_calls<T>& calls, [[maybe_unused]] instruction_set isa) {
  calls.derivative = SOFTLOOK_STAMPED(isa, replace_by_slopes<T, Transform>);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
