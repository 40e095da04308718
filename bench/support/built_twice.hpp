#pragma once

#include "support/fair_naive.hpp"

/// One call of softlook, compiled twice from built_twice.cpp into shared libraries with hidden
/// symbols, so that the linker cannot keep one copy of what both instantiate.
namespace built_twice {

/// softmax(Q Kᵀ/√d) V; causal: key j ≤ query i.
struct arguments {
  fair_naive::matrix<const float> Q, K, V;
  fair_naive::matrix<float> O;
  bool causal = false;
};

FAIR_NAIVE_API void plain(const arguments& a);   ///< -O2
FAIR_NAIVE_API void native(const arguments& a);  ///< -O3 -march=native

}  // namespace built_twice
