#include "support/allocations.hpp"

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#ifndef __GLIBC__
#error "softlook benchmarks: scratch bytes are counted by replacing glibc's malloc"
#endif

namespace {

std::atomic<bool> counting{false};
std::atomic<std::int64_t> held{0};
std::atomic<std::int64_t> most{0};

void* count_in(void* block) {
  if (block == nullptr || !counting.load(std::memory_order_relaxed)) return block;
  const auto size = static_cast<std::int64_t>(malloc_usable_size(block));
  const std::int64_t now = held.fetch_add(size) + size;
  std::int64_t before = most.load();
  while (now > before && !most.compare_exchange_weak(before, now)) {
  }
  return block;
}

void count_out(void* block) {
  if (block == nullptr || !counting.load(std::memory_order_relaxed)) return;
  held.fetch_sub(static_cast<std::int64_t>(malloc_usable_size(block)));
}

}  // namespace

// glibc lets a program replace malloc by defining it; these are the originals under their own
// names.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t size) { return count_in(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) { return count_in(__libc_calloc(count, size)); }
void* realloc(void* block, std::size_t size) {
  count_out(block);
  return count_in(__libc_realloc(block, size));
}
void* memalign(std::size_t alignment, std::size_t size) {
  return count_in(__libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
  *block = memalign(alignment, size);
  return *block == nullptr ? ENOMEM : 0;
}
void free(void* block) {
  count_out(block);
  __libc_free(block);
}
}

namespace bench {

allocation_peak::allocation_peak() {
  held = 0;
  most = 0;
  counting = true;
}
allocation_peak::~allocation_peak() { counting = false; }

std::size_t allocation_peak::bytes() const { return static_cast<std::size_t>(most.load()); }

}  // namespace bench
