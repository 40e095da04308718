// A language model of characters that is trained while you wait, on "Alice's Adventures in
// Wonderland": a causal Transformer learns which character follows, and writes on. What it writes
// before and after training, and the loss, are shown; the curve of the loss is drawn.
//
//   L = −1/N · Σ_i ln p(c_{i+1} | c_1 … c_i)
//
//   characters [BEGINNING]   trains, then writes on ("Alice was ")
//
//   --seed N                 of the first weights, the batches and what is written (1)
//   --steps N                of the training (6000)
//   --until N                stops after so many of them, to go on another time
//   --checkpoint FILE        keeps the training in it
//   --resume FILE            goes on with one of the same seed, steps and text
//   --text FILE              learns from this (examples/characters/alice.txt)
//   --svg FILE               the curve (characters.svg)
//
// expect: ^90932 weights, 68 characters; 128726 to learn from, 14302 held out$
// expect: ^before training: held-out loss 4\.[0-9]+, perplexity [6-9][0-9]\.
// expect: ^after [0-9]+ steps: held-out loss [12]\.[0-9]+, perplexity [4-9]\.
// expect: loss of what it learns from
// expect: ^written: .*characters\.svg$

#include <algorithm>
#include <cmath>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "examples/characters/training.hpp"
#include "examples/support/command_line.hpp"
#include "examples/support/line_plot.hpp"
#include "examples/training/checkpoint.hpp"
#include "examples/training/progress.hpp"

namespace {

using characters::corpus;
using characters::training;
using softlook::inspect::printable;

constexpr std::int64_t most_steps = 10'000'000;

struct arguments {
  std::uint64_t seed = 1;
  std::int64_t steps = 6000, until = 6000;
  std::string checkpoint, resume, svg = "characters.svg", text = CHARACTERS_TEXT;
  std::string beginning = "Alice was ";
};

bool parse(int argc, char** argv, arguments& a) {
  std::string seed = "1", steps = "6000", until;
  std::vector<std::string> words;
  if (!examples::take_options(argc, argv,
                              {{"--seed", &seed},
                               {"--steps", &steps},
                               {"--until", &until},
                               {"--checkpoint", &a.checkpoint},
                               {"--resume", &a.resume},
                               {"--text", &a.text},
                               {"--svg", &a.svg}},
                              words))
    return false;
  if (until.empty()) until = steps;
  const auto seed_number = examples::number_in<std::uint64_t>(seed);
  const auto steps_number = examples::number_in<std::int64_t>(steps);
  const auto until_number = examples::number_in<std::int64_t>(until);
  if (!seed_number || !steps_number || !until_number || words.size() > 1) return false;
  a.seed = *seed_number;
  a.steps = *steps_number;
  a.until = *until_number;
  if (!words.empty()) a.beginning = words.front();
  return a.steps >= 1 && a.steps <= most_steps && a.until >= 0 && a.until <= a.steps &&
         !a.beginning.empty();
}

characters::sizes sizes_of(const corpus& c) {
  return {.known = softlook::index(c.known.size()),
          .features = 48,
          .heads = 3,
          .hidden = 192,
          .layers = 3};
}

/// Line by line, for a text may hold what a terminal cannot take.
void show_text(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) std::cout << "  | " << printable(line) << '\n';
  std::cout << '\n';
}

struct session {
  const arguments& a;
  const corpus& text;
  training model;
  examples::training_point at;
  examples::line_plot plot{.title = "A language model of characters learns",
                           .x_name = "steps",
                           .y_name = "loss, nats for each character",
                           .curves = {{"loss of what it learns from", {}}, {"held out", {}}}};

  std::string moment() const {
    return at.step == 0 ? "before training" : "after " + std::to_string(at.step) + " steps";
  }
  double held_out() {
    const double loss = model.held_out_loss(text);
    plot.curves[1].points.emplace_back(double(at.step), loss);
    return loss;
  }
  /// The loss, and what the model writes: the same random numbers at every moment.
  void show(double loss) {
    std::cout << moment() << ": held-out loss " << loss << ", perplexity " << std::exp(loss)
              << "; it writes:\n";
    examples::generator random(a.seed + 1);
    show_text(a.beginning + characters::written(model.now(), sizes_of(text).heads, text,
                                                a.beginning, 300, characters::batch{}.length, 0.7,
                                                random));
  }
};

void train(session& s, const examples::settings& made_with) {
  const arguments& a = s.a;
  const examples::cosine_schedule rate{
      .highest = 8e-3, .lowest = 8e-5, .warmup = a.steps / 20, .steps = a.steps};
  const std::int64_t report = std::max<std::int64_t>(1, a.steps / 20);
  const auto save = [&] {
    if (!a.checkpoint.empty())
      examples::save_checkpoint(a.checkpoint, s.model.now(), s.model.optimiser(), s.at, made_with);
  };
  examples::generator random(s.at.generator);
  characters::batch b;
  examples::progress bar(a.steps, s.at.step);
  while (s.at.step < a.until) {
    b.draw(s.text, random);
    const double loss = s.model.step(b, rate(s.at.step));
    s.at = {s.at.step + 1, random.state()};
    bar.show(s.at.step, loss);
    if (s.at.step % report != 0) continue;
    s.plot.curves[0].points.emplace_back(double(s.at.step), bar.loss());
    const double held_out = s.held_out();
    bar.clear();
    std::cout << "step " << s.at.step << "  loss " << bar.loss() << "  held out " << held_out
              << std::endl;
    save();
  }
  bar.finish();
  save();
  std::cout << "trained in " << examples::duration_text(bar.seconds()) << " by one thread\n\n";
}

void run(const arguments& a) {
  const corpus text = characters::read_corpus(a.text);
  (void)text.ids_of(a.beginning);  // before it takes time
  examples::generator random(a.seed);
  training model(sizes_of(text), random);
  session s{a, text, std::move(model), {0, random.state()}};
  std::cout << softlook::parameter_count(s.model.now()) << " weights, " << text.known.size()
            << " characters; " << text.learned() << " to learn from, "
            << text.ids.size() - text.learned() << " held out\n";
  const examples::settings made_with = {{"seed", std::to_string(a.seed)},
                                        {"steps", std::to_string(a.steps)},
                                        {"text", std::to_string(text.ids.size())}};
  if (!a.resume.empty())
    s.at = examples::load_checkpoint(a.resume, s.model.now(), s.model.optimiser(), made_with);
  const double before = s.held_out();
  s.show(before);
  if (s.at.step < a.until) {
    train(s, made_with);
    s.show(s.model.held_out_loss(text));
  }
  std::cout << examples::to_text(s.plot);
  examples::write_svg(a.svg, s.plot);
  std::cout << "written: " << a.svg << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::cerr << "usage: characters [--seed N] [--steps N] [--until N] [--checkpoint FILE] "
                 "[--resume FILE] [--text FILE] [--svg FILE] [BEGINNING]\n";
    return 2;
  }
  try {
    run(a);
  } catch (const std::exception& e) {
    std::cerr << "characters: " << printable(e.what()) << '\n';
    return 1;
  }
}
