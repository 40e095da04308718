#pragma once

// Linear attention, fast weights, random features.

#include "softlook/linear/attention.hpp"
#include "softlook/linear/random_features.hpp"
