// Dropout of weights: the words of many Philox counters at a time.
//   \see Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011, section 4.
//
// The words are those of philox() (core/random.hpp), which the materialised path asks for one
// counter after the other.

template <class T>
using words = typename simd<T>::words;

/// Counters, one for each lane of a vector of T. A word is the low half of 64 bits, as products of
/// words want it; what is above is not looked at. Floats have two vectors of them: those of even
/// lanes and of odd ones.
template <class T>
struct philox_lanes {
  static constexpr int parts = int(sizeof(std::uint64_t) / sizeof(T));
  uint64_vector word[parts][4];

  SOFTLOOK_ALWAYS_INLINE void set(int k, std::uint64_t same) {
#pragma GCC unroll 2
    for (int part = 0; part < parts; ++part) word[part][k] = uint64_vector{} + same;
  }
  SOFTLOOK_ALWAYS_INLINE void set(int k, const std::int32_t* of_lanes) {
    if constexpr (parts == 2) {
      __builtin_memcpy(&word[0][k], of_lanes, vector_bytes);
      word[1][k] = word[0][k] >> 32;
    } else {
      std::uint64_t wide[lanes<T>];
      for (int l = 0; l < lanes<T>; ++l) wide[l] = std::uint64_t(of_lanes[l]);
      __builtin_memcpy(&word[0][k], wide, vector_bytes);
    }
  }
  /// A word of each lane.
  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE words<T> lanes_of(int k) const {
    const uint64_vector even = word[0][k] & 0xFFFFFFFF;
    return (words<T>)(parts == 1 ? even : even | word[parts - 1][k] << 32);
  }
};

/// What a call draws, and what becomes of a weight.
template <class T>
class weight_drop {
  static constexpr int rounds = 10;
  uint64_vector keys_[rounds][2];
  std::uint64_t head_, sequence_;
  words<T> threshold_;
  vec<T> minus_kept_;

 public:
  SOFTLOOK_ALWAYS_INLINE weight_drop(const dropout& d, problem whole)
      : head_(std::uint32_t(whole.head)),
        sequence_(std::uint32_t(whole.sequence)),
        threshold_(words<T>{} + (typename simd<T>::word)(d.probability * 0x1p32)),
        minus_kept_(broadcast(T(-1 / (1 - d.probability)))) {
    std::uint32_t k0 = std::uint32_t(d.seed), k1 = std::uint32_t(d.seed >> 32);
    for (int r = 0; r < rounds; ++r, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
      keys_[r][0] = uint64_vector{} + k0;
      keys_[r][1] = uint64_vector{} + k1;
    }
  }

  /// Words of counters whose first two are set. All rounds in one piece: a compiler then computes
  /// once what even and odd lanes share in the first of them.
  SOFTLOOK_ALWAYS_INLINE void draw(philox_lanes<T>& c) const {
    const uint64_vector multiplier0 = uint64_vector{} + 0xD2511F53,
                        multiplier1 = uint64_vector{} + 0xCD9E8D57;
    c.set(2, head_);
    c.set(3, sequence_);
#pragma GCC unroll 10
    for (int r = 0; r < rounds; ++r)
#pragma GCC unroll 2
      for (int part = 0; part < c.parts; ++part) {
        uint64_vector(&x)[4] = c.word[part];
        const uint64_vector product0 = product_of_low_halves(x[0], multiplier0),
                            product1 = product_of_low_halves(x[2], multiplier1);
        x[0] = (product1 >> 32) ^ x[1] ^ keys_[r][0];
        x[1] = product1;
        x[2] = (product0 >> 32) ^ x[3] ^ keys_[r][1];
        x[3] = product0;
      }
  }

  /// A dropped weight becomes −0, which touches no value, not even one that is not finite.
  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE vec<T> edited(vec<T> weights, words<T> drawn) const {
    using bits = typename simd<T>::bits;
    const bits stays = (bits)(drawn >= threshold_);
    return (vec<T>)(((bits)(weights * minus_kept_) & stays) ^ (bits)broadcast(T(-0.0)));
  }
};

/// Weights of some keys and of the queries in the lanes of vectors [from, to).
template <class T>
inline void drop_from_queries(const weight_drop<T>& drop, T* P, const weight_edit& at, index first,
                              index keys, int from, int to) {
  const index stride = at.key_stride;
  for (index r = -(first % 4); r < keys; r += 4) {
    const bool whole = r >= 0 && r + 4 <= keys;
    for (int v = from; v < to; ++v) {
      philox_lanes<T> c;
      c.set(0, std::uint64_t((first + r) / 4));
      c.set(1, at.positions + v * lanes<T>);
      drop.draw(c);
      T* weights = P + r * stride + v * lanes<T>;
#pragma GCC unroll 4
      for (int word = 0; word < 4; ++word, weights += stride)
        if (whole || (r + word >= 0 && r + word < keys))
          store(weights, drop.edited(load(weights), c.lanes_of(word)));
    }
  }
}

/// Weights of a query and of keys behind one another: lanes are groups of four keys.
template <class T>
inline void drop_from_keys(const weight_drop<T>& drop, T* P, const weight_edit& at, index first,
                           index keys) {
  constexpr index block = 4 * lanes<T>;
  for (index r = -(first % 4); r < keys; r += block) {
    std::int32_t groups[lanes<T>];
    for (int l = 0; l < lanes<T>; ++l) groups[l] = std::int32_t((first + r) / 4 + l);
    philox_lanes<T> c;
    c.set(0, groups);
    c.set(1, std::uint64_t(at.positions[0]));
    drop.draw(c);
    alignas(vector_bytes) typename simd<T>::word in_order[block];
#pragma GCC unroll 4
    for (int word = 0; word < 4; ++word) {
      const words<T> drawn = c.lanes_of(word);
      for (int l = 0; l < lanes<T>; ++l) in_order[4 * l + word] = drawn[l];
    }
    for (index x = 0; x < block; x += lanes<T>) {
      const index begin = r + x < 0 ? -(r + x) : 0;
      const index end = keys - r - x < lanes<T> ? keys - r - x : lanes<T>;
      words<T> drawn;
      __builtin_memcpy(&drawn, in_order + x, sizeof drawn);
      T* const weights = P + r + x;
      if (begin == 0 && end == lanes<T>) {
        store(weights, drop.edited(load(weights), drawn));
      } else {
        vec<T> some = {};
        for (index l = begin; l < end; ++l) some[l] = weights[l];
        some = drop.edited(some, drawn);
        for (index l = begin; l < end; ++l) weights[l] = some[l];
      }
    }
  }
}

/// Of all runs. Private keys are never dropped.
template <class T, bool QueriesInLanes>
inline void drop_weights(const void* given, T* P, const weight_edit& at, const call_frame& f,
                         problem whole) {
  const weight_drop<T> drop(*static_cast<const dropout*>(given), whole);
  const range shared{0, f.shared_keys(at.keys)};
  for (const product_run* run = at.runs; run < at.runs + at.count; ++run) {
    const index key = at.first_key + run->row;
    const index keys = intersection({key, key + run->steps}, shared).count();
    // Neighbours share a counter; keys of a striped sequence have none.
    const index together = f.key_stride == 1 ? keys : 1;
    for (index r = 0; r < keys; r += together) {
      T* const weights = P + r * at.key_stride;
      if constexpr (QueriesInLanes)
        drop_from_queries(drop, weights, at, f.key(key + r), together, run->from, run->to);
      else
        drop_from_keys(drop, weights, at, f.key(key + r), together);
    }
    P += run->steps * at.key_stride;
  }
}
