// pages FOLDER: writes the reports that check.py opens. Weights are simple functions of layer,
// head, query and key, so that the script knows what a page must show.

#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "softlook/inspect/report.hpp"

namespace {

namespace inspect = softlook::inspect;
using softlook::index;
using grid = std::vector<std::vector<Eigen::MatrixXd>>;

/// Head h of layer l looks h − 3 keys away, the sharper the higher the layer.
grid peaks(index layers, index heads, index n) {
  grid all(static_cast<std::size_t>(layers));
  for (index l = 0; l < layers; ++l)
    for (index h = 0; h < heads; ++h) {
      Eigen::MatrixXd P(n, n);
      for (index i = 0; i < n; ++i)
        for (index j = 0; j < n; ++j)
          P(i, j) = std::exp(-0.5 * double(l + 1) * std::abs(double(j - i - h + 3)));
      P.array().colwise() /= P.rowwise().sum().array();
      all[static_cast<std::size_t>(l)].push_back(P);
    }
  return all;
}

inspect::labels numbered(index n) {
  static const std::vector<std::string> words = {"the",  "animal",       "crossed", "a",
                                                 "very", "unbelievable", "street",  "it"};
  inspect::labels names;
  for (index k = 0; k < n; ++k)
    names.push_back(words[std::size_t(k) % words.size()] + std::to_string(k));
  return names;
}

/// "je t' aime": 3 queries, 5 keys, one of them masked for all.
void small(const std::string& folder) {
  Eigen::MatrixXd P(3, 5);
  P << 0.90, 0.03, 0.05, 0.02, 0, 0.04, 0.06, 0.25, 0.65, 0, 0.125, 0.75, 0.0625, 0.0625, 0;
  const inspect::heat_map map(P, {"je", "t'", "aime"}, {"I", "love", "you", ".", "[PAD]"},
                              "alignment");
  inspect::write_html(folder + "/alignment.html", inspect::report(map));
}

void hostile(const std::string& folder) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Eigen::MatrixXd S(4, 4);
  S << 1, -2, 3, std::nan(""), infinity, -infinity, 0, 0.5, 1, 1, 1, 1, -1, -1, -1, -1;
  const inspect::labels names = {"</script><script>document.title='broken'</script>",
                                 "<img src=x onerror=\"document.title='broken'\">",
                                 "\"'`\\ \n\x01 \xff\xfe \xE2\x80\xA8 ${1}",
                                 "\xE2\x80\xAE"
                                 "abc\xD7\x90<!--"};
  inspect::write_html(folder + "/hostile.html", inspect::report(grid{{S}}, names, names,
                                                                {.title = "<b>&amp;</b></title>\"",
                                                                 .layers = {names[0]},
                                                                 .heads = {names[1]}}));
}

/// 40 tokens written after 400 that were read: more keys than queries.
void generation(const std::string& folder) {
  constexpr index n = 40, m = 440;
  Eigen::MatrixXd P = Eigen::MatrixXd::Zero(n, m);
  for (index i = 0; i < n; ++i) {
    for (index j = 0; j <= m - n + i; ++j)
      P(i, j) = std::exp(-0.3 * double(m - n + i - j)) + (j == 8 * i ? 1.0 : 0.0);
    P.row(i) /= P.row(i).sum();
  }
  const inspect::labels names = numbered(m);
  inspect::write_html(folder + "/generation.html",
                      inspect::report(grid{{P}}, {names.end() - n, names.end()}, names,
                                      {.title = "40 tokens after 400"}));
}

/// Head 0: query i looks at keys i, i/2, i/3 …; head 1: at i, i − 1, i − 2 …; the weight halves
/// each time. What the map and the region show has nothing to do with it, to tell them apart.
inspect::long_map long_head(index head, index n) {
  constexpr index count = 6, pixels = 200;
  struct {
    Eigen::Matrix<std::int32_t, Eigen::Dynamic, Eigen::Dynamic> keys;
    Eigen::MatrixXd weights;
  } strongest{{n, count}, Eigen::MatrixXd::Zero(n, count)};
  for (index i = 0; i < n; ++i)
    for (index c = 0; c < count; ++c) {
      const index key = head == 0 ? i / (c + 1) : i - c;
      const bool there = i >= 100;
      strongest.keys(i, c) = there ? std::int32_t(key) : -1;
      strongest.weights(i, c) = there ? std::ldexp(1, -int(c) - 1) : 0;
    }
  Eigen::MatrixXd map(pixels, pixels);
  for (index r = 0; r < pixels; ++r)
    for (index c = 0; c < pixels; ++c) map(r, c) = c > r ? 0 : 1e-5 * double(c + 1) / double(r + 1);
  inspect::long_map seen(n, map, strongest);
  if (head == 0) {  // query i: i hundred-thousandths of ln n
    Eigen::VectorXd nats(n);
    for (index i = 0; i < n; ++i) nats[i] = double(i) / double(n) * std::log(double(n));
    seen.entropies(nats);
  }
  const softlook::range queries{n / 2, n / 2 + 40}, keys{n * 3 / 10, n * 3 / 10 + 40};
  Eigen::MatrixXd weights(40, 40);
  for (index i = 0; i < 40; ++i)
    for (index j = 0; j < 40; ++j) weights(i, j) = double((31 * i + 17 * j) % 1000) / 4000;
  seen.zoom(queries, keys, weights);
  Eigen::MatrixXd means(100, 100);
  for (index r = 0; r < 100; ++r)
    for (index c = 0; c < 100; ++c) means(r, c) = 1e-6 * double(r + c);
  seen.zoom({0, n / 5}, {0, n / 5}, means);
  return seen;
}

void long_pages(const std::string& folder) {
  constexpr index n = 100000;
  const std::vector<std::vector<inspect::long_map>> layers = {{long_head(0, n), long_head(1, n)}};
  inspect::write_html(folder + "/long.html", inspect::report(layers, numbered(n), numbered(n),
                                                             {.title = "100,000 tokens"}));
  inspect::write_html(folder + "/unnamed.html", inspect::report(long_head(0, n)));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: pages FOLDER\n";
    return 2;
  }
  const std::string folder = argv[1];
  small(folder);
  hostile(folder);
  inspect::write_html(
      folder + "/five.html",
      inspect::report(peaks(2, 4, 5), numbered(5), numbered(5), {.title = "five tokens"}));
  inspect::write_html(folder + "/many.html",
                      inspect::report(peaks(6, 12, 128), numbered(128), numbered(128),
                                      {.title = "128 tokens", .layer = 2, .head = 5}));
  inspect::write_html(folder + "/most.html",
                      inspect::report(peaks(2, 4, 256), numbered(256), numbered(256),
                                      {.title = "256 tokens", .bits = 8}));
  inspect::write_html(folder + "/dense.html",
                      inspect::report(peaks(1, 2, 2000), numbered(2000), numbered(2000),
                                      {.title = "2,000 tokens"}));
  generation(folder);
  long_pages(folder);
}
