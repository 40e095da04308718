#include "tests/property/differential.hpp"
#include "tests/soak/kinds.hpp"

namespace softlook_soak {

void forward_float(choices& from) { run_expecting<softlook_test::random_case<float>>(from); }
void forward_double(choices& from) { run_expecting<softlook_test::random_case<double>>(from); }
void extreme_float(choices& from) { run_expecting<softlook_test::extreme_case<float>>(from); }
void extreme_double(choices& from) { run_expecting<softlook_test::extreme_case<double>>(from); }

}  // namespace softlook_soak
