#pragma once

#include "softlook/gradient/decoder_attention.hpp"
#include "softlook/seq2seq/location_aware_attention.hpp"

// Steps of a decoder's attention that looks at its earlier weights, in training:
//   memory_forward,  location_step_forward of each step, …, location_step_backward of each step,
//   memory_backward

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What location_step_forward() keeps of one query and m keys: m·(k + 2·a) numbers.
template <class T>
struct saved_location_step {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  saved_step<T> step{};  ///< step.weights, step.context and step.dQ as of other steps
  matrix previous{};     ///< 1×m
  matrix features{};     ///< of the earlier weights, m×k
  matrix keys{};         ///< projected, with what the earlier weights add
  matrix dprevious{};    ///< 1×m, written by location_step_backward()
  matrix dkeys{}, dfeatures{};

  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return step.bytes() + bytes_of(previous) + bytes_of(features) + bytes_of(keys) +
           bytes_of(dprevious) + bytes_of(dkeys) + bytes_of(dfeatures);
  }
};

namespace detail {

// Of each kind: the features of earlier weights, what maps them to hidden features, and back.

template <class T>
void check_location_weights(const char* where, const location_aware_parameters<T>& p) {
  check_sizes(where, "filters.rows()", p.filters.rows(), "U.rows()", p.U.rows(),
              "U has a row for each filter");
  check_sizes(where, "U.cols()", p.U.cols(), "Wq.cols()", p.Wq.cols(),
              "queries and earlier weights are projected to one hidden size");
}
template <class T>
void check_location_weights(const char* where, const coverage_parameters<T>& p) {
  check_sizes(where, "w_c.size()", p.w_c.size(), "Wq.cols()", p.Wq.cols(),
              "queries and earlier weights are projected to one hidden size");
}

template <class T>
[[nodiscard]] row_major<T> features_before(const location_aware_parameters<T>& p,
                                           const row_major<T>& previous) {
  return location_features(p.filters, previous.row(0));
}
template <class T>
[[nodiscard]] row_major<T> features_before(const coverage_parameters<T>&,
                                           const row_major<T>& previous) {
  return previous.transpose();
}

template <class T>
[[nodiscard]] matrix_view<T> map_of_features(const location_aware_parameters<T>& p) {
  return view_of(p.U);
}
template <class T>
[[nodiscard]] mutable_matrix_view<T> map_of_features(location_aware_parameters<T>& p) {
  return writable_view(p.U);
}
template <class T>
[[nodiscard]] matrix_view<T> map_of_features(const coverage_parameters<T>& p) {
  return view_of(p.w_c).transpose();
}
template <class T>
[[nodiscard]] mutable_matrix_view<T> map_of_features(coverage_parameters<T>& p) {
  return writable_view(p.w_c).transpose();
}

template <class T>
void features_back(const location_aware_parameters<T>& p, saved_location_step<T>& s,
                   location_aware_parameters<T>& g) {
  const index m = s.previous.cols(), half = p.filters.cols() / 2;
  for (index j = 0; j < m; ++j)
    for (index l = std::max<index>(half - j, 0); l < std::min(p.filters.cols(), m + half - j); ++l)
      for (index c = 0; c < p.filters.rows(); ++c) {
        const T d = s.dfeatures(j, c);
        g.filters(c, l) += d * s.previous(0, j + l - half);
        s.dprevious(0, j + l - half) += d * p.filters(c, l);
      }
}
template <class T>
void features_back(const coverage_parameters<T>&, saved_location_step<T>& s,
                   coverage_parameters<T>&) {
  s.dprevious += s.dfeatures.transpose();
}

template <class P>
inline constexpr bool is_location_parameters = false;
template <class T>
inline constexpr bool is_location_parameters<location_aware_parameters<T>> = true;
template <class T>
inline constexpr bool is_location_parameters<coverage_parameters<T>> = true;

}  // namespace detail

/// location_aware_parameters or coverage_parameters.
template <class P>
concept location_parameters = detail::is_location_parameters<P>;

/// One step of location_aware_attention, or of coverage_attention: Q, 1×d_q, and previous, m, the
/// weights of the step before or the coverage -> saved.step.context, 1×e, and saved.step.weights.
/// \see Chorowski et al., 2015, Eq. (8), (9); See et al., 2017, Eq. (10), (11).
/// \param policies  a mask, an executor and options as in attention_weights().
/// \throws shape_error  unless Q, previous and weights fit each other and the memory.
template <template <class> class P, class T, dense_expression Q, dense_expression W, class... Ps>
  requires location_parameters<P<T>>
const auto& location_step_forward(const P<T>& p, const saved_memory<T>& memory, const Q& q,
                                  const W& previous, saved_location_step<T>& saved,
                                  const Ps&... policies) {
  static_assert(W::IsVectorAtCompileTime, "softlook: earlier weights are a vector");
  constexpr bool known = ((mask_policy<Ps> || executor<Ps> || detail::is_options<Ps>) && ...);
  static_assert(known,
                "softlook: location_step_forward() takes a mask, an executor and options{…}");
  if constexpr (known) {
    const char* where = "location_step_forward";
    using detail::check_sizes, detail::view_of, detail::writable_view;
    detail::check_location_weights(where, p);
    check_sizes(where, "Q.rows()", q.rows(), "the number of queries in a step", 1,
                "each step depends on the weights of the one before");
    check_sizes(where, "Q.cols()", q.cols(), "Wq.rows()", p.Wq.rows(),
                "Wq maps a query to a hidden features");
    check_sizes(where, "previous.size()", previous.size(), "the keys of the memory",
                memory.keys.rows(), "there is an entry for each key");
    const detail::layer_call call = detail::layer_call_of(where, policies...);
    detail::matrix_products<T> products(call);
    saved_step<T>& s = saved.step;
    s.Q = q;
    s.scale = call.opts.scale.value_or(1);
    detail::shape_as(saved.previous, 1, previous.size());
    for (index j = 0; j < previous.size(); ++j) saved.previous(0, j) = previous[j];
    saved.features = detail::features_before(p, saved.previous);
    saved.keys = memory.projected;
    products.add(view_of(saved.features), detail::map_of_features(p), writable_view(saved.keys));
    detail::shape_as(s.projected, 1, p.Wq.cols());
    products.multiply(view_of(s.Q), view_of(p.Wq), writable_view(s.projected),
                      detail::as_row(view_of(p.b)));
    s.weights =
        attention_weights(s.projected, saved.keys, scores::additive_projected<T>(p.v), policies...);
    detail::shape_as(s.context, 1, memory.values.cols());
    products.multiply(view_of(s.weights), view_of(memory.values), writable_view(s.context));
  }
  return saved.step.context;
}

/// The way back of a step: dcontext, 1×e, and dweights, 1×m or empty, of who else reads the
/// weights: the next step, a coverage, its loss -> saved.step.dQ and saved.dprevious. Adds to the
/// gradients of the weights and to those in `memory`.
/// \throws shape_error  unless gradients have the shapes of what they belong to.
template <template <class> class P, class T, dense_expression G, dense_expression W, class... Ps>
  requires location_parameters<P<T>>
const auto& location_step_backward(const P<T>& p, saved_memory<T>& memory,
                                   saved_location_step<T>& saved, const G& dcontext,
                                   const W& dweights, P<T>& gradients, const Ps&... policies) {
  const char* where = "location_step_backward";
  using detail::view_of, detail::writable_view;
  saved_step<T>& s = saved.step;
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dcontext, s.context);
  if (dweights.size() > 0) detail::check_output_gradient(where, dweights, s.weights);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  const detail::readable<G> given(dcontext);
  const index m = saved.keys.rows(), a = saved.keys.cols();
  detail::shape_as(s.dscores, 1, m);
  products.multiply(given.view(), view_of(memory.values).transpose(), writable_view(s.dscores));
  if (dweights.size() > 0) s.dscores += dweights;
  products.add(view_of(s.weights).transpose(), given.view(), writable_view(memory.dvalues));
  detail::softmax_back(view_of(s.weights), writable_view(s.dscores));
  if (s.scale != 1) s.dscores *= T(s.scale);
  saved.dkeys.setZero(m, a);
  s.dprojected.setZero(1, a);
  for (index j = 0; j < m; ++j)
    if (s.dscores(0, j) != T(0))
      detail::additive_score_back(s.dscores(0, j), s.projected.data(), saved.keys.data() + j * a,
                                  p.v.data(), s.dprojected.data(), saved.dkeys.data() + j * a,
                                  gradients.v.data(), a);
  memory.dprojected += saved.dkeys;
  const auto d = view_of(s.dprojected), dkeys = view_of(saved.dkeys);
  products.add(view_of(s.Q).transpose(), d, writable_view(gradients.Wq));
  products.add_column_sums(d, writable_view(gradients.b).transpose());
  detail::shape_as(s.dQ, 1, s.Q.cols());
  products.multiply(d, view_of(p.Wq).transpose(), writable_view(s.dQ));
  products.add(view_of(saved.features).transpose(), dkeys, detail::map_of_features(gradients));
  detail::shape_as(saved.dfeatures, m, saved.features.cols());
  products.multiply(dkeys, detail::map_of_features(p).transpose(), writable_view(saved.dfeatures));
  saved.dprevious.setZero(1, m);
  detail::features_back(p, saved, gradients);
  return s.dQ;
}

/// The way back through coverage_loss(): dA, n×m, of the weights A and dloss, n,
///   min(α_ij, c_ij) goes to α_ij where it is not larger, else to all α_i'j before.
/// \see See et al., 2017, Eq. (12).
/// \throws shape_error  unless there is a dloss for each row.
template <dense_expression A, dense_expression L>
[[nodiscard]] plain_matrix_like<A> coverage_loss_backward(const A& weights, const L& dloss) {
  static_assert(L::IsVectorAtCompileTime, "softlook: there is a loss for each step");
  using T = detail::scalar_of<A>;
  detail::check_sizes("coverage_loss_backward", "dloss.size()", dloss.size(), "weights.rows()",
                      weights.rows(), "there is a loss for each step");
  const detail::row_major<T> P = weights;
  const index n = P.rows(), m = P.cols();
  detail::row_major<T> dP = detail::row_major<T>::Zero(n, m), coverage(n, m);
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < m; ++j) coverage(i, j) = i > 0 ? coverage(i - 1, j) + P(i - 1, j) : T(0);
  for (index j = 0; j < m; ++j) {
    T later = 0;  // of the coverage
    for (index i = n - 1; i >= 0; --i) {
      const bool own = P(i, j) <= coverage(i, j);
      dP(i, j) = later + (own ? dloss[i] : T(0));
      if (!own) later += dloss[i];
    }
  }
  return dP;
}

/// \}

SOFTLOOK_NAMESPACE_END
