#pragma once

#include <cstdint>
#include <span>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// Sequences of different lengths one behind the other: queries [queries[s], queries[s + 1]) attend
/// to keys [keys[s], keys[s + 1]) and to no others. Each sequence is a problem of its own:
/// positions start at 0, masks and transforms are told its sizes and, in problem::sequence, its
/// number.
///
///     const std::int32_t at[] = {0, 3, 10, 12};                 // of 3, 7 and 2 rows
///     attention(Q, K, V, segments{at}, masks::causal_top_left{})
///
/// One call, whose work is shared out over the executor as a whole; each sequence gets the bits of
/// a call of its own with that kernel.
/// \throws argument_error  (the call) unless offsets begin with 0, never fall, and end with the
/// rows
///         of Q, or of K; shape_error unless both name the same number of sequences.
struct segments {
  std::span<const std::int32_t> queries;
  std::span<const std::int32_t> keys{};  ///< unset: as the queries
};

/// Sequences of the same number of rows one behind the other, of which the first so many are used:
/// sequence s has rows [s·n/sequences, …) of Q and [s·m/sequences, …) of K and V. An output row
/// behind a length is zeros, its log-sum-exp −∞. What is said of segments holds here too.
/// \throws shape_error  (the call) unless `sequences` divides the rows of Q and K and there is a
///         length for each; argument_error for a length beyond the rows of a sequence.
struct padded_batch {
  index sequences = 1;
  std::span<const std::int32_t> query_lengths{};  ///< unset: all rows
  std::span<const std::int32_t> key_lengths{};
};

/// \}

SOFTLOOK_NAMESPACE_END
