// Sums of the way back, added to rows of a gradient.

/// Y += X, `cols` numbers beside each other.
template <class T>
SOFTLOOK_ALWAYS_INLINE void add_to_row(T* Y, const T* X, index cols) {
  index c = 0;
  for (; c + lanes<T> <= cols; c += lanes<T>) store(Y + c, load(Y + c) + load(X + c));
  for (; c < cols; ++c) Y[c] += X[c];
}

/// Rows of Y += rows that lie behind one another.
template <class T>
inline void add_to_rows(const mutable_matrix_view<T>& Y, range rows, const T* from) {
  for (index r = rows.begin; r < rows.end; ++r, from += Y.cols)
    if (Y.col_stride == 1)
      add_to_row(row_of(Y, r), from, Y.cols);
    else
      for (index c = 0; c < Y.cols; ++c) Y(r, c) += from[c];
}
