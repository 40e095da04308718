#include "softlook/seq2seq/beam_search.hpp"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/storage.hpp"

namespace softlook::beam_search_test {
namespace {

using namespace softlook_test;
using logits_type = row_major<double>;

/// A model by table: the logits after each beginning of a sentence. Its state is the beginnings.
class table_model {
 public:
  static constexpr index begin = 7;
  struct state {
    std::vector<std::vector<index>> beginnings{{}};
    std::vector<index> selected{};
    void select(std::span<const index> rows) {
      std::vector<std::vector<index>> kept;
      for (const index r : rows) kept.push_back(beginnings[std::size_t(r)]);
      beginnings = kept;
    }
  };

  table_model(index vocabulary, std::uint64_t seed_number, int kinds)
      : vocabulary_(vocabulary), seed_(seed_number), kinds_(kinds) {}

  index vocabulary() const { return vocabulary_; }
  logits_type operator()(std::span<const index> tokens, state& s) const {
    EXPECT_EQ(tokens.size(), s.beginnings.size());
    logits_type logits(index(tokens.size()), vocabulary_);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const bool first = s.beginnings[i].empty() && tokens[i] == begin;
      if (!first) s.beginnings[i].push_back(tokens[i]);
      logits.row(index(i)) = after(s.beginnings[i]);
    }
    return logits;
  }
  /// Few kinds of numbers make ties.
  Eigen::RowVectorXd after(const std::vector<index>& beginning) const {
    std::uint64_t number = seed_;
    for (const index t : beginning) number = number * 31 + std::uint64_t(t) + 1;
    auto random = seed(unsigned(number % 1000003));
    const logits_type x = random_matrix<logits_type>(1, vocabulary_, random);
    if (kinds_ == 0) return 2 * x.row(0);
    return (x.row(0) * kinds_).array().round().matrix();
  }
  double log_probability(const std::vector<index>& sentence) const {
    double sum = 0;
    std::vector<double> row;
    std::vector<index> beginning;
    for (const index t : sentence) {
      detail::log_softmax_row(logits_type(after(beginning)), 0, row);
      sum += row[std::size_t(t)];
      beginning.push_back(t);
    }
    return sum;
  }

 private:
  index vocabulary_;
  std::uint64_t seed_;
  int kinds_;
};

/// All sentences of a vocabulary up to the maximal length, with their scores.
std::vector<hypothesis> all_sentences(const table_model& model, const search_options& o) {
  std::vector<hypothesis> all;
  const auto extend = [&](const auto& self, std::vector<index> sentence) -> void {
    for (index t = 0; t < model.vocabulary(); ++t) {
      sentence.push_back(t);
      const bool ended = t == o.end;
      if (ended || index(sentence.size()) == o.maximum_length) {
        const double lp = model.log_probability(sentence);
        all.push_back(
            {sentence, lp, lp / std::pow(double(sentence.size()), o.length_exponent), ended});
      } else {
        self(self, sentence);
      }
      sentence.pop_back();
    }
  };
  extend(extend, {});
  return all;
}

search_options options_of(index length, index beam, double exponent = 0) {
  return {.begin = table_model::begin,
          .end = 2,
          .maximum_length = length,
          .beam = beam,
          .length_exponent = exponent};
}

index power(index base, index exponent) {
  index result = 1;
  for (index i = 0; i < exponent; ++i) result *= base;
  return result;
}

/// Sums of few log-probabilities, in another order than the search adds them.
constexpr double rounding = 64 * std::numeric_limits<double>::epsilon();

TEST(BeamSearch, WithABeamForEverySentenceIsExhaustiveSearch) {
  for (std::uint64_t model_number = 0; model_number < 40; ++model_number)
    for (const index vocabulary : {3, 4})
      for (const index length : {1, 2, 3, 4})
        for (const double exponent : {0.0, 0.6, 1.0, 2.0}) {
          const table_model model(vocabulary, model_number, 0);
          const auto o = options_of(length, power(vocabulary, length), exponent);
          auto all = all_sentences(model, o);
          std::sort(all.begin(), all.end(),
                    [](const auto& a, const auto& b) { return a.score > b.score; });
          const auto found = beam_search(table_model::state{}, model, o);
          ASSERT_EQ(found.size(), all.size());
          for (std::size_t k = 0; k < all.size(); ++k) {
            EXPECT_EQ(found[k].tokens, all[k].tokens) << k;
            EXPECT_EQ(found[k].ended, all[k].ended);
            EXPECT_NEAR(found[k].log_probability, all[k].log_probability, rounding * 16);
            EXPECT_NEAR(found[k].score, all[k].score, rounding * 16);
          }
        }
}

TEST(BeamSearch, BreaksTiesByParentThenByToken) {
  // All tokens are equally probable for ever: the order is that of the tokens.
  const auto even = [](std::span<const index> tokens, table_model::state&) {
    return logits_type(logits_type::Zero(index(tokens.size()), 4));
  };
  const auto found = beam_search(table_model::state{}, even, options_of(3, 3));
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].tokens, (std::vector<index>{2}));  // shorter, so more probable
  EXPECT_EQ(found[1].tokens, (std::vector<index>{0, 2}));
  EXPECT_EQ(found[2].tokens, (std::vector<index>{0, 0, 0}));
  EXPECT_TRUE(found[1].ended);
  EXPECT_FALSE(found[2].ended);
}

/// The largest first; of equal ones the first.
template <class Item, class Key>
std::vector<Item> best_first(const std::vector<Item>& items, index count, const Key& key) {
  std::vector<std::size_t> order(items.size());
  for (std::size_t k = 0; k < order.size(); ++k) order[k] = k;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return key(items[a]) != key(items[b]) ? key(items[a]) > key(items[b]) : a < b;
  });
  std::vector<Item> sorted;
  for (const std::size_t k : order)
    if (index(sorted.size()) < count) sorted.push_back(items[k]);
  return sorted;
}

/// Beam search as it is described, without trees, batches or an early stop.
std::vector<hypothesis> plain_beam_search(const table_model& model, const search_options& o) {
  struct live {
    std::vector<index> tokens;
    double log_probability;
  };
  std::vector<live> kept{{{}, 0}};
  std::vector<hypothesis> found;
  for (index length = 1; length <= o.maximum_length; ++length) {
    std::vector<live> all;
    for (const live& s : kept) {
      std::vector<double> row;
      detail::log_softmax_row(logits_type(model.after(s.tokens)), 0, row);
      for (index t = 0; t < model.vocabulary(); ++t) {
        all.push_back({s.tokens, s.log_probability + row[std::size_t(t)]});
        all.back().tokens.push_back(t);
      }
    }
    all = best_first(all, o.beam, [](const live& l) { return l.log_probability; });
    kept.clear();
    for (const live& s : all) {
      const bool ended = s.tokens.back() == o.end;
      if (!ended && length < o.maximum_length) {
        kept.push_back(s);
      } else {
        found.push_back({s.tokens, s.log_probability,
                         s.log_probability / std::pow(double(length), o.length_exponent), ended});
      }
    }
  }
  return best_first(found, o.beam, [](const hypothesis& h) { return h.score; });
}

TEST(BeamSearch, IsWhatItsDescriptionSaysTiesIncluded) {
  for (std::uint64_t model_number = 0; model_number < 60; ++model_number)
    for (const int kinds : {0, 1, 2})
      for (const index beam : {1, 2, 3, 5, 8})
        for (const double exponent : {0.0, 1.0}) {
          const table_model model(5, model_number, kinds);
          const auto o = options_of(6, beam, exponent);
          const auto found = beam_search(table_model::state{}, model, o);
          const auto expected = plain_beam_search(model, o);
          ASSERT_EQ(found.size(), expected.size());
          for (std::size_t k = 0; k < found.size(); ++k) {
            EXPECT_EQ(found[k].tokens, expected[k].tokens);
            EXPECT_EQ(found[k].log_probability, expected[k].log_probability);
            EXPECT_EQ(found[k].ended, expected[k].ended);
          }
        }
}

TEST(BeamSearch, OfBeamOneIsGreedySearch) {
  for (std::uint64_t model_number = 0; model_number < 100; ++model_number)
    for (const int kinds : {0, 1}) {
      const table_model model(6, model_number, kinds);
      const auto o = options_of(9, 1, 0.5);
      const auto found = beam_search(table_model::state{}, model, o);
      const auto greedy = greedy_search(table_model::state{}, model, o);
      ASSERT_EQ(found.size(), 1u);
      EXPECT_EQ(found[0].tokens, greedy.tokens);
      EXPECT_EQ(found[0].log_probability, greedy.log_probability);
      EXPECT_EQ(found[0].score, greedy.score);
      EXPECT_EQ(found[0].ended, greedy.ended);
    }
}

TEST(BeamSearch, FindsNothingBetterThanExhaustiveSearchDoes) {
  int equal = 0;
  for (std::uint64_t model_number = 0; model_number < 50; ++model_number) {
    const table_model model(4, model_number, 0);
    const auto o = options_of(5, 3);
    const auto all = all_sentences(model, o);
    const double best = std::max_element(all.begin(), all.end(), [](const auto& a, const auto& b) {
                          return a.score < b.score;
                        })->score;
    const double found = beam_search(table_model::state{}, model, o).front().score;
    EXPECT_LE(found, best + rounding);
    equal += std::abs(found - best) <= rounding;
  }
  EXPECT_GT(equal, 25);  // and it is mostly as good
}

TEST(BeamSearch, EndsAtEndAndAtTheMaximalLength) {
  const auto always = [](index token) {
    return [token](std::span<const index> tokens, table_model::state&) {
      logits_type logits =
          logits_type::Constant(index(tokens.size()), 4, -std::numeric_limits<double>::infinity());
      logits.col(token).setZero();
      return logits;
    };
  };
  for (const index beam : {1, 4}) {
    const auto ended = beam_search(table_model::state{}, always(2), options_of(5, beam));
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_EQ(ended[0].tokens, (std::vector<index>{2}));
    EXPECT_TRUE(ended[0].ended);
    EXPECT_EQ(ended[0].log_probability, 0);
    const auto cut = beam_search(table_model::state{}, always(1), options_of(5, beam));
    ASSERT_EQ(cut.size(), 1u);
    EXPECT_EQ(cut[0].tokens, std::vector<index>(5, 1));
    EXPECT_FALSE(cut[0].ended);
  }
  const auto never = [](std::span<const index> tokens, table_model::state&) {
    return logits_type(
        logits_type::Constant(index(tokens.size()), 4, std::numeric_limits<double>::quiet_NaN()));
  };
  EXPECT_TRUE(beam_search(table_model::state{}, never, options_of(5, 3)).empty());
  EXPECT_TRUE(greedy_search(table_model::state{}, never, options_of(5, 3)).tokens.empty());
}

TEST(BeamSearch, StopsWhenNothingLeftCanWin) {
  int steps = 0;
  const auto soon = [&](std::span<const index> tokens, table_model::state&) {
    ++steps;
    logits_type logits = logits_type::Zero(index(tokens.size()), 4);
    logits.col(2).setConstant(20);
    return logits;
  };
  (void)beam_search(table_model::state{}, soon, options_of(1000, 2));
  EXPECT_LE(steps, 3);
}

TEST(BeamSearch, RejectsOptionsAndStepsThatMakeNoSense) {
  const table_model model(4, 1, 0);
  const auto search = [&](const search_options& o) {
    return [&model, o] { (void)beam_search(table_model::state{}, model, o); };
  };
  expect_error<argument_error>(search(options_of(0, 1)), {"beam_search", "maximum_length is 0"});
  expect_error<argument_error>(search(options_of(3, 0)), {"beam_search", "beam is 0"});
  expect_error<argument_error>(search(options_of(3, 1, -1)),
                               {"beam_search", "length_exponent is -1"});
  expect_error<argument_error>(
      [&] { (void)greedy_search(table_model::state{}, model, options_of(0, 1)); },
      {"greedy_search", "maximum_length is 0"});
  const auto two = [](std::span<const index>, table_model::state&) {
    return logits_type(logits_type::Zero(2, 4));
  };
  expect_error<shape_error>([&] { (void)beam_search(table_model::state{}, two, options_of(3, 1)); },
                            {"beam_search", "logits.rows() is 2", "the sentences is 1"});
}

}  // namespace
}  // namespace softlook::beam_search_test
