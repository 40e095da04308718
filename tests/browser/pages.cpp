// pages FOLDER: writes the reports that check.py opens. Weights are simple functions of layer,
// head, query and key, so that the script knows what a page must show.

#include <cmath>
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
}
