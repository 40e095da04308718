#pragma once

// Products of rounded numbers, where they are asked for.

#include "softlook/layer/low_precision.hpp"
