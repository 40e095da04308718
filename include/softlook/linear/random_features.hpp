#pragma once

#include <optional>
#include <type_traits>

#include "softlook/linear/detail/policies.hpp"
#include "softlook/linear/detail/random_projection.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup performer Performer (FAVOR+)
/// Softmax attention estimated by linear attention on random features.
/// \cases tests/unit/linear/random_features_test.cpp
/// \{

struct random_feature_options {
  index features = 256;
  std::uint64_t seed = 0;
  std::optional<double> scale{};  ///< of q·k in the softmax; 1/√d
  double epsilon = 0;             ///< added to every exponential; what it adds is a bias
  double key_shift = 0;           ///< subtracted from the exponents of keys; cancels but for ε
};

/// Positive random features, with which linear attention estimates softmax attention,
///   φ_r(x) = (e^{w_r·x − |x|²/2} + ε)/√features,  w_r ~ N(0, 1),  E[φ(q)·φ(k)] = e^{scale·q·k},
/// the w_r orthogonal in blocks.
///
/// \see Choromanski et al., "Rethinking Attention with Performers", 2021, Lemma 1, Eq. (5) and
///      section 2.4 (FAVOR+).
/// Give the object itself as a policy; it must outlive the call. Equal seeds give equal features,
/// by a counter-based generator. The largest exponent of a query is subtracted (it cancels). Keys
/// overflow when e^{|w|²/2} does, which float reaches from d ≈ 150; key_shift is for that.
template <class T>
class random_features {
 public:
  using policy_kind = feature_function_kind;
  using scalar = T;

  /// \throws argument_error  unless sizes are at least 1, scale is positive, ε not negative.
  explicit random_features(index inputs, const random_feature_options& o = {})
      : random_features(checked(inputs, o), o) {}

  /// The given projection, features × inputs.
  template <dense_expression M>
    requires(!std::is_arithmetic_v<M>)
  explicit random_features(const M& W, const random_feature_options& o = {}) {
    const double scale = o.scale.value_or(1 / std::sqrt(double(std::max<index>(W.cols(), 1))));
    const char* const where = "random_features";
    detail::check_parameter<T>(where, "scale", scale, detail::parameter::positive,
                               "it is positive and finite");
    detail::check_parameter<T>(where, "epsilon", o.epsilon, detail::parameter::not_negative,
                               "it is finite and not negative");
    detail::check_parameter<T>(where, "key_shift", o.key_shift, detail::parameter::finite,
                               "it is finite");
    projection_.W = W.template cast<T>();
    projection_.root = T(std::sqrt(scale));
    projection_.epsilon = T(o.epsilon);
    projection_.key_shift = T(o.key_shift);
    projection_.pack();
  }

  [[nodiscard]] index inputs() const { return projection_.W.cols(); }
  [[nodiscard]] index count() const { return projection_.W.rows(); }
  [[nodiscard]] const auto& projection() const { return projection_.W; }

  /// φ of queries or keys, n×count().
  template <dense_expression X>
  [[nodiscard]] plain_matrix_like<X> queries(const X& x) const {
    return apply(x, false);
  }
  template <dense_expression X>
  [[nodiscard]] plain_matrix_like<X> keys(const X& x) const {
    return apply(x, true);
  }
  /// The largest w_r·x of all rows, which a key_shift may be.
  template <dense_expression X>
  [[nodiscard]] T largest_exponent(const X& x) const {
    return x.rows() > 0 ? (projection_.root * (x * projection_.W.transpose())).maxCoeff() : T(0);
  }

  /// For linear attention.
  [[nodiscard]] detail::feature_calls<T> calls() const {
    detail::feature_calls<T> calls;
    calls.self = &projection_;
    calls.features = [](const void* self, const char* where, index inputs) -> index {
      const auto& W = static_cast<const detail::random_projection<T>*>(self)->W;
      detail::check_sizes(where, "K.cols()", inputs, "random_features inputs()", W.cols(),
                          "the projection has a column for each feature of a key");
      return W.rows();
    };
    calls.apply = [](const void* self, const char*, instruction_set isa, const matrix_view<T>& X,
                     bool keys, const mutable_matrix_view<T>& out, T* norms) {
      static_cast<const detail::random_projection<T>*>(self)->apply(isa, X, keys, out, norms);
    };
    return calls;
  }

 private:
  [[nodiscard]] static Eigen::MatrixXd checked(index inputs, const random_feature_options& o) {
    if (inputs < 1)
      detail::raise_argument("random_features", "inputs", double(inputs), "it is at least 1");
    if (o.features < 1)
      detail::raise_argument("random_features", "features", double(o.features), "it is at least 1");
    return detail::orthogonal_gaussians(o.features, inputs, o.seed);
  }
  template <class X>
  [[nodiscard]] plain_matrix_like<X> apply(const X& x, bool keys) const {
    const detail::readable<X> in(x);
    detail::check_sizes("random_features", "X.cols()", x.cols(), "inputs()", inputs(),
                        "a row of W has an entry for each input");
    const index stride = detail::round_up(count(), detail::state_step);
    detail::aligned_vector<T> rows(std::size_t(x.rows() * stride)), norms(std::size_t(x.rows()));
    projection_.apply(detail::best_instruction_set(), in.view(), keys,
                      {rows.data(), x.rows(), count(), stride, 1}, norms.data());
    using plain = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<const plain, 0, Eigen::OuterStride<>>(rows.data(), x.rows(), count(),
                                                            Eigen::OuterStride<>(stride));
  }

  detail::random_projection<T> projection_;
};

/// \}

SOFTLOOK_NAMESPACE_END
