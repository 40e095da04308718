#pragma once

#include <optional>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// Query heads, and the heads of keys and values that groups of them share: kv = query is
/// multi-head, kv = 1 multi-query attention, anything between grouped-query attention. Unset kv is
/// query.
struct heads {
  index query = 1;
  std::optional<index> kv{};
};

/// \}

SOFTLOOK_NAMESPACE_END
