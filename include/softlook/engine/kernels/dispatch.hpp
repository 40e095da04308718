#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "softlook/core/activation.hpp"
#include "softlook/core/dropout.hpp"
#include "softlook/core/error.hpp"
#include "softlook/core/math.hpp"
#include "softlook/engine/kernels/args.hpp"
#include "softlook/engine/kernels/instantiate.hpp"
#include "softlook/engine/kernels/log_sum_exp.hpp"
#include "softlook/engine/kernels/recurrent_args.hpp"
#include "softlook/engine/kernels/rows_ahead.hpp"
#include "softlook/engine/kernels/scaled_erfc.hpp"

// A unit that takes its kernels from softlook::compiled reads of their rooms what is compiled for
// each policy. The library itself defines SOFTLOOK_COMPILING_KERNELS where it compiles them.
#if SOFTLOOK_USES_COMPILED && !defined(SOFTLOOK_COMPILING_KERNELS)
#define SOFTLOOK_KERNELS_ELSEWHERE 1
#else
#define SOFTLOOK_KERNELS_ELSEWHERE 0
#endif

// Compilers read immintrin.h for as long as a fifth of what Eigen takes (clang a third), and the
// kernels use fifteen of its functions. They are one builtin each, and those of these versions are
// known.
#if defined(__x86_64__) && defined(__clang__)
#define SOFTLOOK_STAMP_BUILTINS (__clang_major__ >= 16 && __clang_major__ <= 19)
#elif defined(__x86_64__)
#define SOFTLOOK_STAMP_BUILTINS (__GNUC__ <= 16)
#else
#define SOFTLOOK_STAMP_BUILTINS 0
#endif
#if !SOFTLOOK_STAMP_BUILTINS && !SOFTLOOK_KERNELS_ELSEWHERE
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#endif

// The kernels, compiled once for each instruction set that the compiler may not already assume,
// each time in a namespace and a target region of their own, and chosen at run time. So a plain -O2
// build runs at full speed and still starts on an old machine.
//
// What is inside must not leave: an inline function of the standard library or of Eigen that is
// instantiated in a region could become the one copy that the whole program uses.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

#if SOFTLOOK_KERNELS_ELSEWHERE
#define SOFTLOOK_STAMP_ROOM "softlook/engine/stamped/edits.inl"
#else
#define SOFTLOOK_STAMP_ROOM "softlook/engine/stamped/kernels.inl"
#endif
#include "softlook/engine/stamped/all_sets.inl"
#undef SOFTLOOK_STAMP_BUILTINS

#if defined(__x86_64__)
/// Conversions of 16-bit numbers (F16C), of which not every compiler knows how to ask.
[[nodiscard]] inline bool converts_halves() {
  static const bool has = [] {
    unsigned a = 1, b = 0, c = 0, d = 0;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (c >> 29 & 1) != 0;
  }();
  return has;
}
#endif

/// Whether this build holds the kernels of a set and this machine can run them. Every feature that
/// the target region names is tested: some AVX-512 machines lack DQ, BW and VL.
[[nodiscard]] inline bool can_run(instruction_set isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();  // a static constructor may run before libgcc's own
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && converts_halves();
  switch (isa) {
    case instruction_set::avx512:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    case instruction_set::avx2:
      return !SOFTLOOK_ASSUMES_AVX512 && avx2;
    case instruction_set::baseline:
      return !SOFTLOOK_ASSUMES_AVX2;
  }
#endif
  return isa == instruction_set::baseline;
}

[[nodiscard]] inline instruction_set best_instruction_set() {
  static const instruction_set best = can_run(instruction_set::avx512) ? instruction_set::avx512
                                      : can_run(instruction_set::avx2) ? instruction_set::avx2
                                                                       : instruction_set::baseline;
  return best;
}

/// \throws argument_error when a forced set is not to be had.
template <std::same_as<options> Options>
[[nodiscard]] instruction_set chosen_instruction_set(const char* where, const Options& o);

// The set that every machine of this build can run.
#if SOFTLOOK_ASSUMES_AVX512
namespace stamped_lowest = stamped_avx512;
#elif SOFTLOOK_ASSUMES_AVX2
namespace stamped_lowest = stamped_avx2;
#else
namespace stamped_lowest = stamped_baseline;
#endif

/// An entity of the room of a set: SOFTLOOK_STAMPED(isa, kernels<T, Additive>).
#if defined(__x86_64__) && !SOFTLOOK_ASSUMES_AVX512
#define SOFTLOOK_STAMPED(isa, ...)                                 \
  ((isa) == instruction_set::avx512 ? &stamped_avx512::__VA_ARGS__ \
   : (isa) == instruction_set::avx2 ? &stamped_avx2::__VA_ARGS__   \
                                    : &stamped_lowest::__VA_ARGS__)
#else
#define SOFTLOOK_STAMPED(isa, ...) (&stamped_lowest::__VA_ARGS__)  // there is one set
#endif

/// The tables of kernels of a set. Units that use softlook::compiled find them there.
template <class T, bool Additive>
[[nodiscard]] tiled_kernel<T, Additive> tiled_kernel_of(instruction_set isa);
template <class T, bool Additive>
[[nodiscard]] const few_kernels<T, Additive>& few_kernels_of(instruction_set isa);
template <class T, bool Additive>
[[nodiscard]] const weight_kernels<T, Additive>& weights_of(instruction_set isa);
template <class T, bool Additive>
[[nodiscard]] scores_kernel<T, Additive> tiled_scores_of(instruction_set isa);
template <class T>
[[nodiscard]] score_vector_kernel<T> score_vector_preparation_of(instruction_set isa);
template <class T>
[[nodiscard]] whole_scores_kernel<T> whole_scores_of(instruction_set isa);
template <class T>
[[nodiscard]] softmax_kernel<T> softmax_of_rows(instruction_set isa);
/// How kernels read rows of a matrix of Stored, or of pages of them, as T.
template <class T, class Stored, bool Paged = false>
[[nodiscard]] const row_functions<T>& stored_rows_of(instruction_set isa);
/// For who plans and runs nothing: no kernel is compiled for it.
template <class T>
[[nodiscard]] const register_shape& registers_of(instruction_set isa);
template <class T>
[[nodiscard]] key_packing_kernel<T> key_packing_of(instruction_set isa);
template <class T>
[[nodiscard]] const product_kernels<T>& products_of(instruction_set isa);
/// product_kernels::linear for weights that are packed as numbers of Stored.
template <class T, class Stored>
[[nodiscard]] product_kernel<T> stored_linear_of(instruction_set isa);
template <class T>
[[nodiscard]] const layer_kernels<T>& layers_of(instruction_set isa);
template <class T>
[[nodiscard]] const recurrent_kernels<T>& recurrents_of(instruction_set isa);

/// The edits of dropout.
template <class T>
void set_edits(weight_calls<T>& calls, instruction_set isa);

/// The edits of a mask, compiled for a set.
template <class T, class Mask>
void set_edits(mask_calls<T>& calls, [[maybe_unused]] instruction_set isa) {
  calls.forbid_queries = SOFTLOOK_STAMPED(isa, forbid<T, Mask, true>);
  calls.forbid_keys = SOFTLOOK_STAMPED(isa, forbid<T, Mask, false>);
}

/// The rows of a matrix that a transform adds lie in as many pages as there are queries, which no
/// processor foresees. A row that all queries share needs none of this.
template <class T, class Transform>
void prefetch_added(const void* transform, range queries, range keys, problem p) {
  const matrix_view<T> B = static_cast<const Transform*>(transform)->added(p);
  if (B.col_stride != 1 || B.row_stride == 0) return;
  const auto line = std::uintptr_t(64), bytes = std::uintptr_t(keys.count()) * sizeof(T);
  for (index i = queries.begin; i < queries.end; ++i) {
    const auto row = std::uintptr_t(i) * std::uintptr_t(B.row_stride);
    const auto from =
        reinterpret_cast<std::uintptr_t>(B.data) + (row + std::uintptr_t(keys.begin)) * sizeof(T);
    for (auto at = from / line * line; at < from + bytes; at += line)
      __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2);
  }
}

/// The edits of a chain of transforms.
template <class T, class Transform>
void set_edits(transform_calls<T>& calls, [[maybe_unused]] instruction_set isa) {
  calls.apply_queries = SOFTLOOK_STAMPED(isa, apply_transform<T, Transform, true>);
  calls.apply_keys = SOFTLOOK_STAMPED(isa, apply_transform<T, Transform, false>);
  if constexpr (requires(const Transform& f) {
                  { f.added(problem{}) } -> std::same_as<matrix_view<T>>;
                })
    calls.prefetch = &prefetch_added<T, Transform>;
}

#if !SOFTLOOK_KERNELS_ELSEWHERE
template <std::same_as<options> Options>
instruction_set chosen_instruction_set(const char* where, const Options& o) {
  if (!o.isa) return best_instruction_set();
  if (!can_run(*o.isa))
    raise<argument_error>(
        formatted("%s: options.isa is %s, which this machine or this build does not have", where,
                  name_of(*o.isa))
            .text);
  return *o.isa;
}

template <class T, bool Additive>
tiled_kernel<T, Additive> tiled_kernel_of([[maybe_unused]] instruction_set isa) {
  return SOFTLOOK_STAMPED(isa, tiled_forward<T, Additive>);
}

template <class T, bool Additive>
const few_kernels<T, Additive>& few_kernels_of([[maybe_unused]] instruction_set isa) {
  return *SOFTLOOK_STAMPED(isa, few<T, Additive>);
}

template <class T, bool Additive>
const weight_kernels<T, Additive>& weights_of([[maybe_unused]] instruction_set isa) {
  return *SOFTLOOK_STAMPED(isa, weights<T, Additive>);
}

template <class T, bool Additive>
scores_kernel<T, Additive> tiled_scores_of([[maybe_unused]] instruction_set isa) {
  return SOFTLOOK_STAMPED(isa, tiled_scores<T, Additive>);
}

template <class T>
score_vector_kernel<T> score_vector_preparation_of([[maybe_unused]] instruction_set isa) {
  return SOFTLOOK_STAMPED(isa, prepare_score_vector<T>);
}

template <class T>
whole_scores_kernel<T> whole_scores_of([[maybe_unused]] instruction_set isa) {
  return SOFTLOOK_STAMPED(isa, whole_scores<T>);
}

template <class T>
softmax_kernel<T> softmax_of_rows([[maybe_unused]] instruction_set isa) {
  return SOFTLOOK_STAMPED(isa, soften_row<T>);
}

template <class T, class Stored, bool Paged>
const row_functions<T>& stored_rows_of([[maybe_unused]] instruction_set isa) {
  return *SOFTLOOK_STAMPED(isa, stored_rows<T, Stored, Paged>);
}

template <class T>
const register_shape& registers_of([[maybe_unused]] instruction_set isa) {
  return *SOFTLOOK_STAMPED(isa, registers<T>);
}

template <class T>
key_packing_kernel<T> key_packing_of([[maybe_unused]] instruction_set isa) {
  return SOFTLOOK_STAMPED(isa, pack_all_keys<T>);
}

template <class T>
const product_kernels<T>& products_of([[maybe_unused]] instruction_set isa) {
  return *SOFTLOOK_STAMPED(isa, products<T>);
}

template <class T, class Stored>
product_kernel<T> stored_linear_of([[maybe_unused]] instruction_set isa) {
  return SOFTLOOK_STAMPED(isa, stored_linear<T, Stored>);
}

template <class T>
const layer_kernels<T>& layers_of([[maybe_unused]] instruction_set isa) {
  return *SOFTLOOK_STAMPED(isa, layers<T>);
}

template <class T>
const recurrent_kernels<T>& recurrents_of([[maybe_unused]] instruction_set isa) {
  return *SOFTLOOK_STAMPED(isa, recurrents<T>);
}

template <class T>
void set_edits(weight_calls<T>& calls, [[maybe_unused]] instruction_set isa) {
  calls.edit_queries = SOFTLOOK_STAMPED(isa, drop_weights<T, true>);
  calls.edit_keys = SOFTLOOK_STAMPED(isa, drop_weights<T, false>);
}
#endif

}  // namespace detail

/// The sets whose kernels this machine can run and this build holds, lowest first.
template <std::same_as<instruction_set> Set = instruction_set>  // compiled with a call
[[nodiscard]] std::vector<Set> available_instruction_sets() {
  std::vector<Set> sets;
  for (const Set isa : {Set::baseline, Set::avx2, Set::avx512})
    if (detail::can_run(isa)) sets.push_back(isa);
  return sets;
}

SOFTLOOK_NAMESPACE_END
