// The calls in double.
#include "attention.hpp"
#include "heads.hpp"
#include "layers.hpp"
#include "linear.hpp"
#include "variants.hpp"

namespace bits {

template void attention_calls<double>();
template void head_calls<double>();
template void variant_calls<double>();
template void linear_calls<double>();
template void layer_calls<double>();

}  // namespace bits
