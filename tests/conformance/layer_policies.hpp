#pragma once

#include "layers.hpp"

/// What a layer is told of masks, as policies.
namespace conformance {

/// The heads of one batch below each other, as dense masks and biases hold them.
template <class T>
matrix<T> stacked_heads(const grid& g, index b) {
  matrix<T> X(g.heads * g.rows, g.cols);
  for (index h = 0; h < g.heads; ++h) X.middleRows(h * g.rows, g.rows) = g.head<T>(b, h);
  return X;
}

inline bool_matrix flags(const std::optional<grid>& g, index b, const bool_matrix& otherwise) {
  return g ? bool_matrix((stacked_heads<double>(*g, b).array() != 0).matrix()) : otherwise;
}

/// No policies, or all of them: each combination of types is kernels to compile.
template <class T, class Run>
auto with_policies(const layer_masks& given, index b, index n, index m, const Run& then) {
  if (given.empty()) return then();
  const bool_matrix mask = flags(given.mask, b, bool_matrix::Constant(n, m, given.ones_attend));
  const bool_matrix padded = flags(given.padded, b, bool_matrix::Constant(1, m, false));
  const matrix<T> B = given.bias ? stacked_heads<T>(*given.bias, b) : matrix<T>::Zero(n, m);
  return then(given.window.value_or(softlook::masks::window{}) &
                  softlook::masks::dense(mask, !given.ones_attend) &
                  softlook::masks::dense_ignoring(padded),
              softlook::transforms::bias(B));
}

}  // namespace conformance
