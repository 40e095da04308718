// Random weights of decoder layers.
#pragma once

#include "softlook/transformer.hpp"
#include "tests/support/layers.hpp"

namespace softlook_test {

struct decoder_shape {
  Eigen::Index features = 24, memory_features = 24, hidden = 50;
  softlook::heads heads{.query = 4};
};

template <class T>
softlook::transformer_decoder_layer_parameters<T> random_decoder_layer(const decoder_shape& s,
                                                                       generator& random) {
  const Eigen::Index width = s.features / s.heads.query;
  const auto attention = [&](Eigen::Index keys) {
    return random_multi_head<T>({.features = s.features,
                                 .key_features = keys,
                                 .value_features = keys,
                                 .query_heads = s.heads.query,
                                 .kv_heads = s.heads.kv.value_or(s.heads.query),
                                 .head_features = width,
                                 .head_values = width,
                                 .outputs = s.features},
                                random);
  };
  const auto weight = [&](Eigen::Index rows, Eigen::Index cols) {
    return random_matrix<col_major<T>>(rows, cols, random,
                                       1 / std::sqrt(static_cast<double>(rows)));
  };
  const auto row = [&](Eigen::Index size, double scale) {
    return random_matrix<row_vector<T>>(1, size, random, scale);
  };
  const auto gain = [&] { return row_vector<T>(row(s.features, 0.25).array() + T(1)); };
  softlook::transformer_decoder_layer_parameters<T> p;
  p.self_attention = attention(s.features);
  p.cross_attention = attention(s.memory_features);
  p.W1 = weight(s.features, s.hidden);
  p.W2 = weight(s.hidden, s.features);
  p.b1 = row(s.hidden, 0.5);
  p.b2 = row(s.features, 0.5);
  p.gain1 = gain();
  p.gain2 = gain();
  p.gain3 = gain();
  p.bias1 = row(s.features, 0.5);
  p.bias2 = row(s.features, 0.5);
  p.bias3 = row(s.features, 0.5);
  return p;
}

}  // namespace softlook_test
