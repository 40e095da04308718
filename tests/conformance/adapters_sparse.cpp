#include <softlook/attention/entmax.hpp>

#include "adapters.hpp"

/// Sparsemax, 1.5-entmax and α-entmax of given scores.
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

template <class T>
produced solved(const mode& m, const tensor& x, double alpha) {
  const matrix<T> S =
      Eigen::Map<const matrix<double>>(x.values.data(), x.shape[0], x.shape[1]).template cast<T>();
  const matrix<double> P = weights_of(m, S, alpha).template cast<double>();
  const double epsilon = std::numeric_limits<T>::epsilon();
  return {x.shape,
          {P.data(), P.data() + P.size()},
          entmax_error(epsilon, alpha, epsilon * finite_magnitude(S))};
}

outputs solve(const case_file& c, const mode& m, double alpha) {
  const tensor& x = c.input("x", 2);
  return {
      {"output", m.single_precision ? solved<float>(m, x, alpha) : solved<double>(m, x, alpha)}};
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
