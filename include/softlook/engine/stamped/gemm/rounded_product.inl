// Y = f(X̂·Ŵ + b) ∘ G + R with rounded X and W: the walk of packed_product.inl over groups of
// numbers, or, with tile registers, panels of W against 32 rows of X, each number of Y one sum in
// the order of its instruction, whatever way it takes.
//
// Traffic: a tile of X and one of W are 1 KiB each. Of 32 rows and a panel, seven tiles are read
// for six products of 16 cycles, all but four of them from the first-level cache; of W 32 bytes
// come from the second-level cache in a cycle. A panel stays there for all rows.

/// The product of rounded rows, and what they are rows of.
template <class Group>
struct grouped_args : product_args<Group> {
  const product_args<float>* whole = nullptr;
};

template <class Group>
[[nodiscard]] inline grouped_args<Group> grouped(const product_args<float>& a) {
  grouped_args<Group> g;
  const index groups = groups_of(a.X.cols, is_quad<Group> ? 4 : 2);
  g.X = {reinterpret_cast<const Group*>(a.rounded.data + row_header), a.X.rows, groups,
         a.rounded.row_stride, 1};
  g.panels = reinterpret_cast<const Group*>(a.panels);
  g.whole = &a;
  return g;
}

/// Sums of int8 as floats, scaled by rows.
__attribute__((noinline)) inline void scale_sums(const product_args<float>& a, index first,
                                                 index used, index column, float* tile,
                                                 index width) {
  const float* const offsets = a.scales + round_up(a.Y.cols, index(panel_width<float>)) + column;
  for (index r = 0; r < used; ++r) {
    const float_vector scale = broadcast(a.rounded.data[(first + r) * a.rounded.row_stride]);
    for (index v = 0; v < width; v += lanes<float>) {
      float* const at = tile + r * width + v;
      const int32_vector sum = (int32_vector)load(at) - (int32_vector)load(offsets + v);
      store(at, __builtin_convertvector(sum, float_vector) * scale);
    }
  }
}

/// Sums of 32 bits become numbers of Y.
template <class Group>
inline void finish_tile(const grouped_args<Group>& a, index first, index used, index column,
                        Group* sums, index width) {
  float* const tile = reinterpret_cast<float*>(sums);
  if (column >= a.whole->Y.cols) return;
  if constexpr (is_quad<Group>) scale_sums(*a.whole, first, used, column, tile, width);
  finish_stored(*a.whole, first, used, column, tile, width);
}

/// By a step for each group.
template <class Group>
void rounded_linear(const product_args<float>& a, range rows, range columns) {
  product_columns<Group>(grouped<Group>(a), rows, columns);
}

/// Rows of X, a panel of W, and where their sums go.
template <class Group>
struct panel_pair {
  const Group* x;
  index x_step;  // groups from row to row
  index depth;   // groups, a multiple of 16
  const Group* panel;
  void* sums;
};

/// The sums of 16 rows a block with a panel. each_step() is called beside the products of a step,
/// beside() between those of the last step and their end, which comes a while later.
template <int Blocks, class Tiles, class Group, class Step, class Beside>
SOFTLOOK_ALWAYS_INLINE void panel_product(Tiles& tiles, const panel_pair<Group>& p,
                                          const Step& each_step, const Beside& beside) {
  constexpr index width = panel_width<float>, row_bytes = 4 * width;
  const index x_bytes = 4 * p.x_step;
  const Group *x = p.x, *panel = p.panel;
  tiles.template clear<Blocks>();
  for (index k = p.depth; k > 0; k -= tile_groups) {
    each_step();
    // The last columns are in their register when the second block begins.
    tiles.load_x(x, x_bytes);
    tiles.load_w(panel, row_bytes);
    tiles.template add<0, 0>();
    tiles.load_w(panel + tile_side, row_bytes);
    tiles.template add<0, 1>();
    tiles.load_w(panel + 2 * tile_side, row_bytes);
    tiles.template add<0, 2>();
    if constexpr (Blocks == 2) {
      tiles.load_x(x + tile_side * p.x_step, x_bytes);
      tiles.template add<1, 2>();
      tiles.load_w(panel + tile_side, row_bytes);
      tiles.template add<1, 1>();
      tiles.load_w(panel, row_bytes);
      tiles.template add<1, 0>();
    }
    x += tile_groups;
    panel += tile_groups * width;
  }
  beside();
  auto* const to = static_cast<std::int8_t*>(p.sums);
  tiles.template store<0, 0>(to, row_bytes);
  tiles.template store<0, 1>(to + 64, row_bytes);
  tiles.template store<0, 2>(to + 128, row_bytes);
  if constexpr (Blocks == 2) {
    auto* const second = to + tile_side * row_bytes;
    tiles.template store<1, 0>(second, row_bytes);
    tiles.template store<1, 1>(second + 64, row_bytes);
    tiles.template store<1, 2>(second + 128, row_bytes);
  }
}

/// By tiles.
template <class Tiles>
void tiled_linear(const product_args<float>& whole, range rows, range columns) {
  using group = typename Tiles::group;
  constexpr index width = panel_width<float>, block = tile_blocks * tile_side;
  const grouped_args<group> a = grouped<group>(whole);
  const index panel_size = width * a.X.cols, blocks = ceil_div(rows.count(), block);
  const index lines = ceil_div(index(tile_columns * tile_side), blocks);
  alignas(64) group sums[block * width];
  // Fewer rows than a tile has at the end are computed with some before them: another shape of
  // tiles takes as long as twelve products.
  const index tile = rows.count() < tile_side ? rows.count() : tile_side;
  Tiles tiles{int(tile)};
  for (index column = columns.begin; column < columns.end; column += width) {
    const group* const panel = a.panels + column / width * panel_size;
    auto ahead = reinterpret_cast<std::uintptr_t>(panel + panel_size);
    for (index i = rows.begin; i < rows.end;) {
      const index left = rows.end - i;
      const index used = left >= block ? block : left < tile ? left : tile;
      const index first = used < tile ? rows.end - tile : i;
      const panel_pair<group> pair{a.X.data + first * a.X.row_stride, a.X.row_stride, a.X.cols,
                                   panel, sums};
      const auto ask_ahead = [&]() SOFTLOOK_STAMP_LAMBDA {
        for (index l = 0; l < lines; ++l)
          __builtin_prefetch(reinterpret_cast<const void*>(ahead + std::uintptr_t(64 * l)), 0, 2);
        ahead += std::uintptr_t(64 * lines);
      };
      const auto nothing = []() SOFTLOOK_STAMP_LAMBDA {};
      if (used == block)
        panel_product<tile_blocks>(tiles, pair, ask_ahead, nothing);
      else
        panel_product<1>(tiles, pair, ask_ahead, nothing);
      finish_tile(a, i, used, column, sums + (i - first) * width, width);
      i += used;
    }
  }
}
