#pragma once

#include <cstdint>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// Weights are dropped after the softmax, each with a probability p, and those that stay grow by
/// 1/(1 − p):
///   O_i = Σ_j keep_ij · P_ij / (1 − p) · V_j.
/// The softmax and the log-sum-exp are those of all keys. Whether a weight stays depends on the
/// seed, the sequence, the head and the positions of query and key in the whole problem alone, so
/// every kernel, any executor, and calls that take the problem piece by piece drop the same ones:
///
///     attention(Q, K, V, masks::causal_top_left{}, dropout{.probability = 0.1, .seed = step})
///
/// A dropped weight touches no value, whatever that holds; a query with a score that is NaN has NaN
/// for an output all the same. Word j mod 4 of Philox 4×32-10 with the counter (j / 4, i, head,
/// sequence) and the seed as the key, below 2³² p: dropped. Weights and scores that are shown are
/// those before it.
/// \see Srivastava et al., "Dropout", 2014; Vaswani et al., 2017, 5.4; Salmon et al., 2011
/// (Philox).
/// \throws argument_error  (the call) unless 0 ≤ p < 1.
/// Cost: 0.27 of a call at 64 features with AVX2, 0.22 with AVX-512.
struct dropout {
  double probability = 0;
  std::uint64_t seed = 0;
};

/// \}

SOFTLOOK_NAMESPACE_END
