// A language model that talks, and what it looks at: SmolLM2-135M-Instruct on softlook's layers.
//
//   smollm QUESTION   answers it, token by token
//   smollm            a conversation: a line is a question; Ctrl-C stops an answer, or leaves
//
//   --model FILE      where fetch.sh put the model (build/smollm/SmolLM2-135M-Instruct.Q4_1.gguf)
//   --greedy          always the likeliest token
//   --temperature T   0.2: how boldly tokens are drawn, above 0
//   --top-p P         0.9: only from the likeliest, which have this probability together
//   --seed S          0
//   --tokens N        256: at most so many in an answer
//   --system TEXT     what the model is told to be
//   --weights KIND    bfloat16, int8 (faster, other words more often) or exact
//   --low-precision   what is multiplied by bfloat16 or int8 is rounded too, where the machine has
//                     instructions for it: texts are read faster
//   --threads N       as many as there are cores
//   --html FILE       a page with what each token of the answer looked at: all layers and heads
//   --look N          what token N of the answer looked at, counted from 1
//
// expect: Paris
// expect: tokens a second
// expect: weights bfloat16
// expect: written: .*smollm\.html

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <softlook/inspect.hpp>

#include "conversation.hpp"
#include "examples/support/command_line.hpp"
#include "page.hpp"

namespace {

using smollm::conversation;
using smollm::language_model;

constexpr const char* usage =
    "usage: smollm [--model FILE] [--greedy] [--temperature T] [--top-p P] [--seed S] [--tokens "
    "N]\n"
    "              [--system TEXT] [--weights bfloat16|int8|exact] [--low-precision] [--threads "
    "N]\n"
    "              [--html FILE] [--look N] [QUESTION]\n";

struct arguments {
  std::string model = "build/smollm/SmolLM2-135M-Instruct.Q4_1.gguf";
  std::string system{conversation::default_system};
  std::string weights = "bfloat16", html, look, temperature, top_p, seed, tokens, threads;
  std::string question;
  bool greedy = false, low_precision = false;
};

/// Whether the command line can be understood.
bool parse(int argc, char** argv, arguments& a) {
  std::vector<std::string> questions;
  if (!examples::take_options(argc, argv,
                              {{"--model", &a.model},
                               {"--system", &a.system},
                               {"--weights", &a.weights},
                               {"--html", &a.html},
                               {"--look", &a.look},
                               {"--temperature", &a.temperature},
                               {"--top-p", &a.top_p},
                               {"--seed", &a.seed},
                               {"--tokens", &a.tokens},
                               {"--threads", &a.threads}},
                              questions,
                              {{"--greedy", &a.greedy}, {"--low-precision", &a.low_precision}}))
    return false;
  if (!questions.empty()) a.question = questions.front();
  return questions.size() <= 1;
}

/// A number of the command line, or what it is without one.
template <class N>
N number(const std::string& text, const char* option, N otherwise) {
  if (text.empty()) return otherwise;
  const auto value = examples::number_in<N>(text);
  if (!value)
    throw std::invalid_argument(std::string(option) + ' ' + text +
                                ": this is no number of its kind");
  return *value;
}

volatile std::sig_atomic_t interrupted = 0;

/// Without SA_RESTART, so that waiting for a line ends too.
void catch_interrupts() {
  struct sigaction action{};
  action.sa_handler = [](int) { interrupted = 1; };
  ::sigaction(SIGINT, &action, nullptr);
}

/// Shown at once; nothing that would control the terminal.
bool show(std::string_view text) {
  std::string shown;
  for (const char c : text) {
    const auto b = static_cast<unsigned char>(c);
    if ((b >= 32 && b != 127) || c == '\n' || c == '\t') shown += c;
  }
  std::cout << shown << std::flush;
  return interrupted == 0;
}

double megabytes(std::size_t bytes) { return double(bytes) / 1e6; }

/// What the program has taken at most.
double peak_megabytes() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
#if defined(__APPLE__)
  return double(used.ru_maxrss) / 1e6;
#else
  return double(used.ru_maxrss) * 1024 / 1e6;
#endif
}

void show_figures(const smollm::answer& a, const conversation& c, const language_model& model,
                  const arguments& args) {
  const auto rate = [](std::size_t tokens, double seconds) {
    return seconds > 0 ? double(tokens) / seconds : 0.0;
  };
  const double drawn = rate(a.tokens, a.seconds);
  std::printf(
      "\n[read %zu tokens, %.0f a second; wrote %zu, %.1f tokens a second, %.1f GB/s of "
      "weights;\n weights %s %.0f MB, keys and values %.0f MB, memory %.0f MB]\n",
      a.prompt_tokens, rate(a.prompt_tokens, a.prompt_seconds), a.tokens, drawn,
      drawn * double(model.weight_bytes()) / 1e9, args.weights.c_str(),
      megabytes(model.weight_bytes()), megabytes(c.seen().bytes()), peak_megabytes());
  std::fflush(stdout);
}

void write_report(const language_model& model, const conversation& c, const arguments& a,
                  const std::string& question) {
  if (c.answer_size() == 0) return;
  softlook::inspect::write_html(a.html, smollm::looks_of_answer(model, c, question));
  std::cout << "written: " << a.html << " (what each token looked at: " << model.layers()
            << " layers, " << model.heads() << " heads)\n";
}

void show_look(const language_model& model, const conversation& c, const arguments& a) {
  const auto token = number<std::size_t>(a.look, "--look", 1);
  if (token < 1 || token > c.answer_size())
    throw std::invalid_argument("--look " + a.look + ": the answer has " +
                                std::to_string(c.answer_size()) + " tokens, counted from 1");
  const auto weights = c.looks(token - 1, 1);
  const std::size_t keys = c.answer_begin() + token - 1;
  const std::vector<std::string> names = smollm::names_of(model, c, 0, keys + 1);
  const auto name = [&](Eigen::Index key) {
    return softlook::inspect::printable(names[static_cast<std::size_t>(key)]);
  };
  struct look {
    std::size_t layer, head;
    Eigen::Index key;
    float weight;
  };
  Eigen::RowVectorXf mean = Eigen::RowVectorXf::Zero(static_cast<Eigen::Index>(keys));
  std::vector<look> strongest;
  for (std::size_t l = 0; l < weights.size(); ++l)
    for (std::size_t h = 0; h < weights[l].size(); ++h) {
      const Eigen::RowVectorXf row = weights[l][h].row(0);
      mean += row;
      // The first token is where heads rest that look for nothing.
      if (keys < 2) continue;
      look best{l, h, 0, row.tail(row.size() - 1).maxCoeff(&best.key)};
      ++best.key;
      strongest.push_back(best);
    }
  mean /= static_cast<float>(weights.size() * weights[0].size());
  std::printf("\ntoken %zu, \"%s\", looked at (mean of all heads):\n", token,
              name(static_cast<Eigen::Index>(keys)).c_str());
  std::vector<Eigen::Index> order;
  for (Eigen::Index k = 0; k < mean.size(); ++k) order.push_back(k);
  constexpr std::size_t shown = 8;
  const std::size_t count = std::min(shown, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](auto x, auto y) { return mean[x] > mean[y]; });
  for (std::size_t k = 0; k < count; ++k)
    std::printf("  %5.3f  %4td  %s\n", double(mean[order[k]]), order[k], name(order[k]).c_str());
  std::sort(strongest.begin(), strongest.end(),
            [](const look& x, const look& y) { return x.weight > y.weight; });
  std::printf("the heads that looked most at one token behind the first:\n");
  for (std::size_t k = 0; k < std::min(shown, strongest.size()); ++k)
    std::printf("  %5.3f  layer %2zu, head %zu  %4td  %s\n", double(strongest[k].weight),
                strongest[k].layer, strongest[k].head, strongest[k].key,
                name(strongest[k].key).c_str());
  std::fflush(stdout);
}

void answer(const language_model& model, conversation& c, const arguments& a,
            const std::string& question) {
  const auto most = number<std::size_t>(a.tokens, "--tokens", 256);
  const smollm::answer said = c.ask(question, most, show);
  show_figures(said, c, model, a);
  if (!a.look.empty()) show_look(model, c, a);
  if (!a.html.empty()) write_report(model, c, a, question);
}

void talk(const language_model& model, conversation& c, const arguments& a) {
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  std::string line;
  while (true) {
    if (terminal) std::cout << "\n> " << std::flush;
    interrupted = 0;
    if (!std::getline(std::cin, line)) break;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    try {
      try {
        answer(model, c, a, line);
      } catch (const std::length_error& e) {
        if (c.tokens().empty()) throw;
        std::cout << e.what() << ": it begins anew\n";
        c.clear();
        answer(model, c, a, line);
      }
    } catch (const std::logic_error& e) {  // too long a question, or no token of this number
      std::cout << e.what() << '\n';
    }
  }
  if (terminal) std::cout << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::cerr << usage;
    return 2;
  }
  try {
    const smollm::sampling how{.greedy = a.greedy,
                               .temperature = number(a.temperature, "--temperature", 0.2),
                               .top_p = number(a.top_p, "--top-p", 0.9),
                               .seed = number<std::uint64_t>(a.seed, "--seed", 0)};
    const smollm::sampler checked(how);
    const auto cores = std::max(1U, std::thread::hardware_concurrency());
    const auto threads = number(a.threads, "--threads", cores);
    if (threads < 1 || threads > 1024)
      throw std::invalid_argument("--threads " + a.threads + ": it lies between 1 and 1024");
    const auto kept = smollm::format_named(a.weights, a.low_precision);
    const language_model model(a.model, {.layers = kept, .tokens = kept});
    const language_model::pool pool(static_cast<int>(threads));
    conversation c(model, pool, how, a.system);
    catch_interrupts();
    if (a.question.empty())
      talk(model, c, a);
    else
      answer(model, c, a, a.question);
  } catch (const std::exception& e) {
    std::cerr << "smollm: " << softlook::inspect::printable(e.what()) << '\n';
    return 1;
  }
  return interrupted != 0 ? 130 : 0;
}
