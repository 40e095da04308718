#pragma once

// Caches of keys and values, and rows in fewer bits.

#include "softlook/cache/int8_rows.hpp"
#include "softlook/cache/kv_cache.hpp"
#include "softlook/cache/paged_rows.hpp"
