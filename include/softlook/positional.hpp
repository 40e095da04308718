#pragma once

// Sinusoidal, learned and rotary positions.

#include "softlook/position/encodings.hpp"
#include "softlook/position/token_positions.hpp"
