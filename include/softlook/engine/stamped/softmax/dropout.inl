// Dropout of weights: the words of many Philox counters at a time.
//   \see Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011, section 4.
//
// The words are those of philox() (core/random.hpp), which the materialised path asks for one
// counter after the other.

template <class T>
using words = typename simd<T>::words;

// A word of counters is one number where all lanes have the same, else a vector: then rounds draw
// once what lanes share, and a compiler takes it out of the loop over them. A word is the low half
// of 64 bits, as products of words want it; what is above is not looked at.
SOFTLOOK_ALWAYS_INLINE std::uint64_t product_with(std::uint64_t word, std::uint32_t multiplier) {
  return (word & 0xFFFFFFFF) * multiplier;
}
SOFTLOOK_ALWAYS_INLINE uint64_vector product_with(uint64_vector word, std::uint32_t multiplier) {
  return product_of_low_halves(word, uint64_vector{} + multiplier);
}

/// A key of a round, as a number and in all lanes.
struct round_key {
  std::uint64_t one;
  uint64_vector all;
};

/// high ^ word ^ key, numbers first.
template <class High, class Word>
SOFTLOOK_ALWAYS_INLINE auto mixed(High high, Word word, const round_key& key) {
  constexpr bool one_high = std::is_same_v<High, std::uint64_t>;
  constexpr bool one_word = std::is_same_v<Word, std::uint64_t>;
  if constexpr (one_high && one_word)
    return high ^ word ^ key.one;
  else if constexpr (one_high)
    return word ^ (uint64_vector{} + (high ^ key.one));
  else if constexpr (one_word)
    return high ^ (uint64_vector{} + (word ^ key.one));
  else
    return high ^ word ^ key.all;
}

inline constexpr int philox_rounds = 10;

/// Words of counters after the rounds from Round on.
template <int Round, class A, class B, class C, class D>
SOFTLOOK_ALWAYS_INLINE void draw(A x0, B x1, C x2, D x3, const round_key (&keys)[philox_rounds][2],
                                 uint64_vector (&drawn)[4]) {
  if constexpr (Round == philox_rounds) {
    drawn[0] = x0, drawn[1] = x1, drawn[2] = x2, drawn[3] = x3;
  } else {
    const auto product0 = product_with(x0, 0xD2511F53);
    const auto product1 = product_with(x2, 0xCD9E8D57);
    draw<Round + 1>(mixed(product1 >> 32, x1, keys[Round][0]), product1,
                    mixed(product0 >> 32, x3, keys[Round][1]), product0, keys, drawn);
  }
}

/// The low halves of the first, where they lie, and those of the second in the lanes between them.
template <std::size_t... L>
SOFTLOOK_ALWAYS_INLINE uint32_vector interleaved(uint64_vector first, uint64_vector second,
                                                 std::index_sequence<L...>) {
  constexpr std::size_t low = std::endian::native == std::endian::little ? 0 : 1;
  return __builtin_shufflevector((uint32_vector)first, (uint32_vector)second,
                                 int((L % 2 == low ? 0 : sizeof...(L)) + L / 2 * 2 + low)...);
}

/// Words of the counters of a vector of T. Floats have two vectors of them: those of even lanes and
/// those of odd ones.
template <class T>
struct drawn_words {
  static constexpr int parts = int(sizeof(std::uint64_t) / sizeof(T));
  uint64_vector part[parts][4];

  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE words<T> operator[](int k) const {
    if constexpr (parts == 2)
      return interleaved(part[0][k], part[1][k], std::make_index_sequence<std::size_t(lanes<T>)>{});
    else
      return part[0][k] & 0xFFFFFFFF;
  }
};

/// What a call draws, and what becomes of a weight.
template <class T>
class weight_drop {
  round_key keys_[philox_rounds][2];
  std::uint64_t head_, sequence_;
  words<T> threshold_;
  vec<T> kept_;

  [[nodiscard]] static SOFTLOOK_ALWAYS_INLINE std::uint64_t part_of(std::uint64_t same, int) {
    return same;
  }
  /// The words of one part of lanes.
  [[nodiscard]] static SOFTLOOK_ALWAYS_INLINE uint64_vector part_of(const std::int32_t* of_lanes,
                                                                    int part) {
    uint64_vector word;
    if constexpr (drawn_words<T>::parts == 2) {
      __builtin_memcpy(&word, of_lanes, vector_bytes);
      if (part == 1) word >>= 32;
    } else {
      std::uint64_t wide[lanes<T>];
      for (int l = 0; l < lanes<T>; ++l) wide[l] = std::uint32_t(of_lanes[l]);
      __builtin_memcpy(&word, wide, vector_bytes);
    }
    return word;
  }

 public:
  SOFTLOOK_ALWAYS_INLINE weight_drop(const dropout& d, problem whole)
      : head_(std::uint32_t(whole.head)),
        sequence_(std::uint32_t(whole.sequence)),
        threshold_(words<T>{} + (typename simd<T>::word)(d.probability * 0x1p32)),
        kept_(broadcast(T(1 / (1 - d.probability)))) {
    std::uint32_t k0 = std::uint32_t(d.seed), k1 = std::uint32_t(d.seed >> 32);
    for (int r = 0; r < philox_rounds; ++r, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
      keys_[r][0] = {k0, uint64_vector{} + k0};
      keys_[r][1] = {k1, uint64_vector{} + k1};
    }
  }

  /// Of counters that begin with a group of keys and a query: one has a number for each lane.
  template <class Group, class Query>
  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE drawn_words<T> drawn(Group group, Query query) const {
    drawn_words<T> words_of;
#pragma GCC unroll 2
    for (int part = 0; part < words_of.parts; ++part)
      draw<0>(part_of(group, part), part_of(query, part), head_, sequence_, keys_,
              words_of.part[part]);
    return words_of;
  }

  /// A dropped weight becomes −0, which touches no value, not even one that is not finite.
  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE vec<T> edited(vec<T> weights, words<T> drawn) const {
    return drawn >= threshold_ ? weights * kept_ : broadcast(T(-0.0));
  }
};

/// Weights of a group's keys [begin, end), `stride` apart, and of the queries in the lanes of
/// vectors [from, to).
template <class T>
SOFTLOOK_ALWAYS_INLINE void drop_group(const weight_drop<T>& drop, std::uint64_t group, T* weights,
                                       index stride, const std::int32_t* positions, int from,
                                       int to, index begin, index end) {
  for (int v = from; v < to; ++v) {
    const drawn_words<T> drawn = drop.drawn(group, positions + v * lanes<T>);
#pragma GCC unroll 4
    for (int word = 0; word < 4; ++word) {
      if (word < begin || word >= end) continue;
      T* const some = weights + word * stride + v * lanes<T>;
      store(some, drop.edited(load(some), drawn[word]));
    }
  }
}

/// Weights of some keys and of the queries in the lanes of vectors [from, to).
template <class T>
inline void drop_from_queries(const weight_drop<T>& given, T* P, const weight_edit& at, index first,
                              index keys, int from, int to) {
  const weight_drop<T> drop = given;  // which no store of a weight can change
  const index stride = at.key_stride;
  const std::int32_t* const positions = at.positions;
  for (index r = -(first % 4); r < keys; r += 4) {
    const auto group = std::uint64_t((first + r) / 4);
    T* const weights = P + r * stride;
    if (r >= 0 && r + 4 <= keys)  // known numbers, no branch for each vector
      drop_group(drop, group, weights, stride, positions, from, to, 0, 4);
    else
      drop_group(drop, group, weights, stride, positions, from, to, -r, keys - r);
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
    const drawn_words<T> all = drop.drawn(&groups[0], std::uint64_t(at.positions[0]));
    alignas(vector_bytes) typename simd<T>::word in_order[block];
#pragma GCC unroll 4
    for (int word = 0; word < 4; ++word) {
      const words<T> drawn = all[word];
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
