#include "softlook/gradient/norm.hpp"

#include "softlook/exec/thread_pool.hpp"
#include "softlook/layer/layer_norm.hpp"
#include "softlook/layer/rms_norm.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::norm_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using row = norm_parameters<double>::row;

norm_parameters<double> weights_of(index features, bool bias, generator& random) {
  norm_parameters<double> p;
  p.gain = random_matrix<row>(1, features, random);
  if (bias) p.bias = random_matrix<row>(1, features, random);
  return p;
}

TEST(NormGradient, IsThatOfDifferences) {
  generator random = seed(16021);
  for (const norm_kind kind : {norm_kind::layer, norm_kind::rms})
    for (const index features : {1, 5, 19}) {
      norm_parameters<double> p = weights_of(features, kind == norm_kind::layer, random);
      matrix X = random_matrix<matrix>(4, features, random);
      const matrix dY = random_matrix<matrix>(4, features, random);
      const norm_options o{kind, 0.01};
      saved_norm<double> saved, other;
      const matrix Y = norm_forward(p, X, saved, o);
      matrix layer;
      if (kind == norm_kind::layer)
        layer = layer_norm<double>(p.gain, p.bias, 0.01)(X);
      else
        layer = rms_norm<double>(p.gain, 0.01)(X);
      EXPECT_LE((Y - layer).cwiseAbs().maxCoeff(), 1e-13);
      norm_parameters<double> gradients = zeros_like(p);
      const matrix dX = norm_backward(p, saved, dY, gradients, o);
      const auto loss = [&] { return inner_product(dY, norm_forward(p, X, other, o)); };
      expect_gradient("X", X, dX, loss);
      expect_parameter_gradients(p, gradients, loss);
      const row once = gradients.gain;
      norm_backward(p, saved, dY, gradients, o);
      EXPECT_LE((gradients.gain - 2 * once).cwiseAbs().maxCoeff(), 1e-12);
    }
}

TEST(NormGradient, KeepsItsBitsOnAnyThreadsAndInAnyStorage) {
  generator random = seed(16022);
  const norm_parameters<double> p = weights_of(9, true, random);
  const matrix X = random_matrix<matrix>(130, 9, random),
               dY = random_matrix<matrix>(130, 9, random);
  const col_major<double> across = X;
  saved_norm<double> saved, other;
  norm_parameters<double> one = zeros_like(p), two = zeros_like(p);
  norm_forward(p, X, saved, {});
  const matrix dX = norm_backward(p, saved, dY, one, {});
  exec::thread_pool pool(3);
  EXPECT_EQ(norm_forward(p, across, other, {}, pool), saved.Y);
  EXPECT_EQ(norm_backward(p, other, dY, two, {}, pool), dX);
  EXPECT_EQ(one.gain, two.gain);
  EXPECT_EQ(one.bias, two.bias);
}

TEST(NormGradient, RefusesWhatDoesNotFit) {
  generator random = seed(16023);
  norm_parameters<double> p = weights_of(3, true, random), gradients = zeros_like(p);
  saved_norm<double> saved;
  expect_error<shape_error>([&] { norm_forward(p, matrix::Zero(2, 5), saved, {}); },
                            {"norm_forward", "gain.size() is 3", "is 5"});
  EXPECT_EQ(saved.Y.size(), 0);
  expect_error<argument_error>([&] { norm_forward(p, matrix::Zero(2, 3), saved, {.epsilon = -1}); },
                               {"epsilon", "-1"});
  norm_forward(p, matrix::Zero(2, 3), saved, {});
  const auto before = gradients;
  expect_error<shape_error>([&] { norm_backward(p, saved, matrix::Zero(3, 3), gradients, {}); },
                            {"dY.rows() is 3", "is 2"});
  EXPECT_EQ(gradients.gain, before.gain);
  gradients.bias.resize(0);
  expect_error<shape_error>([&] { norm_backward(p, saved, matrix::Zero(2, 3), gradients, {}); },
                            {"gradients.bias", "weights.bias"});
}

TEST(NormGradient, IsFiniteInFloat) {
  generator random = seed(16024);
  const norm_parameters<float> p = cast_parameters<float>(weights_of(7, true, random));
  norm_parameters<float> gradients = zeros_like(p);
  saved_norm<float> saved;
  norm_forward(p, row_major<float>::Constant(2, 7, 3), saved, {});  // no variance at all
  EXPECT_TRUE(norm_backward(p, saved, row_major<float>::Ones(2, 7), gradients, {}).allFinite());
  EXPECT_GE(saved.bytes(), 4U * 14 * sizeof(float));
}

}  // namespace
}  // namespace softlook::norm_test
