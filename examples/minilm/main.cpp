// What a trained model looks at, and how similar it finds sentences: the sentence encoder
// all-MiniLM-L6-v2 on softlook's layers.
//
//   minilm SENTENCE              its tokens and what they look at: one head in the terminal, all
//                                heads of the layer as a picture
//   minilm SENTENCE SENTENCE...  how similar they are
//   minilm --file TEXT QUESTION  the lines of a text that are closest to the question
//
//   --model FOLDER    where fetch.sh put the model (build/model)
//   --layer L         0 to 5 (3)
//   --head H          0 to 11 (1)
//   --svg FILE        the picture of all heads (minilm.svg)
//   --head-svg FILE   a picture of the chosen head alone
//   --html FILE       a page to explore all layers and heads in a browser
//
// In layer 3 head 1 looks for a noun: "it" finds the animal, "cross" the street, and a token that
// has nothing to find rests on [CLS]. Say "wide" instead of "tired", and "it" is no longer sure.
//
// expect: \[CLS\] the animal didn ' t cross the street because it was too tired \. \[SEP\]
// expect: ^it -> animal 0\.6[0-9]
// expect: ^street -> \[CLS\] 0\.[89]
// expect: written: .*minilm\.svg
// expect: written: .*minilm\.html

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <softlook/inspect.hpp>
#include <softlook/inspect/report.hpp>

#include "encoder.hpp"
#include "examples/support/command_line.hpp"

namespace {

using minilm::encoding;
using minilm::sentence_encoder;
using threads = softlook::exec::thread_pool;

constexpr const char* usage =
    "usage: minilm [--model FOLDER] [--layer L] [--head H] [--svg FILE] [--head-svg FILE]\n"
    "              [--html FILE] SENTENCE...\n"
    "       minilm [--model FOLDER] --file TEXT QUESTION\n";

struct arguments {
  std::string model = "build/model";
  std::string svg = "minilm.svg", head_svg, html;
  std::string file;
  std::string layer = "3", head = "1";
  std::vector<std::string> sentences;
};

/// Whether the command line can be understood.
bool parse(int argc, char** argv, arguments& a) {
  return examples::take_options(argc, argv,
                                {{"--model", &a.model},
                                 {"--svg", &a.svg},
                                 {"--head-svg", &a.head_svg},
                                 {"--html", &a.html},
                                 {"--file", &a.file},
                                 {"--layer", &a.layer},
                                 {"--head", &a.head}},
                                a.sentences) &&
         (a.file.empty() ? !a.sentences.empty() : a.sentences.size() == 1);
}

/// The number of a layer or head, which is below `count`.
Eigen::Index number(const std::string& text, const char* what, Eigen::Index count) {
  const auto value = examples::number_in<Eigen::Index>(text);
  if (!value || *value < 0 || *value >= count)
    throw std::invalid_argument(std::string(what) + ' ' + text + ": the model has " +
                                std::to_string(count) + ", counted from 0");
  return *value;
}

/// Every layer and head of the sentence.
void write_report(const sentence_encoder& model, const std::vector<int>& ids, const arguments& a,
                  const softlook::inspect::report_style& how, const threads& pool) {
  std::vector<decltype(model.attention(ids, 0, pool))> layers;
  for (Eigen::Index l = 0; l < model.layers(); ++l) layers.push_back(model.attention(ids, l, pool));
  const std::vector<std::string> tokens = model.tokenizer().tokens(ids);
  softlook::inspect::write_html(a.html, softlook::inspect::report(layers, tokens, tokens, how));
  std::cout << "written: " << a.html << " (all layers and heads)\n";
}

void show_attention(const sentence_encoder& model, const arguments& a, const threads& pool) {
  using softlook::inspect::heat_map;
  const Eigen::Index layer = number(a.layer, "layer", model.layers());
  const Eigen::Index head = number(a.head, "head", model.heads());
  const std::vector<int> ids = model.tokenizer().encode(a.sentences[0]);
  const std::vector<std::string> tokens = model.tokenizer().tokens(ids);
  using softlook::inspect::printable;
  for (const std::string& token : tokens) std::cout << printable(token) << ' ';
  std::cout << "\n\n";

  std::vector<heat_map> maps;
  for (const auto& weights : model.attention(ids, layer, pool))
    maps.emplace_back(weights, tokens, tokens,
                      "layer " + a.layer + ", head " + std::to_string(maps.size()));
  const heat_map& chosen = maps[static_cast<std::size_t>(head)];
  using softlook::inspect::terminal_paint;
  std::cout << softlook::inspect::to_text(chosen, {.paint = terminal_paint(), .decimals = -1})
            << '\n'
            << softlook::inspect::strongest_keys_text(chosen, 2);
  softlook::inspect::write_svg(a.svg, maps, {.decimals = -1});
  if (!a.head_svg.empty()) softlook::inspect::write_svg(a.head_svg, chosen, {.decimals = -1});
  std::cout << "\nwritten: " << a.svg << " (all heads of layer " << a.layer << ")\n";
  if (!a.html.empty())
    write_report(model, ids, a, {.title = a.sentences[0], .layer = layer, .head = head}, pool);
}

void show_similarities(const sentence_encoder& model, const arguments& a, const threads& pool) {
  const std::vector<encoding> points = model.encode(a.sentences, pool);
  for (std::size_t i = 0; i < points.size(); ++i) std::printf("%7zu", i + 1);
  std::printf("\n");
  for (std::size_t i = 0; i < points.size(); ++i) {
    for (const encoding& other : points)
      std::printf("%7.2f", double(points[i].embedding.dot(other.embedding)));
    std::printf("   %zu %s\n", i + 1, softlook::inspect::printable(a.sentences[i]).c_str());
  }
}

void show_closest_lines(const sentence_encoder& model, const arguments& a, const threads& pool) {
  std::ifstream file(a.file);
  if (!file) throw std::runtime_error(a.file + ": the file cannot be opened");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);)
    if (line.find_first_not_of(" \t\r") != line.npos) lines.push_back(line);

  const encoding question = model.encode(a.sentences[0], pool);
  const std::vector<encoding> points = model.encode(lines, pool);
  std::vector<std::pair<float, std::size_t>> ranked;
  for (std::size_t i = 0; i < lines.size(); ++i)
    ranked.emplace_back(points[i].embedding.dot(question.embedding), i);
  std::sort(ranked.rbegin(), ranked.rend());
  constexpr std::size_t shown = 10;
  ranked.resize(std::min(ranked.size(), shown));
  for (const auto& [similarity, i] : ranked)
    std::printf("%5.2f  %s\n", double(similarity), softlook::inspect::printable(lines[i]).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::cerr << usage;
    return 2;
  }
  try {
    const sentence_encoder model(a.model);
    const threads pool(std::max(1u, std::thread::hardware_concurrency()));
    if (!a.file.empty())
      show_closest_lines(model, a, pool);
    else if (a.sentences.size() > 1)
      show_similarities(model, a, pool);
    else
      show_attention(model, a, pool);
  } catch (const std::exception& e) {
    std::cerr << "minilm: " << softlook::inspect::printable(e.what()) << '\n';
    return 1;
  }
}
