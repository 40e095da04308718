// The walk over tiles with products of bfloat16: queries, keys, values and weights are rounded,
// sums are float, and so is everything between the two products.
//
// Sᵀ = K̂ Q̂ᵀ and Oᵀ += V̂ᵀ P̂ᵀ are products of tile registers: K̂ lies row by row, V̂ᵀ too, once for a
// tile of keys and all register tiles of queries; Q̂ and P̂ are panels of pairs, 48 queries wide. The
// sum l is of the weights before they are rounded.

/// What the walk asks of: see tile_walk.inl.
template <class Tiles>
struct rounded_forward_args : forward_args<float, false> {
  Tiles* tiles = nullptr;
  float* scratch = nullptr;
  float* extra = nullptr;  // the start of what `at` says
  rounded_layout at{};
};

template <class Tiles>
[[nodiscard]] inline typename Tiles::group* groups_at(float* at) {
  return reinterpret_cast<typename Tiles::group*>(at);
}

/// Pairs of two rows of `width` numbers, which lie `width` apart or where they are told.
template <class Group>
SOFTLOOK_ALWAYS_INLINE void round_pairs(const float* first, const float* second, index width,
                                        Group* to) {
#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 64
  if constexpr (std::is_same_v<Group, bfloat16_pair>) {
    typedef std::uint16_t halves __attribute__((vector_size(64)));
    constexpr halves spread = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                               8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    for (index c = 0; c < width; c += lanes<float>) {
      halves beside;
      __asm__("vcvtne2ps2bf16 {%1, %2, %0|%0, %2, %1}"
              : "=v"(beside)
              : "m"(*reinterpret_cast<const vector_in_memory<float>*>(first + c)),
                "v"(load(second + c)));
      __asm__("vpermw {%0, %1, %0|%0, %1, %0}" : "+v"(beside) : "v"(spread));
      __builtin_memcpy(to + c, &beside, sizeof beside);
    }
    return;
  }
#endif
  for (index c = 0; c < width; c += lanes<float>) {
    const uint32_vector low = bfloat16_bits_of(load((first_is_low ? first : second) + c));
    const uint32_vector high = bfloat16_bits_of(load((first_is_low ? second : first) + c));
    const uint32_vector pairs = high << 16 | low;
    __builtin_memcpy(to + c, &pairs, sizeof pairs);
  }
}

/// Rows that lie `step` apart as rows of numbers, zeros below them up to `wanted` rows.
template <class Tiles>
inline void round_rows_to(const float* rows, index count, index cols, index step, float* to,
                          index pitch, index wanted) {
  product_args<float> a;
  a.X = {rows, count, cols, step, 1};
  a.rounded = {to, count, pitch, pitch, 1};
  round_rows<typename Tiles::group>(a, {0, count});
  __builtin_memset(to + count * pitch, 0, std::size_t((wanted - count) * pitch) * sizeof(float));
}

/// A panel of rows by 48 columns, `width` of them used, from rows that lie where row(k) says.
template <class Tiles, class Row>
SOFTLOOK_ALWAYS_INLINE void round_panel(const Row& row, index groups, index width, float* panel) {
  constexpr index full = panel_width<float>;
  if (width < full) __builtin_memset(panel, 0, std::size_t(groups * full) * sizeof(float));
  for (index g = 0; g < groups; ++g)
    round_pairs(row(2 * g), row(2 * g + 1), width, groups_at<Tiles>(panel + g * full));
}

template <class Tiles>
inline void pack_queries(const rounded_forward_args<Tiles>& a, query_tile<float>& q) {
  constexpr index full = panel_width<float>;
  const forward_args<float, false>& plain = a;
  const index width = q.vectors * lanes<float>, register_width = tile_vectors * lanes<float>;
  const auto number =
      (reinterpret_cast<float*>(q.positions) - (a.scratch + a.layout.positions)) / register_width;
  float* const panel = a.extra + a.at.queries + number * a.at.query_groups * full;
  q.packed = a.extra + a.at.wide;
  pack_queries(plain, q);
  const float* const wide = q.packed;
  alignas(64) const float zeros[panel_width<float>] = {};
  const auto row = [&](index c)
                       SOFTLOOK_STAMP_LAMBDA { return c < a.Q.cols ? wide + c * width : zeros; };
  round_panel<Tiles>(row, a.at.query_groups, width, panel);
  q.packed = panel;
}

template <class Tiles>
inline void pack_keys(const rounded_forward_args<Tiles>& a, key_tile<float, false>& k,
                      float* value_rows) {
  const index count = k.keys.count(), d = a.keys.cols, e = a.values.cols;
  float* const wide = a.extra + a.at.wide;
  k.packed = true;
  k.keys_packed = a.extra + a.at.keys;
  const row_block<float> keys = padded_rows(a.keys, k.keys, round_up(d, 4), count, wide);
  round_rows_to<Tiles>(keys.data, count, d, keys.stride, k.keys_packed, a.at.key_pitch,
                       a.at.key_rows);
  k.values = padded_rows(a.values, k.keys, a.layout.values, count, value_rows);
  k.finite = all_finite(k.values, count, e);
  if (!k.finite) return;  // the careful product takes them as they are
  const index columns = a.layout.key_tile;
  pack_panel(k.values.data, count, e, k.values.stride, index(1), columns, 1.0F, wide);
  round_rows_to<Tiles>(wide, e, columns, columns, a.extra + a.at.values, a.at.value_pitch,
                       a.at.value_rows);
}

/// Rounded values of one tile of keys alone are kept.
template <class Tiles>
SOFTLOOK_ALWAYS_INLINE bool overwrites_values(const rounded_forward_args<Tiles>&,
                                              const row_block<float>&, const float*) {
  return true;
}

/// C = X̂ · the panel for `count` rows of X̂, `width` columns of C wide; before the end of each 32
/// rows comes beside(rows).
template <class Tiles, class Beside>
inline void product_of_tiles(Tiles& tiles, const float* X, index pitch, index groups,
                             const float* panel, float* C, index count, index width,
                             const Beside& beside) {
  using group = typename Tiles::group;
  constexpr index full = panel_width<float>, block = tile_blocks * tile_side;
  const auto nothing = []() SOFTLOOK_STAMP_LAMBDA {};
  alignas(64) float apart[block * full];
  for (index r = 0; r < count; r += block, X += block * pitch, C += block * width) {
    const index rows = count - r < block ? count - r : block;
    const bool whole = rows == block && width == full;
    const panel_pair<group> pair{reinterpret_cast<const group*>(X + row_header), pitch, groups,
                                 reinterpret_cast<const group*>(panel), whole ? C : apart};
    const auto with_work = [&]() SOFTLOOK_STAMP_LAMBDA { beside(rows); };
    if (rows > tile_side)
      panel_product<2>(tiles, pair, nothing, with_work);
    else
      panel_product<1>(tiles, pair, nothing, with_work);
    for (index i = 0; !whole && i < rows; ++i)
      __builtin_memcpy(C + i * width, apart + i * full, std::size_t(width) * sizeof(float));
  }
}

template <class Tiles, class Work>
inline bool score_panels(const rounded_forward_args<Tiles>& a, query_tile<float>& q,
                         key_tile<float, false>& k, index row, index count, int, int, Work* work,
                         float*, float* S) {
  const typename Work::constants constants;
  product_of_tiles(*a.tiles, k.keys_packed + row * a.at.key_pitch, a.at.key_pitch,
                   a.at.query_groups, q.packed, S, count, q.vectors * lanes<float>,
                   [&](index rows) SOFTLOOK_STAMP_LAMBDA {
                     k.next_keys.prefetch();
                     if (!work) return;
                     for (; rows > 0 && work->rows_left > 0; --rows) {
#pragma GCC unroll 3
                       for (int v = 0; v < tile_vectors; ++v) work->turn(v, constants);
                       work->end_row();
                     }
                   });
  return false;
}

/// Oᵀ = Oᵀ·correction + V̂ᵀ P̂ᵀ; rows of P̂ are all keys of the tile, of those that are not live zero.
template <class Tiles>
inline void add_products(const rounded_forward_args<Tiles>& a, const scored_tile<float>& tile,
                         key_tile<float, false>& k, const float* correction) {
  const query_tile<float>& q = *tile.queries;
  const index width = q.vectors * lanes<float>, e = a.values.cols;
  alignas(64) const float zeros[panel_width<float>] = {};
  const float* rows[max_key_tile + 2 * tile_side];
  for (index j = 0; j < 2 * a.at.weight_groups; ++j) rows[j] = zeros;
  const float* P = tile.S;
  for (const product_run* run = tile.live.runs; run < tile.live.runs + tile.live.count; ++run)
    for (index j = run->row; j < run->row + run->steps; ++j, P += width) rows[j] = P;
  float* const panel = a.extra + a.at.weights;
  round_panel<Tiles>([&](index j) SOFTLOOK_STAMP_LAMBDA { return rows[j]; }, a.at.weight_groups,
                     width, panel);
  float* const sums = a.extra + a.at.sums;
  product_of_tiles(*a.tiles, a.extra + a.at.values, a.at.value_pitch, a.at.weight_groups, panel,
                   sums, e, width, [&](index) SOFTLOOK_STAMP_LAMBDA { k.next_values.prefetch(); });
  for (index x = 0; x < width; x += lanes<float>) {
    const float_vector factor = load(correction + x);
    for (index c = 0; c < e; ++c) {
      float* const at = q.output + c * width + x;
      const float_vector added = load(sums + c * width + x);
      store(at, q.started ? fma(load(at), factor, added) : added);
    }
  }
}

template <class Tiles>
void rounded_forward(const forward_args<float, false>& whole, range queries, float* scratch) {
  rounded_forward_args<Tiles> a{whole};
  a.at = rounded_layout_for(whole.keys.cols, whole.values.cols, whole.layout);
  a.scratch = scratch;
  a.extra = scratch + whole.layout.total - a.at.total;
  Tiles tiles(tile_side);
  a.tiles = &tiles;
  forward_end<float, false, rounded_forward_args<Tiles>> end(a, scratch);
  walk_tiles(a, queries, scratch, end);
}

/// With other instructions that give the bits of tile registers.
template <class T>
inline constexpr tiled_kernel<T, false> emulated_rounded_forward = &rounded_forward<emulated_tiles>;
