#include "softlook/inspect.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "softlook/inspect/detail/drawing.hpp"
#include "tests/support/text.hpp"

namespace heat_map_test {
namespace {

using namespace softlook::inspect;
namespace drawing = softlook::detail::drawing;
using softlook::argument_error;
using softlook::shape_error;
using softlook::inspect::style;
using softlook_test::contains;
using softlook_test::count;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Eigen::MatrixXd alignment() {
  Eigen::MatrixXd P(3, 3);
  P << 0.92, 0.03, 0.05, 0.04, 0.06, 0.90, 0, 0.89, 0.11;
  return P;
}

heat_map alignment_map(const std::string& title = "") {
  return heat_map(alignment(), {"je", "t'", "aime"}, {"I", "love", "you"}, title);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// Every tag is closed in order, and no "<" or "&" stands for itself.
bool is_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < xml.size(); ++at) {
    if (xml[at] == '&') {
      const std::string rest = xml.substr(at, 6);
      const auto begins = [&](const char* entity) { return rest.rfind(entity, 0) == 0; };
      if (!begins("&amp;") && !begins("&lt;") && !begins("&gt;") && !begins("&quot;")) return false;
    }
    if (xml[at] != '<') continue;
    const std::size_t end = xml.find('>', at);
    if (end == std::string::npos || xml.find('<', at + 1) < end) return false;
    const std::string tag = xml.substr(at + 1, end - at - 1);
    if (tag.front() == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty();
}

TEST(HeatMap, TakesAnyExpressionAndScalar) {
  Eigen::Matrix<float, 2, 3, Eigen::RowMajor> W;
  W << 1, 2, 3, 4, 5, 6;
  EXPECT_EQ(heat_map(W).weights(), W.cast<double>());
  EXPECT_EQ(heat_map(W.transpose()).weights(), W.transpose().cast<double>());
  EXPECT_EQ(heat_map(W * W.transpose()).weights(), (W * W.transpose()).cast<double>());
  EXPECT_EQ(heat_map(W.array() + 1).weights()(1, 2), 7);
  EXPECT_EQ(heat_map(W.array() > 3).weights().sum(), 3);
}

TEST(HeatMap, NumbersWhatHasNoName) {
  const heat_map map(alignment());
  EXPECT_EQ(map.queries(), (labels{"0", "1", "2"}));
  EXPECT_EQ(map.keys(), map.queries());
}

TEST(HeatMap, RejectsTheWrongNumberOfNames) {
  try {
    heat_map(alignment(), {"je", "t'"}, {"I", "love", "you"});
    FAIL() << "two names for three rows";
  } catch (const shape_error& error) {
    EXPECT_STREQ(error.what(),
                 "inspect::heat_map: queries.size() is 2 but weights.rows() is 3 (every one has a "
                 "name, or none has)");
  }
  EXPECT_THROW(heat_map(alignment(), {}, {"I", "love", "you", "too"}), shape_error);
}

TEST(HeatMap, MakesNamesPrintable) {
  const heat_map map(Eigen::MatrixXd::Zero(1, 5), {"line\nend"},
                     {"\x1b[0m", "caf\xC3\xA9", "\xFF\xC3", "\xED\xA0\x80", "\xC0\x80"});
  EXPECT_EQ(map.queries()[0], "line␊end");
  EXPECT_EQ(map.keys()[0], "␛[0m");
  EXPECT_EQ(map.keys()[1], "café");
  EXPECT_EQ(map.keys()[2], "\uFFFD\uFFFD");        // a byte that begins nothing, one cut short
  EXPECT_EQ(map.keys()[3], "\uFFFD\uFFFD\uFFFD");  // half of a surrogate pair
  EXPECT_EQ(map.keys()[4], "\uFFFD\uFFFD");        // longer than need be
}

TEST(HeatMap, NeutralisesWhatOrdersTheTextAroundIt) {
  // Marks, embeddings, overrides and isolates of bidirectional text, separators of lines, C1.
  const labels names = {"a\u202Eb", "\u2066\u2069", "\u200F\u200E",
                        "\u061C",   "\u2028\u2029", "\u009B"};
  const heat_map map(Eigen::MatrixXd::Zero(1, 6), {"\u202Ae\u202C"}, names, "\u202Dtitle\u2067");
  EXPECT_EQ(map.title(), "\uFFFDtitle\uFFFD");
  EXPECT_EQ(map.queries()[0], "\uFFFDe\uFFFD");
  EXPECT_EQ(map.keys(), (labels{"a\uFFFDb", "\uFFFD\uFFFD", "\uFFFD\uFFFD", "\uFFFD",
                                "\uFFFD\uFFFD", "\uFFFD"}));
  EXPECT_EQ(printable("\u05D0\u0627 \u200D"), "\u05D0\u0627 \u200D");  // letters and joiners stay
  const std::string shown = to_text(map) + to_svg(map) + strongest_keys_text(map, 1);
  for (const char* hidden : {"\u202A", "\u202C", "\u202D", "\u202E", "\u2066", "\u2067", "\u2069",
                             "\u200E", "\u200F", "\u061C", "\u2028", "\u2029", "\u009B"})
    EXPECT_FALSE(contains(shown, hidden));
}

TEST(ColumnsOf, CountsWhatATerminalShows) {
  EXPECT_EQ(drawing::columns_of("love"), 4);
  EXPECT_EQ(drawing::columns_of("café"), 4);
  EXPECT_EQ(drawing::columns_of("cafe\u0301"), 4);  // a combining accent
  EXPECT_EQ(drawing::columns_of("日本"), 4);
  EXPECT_EQ(drawing::columns_of("🙂"), 2);
  EXPECT_EQ(drawing::columns_of(""), 0);
}

TEST(ToText, ShowsNamesShadesAndNumbers) {
  EXPECT_EQ(to_text(alignment_map("je t'aime"), {.paint = paint::ascii}),
            "je t'aime\n"
            "            I     love      you\n"
            "  je  @@ 0.92     0.03     0.05\n"
            "  t'     0.04  .. 0.06  @@ 0.90\n"
            "aime        0  @@ 0.89  .. 0.11\n");
}

TEST(ToText, WithoutNumbersWritesKeysDownwardsAndAScale) {
  EXPECT_EQ(to_text(alignment_map(), {.paint = paint::blocks, .decimals = -1}),
            "        l\n"
            "        o y\n"
            "        v o\n"
            "      I e u\n"
            "  je ██\n"
            "  t'     ██\n"
            "aime   ██\n"
            "0 [    ░░░░▒▒▒▒▓▓▓▓████] 0.92\n");
}

TEST(ToText, AlignsWideAndCombiningNames) {
  const heat_map map(alignment(), {"日本", "cafe\u0301", "abcd"}, {"é", "語", "x"});
  const auto lines = lines_of(to_text(map));
  for (const std::string& line : lines)
    EXPECT_EQ(drawing::columns_of(line), drawing::columns_of(lines[0])) << line;
}

TEST(ToText, ColoursTheGroundAndKeepsTextReadable) {
  const std::string rgb = to_text(alignment_map(), {.paint = paint::rgb});
  EXPECT_TRUE(contains(rgb, "\x1b[38;5;16;48;2;253;231;37m 0.92 \x1b[0m"))
      << rgb;                                                                     // black on yellow
  EXPECT_TRUE(contains(rgb, "\x1b[38;5;231;48;2;68;1;84m   0  \x1b[0m")) << rgb;  // white on violet
  const std::string cube = to_text(alignment_map(), {.paint = paint::ansi256});
  EXPECT_TRUE(contains(cube, "\x1b[38;5;16;48;5;220m 0.92 \x1b[0m")) << cube;
  EXPECT_EQ(count(cube, "\x1b[0m"), 9);
  EXPECT_FALSE(contains(to_text(alignment_map(), {.paint = paint::blocks}), "\x1b"));
}

TEST(ToText, ShowsNonFiniteWeightsDistinctly) {
  const Eigen::RowVector3d odd(nan, infinity, -infinity);
  for (const paint p : {paint::ascii, paint::blocks, paint::ansi256, paint::rgb}) {
    const std::string numbers = to_text(heat_map(odd), {.paint = p});
    for (const char* what : {"NaN", " inf", "-inf"}) EXPECT_TRUE(contains(numbers, what));
    const std::string shades = to_text(heat_map(odd), {.paint = p, .decimals = -1});
    for (const char* what : {"??", "^^", "__"}) EXPECT_TRUE(contains(shades, what)) << shades;
  }
}

TEST(ToText, PutsMapsBesideEachOther) {
  const std::vector<heat_map> maps = {alignment_map("one"), alignment_map("two"),
                                      alignment_map("three")};
  const auto lines = lines_of(to_text(maps, {.paint = paint::ascii, .per_row = 2}));
  ASSERT_EQ(lines.size(), 11U);
  EXPECT_EQ(lines[0].find("two"), 31U + 3U);
  EXPECT_EQ(lines[2], "  je  @@ 0.92     0.03     0.05     je  @@ 0.92     0.03     0.05");
  EXPECT_EQ(lines[5], "");
  EXPECT_EQ(lines[6], "three");
}

TEST(ToText, MapsShareOneScale) {
  const std::vector<heat_map> maps = {heat_map(Eigen::Matrix<double, 1, 1>(1.0)),
                                      heat_map(Eigen::Matrix<double, 1, 1>(0.5))};
  EXPECT_TRUE(contains(to_text(maps, {.paint = paint::ascii}), "++ 0.50"));
  EXPECT_TRUE(contains(to_text(maps[1], {.paint = paint::ascii}), "@@ 0.50"));
  EXPECT_TRUE(contains(to_text(maps[1], {.paint = paint::ascii, .highest = 5}), ".. 0.50"));
}

TEST(ToText, AcceptsMatricesWithoutRowsOrColumns) {
  EXPECT_EQ(to_text(heat_map(Eigen::MatrixXd(0, 0))), "\n");
  EXPECT_EQ(to_text(heat_map(Eigen::MatrixXd(1, 0), {"alone"})), "\nalone\n");
  EXPECT_EQ(to_text(std::vector<heat_map>{}), "");
}

TEST(Style, IsChecked) {
  const heat_map map = alignment_map();
  EXPECT_THROW((void)to_text(map, {.per_row = 0}), argument_error);
  EXPECT_THROW((void)to_svg(map, {.per_row = -1}), argument_error);
  EXPECT_THROW((void)to_text(map, {.lowest = 2.0}), argument_error);
  EXPECT_THROW((void)to_svg(map, {.lowest = 1.0, .highest = 1.0}), argument_error);
  EXPECT_THROW((void)to_text(map, {.highest = infinity}), argument_error);
  EXPECT_THROW((void)to_text(map, {.highest = nan}), argument_error);
}

TEST(Scale, SurvivesExtremeNumbers) {
  Eigen::RowVector4d extreme(-1e308, 1e308, 5e-324, 123456);
  EXPECT_TRUE(contains(to_text(heat_map(extreme)), "1.2e+05"));
  EXPECT_TRUE(contains(to_text(heat_map(Eigen::RowVector2d(0, 5e-324))), "0.00"));
  EXPECT_TRUE(is_well_formed(to_svg(heat_map(extreme))));
}

TEST(Scale, OfTheLargestNumbersHasAFiniteLegend) {
  constexpr double most = std::numeric_limits<double>::max();
  const heat_map map(Eigen::RowVector3d(-most, 0, most));
  for (const paint p : {paint::ascii, paint::blocks, paint::ansi256, paint::rgb}) {
    const std::string text = to_text(map, {.paint = p, .decimals = -1});
    EXPECT_FALSE(contains(text, "?")) << text;
    EXPECT_FALSE(contains(text, "NaN")) << text;
    EXPECT_TRUE(contains(text, "-1.8e+308 [")) << text;
    EXPECT_TRUE(contains(text, "] 1.8e+308")) << text;
  }
  EXPECT_TRUE(contains(to_text(map, {.paint = paint::ascii, .decimals = -1}), "  ++@@"));
  const std::string svg = to_svg(map);
  EXPECT_FALSE(contains(svg, "NaN"));
  EXPECT_FALSE(contains(svg, "inf"));
  EXPECT_TRUE(is_well_formed(svg));
}

TEST(ToSvg, HoldsNamesNumbersAndACellForEachWeight) {
  const std::string svg = to_svg(alignment_map("je t'aime"));
  EXPECT_TRUE(is_well_formed(svg));
  EXPECT_EQ(svg.rfind("<svg xmlns=\"http://www.w3.org/2000/svg\"", 0), 0U);
  for (const char* text :
       {">je<", ">t'<", ">aime<", ">I<", ">love<", ">you<", ">0.89<", ">0<", ">je t'aime<"})
    EXPECT_TRUE(contains(svg, text)) << text;
  EXPECT_EQ(count(svg, "<rect"), 1 + 9 + 60);  // the ground, the cells, the scale
  EXPECT_FALSE(contains(svg, "href"));
}

TEST(ToSvg, WritesReadableTextOnEveryColour) {
  const std::string svg = to_svg(alignment_map());
  EXPECT_TRUE(contains(svg, "fill=\"#000\">0.92<"));
  EXPECT_TRUE(contains(svg, "fill=\"#fff\">0.03<"));
  for (int k = 0; k <= 100; ++k) {
    const drawing::colour c = drawing::viridis(k / 100.0);
    const auto linear = [](int v) { return std::pow(v / 255.0, 2.2); };
    const double light =
        0.2126 * linear(c.red) + 0.7152 * linear(c.green) + 0.0722 * linear(c.blue);
    const double contrast = drawing::is_bright(c) ? (light + 0.05) / 0.05 : 1.05 / (light + 0.05);
    EXPECT_GE(contrast, 4.5) << k;  // WCAG 2, level AA
  }
}

TEST(ToSvg, EscapesNamesAndTitles) {
  const heat_map map(Eigen::MatrixXd::Ones(1, 3), {"<s>"}, {"a&b", "\"", "\x01"}, "R&D <1>");
  const std::string svg = to_svg(map);
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  for (const char* text : {"&lt;s&gt;", "a&amp;b", "&quot;", "␁", "R&amp;D &lt;1&gt;"})
    EXPECT_TRUE(contains(svg, text)) << text;
}

TEST(ToSvg, ExplainsNonFiniteWeightsInTheScale) {
  EXPECT_EQ(count(to_svg(alignment_map()), "inf"), 0);
  const std::string svg = to_svg(heat_map(Eigen::RowVector3d(nan, infinity, -infinity)));
  EXPECT_EQ(count(svg, ">NaN<"), 2);  // the cell and the scale
  EXPECT_EQ(count(svg, ">inf<"), 2);
  EXPECT_EQ(count(svg, ">-inf<"), 2);
}

TEST(ToSvg, LargeMapsLeaveOutNumbersAndSomeNames) {
  const std::string svg = to_svg(heat_map(Eigen::MatrixXd::Constant(100, 100, 0.01)));
  EXPECT_TRUE(is_well_formed(svg));
  EXPECT_EQ(count(svg, ">0.01<"), 0);
  EXPECT_TRUE(contains(svg, ">0.005<") && contains(svg, ">0.010<"));  // the scale
  EXPECT_TRUE(contains(svg, ">0<"));
  EXPECT_FALSE(contains(svg, ">1<"));
  EXPECT_EQ(count(svg, "<rect"), 1 + 10000 + 60);
}

TEST(ToSvg, AcceptsMatricesWithoutRowsOrColumns) {
  EXPECT_TRUE(is_well_formed(to_svg(heat_map(Eigen::MatrixXd(0, 3)))));
  EXPECT_TRUE(is_well_formed(to_svg(heat_map(Eigen::MatrixXd(3, 0)))));
  EXPECT_TRUE(is_well_formed(to_svg(std::vector<heat_map>{})));
}

TEST(WriteSvg, WritesTheFileOrSaysThatItCannot) {
  const std::string path = testing::TempDir() + "softlook_inspect_test.svg";
  write_svg(path, alignment_map());
  std::ifstream file(path);
  std::stringstream written;
  written << file.rdbuf();
  EXPECT_EQ(written.str(), to_svg(alignment_map()));
  std::remove(path.c_str());

  try {
    write_svg(testing::TempDir() + "no such folder/map.svg", alignment_map());
    FAIL() << "the folder does not exist";
  } catch (const std::runtime_error& error) {
    EXPECT_TRUE(contains(error.what(), "inspect::write_svg: cannot write "));
    EXPECT_TRUE(contains(error.what(), "no such folder/map.svg"));
  }
}

TEST(RowEntropy, IsTheLogarithmOfTheEffectiveNumberOfKeys) {
  Eigen::MatrixXf P(4, 4);
  P << 1, 0, 0, 0,                 //
      0.25f, 0.25f, 0.25f, 0.25f,  //
      0, 0, 0, 0,                  //
      0.5f, 0.5f, 0, 0;
  const Eigen::VectorXd H = row_entropy(P);
  ASSERT_EQ(H.size(), 4);
  EXPECT_EQ(H[0], 0);
  EXPECT_FALSE(std::signbit(H[0]));
  EXPECT_DOUBLE_EQ(H[1], std::log(4.0));
  EXPECT_EQ(H[2], 0);
  EXPECT_DOUBLE_EQ(H[3], std::log(2.0));
}

TEST(RowEntropy, CarriesNaNInItsOwnRowOnly) {
  const Eigen::VectorXd H = row_entropy(Eigen::Matrix2d{{nan, 1}, {0, 1}});
  EXPECT_TRUE(std::isnan(H[0]));
  EXPECT_EQ(H[1], 0);
}

TEST(StrongestKeys, AreSortedAndTiesKeepTheirOrder) {
  const auto rows = strongest_keys(Eigen::Matrix<float, 1, 4>(0.25f, 0.125f, 0.25f, 0.375f), 3);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0], (std::vector<key_weight>{{3, 0.375}, {0, 0.25}, {2, 0.25}}));
}

TEST(StrongestKeys, LeaveOutMaskedKeysAndNaN) {
  const Eigen::Matrix3d P{{0, 0, 0}, {nan, 0.5, 0}, {0.25, 0.25, 0.5}};
  const auto rows = strongest_keys(P, 9);
  EXPECT_TRUE(rows[0].empty());
  EXPECT_EQ(rows[1], (std::vector<key_weight>{{1, 0.5}}));
  EXPECT_EQ(rows[2].size(), 3U);
  EXPECT_TRUE(strongest_keys(P, 0)[2].empty());
  EXPECT_THROW((void)strongest_keys(P, -1), argument_error);
}

TEST(StrongestKeysText, NamesQueriesAndKeys) {
  EXPECT_EQ(strongest_keys_text(alignment_map(), 2),
            "je -> I 0.92, you 0.05\nt' -> you 0.90, love 0.06\naime -> love 0.89, you 0.11\n");
  EXPECT_EQ(strongest_keys_text(heat_map(Eigen::RowVector2d(0, 0), {"the"}), 1),
            "the -> nothing\n");
}

}  // namespace
}  // namespace heat_map_test
