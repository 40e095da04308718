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
      const vec<T> a = broadcast(A[r]);
#pragma GCC unroll 4
      for (int v = From; v < To; ++v) {
        sum[r][v] = fma(a, b[v], sum[r][v]);
        keep_order(sum[r][v]);
      }
    }
    A.advance();
    B += A.wide_step(Vectors * lanes<T>);
  } while (--steps > 0);
}

template <finish How, class T, int Rows, int Vectors>
SOFTLOOK_ALWAYS_INLINE void finish_sums_by(const vec<T> (&sum)[Rows][Vectors], T* C,
                                           const T* correction) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      T* at = C + (r * Vectors + v) * lanes<T>;
      if constexpr (How == finish::store) store(at, sum[r][v]);
      if constexpr (How == finish::add) store(at, load(at) + sum[r][v]);
      if constexpr (How == finish::rescale)
        store(at, fma(load(at), load(correction + v * lanes<T>), sum[r][v]));
    }
}

/// One branch for all sums: one for each costs 3 % of a product.
template <class T, int Rows, int Vectors>
SOFTLOOK_ALWAYS_INLINE void finish_sums(const vec<T> (&sum)[Rows][Vectors], T* C, finish how,
                                        const T* correction) {
  if (how == finish::store)
    finish_sums_by<finish::store>(sum, C, correction);
  else if (how == finish::add)
    finish_sums_by<finish::add>(sum, C, correction);
  else
    finish_sums_by<finish::rescale>(sum, C, correction);
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
    switch (run->from * 4 + run->to) {
      case 1:
        add_steps<0, 1>(A, wide, steps, sum);
        break;
      case 2:
        if constexpr (Vectors >= 2) add_steps<0, 2>(A, wide, steps, sum);
        break;
      case 3:
        if constexpr (Vectors >= 3) add_steps<0, 3>(A, wide, steps, sum);
        break;
      case 4 + 2:
        if constexpr (Vectors >= 2) add_steps<1, 2>(A, wide, steps, sum);
        break;
      case 4 + 3:
        if constexpr (Vectors >= 3) add_steps<1, 3>(A, wide, steps, sum);
        break;
      default:
        if constexpr (Vectors >= 3) add_steps<2, 3>(A, wide, steps, sum);
        break;
    }
  }
  finish_sums(sum, C, how, correction);
}

/// top = max(top, the rows of a product).
template <class T, int Rows, int Vectors>
SOFTLOOK_ALWAYS_INLINE void raise_to_sums(const vec<T> (&sum)[Rows][Vectors], T* top) {
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) {
    vec<T> most[Rows];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) most[r] = sum[r][v];
#pragma GCC unroll 4
    for (int half = Rows / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int r = 0; r < half; ++r) most[r] = max_of(most[r], most[r + half]);
    store(top + v * lanes<T>, max_of(most[0], load(top + v * lanes<T>)));
  }
}

/// Other work that goes on beside a product: turns of it, each after so many steps.
template <class Work>
struct side_work {
  Work* work = nullptr;
  index turns = 0;
  index steps = 1;
};

/// A whole product with turns of other work among its steps, turns·steps ≤ depth. A turn is as
/// small as the registers that the sums leave, and the turns as near to each other as the processor
/// looks ahead. Scores also raise a maximum, if `top` is there.
template <class T, int Rows, int Vectors, class Work>
__attribute__((noinline)) inline void product_beside(panel_operand<T, Rows> A,
                                                     const T* __restrict B, T* C, index depth,
                                                     finish how, const T* correction, T* top,
                                                     side_work<Work> beside) {
  vec<T> sum[Rows][Vectors];
  const T* wide = B;
  clear_sums<T>(sum);
  for (;;) {
    const index steps = beside.turns > 0 ? beside.steps : depth;
    add_steps<0, Vectors>(A, wide, steps, sum);
    depth -= steps;
    if (beside.turns > 0) {
      beside.work->turn();
      --beside.turns;
    }
    if (depth <= 0) break;
  }
  if (top) raise_to_sums(sum, top);
  finish_sums(sum, C, how, correction);
}
