#include "softlook/gradient/bahdanau.hpp"

#include <limits>

#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"

namespace softlook::bahdanau_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using weights = bahdanau_parameters<double>;
using tokens = std::vector<index>;

gru_parameters<double> gru_of(index inputs, index units, bool biased, generator& random) {
  gru_parameters<double> p;
  p.Wx = random_matrix<col_major<double>>(inputs, 3 * units, random, 0.5);
  p.Wh = random_matrix<col_major<double>>(units, 3 * units, random, 0.5);
  if (biased) {
    p.bx = random_matrix<weights::row>(1, 3 * units, random, 0.5);
    p.bh = random_matrix<weights::row>(1, 3 * units, random, 0.5);
  }
  p.reset = gru_reset::before_product;
  return p;
}

/// 3 units of each encoder, 4 of the decoder, 5 source and 6 target tokens.
weights weights_of(bool biased, generator& random) {
  weights p;
  p.source_embedding = random_matrix<matrix>(5, 2, random);
  p.target_embedding = random_matrix<matrix>(6, 3, random);
  p.forward = gru_of(2, 3, biased, random);
  p.backward = gru_of(2, 3, biased, random);
  p.Ws = random_matrix<matrix>(3, 4, random);
  p.attention.Wq = random_matrix<matrix>(4, 5, random);
  p.attention.Wk = random_matrix<matrix>(6, 5, random);
  p.attention.v = random_matrix<col_major<double>>(5, 1, random);
  p.decoder = gru_of(3 + 6, 4, biased, random);
  p.readout = random_matrix<matrix>(4 + 3 + 6, 2 * 4, random, 0.5);
  p.Wo = random_matrix<matrix>(4, 6, random);
  if (biased) {
    p.bs = random_matrix<weights::row>(1, 4, random);
    p.attention.b = random_matrix<col_major<double>>(5, 1, random);
    p.b_readout = random_matrix<weights::row>(1, 8, random);
    p.bo = random_matrix<weights::row>(1, 6, random);
  }
  return p;
}

tokens random_tokens(index count, index vocabulary, generator& random) {
  tokens t;
  for (index k = 0; k < count; ++k) t.push_back(random.integer(0, vocabulary - 1));
  return t;
}

struct lengths {
  index sentences, source, target;
};
constexpr lengths sizes[] = {{1, 1, 1}, {1, 4, 3}, {3, 1, 2}, {2, 3, 4}};

TEST(BahdanauGradient, IsThatOfDifferences) {
  generator random = seed(16501);
  saved_bahdanau<double> saved, other;  // of other shapes each time
  for (const auto& [sentences, source, target] : sizes)
    for (const bool biased : {false, true}) {
      weights p = weights_of(biased, random);
      const tokens from = random_tokens(sentences * source, 5, random);
      const tokens fed = random_tokens(sentences * target, 6, random);
      const matrix dlogits = random_matrix<matrix>(sentences * target, 6, random);
      bahdanau_forward(p, from, fed, sentences, saved);
      weights gradients = zeros_like(p);
      bahdanau_backward(p, saved, dlogits, gradients);
      expect_parameter_gradients(p, gradients, [&] {
        return inner_product(dlogits, bahdanau_forward(p, from, fed, sentences, other));
      });
    }
}

TEST(BahdanauGradient, ForwardIsTheModelOfEachSentence) {
  generator random = seed(16502);
  for (const auto& [sentences, source, target] : sizes) {
    weights p = weights_of(true, random);
    p.attention.b.resize(0);
    const bahdanau_model<double> model(p);
    const tokens from = random_tokens(sentences * source, 5, random);
    const tokens fed = random_tokens(sentences * target, 6, random);
    saved_bahdanau<double> saved;
    const matrix logits = bahdanau_forward(p, from, fed, sentences, saved);
    for (index b = 0; b < sentences; ++b) {
      tokens alone;
      for (index t = 0; t < source; ++t) alone.push_back(from[std::size_t(t * sentences + b)]);
      const auto sentence = model.read(alone);
      auto state = model.start(sentence);
      for (index i = 0; i < target; ++i) {
        const auto step = model.step(sentence, tokens{fed[std::size_t(i * sentences + b)]}, state);
        EXPECT_LE((step.logits - logits.row(i * sentences + b)).cwiseAbs().maxCoeff(), 1e-13);
        EXPECT_LE((step.weights - saved.weights(b).row(i)).cwiseAbs().maxCoeff(), 1e-14);
      }
    }
  }
}

TEST(BahdanauGradient, OfFloatIsThatOfDouble) {
  generator random = seed(16503);
  const weights p = weights_of(true, random);
  const auto narrow = cast_parameters<float>(p);
  const tokens from = random_tokens(6, 5, random), fed = random_tokens(8, 6, random);
  const matrix dlogits = random_matrix<matrix>(8, 6, random);
  weights wide_gradients = zeros_like(p);
  auto narrow_gradients = zeros_like(narrow);
  saved_bahdanau<double> wide_saved;
  saved_bahdanau<float> narrow_saved;
  bahdanau_forward(p, from, fed, 2, wide_saved);
  bahdanau_backward(p, wide_saved, dlogits, wide_gradients);
  bahdanau_forward(narrow, from, fed, 2, narrow_saved);
  bahdanau_backward(narrow, narrow_saved, col_major<float>(dlogits.cast<float>()),
                    narrow_gradients);
  expect_same_parameter_gradients(narrow_gradients, wide_gradients);
  EXPECT_GT(narrow_saved.bytes(), 0u);
}

TEST(BahdanauGradient, RefusesWhatDoesNotFit) {
  generator random = seed(16504);
  const weights p = weights_of(true, random);
  saved_bahdanau<double> saved;
  const auto with = [&](const weights& w, const tokens& from, const tokens& fed, index sentences) {
    return [&saved, w, from, fed, sentences] { bahdanau_forward(w, from, fed, sentences, saved); };
  };
  expect_error<argument_error>(with(p, {}, {1}, 1), {"bahdanau_forward: source.size() is 0"});
  expect_error<argument_error>(with(p, {1}, {}, 1), {"fed.size() is 0"});
  expect_error<argument_error>(with(p, {1}, {1}, 0), {"sentences is 0"});
  expect_error<argument_error>(with(p, {5}, {1}, 1), {"an id is 5", "tokens.rows(), 5"});
  expect_error<argument_error>(with(p, {1}, {-1}, 1), {"an id is -1"});
  expect_error<shape_error>(with(p, {1, 2, 3}, {1, 2}, 2), {"source.size() is 3"});
  weights wrong = p;
  wrong.Wo.resize(3, 6);
  expect_error<shape_error>(with(wrong, {1}, {1}, 1),
                            {"readout.cols() is 8", "2 · Wo.rows() is 6"});
  wrong = p;
  wrong.bo.resize(5);
  expect_error<shape_error>(with(wrong, {1}, {1}, 1), {"bo.size() is 5", "Wo.cols() is 6"});

  bahdanau_forward(p, tokens{1, 2}, tokens{1}, 1, saved);
  weights gradients = zeros_like(p);
  expect_error<shape_error>([&] { bahdanau_backward(p, saved, matrix(2, 6), gradients); },
                            {"bahdanau_backward: dY.rows() is 2"});
  gradients.Ws.resize(3, 5);
  expect_error<shape_error>([&] { bahdanau_backward(p, saved, matrix(1, 6), gradients); },
                            {"gradients.Ws.cols() is 5"});
}

TEST(MaxoutGradient, IsThatOfDifferences) {
  generator random = seed(16505);
  matrix X = random_matrix<matrix>(4, 6, random);
  const matrix dY = random_matrix<matrix>(4, 3, random);
  saved_maxout<double> saved, other;
  maxout_forward(X, saved);
  for (index i = 0; i < 4; ++i)
    for (index c = 0; c < 3; ++c) EXPECT_EQ(saved.Y(i, c), std::max(X(i, 2 * c), X(i, 2 * c + 1)));
  expect_gradient("X", X, maxout_backward(saved, dY),
                  [&] { return inner_product(dY, maxout_forward(X, other)); });
  const col_major<double> by_columns = X;
  EXPECT_EQ(maxout_forward(by_columns, other), saved.Y);
}

TEST(MaxoutGradient, OfEqualOnesIsTheFirstsAndNaNStays) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  matrix X(1, 6);
  X << 2, 2, 1, nan, -1, std::numeric_limits<double>::infinity();
  saved_maxout<double> saved;
  const matrix Y = maxout_forward(X, saved);
  EXPECT_EQ(Y(0, 0), 2);
  EXPECT_TRUE(std::isnan(Y(0, 1)));
  EXPECT_EQ(Y(0, 2), std::numeric_limits<double>::infinity());
  matrix expected(1, 6);
  expected << 3, 0, 0, 4, 0, 5;
  EXPECT_EQ(maxout_backward(saved, (matrix(1, 3) << 3, 4, 5).finished()), expected);
  expect_error<shape_error>([&] { maxout_forward(matrix(2, 3), saved); }, {"X.cols() is 3"});
  expect_error<shape_error>([&] { maxout_backward(saved, matrix(1, 2)); }, {"dY.cols() is 2"});
}

}  // namespace
}  // namespace softlook::bahdanau_test
