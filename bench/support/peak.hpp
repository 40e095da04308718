#pragma once

namespace bench {

enum class precision { single_precision, double_precision };

template <class T>
inline constexpr precision precision_of =
    sizeof(T) == 8 ? precision::double_precision : precision::single_precision;

/// P: flops per second of a loop of multiply-adds that stay in registers, for the best instruction
/// set that the machine has (chosen at run time) and `threads` threads at once; or for the best one
/// whose registers have `register_bytes` at most. Takes some 20 ms.
[[nodiscard]] double peak_flops(precision p, int threads = 1, int register_bytes = 0);

/// The instruction set that peak_flops uses by itself.
[[nodiscard]] const char* peak_instruction_set();

}  // namespace bench
