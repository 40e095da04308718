#pragma once

#include <cmath>
#include <cstdint>

#include "softlook/core/dropout.hpp"
#include "softlook/core/error.hpp"
#include "softlook/core/random.hpp"
#include "softlook/engine/kernels/dispatch.hpp"
#include "softlook/engine/kernels/frame.hpp"

// Dropout as an edit of weights.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The weights of a query, one counter after the other: what the kernels draw for many at a time
/// (engine/stamped/softmax/dropout.inl) is compared with it. A dropped weight becomes −0, as there;
/// a NaN stays: the softmax of its row is not a number, which there the row's sum tells.
template <class T>
void drop_row(const void* self, T* P, index keys, std::int32_t position, const call_frame& f,
              problem whole) {
  const dropout& d = *static_cast<const dropout*>(self);
  const auto threshold = std::uint64_t(std::ldexp(d.probability, 32));
  const T kept = T(1 / (1 - d.probability));
  const philox_key key{std::uint32_t(d.seed), std::uint32_t(d.seed >> 32)};
  const index shared = f.shared_keys(keys);  // private keys are never dropped
  for (index r = 0; r < shared;) {
    const index j = f.key(r);
    const philox_counter words = philox({std::uint32_t(j / 4), std::uint32_t(position),
                                         std::uint32_t(whole.head), std::uint32_t(whole.sequence)},
                                        key);
    const index last = f.key_stride == 1 ? 3 : j % 4;  // of the key's own neighbours
    for (index word = j % 4; word <= last && r < shared; ++word, ++r)
      P[r] = words[std::size_t(word)] < threshold && P[r] == P[r] ? T(-0.0) : P[r] * kept;
  }
}

template <class T>
[[nodiscard]] weight_calls<T> calls_of_dropout(const char* where, const dropout& given,
                                               instruction_set isa) {
  if (!(given.probability >= 0 && given.probability < 1))
    raise_argument(where, "dropout.probability", given.probability,
                   "it lies between 0 and 1, below 1");
  if (given.probability == 0) return {};
  weight_calls<T> calls;
  calls.state = &given;
  calls.edit_row = &drop_row<T>;
  set_edits(calls, isa);
  return calls;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
