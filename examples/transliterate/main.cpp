// The two attentions that all others come from, as they were trained, beside each other: Bahdanau's
// additive score writes Latin letters as Khmer ones (netra), Luong's general score with input
// feeding writes Devanagari as Latin letters (indicate).
//
//   v · tanh(q + k)   Bahdanau et al., 2015, appendix A.1.2
//   q W kᵀ            Luong et al., 2015, Eq. (8)
//
//   transliterate [WORD...]   each word by the model that knows its script
//
//   --model FOLDER    where fetch.sh put the models (build/transliterate)
//   --svg FILE        a picture of all alignments (transliterate.svg)
//
// expect: ^srolanh -> ស្រឡាញ់$
// expect: ^हिन्दुस्तान -> hindustan$
// expect: ^d -> द 0\.
// expect: written: .*transliterate\.svg

#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <softlook/inspect.hpp>

#include "examples/support/command_line.hpp"
#include "indicate.hpp"
#include "netra.hpp"

namespace {

using softlook::hypothesis;
using softlook::index;
using softlook::inspect::heat_map;
using softlook::inspect::labels;
using softlook::inspect::printable;
using transliterate::letters;

struct arguments {
  std::string model = "build/transliterate";
  std::string svg = "transliterate.svg";
  std::vector<std::string> words;
};

bool parse(int argc, char** argv, arguments& a) {
  if (!examples::take_options(argc, argv, {{"--model", &a.model}, {"--svg", &a.svg}}, a.words))
    return false;
  if (a.words.empty()) a.words = {"srolanh", "हिन्दुस्तान"};
  return true;
}

/// What a model writes for a word, and what each letter looked at: the letters of the word, and
/// beyond them the places that fill it up.
template <class Model, class Words>
heat_map transliterated(const Model& model, const Words& words, const std::string& word,
                        const char* name) {
  const std::vector<index> source = words.tokens_of(word);
  const softlook::search_options how = words.search();
  const hypothesis best = softlook::translate(model, source, how).front();
  std::string written;
  labels rows, columns = letters::split(word);
  for (const index token : best.tokens) {
    const bool last = token == how.end;
    rows.push_back(last ? "end" : words.written().letter(token));
    if (!last) written += rows.back();
  }
  std::cout << printable(word) << " -> " << printable(written) << '\n';
  const auto weights = softlook::alignment(model, source, best.tokens, how.begin);
  const auto seen = index(columns.size());
  Eigen::MatrixXf shown(weights.rows(), seen + 1);
  shown << weights.leftCols(seen), weights.rightCols(weights.cols() - seen).rowwise().sum();
  columns.push_back("rest");
  return heat_map(shown, rows, columns, name);
}

void run(const arguments& a) {
  std::optional<transliterate::netra> netra;
  std::optional<transliterate::indicate> indicate;
  std::vector<heat_map> maps;
  for (const std::string& word : a.words) {
    if (word.empty()) continue;
    if (static_cast<unsigned char>(word.front()) < 0x80) {
      if (!netra) netra.emplace(a.model);
      maps.push_back(transliterated(*netra, *netra, word, "additive (Bahdanau)"));
    } else {
      if (!indicate) indicate.emplace(a.model);
      maps.push_back(transliterated(indicate->model(), *indicate, word, "general (Luong)"));
    }
  }
  using softlook::inspect::terminal_paint;
  std::cout << '\n'
            << softlook::inspect::to_text(maps,
                                          {.paint = terminal_paint(), .decimals = -1, .per_row = 2})
            << '\n';
  for (const heat_map& map : maps)
    std::cout << softlook::inspect::strongest_keys_text(map, 1) << '\n';
  softlook::inspect::write_svg(a.svg, maps, {.decimals = -1, .per_row = 2});
  std::cout << "written: " << a.svg << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::cerr << "usage: transliterate [--model FOLDER] [--svg FILE] [WORD...]\n";
    return 2;
  }
  try {
    run(a);
  } catch (const std::exception& e) {
    std::cerr << "transliterate: " << printable(e.what()) << '\n';
    return 1;
  }
}
