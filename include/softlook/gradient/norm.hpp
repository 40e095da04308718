#pragma once

#include "softlook/core/parameters.hpp"
#include "softlook/gradient/detail/norm_rows.hpp"
#include "softlook/gradient/linear.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// The weights of a layer norm, or of an RMS norm; an empty bias is none.
template <class T>
struct norm_parameters {
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  row gain{};
  row bias{};

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("gain", p.gain...);
    f("bias", p.bias...);
  }
};

struct norm_options {
  norm_kind norm = norm_kind::layer;
  double epsilon = 1e-5;
};

/// What norm_forward() keeps: 2·features·n + n numbers, and features·n for the way back.
template <class T>
struct saved_norm {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  detail::kept_norm<T> rows{};
  matrix Y{};   ///< n×features
  matrix dY{};  ///< as it was given
  matrix dX{};  ///< n×features, written by norm_backward()

  [[nodiscard]] std::size_t bytes() const {
    return rows.bytes() + detail::bytes_of(Y) + detail::bytes_of(dY) + detail::bytes_of(dX);
  }
};

namespace detail {

/// The weights of a norm as loops over rows read them.
/// \throws shape_error  unless there is a gain for each feature, and a bias or none.
template <class T, class Row>
[[nodiscard]] norm_rule<T> norm_rule_of(const char* where, const Row& gain, const Row& bias,
                                        index features, const norm_options& o) {
  check_sizes(where, "gain.size()", gain.size(), "the number of features", features,
              "a feature has a gain");
  if (bias.size() > 0)
    check_sizes(where, "bias.size()", bias.size(), "the number of features", features,
                "a feature has a bias, or none has");
  check_epsilon<T>(where, o.epsilon);
  return {view_of(gain), view_of(bias), T(o.epsilon), o.norm == norm_kind::layer};
}

}  // namespace detail

/// Y = gain ∘ (x − mean x)/√(var x + ε) + bias for each row x of X, or of an RMS norm
/// gain ∘ x/√(mean x² + ε) + bias; X: n×features -> saved.Y.
/// \see layer_norm, rms_norm
/// \param policies  an executor and options.
/// \throws shape_error  unless gain has an entry for each column of X, and bias as many or none;
///         argument_error  unless ε is finite and not negative.
template <class T, dense_expression X, class... Ps>
const auto& norm_forward(const norm_parameters<T>& p, const X& x, saved_norm<T>& saved,
                         const norm_options& o, const Ps&... policies) {
  const char* where = "norm_forward";
  const auto rule = detail::norm_rule_of<T>(where, p.gain, p.bias, x.cols(), o);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  const detail::readable<X> in(x);
  detail::shape_as(saved.Y, x.rows(), x.cols());
  detail::norm_rows(call.exec, rule, in.view(), saved.rows, detail::writable_view(saved.Y));
  return saved.Y;
}

/// With x̂ = (x − mean x)·r, r = 1/√(var x + ε), and g = dY ∘ gain,
///   dX = r·(g − mean g − x̂·mean(g ∘ x̂)),   dgain += Σ dY ∘ x̂,   dbias += Σ dY;
/// of an RMS norm without the mean of g.
/// \throws shape_error  unless dY has the output's shape and gradients that of the weights.
template <class T, dense_expression G, class... Ps>
const auto& norm_backward(const norm_parameters<T>& p, saved_norm<T>& saved, const G& dY,
                          norm_parameters<T>& gradients, const norm_options& o,
                          const Ps&... policies) {
  const char* where = "norm_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const auto rule = detail::norm_rule_of<T>(where, p.gain, p.bias, saved.Y.cols(), o);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  saved.dY = dY;
  detail::shape_as(saved.dX, dY.rows(), dY.cols());
  detail::norm_rows_back(call.exec, rule, saved.rows, detail::view_of(saved.dY),
                         {detail::writable_view(gradients.gain),
                          detail::writable_view(gradients.bias), detail::writable_view(saved.dX)});
  return saved.dX;
}

/// \}

SOFTLOOK_NAMESPACE_END
