// compare FOLDER REFERENCE: whether both models write words as the reference does, and look at the
// same letters. The reference (reference.py) has three lines for each word: the word, what is
// written, and all weights. Status: 0 they do; 3 there are no models in FOLDER
// (examples/transliterate/fetch.sh fetches them); 1 they do not.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <sstream>

#include "examples/transliterate/indicate.hpp"
#include "examples/transliterate/netra.hpp"

namespace {

using softlook::index;

constexpr double largest_difference = 1e-5;

struct word {
  std::string source, written;
  std::vector<double> weights;  // row by row
};

std::vector<word> read_reference(const char* path) {
  std::ifstream file(path);
  std::vector<word> out;
  for (word w; std::getline(file, w.source);) {
    std::getline(file, w.written);
    std::string line;
    std::getline(file, line);
    std::istringstream numbers(line);
    w.weights.clear();
    for (double x; numbers >> x;) w.weights.push_back(x);
    out.push_back(w);
  }
  return out;
}

/// What is not as in the reference; empty: nothing.
template <class Model, class Words>
std::string difference(const Model& model, const Words& words, const word& w, double& largest) {
  const std::vector<index> source = words.tokens_of(w.source);
  const softlook::search_options how = words.search();
  const auto best = softlook::translate(model, source, how).front();
  std::string written;
  for (const index token : best.tokens)
    if (token != how.end) written += words.written().letter(token);
  if (written != w.written) return "it is written as " + written;
  const auto weights = softlook::alignment(model, source, best.tokens, how.begin);
  if (static_cast<std::size_t>(weights.size()) != w.weights.size()) return "other weights";
  for (index k = 0; k < weights.size(); ++k)
    largest = std::max(largest, std::abs(double(weights.data()[k]) - w.weights[std::size_t(k)]));
  if (!(largest <= largest_difference)) return "a weight differs by " + std::to_string(largest);
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: compare FOLDER REFERENCE\n";
    return 2;
  }
  const std::string folder = argv[1];
  if (!std::ifstream(folder + "/indicate.decoder.data")) {
    std::cout << "skipped: there are no models in " << folder << '\n';
    return 3;
  }
  const transliterate::netra netra(folder);
  const transliterate::indicate indicate(folder);
  const std::vector<word> words = read_reference(argv[2]);
  double largest = 0;
  std::size_t faults = 0;
  for (const word& w : words) {
    const bool is_latin = static_cast<unsigned char>(w.source.front()) < 0x80;
    const std::string what = is_latin ? difference(netra, netra, w, largest)
                                      : difference(indicate.model(), indicate, w, largest);
    if (!what.empty()) std::cout << w.source << ": " << what << '\n';
    faults += !what.empty();
  }
  std::cout << words.size() - faults << " of " << words.size()
            << " words as in the reference, largest difference of a weight " << largest << '\n';
  return faults == 0 && !words.empty() ? 0 : 1;
}
