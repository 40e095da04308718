#include "support/peak.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

namespace bench {
namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) {
  return std::chrono::duration<double>(clock::now() - start).count();
}

// The multiply-adds are written in assembly: a compiler can neither remove, merge nor spill them,
// and a plain build may use them inside a function of the right target. Twelve independent
// accumulators cover a latency of four to six cycles on two pipes.
constexpr double chains = 12;
#define SOFTLOOK_BENCH_TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define SOFTLOOK_BENCH_ZERO(i) register_type a##i = {};
#define SOFTLOOK_BENCH_STEP(i)                     \
  asm volatile(SOFTLOOK_BENCH_FMA                  \
               : "+" SOFTLOOK_BENCH_REGISTER(a##i) \
               : SOFTLOOK_BENCH_REGISTER(x), SOFTLOOK_BENCH_REGISTER(y));
#define SOFTLOOK_BENCH_LOOP                    \
  SOFTLOOK_BENCH_TWELVE(SOFTLOOK_BENCH_ZERO)   \
  const register_type x = {}, y = {};          \
  for (std::int64_t k = 0; k < count; ++k) {   \
    SOFTLOOK_BENCH_TWELVE(SOFTLOOK_BENCH_STEP) \
  }

constexpr int widest = 64;

struct fma_loop {
  const char* name;
  int register_bytes;
  void (*single_loop)(std::int64_t);
  void (*double_loop)(std::int64_t);
};

#if defined(__x86_64__)

typedef float vector16 __attribute__((vector_size(64)));
typedef float vector8 __attribute__((vector_size(32)));
typedef float vector4 __attribute__((vector_size(16)));

#define SOFTLOOK_BENCH_REGISTER(v) "v"(v)
#define SOFTLOOK_BENCH_FMA "vfmadd213ps %2, %1, %0"
__attribute__((target("avx512f"))) void single_avx512(std::int64_t count) {
  using register_type = vector16;
  SOFTLOOK_BENCH_LOOP
}
__attribute__((target("avx2,fma"))) void single_avx2(std::int64_t count) {
  using register_type = vector8;
  SOFTLOOK_BENCH_LOOP
}
#undef SOFTLOOK_BENCH_FMA
#define SOFTLOOK_BENCH_FMA "vfmadd213pd %2, %1, %0"
__attribute__((target("avx512f"))) void double_avx512(std::int64_t count) {
  using register_type = vector16;
  SOFTLOOK_BENCH_LOOP
}
__attribute__((target("avx2,fma"))) void double_avx2(std::int64_t count) {
  using register_type = vector8;
  SOFTLOOK_BENCH_LOOP
}
#undef SOFTLOOK_BENCH_FMA
#undef SOFTLOOK_BENCH_REGISTER
// Without fused multiply-adds a multiplication and an addition are the best there is.
#define SOFTLOOK_BENCH_REGISTER(v) "x"(v)
#define SOFTLOOK_BENCH_FMA "mulps %1, %0\n\taddps %2, %0"
void single_sse2(std::int64_t count) {
  using register_type = vector4;
  SOFTLOOK_BENCH_LOOP
}
#undef SOFTLOOK_BENCH_FMA
#define SOFTLOOK_BENCH_FMA "mulpd %1, %0\n\taddpd %2, %0"
void double_sse2(std::int64_t count) {
  using register_type = vector4;
  SOFTLOOK_BENCH_LOOP
}

fma_loop best_loop(int register_bytes) {
  __builtin_cpu_init();
  if (register_bytes >= 64 && __builtin_cpu_supports("avx512f"))
    return {"avx512", 64, single_avx512, double_avx512};
  if (register_bytes >= 32 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {"avx2", 32, single_avx2, double_avx2};
  return {"sse2", 16, single_sse2, double_sse2};
}

#elif defined(__aarch64__)

typedef float vector4 __attribute__((vector_size(16)));

#define SOFTLOOK_BENCH_REGISTER(v) "w"(v)
#define SOFTLOOK_BENCH_FMA "fmla %0.4s, %1.4s, %2.4s"
void single_neon(std::int64_t count) {
  using register_type = vector4;
  SOFTLOOK_BENCH_LOOP
}
#undef SOFTLOOK_BENCH_FMA
#define SOFTLOOK_BENCH_FMA "fmla %0.2d, %1.2d, %2.2d"
void double_neon(std::int64_t count) {
  using register_type = vector4;
  SOFTLOOK_BENCH_LOOP
}

fma_loop best_loop(int) { return {"neon", 16, single_neon, double_neon}; }

#else
#error \
    "softlook benchmarks: P is measured on x86-64 and AArch64 only; add a loop to bench/support/peak.cpp"
#endif

// The best of slices of about a millisecond: a slice that something interrupted does not count.
double peak_of_this_thread(const fma_loop& loop, precision p) {
  const auto body = p == precision::double_precision ? loop.double_loop : loop.single_loop;
  const double flops_per_pass =
      2 * chains * loop.register_bytes / (p == precision::double_precision ? 8 : 4);
  constexpr std::int64_t passes = 200'000;
  constexpr double budget = 0.02;
  double best = std::numeric_limits<double>::infinity();
  const auto begin = clock::now();
  do {
    const auto start = clock::now();
    body(passes);
    best = std::min(best, seconds_since(start));
  } while (seconds_since(begin) < budget);
  return flops_per_pass * double(passes) / best;
}

}  // namespace

double peak_flops(precision p, int threads, int register_bytes) {
  const fma_loop loop = best_loop(register_bytes > 0 ? register_bytes : widest);
  if (threads <= 1) return peak_of_this_thread(loop, p);
  std::vector<double> peaks(static_cast<std::size_t>(threads));
  std::atomic<int> waiting{threads};
  const auto measure = [&](std::size_t thread) {
    waiting.fetch_sub(1);
    while (waiting.load() > 0) std::this_thread::yield();
    peaks[thread] = peak_of_this_thread(loop, p);
  };
  std::vector<std::thread> others;
  for (std::size_t thread = 1; thread < peaks.size(); ++thread)
    others.emplace_back(measure, thread);
  measure(0);
  for (std::thread& other : others) other.join();
  double sum = 0;
  for (const double peak : peaks) sum += peak;
  return sum;
}

double front_end_share() {
#if defined(__x86_64__)
  const fma_loop loop = best_loop(32);
  if (loop.register_bytes < 32) return 1;
  const double cycles = peak_of_this_thread(loop, precision::single_precision) / (2 * 2 * 8);
  constexpr std::int64_t passes = 1'000'000;
  double best = std::numeric_limits<double>::infinity();
  for (const auto begin = clock::now(); seconds_since(begin) < 0.02;) {
    const auto start = clock::now();
    std::int64_t left = passes;
    asm volatile("1: sub $1, %0\n\tjnz 1b" : "+r"(left) : : "cc");
    best = std::min(best, seconds_since(start));
  }
  return double(passes) / best / cycles;
#else
  return 1;
#endif
}

const char* peak_instruction_set() { return best_loop(widest).name; }

}  // namespace bench
