#include <gtest/gtest.h>

#include <set>
#include <string>
#include <unordered_map>

#include "examples/dates/date_forms.hpp"
#include "examples/dates/translator.hpp"
#include "tests/support/errors.hpp"

namespace {

using namespace std::chrono_literals;
using dates::date;
using softlook::index;
using softlook_test::expect_error;

const date example = 1979y / std::chrono::May / 3;

TEST(DateForms, AreWrittenAsTheySay) {
  EXPECT_EQ(dates::iso(example), "1979-05-03");
  EXPECT_EQ(dates::written(example, "%o of %B %Y"), "3rd of May 1979");
  EXPECT_EQ(dates::written(example, "%A, %a %d %D %m %M %b %r '%y"),
            "Thursday, Thu 3 03 5 05 May V '79");
  EXPECT_EQ(dates::written(2069y / std::chrono::December / 31, "%a %d %b %r %y"),
            "Tue 31 Dec XII 69");
  const char* ordinals[] = {"1st",  "2nd",  "3rd",  "4th",  "11th", "12th", "13th",
                            "20th", "21st", "22nd", "23rd", "30th", "31st"};
  const unsigned days[] = {1, 2, 3, 4, 11, 12, 13, 20, 21, 22, 23, 30, 31};
  for (std::size_t k = 0; k < std::size(days); ++k)
    EXPECT_EQ(dates::written(2000y / std::chrono::January / std::chrono::day(days[k]), "%o"),
              ordinals[k]);
}

TEST(DateForms, DaysGoFromTheFirstToTheLast) {
  EXPECT_EQ(dates::iso(dates::date_of(0)), "1970-01-01");
  EXPECT_EQ(dates::iso(dates::date_of(dates::days - 1)), "2069-12-31");
}

TEST(DateForms, NoTextIsTwoDates) {
  std::unordered_map<std::string, std::int64_t> day_of;
  for (std::int64_t day = 0; day < dates::days; ++day)
    for (const std::string_view form : dates::forms()) {
      const std::string text = dates::written(dates::date_of(day), form);
      const auto [at, is_new] = day_of.emplace(text, day);
      ASSERT_TRUE(is_new || at->second == day) << text;
    }
}

TEST(DateForms, OneDateInTenIsUnseen) {
  std::int64_t unseen = 0;
  for (std::int64_t day = 0; day < dates::days; ++day) unseen += dates::is_unseen(day) ? 1 : 0;
  EXPECT_NEAR(double(unseen), double(dates::days) / 10, 150);
  const auto shown = std::chrono::sys_days(example).time_since_epoch().count();
  EXPECT_TRUE(dates::is_unseen(shown));
}

TEST(DateTranslator, TokensAreCharacters) {
  EXPECT_EQ(dates::tokens_of("ab-Z9"), (std::vector<index>{0, 1, 40, 25, 35}));
  for (const std::string_view form : dates::forms())
    EXPECT_FALSE(dates::tokens_of(dates::written(example, form)).empty());
  expect_error<std::invalid_argument>([] { dates::tokens_of(""); }, {"at least one character"});
  expect_error<std::invalid_argument>([] { dates::tokens_of("3 §"); }, {"character 3 is unknown"});
}

TEST(DateTranslator, BatchesHoldSeenDatesStepBehindStep) {
  examples::generator random(5);
  const auto unseen = [] {
    std::set<std::string> all;
    for (std::int64_t day = 0; day < dates::days; ++day)
      if (dates::is_unseen(day)) all.insert(dates::iso(dates::date_of(day)));
    return all;
  }();
  std::set<std::size_t> lengths;
  for (int k = 0; k < 50; ++k) {
    const dates::batch b = dates::draw_batch(3, random);
    ASSERT_EQ(b.source.size() % 3, 0u);
    lengths.insert(b.source.size() / 3);
    ASSERT_EQ(b.wanted.size(), 30u);
    for (std::size_t s = 0; s < 3; ++s) {
      std::string right;
      for (std::size_t t = 0; t < 10; ++t) {
        right += "0123456789-"[b.wanted[t * 3 + s]];
        EXPECT_EQ(b.fed[t * 3 + s], t == 0 ? dates::begin : b.wanted[(t - 1) * 3 + s]);
      }
      EXPECT_EQ(right[4], '-');
      EXPECT_EQ(unseen.count(right), 0u) << right;
    }
  }
  EXPECT_GE(lengths.size(), 10u);
}

TEST(DateTranslator, SameSeedSameWeightsAndDates) {
  examples::generator a(3), b(3), c(4);
  const auto first = dates::first_weights({}, a), second = dates::first_weights({}, b);
  const auto other = dates::first_weights({}, c);
  EXPECT_EQ(first.readout, second.readout);
  EXPECT_NE(first.readout, other.readout);
  EXPECT_EQ(dates::draw_batch(4, a).source, dates::draw_batch(4, b).source);
}

TEST(DateTranslator, PicturesAreOfTheGivenTranslation) {
  examples::generator random(3);
  const dates::model m(dates::first_weights({}, random));
  const auto t = dates::translate(m, "3 May 1979");
  EXPECT_EQ(t.text.size(), 10u);
  EXPECT_EQ(t.looked.rows(), 10);
  EXPECT_EQ(t.looked.cols(), 10);
  EXPECT_LE((t.looked.rowwise().sum().array() - 1).abs().maxCoeff(), 1e-5f);
  EXPECT_LE((dates::alignment(m, "3 May 1979", t.text) - t.looked).cwiseAbs().maxCoeff(), 1e-6f);
  const auto e = dates::examine(m, 20, 1);
  EXPECT_EQ(e.asked, 20);
  EXPECT_EQ(std::size_t(e.asked - e.right), e.mistakes.size());
}

}  // namespace
