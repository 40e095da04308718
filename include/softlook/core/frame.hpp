#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// Where the rows of a call stand in a longer problem, whose positions masks and transforms speak
/// of: the next rows of a prompt that is read piece by piece, one part of the keys of several
/// machines. Row i of Q is query first_query + i·query_stride, or query_positions[i]; row j of K is
/// key first_key + j·key_stride.
///
///     attention(Q_piece, K, V, masks::causal_bottom_right{}, frame{.first_query = 512})
///
/// Matrices of policies (a bias, a dense mask) have the sizes of the whole problem.
/// \throws argument_error  (the call) for a position outside the problem, for a stride below 1, or
///         unless query_positions has an entry for each row of Q.
struct frame {
  index first_query = 0;
  std::optional<index> queries{};  ///< of the problem; unset: up to the last of the call
  index first_key = 0;
  std::optional<index> keys{};
  std::span<const std::int32_t> query_positions{};  ///< instead of first_query; a view
  index query_stride = 1;  ///< between the positions of neighbouring rows, as in a striped sequence
  index key_stride = 1;
};

/// \}

SOFTLOOK_NAMESPACE_END
