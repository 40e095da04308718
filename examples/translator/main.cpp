// English to Portuguese and back, and which word was translated by which: a trained model on
// softlook's encoder, SSRU, attention and search.
//
//   translator SENTENCE...     translations, and for each a matrix of what its words looked at
//   translator --file TEXT     a translation of each line, sentence by sentence
//
//   --model FOLDER    where fetch.sh put the models (build/translator)
//   --from LANGUAGE   en, into Portuguese (en), or pt, into English
//   --beam N          sentences kept while searching, 1 to 64 (1); above 1 all that are found are
//                     shown, with the log-probability of a token
//   --threads N       1 to 256 (as many as there are cores)
//   --svg FILE        a picture of the matrices (translator.svg)
//
// An adjective stands before its noun in English and behind it in Portuguese, so the strong weights
// leave the diagonal: "gato preto" looks at "cat" and then back at "black".
//
// expect: ^The black cat drinks the cold milk\.$
// expect: ^O gato preto bebe o leite frio\.$
// expect: ^preto -> black 0\.9
// expect: ^leite -> milk 0\.[89]
// expect: written: .*translator\.svg

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <softlook/inspect.hpp>

#include "examples/support/command_line.hpp"
#include "model.hpp"
#include "sentences.hpp"
#include "words.hpp"

namespace {

using softlook::hypothesis;
using softlook::inspect::heat_map;
using softlook::inspect::printable;
using translator::translation_model;
using translator::word;
using threads = softlook::exec::thread_pool;

constexpr const char* usage =
    "usage: translator [--model FOLDER] [--from en|pt] [--beam N] [--threads N] [--svg FILE]\n"
    "                  SENTENCE...\n"
    "       translator [--model FOLDER] [--from en|pt] [--beam N] [--threads N] --file TEXT\n";

struct arguments {
  std::string model = "build/translator";
  std::string svg = "translator.svg";
  std::string from = "en", beam = "1", threads;
  std::string file;
  std::vector<std::string> sentences;
};

/// Whether the command line can be understood.
bool parse(int argc, char** argv, arguments& a) {
  return examples::take_options(argc, argv,
                                {{"--model", &a.model},
                                 {"--svg", &a.svg},
                                 {"--from", &a.from},
                                 {"--beam", &a.beam},
                                 {"--threads", &a.threads},
                                 {"--file", &a.file}},
                                a.sentences) &&
         (a.from == "en" || a.from == "pt") && a.sentences.empty() == !a.file.empty();
}

/// A number from 1 to `most`.
Eigen::Index number(const std::string& text, const char* what, Eigen::Index most) {
  const auto value = examples::number_in<Eigen::Index>(text);
  if (!value || *value < 1 || *value > most)
    throw std::invalid_argument(std::string(what) + ' ' + text + ": it is a number from 1 to " +
                                std::to_string(most));
  return *value;
}
Eigen::Index beam_of(const arguments& a) { return number(a.beam, "beam", 64); }
Eigen::Index threads_of(const arguments& a) {
  if (a.threads.empty()) return std::max(1u, std::thread::hardware_concurrency());
  return number(a.threads, "threads", 256);
}

std::string text_of(const translation_model& model, const hypothesis& h) {
  return model.vocabulary().decode(translation_model::ids_of(h));
}

/// What the words of a translation looked at.
heat_map alignment_of(const translation_model& model, const std::vector<int>& source,
                      const std::vector<int>& target, const threads& pool) {
  const std::vector<word> read = words_of(model.vocabulary(), source, model.end());
  const std::vector<word> written = words_of(model.vocabulary(), target, model.end());
  return heat_map(weights_of_words(model.alignment(source, target, pool), written, read),
                  texts_of(written), texts_of(read));
}

void show_sentences(const translation_model& model, const arguments& a, const threads& pool) {
  const Eigen::Index beam = beam_of(a);
  std::vector<heat_map> maps;
  std::vector<std::string> sentences;
  for (const std::string& given : a.sentences)
    for (std::string& sentence : translator::sentences_of(given))
      sentences.push_back(std::move(sentence));
  for (const std::string& sentence : sentences) {
    std::cout << printable(sentence) << '\n';
    const std::vector<int> source = model.tokens_of(sentence);
    const std::vector<hypothesis> found = model.translate(source, beam, pool);
    for (const hypothesis& h : found) {
      if (beam > 1) std::cout << std::fixed << std::setprecision(3) << h.score << "  ";
      std::cout << printable(text_of(model, h)) << '\n';
    }
    maps.push_back(alignment_of(model, source, translation_model::ids_of(found.front()), pool));
    std::cout << '\n'
              << softlook::inspect::to_text(maps.back(),
                                            {.paint = softlook::inspect::terminal_paint()})
              << '\n'
              << softlook::inspect::strongest_keys_text(maps.back(), 1) << '\n';
  }
  if (maps.empty()) return;
  softlook::inspect::write_svg(a.svg, maps, {.per_row = 2});
  std::cout << "written: " << a.svg << '\n';
}

/// What each line says, the sentences of all lines shared by the threads.
void show_file(const translation_model& model, const arguments& a, const threads& pool) {
  const Eigen::Index beam = beam_of(a);
  std::ifstream file(a.file);
  if (!file) throw std::runtime_error(a.file + ": the file cannot be opened");
  struct sentence {
    std::size_t line;
    std::string text;
    std::size_t tokens;
  };
  std::vector<sentence> all;
  std::size_t lines = 0;
  for (std::string line; std::getline(file, line); ++lines)
    for (std::string& text : translator::sentences_of(line))
      all.push_back({lines, std::move(text), 0});

  const auto begun = std::chrono::steady_clock::now();
  const threads calling_thread(1);
  // Executors take no exceptions, and nothing here throws one but for want of memory.
  pool.bulk(static_cast<Eigen::Index>(all.size()), [&](Eigen::Index task, Eigen::Index) noexcept {
    sentence& s = all[static_cast<std::size_t>(task)];
    const hypothesis best = model.translate(model.tokens_of(s.text), beam, calling_thread).front();
    s.text = text_of(model, best);
    s.tokens = best.tokens.size();
  });
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
  std::vector<std::string> translated(lines);
  std::size_t written = 0;
  for (const sentence& s : all) {
    std::string& line = translated[s.line];
    line += (line.empty() ? "" : " ") + s.text;
    written += s.tokens;
  }
  for (const std::string& line : translated) std::cout << printable(line) << '\n';
  std::cout.flush();
  std::fprintf(stderr, "%zu lines, %zu sentences, %zu tokens in %.2f s on %td threads\n", lines,
               all.size(), written, taken.count(), pool.concurrency());
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::cerr << usage;
    return 2;
  }
  try {
    const translation_model model(a.model, a.from == "en" ? "enpt" : "pten");
    const threads pool(threads_of(a));
    if (!a.file.empty())
      show_file(model, a, pool);
    else
      show_sentences(model, a, pool);
  } catch (const std::exception& e) {
    std::cerr << "translator: " << printable(e.what()) << '\n';
    return 1;
  }
}
