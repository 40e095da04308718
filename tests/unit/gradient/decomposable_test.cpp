#include "softlook/gradient/decomposable.hpp"

#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::decomposable_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

TEST(DecomposableGradient, IsThatOfDifferences) {
  generator random = seed(16601);
  matrix A = random_matrix<matrix>(5, 3, random), B = random_matrix<matrix>(7, 4, random);
  matrix FA = random_matrix<matrix>(5, 6, random), FB = random_matrix<matrix>(7, 6, random);
  const matrix dbeta = random_matrix<matrix>(5, 4, random);
  const matrix dalpha = random_matrix<matrix>(7, 3, random);
  for (const sentence_lengths& lengths :
       {sentence_lengths{}, sentence_lengths{.a = 4, .b = 5}, sentence_lengths{.a = 0}}) {
    const options scaled{.scale = 0.7};
    const auto g = soft_align_backward(A, B, FA, FB, dbeta, dalpha, lengths, scaled);
    const auto loss = [&] {
      const auto found = soft_align(A, B, FA, FB, lengths, scaled);
      return inner_product(dbeta, found.beta) + inner_product(dalpha, found.alpha);
    };
    expect_gradient("A", A, g.dA, loss);
    expect_gradient("B", B, g.dB, loss);
    expect_gradient("FA", FA, g.dFA, loss);
    expect_gradient("FB", FB, g.dFB, loss);
  }
}

TEST(DecomposableGradient, RefusesWhatDoesNotFit) {
  const matrix A = matrix::Ones(2, 3), B = matrix::Ones(4, 3);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)soft_align_backward(A, B, A, B, matrix::Ones(4, 3), matrix::Ones(4, 3));
            }).find("dO.rows() is 4"),
            std::string::npos);
}

}  // namespace
}  // namespace softlook::decomposable_test
