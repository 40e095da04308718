#include "tests/property/layers_case.hpp"
#include "tests/soak/kinds.hpp"

namespace softlook_soak {

void layers_float(choices& from) { run_expecting<softlook_test::layers_case<float>>(from); }
void layers_double(choices& from) { run_expecting<softlook_test::layers_case<double>>(from); }

}  // namespace softlook_soak
