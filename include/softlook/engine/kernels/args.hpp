#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/engine/kernels/edits.hpp"
#include "softlook/engine/kernels/row_source.hpp"

// What crosses the border into engine/stamped/: pointers, sizes and plain structs.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What the register micro-kernel of an instruction set works on.
struct register_shape {
  index lanes = 0;    // scalars in a vector
  index vectors = 0;  // vectors in a register tile
  index rows = 0;     // rows in a register tile
  [[nodiscard]] constexpr index width() const { return lanes * vectors; }
};

/// Where the tiled kernel keeps what, in scalars from the start of a worker's scratch.
struct tiled_layout {
  index key_tile = 0;                 // keys in a tile, a multiple of the register rows
  index query_tiles = 0;              // register tiles of queries in a task
  index values = 0;                   // values rounded up to the register rows
  index queries = 0, query_form = 0;  // packed queries; distance between forms (additive)
  index keys = 0, key_form = 0;
  index value_rows = 0, output = 0, scores = 0;
  index score_tile = 0;  // from the scores of one tile to those of the next, if there is room
  index maximum = 0, sum = 0, correction = 0;
  index query_sizes = 0, key_sizes = 0;  // additive
  index positions = 0;                   // std::int32_t
  index total = 0;
};

inline constexpr index max_query_tiles = 16;
inline constexpr index max_key_tile = 512;
inline constexpr index max_few_rows = 16;
/// Rows of values that the few-query kernel copies at a time.
inline constexpr index few_copied_rows = 32;

/// Attention of one head, with dot scores or additive ones.
template <class T, bool Additive>
struct forward_args {
  static constexpr bool additive = Additive;
  matrix_view<T> Q;
  row_source<T> keys;
  row_source<T> values;
  mutable_matrix_view<T> O;
  T* log_sum_exp = nullptr;
  index log_sum_exp_stride = 0;
  T* row_maximum =
      nullptr;  // of each query, in units of log 4, and the sum relative to it; or none
  T* row_sum = nullptr;
  problem whole;                      // what policies are told
  const call_frame* frame = nullptr;  // where the rows stand in it
  const policy_calls<T>* policy = nullptr;
  matrix_view<T> v;   // additive: 1×a
  T query_scale = 1;  // dot: multiplied into the queries. additive: multiplied into v
  T score_unit = 1;   // multiplied in after the transforms; log4 e is in one of the two
  tiled_layout layout;
};

/// Weights of some queries and keys of a head: P(i, j) is that of query first_query + i and key
/// first_key + j of the call.
template <class T>
struct weight_block {
  matrix_view<T> P;
  index first_query = 0;
  index first_key = 0;
};

/// Who takes the weights, a block after the other; entropies of the queries of the call, in nats,
/// are added up if they are wanted.
template <class T>
struct weight_request {
  void* self = nullptr;
  void (*take)(void* self, const weight_block<T>&) = nullptr;
  T* entropy = nullptr;
};

/// Where the few-query kernel keeps what, in scalars.
struct few_layout {
  index block = 0;     // keys between two steps of the online softmax
  index features = 0;  // rounded up to whole vectors
  index values = 0;
  index rows = 0;  // rows in a group
  index queries = 0, keys = 0, value_rows = 0, scores = 0, positions = 0;
  index query_form = 0, key_form = 0, query_sizes = 0, key_sizes = 0, tile = 0;  // additive
  index total = 0;
  index partial = 0;  // of one chunk: maximum, sum and output of each row
};

/// Keys of additive scores with what depends on them alone, computed once for many calls: panels of
/// a register tile's width, one block of memory. In scalars from its start.
struct packed_keys_layout {
  index form = 0;     // distance between the keys, their exponentials and their tangents
  index largest = 0;  // magnitude of each key
  index bounds = 0;   // least and most of them in each panel
  index total = 0;
};

/// A few rows (head, query) that share one head of keys and values: row r is query r % n of query
/// head r / n.
template <class T, bool Additive>
struct few_args {
  forward_args<T, Additive> head;  // Q, O and log_sum_exp of the first query head of the group
  index head_stride_Q = 0;
  index head_stride_O = 0;
  index head_stride_log_sum_exp = 0;
  range rows;
  few_layout layout;
  const T* packed = nullptr;  // additive: what pack_all_keys() wrote, or K is packed as it is read
  packed_keys_layout packed_at;
  T* weights = nullptr;  // rows × keys, or none are wanted
  index weights_stride = 0;
};

/// One query of each head, and keys and values that no policy tells apart: a step over a short
/// cache. Head h reads those of head h / group; strides are from a head to the next.
template <class T>
struct single_query_args {
  const T* Q = nullptr;  // columns of a head are contiguous
  row_source<T> keys;    // of the first head
  row_source<T> values;
  T* O = nullptr;            // as Q
  T* log_sum_exp = nullptr;  // or none
  index head_stride_Q = 0;
  index head_stride_K = 0;
  index head_stride_V = 0;
  index head_stride_O = 0;
  index head_stride_log_sum_exp = 0;
  index heads = 1;
  index group = 1;
  T query_scale = 1;
};

inline constexpr index max_single_keys = 128;
inline constexpr index max_single_features = 256;

/// Columns in a panel of packed weights: three of the widest vectors, which is a whole number of
/// register tiles in every instruction set.
template <class T>
inline constexpr int packed_panel_width = 192 / int(sizeof(T));

template <class T>
struct product_args;
template <class T>
using product_kernel = void (*)(const product_args<T>&, range rows, range columns);
template <class T>
using rounding_kernel = void (*)(const product_args<T>&, range rows);

/// Y = f(X·W + bias) ∘ factor + residual: X n×k, W k×a packed, Y n×a.
template <class T>
struct product_args {
  matrix_view<T> X;
  const T* panels = nullptr;  // packed W
  const T* bias = nullptr;    // whole panels; or none
  mutable_matrix_view<T> Y;
  void (*activate)(T* data, index count) = nullptr;
  matrix_view<T> residual{};  // n×a; or no data
  // Weights that are packed as other numbers are: of 8 bits a scale for each column, whole panels;
  // and the kernel that reads them, or none where they are of T.
  const T* scales = nullptr;
  product_kernel<T> linear = nullptr;
  matrix_view<T> factor{};  // n×a; or no data
  // Where factors are rounded: a place for the rows of X, and what rounds some of them into it.
  mutable_matrix_view<T> rounded{};
  rounding_kernel<T> round = nullptr;
};

/// Scalars of a packed k×a matrix.
template <class T>
[[nodiscard]] constexpr index packed_size(index inputs, index outputs) {
  constexpr index width = packed_panel_width<T>;
  return (outputs + width - 1) / width * width * inputs;
}

/// Gain and bias are filled up to whole vectors of any instruction set.
template <class T>
struct layer_norm_args {
  matrix_view<T> X;
  mutable_matrix_view<T> Y;
  const T* gain = nullptr;
  const T* bias = nullptr;
  T epsilon = 0;
  bool centred = true;  // else the mean is taken for 0: RMS norm
};

/// The kernels of one instruction set, in tables of their own, so that each is compiled where it is
/// used: tiles of attention, few queries, products, what layers need besides.
template <class T, bool Additive>
using tiled_kernel = void (*)(const forward_args<T, Additive>&, range queries, T* scratch);

/// A tiled kernel with products of other numbers: the rows in a register tile that it is planned
/// with, and what it needs besides the scratch of the other.
template <class T>
struct rounded_tiled {
  index rows = 0;
  tiled_kernel<T, false> kernel = nullptr;
  index (*scratch_size)(index features, index values, const tiled_layout&) = nullptr;
};

template <class T, bool Additive>
struct few_kernels {
  void (*few_queries)(const few_args<T, Additive>&, range keys, T* partial, T* scratch) = nullptr;
  void (*merge_chunks)(const few_args<T, Additive>&, T* partials, index chunks) = nullptr;
  bool (*single_query)(const single_query_args<T>&) = nullptr;  // or none
};

template <class T, bool Additive>
struct weight_kernels {
  void (*weights)(const forward_args<T, Additive>&, range queries, const weight_request<T>&,
                  T* scratch) = nullptr;
  void (*add_sums)(const weight_block<T>&, T* sums) = nullptr;
  index (*next_above)(const weight_block<T>&, index key, const T* least) = nullptr;
};

/// Scores of some queries in the args' unit, transformed and masked.
template <class T, bool Additive>
using scores_kernel = void (*)(const forward_args<T, Additive>&, range queries,
                               const mutable_matrix_view<T>& S, T* scratch);

/// What depends on the vector v of additive scores alone: see score_vector_layout.
template <class T>
using score_vector_kernel = void (*)(T* v, index features);

/// S = scale · Q Kᵀ.
template <class T>
using whole_scores_kernel = void (*)(const matrix_view<T>& Q, const matrix_view<T>& K, T scale,
                                     const mutable_matrix_view<T>& S, T* scratch);

/// Scores of a query become weights, beside a sink or −∞.
template <class T>
using softmax_kernel = void (*)(T* row, index count, T sink);

template <class T>
using key_packing_kernel = void (*)(const matrix_view<T>& K, const packed_keys_layout&, T* storage);

template <class T>
struct product_kernels {
  register_shape shape;
  void (*pack)(const matrix_view<T>& W, T* panels) = nullptr;
  product_kernel<T> linear = nullptr;
};

template <class T>
struct layer_kernels {
  void (*relu)(T* data, index count) = nullptr;
  void (*gelu)(T* data, index count) = nullptr;
  void (*gelu_tanh)(T* data, index count) = nullptr;
  void (*silu)(T* data, index count) = nullptr;
  void (*layer_norm)(const layer_norm_args<T>&, range rows, T* row) = nullptr;
};

constexpr index ceil_div(index a, index b) { return a <= b && a > 0 ? 1 : (a + b - 1) / b; }
/// a / b for a, b > 0; of what is small, as nearly all numbers of tasks are, without a division.
constexpr index quotient(index a, index b) { return a < b ? 0 : a / b; }
/// Without a division where b is a power of two, as nearly everywhere: they would be a fifth of a
/// tiny call.
constexpr index round_up(index a, index b) {
  return (b & (b - 1)) == 0 ? (a + b - 1) & -b : ceil_div(a, b) * b;
}

/// The vector v of additive scores, and behind it what depends on it alone. In scalars from v.
struct score_vector_layout {
  index inverse = 0;  // 1 / u, where u = v / largest |v|, kept off zero
  index halves = 0;   // ½ Σ u of each group of features
  index scale = 0;    // largest |v|
  index total = 0;
};

/// Features after which a sum of additive scores is centred.
inline constexpr index score_vector_group = 8;

/// An entry of u is not below it: 1 / u must leave room for exponentials, and what is added to u
/// must be lost in the rounding of a score.
template <class T>
inline constexpr T least_weight = sizeof(T) == 4 ? T(0x1p-40) : T(0x1p-80);

constexpr score_vector_layout score_vector_layout_for(index features) {
  const index whole = round_up(features, 16);
  return {whole, 2 * whole, 3 * whole, 3 * whole + 16};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
