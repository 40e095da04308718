// Rows of X as groups of short numbers, filled up with zeros to whole rows of a tile.

/// The nearest bfloat16, ties to even, in the lower half of each lane; below 2^−126 zero.
SOFTLOOK_ALWAYS_INLINE uint32_vector bfloat16_bits_of(float_vector x) {
  const uint32_vector bits = (uint32_vector)x, size = bits & 0x7fffffffU, upper = bits >> 16;
  const uint32_vector nearest = (bits + 0x7fff + (upper & 1)) >> 16;
  const uint32_vector normal = size < 0x00800000U ? upper & 0x8000 : nearest;
  return size > 0x7f800000U ? upper | 0x40 : normal;
}

/// 2·lanes numbers as pairs of bfloat16.
template <class Group>
SOFTLOOK_ALWAYS_INLINE void round_to_bfloat16(const float* from, std::uint16_t* to) {
#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 64
  if constexpr (std::is_same_v<Group, bfloat16_pair>) {
    float_vector pairs;
    __asm__("vcvtne2ps2bf16 {%1, %2, %0|%0, %2, %1}"
            : "=v"(pairs)
            : "m"(*reinterpret_cast<const vector_in_memory<float>*>(from)),
              "v"(load(from + lanes<float>)));
    __builtin_memcpy(to, &pairs, sizeof pairs);
    return;
  }
#endif
  typedef std::uint16_t halves __attribute__((vector_size(vector_bytes / 2)));
  for (int part = 0; part < 2; ++part) {
    const halves h =
        __builtin_convertvector(bfloat16_bits_of(load(from + part * lanes<float>)), halves);
    __builtin_memcpy(to + part * lanes<float>, &h, sizeof h);
  }
}

/// The bits of the largest magnitude: those of NaN are above those of infinity.
SOFTLOOK_ALWAYS_INLINE void raise_to_sizes(uint32_vector& most, const float* from) {
  const uint32_vector size = (uint32_vector)load(from) & 0x7fffffffU;
  most = size > most ? size : most;
}

SOFTLOOK_ALWAYS_INLINE std::uint32_t largest_lane(uint32_vector sizes) {
  std::uint32_t most = 0;
  for (int l = 0; l < lanes<float>; ++l) most = sizes[l] > most ? sizes[l] : most;
  return most;
}

/// 128 + x·inverse, to the nearest integer, of lanes numbers: the low bits of a sum with 1.5·2^23.
SOFTLOOK_ALWAYS_INLINE void round_to_bytes(const float* from, float inverse, std::uint8_t* to) {
  typedef std::uint8_t bytes __attribute__((vector_size(vector_bytes / 4)));
  float_vector scaled = load(from) * broadcast(inverse);
  SOFTLOOK_STAMP_OPAQUE(scaled);  // not a multiply-add: sets without one would give other bits
  const uint32_vector shifted = (uint32_vector)(scaled + broadcast(12582912.0F));
  const bytes b = __builtin_convertvector(shifted + std::uint32_t(int8_offset), bytes);
  __builtin_memcpy(to, &b, sizeof b);
}

/// f(from, column) for blocks of `Count` numbers of a row, the last one filled up with zeros.
template <int Count, class F>
SOFTLOOK_ALWAYS_INLINE void for_each_block(const matrix_view<float>& X, index row, const F& f) {
  const float* const from = X.data + row * X.row_stride;
  index c = 0;
  if (X.col_stride == 1)
    for (; c + Count <= X.cols; c += Count) f(from + c, c);
  alignas(64) float rest[Count];
  for (; c < X.cols; c += Count) {
    for (index k = 0; k < Count; ++k) rest[k] = c + k < X.cols ? from[(c + k) * X.col_stride] : 0;
    f(rest, c);
  }
}

template <class Group>
inline constexpr bool is_quad =
    std::is_same_v<Group, int8_quad> || std::is_same_v<Group, emulated_quad>;

/// Rows of X into a.rounded: of bfloat16 numbers alone; of int8 their scale, and numbers.
template <class Group>
void round_rows(const product_args<float>& a, range rows) {
  const index bytes =
      4 * (rounded_columns(groups_of(a.X.cols, is_quad<Group> ? 4 : 2)) - row_header);
  for (index r = rows.begin; r < rows.end; ++r) {
    float* const row = a.rounded.data + r * a.rounded.row_stride;
    float* const numbers = row + row_header;
    if constexpr (is_quad<Group>) {
      uint32_vector sizes = {};
      for_each_block<lanes<float>>(a.X, r, [&](const float* from, index) SOFTLOOK_STAMP_LAMBDA {
        raise_to_sizes(sizes, from);
      });
      const std::uint32_t most = largest_lane(sizes);
      const bool finite = most < 0x7f800000U;
      float largest;
      __builtin_memcpy(&largest, &most, sizeof largest);
      float scale = largest / 127;
      if (scale < 1e-36F) scale = 0;
      const float inverse = scale > 0 && finite ? 1 / scale : 0;
      *row = finite ? scale : __builtin_nanf("");
      auto* const to = reinterpret_cast<std::uint8_t*>(numbers);
      __builtin_memset(to, int8_offset, std::size_t(bytes));
      if (inverse > 0)
        for_each_block<lanes<float>>(a.X, r, [&](const float* from, index c) SOFTLOOK_STAMP_LAMBDA {
          round_to_bytes(from, inverse, to + c);
        });
    } else {
      constexpr int count = 2 * lanes<float>;
      auto* const to = reinterpret_cast<std::uint16_t*>(numbers);
      const index used = 2 * round_up(a.X.cols, index(count));
      if (used < bytes)
        __builtin_memset(reinterpret_cast<std::int8_t*>(numbers) + used, 0,
                         std::size_t(bytes - used));
      for_each_block<count>(a.X, r, [&](const float* from, index c) SOFTLOOK_STAMP_LAMBDA {
        round_to_bfloat16<Group>(from, to + c);
      });
    }
  }
}
