// Whether numbers are finite.

/// Whether `count` scalars, followed by room up to a whole vector, are finite: x − x is NaN for
/// anything else.
template <class T>
inline bool all_finite(T* data, index count) {
  const index whole = round_up(count, lanes<T>);
  for (index k = count; k < whole; ++k) data[k] = 0;
  vec<T> zero = {};
  for (index k = 0; k < whole; k += lanes<T>) {
    const vec<T> x = load(data + k);
    zero = zero + (x - x);
  }
  T sum = 0;
  for (int l = 0; l < lanes<T>; ++l) sum += zero[l];
  return sum == 0;
}

/// Whether all numbers of a block of rows are finite: x · 0 is NaN for anything else.
template <class T>
inline bool all_finite(const row_block<T>& rows, index count, index cols) {
  if (cols == 0) return true;
  const index whole = cols / lanes<T> * lanes<T>;
  vec<T> zero[2] = {}, nothing = {};
  SOFTLOOK_STAMP_OPAQUE(nothing);
  T rest = 0;
  for (index r = 0; r < count; ++r) {
    const T* at = rows.data + r * rows.stride;
    index c = 0;
    for (; c + 2 * lanes<T> <= whole; c += 2 * lanes<T>) {
      accumulate_loaded(zero[0], nothing, at + c);
      accumulate_loaded(zero[1], nothing, at + c + lanes<T>);
    }
    if (c < whole) accumulate_loaded(zero[0], nothing, at + c);
    for (c = whole; c < cols; ++c) rest = rest + (at[c] - at[c]);
  }
  const vec<T> all = zero[0] + zero[1];
  for (int l = 0; l < lanes<T>; ++l) rest = rest + all[l];
  return rest == 0;
}

/// Whether no number of a block of rows is larger than `most`; NaN may be there.
template <class T>
inline bool all_within(const row_block<T>& rows, index count, index cols, T most) {
  const index whole = cols / lanes<T> * lanes<T>;
  vec<T> top = {};
  bool within = true;
  for (index r = 0; r < count; ++r) {
    const T* at = rows.data + r * rows.stride;
    for (index c = 0; c < whole; c += lanes<T>) {
      const vec<T> x = load(at + c);
      top = max_of(top, max_of(vec<T>{} - x, x));
    }
    for (index c = whole; c < cols; ++c) within = within && !(at[c] > most) && !(at[c] < -most);
  }
  for (int l = 0; l < lanes<T>; ++l) within = within && !(top[l] > most);
  return within;
}
