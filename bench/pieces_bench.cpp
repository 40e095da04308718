// How fast could the tiled kernel be? Its pieces on one register tile of queries and one tile of
// keys that stay in the caches: the products with keys (`scores`) and with values (`values`), and
// both with the online softmax, whose exponentials go beside the products that score the next tile
// (`together`). The last row is the ceiling of a whole call, which also packs, reads memory and
// meets the ends of matrices.

#include <softlook/attention.hpp>

#include "support/inputs.hpp"
#include "support/row.hpp"

#if defined(__x86_64__)

namespace {

using bench::index;
using bench::matrix;

constexpr index keys = 96;
enum class piece { scores, values, together };

/// Panels as the kernel packs them: K and V in panels of `rows`, Q keys × lanes.
struct packed_tile {
  index d, rows, width;
  matrix<float> Q, K, V;
  softlook::workspace memory;  // aligned like the kernel's
  float *keys_packed, *lanes, *S, *next_S, *O, *maximum, *sum, *correction;

  packed_tile(index features, index tile_rows, index tile_width)
      : d(features),
        rows(tile_rows),
        width(tile_width),
        Q(bench::random_matrix<float>(width, d, 1)),
        K(bench::random_matrix<float>(keys, d, 2)),
        V(bench::random_matrix<float>(keys, d, 3)) {
    auto* at = reinterpret_cast<float*>(memory.reserve(
        sizeof(float) * std::size_t(keys * d + 2 * d * width + (2 * keys + 3) * width)));
    const auto take = [&](index count) { return std::exchange(at, at + count); };
    keys_packed = take(keys * d);
    lanes = take(d * width);
    S = take(keys * width);
    next_S = take(keys * width);
    O = take(d * width);
    maximum = take(width);
    sum = take(width);
    correction = take(width);
    std::fill(S, S + keys * width, 1.0f);
    for (index j = 0; j < keys; ++j)
      for (index c = 0; c < d; ++c)
        keys_packed[j / rows * rows * d + c * rows + j % rows] = K(j, c);
    const float scale = 1.44269504f / std::sqrt(float(d));
    for (index i = 0; i < width; ++i)
      for (index c = 0; c < d; ++c) lanes[c * width + i] = Q(i, c) * scale;
  }

  /// The largest error of what `piece` leaves behind.
  [[nodiscard]] double error(piece which) const {
    double worst = 0;
    const auto note = [&](double is, double wanted) {
      const double apart = std::abs(is - wanted);
      if (!(apart <= worst)) worst = apart;
    };
    for (index i = 0; i < width; ++i) {
      double s[keys] = {};
      double most = -1e300, total = 0;
      for (index j = 0; j < keys; ++j) {
        double& x = s[j];
        for (index c = 0; c < d; ++c) x += double(lanes[c * width + i]) * K(j, c);
        most = std::max(most, x);
        if (which == piece::scores) note(S[j * width + i], x);
      }
      for (double& x : s) total += x = which == piece::values ? 1 : std::exp2(2 * (x - most));
      for (index c = 0; which != piece::scores && c < d; ++c) {
        double o = 0;
        for (index j = 0; j < keys; ++j) o += s[j] * V(j, c);
        note(O[c * width + i] / total, o / total);
      }
      if (which == piece::together) note(sum[i] / total, 1);
    }
    return worst;
  }
};

// A struct of the same members for each set; `room` stands for its namespace.
#define PIECES(set)                                                                             \
  namespace set##_room {                                                                        \
    namespace room = softlook::detail::stamped_##set;                                           \
    struct pieces {                                                                             \
      using softmax = room::softmax_step<float>;                                                \
      static constexpr int rows = room::tile_rows, vectors = room::tile_vectors;                \
      static constexpr int width = vectors * room::lanes<float>;                                \
      static void scores(packed_tile& t, float* S, float* top, softmax* beside) {               \
        softlook::detail::rows_ahead<float> nothing_ahead;                                      \
        room::product_beside<float, rows, vectors>(t.keys_packed, t.lanes, S, keys / rows, t.d, \
                                                   top, beside, nothing_ahead);                 \
      }                                                                                         \
      static void values(packed_tile& t) {                                                      \
        softlook::detail::rows_ahead<float> nothing_ahead;                                      \
        room::product_of_columns<float, rows, vectors>(                                         \
            t.V.data(), t.d, t.S, t.O, t.d, keys, room::finish::store,                          \
            static_cast<const float*>(nullptr), nothing_ahead);                                 \
      }                                                                                         \
      static void begin(softmax& step, packed_tile& t) {                                        \
        room::begin_exponentials(step, t.next_S, keys, t.maximum);                              \
      }                                                                                         \
      static void end(softmax& step, packed_tile& t) {                                          \
        room::exponentiate_rest<float>(step);                                                   \
        room::join_softmax(step.top, step.added, width, t.maximum, t.sum, t.correction);        \
      }                                                                                         \
    };                                                                                          \
  }
PIECES(avx512)
PIECES(avx2)
#undef PIECES

/// One tile after the other; all have the same keys.
template <class Set>
class pieces_of {
 public:
  pieces_of(piece which, index d) : tile_(d, Set::rows, Set::width) {
    if (which == piece::together) together();  // the first has none before it
  }
  [[nodiscard]] double error(piece which) const { return tile_.error(which); }

  void run(piece which) {
    if (which == piece::scores) scores(tile_.S, nullptr, nullptr);
    if (which == piece::values) values();
    if (which == piece::together) together();
  }

 private:
  void scores(float* S, float* top, typename Set::softmax* before) {
    Set::scores(tile_, S, top, before);
  }
  void values() { Set::values(tile_); }
  void together() {
    constexpr float none = -std::numeric_limits<float>::infinity();
    auto& now = steps_[turn_];
    auto& before = steps_[1 - turn_];
    std::fill(now.top, now.top + Set::width, none);
    now.vectors = Set::vectors;
    scores(tile_.next_S, now.top, before.vectors > 0 ? &before : nullptr);
    std::fill(tile_.maximum, tile_.maximum + Set::width, none);
    std::fill(tile_.sum, tile_.sum + Set::width, 0.0f);
    if (before.vectors > 0) {
      Set::end(before, tile_);
      values();
    }
    Set::begin(now, tile_);
    std::swap(tile_.S, tile_.next_S);
    turn_ = 1 - turn_;
  }

  packed_tile tile_;
  typename Set::softmax steps_[2];
  int turn_ = 0;
};

template <class Set>
[[nodiscard]] bench::row piece_row(const char* set, piece which, index d) {
  const char* const name = which == piece::scores   ? "scores"
                           : which == piece::values ? "values"
                                                    : "together";
  const double products = which == piece::together ? 2 : 1;
  bench::row r{.name = std::string("piece/") + name + "/" + set + "/d:" + std::to_string(d),
               .flops = products * 2.0 * double(keys) * Set::width * double(d),
               .prepare = {}};
  r.prepare = [which, d] {
    const auto pieces = std::make_shared<pieces_of<Set>>(which, d);
    bench::prepared_row work;
    work.call = [pieces, which] { pieces->run(which); };
    work.error = [pieces, which] { return pieces->error(which); };
    work.tolerance = bench::tolerance<float>() * 10;
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  const auto add = [&]<class Set>(const char* name, Set) {
    for (const bench::index d : {64, 128})
      for (const piece which : {piece::scores, piece::values, piece::together})
        rows.push_back(piece_row<Set>(name, which, d));
  };
  using softlook::instruction_set;
  if (softlook::detail::can_run(instruction_set::avx512)) add("avx512", avx512_room::pieces{});
  if (softlook::detail::can_run(instruction_set::avx2)) add("avx2", avx2_room::pieces{});
  return bench::run_rows(argc, argv, std::move(rows));
}

#else
int main() {}
#endif
