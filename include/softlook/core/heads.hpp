#pragma once

#include <optional>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// Query heads, and the heads of keys and values that groups of them share: kv = query is
/// multi-head, kv = 1 multi-query attention, anything between grouped-query attention. Unset kv is
/// query. As a policy it says that heads lie beside each other in the columns of Q, K, V and O:
///
///     attention(Q, K, V, heads{.query = 8, .kv = 2})
struct heads {
  index query = 1;
  std::optional<index> kv{};

  [[nodiscard]] constexpr index kv_or_query() const { return kv.value_or(query); }
};

/// \}

SOFTLOOK_NAMESPACE_END
