#pragma once

#include <optional>

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN

template <class T>
class weight_format;

/// \addtogroup core
/// \{

/// What the factors of a product are rounded to.
enum class number_format {
  bfloat16,  ///< the nearest, ties to even; below 2^−126 zero. Sums are float
  int8       ///< the nearest multiple of a scale, −127 … 127. Sums are exact integers
};

/// The instructions of x86-64 for products of short numbers.
enum class dot_unit {
  avx2,    ///< AVX-VNNI: int8
  avx512,  ///< AVX512_BF16: bfloat16; AVX512_VNNI: int8
  amx      ///< AMX-BF16, AMX-INT8: tiles of 16 rows
};

[[nodiscard]] constexpr const char* name_of(number_format f) {
  return f == number_format::int8 ? "int8" : "bfloat16";
}
[[nodiscard]] constexpr const char* name_of(dot_unit u) {
  return u == dot_unit::amx ? "amx" : u == dot_unit::avx512 ? "avx512" : "avx2";
}

/// Asks for products of rounded numbers, which nothing does by itself:
///   a·b ≈ â·b̂,    |â − a| ≤ |a|/256 (bfloat16),  |â − a| ≤ s/2 (int8, s the scale)
///
/// Weights of a layer are kept and multiplied so where it stands in place of a weight_storage: see
/// layer/low_precision.hpp. As a policy of attention with dot scores in float (bfloat16: of the
/// kernel for many queries, by amx) it is
///   O = P̂·V̂ / l,    P = e^{s − m},  s = f(q̂·k̂),  l = Σ P
///
/// with q̂ the rounded scale·q. Softmax, transforms and masks are those of float; the sum l is of
/// weights before they are rounded. Error: of a score at most (2^−7 + 2^−16)·scale·Σ|q·k|, and of an
/// output (2^−7 + 2^−16)·Σ P|v|/l for scores that are exact, sums of float besides.
///
/// int8 is of the kernel for few queries, by avx512 or avx2, and rounds nothing that is not stored so:
/// keys and values of int8_rows or of a kv_cache<float, std::int8_t>, whose heads have a multiple of 64
/// columns, keys up to 1024, are multiplied as they are, a query rounded to its largest magnitude
/// over 127, weights of 256 keys at most, times the scales of their values, to the largest over
/// 65535. Error: of a score at most scale·s_q·Σ|k|/2, of an output 127·ŝ/2 for each key, with ŝ the
/// scale of its weight; a query or a weight below 1e-30 is 0, one that is not finite gives NaN.
/// Other storages, weights that are shown and the way back are those of float.
///
/// On a machine that has no instructions for them, products stay those of float: they are slower
/// there to round than to compute. `unit` forces one of the units, whose order of sums decides the
/// last bits of bfloat16; `emulated` computes the same bits in ordinary instructions, on any
/// machine, slowly.
///
/// A sum of bfloat16 over k = 0, 1, … is, with every addition rounded to nearest and numbers below
/// 2^−126 taken for zero:
/// amx: of each 32 features the sum of the even ones and the sum of the odd ones, joined, are added
/// to the sum of those before; avx512: in one chain, of each two features the second comes first.
struct low_precision {
  number_format as = number_format::bfloat16;
  std::optional<dot_unit> unit{};  ///< none: the fastest that this machine has
  bool emulated = false;           ///< of the unit, or of amx

  /// Weights of a layer (layer/low_precision.hpp).
  template <class T>
  operator weight_format<T>() const;  // NOLINT(google-explicit-constructor)
};
/// \}

SOFTLOOK_NAMESPACE_END
