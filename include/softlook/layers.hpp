#pragma once

// Layers with weights: linear maps, layer normalisation, multi-head attention.

#include "softlook/layer/layer_norm.hpp"
#include "softlook/layer/linear_layer.hpp"
#include "softlook/layer/matrix_layer.hpp"
#include "softlook/layer/multi_head.hpp"
#include "softlook/layer/rms_norm.hpp"
