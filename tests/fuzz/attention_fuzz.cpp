// The input is a program: one call of attention with sizes, storage, policies and numbers, or a
// sequence of operations on a kv_cache and its forks (tests/property/call).

#include "tests/fuzz/attention_kernels.hpp"
//
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/property/call/cache_case.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace cases = softlook_test::call_case;
  auto in = softlook_test::choices::of_bytes({data, size});
  try {
    cases::run_any(in);
  } catch (const softlook_test::finding& found) {
    std::fprintf(stderr, "attention_fuzz: %s\n", found.what());
    std::abort();
  }
  return 0;
}
