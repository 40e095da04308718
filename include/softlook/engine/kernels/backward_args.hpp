#pragma once

#include "softlook/engine/kernels/args.hpp"

// What crosses the border into engine/stamped/ on the way back.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Gradients of the scores behind the transforms, of some queries and keys of a head, and where
/// they are wanted the scores before the transforms: entry (i, j) is that of query first_query + i
/// and key first_key + j of the call.
template <class T>
struct score_gradient_block {
  matrix_view<T> dS;
  matrix_view<T> S;
  index first_query = 0;
  index first_key = 0;
};

/// Who takes them, a block after the other; or nobody.
template <class T>
struct score_gradient_request {
  void* self = nullptr;
  void (*take)(void* self, const score_gradient_block<T>&) = nullptr;
};

/// Where the kernel of the way back keeps what, in scalars from the start of a worker's scratch.
/// The walk's own layout has dQᵀ in the place of its output.
struct backward_layout {
  tiled_layout walk;
  index lanes = 0;  // of a block of queries: between keys of P and dS
  index outputs = 0, value_panels = 0;
  index products = 0;                      // dP and dS of a register tile
  index raw = 0, kept = 0;                 // scores before transforms, weights behind dropout
  index weights = 0, score_gradients = 0;  // P and dS of a block of queries and a tile of keys
  index query_rows = 0, output_rows = 0;   // scale·Q and dO as right operands
  index logs = 0, dots = 0, ones = 0, rows = 0;
  // Additive: queries of a block in each form, e^{2k} of a tile of `keys` keys, their sums, and
  // scale·v.
  index query_panel = 0, query_form = 0, query_sizes = 0;
  index key_exponentials = 0, key_sums = 0, keys = 0;
  index factors = 0;
  index total = 0;
};

/// The way back of one head, for some of its queries and keys. The source of values of `scores` is
/// that of the keys: they are the values of dQ = dS·K.
template <class T, bool Additive>
struct backward_args {
  forward_args<T, Additive> scores;
  row_source<T> values;
  matrix_view<T> dO;
  const T* log_sum_exp = nullptr;     // in units of log 4; 0 where there is no key
  const T* dots = nullptr;            // Σ dO ∘ O − dL of each query
  mutable_matrix_view<T> dQ, dK, dV;  // are added to
  T scale = 1;
  matrix_view<T> v;  // additive: 1×a, without the scale
  T* dv = nullptr;   // additive: a numbers, without the scale; are added to
  backward_layout layout;
  T raw_unit = 1;  // from the unit of scores before transforms to that of the request
  score_gradient_request<T> request;
};

template <class T, bool Additive>
using backward_kernel = void (*)(const backward_args<T, Additive>&, range queries, T* scratch);

}  // namespace detail
SOFTLOOK_NAMESPACE_END
