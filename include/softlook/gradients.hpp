#pragma once

// Gradients: the way back of attention and of layers.
//
//   gradient/attention.hpp  attention_backward: tiled, any mask and transforms
//   gradient/linear.hpp     linear maps; the shape that all of them have

#include "softlook/gradient/attention.hpp"
#include "softlook/gradient/linear.hpp"
