// Attention of a handful of queries (decoding): every key and value is read once, for all the rows
// that share it, and that is what bounds it: m·(d + e) scalars for 2·m·(d + e)·rows flops.
//
// Keys are not packed where a row of features is contiguous. Scores lie row × keys, so that the
// softmax runs over lanes of keys. A chunk of keys gives one state (maximum, sum, output); chunks
// have a length that depends on m alone and are merged in their order, so that neither threads nor
// the number of queries change a bit.
//   \see Dao et al., "Flash-Decoding", 2023.

/// Which query of the call row r of a group is, and what its policies know of the problem.
struct few_row {
  index i;
  problem whole;
};

/// row / n, mostly without a division: it would be a tenth of a row of a few keys.
inline index few_head_of(index row, index n) { return n == 1 ? row : quotient(row, n); }

template <class T, bool Additive>
inline few_row few_row_at(const few_args<T, Additive>& f, index r) {
  const index n = f.head.Q.rows, row = f.rows.begin + r, head = few_head_of(row, n);
  few_row at{row - head * n, f.head.whole};
  at.whole.head += std::int32_t(head);
  return at;
}

/// The keys that some row may see, as far as the mask knows without being asked for each.
template <class T, bool Additive>
inline range few_live_keys(const few_args<T, Additive>& f, range keys) {
  const forward_args<T, Additive>& a = f.head;
  range live{};
  for (index r = 0; r < f.rows.count(); ++r) {
    const few_row at = few_row_at(f, r);
    const range seen = keys_of_rows(*a.policy, *a.frame, at.whole, {at.i, at.i + 1}, a.keys.rows);
    live = hull(live, intersection(seen, keys));
  }
  return live;
}

/// Transforms and masks row r of the scores; −∞ where nothing is allowed and past the last key.
template <class T, bool Additive>
inline void few_edit(const few_args<T, Additive>& f, index r, range keys, T* S,
                     lane_positions& positions) {
  const forward_args<T, Additive>& a = f.head;
  const few_row at = few_row_at(f, r);
  edit_row(*a.policy, *a.frame, at.whole, at.i, keys, a.keys.rows, a.score_unit, index(lanes<T>), S,
           positions);
}

/// Edits the weights of row r, as dropout does, once their sum is taken.
template <class T, bool Additive>
SOFTLOOK_SMALL void few_edit_weights(const few_args<T, Additive>& f, index r, range keys, T* P) {
  const forward_args<T, Additive>& a = f.head;
  const few_row at = few_row_at(f, r);
  const std::int32_t position = std::int32_t(a.frame->query(at.i));
  const product_run all{0, keys.count(), 0, 1};
  a.policy->weight.edit_keys(a.policy->weight.state, P,
                             {&all, 1, keys.begin, a.keys.rows, 1, 1, 0, &position}, *a.frame,
                             at.whole);
}

/// maximum, sum and output of the rows of a group after a number of keys.
template <class T>
struct few_state {
  T* maximum;
  T* sum;
  T* output;
};

template <class T>
inline few_state<T> few_state_at(const few_layout& at, T* partial) {
  const index rows = round_up(at.rows, lanes<T>);
  return {partial, partial + rows, partial + 2 * rows};
}

/// Row r of the scores becomes weights; returns the factor for what was summed before.
template <class T>
inline T few_absorb(T* S, index count, T& maximum, T& sum, bool careful) {
  const index vectors = ceil_div(count, lanes<T>);
  vec<T> top = broadcast(-infinity<T>);
  raise_to_maximum<T>(S, vectors, lanes<T>, top);
  T most = maximum;
  for (int l = 0; l < lanes<T>; ++l) most = top[l] > most ? top[l] : most;
  alignas(vector_bytes) T safe[lanes<T>], added[lanes<T>];
  store(safe, broadcast(most == -infinity<T> ? T(0) : most));
  store(added, vec<T>{});
  const auto exponentiate = careful ? &add_exponentials<T, true> : &add_exponentials<T, false>;
  exponentiate(S, vectors, lanes<T>, safe, added);
  T total = 0;
  for (int l = 0; l < lanes<T>; ++l) total += added[l];
  vector_softmax<T> state{broadcast(maximum), broadcast(sum)};
  const vec<T> factor = state.absorb(broadcast(most), broadcast(total));
  maximum = most;
  sum = state.sum[0];
  return factor[0];
}

/// sum += p · a value row, `Vectors` vectors of columns.
template <class T, int Vectors>
SOFTLOOK_ALWAYS_INLINE void add_value_row(T p, const T* values, index value_stride, vec<T>* sum) {
  const vec<T> weight = broadcast(p);
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    prefetch(values + v * lanes<T>, 8 * value_stride);
    sum[v] = fma(weight, load(values + v * lanes<T>), sum[v]);
  }
}

/// output += Σ_j p_j · value row j, `Vectors` vectors of columns at a time, in `Apart` sums over
/// every Apart-th row: where columns are few, an addition takes longer than a row is to load.
/// A function of its own, as dot_run() is.
template <class T, int Vectors, int Apart>
__attribute__((noinline)) inline void add_value_rows(const T* p, const T* values,
                                                     index value_stride, index count, T* output) {
  vec<T> sum[Apart * Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Apart * Vectors; ++v)
    sum[v] = v < Vectors ? load(output + v * lanes<T>) : vec<T>{};
  index j = 0;
#pragma GCC unroll 1
  for (; j + Apart <= count; j += Apart)
#pragma GCC unroll 4
    for (int k = 0; k < Apart; ++k)
      add_value_row<T, Vectors>(p[j + k], values + (j + k) * value_stride, value_stride,
                                sum + k * Vectors);
#pragma GCC unroll 4
  for (int k = 0; k + 1 < Apart; ++k)  // a row's sum does not depend on whether others follow
    if (j + k < count)
      add_value_row<T, Vectors>(p[j + k], values + (j + k) * value_stride, value_stride,
                                sum + k * Vectors);
#pragma GCC unroll 8
  for (int v = Vectors; v < Apart * Vectors; ++v) sum[v % Vectors] = sum[v % Vectors] + sum[v];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) store(output + v * lanes<T>, sum[v]);
}

/// The same for one vector of columns, where a weight of −0 (a score of −∞) touches nothing. Rare,
/// so it is compiled small.
template <class T>
SOFTLOOK_SMALL __attribute__((noinline)) inline void add_value_rows_with_care(
    const T* p, const T* values, index value_stride, index count, index apart, T* output) {
  vec<T> sum[4] = {load(output)};
  for (index j = 0; j < count; ++j, values += value_stride)
    if (p[j] != 0 || !__builtin_signbit(p[j]))
      sum[j % apart] = fma(broadcast(p[j]), load(values), sum[j % apart]);
  for (index k = 1; k < apart; ++k) sum[0] = sum[0] + sum[k];
  store(output, sum[0]);
}

/// Rows of values that are taken at a time where they lie in place: as many as stay in the
/// first-level cache for all that read them; one row of the output that reads each line once takes
/// a block in one run. Sums that are kept apart end with the step, so there it is always that of
/// copies.
template <class T, bool Additive>
inline index few_value_step(const few_args<T, Additive>& f) {
  constexpr index n = lanes<T>;
  const index cols = f.head.values.cols;
  if (cols != 8 * n && cols != 4 * n) return few_copied_rows;
  return f.rows.count() == 1 ? f.layout.block : 256 * n / cols;
}

/// The next rows of values, of which there are at most `step`, and how many they are.
template <class T, bool Additive>
inline index few_next_values(const few_args<T, Additive>& f, range keys, index step, T* buffer,
                             row_block<T>& block) {
  const row_source<T>& V = f.head.values;
  if (step != few_copied_rows && V.cols == f.layout.values) {
    const index count = keys.count() < step ? keys.count() : step;
    block = V.read->in_place(V, {keys.begin, keys.begin + count});
    if (block.count > 0) return block.count;
  }
  const index count = keys.count() < few_copied_rows ? keys.count() : few_copied_rows;
  block = padded_rows(V, {keys.begin, keys.begin + count}, f.layout.values, count, buffer);
  return count;
}

template <class T, bool Additive>
SOFTLOOK_STAMP_SHORT_WAY inline void few_add_values(const few_args<T, Additive>& f, range keys,
                                                    const few_state<T>& state, bool careful,
                                                    T* scratch) {
  const few_layout& at = f.layout;
  constexpr index n = lanes<T>;
  const row_source<T>& V = f.head.values;
  // Fewer columns are summed in several parts, so that bits are those of floats.
  if ((!careful || V.read->finite) && V.read->add && V.cols % (4 * n) == 0 && V.col_stride <= 1) {
    for (index r = 0; r < f.rows.count(); ++r)
      V.read->add(V, keys, scratch + at.scores + r * at.block, state.output + r * at.values);
    return;
  }
  const index step = few_value_step(f);
  row_block<T> block;
  for (index j = keys.begin, count = 0; j < keys.end; j += count) {
    count = few_next_values(f, {j, keys.end}, step, scratch + at.value_rows, block);
    for (index r = 0; r < f.rows.count(); ++r) {
      const T* p = scratch + at.scores + r * at.block + (j - keys.begin);
      T* output = state.output + r * at.values;
      const index four = at.values / (4 * n) * (4 * n);
      index c = 0;
      if (careful) {  // sums are those of the other path
        for (; c < at.values; c += n)
          add_value_rows_with_care(p, block.data + c, block.stride, count, index(c < four ? 1 : 4),
                                   output + c);
      } else {
        for (; c + 8 * n <= four; c += 8 * n)
          add_value_rows<T, 8, 1>(p, block.data + c, block.stride, count, output + c);
        for (; c < four; c += 4 * n)
          add_value_rows<T, 4, 1>(p, block.data + c, block.stride, count, output + c);
        for (; c + 2 * n <= at.values; c += 2 * n)
          add_value_rows<T, 2, 4>(p, block.data + c, block.stride, count, output + c);
        for (; c < at.values; c += n)
          add_value_rows<T, 1, 4>(p, block.data + c, block.stride, count, output + c);
      }
    }
  }
}

/// Row i of a head whose columns begin `head` scalars behind those of X.
template <class Element>
SOFTLOOK_ALWAYS_INLINE Element* row_of_head(const strided_view<Element>& X, index head, index i) {
  return X.cols > 0 ? X.data + head + i * X.row_stride : X.data;
}

/// Rows of a panel of queries: few rows share a narrower one, which has less to exponentiate.
inline index row_panel_width(index rows) {
  return rows == 1 ? 1 : rows <= 4 ? 4 : index(tile_rows);
}

template <class T, bool Additive>
inline void few_pack_queries(const few_args<T, Additive>& f, additive_panel<T>* panels,
                             T* scratch) {
  const few_layout& at = f.layout;
  const forward_args<T, Additive>& a = f.head;
  const index n = a.Q.rows, count = f.rows.count();
  T* to = scratch + at.queries;
  const index width = row_panel_width(count);
  if constexpr (Additive)
    for (index x = 0; x < round_up(round_up(count, width) * a.Q.cols, lanes<T>); ++x) to[x] = 0;
  for (index r = 0; r < count; ++r) {
    const index row = f.rows.begin + r;
    const index head = few_head_of(row, n);
    const T* from = row_of_head(a.Q, head * f.head_stride_Q, row - head * n);
    T* base = Additive ? to + r / width * width * a.Q.cols + r % width : to + r * at.features;
    const index stride = Additive ? width : 1;
    index c = 0;
    if constexpr (!Additive)
      for (; a.Q.col_stride == 1 && c + lanes<T> <= a.Q.cols; c += lanes<T>)
        store(base + c, load(from + c) * broadcast(a.query_scale));
    for (; c < a.Q.cols; ++c)
      base[c * stride] = from[c * a.Q.col_stride] * (Additive ? T(1) : a.query_scale);
    if constexpr (!Additive)
      for (; c < at.features; ++c) base[c] = 0;
  }
  for (index r = 0; Additive && r < count; r += tile_rows) {
    panels[r / tile_rows] =
        panel_at(to + r * a.Q.cols, at.query_form, scratch + at.query_sizes + r);
    begin_panel(panels[r / tile_rows], a.Q.cols, width, count - r < width ? count - r : width);
  }
}

template <class T, bool Additive>
SOFTLOOK_STAMP_SHORT_WAY __attribute__((noinline)) inline void few_chunk(
    const few_args<T, Additive>& f, additive_panel<T>* panels, range keys,
    const few_state<T>& state, bool careful, T* scratch) {
  const few_layout& at = f.layout;
  const forward_args<T, Additive>& a = f.head;
  for (index r = 0; r < f.rows.count(); ++r) {
    state.maximum[r] = -infinity<T>;
    state.sum[r] = 0;
  }
  for (index x = 0; x < f.rows.count() * at.values; ++x) state.output[x] = 0;
  for (index first = keys.begin; first < keys.end; first += at.block) {
    const range block{first, first + at.block < keys.end ? first + at.block : keys.end};
    if (few_live_keys(f, block).empty()) {
      for (index r = f.rows.begin; f.weights && r < f.rows.end; ++r)
        for (index j = block.begin; j < block.end; ++j)
          f.weights[r * f.weights_stride + j] = -infinity<T>;
      continue;
    }
    lane_positions positions{reinterpret_cast<std::int32_t*>(scratch + at.positions), false};
    if constexpr (Additive)
      few_additive_scores(f, panels, block, scratch);
    else
      few_dot_scores(f, block, scratch);
    for (index r = 0; r < f.rows.count(); ++r) {
      T* S = scratch + at.scores + r * at.block;
      few_edit(f, r, block, S, positions);
      if (f.weights)
        __builtin_memcpy(f.weights + (f.rows.begin + r) * f.weights_stride + first, S,
                         std::size_t(block.count()) * sizeof(T));
      const vec<T> shrink =
          broadcast(few_absorb(S, block.count(), state.maximum[r], state.sum[r], careful));
      if (a.policy->weight) few_edit_weights(f, r, block, S);
      for (index c = 0; first > keys.begin && c < at.values; c += lanes<T>)
        store(state.output + r * at.values + c, load(state.output + r * at.values + c) * shrink);
    }
    few_add_values(f, block, state, careful, scratch);
  }
}

/// The state of a group of rows after one chunk of keys. An output that is not finite may be the
/// fault of a masked value, 0·∞; then the chunk is done again with care.
template <class T, bool Additive>
SOFTLOOK_STAMP_SHORT_WAY void few_queries(const few_args<T, Additive>& f, range keys, T* partial,
                                          T* scratch) {
  additive_panel<T> panels[max_few_rows / tile_rows];
  const few_state<T> state = few_state_at(f.layout, partial);
  few_pack_queries(f, panels, scratch);
  few_chunk(f, panels, keys, state, false, scratch);
  if (!all_finite(state.output, f.rows.count() * f.layout.values))
    few_chunk(f, panels, keys, state, true, scratch);
}

/// A row of scores, relative to their maximum, becomes a row of weights.
template <class T>
SOFTLOOK_STAMP_WAY __attribute__((noinline)) inline void few_weights(T* S, index count, T maximum,
                                                                     T inverse) {
  const vec<T> top = broadcast(maximum), factor = broadcast(inverse);
  vec<T> p = broadcast(-infinity<T>);
  for (index x = 0; x < count; x += lanes<T>) {
    const bool whole = x + lanes<T> <= count;
    const std::size_t rest = std::size_t(count - x) * sizeof(T);
    if (whole)
      p = load(S + x);
    else
      __builtin_memcpy(&p, S + x, rest);
    p = exp4_nonpositive<T>(p - top) * factor;
    if (whole)
      store(S + x, p);
    else
      __builtin_memcpy(S + x, &p, rest);
  }
}

/// A row of the output, from a sum that is not normalised.
template <class T>
inline void write_row(const T* sum, T inverse, T* out, index cols, index col_stride) {
  index c = 0;
  if (col_stride == 1)
    for (; c + lanes<T> <= cols; c += lanes<T>) store(out + c, load(sum + c) * broadcast(inverse));
  for (; c < cols; ++c) out[c * col_stride] = sum[c] * inverse;
}

/// Merges the states of all chunks in their order and writes the rows of the output.
template <class T, bool Additive>
SOFTLOOK_STAMP_WAY void merge_chunks(const few_args<T, Additive>& f, T* partials, index chunks) {
  const few_layout& at = f.layout;
  const forward_args<T, Additive>& a = f.head;
  const index n = a.Q.rows;
  for (index r = 0; r < f.rows.count(); ++r) {
    const few_state<T> first = few_state_at(at, partials);
    T most = first.maximum[r], sum = first.sum[r];
    T* total = first.output + r * at.values;
    if (chunks > 1) {
      for (index k = 1; k < chunks; ++k) {
        const T m = few_state_at(at, partials + k * at.partial).maximum[r];
        most = m > most ? m : most;
      }
      vector_softmax<T> all{broadcast(most), vec<T>{}};
      for (index k = 0; k < chunks; ++k) {
        const few_state<T> state = few_state_at(at, partials + k * at.partial);
        const vector_softmax<T> part{broadcast(state.maximum[r]), broadcast(state.sum[r])};
        const vec<T> weight = part.merge_into(all.maximum, all.sum);
        for (index c = 0; c < at.values; c += lanes<T>) {
          const vec<T> output = load(state.output + r * at.values + c);
          store(total + c, k == 0 ? output * weight : fma(output, weight, load(total + c)));
        }
      }
      sum = all.sum[0];
    }
    const index row = f.rows.begin + r, head = few_head_of(row, n), i = row - head * n;
    const T inverse = lane_reciprocal_or_one<T>(broadcast(sum))[0];
    write_row(total, inverse, row_of_head(a.O, head * f.head_stride_O, i), a.O.cols,
              a.O.col_stride);
    if (f.weights)
      few_weights(f.weights + row * f.weights_stride, a.keys.rows,
                  most == -infinity<T> ? T(0) : most, inverse);
    if (a.log_sum_exp)
      a.log_sum_exp[head * f.head_stride_log_sum_exp + i * a.log_sum_exp_stride] =
          natural_log_sum_exp(most, sum);
  }
}
