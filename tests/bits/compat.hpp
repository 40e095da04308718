// Calls that two trees spell in two ways: this header knows both, so that the others are the same
// for both trees. What is spelt anew belongs here.
#pragma once

#include "bits.hpp"

#if __has_include(<softlook/layers.hpp>)

// Heads are a policy, decoders are given a score.
namespace bits::compat {

using softlook::attention;
using softlook::attention_into;
using softlook::attention_weights;
using softlook::attention_with_log_sum_exp;
using softlook::linformer_attention;
using softlook::linformer_attention_into;
using softlook::nystrom_attention;
using softlook::nystrom_attention_into;
using softlook::plan_attention;
using softlook::positional_attention;
using softlook::positional_attention_into;
using softlook::positional_attention_weights;

template <class T>
using linear_layer = softlook::linear_layer<T>;

inline constexpr auto mean_max_average = softlook::pooled::mean_max_average;

template <class T, class... Ms>
[[nodiscard]] softlook::bahdanau_attention<T> bahdanau_additive(const Ms&... parameters) {
  return softlook::bahdanau_attention<T>(softlook::scores::additive{parameters...});
}
template <class T>
[[nodiscard]] softlook::luong_attention<T> luong_dot() {
  return softlook::luong_attention<T>(softlook::scores::dot{});
}
template <class T>
[[nodiscard]] softlook::luong_attention<T> luong_scaled_dot() {
  return softlook::luong_attention<T>(softlook::scores::scaled_dot{});
}
template <class T, class M>
[[nodiscard]] softlook::luong_attention<T> luong_general(const M& W) {
  return softlook::luong_attention<T>(softlook::scores::general{W});
}
template <class T, class M, class V>
[[nodiscard]] softlook::luong_attention<T> luong_concat(const M& W, const V& v) {
  return softlook::luong_attention<T>(softlook::scores::concat{W, v});
}

template <class T>
void set_attention(softlook::bahdanau_parameters<T>& p, const rows_of<T>& Wq, const rows_of<T>& Wk,
                   const row_vector<T>& v) {
  p.attention.Wq = Wq;
  p.attention.Wk = Wk;
  p.attention.v = v.transpose();
}

}  // namespace bits::compat

#else

// Heads have functions of their own, decoders are given matrices.
namespace bits::compat {

template <class Q, class K, class V, class... Ps>
[[nodiscard]] auto attention(const Q& q, const K& k, const V& v, const heads& h, const Ps&... ps) {
  return softlook::multi_head_attention(q, k, v, h, ps...);
}

template <class Q, class K, class V, class O, class... Ps>
void attention_into(const Q& q, const K& k, const V& v, O&& o, const heads& h, const Ps&... ps) {
  softlook::multi_head_attention_into(q, k, v, o, h, ps...);
}

template <class Q, class K, class V, class... Ps>
[[nodiscard]] auto attention_with_log_sum_exp(const Q& q, const K& k, const V& v, const heads& h,
                                              const Ps&... ps) {
  return softlook::multi_head_attention_with_log_sum_exp(q, k, v, h, ps...);
}

template <class Q, class K, class... Ps>
[[nodiscard]] auto attention_weights(const Q& q, const K& k, const heads& h, const Ps&... ps) {
  return softlook::multi_head_attention_weights(q, k, h, ps...);
}

template <class Q, class K, class V, class... Ps>
[[nodiscard]] auto plan_attention(const Q& q, const K& k, const V& v, const heads& h,
                                  const Ps&... ps) {
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

using softlook::linformer_attention;
using softlook::linformer_attention_into;

template <class Q, class K, class V, class... Ps>
[[nodiscard]] auto nystrom_attention(const Q& q, const K& k, const V& v, softlook::nystrom how,
                                     const heads& h, const Ps&... ps) {
  how.heads = h;
  return softlook::nystrom_attention(q, k, v, how, ps...);
}

template <class Q, class K, class V, class C, class... Ps>
[[nodiscard]] auto nystrom_attention(const Q& q, const K& k, const V& v, softlook::nystrom how,
                                     const C& c, const heads& h, const Ps&... ps) {
  how.heads = h;
  return softlook::nystrom_attention(q, k, v, how, c, ps...);
}

template <class Q, class K, class V, class O, class C, class... Ps>
void nystrom_attention_into(const Q& q, const K& k, const V& v, O&& o, softlook::nystrom how,
                            const C& c, const heads& h, const Ps&... ps) {
  how.heads = h;
  softlook::nystrom_attention_into(q, k, v, o, how, c, ps...);
}

template <class T>
using linear_layer = softlook::projection<T>;

inline constexpr auto mean_max_average = softlook::pooled::middle;

template <class T, class... Ms>
[[nodiscard]] softlook::bahdanau_attention<T> bahdanau_additive(const Ms&... parameters) {
  return softlook::bahdanau_attention<T>(parameters...);
}
template <class T>
[[nodiscard]] softlook::luong_attention<T> luong_dot() {
  return softlook::luong_attention<T>::dot();
}
template <class T>
[[nodiscard]] softlook::luong_attention<T> luong_scaled_dot() {
  return softlook::luong_attention<T>::scaled_dot();
}
template <class T, class M>
[[nodiscard]] softlook::luong_attention<T> luong_general(const M& W) {
  return softlook::luong_attention<T>::general(W);
}
template <class T, class M, class V>
[[nodiscard]] softlook::luong_attention<T> luong_concat(const M& W, const V& v) {
  return softlook::luong_attention<T>::concat(W, v);
}

template <class T>
void set_attention(softlook::bahdanau_parameters<T>& p, const rows_of<T>& Wq, const rows_of<T>& Wk,
                   const row_vector<T>& v) {
  p.Wa = Wq;
  p.Ua = Wk;
  p.va = v;
}

}  // namespace bits::compat

#endif
