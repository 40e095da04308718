// The register micro-kernel: C (Rows × Vectors vectors) = A · B, added to C or to a rescaled C.
//
// A gives Rows scalars a step, each broadcast; B is depth × width, width = Vectors vectors.
// Per step: Vectors loads and Rows broadcasts for Rows·Vectors FMAs (8×3:
// 11 loads for 24 FMAs, so two load ports keep two FMA units busy). The loops are unrolled by
// pragma because -O2 does not, and accumulators that are not in registers cost half of the speed.
// depth ≥ 1: a loop that may not run at all makes gcc copy every accumulator on the way out.
//
// The old C joins at the end, not at the start: sums over a tile are added to the running sum,
// which rounds less than one long chain over all keys.

enum class finish { store, add, rescale };

/// Rows scalars beside each other, `step` from one set to the next: a packed panel, or columns of a
/// row-major matrix.
template <class T, int Rows>
struct panel_operand {
  const T* at;
  index step;
  SOFTLOOK_ALWAYS_INLINE T operator[](int r) const { return at[r]; }
  SOFTLOOK_ALWAYS_INLINE void advance() { at += step; }
  /// From row to row of B.
  SOFTLOOK_ALWAYS_INLINE index wide_step(int width) const { return width; }
};

/// A quarter of a line with each step: often enough to read B from memory while a few register
/// tiles use the part before it, too seldom to take a load from the product.
inline constexpr int prefetch_step = 16;

/// Rows of a matrix where they lie. Broadcasting from them costs nothing more than from a panel as
/// long as they fit the first-level cache, so what is used once need not be packed.
template <class T, int Rows>
struct strided_operand {
  const T* row[Rows];
  index step;
  index wide;            // from row to row of B
  std::uintptr_t ahead;  // address of what will be read next of B
  index at = 0;
  SOFTLOOK_ALWAYS_INLINE T operator[](int r) const { return row[r][at]; }
  SOFTLOOK_ALWAYS_INLINE void advance() {
    at += step;
    __builtin_prefetch(reinterpret_cast<const void*>(ahead), 0, 2);
    ahead += prefetch_step;
  }
  SOFTLOOK_ALWAYS_INLINE index wide_step(int) const { return wide; }
};

/// sum += A · B over some steps (one at least), for the vectors [From, To) of B.
template <int From, int To, class T, int Rows, int Vectors, class Operand>
SOFTLOOK_ALWAYS_INLINE void add_steps(Operand& A, const T*& B, index steps,
                                      vec<T> (&sum)[Rows][Vectors]) {
#if defined(__clang__)
#pragma clang loop unroll(disable)
#endif
  do {
    vec<T> b[Vectors];
#pragma GCC unroll 4
    for (int v = From; v < To; ++v) b[v] = load(B + v * lanes<T>);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const vec<T> a = spread(A[r]);
#pragma GCC unroll 4
      for (int v = From; v < To; ++v) {
        sum[r][v] = fused(a, b[v], sum[r][v]);
        keep_order(sum[r][v]);
      }
    }
    A.advance();
    B += A.wide_step(Vectors * lanes<T>);
  } while (--steps > 0);
}

template <class T, int Rows, int Vectors>
SOFTLOOK_ALWAYS_INLINE void finish_sums(vec<T> (&sum)[Rows][Vectors], T* C, finish how,
                                        const T* correction) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      T* at = C + (r * Vectors + v) * lanes<T>;
      if (how == finish::add) sum[r][v] = load(at) + sum[r][v];
      if (how == finish::rescale)
        sum[r][v] = fused(load(at), load(correction + v * lanes<T>), sum[r][v]);
      store(at, sum[r][v]);
    }
}

template <class T, int Rows, int Vectors>
SOFTLOOK_ALWAYS_INLINE void clear_sums(vec<T> (&sum)[Rows][Vectors]) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sum[r][v] = vec<T>{};
}

template <class T, int Rows, int Vectors, finish Finish, class Operand>
__attribute__((noinline)) inline void micro_kernel(Operand A, const T* __restrict B,
                                                   T* __restrict C, index depth,
                                                   const T* correction) {
  vec<T> sum[Rows][Vectors];
  const T* wide = B;
  clear_sums<T>(sum);
  add_steps<0, Vectors>(A, wide, depth, sum);
  finish_sums(sum, C, Finish, correction);
}

/// Steps of a product in which the vectors [from, to) take part.
struct product_run {
  index row;  // of A; B has the steps of all runs behind one another
  index steps;
  int from;
  int to;
};

/// micro_kernel() over some runs of steps: under a mask a vector of queries needs a part of the
/// keys. What is left out would have added zeros, so no bit depends on it.
template <class T, int Rows, int Vectors>
__attribute__((noinline)) inline void product_of_runs(panel_operand<T, Rows> A,
                                                      const T* __restrict B, T* __restrict C,
                                                      const product_run* runs, index count,
                                                      finish how, const T* correction) {
  static_assert(Vectors <= 3);
  vec<T> sum[Rows][Vectors];
  const T* wide = B;
  const T* const origin = A.at;
  clear_sums<T>(sum);
  for (const product_run* run = runs; run < runs + count; ++run) {
    A.at = origin + run->row * A.step;
    const index steps = run->steps;
    const int from = run->from, to = run->to;
    if (from == 0 && to == Vectors) add_steps<0, Vectors>(A, wide, steps, sum);
    if constexpr (Vectors >= 2) {
      if (from == 0 && to == 1) add_steps<0, 1>(A, wide, steps, sum);
      if (from == 1 && to == 2) add_steps<1, 2>(A, wide, steps, sum);
    }
    if constexpr (Vectors == 3) {
      if (from == 0 && to == 2) add_steps<0, 2>(A, wide, steps, sum);
      if (from == 1 && to == 3) add_steps<1, 3>(A, wide, steps, sum);
      if (from == 2) add_steps<2, 3>(A, wide, steps, sum);
    }
  }
  finish_sums(sum, C, how, correction);
}
