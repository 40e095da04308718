#include "support/plain_loops.hpp"

#include <math.h>

// Neither softlook nor Eigen nor any inline function: the flags of this file must not reach
// another.

namespace plain_loops {
namespace {

void softmax(float* x, int count) {
  float highest = x[0];
  for (int t = 1; t < count; ++t)
    if (x[t] > highest) highest = x[t];
  float sum = 0;
  for (int t = 0; t < count; ++t) {
    x[t] = expf(x[t] - highest);
    sum += x[t];
  }
  for (int t = 0; t < count; ++t) x[t] /= sum;
}

}  // namespace

void attend(const step& s) {
  const int row = s.kv_heads * s.features, shared_by = s.query_heads / s.kv_heads;
  const float scale = 1 / sqrtf(float(s.features));
  for (int h = 0; h < s.query_heads; ++h) {
    const float* q = s.query + h * s.features;
    const float* keys = s.keys + h / shared_by * s.features;
    const float* values = s.values + h / shared_by * s.features;
    float* out = s.output + h * s.features;
    for (int t = 0; t < s.positions; ++t) {
      const float* k = keys + t * row;
      float score = 0;
      for (int c = 0; c < s.features; ++c) score += q[c] * k[c];
      s.scores[t] = score * scale;
    }
    softmax(s.scores, s.positions);
    for (int c = 0; c < s.features; ++c) out[c] = 0;
    for (int t = 0; t < s.positions; ++t) {
      const float* v = values + t * row;
      const float weight = s.scores[t];
      for (int c = 0; c < s.features; ++c) out[c] += weight * v[c];
    }
  }
}

}  // namespace plain_loops
