// Every number that parameterises a call: what the scalar cannot hold is refused, by the name of
// the function and of the parameter, with its value and the range, before anything is written.
#include <gtest/gtest.h>

#include <cstdio>
#include <limits>
#include <softlook/softlook.hpp>

#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"
#include "tests/support/ways.hpp"

namespace softlook::parameters_test {
namespace {

using namespace softlook_test;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

template <class T>
class Parameters : public testing::Test {
 protected:
  using matrix = row_major<T>;

  static std::string digits(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", x);
    return text;
  }

  /// Not finite in T.
  static std::vector<double> unheld() {
    std::vector<double> values = {infinity, -infinity, nan};
    if (std::is_same_v<T, float>) values.insert(values.end(), {1e39, -1e300});
    return values;
  }
  /// Not positive in T.
  static std::vector<double> not_positive() {
    std::vector<double> values = {0, -1, infinity, nan};
    if (std::is_same_v<T, float>) values.insert(values.end(), {1e39, 1e-46});
    return values;
  }
  /// Not at least 0, or something that would become 0.
  static std::vector<double> not_at_least_0() {
    std::vector<double> values = {-1, infinity, nan};
    if (std::is_same_v<T, float>) values.insert(values.end(), {1e39, 1e-46});
    return values;
  }

  /// f(value) refuses each of the values by name.
  template <class F>
  void refused(const std::vector<double>& values, const char* where, const std::string& name,
               const F& f) const {
    for (const double x : values) {
      const std::string is = name + " is " + digits(x);
      SCOPED_TRACE(std::string(where) + ": " + is);
      expect_error<argument_error>([&] { f(x); }, {where, is.c_str(), " ("});
    }
  }
  /// The policy that f makes of a value, in every way to compute attention.
  template <class F>
  void policy_refused(const std::vector<double>& values, const std::string& name,
                      const F& f) const {
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      matrix O = matrix::Constant(p.Q.rows(), p.V.cols(), T(7));
      const matrix before = O;
      refused(values, "attention_into", name,
              [&](double x) { attention_into(p.Q, p.K, p.V, O, f(x), which.opts); });
      EXPECT_TRUE(bitwise_equal(O, before));
    }
  }

  problem_inputs<T> p =
      random_problem<T>({.queries = 4, .keys = 4, .features = 4, .values = 4}, seed(1));
};
TYPED_TEST_SUITE(Parameters, scalars, scalar_names);

TYPED_TEST(Parameters, TheMessageNamesTheRange) {
  using T = TypeParam;
  try {
    (void)attention(this->p.Q, this->p.K, this->p.V, options{.scale = -infinity});
    FAIL() << "no error";
  } catch (const argument_error& error) {
    const std::string most = this->digits(double(std::numeric_limits<T>::max()));
    EXPECT_EQ(error.what(), "attention: options.scale is -inf (a scale is finite, between -" +
                                most + " and " + most + ")");
  }
}

TYPED_TEST(Parameters, TheLargestAndTheSmallestNumbersAreHeld) {
  using T = TypeParam;
  using limits = std::numeric_limits<T>;
  using detail::parameter;
  for (const parameter kind : {parameter::finite, parameter::not_negative, parameter::positive}) {
    detail::check_parameter<T>("f", "x", double(limits::max()), kind, "held");
    detail::check_parameter<T>("f", "x", double(limits::denorm_min()), kind, "held");
  }
  detail::check_parameter<T>("f", "x", 0, parameter::not_negative, "held");
  detail::check_parameter<T>("f", "x", double(limits::lowest()), parameter::finite, "held");
  if (std::is_same_v<T, float>)  // a decimal of the largest float that lies above it
    detail::check_parameter<T>("f", "x", 3.4028235e38, parameter::positive, "held");
}

TYPED_TEST(Parameters, ScaleOfScores) {
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    this->refused(this->unheld(), "attention", "options.scale", [&](double x) {
      options opts = which.opts;
      opts.scale = x;
      (void)attention(this->p.Q, this->p.K, this->p.V, opts);
    });
  }
  const auto with = [&](double x) { return options{.scale = x}; };
  const auto &Q = this->p.Q, &K = this->p.K, &V = this->p.V;
  const auto everywhere = [&](const char* where, const auto& f) {
    this->refused(this->unheld(), where, "options.scale", [&](double x) { f(with(x)); });
  };
  everywhere("naive_attention", [&](const options& o) { (void)naive_attention(Q, K, V, o); });
  everywhere("attention_weights", [&](const options& o) { (void)attention_weights(Q, K, o); });
  everywhere("entmax_attention",
             [&](const options& o) { (void)entmax_attention(Q, K, V, 1.5, scores::dot{}, o); });
  everywhere("linear_attention", [&](const options& o) { (void)linear_attention(Q, K, V, o); });
  everywhere("fast_weights", [&](const options& o) { (void)fast_weights(Q, K, V, o); });
  everywhere("local_attention", [&](const options& o) {
    (void)local_attention(Q, K, V, alignments::monotonic{.window = 1}, o);
  });
}

TYPED_TEST(Parameters, OfTransforms) {
  using T = TypeParam;
  std::vector<double> caps = this->not_positive();
  if (std::is_same_v<T, float>) caps.push_back(1e-39);  // whose inverse is no float
  caps.push_back(4e-309);                               // … and no double
  this->policy_refused(caps, "transforms::soft_cap.cap",
                       [](double x) { return transforms::soft_cap{x}; });
  this->policy_refused(this->unheld(), "transforms::alibi.slope",
                       [](double x) { return transforms::alibi{x}; });
  Eigen::VectorXd slopes(1);
  this->policy_refused(this->unheld(), "transforms::alibi_per_head slope", [&](double x) {
    slopes[0] = x;
    return transforms::alibi_per_head(slopes);
  });
  for (const double cap : {1e-30, 1e30}) {
    const auto O = attention(this->p.Q, this->p.K, this->p.V, transforms::soft_cap{cap});
    EXPECT_TRUE(O.allFinite()) << cap;
  }
}

TYPED_TEST(Parameters, OfLinearAttention) {
  using T = TypeParam;
  const auto &Q = this->p.Q, &K = this->p.K, &V = this->p.V;
  this->refused(
      this->not_at_least_0(), "linear_attention", "normalizations::sum epsilon",
      [&](double x) { (void)linear_attention(Q, K, V, normalizations::sum{.epsilon = x}); });
  for (const T x : {T(-1), T(infinity), T(nan)}) {
    const Eigen::Matrix<T, 1, 1> gamma(x);
    expect_error<argument_error>([&] { (void)fast_weights(Q, K, V, gates::decay{gamma}); },
                                 {"fast_weights", "gates::decay of a head"});
  }
  this->refused(this->not_positive(), "random_features", "scale",
                [](double x) { (void)random_features<T>(4, {.features = 8, .scale = x}); });
  this->refused(this->not_at_least_0(), "random_features", "epsilon",
                [](double x) { (void)random_features<T>(4, {.features = 8, .epsilon = x}); });
  this->refused(this->unheld(), "random_features", "key_shift",
                [](double x) { (void)random_features<T>(4, {.features = 8, .key_shift = x}); });
}

TYPED_TEST(Parameters, OfMonotonicAttention) {
  this->refused(this->unheld(), "monotonic_attention", "score_bias", [&](double x) {
    (void)monotonic_attention(this->p.Q, this->p.K, this->p.V, {.score_bias = x},
                              monotonic_start<TypeParam>(this->p.K.rows()));
  });
}

TYPED_TEST(Parameters, OfDecoders) {
  using T = TypeParam;
  const Eigen::Matrix<T, 3, 1> v(1, 2, 3);
  for (const double g : {infinity, nan})
    expect_error<argument_error>([&] { (void)weight_norm(v, T(g)); }, {"weight_norm: g is "});
  luong_attention<T> decoder(scores::dot{});
  decoder.set_memory(this->p.K, this->p.V);
  this->refused(this->unheld(), "luong_attention", "options.scale",
                [&](double x) { (void)decoder.step(this->p.Q.row(0), options{.scale = x}); });
}

TYPED_TEST(Parameters, OfPositions) {
  using T = TypeParam;
  const Eigen::VectorXd frequencies = rotary_frequencies(4);
  this->refused(this->not_positive(), "rotary_embedding", "options.magnitude",
                [&](double x) { (void)rotary_embedding<T>(frequencies, {.magnitude = x}); });
  this->refused({infinity, nan, 1e300}, "rotary_embedding", "a frequency", [&](double x) {
    Eigen::VectorXd f = frequencies;
    f[1] = x;
    (void)rotary_embedding<T>(f);
  });
  const std::vector<double> no_base = {0, -1, infinity, nan};
  this->refused(no_base, "rotary_frequencies", "theta",
                [](double x) { (void)rotary_frequencies(4, x); });
  this->refused({0, -1, infinity, nan, 1e-300}, "sinusoidal", "options.min_timescale",
                [](double x) { (void)sinusoidal<T>(3, 4, {.min_timescale = x}); });
  this->refused(no_base, "sinusoidal", "options.max_timescale",
                [](double x) { (void)sinusoidal<T>(3, 4, {.max_timescale = x}); });
  this->refused({1e308}, "sinusoidal", "options.max_timescale", [](double x) {
    (void)sinusoidal<T>(3, 4, {.min_timescale = 1e-280, .max_timescale = x});
  });
}

TYPED_TEST(Parameters, OfScaledRotaryFrequencies) {
  const std::vector<double> no_factor = {0, -1, infinity, nan};
  const auto by = [&](const char* name, const auto& with) {
    this->refused(no_factor, "rotary_frequencies", name,
                  [&](double x) { (void)rotary_frequencies(8, 1e4, with(x)); });
  };
  by("linear_scaling.factor", [](double x) { return linear_scaling{.factor = x}; });
  by("dynamic_ntk_scaling.factor", [](double x) { return dynamic_ntk_scaling{.factor = x}; });
  by("llama3_scaling.factor", [](double x) { return llama3_scaling{.factor = x}; });
  by("yarn_scaling.factor", [](double x) { return yarn_scaling{.factor = x}; });
  by("yarn_scaling.slow_turns", [](double x) { return yarn_scaling{.slow_turns = x}; });
  by("yarn_scaling.fast_turns", [](double x) { return yarn_scaling{.fast_turns = x}; });
  this->refused({1, 0.5}, "rotary_frequencies", "theta",
                [](double x) { (void)rotary_frequencies(8, x, yarn_scaling{}); });
}

TYPED_TEST(Parameters, OfLayers) {
  using T = TypeParam;
  using vector = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  const vector gain = vector::Ones(4), none;
  this->refused(this->not_at_least_0(), "layer_norm", "epsilon",
                [&](double x) { (void)layer_norm<T>(gain, none, x); });
  transformer_encoder_layer_parameters<T> of_layer;
  of_layer.self_attention.Wq = of_layer.self_attention.Wk = of_layer.self_attention.Wv =
      of_layer.self_attention.Wo = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>::Identity(4, 4);
  of_layer.W1 = of_layer.W2 = of_layer.self_attention.Wq;
  of_layer.gain1 = of_layer.gain2 = gain;
  this->refused(this->not_at_least_0(), "transformer_encoder_layer", "epsilon", [&](double x) {
    (void)transformer_encoder_layer<T>(of_layer, {.heads = {.query = 2}, .epsilon = x});
  });
  const transformer_encoder_layer<T> layer(of_layer, {.heads = {.query = 2}});
  row_major<T> Y = this->p.Q;
  this->refused(this->unheld(), "transformer_encoder_layer", "options.scale",
                [&](double x) { layer.into(Y, Y, options{.scale = x}); });
  EXPECT_TRUE(bitwise_equal(Y, row_major<T>(this->p.Q)));
}

TYPED_TEST(Parameters, OfFeatureMaps) {
  using T = TypeParam;
  const std::vector<double> values = {infinity, -infinity, nan};
  const row_major<T> X = this->p.Q;
  this->refused(values, "non_local_block", "gain",
                [](double x) { (void)non_local_block<T>(non_local_parameters<T>{.gain = T(x)}); });
  this->refused(values, "channel_self_attention", "gain",
                [&](double x) { (void)channel_self_attention(X, T(x)); });
  this->refused(values, "dual_attention", "channel_gain", [](double x) {
    (void)dual_attention<T>(non_local_block<T>(non_local_parameters<T>{}), T(x));
  });
  const auto spatial = [](T gain, T shift) {
    spatial_attention_parameters<T> of_gate;
    of_gate.kernels.setOnes(6, 3);
    of_gate.gain = gain;
    of_gate.shift = shift;
    (void)spatial_attention<T>(of_gate);
  };
  this->refused(values, "spatial_attention", "gain", [&](double x) { spatial(T(x), T(0)); });
  this->refused(values, "spatial_attention", "shift", [&](double x) { spatial(T(1), T(x)); });
  global_context_parameters<T> context;
  context.key.setOnes(4);
  context.W1.setIdentity(4, 4);
  context.W2.setIdentity(4, 4);
  context.gain.setOnes(4);
  this->refused(this->not_at_least_0(), "global_context", "epsilon",
                [&](double x) { (void)global_context<T>(context, {.epsilon = x}); });
  this->refused({0, -1, infinity, nan}, "eca_taps", "gamma",
                [](double x) { (void)eca_taps(8, x); });
  this->refused(values, "eca_taps", "b", [](double x) { (void)eca_taps(8, 2, x); });
  this->refused({-1, infinity, nan}, "gain_and_shift", "variance + epsilon",
                [](double x) { (void)gain_and_shift<T>(1, 0, 0, 0, x); });
}

}  // namespace
}  // namespace softlook::parameters_test
