// Masked scores of a block of queries, one tile of keys after the other: rows of S are queries,
// columns keys. Pairs of tiles that no query may see are left as they are.

template <class T, bool Additive>
class scores_end {
 public:
  using args = forward_args<T, Additive>;
  scores_end(const args& a, index first, const mutable_matrix_view<T>& S, T* scratch)
      : first_(first), to_(S), S_(scratch + a.layout.scores) {}

  SOFTLOOK_ALWAYS_INLINE softmax_step<T>* beside() { return nullptr; }
  SOFTLOOK_ALWAYS_INLINE score_place<T> next(const query_tile<T>&) {
    live_.rows = live_.count = 0;
    return {S_, &live_};
  }
  SOFTLOOK_ALWAYS_INLINE void before_packing(const args&, key_tile<T, Additive>&, const T*) {}
  SOFTLOOK_ALWAYS_INLINE void take(const args&, query_tile<T>& q, key_tile<T, Additive>& k) {
    const index width = q.vectors * lanes<T>;
    const T* S = S_;
    for (const product_run* run = live_.runs; run < live_.runs + live_.count; ++run) {
      unpack_panel(S, width, &to_(q.first - first_, k.keys.begin + run->row), q.used, run->steps,
                   to_.row_stride, to_.col_stride);
      S += run->steps * width;
    }
  }
  SOFTLOOK_ALWAYS_INLINE void flush(const args&, key_tile<T, Additive>&) {}
  SOFTLOOK_ALWAYS_INLINE void finish(const args&, query_tile<T>&) {}

 private:
  index first_;
  const mutable_matrix_view<T>& to_;
  T* S_;
  live_keys live_;
};

template <class T, bool Additive>
void tiled_scores(const forward_args<T, Additive>& a, range queries,
                  const mutable_matrix_view<T>& S, T* scratch) {
  scores_end<T, Additive> end(a, queries.begin, S, scratch);
  walk_tiles(a, queries, scratch, end);
}
