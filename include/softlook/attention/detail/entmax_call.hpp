#pragma once

#include <vector>

#include "softlook/engine/run/run_attention.hpp"

// Attention whose weights are α-entmax, from a checked call on: float and double are in
// softlook::compiled.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// O = P·V in each head; a value without weight is never read.
template <bool Additive, class T>
void run_entmax(const attention_call<T>& c, double alpha);

/// P, n×m, of each query head.
template <bool Additive, class T>
[[nodiscard]] std::vector<row_major<T>> run_entmax_weights(const attention_call<T>& c,
                                                           double alpha);

}  // namespace detail
SOFTLOOK_NAMESPACE_END

#if !SOFTLOOK_USES_COMPILED
#include "softlook/attention/detail/entmax_rows.inl"
#endif
