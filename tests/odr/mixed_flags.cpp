// Links units that assume different instruction sets and runs those that this machine can.
#include <cmath>
#include <cstdio>

double first_output_plain();
#ifdef HAVE_v3
double first_output_v3();
double first_output_v4();
#endif

namespace {

int faults = 0;

void check(const char* unit, double got) {
  const bool right = std::abs(got - 0.5) < 1e-6;
  std::printf("%-6s %.9f %s\n", unit, got, right ? "ok" : "WRONG, expected 0.5");
  if (!right) ++faults;
}

}  // namespace

int main() {
  check("plain", first_output_plain());
#ifdef HAVE_v3
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) check("v3", first_output_v3());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    check("v4", first_output_v4());
#endif
  return faults == 0 ? 0 : 1;
}
