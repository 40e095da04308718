#pragma once

#include "softlook/core/low_precision.hpp"
#include "softlook/engine/kernels/dispatch.hpp"
#include "softlook/engine/kernels/rounded_args.hpp"

// The kernels for products of rounded numbers, in the rooms of the others: who does not ask for low
// precision does not read them.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

#if !SOFTLOOK_KERNELS_ELSEWHERE
#define SOFTLOOK_STAMP_ROOM "softlook/engine/stamped/rounded.inl"
#include "softlook/engine/stamped/all_sets.inl"
#endif

/// How products of rounded numbers are computed: by a unit, or by other instructions that give its
/// bits.
struct rounded_kernels {
  product_kernel<float> linear = nullptr;
  rounding_kernel<float> round = nullptr;
};

/// Whether this machine and its system have the instructions.
template <std::same_as<dot_unit> Unit>
[[nodiscard]] bool has_dot_unit(number_format as, Unit unit);

/// Whether its products take less time than those of float.
template <std::same_as<dot_unit> Unit>
[[nodiscard]] bool is_fast_dot_unit(number_format as, Unit unit);

/// The kernels of a unit for a call that may use the instructions of `isa`; where it may not use
/// those of the unit, or is to emulate them, others with the same bits.
template <number_format As, dot_unit Unit>
[[nodiscard]] rounded_kernels rounded_kernels_of(instruction_set isa, bool emulated);

/// The tiled kernel with products of bfloat16 in the order of tile registers.
template <class T>
[[nodiscard]] rounded_tiled<T> rounded_tiled_of(instruction_set isa, bool emulated);

/// How few queries multiply rows of 8 bits, by a unit or with its bits.
template <class T>
[[nodiscard]] const row_functions<T>& rounded_rows_of(instruction_set isa, dot_unit unit,
                                                      bool emulated);

#if !SOFTLOOK_KERNELS_ELSEWHERE
#if defined(__x86_64__)
struct cpuid_words {
  unsigned a, b, c, d;
};
[[nodiscard]] inline cpuid_words cpuid_of(unsigned leaf, unsigned part) {
  cpuid_words r{leaf, 0, part, 0};
  __asm__ volatile("cpuid" : "+a"(r.a), "=b"(r.b), "+c"(r.c), "=d"(r.d));
  return r;
}

/// Whether the system keeps tile registers, and lets this process use them, which Linux wants to be
/// asked for.
[[nodiscard]] inline bool may_use_tiles() {
#if defined(__linux__)
  if ((cpuid_of(1, 0).c >> 27 & 1) == 0) return false;  // xgetbv
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned tiles = 3U << 17;
  if ((low & tiles) != tiles) return false;
  constexpr long arch_prctl = 158, request_permission = 0x1023, tile_data = 18;
  long result = arch_prctl;
  __asm__ volatile("syscall"
                   : "+a"(result)
                   : "D"(request_permission), "S"(tile_data)
                   : "rcx", "r11", "memory");
  return result == 0;
#else
  return false;
#endif
}

struct dot_units {
  bool bfloat16[3];
  bool int8[3];
};
[[nodiscard]] inline dot_units find_dot_units() {
  dot_units has{};
  if (cpuid_of(0, 0).a < 7) return has;
  const cpuid_words first = cpuid_of(7, 0);
  const cpuid_words second = first.a >= 1 ? cpuid_of(7, 1) : cpuid_words{};
  const bool avx512 = can_run(instruction_set::avx512);
  has.int8[int(dot_unit::avx2)] = can_run(instruction_set::avx2) && (second.a >> 4 & 1) != 0;
  has.int8[int(dot_unit::avx512)] = avx512 && (first.c >> 11 & 1) != 0;
  has.bfloat16[int(dot_unit::avx512)] = avx512 && (second.a >> 5 & 1) != 0;
  const bool tiles = avx512 && (first.d >> 24 & 1) != 0 && may_use_tiles();
  has.int8[int(dot_unit::amx)] = tiles && (first.d >> 25 & 1) != 0;
  // Rows are rounded by an instruction of AVX512_BF16.
  has.bfloat16[int(dot_unit::amx)] =
      tiles && (first.d >> 22 & 1) != 0 && has.bfloat16[int(dot_unit::avx512)];
  return has;
}
#endif

template <std::same_as<dot_unit> Unit>
bool has_dot_unit([[maybe_unused]] number_format as, [[maybe_unused]] Unit unit) {
#if defined(__x86_64__)
  static const dot_units has = find_dot_units();
  return (as == number_format::int8 ? has.int8 : has.bfloat16)[int(unit)];
#else
  return false;
#endif
}

template <std::same_as<dot_unit> Unit>
bool is_fast_dot_unit(number_format as, Unit unit) {
#if defined(__x86_64__)
  // Intel's cores with AVX512_BF16 give two products a lane every other cycle, where they give four
  // of float; those of AMD as many of these as of float, and twice the products.
  static const bool by_amd = cpuid_of(0, 0).c == 0x444d4163;
  if (as == number_format::bfloat16 && unit == dot_unit::avx512 && !by_amd) return false;
#endif
  return has_dot_unit(as, unit);
}

template <number_format As, dot_unit Unit>
rounded_kernels rounded_kernels_of([[maybe_unused]] instruction_set isa, bool emulated) {
  constexpr bool quads = As == number_format::int8, tiles = Unit == dot_unit::amx;
  if (!emulated && has_dot_unit(As, Unit)) {
#if defined(__x86_64__)
    if constexpr (Unit == dot_unit::avx2) {
#if !SOFTLOOK_ASSUMES_AVX512
      if (isa != instruction_set::baseline)
        return {&stamped_avx2::rounded_linear<int8_quad>, &stamped_avx2::round_rows<int8_quad>};
#endif
    } else if (isa == instruction_set::avx512) {
      using group = std::conditional_t<quads, int8_quad, bfloat16_pair>;
      if constexpr (tiles)
        return {&stamped_avx512::tiled_linear<stamped_avx512::amx_tiles<group>>,
                &stamped_avx512::round_rows<group>};
      else
        return {&stamped_avx512::rounded_linear<group>, &stamped_avx512::round_rows<group>};
    }
#endif
  }
  if constexpr (quads)
    return {&stamped_lowest::rounded_linear<emulated_quad>,
            &stamped_lowest::round_rows<emulated_quad>};
  else if constexpr (tiles)
    return {&stamped_lowest::tiled_linear<stamped_lowest::emulated_tiles>,
            &stamped_lowest::round_rows<emulated_pair>};
  else
    return {&stamped_lowest::rounded_linear<emulated_pair>,
            &stamped_lowest::round_rows<emulated_pair>};
}

template <class T>
rounded_tiled<T> rounded_tiled_of([[maybe_unused]] instruction_set isa,
                                  [[maybe_unused]] bool emulated) {
  rounded_tiled<T> how;
  how.rows = rounded_rows / 2;
  how.scratch_size = [](index features, index values, const tiled_layout& own) {
    return rounded_layout_for(features, values, own).total;
  };
#if defined(__x86_64__)
  if (!emulated && isa == instruction_set::avx512 &&
      has_dot_unit(number_format::bfloat16, dot_unit::amx)) {
    how.kernel = &stamped_avx512::rounded_forward<stamped_avx512::amx_tiles<bfloat16_pair>>;
    return how;
  }
#endif
  how.kernel = *SOFTLOOK_STAMPED(isa, emulated_rounded_forward<T>);
  return how;
}

template <class T>
const row_functions<T>& rounded_rows_of([[maybe_unused]] instruction_set isa,
                                        [[maybe_unused]] dot_unit unit,
                                        [[maybe_unused]] bool emulated) {
#if defined(__x86_64__)
  if (!emulated && has_dot_unit(number_format::int8, unit)) {
    if (unit == dot_unit::avx512 && isa == instruction_set::avx512)
      return stamped_avx512::rounded_stored_rows<int8_quad>;
#if !SOFTLOOK_ASSUMES_AVX512
    if (unit == dot_unit::avx2 && isa != instruction_set::baseline)
      return stamped_avx2::rounded_stored_rows<int8_quad>;
#endif
  }
#endif
  return stamped_lowest::rounded_stored_rows<emulated_quad>;
}
#endif

}  // namespace detail
SOFTLOOK_NAMESPACE_END
