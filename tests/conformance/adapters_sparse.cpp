#include <softlook/gradient/entmax.hpp>

#include "adapters.hpp"

/// Sparsemax, 1.5-entmax and α-entmax of given scores, and their gradients.
namespace conformance {
namespace {

/// The naive mode takes the function on scores. The others take attention: the scores as queries,
/// with the identity as keys, are exact, and the identity as values makes the output the weights.
template <class T>
matrix<T> weights_of(const mode& m, const matrix<T>& S, double alpha) {
  if (m.how == mode::path::naive) return softlook::entmax(S, alpha);
  const matrix<T> unit = matrix<T>::Identity(S.cols(), S.cols());
  return softlook::entmax_attention(S, unit, unit, alpha, softlook::scores::dot{}, m.options(1));
}

/// The gradient of the scores, in the same two ways.
template <class T>
matrix<T> score_gradient(const mode& m, const matrix<T>& S, const matrix<T>& P, const matrix<T>& dP,
                         double alpha) {
  if (m.how == mode::path::naive) return softlook::entmax_backward(P, dP, alpha);
  const matrix<T> unit = matrix<T>::Identity(S.cols(), S.cols());
  return softlook::entmax_attention_backward(S, unit, unit, dP, alpha, softlook::scores::dot{},
                                             m.options(1))
      .dQ;
}

/// What a gradient s ∘ (dP − Σ s∘dP / Σ s) is off by. Of 1.5-entmax s is the base of a weight, of
/// sparsemax it is 0 or 1: exact, if the same keys have weight; and Σ s ≥ 1.
double gradient_error(double epsilon, double alpha, const matrix<double>& S,
                      const matrix<double>& dP) {
  const auto keys = static_cast<double>(S.cols());
  const double moved = alpha == 2 ? 0 : 2 * epsilon * finite_magnitude(S);
  return 4 * finite_magnitude(dP) * ((1 + 2 * keys) * moved + (keys + 8) * epsilon);
}

template <class T>
matrix<T> matrix_of(const case_file& c, const tensor& t, const tensor& like) {
  require(c, t.shape == like.shape, "the gradient has the shape of the scores");
  return Eigen::Map<const matrix<double>>(t.values.data(), t.shape[0], t.shape[1])
      .template cast<T>();
}

template <class T>
produced produced_of(const std::vector<index>& shape, const matrix<T>& X, double bound) {
  const matrix<double> values = X.template cast<double>();
  return {shape, {values.data(), values.data() + values.size()}, bound};
}

template <class T>
outputs solved(const case_file& c, const mode& m, double alpha) {
  const tensor& x = c.input("x", 2);
  const matrix<T> S = matrix_of<T>(c, x, x), P = weights_of(m, S, alpha);
  const double epsilon = std::numeric_limits<T>::epsilon();
  outputs out;
  out["output"] =
      produced_of(x.shape, P, entmax_error(epsilon, alpha, epsilon * finite_magnitude(S)));
  if (!c.has_input("grad_output")) return out;
  const matrix<double> exact = matrix_of<double>(c, x, x);
  const matrix<double> dP = matrix_of<double>(c, c.input("grad_output", 2), x);
  if (alpha == 2 && ((P.array() > 0) != (softlook::sparsemax(exact).array() > 0)).any())
    throw beyond_float();
  out["grad_x"] = produced_of(x.shape, score_gradient<T>(m, S, P, dP.template cast<T>(), alpha),
                              gradient_error(epsilon, alpha, exact, dP));
  return out;
}

outputs solve(const case_file& c, const mode& m, double alpha) {
  return m.single_precision ? solved<float>(c, m, alpha) : solved<double>(c, m, alpha);
}

outputs sparsemax(const case_file& c, const mode& m) { return solve(c, m, 2); }
outputs entmax15(const case_file& c, const mode& m) { return solve(c, m, 1.5); }
outputs entmax(const case_file& c, const mode& m) { return solve(c, m, c.number("alpha", 1.5)); }

}  // namespace

void add_sparse_adapters(adapter_table& table) {
  table["entmax.sparsemax"] = sparsemax;
  table["entmax.entmax15"] = entmax15;
  table["entmax.entmax_bisect"] = entmax;
}

}  // namespace conformance
