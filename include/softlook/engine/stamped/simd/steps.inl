// A step of a product for two rows in one statement of assembly: s += a₀·b, u += a₁·b, for one to
// three vectors of b. With a statement for each broadcast and each multiply-add the products were
// two fifths of what the kernels take to compile; and the order that is wanted is the one written
// here (decisions 9 and 27). What is b lies in registers, but the third vector of 32 bytes and all
// of 16 bytes are operands in memory: registers are short, and no instruction is saved by holding
// them.

#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES >= 32
#define SOFTLOOK_STAMP_PAIRS 1
#define SOFTLOOK_STAMP_SPREAD(p, x) "vbroadcasts" p " {%[" x "], %[a]|%[a], %[" x "]}\n\t"
#define SOFTLOOK_STAMP_ADD(p, sum, b) \
  "vfmadd231p" p " {%[" b "], %[a], %[" sum "]|%[" sum "], %[a], %[" b "]}\n\t"
#define SOFTLOOK_STAMP_ANY "v"
#define SOFTLOOK_STAMP_SPARE [a] "=&v"(a)
#elif SOFTLOOK_STAMP_X86 && !defined(__AVX__)  // among VEX instructions these would wait
#define SOFTLOOK_STAMP_PAIRS 1
#define SOFTLOOK_STAMP_SPREAD(p, x)      \
  "movs" p " {%[" x "], %[a]|%[a], %[" x \
  "]}\n\t"                               \
  "shufp" p " {$0, %[a], %[a]|%[a], %[a], 0}\n\t"
#define SOFTLOOK_STAMP_ADD(p, sum, b)     \
  "movup" p " {%[" b "], %[t]|%[t], %[" b \
  "]}\n\t"                                \
  "mulp" p                                \
  " {%[a], %[t]|%[t], %[a]}\n\t"          \
  "addp" p " {%[t], %[" sum "]|%[" sum "], %[t]}\n\t"
#define SOFTLOOK_STAMP_ANY "x"
#define SOFTLOOK_STAMP_SPARE [a] "=&x"(a), [t] "=&x"(t)
#else
#define SOFTLOOK_STAMP_PAIRS 0
#endif

#if SOFTLOOK_STAMP_PAIRS
#define SOFTLOOK_STAMP_MEMORY(v) \
  "m"(*reinterpret_cast<const vector_in_memory<T>*>(B + v * lanes<T>))
#define SOFTLOOK_STAMP_HELD(v) SOFTLOOK_STAMP_ANY(b[v])
#if SOFTLOOK_STAMP_BYTES == 64
#define SOFTLOOK_STAMP_FIRST SOFTLOOK_STAMP_HELD
#define SOFTLOOK_STAMP_THIRD SOFTLOOK_STAMP_HELD
#elif SOFTLOOK_STAMP_BYTES == 32
#define SOFTLOOK_STAMP_FIRST SOFTLOOK_STAMP_HELD
#define SOFTLOOK_STAMP_THIRD SOFTLOOK_STAMP_MEMORY
#else
#define SOFTLOOK_STAMP_FIRST SOFTLOOK_STAMP_MEMORY
#define SOFTLOOK_STAMP_THIRD SOFTLOOK_STAMP_MEMORY
#endif

#define SOFTLOOK_STAMP_ROW_1(p, x, s) SOFTLOOK_STAMP_SPREAD(p, x) SOFTLOOK_STAMP_ADD(p, s "0", "b0")
#define SOFTLOOK_STAMP_ROW_2(p, x, s) \
  SOFTLOOK_STAMP_ROW_1(p, x, s) SOFTLOOK_STAMP_ADD(p, s "1", "b1")
#define SOFTLOOK_STAMP_ROW_3(p, x, s) \
  SOFTLOOK_STAMP_ROW_2(p, x, s) SOFTLOOK_STAMP_ADD(p, s "2", "b2")
#define SOFTLOOK_STAMP_SUMS_1 [s0] "+" SOFTLOOK_STAMP_ANY(s[0]), [u0] "+" SOFTLOOK_STAMP_ANY(u[0])
#define SOFTLOOK_STAMP_SUMS_2 \
  SOFTLOOK_STAMP_SUMS_1, [s1] "+" SOFTLOOK_STAMP_ANY(s[1]), [u1] "+" SOFTLOOK_STAMP_ANY(u[1])
#define SOFTLOOK_STAMP_SUMS_3 \
  SOFTLOOK_STAMP_SUMS_2, [s2] "+" SOFTLOOK_STAMP_ANY(s[2]), [u2] "+" SOFTLOOK_STAMP_ANY(u[2])
#define SOFTLOOK_STAMP_WIDE_1 [b0] SOFTLOOK_STAMP_FIRST(0)
#define SOFTLOOK_STAMP_WIDE_2 SOFTLOOK_STAMP_WIDE_1, [b1] SOFTLOOK_STAMP_FIRST(1)
#define SOFTLOOK_STAMP_WIDE_3 SOFTLOOK_STAMP_WIDE_2, [b2] SOFTLOOK_STAMP_THIRD(2)
#define SOFTLOOK_STAMP_PAIR(n, p)                                                          \
  __asm__ volatile(SOFTLOOK_STAMP_ROW_##n(p, "x", "s") SOFTLOOK_STAMP_ROW_##n(p, "y", "u") \
                   : SOFTLOOK_STAMP_SUMS_##n, SOFTLOOK_STAMP_SPARE                         \
                   : [x] "m"(x), [y] "m"(y), SOFTLOOK_STAMP_WIDE_##n)

template <int Count, class T>
SOFTLOOK_ALWAYS_INLINE void add_pair(vec<T>* s, vec<T>* u, const T& x, const T& y,
                                     [[maybe_unused]] const vec<T>* b,
                                     [[maybe_unused]] const T* B) {
  vec<T> a;
  [[maybe_unused]] vec<T> t;
  if constexpr (Count == 1 && sizeof(T) == 4)
    SOFTLOOK_STAMP_PAIR(1, "s");
  else if constexpr (Count == 1)
    SOFTLOOK_STAMP_PAIR(1, "d");
  else if constexpr (Count == 2 && sizeof(T) == 4)
    SOFTLOOK_STAMP_PAIR(2, "s");
  else if constexpr (Count == 2)
    SOFTLOOK_STAMP_PAIR(2, "d");
  else if constexpr (sizeof(T) == 4)
    SOFTLOOK_STAMP_PAIR(3, "s");
  else
    SOFTLOOK_STAMP_PAIR(3, "d");
}

#undef SOFTLOOK_STAMP_SPREAD
#undef SOFTLOOK_STAMP_ADD
#undef SOFTLOOK_STAMP_ANY
#undef SOFTLOOK_STAMP_SPARE
#undef SOFTLOOK_STAMP_MEMORY
#undef SOFTLOOK_STAMP_HELD
#undef SOFTLOOK_STAMP_FIRST
#undef SOFTLOOK_STAMP_THIRD
#undef SOFTLOOK_STAMP_ROW_1
#undef SOFTLOOK_STAMP_ROW_2
#undef SOFTLOOK_STAMP_ROW_3
#undef SOFTLOOK_STAMP_SUMS_1
#undef SOFTLOOK_STAMP_SUMS_2
#undef SOFTLOOK_STAMP_SUMS_3
#undef SOFTLOOK_STAMP_WIDE_1
#undef SOFTLOOK_STAMP_WIDE_2
#undef SOFTLOOK_STAMP_WIDE_3
#undef SOFTLOOK_STAMP_PAIR
#endif
