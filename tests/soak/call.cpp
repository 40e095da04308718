#include "tests/property/call/cache_case.hpp"
#include "tests/soak/kinds.hpp"

namespace softlook_soak {

void call(choices& from) {
  softlook_test::call_case::on_all_sets() = true;
  softlook_test::call_case::run_any(from);
}

}  // namespace softlook_soak
