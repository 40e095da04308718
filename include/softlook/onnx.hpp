#pragma once

// Operators of ONNX over pointers and shapes.

#include "softlook/onnx/attention.hpp"
#include "softlook/onnx/flex_attention.hpp"
#include "softlook/onnx/rotary_embedding.hpp"
#include "softlook/onnx/tensor_scatter.hpp"
