// A decode step of a program without Eigen: float pointers, a cache whose rows hold all heads.
//
// Run: raw_pointers
//
// expect: head 3 looks at the last key: 7\.00
#include <cstdio>
#include <softlook/attention.hpp>
#include <softlook/attention/tensors.hpp>
#include <vector>

int main() {
  const int query_heads = 8, kv_heads = 2, features = 64, capacity = 1024, position = 100;
  std::vector<float> q(query_heads * features, 0.0f), out(q.size());
  std::vector<float> keys(capacity * kv_heads * features), values(keys.size(), 1.0f);
  q[3 * features] = 100;  // head 3 asks for the key that has a 1 in its first feature: the last one
  keys[position * kv_heads * features] = 1;
  values[position * kv_heads * features] = 7;

  using softlook::tensor_view;
  const tensor_view<const float> Q{q.data(), 1, query_heads, 1, features, 0, features, 0};
  tensor_view<const float> K{keys.data(), 1, kv_heads, position + 1,
                             features,    0, features, kv_heads * features};
  tensor_view<const float> V = K;
  V.data = values.data();
  softlook::attention_into(
      Q, K, V, tensor_view<float>{out.data(), 1, query_heads, 1, features, 0, features, 0});
  std::printf("head 3 looks at the last key: %.2f\n", double(out[3 * features]));
}
