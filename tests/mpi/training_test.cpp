// Steps of a training over ranks have the losses of one rank's.
#include "tests/mpi/support.hpp"
//
#include <limits>
#include <string>
#include <vector>

#include "examples/characters/training.hpp"
#include "examples/mpi/rank_training.hpp"

namespace training_test {
namespace {

using softlook::index;
using softlook_test::expect_same_on_all;
using softlook_test::ranks;
using softlook_test::thrown_by;
using softlook_test::world;

constexpr characters::sizes small{
    .known = 23, .features = 16, .heads = 2, .hidden = 24, .layers = 2};

characters::corpus any_text() {
  std::string text;
  for (int k = 0; k < 600; ++k) text += char('a' + k * k * k % 23);
  for (char c = 'a'; c < 'a' + 23; ++c) text += c;
  return characters::corpus_of(text);
}

template <class Training>
std::vector<double> losses_of(Training&& t, index pieces) {
  const characters::corpus c = any_text();
  examples::generator random(1);
  characters::batch b{.length = 11, .pieces = pieces, .text = {}, .wanted = {}};
  std::vector<double> losses;
  for (int k = 0; k < 5; ++k) {
    b.draw(c, random);
    losses.push_back(t.step(b, 1e-2));
  }
  return losses;
}

TEST(TrainingOverRanks, HasTheLossesOfOneRankHoweverRanksShareTheWork) {
  ASSERT_EQ(any_text().known.size(), std::size_t(small.known));
  const index pieces = 8 % ranks() == 0 ? 8 : ranks();
  examples::generator random(2);
  const auto alone = losses_of(characters::training(small, random), pieces);
  EXPECT_LT(alone.back(), alone.front());  // it learns, so weights matter
  for (int sequence = 1; sequence <= ranks(); ++sequence) {
    if (ranks() % sequence != 0) continue;
    examples::generator again(2);
    characters::rank_training model(world(), sequence, small, again);
    const auto mine = losses_of(model, pieces);
    for (std::size_t k = 0; k < mine.size(); ++k)
      EXPECT_NEAR(mine[k], alone[k], 100 * double(std::numeric_limits<float>::epsilon()) * alone[k])
          << "step " << k << ", " << sequence << " ranks for a sequence";
    // All ranks took the same steps.
    softlook::for_each_parameter(
        [&](const std::string& name, const auto& m) {
          auto first = m.eval();
          MPI_Bcast(first.data(), int(first.size()), MPI_FLOAT, 0, MPI_COMM_WORLD);
          EXPECT_TRUE(first == m) << name;
        },
        model.now());
  }
}

TEST(TrainingOverRanks, RefusesGroupsThatDoNotDivide) {
  examples::generator random(2);
  expect_same_on_all(thrown_by<softlook::argument_error>(
      [&] { characters::rank_training(world(), ranks() + 1, small, random); }));
  if (ranks() == 1) return;
  characters::rank_training model(world(), 1, small, random);
  expect_same_on_all(
      thrown_by<softlook::argument_error>([&] { (void)losses_of(model, ranks() + 1); }));
}

}  // namespace
}  // namespace training_test
