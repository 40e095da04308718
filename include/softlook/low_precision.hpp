#pragma once

// Products of rounded numbers, where they are asked for.

#include "softlook/attention/low_precision.hpp"
#include "softlook/layer/low_precision.hpp"
