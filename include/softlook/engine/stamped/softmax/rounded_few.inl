// Few queries over keys and values of 8 bits, multiplied as they are stored. A query is rounded to
// multiples of its largest magnitude over 127, weights of 256 keys, times the scales of their
// values, to multiples of their largest over 65535. Sums are integers, so no order of them changes
// a bit.

/// Keys whose weights share a scale: 256·65535·127 is below 2^31.
inline constexpr index weight_block_keys = 256;

/// Numbers are rounded to multiples of `scale`, up to `steps` of them; not to any where one is not
/// finite.
struct rounding_scale {
  float scale;
  float inverse;
  SOFTLOOK_ALWAYS_INLINE rounding_scale(const float* x, index count, float steps) {
    uint32_vector sizes = {};
    for (index k = 0; k < count; k += lanes<float>) raise_to_sizes(sizes, x + k);
    const std::uint32_t bits = largest_lane(sizes);
    float most;
    __builtin_memcpy(&most, &bits, sizeof most);
    const bool finite = bits < 0x7f800000U, used = finite && most >= 1e-30F;
    scale = !finite ? __builtin_nanf("") : used ? most / steps : 0;
    inverse = used ? steps / most : 0;
  }
};

template <class Group>
SOFTLOOK_ALWAYS_INLINE vec<Group> groups_from(const void* p) {
  vec<Group> x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

/// scores[k] = q̂ · row k
template <class Group>
void dot_rounded(const row_source<float>& source, range rows, const float* q, float* scores) {
  constexpr int n = lanes<float>;
  const index columns = source.cols;
  alignas(64) std::uint8_t rounded[most_rounded_columns];
  const vec<Group> sign = vec<Group>{} + std::int32_t(0x80808080);
  const rounding_scale round(q, columns, 127.0F);
  for (index c = 0; c < columns; c += n) round_to_bytes(q + c, round.inverse, rounded + c);
  // A row plus 128 is what has no sign: 128·Σ q̂ is taken off again.
  vec<Group> offsets = {};
  for (index c = 0; c < columns; c += vector_bytes) {
    const vec<Group> x = groups_from<Group>(rounded + c) ^ sign;
    own_step<Group>::multiply(offsets, sign, x);
    __builtin_memcpy(rounded + c, &x, sizeof x);
  }
  std::int32_t offset = 0;
  for (int l = 0; l < n; ++l) offset += offsets[l];
  for (index r = rows.begin; r < rows.end;) {
    const stored_run<std::int8_t> run = first_run<float, std::int8_t, true>(source, {r, rows.end});
    const std::int8_t* row = run.data;
    const index ahead = asked_ahead(run, columns);
    for (index j = 0; j < run.rows; j += n) {
      vec<Group> sum[n];
      alignas(64) float scales[n] = {};
      const index count = run.rows - j < n ? run.rows - j : n;
      for (index k = count; k < n; ++k) sum[k] = vec<Group>{};
#pragma GCC unroll 1
      for (index k = 0; k < count; ++k, row += run.row_stride) {
        vec<Group> s = {};
#pragma GCC unroll 1
        for (index c = 0; c < columns; c += vector_bytes) {
          if (c % 64 == 0) prefetch(row + c, ahead);
          own_step<Group>::multiply(s, groups_from<Group>(row + c) ^ sign,
                                    groups_from<Group>(rounded + c));
        }
        sum[k] = s;
        scales[k] = run.scales[(j + k) * run.scale_stride];
      }
      const vec<Group> whole = sum_each<Group, 1>(sum) - offset;
      const float_vector all =
          __builtin_convertvector(whole, float_vector) * broadcast(round.scale) * load(scales);
      __builtin_memcpy(scores + (r - rows.begin) + j, &all, std::size_t(count) * sizeof(float));
    }
    r += run.rows;
  }
}

#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES >= 32
#define SOFTLOOK_STAMP_JOIN(name, instruction)                               \
  SOFTLOOK_ALWAYS_INLINE int32_vector name(int32_vector a, int32_vector b) { \
    int32_vector x;                                                          \
    __asm__(instruction " {%2, %1, %0|%0, %1, %2}"                           \
            : "=" SOFTLOOK_STAMP_REGISTER(x)                                 \
            : SOFTLOOK_STAMP_REGISTER(a), SOFTLOOK_STAMP_REGISTER(b));       \
    return x;                                                                \
  }
SOFTLOOK_STAMP_JOIN(join_low_bytes, "vpunpcklbw")
SOFTLOOK_STAMP_JOIN(join_high_bytes, "vpunpckhbw")
SOFTLOOK_STAMP_JOIN(join_low_words, "vpunpcklwd")
SOFTLOOK_STAMP_JOIN(join_high_words, "vpunpckhwd")
#undef SOFTLOOK_STAMP_JOIN
#endif

/// Four rows of vector_bytes numbers become four vectors of columns, each a group of four rows:
/// that of column 16·L + 4·i + t lies in lane 4·L + t of vector i.
template <class Group>
SOFTLOOK_ALWAYS_INLINE void gather_rows(const std::int8_t* a, const std::int8_t* b,
                                        const std::int8_t* c, const std::int8_t* d,
                                        vec<Group> (&to)[4]) {
#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES >= 32
  if constexpr (std::is_same_v<Group, int8_quad>) {
    const vec<Group> x = groups_from<Group>(a), y = groups_from<Group>(b);
    const vec<Group> z = groups_from<Group>(c), w = groups_from<Group>(d);
    const vec<Group> low_xy = join_low_bytes(x, y), low_zw = join_low_bytes(z, w);
    const vec<Group> high_xy = join_high_bytes(x, y), high_zw = join_high_bytes(z, w);
    to[0] = join_low_words(low_xy, low_zw);
    to[1] = join_high_words(low_xy, low_zw);
    to[2] = join_low_words(high_xy, high_zw);
    to[3] = join_high_words(high_xy, high_zw);
    return;
  }
#endif
  alignas(64) std::int8_t all[4][vector_bytes];
  for (int x = 0; x < vector_bytes; ++x) {
    std::int8_t* const at = &all[x % 16 / 4][(x / 16 * 4 + x % 4) * 4];
    at[0] = a[x];
    at[1] = b[x];
    at[2] = c[x];
    at[3] = d[x];
  }
  for (int i = 0; i < 4; ++i) to[i] = groups_from<Group>(all[i]);
}

/// Weights of up to 256 keys in two bytes each, zeros behind them: four lie in a group.
struct rounded_weights {
  alignas(64) std::uint8_t upper[weight_block_keys];
  alignas(64) std::uint8_t lower[weight_block_keys];
  float scale;
};

/// output += Σ ŵ of some keys · their values, for vector_bytes columns.
template <class Group>
__attribute__((noinline)) inline void add_rounded_columns(const std::int8_t* first, index stride,
                                                          index count, const rounded_weights& w,
                                                          float* output) {
  alignas(64) static constexpr std::int8_t nothing[64] = {};
  const auto spread = [](const std::uint8_t* p, vec<Group>& to) SOFTLOOK_STAMP_LAMBDA {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    to = vec<Group>{} + four;
  };
  vec<Group> high[4] = {}, low[4] = {}, rows[4], upper, lower;
#pragma GCC unroll 1
  for (index k = 0; k < count; k += 4, first += 4 * stride) {
    gather_rows<Group>(first, k + 1 < count ? first + stride : nothing,
                       k + 2 < count ? first + 2 * stride : nothing,
                       k + 3 < count ? first + 3 * stride : nothing, rows);
    spread(w.upper + k, upper);
    spread(w.lower + k, lower);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      own_step<Group>::multiply(high[i], upper, rows[i]);
      own_step<Group>::multiply(low[i], lower, rows[i]);
    }
  }
  alignas(64) std::int32_t sums[vector_bytes];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    alignas(64) std::int32_t part[lanes<float>];
    const vec<Group> sum = (high[i] << 8) + low[i];
    __builtin_memcpy(part, &sum, sizeof sum);
#pragma GCC unroll 4
    for (int l = 0; l < lanes<float>; l += 4) __builtin_memcpy(sums + 4 * l + 4 * i, part + l, 16);
  }
#pragma GCC unroll 4
  for (int c = 0; c < vector_bytes; c += lanes<float>) {
    float_vector added =
        __builtin_convertvector(groups_from<Group>(sums + c), float_vector) * broadcast(w.scale);
    SOFTLOOK_STAMP_OPAQUE(added);  // not a multiply-add: sets without one would give other bits
    store(output + c, load(output + c) + added);
  }
}

/// output += Σ ŵ_k · row k, as few queries ask for.
template <class Group>
void add_rounded(const row_source<float>& source, range rows, const float* weights, float* output) {
  typedef std::uint8_t bytes __attribute__((vector_size(vector_bytes / 4)));
  for (index r = rows.begin; r < rows.end;) {
    const index wanted = rows.end - r < weight_block_keys ? rows.end - r : weight_block_keys;
    const stored_run<std::int8_t> run =
        first_run<float, std::int8_t, true>(source, {r, r + wanted});
    alignas(64) float w[weight_block_keys];
    const index whole = round_up(run.rows, index(lanes<float>));
    for (index k = 0; k < run.rows; ++k)
      w[k] = weights[r - rows.begin + k] * run.scales[k * run.scale_stride];
    for (index k = run.rows; k < whole; ++k) w[k] = 0;
    const rounding_scale round(w, whole, 65535.0F);
    rounded_weights two;
    two.scale = round.scale;
    for (index k = 0; k < whole; k += lanes<float>) {
      float_vector scaled = load(w + k) * broadcast(round.inverse);
      SOFTLOOK_STAMP_OPAQUE(scaled);
      const uint32_vector bits = (uint32_vector)(scaled + broadcast(12582912.0F));
      const bytes upper = __builtin_convertvector(bits >> 8 & 255U, bytes);
      const bytes lower = __builtin_convertvector(bits & 255U, bytes);
      __builtin_memcpy(two.upper + k, &upper, sizeof upper);
      __builtin_memcpy(two.lower + k, &lower, sizeof lower);
    }
    for (index c = 0; c < source.cols; c += vector_bytes)
      add_rounded_columns<Group>(run.data + c, run.row_stride, run.rows, two, output + c);
    r += run.rows;
  }
}

/// Rows of 8 bits, read as others but multiplied as they are.
template <class Group>
[[nodiscard]] constexpr row_functions<float> rounded_row_functions() {
  row_functions<float> f = row_functions_of<float, std::int8_t, true>();
  f.dot = &dot_rounded<Group>;
  f.add = &add_rounded<Group>;
  f.finite = true;
  return f;
}
template <class Group>
inline constexpr row_functions<float> rounded_stored_rows = rounded_row_functions<Group>();
