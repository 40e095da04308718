// All calls in float.
#include "attention.hpp"
#include "heads.hpp"
#include "layers.hpp"
#include "linear.hpp"
#include "variants.hpp"

namespace bits {

template void attention_calls<float>();
template void head_calls<float>();
template void variant_calls<float>();
template void linear_calls<float>();
template void layer_calls<float>();

}  // namespace bits
