#pragma once

// Gradients: the way back of attention and of layers.
//
//   gradient/linear.hpp  linear maps; the shape that all of them have

#include "softlook/gradient/linear.hpp"
