#pragma once

#include "softlook/detail/decoder.hpp"
#include "softlook/score/additive.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup additive
/// \{

/// g · v / |v|: the weight vector of normalised additive attention (weight normalisation).
/// \see Salimans and Kingma, 2016, Eq. (2). A zero v stays zero.
template <dense_expression V>
[[nodiscard]] auto weight_norm(const V& v, detail::scalar_of<V> g) {
  using T = detail::scalar_of<V>;
  Eigen::Matrix<T, Eigen::Dynamic, 1> out(v.size());
  if constexpr (int(V::RowsAtCompileTime) == 1)
    out = v.matrix().transpose();
  else
    out = v.matrix();
  const T norm = out.stableNorm();
  if (norm > 0) out *= g / norm;
  return out;
}

/// Bahdanau's attention as a decoder uses it: parameters held, the memory projected once by
/// set_memory(keys, values), then a step for each query.
///   e_ij = v · tanh(s_i W_q + h_j W_k + b),  α_i = softmax(e_i),  c_i = Σ_j α_ij value_j
///
/// \see Bahdanau et al., 2015, Eq. (4)–(6) and appendix A.1.2.
/// W_q: d_q×a, W_k: d_k×a, v, b: a. Owns copies of all of them and of the projected memory, which
/// takes 4·m·a + m·e scalars: set_memory() also packs the keys and takes e^{2k} and tanh k, so that
/// a step costs a multiply-add and a reciprocal for a key and hidden feature.
/// Cost of a step: O(d_q·a + m·(a + e)) for each query. Steps run on the few-query kernel, or on
/// the naive one where options::kernel asks for it; forced to another instruction set than the best
/// one, they pack the keys anew. A row has the same bits alone and among others.
template <real_scalar T>
class bahdanau_attention final : public detail::decoder_memory<T> {
 public:
  using typename detail::decoder_memory<T>::matrix;
  using typename detail::decoder_memory<T>::vector;

  /// \throws shape_error  unless both projections and v share one hidden size.
  template <dense_expression A, dense_expression B, dense_expression V>
  bahdanau_attention(const A& Wq, const B& Wk, const V& v)
      : bahdanau_attention(Wq, Wk, v, vector(vector::Zero(Wq.cols()))) {}

  template <dense_expression A, dense_expression B, dense_expression V, dense_expression C>
  bahdanau_attention(const A& Wq, const B& Wk, const V& v, const C& b)
      : v_(detail::as_column<T>(v)) {
    static_assert(detail::check_scalars<A, B, V, C>());
    static_assert(std::is_same_v<detail::scalar_of<A>, T>,
                  "softlook: the parameters must have the scalar type of bahdanau_attention<T>");
    const char* where = "bahdanau_attention";
    detail::check_sizes(where, "Wk.cols()", Wk.cols(), "Wq.cols()", Wq.cols(),
                        "queries and keys are projected to one hidden size");
    detail::check_sizes(where, "v.size()", v.size(), "Wq.cols()", Wq.cols(),
                        "v has an entry for each hidden feature");
    detail::check_sizes(where, "b.size()", b.size(), "Wq.cols()", Wq.cols(),
                        "b has an entry for each hidden feature");
    Wq_ = detail::packed<T>(Wq, detail::as_column<T>(b));
    Wk_ = detail::packed<T>(Wk);
  }

  /// Context (n×e) and weights (n×m) of one query row, or of several.
  /// \param policies  transforms, a mask, an executor, options as in attention().
  /// \throws argument_error  before set_memory(); shape_error unless query.cols() == W_q.rows().
  template <dense_expression Q, class... Ps>
  [[nodiscard]] decoder_step<T> step(const Q& query, const Ps&... policies) const {
    static_assert(detail::check_scalars<Q, matrix>());
    const char* where = "bahdanau_attention::step";
    this->check_ready(where);
    detail::check_sizes(where, "query.cols()", query.cols(), "Wq.rows()", Wq_.inputs(),
                        "Wq maps a query to the hidden features");
    const auto isa = detail::chosen_instruction_set(where, detail::options_of(policies...));
    return this->attend(where, detail::projected(Wq_, query, isa), scores::additive_projected{v_},
                        policies...);
  }

 private:
  void check_key_features(const char* where, index features) const override {
    detail::check_sizes(where, "keys.cols()", features, "Wk.rows()", Wk_.inputs(),
                        "Wk maps a key to the hidden features");
  }
  [[nodiscard]] matrix project(const matrix& keys) override {
    return detail::projected(Wk_, keys, detail::best_instruction_set());
  }
  [[nodiscard]] bool takes_prepared_keys() const override { return true; }

  detail::packed_linear<T> Wq_;  // and b
  detail::packed_linear<T> Wk_;
  vector v_;
};

/// \}

SOFTLOOK_NAMESPACE_END
