// Weights of a block of queries, one tile of keys after the other, once the maximum and the sum of
// each query are known: P = 4^(S − maximum) / sum. What is done with a tile of them is the
// caller's.
//   \see Dao et al., "FlashAttention", 2022, algorithm 4 (P is computed again from the statistics
//   of its row).

template <class T, bool Additive>
class weights_end {
 public:
  using args = forward_args<T, Additive>;
  weights_end(const args& a, const weight_request<T>& to, T* scratch)
      : to_(to), S_(scratch + a.layout.scores) {}

  SOFTLOOK_ALWAYS_INLINE softmax_step<T>* beside() { return nullptr; }
  SOFTLOOK_ALWAYS_INLINE score_place<T> next(const query_tile<T>&) {
    live_.rows = live_.count = 0;
    return {S_, &live_};
  }
  SOFTLOOK_ALWAYS_INLINE void before_packing(const args&, key_tile<T, Additive>&, const T*) {}
  SOFTLOOK_ALWAYS_INLINE void take(const args& a, query_tile<T>& q, key_tile<T, Additive>& k) {
    if (live_.rows == 0) return;
    const index width = q.vectors * lanes<T>;
    for (index x = 0; x < width; x += lanes<T>) {
      vec<T> maximum, sum, scale;
      for (int l = 0; l < lanes<T>; ++l) {
        const bool used = x + l < q.used;
        const index i = q.first + (used ? x + l : 0);
        maximum[l] = a.row_maximum[i];
        sum[l] = a.row_sum[i];
        scale[l] = used ? T(1) : T(0);
      }
      weigh(a, q, x, width, finite_maximum<T>(maximum), sum,
            scale * lane_reciprocal_or_one<T>(sum));
    }
    if (!to_.take) return;
    const T* P = S_;
    for (const product_run* run = live_.runs; run < live_.runs + live_.count; ++run) {
      to_.take(to_.self, {{P, q.used, run->steps, 1, width}, q.first, k.keys.begin + run->row});
      P += run->steps * width;
    }
  }
  SOFTLOOK_ALWAYS_INLINE void flush(const args&, key_tile<T, Additive>&) {}
  SOFTLOOK_ALWAYS_INLINE void finish(const args&, query_tile<T>&) {}

 private:
  /// One vector of queries, with their entropies if they are wanted.
  void weigh(const args&, const query_tile<T>& q, index x, index width, vec<T> top, vec<T> sum,
             vec<T> scale) {
    const exponential<T> exp4;
    vec<T> entropy = {}, log_sum = {};
    if (to_.entropy)
      for (int l = 0; l < lanes<T>; ++l)
        log_sum[l] = sum[l] > 0 ? natural_log_sum_exp(T(0), sum[l]) : T(0);
    const vec<T> base = top + log_sum * broadcast(T(0.72134752044448170368));
    for (index r = 0; r < live_.rows; ++r) {
      T* const at = S_ + r * width + x;
      const vec<T> s = load(at);
      vec<T> p[1] = {s - top};
      exp4(p);
      p[0] = p[0] * scale;
      store(at, p[0]);
      if (to_.entropy)
        entropy = fma(p[0], select<T>(s == broadcast(-infinity<T>), vec<T>{}, base - s), entropy);
    }
    for (int l = 0; to_.entropy && l < lanes<T> && x + l < q.used; ++l)
      to_.entropy[q.first + x + l] += entropy[l] * T(1.38629436111989061883);
  }

  const weight_request<T>& to_;
  T* S_;
  live_keys live_;
};

template <class T, bool Additive>
void tiled_weights(const forward_args<T, Additive>& a, range queries, const weight_request<T>& to,
                   T* scratch) {
  weights_end<T, Additive> end(a, to, scratch);
  walk_tiles(a, queries, scratch, end);
}

/// sums[j] += Σ_i P(i, j): lanes behind the queries of a block hold zeros.
template <class T>
void add_weight_sums(const weight_block<T>& block, T* sums) {
  const index width = block.P.col_stride;
  for (index j = 0; j < block.P.cols; ++j) {
    vec<T> sum = {};
    for (index x = 0; x < width; x += lanes<T>) sum = sum + load(block.P.data + j * width + x);
    T total = 0;
    for (int l = 0; l < lanes<T>; ++l) total += sum[l];
    sums[j] += total;
  }
}

/// The next key of a block, from `key` on, with a weight above that of its query in `least`, which
/// has a number for each lane; the number of keys if there is none.
template <class T>
index next_weight_above(const weight_block<T>& block, index key, const T* least) {
  const index width = block.P.col_stride;
  for (; key < block.P.cols; ++key)
    for (index x = 0; x < width; x += lanes<T>)
      if (any_greater(load(block.P.data + key * width + x), load(least + x))) return key;
  return key;
}
