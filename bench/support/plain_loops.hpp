#pragma once

namespace plain_loops {

/// A decode step as one writes it without a library: a query of all heads beside each other, and
/// caches whose rows hold all heads of keys, or of values. Several query heads share one of those.
struct step {
  const float* query;   // query_heads × features
  const float* keys;    // positions × (kv_heads × features)
  const float* values;  // as keys
  float* scores;        // room for one head: positions
  float* output;        // as query
  int positions;
  int query_heads;
  int kv_heads;
  int features;
};

/// softmax(q Kᵀ/√features) V for each head. Built -Ofast -march=native.
void attend(const step& s);

}  // namespace plain_loops
