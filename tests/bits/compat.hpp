// The forms of calls that may be spelt in another way in another tree: heads of attention. Only this
// header need then be edited to compare the two.
#pragma once

#include "bits.hpp"

namespace bits::compat {

template <class Q, class K, class V, class... Ps>
[[nodiscard]] auto attention(const Q& q, const K& k, const V& v, const heads& h, const Ps&... ps) {
  return softlook::multi_head_attention(q, k, v, h, ps...);
}

template <class Q, class K, class V, class O, class... Ps>
void attention_into(const Q& q, const K& k, const V& v, O&& o, const heads& h, const Ps&... ps) {
  softlook::multi_head_attention_into(q, k, v, o, h, ps...);
}

/// .output: n×(query·e), .log_sum_exp: n×query
template <class Q, class K, class V, class... Ps>
[[nodiscard]] auto attention_with_log_sum_exp(const Q& q, const K& k, const V& v, const heads& h,
                                              const Ps&... ps) {
  return softlook::multi_head_attention_with_log_sum_exp(q, k, v, h, ps...);
}

/// A matrix for each query head.
template <class Q, class K, class... Ps>
[[nodiscard]] auto attention_weights(const Q& q, const K& k, const heads& h, const Ps&... ps) {
  return softlook::multi_head_attention_weights(q, k, h, ps...);
}

template <class Q, class K, class V, class... Ps>
[[nodiscard]] softlook::attention_plan plan_attention(const Q& q, const K& k, const V& v,
                                                      const heads& h, const Ps&... ps) {
  return softlook::plan_multi_head_attention(q, k, v, h, ps...);
}

template <class P, class V, class... Ps>
[[nodiscard]] auto positional_attention(const P& learned, const V& v, const heads& h,
                                        const Ps&... ps) {
  return softlook::multi_head_positional_attention(learned, v, h, ps...);
}

template <class P, class V, class O, class... Ps>
void positional_attention_into(const P& learned, const V& v, O&& o, const heads& h,
                               const Ps&... ps) {
  softlook::multi_head_positional_attention_into(learned, v, o, h, ps...);
}

template <class P, class... Ps>
[[nodiscard]] auto positional_attention_weights(const P& learned, index n, const heads& h,
                                                const Ps&... ps) {
  return softlook::multi_head_positional_attention_weights(learned, n, h, ps...);
}

template <class Q, class K, class V, class E, class F, class... Ps>
[[nodiscard]] auto linformer_attention(const Q& q, const K& k, const V& v, const E& e, const F& f,
                                       const heads& h, const Ps&... ps) {
  return softlook::linformer_attention(q, k, v, e, f, h, ps...);
}

template <class Q, class K, class V, class E, class F, class O, class... Ps>
void linformer_attention_into(const Q& q, const K& k, const V& v, const E& e, const F& f, O&& o,
                              const heads& h, const Ps&... ps) {
  softlook::linformer_attention_into(q, k, v, e, f, o, h, ps...);
}

template <class Q, class K, class V, class... Ps>
[[nodiscard]] auto nystrom_attention(const Q& q, const K& k, const V& v, index landmarks,
                                     const heads& h, const Ps&... ps) {
  const softlook::nystrom how{.landmarks = landmarks, .heads = h};
  return softlook::nystrom_attention(q, k, v, how, ps...);
}

template <class Q, class K, class V, class C, class... Ps>
[[nodiscard]] auto nystrom_attention_with_convolution(const Q& q, const K& k, const V& v,
                                                      index landmarks, const C& c, const heads& h,
                                                      const Ps&... ps) {
  const softlook::nystrom how{.landmarks = landmarks, .heads = h};
  return softlook::nystrom_attention(q, k, v, how, c, ps...);
}

template <class Q, class K, class V, class O, class C, class... Ps>
void nystrom_attention_with_convolution_into(const Q& q, const K& k, const V& v, O&& o,
                                             index landmarks, const C& c, const heads& h,
                                             const Ps&... ps) {
  const softlook::nystrom how{.landmarks = landmarks, .heads = h};
  softlook::nystrom_attention_into(q, k, v, o, how, c, ps...);
}

}  // namespace bits::compat
