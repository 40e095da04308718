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

/// Taken branches of a loop of a subtraction and a jump in a cycle, where the cycle is that of two
/// multiply-adds: about 1 on a core alone, half of it where another thread takes half of the front
/// end, which leaves P as it is. Takes some 40 ms. 1 where it is not known how to tell.
[[nodiscard]] double front_end_share();

/// Below it another thread shares the core.
inline constexpr double shared_front_end = 0.75;

/// The instruction set that peak_flops uses by itself.
[[nodiscard]] const char* peak_instruction_set();

}  // namespace bench
