#pragma once

#include "softlook/engine/kernels/args.hpp"

// The arguments of the recurrent loop: see engine/stamped/recurrent/recurrent.inl.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What the loop does to features itself; anything else has been done before.
enum class feature_kind { as_given, elu_plus_one, relu };

/// By what an output row is divided; x = φ(q)·z.
enum class divisor_kind { one, sum, retention };

/// Tokens whose pairs are computed at once. The state costs the same work for any length, pairs
/// cost in proportion to it; 32 keeps the reading and writing of the state small beside its
/// products.
inline constexpr index recurrent_chunk = 32;

/// Rows of a state are whole vectors of any instruction set.
inline constexpr index state_step = 16;

/// The state of one head in memory: S (features × values, row-major with zeros behind), the sum z
/// of the keys, and the sum of the decays, each decayed like S.
struct state_shape {
  index features = 0;
  index values = 0;

  [[nodiscard]] constexpr index rows() const {
    return round_up(features > 0 ? features : 1, state_step);
  }
  [[nodiscard]] constexpr index stride() const { return round_up(values, state_step); }
  [[nodiscard]] constexpr index key_sum() const { return rows() * stride(); }
  [[nodiscard]] constexpr index decay_sum() const { return key_sum() + rows(); }
  [[nodiscard]] constexpr index total() const { return decay_sum() + state_step; }
};

/// Where a worker keeps what, in scalars.
struct recurrent_layout {
  index panels = 0;      // S and below it the chunk's (pseudo-)values, in panels of columns
  index rows = 0;        // queries of a head, and beside each row its scores
  index solve_rows = 0;  // delta rule: keys, and beside each row its products with earlier keys
  index keys = 0, transposed = 0;
  index pairs = 0;  // decay between two tokens
  index decays = 0, since = 0, strengths = 0, factors = 0, positions = 0;  // chunk long each
  index sums = 0;                                                          // z, then ones
  index poison = 0, poisoned = 0;
  index total = 0;

  [[nodiscard]] static constexpr recurrent_layout of(const state_shape& s, bool gated, bool delta) {
    constexpr index chunk = recurrent_chunk;
    recurrent_layout l;
    const auto place = [&](index& at, index count) {
      at = l.total;
      l.total += round_up(count, state_step);
    };
    const index line = s.rows() + chunk;
    place(l.panels, line * s.stride());
    place(l.rows, chunk * line);
    place(l.solve_rows, delta ? chunk * line : 0);
    place(l.keys, chunk * s.rows());
    place(l.transposed, chunk * s.rows());
    place(l.pairs, gated ? chunk * chunk : 0);
    for (index* at : {&l.decays, &l.since, &l.strengths, &l.factors, &l.positions})
      place(*at, chunk);
    place(l.sums, line);
    place(l.poison, chunk * s.stride());
    place(l.poisoned, s.stride());
    return l;
  }
};

/// Scalars that one token at a time needs: key, query, decay, decayed key; value.
[[nodiscard]] constexpr index token_scratch(const state_shape& s) {
  return 4 * s.rows() + s.stride();
}

/// One head of keys and values and the query heads that share it, for the rows of the views.
template <class T>
struct recurrent_args {
  bool updates_state = true;  // K and V join the state
  bool writes_output = true;  // Q makes O
  matrix_view<T> Q;           // n×(group·d)
  matrix_view<T> K;           // n×d
  matrix_view<T> V;           // n×e
  mutable_matrix_view<T> O;   // n×(group·e), or some columns of each query head
  index heads_apart = 0;      // from the columns of a query head to those of the next in O
  index group = 1;
  feature_kind map = feature_kind::as_given;
  T scale = 1;          // of the mapped queries
  matrix_view<T> gate;  // n×1, n×features, or a row with stride 0 for all tokens; or no data
  bool log_gate = false;
  matrix_view<T> strength;  // delta rule: n×1; or no data
  divisor_kind divisor = divisor_kind::one;
  T epsilon = 0;
  state_shape shape;
  T* state = nullptr;
  recurrent_layout layout;
};

/// Rows of projections w·x on their way to positive random features.
template <class T>
struct random_feature_rows {
  T* data = nullptr;
  index stride = 0;
  index rows = 0;
  index features = 0;
  const T* half_norms = nullptr;  // |x|²/2 of each row; or none
  bool by_row = false;            // also subtract the largest of a row
  T shift = 0;
  T factor = 1;
  T epsilon = 0;
};

template <class T>
struct recurrent_kernels {
  void (*tokens)(const recurrent_args<T>&, T* scratch) = nullptr;  // one after another
  void (*load)(const recurrent_args<T>&, T* scratch) = nullptr;    // the state into panels
  void (*chunks)(const recurrent_args<T>&, T* scratch) = nullptr;
  void (*store)(const recurrent_args<T>&, T* scratch) = nullptr;  // panels into the state
  void (*random_features)(const random_feature_rows<T>&) = nullptr;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
