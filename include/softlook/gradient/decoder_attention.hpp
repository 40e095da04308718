#pragma once

#include "softlook/attention/attention.hpp"
#include "softlook/gradient/linear.hpp"
#include "softlook/seq2seq/bahdanau_attention.hpp"

// A decoder's attention in training. The memory is projected once, each step looks at it, and on
// the way back the steps add to its gradients before they go through the projection:
//   memory_forward,  step_forward of each step, …, step_backward of each step,  memory_backward

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// The weights of Luong's scores: `general` with W, `dot` without. `concat` is additive, with the
/// rows of its W apart: additive_parameters{W.topRows(d_q), W.bottomRows(d_k), v}.
template <class T>
struct multiplicative_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix W{};  ///< d_q×d_k; empty: none, and d_q = d_k

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("W", p.W...);
  }
};

/// What memory_forward() keeps of m keys: m·(d_k + e) numbers and the projected keys, m·a
/// (additive) or m·d_q; as much again for gradients.
template <class T>
struct saved_memory {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix keys{}, values{};
  matrix projected{};
  matrix dprojected{};  ///< what steps have added
  matrix dkeys{};       ///< written by memory_backward()
  matrix dvalues{};     ///< what steps have added

  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return bytes_of(keys) + bytes_of(values) + bytes_of(projected) + bytes_of(dprojected) +
           bytes_of(dkeys) + bytes_of(dvalues);
  }
};

/// What step_forward() keeps of n queries: n·(d_q + m + e + a) numbers.
template <class T>
struct saved_step {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix Q{};
  matrix projected{};  ///< of an additive score: Q·Wq + b
  matrix weights{};    ///< n×m
  matrix context{};    ///< n×e
  matrix dQ{};         ///< written by step_backward()
  matrix dscores{}, dprojected{};
  double scale = 1;  ///< of the scores, options::scale

  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return bytes_of(Q) + bytes_of(projected) + bytes_of(weights) + bytes_of(context) +
           bytes_of(dQ) + bytes_of(dscores) + bytes_of(dprojected);
  }
};

namespace detail {

/// Weights of an additive score, whatever else it looks at.
template <class P>
concept additive_weights = requires(const P& p) {
  p.Wq;
  p.Wk;
  p.v;
  p.b;
};

template <additive_weights P>
void check_memory(const char* where, const P& p, index key_features) {
  const char* rule = "queries and keys are projected to one hidden size";
  check_sizes(where, "Wk.rows()", p.Wk.rows(), "keys.cols()", key_features,
              "Wk maps a key to a hidden features");
  check_sizes(where, "Wk.cols()", p.Wk.cols(), "Wq.cols()", p.Wq.cols(), rule);
  check_sizes(where, "v.size()", p.v.size(), "Wq.cols()", p.Wq.cols(),
              "v has an entry for each hidden feature");
  if (p.b.size() > 0)
    check_sizes(where, "b.size()", p.b.size(), "Wq.cols()", p.Wq.cols(),
                "b has an entry for each hidden feature");
}
template <class T>
void check_memory(const char* where, const multiplicative_parameters<T>& p, index key_features) {
  if (p.W.size() > 0)
    check_sizes(where, "W.cols()", p.W.cols(), "keys.cols()", key_features,
                "W maps a query to the features of a key");
}

// Of each kind of score: keys are projected, and back; queries are projected; scores go back.

template <class T, additive_weights P>
void project_memory(matrix_products<T>& products, const P& p, saved_memory<T>& m) {
  shape_as(m.projected, m.keys.rows(), p.Wk.cols());
  products.multiply(view_of(m.keys), view_of(p.Wk), writable_view(m.projected));
}
template <class T>
void project_memory(matrix_products<T>& products, const multiplicative_parameters<T>& p,
                    saved_memory<T>& m) {
  if (p.W.size() == 0) {
    m.projected = m.keys;
    return;
  }
  shape_as(m.projected, m.keys.rows(), p.W.rows());
  products.multiply(view_of(m.keys), view_of(p.W).transpose(), writable_view(m.projected));
}

template <class T, additive_weights P>
void project_memory_back(matrix_products<T>& products, const P& p, saved_memory<T>& m, P& g) {
  const auto d = view_of(m.dprojected);
  products.add(view_of(m.keys).transpose(), d, writable_view(g.Wk));
  products.multiply(d, view_of(p.Wk).transpose(), writable_view(m.dkeys));
}
template <class T>
void project_memory_back(matrix_products<T>& products, const multiplicative_parameters<T>& p,
                         saved_memory<T>& m, multiplicative_parameters<T>& g) {
  if (p.W.size() == 0) {
    m.dkeys = m.dprojected;
    return;
  }
  const auto d = view_of(m.dprojected);
  products.add(d.transpose(), view_of(m.keys), writable_view(g.W));
  products.multiply(d, view_of(p.W), writable_view(m.dkeys));
}

/// The weights of the queries in s.
template <class T, class... Ps>
void weigh(const char* where, matrix_products<T>& products, const additive_parameters<T>& p,
           const saved_memory<T>& m, saved_step<T>& s, const Ps&... policies) {
  check_sizes(where, "Q.cols()", s.Q.cols(), "Wq.rows()", p.Wq.rows(),
              "Wq maps a query to a hidden features");
  shape_as(s.projected, s.Q.rows(), p.Wq.cols());
  products.multiply(view_of(s.Q), view_of(p.Wq), writable_view(s.projected), as_row(view_of(p.b)));
  s.weights =
      attention_weights(s.projected, m.projected, scores::additive_projected<T>(p.v), policies...);
}
template <class T, class... Ps>
void weigh(const char* where, matrix_products<T>&, const multiplicative_parameters<T>&,
           const saved_memory<T>& m, saved_step<T>& s, const Ps&... policies) {
  check_sizes(where, "Q.cols()", s.Q.cols(), "the features of a projected key", m.projected.cols(),
              "a query meets keys as W leaves them");
  s.weights = attention_weights(s.Q, m.projected, scores::dot{}, policies...);
}

/// d of one query and one key, with t = tanh(q + k) of both projected:
///   dq += d·v∘(1 − t²),  dk += d·v∘(1 − t²),  dv += d·t
template <class T>
void additive_score_back(T d, const T* q, const T* k, const T* v, T* dq, T* dk, T* dv,
                         index hidden) {
  for (index c = 0; c < hidden; ++c) {
    const T t = math::tanh(q[c] + k[c]), slope = d * v[c] * (T(1) - t * t);
    dq[c] += slope;
    dk[c] += slope;
    dv[c] += d * t;
  }
}

template <class T>
void scores_back(matrix_products<T>& products, const additive_parameters<T>& p, saved_memory<T>& m,
                 saved_step<T>& s, additive_parameters<T>& g) {
  const index n = s.Q.rows(), keys = m.keys.rows(), a = p.Wq.cols();
  shape_as(s.dprojected, n, a);
  s.dprojected.setZero();
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < keys; ++j)
      if (s.dscores(i, j) != T(0))
        additive_score_back(s.dscores(i, j), s.projected.data() + i * a, m.projected.data() + j * a,
                            p.v.data(), s.dprojected.data() + i * a, m.dprojected.data() + j * a,
                            g.v.data(), a);
  const auto d = view_of(s.dprojected);
  products.add(view_of(s.Q).transpose(), d, writable_view(g.Wq));
  products.add_column_sums(d, writable_view(g.b).transpose());
  products.multiply(d, view_of(p.Wq).transpose(), writable_view(s.dQ));
}
template <class T>
void scores_back(matrix_products<T>& products, const multiplicative_parameters<T>&,
                 saved_memory<T>& m, saved_step<T>& s, multiplicative_parameters<T>&) {
  products.multiply(view_of(s.dscores), view_of(m.projected), writable_view(s.dQ));
  products.add(view_of(s.dscores).transpose(), view_of(s.Q), writable_view(m.dprojected));
}

/// dS = P ∘ (dP − Σ P∘dP) of each row, in place of dP. Where P is 0 nothing is read.
template <class T>
void softmax_back(const matrix_view<T>& P, const mutable_matrix_view<T>& d) {
  for (index i = 0; i < d.rows; ++i) {
    T along = 0;
    for (index j = 0; j < d.cols; ++j)
      if (P(i, j) != T(0)) along += P(i, j) * d(i, j);
    for (index j = 0; j < d.cols; ++j)
      d(i, j) = P(i, j) != T(0) ? P(i, j) * (d(i, j) - along) : T(0);
  }
}

template <class P>
inline constexpr bool is_decoder_parameters = false;
template <class T>
inline constexpr bool is_decoder_parameters<additive_parameters<T>> = true;
template <class T>
inline constexpr bool is_decoder_parameters<multiplicative_parameters<T>> = true;

}  // namespace detail

/// additive_parameters or multiplicative_parameters.
template <class P>
concept decoder_parameters = detail::is_decoder_parameters<P>;
/// Those, or the weights of another additive score: whatever a memory is projected by.
template <class P>
concept memory_parameters =
    decoder_parameters<P> || (parameter_struct<P> && detail::additive_weights<P>);

/// The memory that a decoder will look at: keys, m×d_k, projected as bahdanau_attention (additive)
/// or luong_attention do, and values, m×e. Gradients of an earlier memory are forgotten.
/// \param policies  an executor and options.
/// \throws shape_error  unless the weights fit each other and the keys, and a value is for a key.
template <template <class> class P, class T, dense_expression K, dense_expression V, class... Ps>
  requires memory_parameters<P<T>>
void memory_forward(const P<T>& p, const K& keys, const V& values, saved_memory<T>& memory,
                    const Ps&... policies) {
  const char* where = "memory_forward";
  detail::check_memory(where, p, keys.cols());
  detail::check_sizes(where, "values.rows()", values.rows(), "keys.rows()", keys.rows(),
                      "each key has one value");
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  memory.keys = keys;
  memory.values = values;
  detail::project_memory(products, p, memory);
  memory.dprojected.setZero(memory.projected.rows(), memory.projected.cols());
  memory.dvalues.setZero(values.rows(), values.cols());
}

/// One step of Bahdanau's or Luong's attention: Q, n×d_q -> saved.context, n×e, and saved.weights.
/// \param policies  a mask, an executor and options as in attention_weights().
/// \throws shape_error  unless Q fits the weights and the memory.
template <template <class> class P, class T, dense_expression Q, class... Ps>
  requires decoder_parameters<P<T>>
const auto& step_forward(const P<T>& p, const saved_memory<T>& memory, const Q& q,
                         saved_step<T>& saved, const Ps&... policies) {
  constexpr bool known = ((mask_policy<Ps> || executor<Ps> || detail::is_options<Ps>) && ...);
  static_assert(known, "softlook: step_forward() takes a mask, an executor and options{…}");
  if constexpr (known) {
    const char* where = "step_forward";
    const detail::layer_call call = detail::layer_call_of(where, policies...);
    detail::matrix_products<T> products(call);
    saved.Q = q;
    saved.scale = call.opts.scale.value_or(1);
    detail::weigh(where, products, p, memory, saved, policies...);
    detail::shape_as(saved.context, q.rows(), memory.values.cols());
    products.multiply(detail::view_of(saved.weights), detail::view_of(memory.values),
                      detail::writable_view(saved.context));
  }
  return saved.context;
}

/// The way back of a step: dcontext, n×e -> dQ; adds to the gradients of the weights of queries,
/// and to those of projected keys and of values in `memory`. dweights, n×m or empty, is the
/// gradient of the weights where something else reads them (coverage).
/// \throws shape_error  unless gradients have the shapes of what they belong to.
template <template <class> class P, class T, dense_expression G, dense_expression W, class... Ps>
  requires decoder_parameters<P<T>>
const auto& step_backward(const P<T>& p, saved_memory<T>& memory, saved_step<T>& saved,
                          const G& dcontext, const W& dweights, P<T>& gradients,
                          const Ps&... policies) {
  const char* where = "step_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dcontext, saved.context);
  if (dweights.size() > 0) detail::check_output_gradient(where, dweights, saved.weights);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  const detail::readable<G> given(dcontext);
  detail::shape_as(saved.dscores, saved.weights.rows(), saved.weights.cols());
  detail::shape_as(saved.dQ, saved.Q.rows(), saved.Q.cols());
  products.multiply(given.view(), detail::view_of(memory.values).transpose(),
                    detail::writable_view(saved.dscores));
  if (dweights.size() > 0) saved.dscores += dweights;
  products.add(detail::view_of(saved.weights).transpose(), given.view(),
               detail::writable_view(memory.dvalues));
  detail::softmax_back(detail::view_of(saved.weights), detail::writable_view(saved.dscores));
  if (saved.scale != 1) saved.dscores *= T(saved.scale);
  detail::scores_back(products, p, memory, saved, gradients);
  return saved.dQ;
}

/// The way back of the memory, after that of its steps: gives memory.dkeys; memory.dvalues is
/// complete. Where keys and values are one matrix, its gradient is their sum.
template <template <class> class P, class T, class... Ps>
  requires memory_parameters<P<T>>
const auto& memory_backward(const P<T>& p, saved_memory<T>& memory, P<T>& gradients,
                            const Ps&... policies) {
  const char* where = "memory_backward";
  detail::check_gradients(where, p, gradients);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  detail::shape_as(memory.dkeys, memory.keys.rows(), memory.keys.cols());
  detail::project_memory_back(products, p, memory, gradients);
  return memory.dkeys;
}

/// What attentional_forward() keeps: [c h] and h̃.
template <class T>
struct saved_attentional {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  saved_linear<T> linear{};  ///< of [c h]; linear.dX is [dc dh]
  matrix Y{};
  matrix dsum{};
  bool squash = true;

  [[nodiscard]] std::size_t bytes() const {
    return linear.bytes() + detail::bytes_of(Y) + detail::bytes_of(dsum);
  }
};

/// Luong's attentional state h̃ = tanh([c h]·W + b), or without `squash` the sum.
/// \see Luong et al., 2015, Eq. (5).
/// c: n×e, h: n×d, W: (e + d)×a -> n×a. \param policies  an executor and options.
template <class T, dense_expression C, dense_expression H, class... Ps>
const auto& attentional_forward(const linear_parameters<T>& p, const C& context, const H& hidden,
                                saved_attentional<T>& saved, bool squash, const Ps&... policies) {
  detail::check_sizes("attentional_forward", "hidden.rows()", hidden.rows(), "context.rows()",
                      context.rows(), "each state has a context");
  typename saved_attentional<T>::matrix both(context.rows(), context.cols() + hidden.cols());
  both << context, hidden;
  saved.Y = linear_forward(p, both, saved.linear, activation::none, policies...);
  saved.squash = squash;
  if (squash)
    for (index k = 0; k < saved.Y.size(); ++k) saved.Y.data()[k] = math::tanh(saved.Y.data()[k]);
  return saved.Y;
}

/// [dc dh], n×(e + d).
template <class T, dense_expression G, class... Ps>
const auto& attentional_backward(const linear_parameters<T>& p, saved_attentional<T>& saved,
                                 const G& dY, linear_parameters<T>& gradients,
                                 const Ps&... policies) {
  detail::check_output_gradient("attentional_backward", dY, saved.Y);
  saved.dsum = dY;
  for (index k = 0; saved.squash && k < saved.dsum.size(); ++k)
    saved.dsum.data()[k] *= T(1) - saved.Y.data()[k] * saved.Y.data()[k];
  return linear_backward(p, saved.linear, saved.dsum, gradients, activation::none, policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
