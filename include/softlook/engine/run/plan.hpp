#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "softlook/core/error.hpp"
#include "softlook/engine/kernels/args.hpp"

// Which kernel, which tiles, how much scratch: pure functions of the shape.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The shape of a call, after projections.
struct call_sizes {
  index queries = 0;
  index keys = 0;
  index features = 0;
  index values = 0;
  index query_heads = 1;
  index kv_heads = 1;
  bool additive = false;
  index scalar_bytes = 4;
  bool keys_packed = false;  // additive: the keys are packed already
};

/// Query rows that share the keys and values of a head.
[[nodiscard]] constexpr index shared_rows(const call_sizes& s) {
  return s.query_heads == s.kv_heads ? s.queries
                                     : s.queries * (s.query_heads / std::max<index>(s.kv_heads, 1));
}

struct plan {
  softlook::kernel kernel = kernel::tiled;
  const char* reason = "";
  tiled_layout tiled{};
  few_layout few{};
  index chunk = 0;  // few queries: keys in a chunk
};

/// Scratch of one worker stays below this for d, e ≤ 1024, whatever n and m.
inline constexpr index scratch_limit = index{4} << 20;

/// Keys in a tile. It may depend on the sizes of a row and on the instruction set, never on the
/// number of queries or on the machine: where a tile begins decides when the output is rescaled,
/// and that decides bits. With 32 bytes short rows take fewer keys, because two tiles of scores
/// share a first-level cache of 32 KiB with the packed queries, and long rows more, because the
/// output is read and written once for each tile.
[[nodiscard]] constexpr index key_tile_for(const call_sizes& s, const register_shape& r) {
  const bool long_rows = (s.features + s.values) * s.scalar_bytes > 768;
  const index dot = r.lanes * s.scalar_bytes != 32 ? 96 : long_rows ? 128 : 64;
  const index wanted = round_up(s.additive ? 64 : dot, r.rows);
  const index key_bytes = (s.features * (s.additive ? 3 : 1) + s.values + 1) * s.scalar_bytes;
  if (wanted * key_bytes <= 768 * 1024) return wanted;
  return std::max(768 * 1024 / key_bytes / r.rows * r.rows, r.rows);
}

/// Multiply-adds that are worth waking another thread for: 10 µs and more of the tiled kernel. Half
/// of a smaller task takes as long as the other half's thread needs to come.
inline constexpr index least_task = index{3} << 18;

/// Register tiles of queries in a task: as many as leave their packed queries and outputs, and a
/// tile of keys and values, in a quarter of the second-level cache (whose other half may belong to
/// another thread, and which also sees what is passing through); fewer where that leaves workers
/// idle; evenly spread. Five at least: keys and values come from further away, and are packed, once
/// for a task; with five tiles that is less than a byte in a cycle.
[[nodiscard]] constexpr index query_tiles_for(const call_sizes& s, const register_shape& r,
                                              index key_tile, index workers, index cache_bytes) {
  if (s.queries <= r.width()) return 1;
  const index forms = s.additive ? 3 : 1;
  const index row_bytes = (s.features * forms + s.values + 4) * s.scalar_bytes;
  const index tile_bytes = key_tile * (s.features * forms + s.values) * s.scalar_bytes;
  const index room = std::max<index>(cache_bytes / 4 - tile_bytes, 0);
  const index least = std::clamp(index{640 * 1024} / (row_bytes * r.width()), index{1}, index{5});
  const index most = std::clamp(room / (row_bytes * r.width()), least, index{12});
  const index tiles = ceil_div(std::max<index>(s.queries, 1), r.width());
  index wanted_tasks = workers > 1 ? ceil_div(4 * workers, s.query_heads) : 1;
  if (wanted_tasks > 1) {
    // Additive scores take some ten instructions for a feature of a pair, sixteen to a
    // multiply-add.
    const double pair = double((s.additive ? 16 : 1) * s.features + s.values);
    const double worth = double(s.queries) * double(s.keys) * pair / double(least_task);
    wanted_tasks = worth < double(wanted_tasks) ? std::max(index(worth), index{1}) : wanted_tasks;
  }
  const index tasks = std::max(ceil_div(tiles, most), std::min(wanted_tasks, ceil_div(tiles, 2)));
  return ceil_div(tiles, tasks);
}

class layout_cursor {
 public:
  constexpr explicit layout_cursor(index alignment) : alignment_(alignment) {}
  constexpr index take(index count) {
    const index at = end_;
    end_ += round_up(count, alignment_);
    return at;
  }
  [[nodiscard]] constexpr index total() const { return end_; }

 private:
  index alignment_;
  index end_ = 0;
};

[[nodiscard]] constexpr tiled_layout tiled_layout_for(const call_sizes& s, const register_shape& r,
                                                      index key_tile, index query_tiles) {
  // A call of one register tile or less has room for its own queries alone: then it may stay off
  // the heap.
  const index lanes = s.queries <= r.width() ? round_up(std::max<index>(s.queries, 1), r.lanes)
                                             : query_tiles * r.width();
  const index forms = s.additive ? 3 : 1;
  const index stored = std::min(key_tile, round_up(std::max<index>(s.keys, 1), r.rows));
  layout_cursor cursor(64 / s.scalar_bytes);
  tiled_layout at;
  at.key_tile = key_tile;
  at.query_tiles = query_tiles;
  at.values = round_up(s.values, r.rows);
  at.query_form = round_up(lanes * s.features + r.lanes, 64);  // forms are written in whole vectors
  at.queries = cursor.take(forms * at.query_form);
  at.key_form = round_up(stored * s.features + r.lanes, 64);
  at.keys = cursor.take(forms * at.key_form);
  at.value_rows = cursor.take(stored * at.values);
  at.output = cursor.take(lanes * at.values);
  const bool overlaps = !s.additive && (query_tiles > 1 || s.keys > key_tile);
  at.score_tile = overlaps ? round_up(stored * r.width(), 64 / s.scalar_bytes) : 0;
  at.scores = cursor.take(stored * r.width() + at.score_tile);
  at.maximum = cursor.take(lanes);
  at.sum = cursor.take(lanes);
  at.correction = cursor.take(r.width());
  at.query_sizes = cursor.take(s.additive ? lanes : 0);
  at.key_sizes = cursor.take(s.additive ? stored : 0);
  at.positions = cursor.take(lanes);
  at.total = cursor.total();
  return at;
}

[[nodiscard]] constexpr few_layout few_layout_for(const call_sizes& s, const register_shape& r,
                                                  index rows) {
  layout_cursor cursor(64 / s.scalar_bytes);
  few_layout at;
  const index forms = s.additive ? 3 : 1, padded_rows = round_up(rows, r.rows);
  at.rows = rows;
  at.block = round_up(std::clamp<index>(s.keys, 1, 512), r.width());
  at.features = round_up(s.features, r.lanes);
  at.values = round_up(s.values, r.lanes);
  at.query_form = round_up(padded_rows * at.features + r.lanes, 64);
  at.queries = cursor.take(forms * at.query_form);
  // Dot products pack as many keys as a vector has lanes, and only where they do not lie so.
  at.key_form =
      s.keys_packed ? 0 : round_up((s.additive ? r.width() : r.lanes) * at.features + r.lanes, 64);
  at.keys = cursor.take(forms * at.key_form);
  at.value_rows = cursor.take(std::clamp<index>(s.keys, 1, few_copied_rows) * at.values);
  at.scores = cursor.take(rows * at.block);
  at.positions = cursor.take(at.block);
  at.query_sizes = cursor.take(s.additive ? padded_rows : 0);
  at.key_sizes = cursor.take(s.additive ? r.width() : 0);
  at.tile = cursor.take(s.additive ? r.rows * r.width() : 0);
  at.total = cursor.total();
  at.partial = round_up(2 * round_up(rows, r.lanes) + rows * at.values, 64 / s.scalar_bytes);
  return at;
}

[[nodiscard]] constexpr packed_keys_layout packed_keys_layout_for(index keys, index features,
                                                                  const register_shape& r,
                                                                  index scalar_bytes) {
  const index panels = ceil_div(keys, r.width());
  layout_cursor cursor(64 / scalar_bytes);
  packed_keys_layout at;
  cursor.take(panels * r.width() * features);
  at.form = cursor.total();
  cursor.take(2 * at.form);
  at.largest = cursor.take(panels * r.width());
  at.bounds = cursor.take(2 * panels);
  at.total = cursor.total();
  return at;
}

/// Keys in a chunk of the few-query kernel: whole blocks, at most 16 chunks. It depends on m alone.
[[nodiscard]] constexpr index chunk_for(index keys, index block) {
  return round_up(std::max<index>(ceil_div(keys, 16), 512), block);
}

/// Up to so many queries of a head are few, and so many rows that share its keys. Measured for m =
/// 1 … 16384, d = 4 … 128: at 8 rows (6 in double) and 256 keys or more the few-query kernel takes
/// 0.6 to 1.1 times as long as the tiled one, at 12 1.0 to 1.7 times, on AVX2 and on AVX-512. Of
/// fewer keys the setting up of each row weighs more, but the tiled kernel sets up each head.
[[nodiscard]] constexpr index most_few_rows(index scalar_bytes) {
  return scalar_bytes == 4 ? 8 : 6;
}
[[nodiscard]] constexpr index most_few_queries(index scalar_bytes, index keys, index features) {
  if (keys < 16 && features < 32) return 2;
  return keys < 64 ? 4 : most_few_rows(scalar_bytes);
}

struct kernel_choice {
  softlook::kernel kernel;
  const char* reason;
};

/// Which kernel, and why.
[[nodiscard]] constexpr kernel_choice kernel_for(const call_sizes& s, const options& o) {
  if (o.kernel) return {*o.kernel, "options.kernel asks for it"};
  const index rows = shared_rows(s);
  const bool few = rows <= most_few_rows(s.scalar_bytes);
  if (few && s.queries <= most_few_queries(s.scalar_bytes, s.keys, s.features))
    return {kernel::few_queries,
            "few rows share the keys of a head: reading keys and values once is the bound"};
  if (few) return {kernel::tiled, "few keys: setting up each row costs more than packing them"};
  return {kernel::tiled,
          "many rows share the keys of a head: a packed tile of keys serves them all"};
}

inline void check_tile(const char* where, const tile_shape& t) {
  if (t.keys < 1 || t.keys > max_key_tile)
    raise_argument(where, "options.tile.keys", double(t.keys),
                   formatted("it must lie between 1 and %d", int(max_key_tile)).text);
  if (t.query_tiles < 1 || t.query_tiles > max_query_tiles)
    raise_argument(where, "options.tile.query_tiles", double(t.query_tiles),
                   formatted("it must lie between 1 and %d", int(max_query_tiles)).text);
}

/// The kernels that a call can come to, as far as its types tell: others are not compiled for it.
enum class reach { any, tiled, few_queries };

/// The kernels that rows of Q and K, and features, lead to where nothing else decides; what is
/// known only when a program runs is negative (Eigen::Dynamic).
[[nodiscard]] constexpr reach reach_of(index queries, index keys, index features,
                                       index scalar_bytes) {
  constexpr index any = 1 << 20;  // more make no difference
  const auto least = [](index size) { return size < 0 ? 0 : size; };
  const auto most = [](index size) { return size < 0 ? any : size; };
  if (least(queries) > most_few_queries(scalar_bytes, most(keys), most(features)))
    return reach::tiled;
  return most(queries) <= most_few_queries(scalar_bytes, least(keys), least(features))
             ? reach::few_queries
             : reach::any;
}

/// A tile of the options has been checked. `cache_bytes`: the second-level cache of a core.
template <reach Reach = reach::any>
[[nodiscard]] constexpr plan plan_for(const call_sizes& s, const register_shape& r,
                                      const options& o, index workers,
                                      index cache_bytes = index{1} << 20) {
  plan p;
  const kernel_choice choice = kernel_for(s, o);
  p.kernel = choice.kernel;
  p.reason = choice.reason;
  // Only what is used is laid out: the divisions of both would be a fifth of a tiny call.
  if constexpr (Reach != reach::tiled)
    if (p.kernel == kernel::few_queries) {
      p.few = few_layout_for(s, r, std::clamp(shared_rows(s), index{1}, max_few_rows));
      p.chunk = chunk_for(s.keys, p.few.block);
      return p;
    }
  if constexpr (Reach == reach::few_queries) return p;
  const index key_tile = o.tile ? round_up(o.tile->keys, r.rows) : key_tile_for(s, r);
  const index query_tiles =
      o.tile ? o.tile->query_tiles : query_tiles_for(s, r, key_tile, workers, cache_bytes);
  p.tiled = tiled_layout_for(s, r, key_tile, query_tiles);
  return p;
}

inline void check_positions(const char* where, const char* name, index count) {
  if (count > std::numeric_limits<std::int32_t>::max())
    raise_argument(where, name, double(count), "positions are 32-bit: at most 2147483647 rows");
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
