// compare FOLDER REFERENCE: whether the translator cuts, translates and aligns sentences as the
// reference does, which reference.py has written. Status: 0 it does; 3 there are no models in
// FOLDER (examples/translator/fetch.sh fetches them); 1 it does not.

#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "examples/translator/model.hpp"

namespace {

using translator::translation_model;

// What the reference rounds away, and what a few thousand sums in float lose.
constexpr double largest_difference = 5e-5;

struct sentence {
  std::string pair, source, translation;
  std::vector<int> read, written;
  std::vector<Eigen::Index> looked_at;
  std::vector<double> weights;
};

template <class Number>
std::vector<Number> numbers_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<Number> out;
  for (Number x; in >> x;) out.push_back(x);
  return out;
}

std::vector<sentence> read_reference(const char* path) {
  std::ifstream file(path);
  std::vector<sentence> out;
  for (std::string pair; std::getline(file, pair);) {
    sentence s;
    s.pair = pair;
    std::string read, written, looked_at, weights;
    std::getline(file, s.source);
    std::getline(file, s.translation);
    for (std::string* line : {&read, &written, &looked_at, &weights}) std::getline(file, *line);
    s.read = numbers_of<int>(read);
    s.written = numbers_of<int>(written);
    s.looked_at = numbers_of<Eigen::Index>(looked_at);
    s.weights = numbers_of<double>(weights);
    out.push_back(s);
  }
  return out;
}

/// What is not as in the reference; empty: nothing.
std::string difference(const translation_model& model, const sentence& s,
                       const translation_model::pool& threads, double& largest) {
  if (model.tokens_of(s.source) != s.read) return "the source is cut otherwise";
  const auto best = model.translate(s.read, 1, threads).front();
  const std::vector<int> written = translation_model::ids_of(best);
  const std::string text = model.vocabulary().decode(written);
  if (written != s.written || text != s.translation) return "it is translated as " + text;
  const translator::float_matrix weights = model.alignment(s.read, written, threads);
  for (std::size_t i = 0; i < written.size(); ++i) {
    const auto row = weights.row(static_cast<Eigen::Index>(i));
    largest = std::max(largest, std::abs(double(row[s.looked_at[i]]) - s.weights[i]));
    largest = std::max(largest, std::abs(double(row.maxCoeff()) - s.weights[i]));
  }
  if (!(largest <= largest_difference)) return "a weight differs by " + std::to_string(largest);
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: compare FOLDER REFERENCE\n";
    return 2;
  }
  if (!std::ifstream(std::string(argv[1]) + "/model.enpt.intgemm.alphas.bin")) {
    std::cout << "skipped: there are no models in " << argv[1] << '\n';
    return 3;
  }
  const std::vector<sentence> sentences = read_reference(argv[2]);
  const translation_model::pool threads(1);
  std::map<std::string, translation_model> models;
  double largest = 0;
  std::size_t faults = 0;
  for (const sentence& s : sentences) {
    const translation_model& model = models.try_emplace(s.pair, argv[1], s.pair).first->second;
    const std::string what = difference(model, s, threads, largest);
    if (!what.empty()) std::cout << s.source << ": " << what << '\n';
    faults += !what.empty();
  }
  std::cout << sentences.size() - faults << " of " << sentences.size()
            << " sentences as in the reference, largest difference of a weight " << largest << '\n';
  return faults == 0 && sentences.size() >= 50 ? 0 : 1;
}
