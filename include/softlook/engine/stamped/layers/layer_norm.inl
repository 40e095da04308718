// Layer normalisation of rows, and RMS normalisation, which takes the mean for 0.

template <class T>
SOFTLOOK_ALWAYS_INLINE T total(vec<T> sums) {
  T sum = 0;
  for (int l = 0; l < lanes<T>; ++l) sum += sums[l];
  return sum;
}

/// Mean and 1/√(variance + ε) of a row of whole vectors whose `features` numbers are followed by
/// zeros. The variance is taken around the mean in a second pass: Σx² − n·mean² would cancel.
template <class T>
struct row_moments {
  T mean;
  T factor;
};

template <class T>
SOFTLOOK_ALWAYS_INLINE row_moments<T> moments_of(T* row, index features, T epsilon, bool centred) {
  const index padded = ceil_div(features, lanes<T>) * lanes<T>;
  const T part = T(1) / T(features);
  T mean = 0;
  if (centred) {
    vec<T> sums = {};
    for (index c = 0; c < padded; c += lanes<T>) sums = sums + load(row + c);
    mean = total<T>(sums) * part;
    for (index c = features; c < padded; ++c) row[c] = mean;
  }
  vec<T> squares = {};
  for (index c = 0; c < padded; c += lanes<T>) {
    const vec<T> d = load(row + c) - broadcast(mean);
    squares = fma(d, d, squares);
  }
  const T variance = total<T>(squares) * part;
  const T scale = sizeof(T) == 4 ? T(__builtin_sqrtf(float(variance) + float(epsilon)))
                                 : T(__builtin_sqrt(double(variance) + double(epsilon)));
  return {mean, T(1) / scale};
}

template <class T>
SOFTLOOK_ALWAYS_INLINE void copy_line(const T* from, index from_step, T* to, index to_step,
                                      index count) {
  if (from_step == 1 && to_step == 1)
    __builtin_memmove(to, from, std::size_t(count) * sizeof(T));
  else
    for (index c = 0; c < count; ++c) to[c * to_step] = from[c * from_step];
}

/// y = gain·(x − mean)/√(variance + ε) + bias for rows [rows.begin, rows.end). `row` holds a row of
/// X in whole vectors, as gain and bias do; Y may be X.
template <class T>
void layer_norm_rows(const layer_norm_args<T>& a, range rows, T* row) {
  const index features = a.X.cols, padded = ceil_div(features, lanes<T>) * lanes<T>;
  for (index i = rows.begin; i < rows.end; ++i) {
    copy_line(a.X.data + i * a.X.row_stride, a.X.col_stride, row, index(1), features);
    for (index c = features; c < padded; ++c) row[c] = 0;
    const auto [mean, factor] = moments_of(row, features, a.epsilon, a.centred);
    for (index c = 0; c < padded; c += lanes<T>) {
      const vec<T> y = (load(row + c) - broadcast(mean)) * broadcast(factor);
      store(row + c, fma(y, load(a.gain + c), load(a.bias + c)));
    }
    copy_line(row, index(1), a.Y.data + i * a.Y.row_stride, a.Y.col_stride, features);
  }
}
