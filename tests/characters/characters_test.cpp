#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "examples/characters/model.hpp"
#include "examples/characters/text.hpp"
#include "examples/characters/training.hpp"
#include "examples/training/cross_entropy.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"

namespace {

using softlook::index;
using softlook_test::expect_error;
using ids = std::vector<std::int32_t>;

const characters::sizes small{.known = 5, .features = 8, .heads = 2, .hidden = 6, .layers = 2};

/// Biases and gains that do something.
template <class T>
characters::parameters<T> any_weights(examples::generator& random) {
  auto p = characters::first_weights<T>(small, random);
  softlook::for_each_parameter(
      [&](const std::string&, auto& m) {
        if (m.rows() == 1)
          for (index k = 0; k < m.size(); ++k) m.data()[k] += T(0.3 * random.normal());
      },
      p);
  return p;
}

TEST(CharacterModel, GradientsAreCentralDifferences) {
  examples::generator random(3);
  auto p = any_weights<double>(random);
  const ids text = {0, 3, 1, 4, 4, 2, 2, 0, 1}, wanted = {3, 1, 4, 4, 2, 2, 0, 1, 1};
  characters::saved<double> saved;
  const auto logits = [&]() -> const auto& {
    return characters::forward(p, small.heads, std::span<const std::int32_t>(text), 3, saved);
  };
  const auto loss = [&] { return examples::cross_entropy(logits(), wanted).loss; };
  Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> dlogits;
  (void)examples::cross_entropy(logits(), wanted, &dlogits);
  auto gradients = softlook::zeros_like(p);
  characters::backward(p, small.heads, 3, saved, dlogits, gradients);
  softlook_test::expect_parameter_gradients(p, gradients, loss);
}

TEST(CharacterModel, PiecesDoNotSeeEachOtherAndStandAnywhere) {
  examples::generator random(4);
  const auto p = any_weights<double>(random);
  const ids both = {0, 3, 1, 2, 4, 2}, second = {2, 4, 2};
  characters::saved<double> a, b;
  const Eigen::MatrixXd all = characters::forward(p, 2, std::span<const std::int32_t>(both), 3, a);
  const Eigen::MatrixXd one =
      characters::forward(p, 2, std::span<const std::int32_t>(second), 3, b);
  ASSERT_TRUE(one.allFinite());
  EXPECT_LE((all.bottomRows(3) - one).cwiseAbs().maxCoeff(), 1e-12);
}

TEST(CharacterModel, DoesNotSeeWhatFollows) {
  examples::generator random(5);
  const auto p = any_weights<double>(random);
  const ids text = {0, 3, 1, 2}, other = {0, 3, 4, 4};
  characters::saved<double> a, b;
  const Eigen::MatrixXd x = characters::forward(p, 2, std::span<const std::int32_t>(text), 4, a);
  const Eigen::MatrixXd y = characters::forward(p, 2, std::span<const std::int32_t>(other), 4, b);
  EXPECT_EQ(x.topRows(2), y.topRows(2));
  EXPECT_GT((x.row(2) - y.row(2)).cwiseAbs().maxCoeff(), 1e-3);
}

TEST(CharacterCorpus, NumbersCharactersAndHoldsOutTheLastTenth) {
  const auto c = characters::corpus_of("banana split, banana split");
  EXPECT_EQ(c.known, " ,abilnpst");
  EXPECT_EQ(c.ids_of("ban"), (ids{3, 2, 6}));
  EXPECT_EQ(c.id_of('z'), -1);
  EXPECT_EQ(c.learned(), 24u);
  expect_error<examples::model_error>([&] { (void)c.ids_of("bZ"); },
                                      {"character 2 of the beginning does not occur"});
}

TEST(CharacterCorpus, BatchesAreFollowedByTheNextCharacter) {
  std::string text;
  for (int k = 0; k < 400; ++k) text += char('a' + k * k % 23);
  const auto c = characters::corpus_of(text);
  examples::generator random(1);
  characters::batch b{.length = 10, .pieces = 3, .text = {}, .wanted = {}};
  for (int k = 0; k < 20; ++k) {
    b.draw(c, random);
    ASSERT_EQ(b.text.size(), 30u);
    for (std::size_t i = 0; i < 30; ++i)
      if (i % 10 != 9) {
        EXPECT_EQ(b.wanted[i], b.text[i + 1]);
      }
  }
}

TEST(CharacterTraining, LearnsATextThatRepeatsAndWritesItOn) {
  std::string text;
  for (int k = 0; k < 200; ++k) text += "one two three. ";
  const auto c = characters::corpus_of(text);
  const auto trained = [&](int steps) {
    examples::generator random(2);
    characters::training t(
        {.known = index(c.known.size()), .features = 16, .heads = 2, .hidden = 32, .layers = 1},
        random);
    characters::batch b{.length = 16, .pieces = 4, .text = {}, .wanted = {}};
    for (int k = 0; k < steps; ++k) {
      b.draw(c, random);
      (void)t.step(b, 1e-2);
    }
    return t;
  };
  auto t = trained(120);
  EXPECT_LT(t.held_out_loss(c), 0.8);  // the first characters of a piece cannot be known
  EXPECT_GT(trained(0).held_out_loss(c), 1.5);
  EXPECT_EQ(trained(5).now().output.W, trained(5).now().output.W);
  examples::generator random(1);
  EXPECT_EQ(characters::written(t.now(), 2, c, "one two three. one", 12, 16, 0.1, random),
            " two three. ");
}

}  // namespace
