#pragma once

// Softmax attention. Its variants have headers of their own in attention/, so that this one
// stays light to compile.

#include "softlook/attention/attention.hpp"
#include "softlook/attention/state.hpp"
