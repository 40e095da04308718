#pragma once

#include <cmath>
#include <cstdint>

#include "softlook/core/dropout.hpp"
#include "softlook/core/error.hpp"
#include "softlook/core/random.hpp"
#include "softlook/engine/kernels/policy_calls.hpp"

// Dropout as an edit of weights.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Of the weights of some queries and keys. A dropped one becomes −0, which touches no value, not
/// even one that is not finite.
template <class T>
void drop_weights(const void* self, T* P, const weight_edit& at, problem whole) {
  const dropout& d = *static_cast<const dropout*>(self);
  const auto threshold = std::uint64_t(std::ldexp(d.probability, 32));
  const T kept = T(1 / (1 - d.probability));
  const philox_key key{std::uint32_t(d.seed), std::uint32_t(d.seed >> 32)};
  for (index q = 0; q < at.queries; ++q) {
    T* const column = P + q * at.query_stride;
    for (index r = 0; r < at.keys;) {
      const index j = at.first_key + r;
      const philox_counter words =
          philox({std::uint32_t(j / 4), std::uint32_t(at.positions[q]), std::uint32_t(whole.head),
                  std::uint32_t(whole.sequence)},
                 key);
      for (index word = j % 4; word < 4 && r < at.keys; ++word, ++r) {
        T& weight = column[r * at.key_stride];
        weight = words[std::size_t(word)] < threshold ? T(-0.0) : weight * kept;
      }
    }
  }
}

template <class T>
[[nodiscard]] weight_calls<T> calls_of_dropout(const char* where, const dropout& given) {
  if (!(given.probability >= 0 && given.probability < 1))
    raise_argument(where, "dropout.probability", given.probability,
                   "it lies between 0 and 1, below 1");
  if (given.probability == 0) return {};
  return {&given, &drop_weights<T>};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
