// The register micro-kernel: C (Rows × Vectors vectors) = A · B, added to C or to a rescaled C.
//
// A gives Rows scalars a step, each broadcast; B is depth × width, width = Vectors vectors.
// What bounds it differs. A core alone is bound by its two multiply-adds and two loads in a cycle
// (8×3: 11 loads for 24 FMAs). A core whose other thread belongs to somebody else has half of the
// front end, 3 instructions in a cycle, and then instructions for an FMA are all that counts. So
// steps are unrolled: one update of each address and one branch for several of them. The loops are
// unrolled by pragma because -O2 does not, and accumulators that are not in registers cost half of
// the speed.
//
// The old C joins at the end, not at the start: sums over a tile are added to the running sum,
// which rounds less than one long chain over all keys.

enum class finish { store, add, rescale };

/// Sets whose products are long anyway, three instructions for a multiply-add, are compiled short.
inline constexpr bool short_loops = vector_bytes == 16 && tile_rows == 4;

/// Steps for one update of the addresses: with 8×3 two are enough.
inline constexpr int unrolled_steps = short_loops || tile_rows * tile_vectors >= 24 ? 2 : 4;
inline constexpr int unrolled_turns = short_loops ? 1 : tile_vectors;

/// A pointer or a number that counts up, hidden: a compiler would keep all multiples of a step, or
/// what the loop ends with, in registers that are not there.
template <class N>
SOFTLOOK_ALWAYS_INLINE N counted_up(N at, index step) {
  at += step;
  __asm__("" : "+r"(at));
  return at;
}

/// A packed panel: Rows scalars beside each other, Rows from one step to the next.
template <class T, int Rows>
struct packed_operand {
  const T* at;
  SOFTLOOK_ALWAYS_INLINE const T& scalar(int step, int r) const { return at[step * Rows + r]; }
  SOFTLOOK_ALWAYS_INLINE void end_step() {}
  SOFTLOOK_ALWAYS_INLINE void end_block(int steps) { at = counted_up(at, steps * Rows); }
  /// From row to row of B.
  SOFTLOOK_ALWAYS_INLINE index wide_step(int width) const { return width; }
};

/// Columns of a row-major matrix, or a panel with rows of another width: `step` from one set of
/// scalars to the next.
template <class T, int Rows>
struct panel_operand {
  const T* at;
  index step;
  SOFTLOOK_ALWAYS_INLINE const T& scalar(int, int r) const { return at[r]; }
  SOFTLOOK_ALWAYS_INLINE void end_step() { at = counted_up(at, step); }
  SOFTLOOK_ALWAYS_INLINE void end_block(int) {}
  SOFTLOOK_ALWAYS_INLINE index wide_step(int width) const { return width; }
};

/// A quarter of a line for each step, asked for with each block: often enough to read B from memory
/// while a few register tiles use the part before it, too seldom to take a load from the product.
inline constexpr int prefetch_step = 16;

/// Rows of a matrix where they lie, against packed weights. Broadcasting from them costs nothing
/// more than from a panel as long as they fit the first-level cache, so what is used once need not
/// be packed. `Lines` are asked for with each block.
template <class T, int Rows, int Lines>
struct strided_operand {
  const T* row[Rows];
  index step;
  std::uintptr_t ahead;  // address of what will be read next of B
  index at = 0;
  SOFTLOOK_ALWAYS_INLINE const T& scalar(int, int r) const { return row[r][at]; }
  SOFTLOOK_ALWAYS_INLINE void end_step() { at = counted_up(at, step); }
  SOFTLOOK_ALWAYS_INLINE void end_block(int steps) {
#pragma GCC unroll 4
    for (int l = 0; l < Lines; ++l)
      __builtin_prefetch(reinterpret_cast<const void*>(ahead + std::uintptr_t(64 * l)), 0, 2);
    ahead += std::uintptr_t(Lines * steps * prefetch_step);
  }
  SOFTLOOK_ALWAYS_INLINE index wide_step(int) const { return packed_panel_width<T>; }
};

/// What a step of a product of T does where that is not a multiply-add of T.
template <class T>
struct own_step {
  static constexpr bool exists = false;
};

/// One step: sum += column `step` of A · B, for the vectors [From, To) of B.
template <int From, int To, class T, int Rows, int Vectors, class Operand>
SOFTLOOK_ALWAYS_INLINE void add_step(const Operand& A, int step, const T* B,
                                     vec<T> (&sum)[Rows][Vectors]) {
  vec<T> b[To - From];
#pragma GCC unroll 4
  for (int v = From; v < To; ++v) b[v - From] = load(B + v * lanes<T>);
  if constexpr (own_step<T>::exists) {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
      own_step<T>::template add<To - From>(sum[r] + From, A.scalar(step, r), b);
    return;
  } else {
#if SOFTLOOK_STAMP_PAIRS
    if constexpr (Rows % 2 == 0) {
#pragma GCC unroll 8
      for (int r = 0; r < Rows; r += 2)
        add_pair<To - From>(sum[r] + From, sum[r + 1] + From, A.scalar(step, r),
                            A.scalar(step, r + 1), b, B + From * lanes<T>);
      return;
    }
#endif
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const vec<T> a = broadcast(A.scalar(step, r));
#pragma GCC unroll 4
      for (int v = From; v < To; ++v) {
        accumulate(sum[r][v], a, b[v - From]);
        keep_order(sum[r][v]);
      }
    }
  }
}

/// sum += A · B over the unrolled steps.
template <int From, int To, class T, int Rows, int Vectors, class Operand>
SOFTLOOK_ALWAYS_INLINE void add_block(Operand& A, const T*& B, vec<T> (&sum)[Rows][Vectors]) {
#pragma GCC unroll 8
  for (int k = 0; k < unrolled_steps; ++k) {
    add_step<From, To>(A, k, B + k * A.wide_step(Vectors * lanes<T>), sum);
    A.end_step();
  }
  A.end_block(unrolled_steps);
  B = counted_up(B, unrolled_steps * A.wide_step(Vectors * lanes<T>));
}

/// sum += A · B over some blocks, one at least.
template <int From, int To, class T, int Rows, int Vectors, class Operand>
SOFTLOOK_ALWAYS_INLINE void add_blocks(Operand& A, const T*& B, index blocks,
                                       vec<T> (&sum)[Rows][Vectors]) {
#if defined(__clang__)
#pragma clang loop unroll(disable)
#endif
  do add_block<From, To>(A, B, sum);
  while (--blocks != 0);
}

/// The same for single steps, once at least.
template <int From, int To, class T, int Rows, int Vectors, class Operand>
SOFTLOOK_ALWAYS_INLINE void add_single_steps(Operand& A, const T*& B, index steps,
                                             vec<T> (&sum)[Rows][Vectors]) {
#if defined(__clang__)
#pragma clang loop unroll(disable)
#endif
  do {
    add_step<From, To>(A, 0, B, sum);
    A.end_step();
    A.end_block(1);
    B = counted_up(B, A.wide_step(Vectors * lanes<T>));
  } while (--steps != 0);
}

/// sum += A · B over any number of steps.
template <int From, int To, class T, int Rows, int Vectors, class Operand>
SOFTLOOK_ALWAYS_INLINE void add_steps(Operand& A, const T*& B, index steps,
                                      vec<T> (&sum)[Rows][Vectors]) {
  index rest = steps;
  if constexpr (To - From == Vectors) {
    if (steps >= unrolled_steps) add_blocks<From, To>(A, B, steps / unrolled_steps, sum);
    rest = steps % unrolled_steps;
  }
  if (rest > 0) add_single_steps<From, To>(A, B, rest, sum);
}

template <finish How, class T, int Rows, int Vectors>
SOFTLOOK_ALWAYS_INLINE void finish_sums_by(const vec<T> (&sum)[Rows][Vectors], T* C,
                                           [[maybe_unused]] const T* correction) {
  [[maybe_unused]] vec<T> factor[Vectors];
  if constexpr (How == finish::rescale)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) factor[v] = load(correction + v * lanes<T>);
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      T* at = C + (r * Vectors + v) * lanes<T>;
      if constexpr (How == finish::store) store(at, sum[r][v]);
      if constexpr (How == finish::add) store(at, load(at) + sum[r][v]);
      if constexpr (How == finish::rescale) store(at, fma(load(at), factor[v], sum[r][v]));
    }
}

/// One branch for all sums: one for each costs 3 % of a product. What is only added is rescaled by
/// 1, which changes no bit.
template <class T, int Rows, int Vectors>
SOFTLOOK_ALWAYS_INLINE void finish_sums(const vec<T> (&sum)[Rows][Vectors], T* C, finish how,
                                        const T* correction) {
  if (how == finish::store)
    finish_sums_by<finish::store>(sum, C, correction);
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
  finish_sums_by<Finish>(sum, C, correction);
}

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
    if constexpr (Vectors < 3 || short_loops)
      add_steps<0, Vectors>(A, wide, steps, sum);
    else
      switch (run->from * 4 + run->to) {
        case 1:
          add_steps<0, 1>(A, wide, steps, sum);
          break;
        case 2:
          add_steps<0, 2>(A, wide, steps, sum);
          break;
        case 3:
          add_steps<0, 3>(A, wide, steps, sum);
          break;
        case 4 + 2:
          add_steps<1, 2>(A, wide, steps, sum);
          break;
        case 4 + 3:
          add_steps<1, 3>(A, wide, steps, sum);
          break;
        default:
          add_steps<2, 3>(A, wide, steps, sum);
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

/// C = A · B for panels of A that lie behind each other, as scores are made. Beside the products go
/// the rows of other work, `work->rows_left` of them, a turn for each vector behind each block of
/// steps: as small as the registers that the sums leave, and as near to each other as the processor
/// looks ahead. The maximum of each column of C is raised into `top`, if there is one.
template <class T, int Rows, int Vectors, class Work>
__attribute__((noinline)) inline void product_beside(const T* A, const T* B, T* __restrict C,
                                                     index panels, index depth, T* top, Work* work,
                                                     rows_ahead<T>& ahead) {
  constexpr index round = unrolled_steps * Vectors;
  packed_operand<T, Rows> left{A};
  const index rounds = depth / round, rest = depth - rounds * round;
  const typename Work::constants constants;
  for (; panels > 0; --panels, C += Rows * Vectors * lanes<T>) {
    ahead.prefetch();
    vec<T> sum[Rows][Vectors];
    clear_sums<T>(sum);
    const T* wide = B;
    index turns = !work ? 0 : work->rows_left < Rows ? work->rows_left : Rows;
    for (index k = rounds; k > 0; --k) {
#pragma GCC unroll unrolled_turns
      for (int v = 0; v < Vectors; ++v) {
        add_block<0, Vectors>(left, wide, sum);
        if (turns > 0) work->turn(v, constants);
      }
      if (turns > 0) work->end_row();
      --turns;
    }
    if (rest > 0) add_single_steps<0, Vectors>(left, wide, rest, sum);
    if (top) raise_to_sums(sum, top);
    finish_sums_by<finish::store>(sum, C, static_cast<const T*>(nullptr));
  }
}

/// Cᵀ = Aᵀ · B, or added to a rescaled C, for all columns of A, Rows at a time, as weights
/// meet values: the panels of C lie behind each other, those of A beside each other.
template <class T, int Rows, int Vectors>
__attribute__((noinline)) inline void product_of_columns(const T* A, index step, const T* B, T* C,
                                                         index columns, index depth, finish how,
                                                         const T* correction,
                                                         rows_ahead<T>& ahead) {
  for (index c = 0; c < columns; c += Rows, C += Rows * Vectors * lanes<T>) {
    ahead.prefetch();
    panel_operand<T, Rows> left{A + c, step};
    vec<T> sum[Rows][Vectors];
    clear_sums<T>(sum);
    const T* wide = B;
    add_steps<0, Vectors>(left, wide, depth, sum);
    finish_sums(sum, C, how, correction);
  }
}
