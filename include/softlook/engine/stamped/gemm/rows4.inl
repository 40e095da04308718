/// Four rows of four, transposed: the same code for every instruction set.
template <class T>
struct block4;
template <>
struct block4<float> {
  typedef float row __attribute__((vector_size(16)));
  typedef std::int32_t bits __attribute__((vector_size(16)));
};
template <>
struct block4<double> {
  typedef double row __attribute__((vector_size(32)));
  typedef std::int64_t bits __attribute__((vector_size(32)));
};

template <class T>
using row4 = typename block4<T>::row;

template <class T>
SOFTLOOK_ALWAYS_INLINE void transpose_rows4(row4<T> (&x)[4]) {
  using row = row4<T>;
  const row ab_low = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
  const row ab_high = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
  const row cd_low = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
  const row cd_high = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
  x[0] = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  x[1] = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  x[2] = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  x[3] = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}
