// What chunks are computed with: operands of the micro-kernel, and panels of columns.

/// Rows of a matrix where they lie.
template <class T, int Rows>
struct row_operand {
  const T* row[Rows];
  index wide;
  index at = 0;
  row_operand(const T* first, index stride, index from_row_to_row_of_B) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) row[r] = first + r * stride;
    wide = from_row_to_row_of_B;
  }
  SOFTLOOK_ALWAYS_INLINE T scalar(int step, int r) const { return row[r][at + step]; }
  SOFTLOOK_ALWAYS_INLINE void end_step() {}
  SOFTLOOK_ALWAYS_INLINE void end_block(int steps) { at = counted_up(at, steps); }
  SOFTLOOK_ALWAYS_INLINE index wide_step(int) const { return wide; }
};

/// Vectors of the next panel: a rest of four is cut 2 + 2.
template <class T>
SOFTLOOK_ALWAYS_INLINE int next_vectors(index columns) {
  const index left = ceil_div(columns, lanes<T>);
  return left > 4 ? 3 : left == 4 ? 2 : int(left);
}

/// phase.panel<Vectors>(column) for every panel.
template <class T, class Phase>
SOFTLOOK_ALWAYS_INLINE void over_panels(index columns, const Phase& phase) {
  for (index c = 0; c < columns;) {
    const int vectors = next_vectors<T>(columns - c);
    if (vectors == 3)
      phase.template panel<3>(c);
    else if (vectors == 2)
      phase.template panel<2>(c);
    else
      phase.template panel<1>(c);
    c += vectors * lanes<T>;
  }
}
