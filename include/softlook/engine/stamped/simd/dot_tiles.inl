// Tile registers: two blocks of 16 rows of sums, each 16 columns wide three times; a tile of rows
// of X and one of columns of W, 16 groups deep. `Tiles` name what works on them: instructions
// (AMX), or others that give the same bits.

inline constexpr int tile_side = 16;
inline constexpr int tile_columns = 3;
inline constexpr int tile_blocks = 2;

#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 64

/// The compiler has no use for these registers, so no statement says that it changes them.
template <class Group>
class amx_tiles {
 public:
  using group = Group;
  /// Of so many rows of X, 16 at most; sums have as many.
  SOFTLOOK_ALWAYS_INLINE explicit amx_tiles(int rows) {
    struct {
      std::uint8_t palette = 1, start = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    } shape;
    for (int t = 0; t < 8; ++t) {
      shape.row_bytes[t] = 64;
      shape.rows[t] = std::uint8_t(t == 7 ? tile_side : rows);
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(shape));
  }
  amx_tiles(const amx_tiles&) = delete;
  amx_tiles& operator=(const amx_tiles&) = delete;
  SOFTLOOK_ALWAYS_INLINE ~amx_tiles() { __asm__ volatile("tilerelease" ::: "memory"); }

  template <int Blocks>
  SOFTLOOK_ALWAYS_INLINE void clear() {
    __asm__ volatile(
        "tilezero {%%tmm0|tmm0}\n\ttilezero {%%tmm1|tmm1}\n\ttilezero {%%tmm2|tmm2}" ::);
    if constexpr (Blocks == 2)
      __asm__ volatile(
          "tilezero {%%tmm3|tmm3}\n\ttilezero {%%tmm4|tmm4}\n\ttilezero {%%tmm5|tmm5}" ::);
  }
  SOFTLOOK_ALWAYS_INLINE void load_x(const void* at, index row_bytes) {
    __asm__ volatile("tileloadd {(%0,%1,1), %%tmm6|tmm6, [%0+%1*1]}"
                     :
                     : "r"(at), "r"(row_bytes)
                     : "memory");
  }
  SOFTLOOK_ALWAYS_INLINE void load_w(const void* at, index row_bytes) {
    __asm__ volatile("tileloadd {(%0,%1,1), %%tmm7|tmm7, [%0+%1*1]}"
                     :
                     : "r"(at), "r"(row_bytes)
                     : "memory");
  }
  /// sums of a block and columns += X · W
  template <int Block, int Column>
  SOFTLOOK_ALWAYS_INLINE void add() {
#define SOFTLOOK_STAMP_TILE_DOT(k)                                                          \
  if constexpr (Block * tile_columns + Column == k) {                                       \
    if constexpr (std::is_same_v<Group, int8_quad>)                                         \
      __asm__ volatile("tdpbusd {%%tmm7, %%tmm6, %%tmm" #k "|tmm" #k ", tmm6, tmm7}" ::);   \
    else                                                                                    \
      __asm__ volatile("tdpbf16ps {%%tmm7, %%tmm6, %%tmm" #k "|tmm" #k ", tmm6, tmm7}" ::); \
  }
    SOFTLOOK_STAMP_TILE_DOT(0)
    SOFTLOOK_STAMP_TILE_DOT(1)
    SOFTLOOK_STAMP_TILE_DOT(2)
    SOFTLOOK_STAMP_TILE_DOT(3)
    SOFTLOOK_STAMP_TILE_DOT(4)
    SOFTLOOK_STAMP_TILE_DOT(5)
#undef SOFTLOOK_STAMP_TILE_DOT
  }
  template <int Block, int Column>
  SOFTLOOK_ALWAYS_INLINE void store(void* at, index row_bytes) const {
#define SOFTLOOK_STAMP_TILE_STORE(k)                                            \
  if constexpr (Block * tile_columns + Column == k)                             \
    __asm__ volatile("tilestored {%%tmm" #k ", (%0,%1,1)|[%0+%1*1], tmm" #k "}" \
                     :                                                          \
                     : "r"(at), "r"(row_bytes)                                  \
                     : "memory");
    SOFTLOOK_STAMP_TILE_STORE(0)
    SOFTLOOK_STAMP_TILE_STORE(1)
    SOFTLOOK_STAMP_TILE_STORE(2)
    SOFTLOOK_STAMP_TILE_STORE(3)
    SOFTLOOK_STAMP_TILE_STORE(4)
    SOFTLOOK_STAMP_TILE_STORE(5)
#undef SOFTLOOK_STAMP_TILE_STORE
  }
};

#endif

/// The same of pairs of bfloat16 in vectors. Sums of the first numbers and of the second numbers of
/// the 16 pairs of a row begin anew with each tile.
class emulated_tiles {
 public:
  using group = emulated_pair;
  explicit emulated_tiles(int rows) : rows_(rows) {}
  template <int Blocks>
  void clear() {
    __builtin_memset(sums_, 0, sizeof sums_);
  }
  void load_x(const void* at, index row_bytes) { load(at, row_bytes, rows_, x_); }
  void load_w(const void* at, index row_bytes) { load(at, row_bytes, tile_side, w_); }
  template <int Block, int Column>
  void add() {
    for (int r = 0; r < rows_; ++r)
      for (int c = 0; c < tile_side; c += lanes<float>) {
        float_vector first = {}, second = {};
        for (int k = 0; k < tile_side; ++k) {
          const uint32_vector x = uint32_vector{} + x_[r][k];
          uint32_vector w;
          __builtin_memcpy(&w, &w_[k][c], sizeof w);
          add_flushed(first, first_of(x), first_of(w));
          add_flushed(second, second_of(x), second_of(w));
        }
        float* const at = &sums_[Block * tile_columns + Column][r][c];
        const float_vector both = without_subnormals(first + second);
        softlook_store(at, without_subnormals(load_sum(at) + both));
      }
  }
  template <int Block, int Column>
  void store(void* at, index row_bytes) const {
    for (int r = 0; r < rows_; ++r)
      __builtin_memcpy(static_cast<std::int8_t*>(at) + r * row_bytes,
                       sums_[Block * tile_columns + Column][r], 64);
  }

 private:
  static float_vector load_sum(const float* at) {
    float_vector x;
    __builtin_memcpy(&x, at, sizeof x);
    return x;
  }
  static void softlook_store(float* at, float_vector x) { __builtin_memcpy(at, &x, sizeof x); }
  static void load(const void* from, index row_bytes, int rows, std::uint32_t (*to)[tile_side]) {
    for (int r = 0; r < rows; ++r)
      __builtin_memcpy(to[r], static_cast<const std::int8_t*>(from) + r * row_bytes, 64);
  }

  int rows_;
  std::uint32_t x_[tile_side][tile_side] = {};
  std::uint32_t w_[tile_side][tile_side] = {};
  float sums_[tile_blocks * tile_columns][tile_side][tile_side] = {};
};
