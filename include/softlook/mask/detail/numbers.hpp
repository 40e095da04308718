#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class R>
inline constexpr bool is_span = false;
template <class X, std::size_t N>
inline constexpr bool is_span<std::span<X, N>> = true;

/// A list that is gone after the statement: a view of it would dangle.
template <class R>
concept dying_list = !std::is_lvalue_reference_v<R> && !is_span<std::remove_cvref_t<R>>;

/// What a mask that looks at a list of std::int32_t takes: a list with a name, or a span.
struct kept_numbers : std::span<const std::int32_t> {
  using view = std::span<const std::int32_t>;

  template <class R>
    requires(std::is_convertible_v<const std::remove_cvref_t<R>&, view> && !dying_list<R>)
  kept_numbers(R&& list) : view(list) {}
  template <dying_list R>
    requires(std::is_convertible_v<const std::remove_cvref_t<R>&, view>)
  kept_numbers(R&&) = delete;  // a view of a temporary would dangle
};

/// The entry of a list with one for each sequence of a batch.
[[nodiscard]] inline std::int32_t of_sequence(std::span<const std::int32_t> list,
                                              const problem& p) {
  return list[static_cast<std::size_t>(p.sequence)];
}

inline void check_sequence(const char* where, const char* name, std::span<const std::int32_t> list,
                           const problem& p) {
  if (index(list.size()) <= p.sequence)
    raise_sizes(where, name, static_cast<long long>(list.size()), "the number of sequences",
                p.sequence + 1LL, "there is an entry for each sequence of the batch");
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
