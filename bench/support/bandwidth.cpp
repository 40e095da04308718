#include "support/bandwidth.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace bench {
namespace {

using clock = std::chrono::steady_clock;
using reader = void (*)(const char*, std::size_t);

constexpr std::size_t step = 512;
constexpr std::size_t prefetch_distance = 4096;

void prefetch_step(const char* at) {
  for (std::size_t line = 0; line < step; line += 64) __builtin_prefetch(at + line);
}

// Loads in assembly, because nobody uses what they load. `step` bytes at a time; a rest is not
// read.
#if defined(__x86_64__)

#define SOFTLOOK_BENCH_CLOBBERED \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "memory"

template <bool Ahead>
__attribute__((target("avx512f"))) void read_avx512(const char* data, std::size_t bytes) {
  for (std::size_t at = 0; at + step <= bytes; at += step) {
    if constexpr (Ahead) prefetch_step(data + std::min(at + prefetch_distance, bytes - step));
    asm volatile(
        "vmovups (%0), %%zmm0\n\tvmovups 64(%0), %%zmm1\n\t"
        "vmovups 128(%0), %%zmm2\n\tvmovups 192(%0), %%zmm3\n\t"
        "vmovups 256(%0), %%zmm4\n\tvmovups 320(%0), %%zmm5\n\t"
        "vmovups 384(%0), %%zmm6\n\tvmovups 448(%0), %%zmm7" ::"r"(data + at)
        : SOFTLOOK_BENCH_CLOBBERED);
  }
}

template <bool Ahead>
__attribute__((target("avx2"))) void read_avx2(const char* data, std::size_t bytes) {
  for (std::size_t at = 0; at + step <= bytes; at += step) {
    if constexpr (Ahead) prefetch_step(data + std::min(at + prefetch_distance, bytes - step));
    for (std::size_t half = at; half < at + step; half += step / 2)
      asm volatile(
          "vmovups (%0), %%ymm0\n\tvmovups 32(%0), %%ymm1\n\t"
          "vmovups 64(%0), %%ymm2\n\tvmovups 96(%0), %%ymm3\n\t"
          "vmovups 128(%0), %%ymm4\n\tvmovups 160(%0), %%ymm5\n\t"
          "vmovups 192(%0), %%ymm6\n\tvmovups 224(%0), %%ymm7" ::"r"(data + half)
          : SOFTLOOK_BENCH_CLOBBERED);
  }
}

template <bool Ahead>
void read_sse2(const char* data, std::size_t bytes) {
  for (std::size_t at = 0; at + step <= bytes; at += step) {
    if constexpr (Ahead) prefetch_step(data + std::min(at + prefetch_distance, bytes - step));
    for (std::size_t part = at; part < at + step; part += step / 4)
      asm volatile(
          "movups (%0), %%xmm0\n\tmovups 16(%0), %%xmm1\n\t"
          "movups 32(%0), %%xmm2\n\tmovups 48(%0), %%xmm3\n\t"
          "movups 64(%0), %%xmm4\n\tmovups 80(%0), %%xmm5\n\t"
          "movups 96(%0), %%xmm6\n\tmovups 112(%0), %%xmm7" ::"r"(data + part)
          : SOFTLOOK_BENCH_CLOBBERED);
  }
}

template <bool Ahead>
reader best_reader() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return read_avx512<Ahead>;
  if (__builtin_cpu_supports("avx2")) return read_avx2<Ahead>;
  return read_sse2<Ahead>;
}

#else

typedef float vector4 __attribute__((vector_size(16), aligned(4)));

template <bool Ahead>
void read_vectors(const char* data, std::size_t bytes) {
  for (std::size_t at = 0; at + step <= bytes; at += step) {
    if constexpr (Ahead) prefetch_step(data + std::min(at + prefetch_distance, bytes - step));
    for (std::size_t part = at; part < at + step; part += sizeof(vector4)) {
      const vector4 loaded = *reinterpret_cast<const vector4*>(data + part);
      asm volatile("" ::"w"(loaded) : "memory");
    }
  }
}

template <bool Ahead>
reader best_reader() {
  return read_vectors<Ahead>;
}

#endif

double seconds_of_pass(reader read, const std::vector<region>& regions) {
  const auto start = clock::now();
  for (const region& r : regions) read(static_cast<const char*>(r.data), r.bytes);
  return std::chrono::duration<double>(clock::now() - start).count();
}

double median_seconds(reader read, const std::vector<region>& regions) {
  constexpr double budget = 0.01;
  std::vector<double> passes;
  (void)seconds_of_pass(read, regions);
  for (double spent = 0; spent < budget || passes.size() < 5;) {
    passes.push_back(seconds_of_pass(read, regions));
    spent += passes.back();
  }
  const auto middle = passes.begin() + static_cast<std::ptrdiff_t>(passes.size() / 2);
  std::nth_element(passes.begin(), middle, passes.end());
  return *middle;
}

}  // namespace

double read_bandwidth(const std::vector<region>& regions) {
  double bytes = 0;
  for (const region& r : regions) bytes += double(r.bytes / step * step);
  return bytes / std::min(median_seconds(best_reader<false>(), regions),
                          median_seconds(best_reader<true>(), regions));
}

std::size_t last_cache_bytes() {
  long largest = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
  largest = std::max(sysconf(_SC_LEVEL2_CACHE_SIZE), sysconf(_SC_LEVEL3_CACHE_SIZE));
#endif
  return largest > 0 ? static_cast<std::size_t>(largest) : std::size_t{32} << 20;
}

std::size_t copies_in_ring(std::size_t bytes) {
  constexpr std::size_t most_bytes = std::size_t{1} << 30;
  const std::size_t wanted = std::min(4 * last_cache_bytes(), most_bytes);
  return std::max<std::size_t>(2, (wanted + bytes - 1) / bytes);
}

}  // namespace bench
