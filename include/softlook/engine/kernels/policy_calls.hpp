#pragma once

#include "softlook/core/types.hpp"

// Masks and transforms behind functions. Only the edits are hot, and they are called for whole
// blocks of scores; so the loops of the kernels are not compiled anew for every policy, and N masks
// with M transforms are N + M sets of functions.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

struct call_frame;

/// A block of scores: rows × whole vectors of lanes. Lanes are queries and rows are keys, or the
/// other way round.
struct edit_block {
  index stride = 0;                     // between rows
  std::int32_t rows = 0;                // rows in the block
  std::int32_t vectors = 0;             // vectors of lanes
  std::int32_t first_row = 0;           // position of row 0
  const std::int32_t* lanes = nullptr;  // position of each lane, always a valid one
  range lane_span{};                    // holds all of them; empty: not known
  std::int32_t row_step = 1;            // from the position of a row to the next
};

/// A mask, asked in positions of the whole problem.
template <class T>
struct mask_calls {
  using forbid_function = void (*)(const void*, T* S, const edit_block&, problem);

  const void* mask = nullptr;
  bool is_none = false;  // every query sees every key
  void (*check)(const void*, const char* where, problem) = nullptr;
  range (*key_range)(const void*, range queries, problem) = nullptr;
  coverage (*coverage_of)(const void*, range queries, range keys, problem) = nullptr;
  forbid_function forbid_queries = nullptr;  // −∞ where not allowed; lanes are queries
  forbid_function forbid_keys = nullptr;     // lanes are keys
  void (*forbid_matrix)(const void*, mutable_matrix_view<T> S, const call_frame&,
                        problem) = nullptr;  // the materialised path
};

/// The chain of transforms of a call, or none.
template <class T>
struct transform_calls {
  using apply_function = void (*)(const void*, T* S, const edit_block&, problem, T score_unit);

  const void* transform = nullptr;  // null: none
  void (*check)(const void*, const char* where, problem) = nullptr;
  apply_function apply_queries = nullptr;  // S = factor · f(S); lanes are queries
  apply_function apply_keys = nullptr;     // lanes are keys
  void (*apply_matrix)(const void*, mutable_matrix_view<T> S, const call_frame&,
                       problem) = nullptr;  // the materialised path
  apply_function derivative = nullptr;      // S = ∂f/∂s, lanes are queries; null: 1
  /// Asks memory for what is added to the scores of these positions, or null.
  void (*prefetch)(const void*, range queries, range keys, problem) = nullptr;

  [[nodiscard]] explicit operator bool() const { return transform != nullptr; }
};

/// Steps of a product, in which the vectors [from, to) take part.
struct product_run {
  index row;  // of the left operand; the right one has the steps of all runs behind one another
  index steps;
  int from;
  int to;
};

/// Weights of some queries and of runs of keys, which lie behind one another: that of query q and
/// of the r-th key at P[r·key_stride + q·query_stride].
struct weight_edit {
  const product_run* runs = nullptr;
  index count = 0;
  index first_key = 0;  // of the call, to which rows of runs are added
  index keys = 0;       // of the call
  index queries = 0;
  index key_stride = 0;
  index query_stride = 0;
  const std::int32_t* positions = nullptr;  // of the queries
};

/// An edit of the weights after the softmax, as dropout is, or none.
template <class T>
struct weight_calls {
  using edit_function = void (*)(const void*, T* P, const weight_edit&, const call_frame&, problem);

  const void* state = nullptr;           // null: none
  edit_function edit_queries = nullptr;  // lanes are queries: query_stride is 1
  edit_function edit_keys = nullptr;     // lanes are keys of one query: key_stride is 1
  void (*edit_row)(const void*, T* P, index keys, std::int32_t position, const call_frame&,
                   problem) = nullptr;  // all keys of one query, on the materialised path

  [[nodiscard]] explicit operator bool() const { return state != nullptr; }
};

/// What stands between the scores of a call and its weights.
template <class T>
struct policy_calls {
  mask_calls<T> mask;
  transform_calls<T> transform;
  weight_calls<T> weight;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
