#pragma once

#include <memory>
#include <utility>

#include "softlook/engine/run/packed_linear.hpp"
#include "softlook/linear/detail/policies.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup linear Linear attention and fast weights
/// Keys and values are written into a state of fixed size, which queries read: time linear in the
/// number of tokens.
/// \cases tests/conformance/data/other/linear_attention,
///        tests/conformance/data/onnx_attention/linear_attention
/// \program examples/fast_weights.cpp
/// \{

/// φ of linear attention: what queries and keys become before they meet.
namespace features {

/// Queries and keys as they are:
///   φ(x) = x
struct identity {
  using policy_kind = feature_function_kind;
  static constexpr auto feature_kind = softlook::detail::feature_kind::as_given;
};

/// The exponential linear unit, made positive:
///   φ(x) = elu(x) + 1 = x + 1 for x > 0, else e^x
/// \see Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
///      Attention", 2020, Eq. (7).
struct elu_plus_one {
  using policy_kind = feature_function_kind;
  static constexpr auto feature_kind = softlook::detail::feature_kind::elu_plus_one;
};

/// The positive part:
///   φ(x) = max(x, 0)
struct relu {
  using policy_kind = feature_function_kind;
  static constexpr auto feature_kind = softlook::detail::feature_kind::relu;
};

/// A user's φ: f takes rows of one head (a matrix expression, count×d) and returns count×features.
/// It must treat each row alike; blocks of any number of rows are given to it.
template <class F>
struct map {
  using policy_kind = feature_function_kind;
  F f;
  index count;
  map(index features, F function) : f(std::move(function)), count(features) {}

  template <class T>
  [[nodiscard]] softlook::detail::feature_calls<T> calls() const {
    return softlook::detail::calls_of_map<T>(*this);
  }
};

}  // namespace features

/// What of the state survives a token.
namespace gates {

/// One decay for each key head, 0 ≤ γ ≤ 1:
///   S ← γ_h·S
/// A view of a vector.
template <class T>
struct decay {
  using policy_kind = gate_kind;
  static constexpr bool logarithmic = false;
  using scalar = T;
  explicit decay(softlook::detail::kept_view<T> gamma) : view(softlook::detail::as_row(gamma)) {}
  matrix_view<T> view;
};
template <class V>
decay(V&&) -> decay<softlook::detail::scalar_of<V>>;

/// A decay for each token and key head (G: n×heads), or for each of their features
/// (G: n×(heads·features)):
///   S ← e^{g}·S  or  S ← diag(e^{g})·S
/// g = −∞ forgets all. A view of G.
/// \see Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training", 2024.
template <class T>
struct log_decay {
  using policy_kind = gate_kind;
  static constexpr bool logarithmic = true;
  using scalar = T;
  explicit log_decay(softlook::detail::kept_view<T> G) : view(G) {}
  matrix_view<T> view;
};
template <class M>
log_decay(M&&) -> log_decay<softlook::detail::scalar_of<M>>;

}  // namespace gates

/// How a token is written into the state.
namespace updates {

/// The outer product of key and value is added:
///   S ← S + φ(k)·vᵀ
/// \see Schmidhuber, "Learning to Control Fast-Weight Memories", 1992.
struct sum {
  using policy_kind = update_kind;
};

/// What the state says of a key moves towards its value, after the gate:
///   S ← S + φ(k)·β(v − Sᵀφ(k))ᵀ
/// β: n×heads, or n×1 for all heads; keys of length 1 and 0 ≤ β ≤ 1 keep it stable. A view.
/// \see Schlag, Irie, Schmidhuber, "Linear Transformers Are Secretly Fast Weight Programmers",
///      2021, Eq. (23)-(24); Yang et al., "Parallelizing Linear Transformers with the Delta Rule
///      over Sequence Length", 2024; Yang et al., "Gated Delta Networks", 2025.
template <class T>
struct delta {
  using policy_kind = update_kind;
  using scalar = T;
  explicit delta(softlook::detail::kept_view<T> beta) : view(beta) {}
  matrix_view<T> view;
};
template <class M>
delta(M&&) -> delta<softlook::detail::scalar_of<M>>;

}  // namespace updates

/// By what a row Sᵀφ(q) is divided. z is the sum of the keys φ(k), decayed like S.
namespace normalizations {

struct none {
  using policy_kind = normalization_kind;
  static constexpr auto divisor = softlook::detail::divisor_kind::one;
};

/// The sum of the weights, which then add up to 1:
///   φ(q)·z + ε
/// A row whose divisor is 0 is a row of zeros.
struct sum {
  using policy_kind = normalization_kind;
  static constexpr auto divisor = softlook::detail::divisor_kind::sum;
  double epsilon = 0;
};

/// RetNet's divisor, with w the sum of the decays:
///   max(|φ(q)·z|, √w)
/// \see Sun et al., "Retentive Network: A Successor to Transformer for Large Language Models",
///      2023, section 2.1, "Retention Score Normalization" (2 and 3; 1 is options.scale).
struct retention {
  using policy_kind = normalization_kind;
  static constexpr auto divisor = softlook::detail::divisor_kind::retention;
};

}  // namespace normalizations

/// RetNet's decays of heads 0, 1, …:
///   γ_h = 1 − 2^(−5−h)
/// \see Sun et al., 2023, section 2.2, Eq. (8).
template <class T>
[[nodiscard]] Eigen::Matrix<T, 1, Eigen::Dynamic> retention_decays(index heads) {
  if (heads < 0)
    detail::raise_argument("retention_decays", "heads", double(heads), "a number is at least 0");
  Eigen::Matrix<T, 1, Eigen::Dynamic> gamma(heads);
  for (index h = 0; h < heads; ++h) gamma[h] = T(1 - std::exp2(-5.0 - double(h)));
  return gamma;
}

/// What linear attention remembers of the tokens so far, for each key head: S (features × values),
/// z (the sum of the keys) and the sum of the decays. Starts at zero. A value: copy it to branch.
template <class T>
class linear_state {
 public:
  using scalar = T;
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;

  /// \throws argument_error  for a negative size or less than one head.
  linear_state(index features, index values, index heads = 1)
      : shape_{features, values}, heads_(heads) {
    for (const auto& [name, size] : {std::pair("features", features), std::pair("values", values)})
      if (size < 0)
        detail::raise_argument("linear_state", name, double(size), "a size is at least 0");
    if (heads < 1)
      detail::raise_argument("linear_state", "heads", double(heads), "there is at least 1 head");
    memory_.resize(std::size_t(heads * (shape_.total() + detail::token_scratch(shape_))));
  }

  [[nodiscard]] index features() const { return shape_.features; }
  [[nodiscard]] index values() const { return shape_.values; }
  [[nodiscard]] index heads() const { return heads_; }
  void set_zero() { std::fill(memory_.begin(), memory_.end(), T(0)); }

  /// S, z and the sum of decays of a head, which may be written to.
  [[nodiscard]] auto weights(index head = 0) {
    return Eigen::Map<matrix, 0, Eigen::OuterStride<>>(at(head), features(), values(),
                                                       Eigen::OuterStride<>(shape_.stride()));
  }
  [[nodiscard]] auto weights(index head = 0) const {
    return Eigen::Map<const matrix, 0, Eigen::OuterStride<>>(at(head), features(), values(),
                                                             Eigen::OuterStride<>(shape_.stride()));
  }
  [[nodiscard]] auto key_sum(index head = 0) {
    return Eigen::Map<row>(at(head) + shape_.key_sum(), features());
  }
  [[nodiscard]] auto key_sum(index head = 0) const {
    return Eigen::Map<const row>(at(head) + shape_.key_sum(), features());
  }
  [[nodiscard]] T& decay_sum(index head = 0) { return at(head)[shape_.decay_sum()]; }
  [[nodiscard]] const T& decay_sum(index head = 0) const { return at(head)[shape_.decay_sum()]; }

  /// For the functions of this header.
  void lend(detail::linear_call<T>& call) {
    call.state = memory_.data();
    call.scratch = memory_.data() + heads_ * shape_.total();
    call.given = shape_;
  }

 private:
  [[nodiscard]] T* at(index head) { return memory_.data() + checked(head) * shape_.total(); }
  [[nodiscard]] const T* at(index head) const {
    return memory_.data() + checked(head) * shape_.total();
  }
  [[nodiscard]] index checked(index head) const {
    if (head < 0 || head >= heads_)
      detail::raise_argument("linear_state", "head", double(head),
                             "it must lie between 0 and " + std::to_string(heads_ - 1));
    return head;
  }

  detail::state_shape shape_;
  index heads_;
  detail::aligned_vector<T> memory_;
};

/// Linear attention: every query attends to every key,
///   O = φ(Q)·(φ(K)ᵀV) / (φ(Q)·Σφ(k) + ε).
///
/// \see Katharopoulos et al., 2020, Eq. (4)-(6).
/// Q: n×(query·d), K: m×(kv·d), V: m×(kv·e) -> O: n×(query·e), in Q's storage order. A query whose
/// divisor is 0 (no key, or none that it meets) gets a row of zeros.
/// \param policies  a feature map (default elu_plus_one), a normalization (default sum{}), heads,
///                  an executor, options (scale multiplies φ(q), 1 by default; isa; workspace).
/// \throws shape_error, argument_error  before anything is written.
/// Cost: O((n + m)·d·e) time; scratch O(d·e) for each worker and for each of at most 16 pieces of
/// the keys, whatever n and m. An executor is given these pieces, whose number depends on m alone,
/// and blocks of queries.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto linear_attention(const Q& q, const K& k, const V& v, const Ps&... policies) {
  return detail::linear_value({"linear_attention", false, false}, q, k, v, detail::no_state,
                              policies...);
}

/// linear_attention() into the caller's matrix, which is never resized and may not overlap an
/// input.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
void linear_attention_into(const Q& q, const K& k, const V& v, O&& o, const Ps&... policies) {
  detail::linear_into({"linear_attention_into", false, false}, q, k, v, o, detail::no_state,
                      policies...);
}

/// Linear attention of tokens that follow one another: query i attends to the keys j ≤ i. With a
/// state, also the keys that the state has met before; the tokens join it.
///   S_i = G_i S_{i−1} + φ(k_i) u_iᵀ,  z_i = G_i z_{i−1} + φ(k_i),  o_i = S_iᵀφ(q_i) / divisor
///
/// \see Katharopoulos et al., 2020, Eq. (8)-(9), section 3.4 (as a recurrent network); chunks as in
///      Hua et al., "Transformer Quality in Linear Time", 2022, section 3.2.
/// Shapes as linear_attention() with n = m. \param policies  also a gate and an update.
/// Tokens are taken 32 at a time on the micro-kernel, or one at a time where they are fewer than 8
/// or the gate has a decay for each feature; both agree up to rounding. Row i never depends on
/// later rows. An executor is given heads, or, if it has more workers, columns of their values from
/// 128 tokens on: with the same bits, gates and delta rule included. A user's feature map is
/// computed for each of these parts. Cost: O(n·d·e) time, scratch O(d·e) for each worker.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto causal_linear_attention(const Q& q, const K& k, const V& v,
                                           const Ps&... policies) {
  return detail::linear_value({"causal_linear_attention", true, false}, q, k, v, detail::no_state,
                              policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto causal_linear_attention(const Q& q, const K& k, const V& v,
                                           linear_state<detail::scalar_of<Q>>& state,
                                           const Ps&... policies) {
  return detail::linear_value({"causal_linear_attention", true, false}, q, k, v, &state,
                              policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
void causal_linear_attention_into(const Q& q, const K& k, const V& v, O&& o,
                                  const Ps&... policies) {
  detail::linear_into({"causal_linear_attention_into", true, false}, q, k, v, o, detail::no_state,
                      policies...);
}
/// With a built-in feature map and one head of keys, fewer than 8 tokens allocate nothing.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
void causal_linear_attention_into(const Q& q, const K& k, const V& v, O&& o,
                                  linear_state<detail::scalar_of<Q>>& state,
                                  const Ps&... policies) {
  detail::linear_into({"causal_linear_attention_into", true, false}, q, k, v, o, &state,
                      policies...);
}

/// Fast weights: causal_linear_attention() whose defaults are φ(x) = x and no divisor,
///   o_i = scale·S_iᵀq_i.
///
/// | program | policies |
/// |---|---|
/// | outer products (Schmidhuber 1992) | |
/// | delta rule, DeltaNet (Schlag et al. 2021; Yang et al. 2024) | updates::delta{beta} |
/// | gated (Yang et al. 2024; scalar: Dao and Gu 2024) | gates::log_decay{G} |
/// | gated delta (Yang et al. 2025), Kimi delta attention | both |
/// | retention (Sun et al. 2023) | gates::decay{gamma}, options{.scale = 1/√d} |
/// | retention, normalised | and normalizations::retention{} |
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto fast_weights(const Q& q, const K& k, const V& v, const Ps&... policies) {
  return detail::linear_value({"fast_weights", true, true}, q, k, v, detail::no_state, policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto fast_weights(const Q& q, const K& k, const V& v,
                                linear_state<detail::scalar_of<Q>>& state, const Ps&... policies) {
  return detail::linear_value({"fast_weights", true, true}, q, k, v, &state, policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
void fast_weights_into(const Q& q, const K& k, const V& v, O&& o, const Ps&... policies) {
  detail::linear_into({"fast_weights_into", true, true}, q, k, v, o, detail::no_state, policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
void fast_weights_into(const Q& q, const K& k, const V& v, O&& o,
                       linear_state<detail::scalar_of<Q>>& state, const Ps&... policies) {
  detail::linear_into({"fast_weights_into", true, true}, q, k, v, o, &state, policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
