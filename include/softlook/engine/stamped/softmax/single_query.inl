// A decode step over a short cache: one query of each head, no policy that changes a score, keys
// and values where they lie. What few_queries() and merge_chunks() do there, without what they
// prepare for more: one block of keys is one chunk, and all of a head stays in registers and on the
// stack. The operations of a row, and their order, are theirs, so bits are.

/// The largest of the lanes, in all of them.
template <class T, int Distance, int... L>
SOFTLOOK_ALWAYS_INLINE vec<T> maximum_of_lanes(vec<T> x, std::integer_sequence<int, L...> all) {
  x = max_of(x, vec<T>(__builtin_shufflevector(x, x, (L ^ Distance)...)));
  if constexpr (Distance > 1)
    return maximum_of_lanes<T, Distance / 2>(x, all);
  else
    return x;
}

/// out = inverse · Σ_j p_j · value row j, `Vectors` vectors of columns; `finite` gains x − x of the
/// sums.
template <class T, int Vectors>
SOFTLOOK_ALWAYS_INLINE void weigh_values(const T* p, const T* values, index value_stride,
                                         index count, vec<T> inverse, T* out, vec<T>& finite) {
  vec<T> sum[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) sum[v] = vec<T>{};
#pragma GCC unroll 1
  for (index j = 0; j < count; ++j, values += value_stride) {
    const vec<T> weight = broadcast(p[j]);
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sum[v] = fma(weight, load(values + v * lanes<T>), sum[v]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    finite = finite + (sum[v] - sum[v]);
    store(out + v * lanes<T>, sum[v] * inverse);
  }
}

/// S = scores of a query and all keys, in whole vectors, −∞ behind the last key.
template <class T>
SOFTLOOK_ALWAYS_INLINE void single_scores(const T* q, const row_block<T>& keys, index features,
                                          T* S) {
  constexpr index n = lanes<T>;
  const index whole = keys.count / n * n;
  if (whole > 0 && !few_dot_run(q, keys.data, keys.stride, features, whole, S))
    for (index j = 0; j < whole; j += n)
      dot_keys(q, keys.data + j * keys.stride, keys.stride, features, S + j);
  if (whole == keys.count) return;
  store(S + whole, broadcast(-infinity<T>));
  dot_rest(q, {keys.data + whole * keys.stride, keys.stride}, keys.count - whole, features,
           S + whole);
}

/// False where the call is not of that kind after all, or an output is not finite, which may be the
/// fault of a masked value: then O is to be written by the other kernel.
template <class T>
bool single_query(const single_query_args<T>& a) {
  constexpr index n = lanes<T>;
  constexpr auto all_lanes = std::make_integer_sequence<int, lanes<T>>{};
  const row_source<T>&K = a.keys, &V = a.values;
  if (K.cols % n != 0 || K.cols == 0 || V.cols % (4 * n) != 0 || V.cols == 0) return false;
  row_block<T> keys = K.read->in_place(K, {0, K.rows});
  row_block<T> values = V.read->in_place(V, {0, V.rows});
  if (keys.count != K.rows || values.count != V.rows) return false;
  alignas(vector_bytes) T q[max_single_features], S[max_single_keys + lanes<T>];
  alignas(vector_bytes) T safe[lanes<T>], added[lanes<T>];
  const index vectors = ceil_div(keys.count, n);
  const index used = keys.count < n ? keys.count : n;
  vec<T> finite = {};
  for (index h = 0, of_group = 0; h < a.heads; ++h) {
    for (index c = 0; c < K.cols; c += n)
      store(q + c, load(a.Q + h * a.head_stride_Q + c) * broadcast(a.query_scale));
    single_scores(q, keys, K.cols, S);
    vec<T> top = broadcast(-infinity<T>);
    raise_to_maximum<T>(S, vectors, n, top);
    top = maximum_of_lanes<T, lanes<T> / 2>(top, all_lanes);
    store(safe, finite_maximum<T>(top));
    store(added, vec<T>{});
    add_exponentials<T, false>(S, vectors, n, safe, added);
    T sum = 0;
    for (index l = 0; l < used; ++l) sum += added[l];
    const vec<T> inverse = lane_reciprocal_or_one<T>(broadcast(sum));
    T* const out = a.O + h * a.head_stride_O;
    index c = 0;
    if constexpr (vector_bytes == 32)  // four sums keep the units of multiply-adds half busy
      for (; c + 8 * n <= V.cols; c += 8 * n)
        weigh_values<T, 8>(S, values.data + c, values.stride, keys.count, inverse, out + c, finite);
    for (; c < V.cols; c += 4 * n)
      weigh_values<T, 4>(S, values.data + c, values.stride, keys.count, inverse, out + c, finite);
    if (a.log_sum_exp)
      a.log_sum_exp[h * a.head_stride_log_sum_exp] = natural_log_sum_exp(top[0], sum);
    if (++of_group == a.group) {
      of_group = 0;
      keys.data += a.head_stride_K;
      values.data += a.head_stride_V;
    }
  }
  T rest = 0;
  for (int l = 0; l < lanes<T>; ++l) rest += finite[l];
  return rest == 0;
}

/// None for additive scores, nor in a set whose loops are short: there a step is bound by its
/// arithmetic, and few programs run it.
template <class T, bool Additive>
constexpr auto single_query_or_none() -> bool (*)(const single_query_args<T>&) {
  if constexpr (Additive || short_loops)
    return nullptr;
  else
    return &single_query<T>;
}
