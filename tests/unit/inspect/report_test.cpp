#include "softlook/inspect/report.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// clang-format off
#include "softlook/inspect/report.hpp"
#include "softlook/inspect/detail/report_page.inl"
// clang-format on
#include "tests/support/errors.hpp"
#include "tests/support/text.hpp"

namespace report_test {
namespace {

using namespace softlook::inspect;
using softlook::argument_error;
using softlook::index;
using softlook::shape_error;
using softlook_test::contains;
using softlook_test::count;
using softlook_test::message_of;
using grid = std::vector<std::vector<Eigen::MatrixXd>>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::string between(const std::string& text, const std::string& before, const std::string& after) {
  const std::size_t first = text.find(before) + before.size();
  return text.substr(first, text.find(after, first) - first);
}

/// The element that holds the data.
std::string data_of_page(const std::string& page) {
  return between(page, "<script type=\"application/json\" id=\"data\">", "</script>");
}

std::string field(const std::string& page, const std::string& name) {
  return between(data_of_page(page), "\"" + name + "\":", ",\n\"");
}

/// base64 read letter by letter: a decoder that shares nothing with the encoder.
std::vector<std::uint8_t> decoded(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  unsigned bits = 0, held = 0;
  for (const char c : text) {
    unsigned value = 0;
    if (c >= 'A' && c <= 'Z')
      value = unsigned(c - 'A');
    else if (c >= 'a' && c <= 'z')
      value = unsigned(c - 'a') + 26;
    else if (c >= '0' && c <= '9')
      value = unsigned(c - '0') + 52;
    else if (c == '+' || c == '/')
      value = c == '+' ? 62 : 63;
    else
      break;
    held = held << 6 | value;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<std::uint8_t>(held >> bits));
  }
  return bytes;
}

/// The weights of a page, map after map, by the rule that the page itself follows.
std::vector<std::vector<double>> weights_of(const std::string& page) {
  const int bits = std::stoi(field(page, "bits"));
  const double lowest = std::stod(field(page, "lowest"));
  const double highest = std::stod(field(page, "highest"));
  const unsigned levels = (1U << bits) - 4;
  std::vector<std::vector<double>> maps;
  const std::string all = between(data_of_page(page), "\"weights\":[", "]");
  for (std::size_t at = all.find('"'); at != std::string::npos; at = all.find('"', at + 1)) {
    const std::size_t end = all.find('"', at + 1);
    const auto bytes = decoded(all.substr(at + 1, end - at - 1));
    auto& map = maps.emplace_back();
    for (std::size_t k = 0; k < bytes.size(); k += std::size_t(bits / 8)) {
      const unsigned code = bytes[k] | (bits == 16 ? unsigned(bytes[k + 1]) << 8 : 0U);
      const double t = double(code) / double(levels - 1);
      constexpr std::array<double, 4> no_level = {0, nan, infinity, -infinity};
      map.push_back(code < levels ? lowest * (1 - t) + highest * t : no_level[code - levels]);
    }
    at = end;
  }
  return maps;
}

/// Softmax-like rows with a masked key at the end.
Eigen::MatrixXd weights(index n, index m, double sharp) {
  Eigen::MatrixXd P(n, m);
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < m; ++j)
      P(i, j) = j + 1 == m ? 0 : std::exp(-sharp * std::abs(double(i - j)));
  P.array().colwise() /= P.rowwise().sum().array();
  return P;
}

grid some(index layers, index heads, index n, index m) {
  grid all(static_cast<std::size_t>(layers));
  for (index l = 0; l < layers; ++l)
    for (index h = 0; h < heads; ++h)
      all[std::size_t(l)].push_back(weights(n, m, 0.3 + double(l) + 0.1 * double(h)));
  return all;
}

void expect_weights_within_precision(const report& r) {
  const auto shown = weights_of(to_html(r));
  ASSERT_EQ(shown.size(), r.maps().size());
  for (std::size_t k = 0; k < shown.size(); ++k) {
    const Eigen::MatrixXd& map = r.maps()[k];
    ASSERT_EQ(index(shown[k].size()), map.size());
    for (index i = 0; i < map.rows(); ++i)
      for (index j = 0; j < map.cols(); ++j) {
        const double is = shown[k][std::size_t(i * map.cols() + j)];
        ASSERT_LE(std::abs(is - map(i, j)), r.precision()) << "map " << k << ": " << i << ' ' << j;
      }
  }
}

TEST(Report, HoldsEveryWeightWithinThePrecisionThatItStates) {
  for (const int bits : {8, 16}) {
    const report r(some(2, 3, 5, 7), {}, {}, {.bits = bits});
    expect_weights_within_precision(r);
    EXPECT_EQ(std::stod(field(to_html(r), "precision")), r.precision());
    EXPECT_LT(r.precision(), bits == 8 ? 1.0 / 400 : 1.0 / 130000);
  }
}

TEST(Report, ReachesItsPrecision) {
  // 0.5 lies in the middle of two levels, because their number is even.
  Eigen::MatrixXd half(1, 2);
  half << 0.5, 1;
  for (const int bits : {8, 16}) {
    const report r(grid{{half}}, {}, {}, {.bits = bits});
    const double error = std::abs(weights_of(to_html(r))[0][0] - 0.5);
    EXPECT_GT(error, 0.99 * r.precision());
    EXPECT_LE(error, r.precision());
  }
}

TEST(Report, KeepsOrderOfLayersHeadsRowsAndColumns) {
  grid all(2, std::vector<Eigen::MatrixXd>(2, Eigen::MatrixXd(2, 3)));
  double next = 1;
  for (auto& layer : all)
    for (auto& head : layer)
      for (index i = 0; i < 2; ++i)
        for (index j = 0; j < 3; ++j) head(i, j) = next++;
  const auto shown = weights_of(to_html(report(all)));
  double wanted = 1;
  for (const auto& map : shown)
    for (const double x : map) EXPECT_NEAR(x, wanted++, 24.0 / 60000);
  EXPECT_EQ(wanted, 25);
}

TEST(Report, KeepsZeroAndWhatIsNotFiniteExactly) {
  Eigen::MatrixXd S(2, 4);
  S << -3, 0, -0.0, nan, infinity, -infinity, 5, 1e-300;
  for (const int bits : {8, 16}) {
    const report r(grid{{S}}, {}, {}, {.bits = bits});
    const auto shown = weights_of(to_html(r))[0];
    EXPECT_EQ(shown[0], -3);
    EXPECT_EQ(shown[1], 0);
    EXPECT_EQ(shown[2], 0);
    EXPECT_TRUE(std::isnan(shown[3]));
    EXPECT_EQ(shown[4], infinity);
    EXPECT_EQ(shown[5], -infinity);
    EXPECT_EQ(shown[6], 5);
    EXPECT_LE(std::abs(shown[7]), r.precision());
  }
}

TEST(Report, TakesNumbersOfAnyMagnitude) {
  constexpr double most = std::numeric_limits<double>::max();
  for (const double size : {1e-300, 1e-20, 1e5, 1e300, most}) {
    Eigen::MatrixXd S(1, 3);
    S << -size, size, size / 3;
    const report r(grid{{S}});
    EXPECT_TRUE(std::isfinite(r.precision()));
    expect_weights_within_precision(r);
  }
}

TEST(Report, OfNothingButZerosShowsZeros) {
  const report r(grid{{Eigen::MatrixXd::Zero(2, 2)}});
  EXPECT_EQ(weights_of(to_html(r))[0], std::vector<double>(4, 0.0));
  EXPECT_EQ(field(to_html(r), "highest"), "1");
}

TEST(Report, TakesAnyScalarAndStorageOrder) {
  using rows_first = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const rows_first W = weights(3, 4, 1).cast<float>();
  const Eigen::MatrixXf same = W;
  EXPECT_EQ(to_html(report(std::vector<std::vector<rows_first>>{{W}})),
            to_html(report(std::vector<std::vector<Eigen::MatrixXf>>{{same}})));
}

TEST(Report, OfOneMapHasItsNamesAndTitle) {
  const heat_map map(weights(2, 3, 1), {"a", "b"}, {"x", "y", "z"}, "alignment");
  const std::string page = to_html(report(map));
  EXPECT_EQ(field(page, "title"), "\"alignment\"");
  EXPECT_EQ(field(page, "queries"), "[\"a\",\"b\"]");
  EXPECT_EQ(field(page, "keys"), "[\"x\",\"y\",\"z\"]");
  EXPECT_TRUE(contains(page, "<title>alignment</title>"));
}

TEST(Report, NumbersWhatHasNoName) {
  const std::string page = to_html(report(some(2, 2, 2, 3)));
  EXPECT_EQ(field(page, "queries"), "2");
  EXPECT_EQ(field(page, "keys"), "3");
  EXPECT_EQ(field(page, "layers"), "[\"layer 0\",\"layer 1\"]");
  EXPECT_EQ(field(page, "heads"), "[\"head 0\",\"head 1\"]");
  EXPECT_TRUE(contains(page, "<title>Attention weights</title>"));
}

TEST(Report, WritesNamesOnceWhereQueriesAreKeys) {
  const labels names = {"0", "b"};
  const std::string page = to_html(report(some(1, 1, 2, 2), names, names));
  EXPECT_EQ(field(page, "queries"), "[\"0\",\"b\"]");
  EXPECT_EQ(field(page, "keys"), "null");
}

/// What strongest_weights() returns.
struct strongest {
  Eigen::Matrix<std::int32_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> keys;
  Eigen::MatrixXf weights;
};

strongest strongest_of(index n, index each, index m) {
  strongest s{{n, each}, Eigen::MatrixXf(n, each)};
  for (index i = 0; i < n; ++i)
    for (index c = 0; c < each; ++c) {
      const index key = i - 3 * c;
      s.keys(i, c) = key < 0 || key >= m ? -1 : std::int32_t(key);
      s.weights(i, c) = s.keys(i, c) < 0 ? 0 : std::exp2(-float(c)) / float(i % 7 + 1);
    }
  return s;
}

/// Numbers of an object in JSON: `"name":"base64"`, with the range that stands before it.
std::vector<double> numbers_of(const std::string& object, std::size_t width) {
  const double lowest = std::stod(between(object, "\"lowest\":", ","));
  const double highest = std::stod(between(object, "\"highest\":", ","));
  const auto bytes = decoded(between(object, "\"weights\":\"", "\""));
  const double last = double((1U << 8 * width) - 5);
  std::vector<double> numbers;
  for (std::size_t k = 0; k < bytes.size(); k += width) {
    double code = 0;
    for (std::size_t b = width; b-- > 0;) code = code * 256 + bytes[k + b];
    numbers.push_back(code == last + 1 ? 0 : lowest * (1 - code / last) + highest * (code / last));
  }
  return numbers;
}

TEST(ReportOfALongMap, HoldsPixelsStrongestKeysAndRegionsWithinTheirPrecision) {
  for (const index m : {1000, 70000}) {  // 2 and 3 bytes of a key
    constexpr index n = 1000, each = 3;
    const Eigen::MatrixXd pixels = weights(20, 30, 0.1) * 1e-4, region = weights(8, 9, 1);
    const strongest best = strongest_of(n, each, m);
    long_map map(m, pixels, best);
    map.zoom({100, 108}, {50, 59}, region);
    map.zoom({0, 1000}, {0, 500}, pixels);
    const std::string page = to_html(report(map));
    EXPECT_EQ(field(page, "pixels"), "[20,30]");
    const double precision = std::stod(field(page, "precision"));
    EXPECT_LT(precision, 1e-9);  // of its own range, not that of the strongest
    const auto shown = weights_of(page)[0];
    for (index i = 0; i < 20; ++i)
      for (index j = 0; j < 30; ++j)
        ASSERT_LE(std::abs(shown[std::size_t(30 * i + j)] - pixels(i, j)), precision);

    const std::string details = between(data_of_page(page), "\"details\":[", "]}]");
    EXPECT_EQ(between(details, "\"count\":", ","), "3");
    const auto numbers = numbers_of(details, 3);
    const auto bytes = decoded(between(details, "\"keys\":\"", "\""));
    const std::size_t width = std::stoul(field(page, "key_bytes"));
    ASSERT_EQ(width, m == 1000 ? 2U : 3U);
    ASSERT_EQ(bytes.size(), std::size_t(n * each) * width);
    const double rounding = std::stod(between(details, "\"precision\":", ","));
    EXPECT_LT(rounding, 1e-7);
    for (index k = 0; k < n * each; ++k) {
      const index i = k / each, c = k % each;
      index key = 0;
      for (std::size_t b = width; b-- > 0;) key = key * 256 + bytes[std::size_t(k) * width + b];
      const index none = (index{1} << 8 * width) - 1;
      ASSERT_EQ(key == none ? -1 : key, best.keys(i, c));
      ASSERT_LE(std::abs(numbers[std::size_t(k)] - double(best.weights(i, c))), rounding);
    }

    const std::string first = between(details, "\"regions\":[", "}");
    EXPECT_EQ(between(first, "\"queries\":[", "]"), "100,108");
    EXPECT_EQ(between(first, "\"keys\":[", "]"), "50,59");
    EXPECT_EQ(between(first, "\"cols\":", ","), "9");
    const auto cells = numbers_of(first, 2);
    const double of_region = std::stod(between(first, "\"precision\":", ","));
    for (index k = 0; k < 72; ++k)
      ASSERT_LE(std::abs(cells[std::size_t(k)] - region(k / 9, k % 9)), of_region);
    EXPECT_EQ(count(details, "\"rows\":"), 2);
  }
}

TEST(ReportOfALongMap, LeavesANumberForNoKey) {
  using softlook::inspect::detail::bytes_of_key;
  EXPECT_EQ(bytes_of_key(65534), 2);
  EXPECT_EQ(bytes_of_key(65535), 3);
  EXPECT_EQ(bytes_of_key(16777214), 3);
  EXPECT_EQ(bytes_of_key(16777215), 4);
}

TEST(ReportOfALongMap, TakesLayersAndHeads) {
  const long_map map(50, weights(4, 5, 1), strongest_of(40, 2, 50));
  const std::string page = to_html(report(std::vector<std::vector<long_map>>{{map, map}}, {}, {},
                                          {.layers = {"last"}, .head = 1}));
  EXPECT_EQ(field(page, "queries"), "40");
  EXPECT_EQ(field(page, "keys"), "50");
  EXPECT_EQ(field(page, "layers"), "[\"last\"]");
  EXPECT_EQ(count(data_of_page(page), "\"count\":2"), 2);
  EXPECT_EQ(weights_of(page).size(), 2U);
}

TEST(ReportOfALongMap, RejectsHeadsOfDifferentSize) {
  const strongest best = strongest_of(40, 2, 50);
  const long_map map(50, weights(4, 5, 1), best);
  const auto of = [&](const long_map& other) {
    return message_of<shape_error>(
        [&] { report r(std::vector<std::vector<long_map>>{{map, other}}); });
  };
  EXPECT_EQ(of(long_map(60, weights(4, 5, 1), best)),
            "inspect::report: layers[0][1].cols() is 60 but layers[0][0].cols() is 50 (all maps "
            "have the same queries and keys)");
  EXPECT_EQ(of(long_map(50, weights(3, 5, 1), best)),
            "inspect::report: pixels().rows() of a head is 3 but layers[0][0].pixels().rows() is 4 "
            "(all heads have the same number of pixels)");
}

TEST(Report, ShowsFirstWhatItsStyleSays) {
  const std::string page = to_html(report(some(2, 3, 2, 2), {}, {}, {.layer = 1, .head = 2}));
  EXPECT_EQ(field(page, "layer"), "1");
  EXPECT_EQ(field(page, "head"), "2");
}

TEST(Report, EscapesNamesSoThatNothingEndsItsElement) {
  const labels names = {"</script><script>alert(1)</script>",
                        "<!--<script",
                        "\"'`\\&",
                        "\n\r\t\x01\x7f",
                        "\xff\xC0\x80\xED\xA0\x80",
                        "\xE2\x80\xA8\xE2\x80\xA9"};
  const std::string page =
      to_html(report(grid{{Eigen::MatrixXd::Ones(6, 6)}}, names, names,
                     {.title = "</title><b>&\"", .layers = {names[0]}, .heads = {names[1]}}));
  EXPECT_TRUE(contains(page, "<title>&lt;/title&gt;&lt;b&gt;&amp;&quot;</title>"));
  EXPECT_EQ(count(page, "<script"), 2);
  EXPECT_EQ(count(page, "</script>"), 2);
  EXPECT_EQ(count(page, "<!--"), 0);
  const std::string data = data_of_page(page);
  for (const char c : {'<', '>', '&', '\'', '`'}) EXPECT_EQ(data.find(c), data.npos) << c;
  EXPECT_TRUE(std::all_of(data.begin(), data.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 || c == '\n';
  }));
  EXPECT_EQ(field(page, "queries"),
            "[\"\\u003c/script\\u003e\\u003cscript\\u003ealert(1)\\u003c/script\\u003e\","
            "\"\\u003c!--\\u003cscript\",\"\\u0022\\u0027\\u0060\\u005c\\u0026\","
            "\"\xE2\x90\x8A\xE2\x90\x8D\xE2\x90\x89\xE2\x90\x81\xEF\xBF\xBD\","
            "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\","
            "\"\xEF\xBF\xBD\xEF\xBF\xBD\"]");
}

TEST(Report, NeutralisesWhatOrdersTheTextAroundIt) {
  const std::vector<std::vector<Eigen::MatrixXd>> one = {{Eigen::MatrixXd::Ones(1, 1)}};
  const std::string page =
      to_html(report(one, {"\u202Eq"}, {"k\u2066"},
                     {.title = "t\u202D", .layers = {"l\u200F"}, .heads = {"h\u061C"}}));
  for (const char* hidden : {"\u202E", "\u2066", "\u202D", "\u200F", "\u061C"})
    EXPECT_FALSE(contains(page, hidden));
  for (const char* shown : {"\"\uFFFDq\"", "\"k\uFFFD\"", "\"t\uFFFD\"", "\"l\uFFFD\"",
                            "\"h\uFFFD\"", "<title>t\uFFFD</title>"})
    EXPECT_TRUE(contains(page, shown)) << shown;
}

TEST(Report, AsksForNoOtherFile) {
  const std::string page = to_html(report(some(1, 1, 2, 2)));
  for (const char* what : {"http:", "https:", "src=", "href=", "url(", "@import", "fetch(",
                           "XMLHttpRequest", "innerHTML", "eval("})
    EXPECT_FALSE(contains(page, what)) << what;
  EXPECT_TRUE(contains(page, "default-src 'none'"));
}

TEST(Report, IsOnePageWithEveryElementThatItsScriptNames) {
  const std::string page = to_html(report(some(1, 1, 2, 2)));
  EXPECT_EQ(page.rfind("<!DOCTYPE html>", 0), 0U);
  EXPECT_EQ(page.substr(page.size() - 8), "</html>\n");
  EXPECT_TRUE(contains(page, "<meta charset=\"utf-8\">"));
  int named = 0;
  for (std::size_t at = page.find("byId(\""); at != page.npos; at = page.find("byId(\"", at + 1)) {
    const std::string id = between(page.substr(at), "byId(\"", "\"");
    EXPECT_EQ(count(page, " id=\"" + id + "\""), 1) << id;
    ++named;
  }
  EXPECT_GT(named, 10);
}

TEST(Report, IsCompact) {
  const double bytes16 = double(to_html(report(some(2, 2, 64, 64))).size());
  const double bytes8 = double(to_html(report(some(2, 2, 64, 64), {}, {}, {.bits = 8})).size());
  // Base64 makes four letters of three bytes; what does not depend on the weights cancels.
  EXPECT_NEAR(bytes16 - bytes8, 4 * 64 * 64 * 4.0 / 3, 200);
}

TEST(Base64, IsThatOfTheTestVectorsOfItsStandard) {
  const auto of = [](const std::string& text) {
    const std::vector<std::uint8_t> bytes(text.begin(), text.end());
    return softlook::inspect::detail::base64(bytes);
  };
  // RFC 4648, section 10.
  EXPECT_EQ(of(""), "");
  EXPECT_EQ(of("f"), "Zg==");
  EXPECT_EQ(of("fo"), "Zm8=");
  EXPECT_EQ(of("foo"), "Zm9v");
  EXPECT_EQ(of("foob"), "Zm9vYg==");
  EXPECT_EQ(of("fooba"), "Zm9vYmE=");
  EXPECT_EQ(of("foobar"), "Zm9vYmFy");
}

TEST(Report, RejectsAGridThatIsEmptyOrRagged) {
  EXPECT_EQ(message_of<argument_error>([] { report r(grid{}); }),
            "inspect::report: layers.size() is 0 (a report shows at least 1 layer)");
  EXPECT_EQ(message_of<argument_error>([] { report r(grid(2)); }),
            "inspect::report: layers[0].size() is 0 (a layer has at least 1 head)");
  EXPECT_EQ(message_of<argument_error>([] { report r(grid{{Eigen::MatrixXd(0, 2)}}); }),
            "inspect::report: layers[0][0].rows() is 0 (a map has at least 1 query)");
  EXPECT_EQ(message_of<argument_error>([] { report r(grid{{Eigen::MatrixXd(2, 0)}}); }),
            "inspect::report: layers[0][0].cols() is 0 (a map has at least 1 key)");
  grid ragged = some(3, 2, 2, 2);
  ragged[2].pop_back();
  EXPECT_EQ(message_of<shape_error>([&] { report r(ragged); }),
            "inspect::report: layers[2].size() is 1 but layers[0].size() is 2 (all layers have the "
            "same number of heads)");
  grid rows = some(2, 2, 3, 2);
  rows[1][1] = weights(4, 2, 1);
  EXPECT_EQ(message_of<shape_error>([&] { report r(rows); }),
            "inspect::report: layers[1][1].rows() is 4 but layers[0][0].rows() is 3 (all maps have "
            "the same queries and keys)");
  rows[1][1] = weights(3, 5, 1);
  EXPECT_EQ(message_of<shape_error>([&] { report r(rows); }),
            "inspect::report: layers[1][1].cols() is 5 but layers[0][0].cols() is 2 (all maps have "
            "the same queries and keys)");
}

TEST(Report, RejectsNamesThatDoNotFit) {
  const grid all = some(2, 3, 4, 5);
  EXPECT_EQ(message_of<shape_error>([&] { report r(all, {"a"}); }),
            "inspect::report: queries.size() is 1 but layers[0][0].rows() is 4 (every one has a "
            "name, or none has)");
  EXPECT_EQ(message_of<shape_error>([&] { report r(all, {}, {"a"}); }),
            "inspect::report: keys.size() is 1 but layers[0][0].cols() is 5 (every one has a name, "
            "or none has)");
  EXPECT_EQ(message_of<shape_error>([&] { report r(all, {}, {}, {.layers = {"a"}}); }),
            "inspect::report: style.layers.size() is 1 but layers.size() is 2 (every one has a "
            "name, or none has)");
  EXPECT_EQ(message_of<shape_error>([&] { report r(all, {}, {}, {.heads = {"a"}}); }),
            "inspect::report: style.heads.size() is 1 but layers[0].size() is 3 (every one has a "
            "name, or none has)");
}

TEST(Report, RejectsAStyleThatDoesNotFit) {
  const grid all = some(2, 3, 2, 2);
  EXPECT_EQ(message_of<argument_error>([&] { report r(all, {}, {}, {.bits = 12}); }),
            "inspect::report: style.bits is 12 (a weight takes 8 or 16 bits)");
  EXPECT_EQ(message_of<argument_error>([&] { report r(all, {}, {}, {.layer = 2}); }),
            "inspect::report: style.layer is 2 (the report has 2, counted from 0)");
  EXPECT_EQ(message_of<argument_error>([&] { report r(all, {}, {}, {.head = -1}); }),
            "inspect::report: style.head is -1 (the report has 3, counted from 0)");
}

TEST(WriteHtml, WritesThePage) {
  const std::string path = testing::TempDir() + "softlook_report.html";
  const report r(some(1, 2, 3, 3));
  write_html(path, r);
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), to_html(r));
  std::remove(path.c_str());
}

TEST(WriteHtml, SaysWhichFileItCannotWrite) {
  EXPECT_EQ(message_of<std::runtime_error>(
                [] { write_html("/nowhere/report.html", report(some(1, 1, 1, 2))); }),
            "inspect::write_html: cannot write /nowhere/report.html");
}

}  // namespace
}  // namespace report_test
