#include "softlook/gradient/embedding.hpp"

#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::embedding_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using weight = patch_embedding_parameters<double>::matrix;
using row = patch_embedding_parameters<double>::row;

TEST(TokenEmbeddingGradient, IsThatOfDifferences) {
  generator random = seed(16061);
  const std::int32_t ids[] = {4, 1, 4, 0};  // one token twice, some never
  for (const bool positions : {false, true}) {
    token_embedding_parameters<double> p;
    p.tokens = random_matrix<matrix>(6, 3, random);
    if (positions) p.positions = random_matrix<matrix>(5, 3, random);
    const matrix dY = random_matrix<matrix>(4, 3, random);
    saved_token_embedding<double> saved, other;
    const matrix Y = token_embedding_forward(p, ids, saved);
    EXPECT_EQ(Y.row(2),
              positions ? matrix(p.tokens.row(4) + p.positions.row(2)) : matrix(p.tokens.row(4)));
    token_embedding_parameters<double> gradients = zeros_like(p);
    token_embedding_backward(p, saved, dY, gradients);
    EXPECT_EQ(gradients.tokens.row(4), matrix(dY.row(0) + dY.row(2)));
    expect_parameter_gradients(
        p, gradients, [&] { return inner_product(dY, token_embedding_forward(p, ids, other)); });
  }
}

TEST(TokenEmbeddingGradient, RefusesWhatDoesNotFit) {
  token_embedding_parameters<double> p;
  p.tokens = matrix::Ones(3, 2);
  saved_token_embedding<double> saved;
  const std::int32_t wrong[] = {0, 3}, negative[] = {-1}, ids[] = {0, 2};
  expect_error<argument_error>([&] { token_embedding_forward(p, wrong, saved); }, {"an id", "3"});
  expect_error<argument_error>([&] { token_embedding_forward(p, negative, saved); }, {"-1"});
  p.positions = matrix::Ones(1, 2);
  expect_error<shape_error>([&] { token_embedding_forward(p, ids, saved); },
                            {"ids.size() is 2", "positions.rows() is 1"});
  EXPECT_EQ(saved.Y.size(), 0);
  p.positions.resize(0, 0);
  token_embedding_forward(p, ids, saved);
  auto gradients = zeros_like(p);
  expect_error<shape_error>(
      [&] { token_embedding_backward(p, saved, matrix::Ones(2, 3), gradients); },
      {"dY.cols() is 3", "is 2"});
  EXPECT_EQ(gradients.tokens.cwiseAbs().maxCoeff(), 0);
}

TEST(PatchEmbeddingGradient, IsThatOfDifferences) {
  generator random = seed(16062);
  const map_size size{4, 6}, patch{2, 3};
  for (const bool all : {false, true}) {
    patch_embedding_parameters<double> p;
    p.W = random_matrix<weight>(2 * 6, 3, random);
    if (all) {
      p.b = random_matrix<row>(1, 3, random);
      p.class_token = random_matrix<row>(1, 3, random);
      p.positions = random_matrix<weight>(5, 3, random);
    }
    matrix X = random_matrix<matrix>(2, 24, random);
    const matrix dY = random_matrix<matrix>(all ? 5 : 4, 3, random);
    saved_patch_embedding<double> saved, other;
    const matrix Y = patch_embedding_forward(p, X, size, patch, saved);
    const matrix expected = patch_embedding<double>(p, patch)(X, size);
    EXPECT_LE((Y - expected).cwiseAbs().maxCoeff(), 1e-13);
    auto gradients = zeros_like(p);
    const matrix dX = patch_embedding_backward(p, saved, dY, gradients);
    const auto loss = [&] {
      return inner_product(dY, patch_embedding_forward(p, X, size, patch, other));
    };
    expect_gradient("X", X, dX, loss);
    expect_parameter_gradients(p, gradients, loss);
  }
}

TEST(PatchEmbeddingGradient, RefusesWhatDoesNotFit) {
  patch_embedding_parameters<double> p;
  p.W = weight::Ones(2 * 6, 3);
  saved_patch_embedding<double> saved;
  expect_error<shape_error>(
      [&] { patch_embedding_forward(p, matrix::Ones(2, 20), {4, 5}, {2, 3}, saved); },
      {"4x5", "2x3"});
  expect_error<shape_error>(
      [&] { patch_embedding_forward(p, matrix::Ones(3, 24), {4, 6}, {2, 3}, saved); },
      {"X.rows() is 3", "channels is 2"});
  EXPECT_EQ(saved.Y.size(), 0);
  patch_embedding_forward(p, matrix::Ones(2, 24), {4, 6}, {2, 3}, saved);
  auto gradients = zeros_like(p);
  expect_error<shape_error>(
      [&] { patch_embedding_backward(p, saved, matrix::Ones(5, 3), gradients); },
      {"dY.rows() is 5", "is 4"});
}

TEST(PatchEmbeddingGradient, IsFiniteInFloat) {
  patch_embedding_parameters<float> p;
  p.W.setOnes(4, 3);
  saved_patch_embedding<float> saved;
  patch_embedding_forward(p, row_major<float>::Ones(1, 16), {4, 4}, {2, 2}, saved);
  auto gradients = zeros_like(p);
  EXPECT_TRUE(
      patch_embedding_backward(p, saved, row_major<float>::Ones(4, 3), gradients).allFinite());
}

}  // namespace
}  // namespace softlook::embedding_test
