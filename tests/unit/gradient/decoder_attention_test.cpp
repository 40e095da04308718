#include "softlook/gradient/decoder_attention.hpp"

#include "softlook/mask/padding.hpp"
#include "softlook/seq2seq/luong_attention.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::decoder_attention_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using additive = additive_parameters<double>;
using multiplicative = multiplicative_parameters<double>;

additive additive_of(bool biased, generator& random) {
  additive p;
  p.Wq = random_matrix<matrix>(4, 6, random, 0.5);
  p.Wk = random_matrix<matrix>(3, 6, random, 0.5);
  p.v = random_matrix<additive::vector>(6, 1, random);
  if (biased) p.b = random_matrix<additive::vector>(6, 1, random);
  return p;
}

/// Two steps, the first of which looks at the weights as well.
template <class P, class... Ps>
void expect_steps(P p, index query_features, index key_features, generator& random,
                  const Ps&... policies) {
  matrix K = random_matrix<matrix>(7, key_features, random);
  matrix V = random_matrix<matrix>(7, 5, random);
  matrix Q[] = {random_matrix<matrix>(2, query_features, random),
                random_matrix<matrix>(1, query_features, random)};
  const matrix dC[] = {random_matrix<matrix>(2, 5, random), random_matrix<matrix>(1, 5, random)};
  const matrix dW = random_matrix<matrix>(2, 7, random);
  const auto loss = [&] {
    saved_memory<double> memory;
    saved_step<double> step;
    memory_forward(p, K, V, memory);
    double sum = inner_product(dC[0], step_forward(p, memory, Q[0], step, policies...));
    sum += inner_product(dW, step.weights);
    return sum + inner_product(dC[1], step_forward(p, memory, Q[1], step, policies...));
  };
  saved_memory<double> memory;
  saved_step<double> steps[2];
  memory_forward(p, K, V, memory);
  for (int k = 0; k < 2; ++k) step_forward(p, memory, Q[k], steps[k], policies...);
  P gradients = zeros_like(p);
  step_backward(p, memory, steps[1], dC[1], matrix(), gradients);
  step_backward(p, memory, steps[0], dC[0], dW, gradients);
  memory_backward(p, memory, gradients);
  expect_gradient("Q of the first", Q[0], steps[0].dQ, loss);
  expect_gradient("Q of the second", Q[1], steps[1].dQ, loss);
  expect_gradient("keys", K, memory.dkeys, loss);
  expect_gradient("values", V, memory.dvalues, loss);
  expect_parameter_gradients(p, gradients, loss);
}

TEST(DecoderAttentionGradient, OfBahdanauIsThatOfDifferences) {
  generator random = seed(16401);
  for (const bool biased : {false, true}) {
    expect_steps(additive_of(biased, random), 4, 3, random);
    expect_steps(additive_of(biased, random), 4, 3, random, masks::padding{5});
    expect_steps(additive_of(biased, random), 4, 3, random, options{.scale = 1.7});
  }
}

TEST(DecoderAttentionGradient, OfLuongIsThatOfDifferences) {
  generator random = seed(16402);
  multiplicative general;
  general.W = random_matrix<matrix>(4, 3, random, 0.5);
  expect_steps(general, 4, 3, random);
  expect_steps(general, 4, 3, random, masks::padding{5});
  expect_steps(general, 4, 3, random, options{.scale = 0.3});
  expect_steps(multiplicative(), 3, 3, random);
}

TEST(DecoderAttentionGradient, StepsAreThoseOfTheDecoder) {
  generator random = seed(16403);
  const additive p = additive_of(true, random);
  const matrix K = random_matrix<matrix>(7, 3, random), Q = random_matrix<matrix>(2, 4, random);
  saved_memory<double> memory;
  saved_step<double> step;
  memory_forward(p, K, K, memory);
  step_forward(p, memory, Q, step);
  bahdanau_attention<double> decoder(p.score());
  decoder.set_memory(K, K);
  const auto expected = decoder.step(Q);
  EXPECT_LE((step.context - expected.context).cwiseAbs().maxCoeff(), 1e-14);
  EXPECT_LE((step.weights - expected.weights).cwiseAbs().maxCoeff(), 1e-14);

  multiplicative general;
  general.W = random_matrix<matrix>(4, 3, random);
  memory_forward(general, K, K, memory);
  step_forward(general, memory, Q, step);
  luong_attention<double> luong(scores::general{general.W});
  luong.set_memory(K, K);
  EXPECT_LE((step.context - luong.step(Q).context).cwiseAbs().maxCoeff(), 1e-14);
}

TEST(DecoderAttentionGradient, OfWhatWasSeenIsThatOfDifferences) {
  generator random = seed(16404);
  linear_parameters<double> p;
  p.W = random_matrix<linear_parameters<double>::matrix>(7, 6, random, 0.5);
  p.b = random_matrix<linear_parameters<double>::row>(1, 6, random);
  matrix C = random_matrix<matrix>(2, 3, random), H = random_matrix<matrix>(2, 4, random);
  const matrix dY = random_matrix<matrix>(2, 6, random);
  for (const bool squash : {true, false}) {
    saved_attentional<double> saved, other;
    attentional_forward(p, C, H, saved, squash);
    auto gradients = zeros_like(p);
    const matrix both = attentional_backward(p, saved, dY, gradients);
    const auto loss = [&] {
      return inner_product(dY, attentional_forward(p, C, H, other, squash));
    };
    expect_gradient("context", C, both.leftCols(3), loss);
    expect_gradient("hidden", H, both.rightCols(4), loss);
    expect_parameter_gradients(p, gradients, loss);
  }
}

TEST(DecoderAttentionGradient, RefusesWhatDoesNotFit) {
  generator random = seed(16405);
  const additive p = additive_of(true, random);
  saved_memory<double> memory;
  saved_step<double> step;
  const auto refused = [&](const auto& call) { return message_of<shape_error>(call); };
  EXPECT_NE(refused([&] {
              memory_forward(p, matrix::Ones(2, 4), matrix::Ones(2, 4), memory);
            }).find("memory_forward: Wk.rows() is 3 but keys.cols() is 4"),
            std::string::npos);
  memory_forward(p, matrix::Ones(2, 3), matrix::Ones(2, 4), memory);
  EXPECT_NE(refused([&] {
              step_forward(p, memory, matrix::Ones(1, 3), step);
            }).find("step_forward: Q.cols() is 3 but Wq.rows() is 4"),
            std::string::npos);
  step_forward(p, memory, matrix::Ones(1, 4), step);
  additive gradients = zeros_like(p);
  EXPECT_NE(refused([&] {
              step_backward(p, memory, step, matrix::Ones(1, 3), matrix(), gradients);
            }).find("dY.cols() is 3"),
            std::string::npos);
}

}  // namespace
}  // namespace softlook::decoder_attention_test
