#include "tests/property/backward_case.hpp"
#include "tests/soak/kinds.hpp"

namespace softlook_soak {

void backward_float(choices& from) { run_expecting<softlook_test::backward_case<float>>(from); }
void backward_double(choices& from) { run_expecting<softlook_test::backward_case<double>>(from); }

}  // namespace softlook_soak
