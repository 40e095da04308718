// A translator of dates that is trained while you wait: "3rd of May 1979", "Thursday, May 3, 1979"
// or "05/03/79" become "1979-05-03". What each written character looks at is drawn before, during
// and after training.
//
//   α_ij = softmax_j( v · tanh(Wq s_{i−1} + Wk h_j) )   Bahdanau et al., 2015, appendix A.1.2
//
//   dates [DATE...]      trains, then translates these
//
//   --seed N             of the first weights and the dates (1)
//   --steps N            of the training (800)
//   --until N            stops after so many of them, to go on another time
//   --checkpoint FILE    keeps the training in it
//   --resume FILE        goes on with one of the same seed and steps
//   --html FILE          a page with the pictures (dates.html); .svg: the strip alone
//
// expect: ^76603 weights; 32897 dates to learn from, 3628 others that it never sees$
// expect: ^before training: 0 of 1000 unseen dates are right$
// expect: ^after 400 steps: 9[0-9][0-9] of 1000 unseen dates are right
// expect: ^3rd of May 1979 -> 1979-05-03$
// expect: ^05/03/79 -> 1979-05-03$
// expect: ^written: .*dates\.

#include <algorithm>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <softlook/inspect.hpp>

#include "examples/dates/date_forms.hpp"
#include "examples/dates/translator.hpp"
#include "examples/support/command_line.hpp"
#include "examples/training/checkpoint.hpp"
#include "examples/training/cross_entropy.hpp"
#include "examples/training/optimiser.hpp"
#include "examples/training/progress.hpp"

namespace {

using softlook::inspect::heat_map;
using softlook::inspect::labels;
using softlook::inspect::printable;

constexpr std::int64_t most_steps = 1'000'000;
constexpr std::uint64_t seed_of_questions = 2;  // everyone is asked the same
constexpr std::string_view shown = "3rd of May 1979", shown_right = "1979-05-03";

struct arguments {
  std::uint64_t seed = 1;
  std::int64_t steps = 800, until = 800;
  std::string checkpoint, resume, html = "dates.html";
  std::vector<std::string> dates;
};

bool parse(int argc, char** argv, arguments& a) {
  std::string seed = "1", steps = "800", until;
  if (!examples::take_options(argc, argv,
                              {{"--seed", &seed},
                               {"--steps", &steps},
                               {"--until", &until},
                               {"--checkpoint", &a.checkpoint},
                               {"--resume", &a.resume},
                               {"--html", &a.html}},
                              a.dates))
    return false;
  if (until.empty()) until = steps;
  const auto seed_number = examples::number_in<std::uint64_t>(seed);
  const auto steps_number = examples::number_in<std::int64_t>(steps);
  const auto until_number = examples::number_in<std::int64_t>(until);
  if (!seed_number || !steps_number || !until_number) return false;
  a.seed = *seed_number;
  a.steps = *steps_number;
  a.until = *until_number;
  return a.steps >= 1 && a.steps <= most_steps && a.until >= 0 && a.until <= a.steps;
}

labels characters_of(std::string_view text) {
  labels all;
  for (const char c : text) all.push_back(c == ' ' ? "␣" : std::string(1, c));
  return all;
}

/// A training: what it changes, and how far it is.
struct course {
  dates::weights weights;
  examples::adamw<dates::weights> optimiser;
  examples::training_point at;
};

/// The gradients of a step are those of two batches, whose dates have different lengths.
double train_step(course& c, const examples::cosine_schedule& rate) {
  constexpr int batches = 2, sentences = 16;
  constexpr double longest_gradient = 1;
  examples::generator random(c.at.generator);
  dates::weights gradients = softlook::zeros_like(c.weights);
  softlook::saved_bahdanau<float> saved;
  dates::weights::matrix dlogits;
  double loss = 0;
  for (int k = 0; k < batches; ++k) {
    const dates::batch b = dates::draw_batch(sentences, random);
    softlook::bahdanau_forward(c.weights, b.source, b.fed, b.sentences, saved);
    loss += examples::cross_entropy(saved.logits, b.wanted, &dlogits).loss / batches;
    dlogits /= float(batches);
    softlook::bahdanau_backward(c.weights, saved, dlogits, gradients);
  }
  examples::clip_by_global_norm(gradients, longest_gradient);
  c.optimiser.step(c.weights, gradients, rate(c.at.step));
  c.at.generator = random.state();
  ++c.at.step;
  return loss;
}

std::string moment(const course& c) {
  return c.at.step == 0 ? "before training" : "after " + std::to_string(c.at.step) + " steps";
}

heat_map picture(const course& c) {
  return heat_map(dates::alignment(dates::model(c.weights), shown, shown_right),
                  characters_of(shown_right), characters_of(shown), moment(c));
}

/// "after 400 steps: 991 of 1000 unseen dates are right", and some that are not.
void examine(const course& c) {
  const auto e = dates::examine(dates::model(c.weights), 1000, seed_of_questions);
  std::cout << moment(c) << ": " << e.right << " of " << e.asked << " unseen dates are right\n";
  for (std::size_t k = 0; k < e.mistakes.size() && c.at.step > 0 && k < 5; ++k)
    std::cout << "  " << e.mistakes[k] << '\n';
}

void train(course& c, const arguments& a, const examples::settings& made_with,
           std::vector<heat_map>& strip) {
  const examples::cosine_schedule rate{
      .highest = 8e-3, .lowest = 8e-5, .warmup = a.steps / 20, .steps = a.steps};
  const std::int64_t report = std::max<std::int64_t>(1, a.steps / 10);
  const auto save = [&] {
    if (!a.checkpoint.empty())
      examples::save_checkpoint(a.checkpoint, c.weights, c.optimiser, c.at, made_with);
  };
  examples::progress bar(a.steps, c.at.step);
  while (c.at.step < a.until) {
    const double loss = train_step(c, rate);
    bar.show(c.at.step, loss);
    if (c.at.step == a.steps / 8 || c.at.step == a.steps / 4) strip.push_back(picture(c));
    if (c.at.step % report != 0) continue;
    bar.clear();
    std::cout << "step " << c.at.step << "  loss " << bar.loss() << "  learning rate "
              << rate(c.at.step - 1) << std::endl;
    save();
  }
  bar.finish();
  save();
  std::cout << "trained in " << examples::duration_text(bar.seconds()) << " by one thread\n";
}

/// A page around the pictures, or the pictures alone.
void write_page(const std::string& path, const std::vector<std::string>& pictures) {
  std::ofstream file(path);
  if (path.ends_with(".svg")) {
    file << pictures.front();
  } else {
    file << "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Dates</title>\n"
            "<style>body { font-family: sans-serif; margin: 2em; } svg { max-width: 100%; "
            "height: auto; }</style>\n<h1>How a translator of dates learns where to look</h1>\n"
            "<p>A row for each written character, a column for each character that it looked at.\n";
    for (const std::string& picture : pictures) file << "<p>" << picture << "</p>\n";
    file << "</html>\n";
  }
  file.close();
  if (!file) throw std::runtime_error(path + ": the file cannot be written");
  std::cout << "written: " << path << '\n';
}

void run(const arguments& a) {
  for (const std::string& date : a.dates) (void)dates::tokens_of(date);  // before it takes time
  examples::generator random(a.seed);
  const dates::weights first = dates::first_weights({}, random);
  course c{first, examples::adamw<dates::weights>(first), {0, random.state()}};
  std::int64_t unseen = 0;
  for (std::int64_t day = 0; day < dates::days; ++day) unseen += dates::is_unseen(day) ? 1 : 0;
  std::cout << softlook::parameter_count(first) << " weights; " << dates::days - unseen
            << " dates to learn from, " << unseen << " others that it never sees\n";

  const examples::settings made_with = {{"seed", std::to_string(a.seed)},
                                        {"steps", std::to_string(a.steps)}};
  if (!a.resume.empty())
    c.at = examples::load_checkpoint(a.resume, c.weights, c.optimiser, made_with);
  examine(c);
  std::vector<heat_map> strip = {picture(c)};
  if (c.at.step < a.until) {
    train(c, a, made_with, strip);
    examine(c);
    strip.push_back(picture(c));
  }

  using softlook::inspect::terminal_paint;
  std::cout << "\nWhat each character of " << shown_right << " looks at in \"" << shown << "\":\n\n"
            << softlook::inspect::to_text(strip,
                                          {.paint = terminal_paint(), .decimals = -1, .per_row = 2})
            << '\n';
  const dates::model m(c.weights);
  std::vector<heat_map> asked;
  for (const std::string_view date : {std::string_view(shown), std::string_view("05/03/79")})
    std::cout << date << " -> " << dates::translate(m, date).text << '\n';
  for (const std::string& date : a.dates) {
    const dates::translation t = dates::translate(m, date);
    std::cout << date << " -> " << t.text << '\n';
    asked.emplace_back(t.looked, characters_of(t.text), characters_of(date), date);
  }
  std::vector<std::string> pictures = {
      softlook::inspect::to_svg(strip, {.decimals = -1, .per_row = 4})};
  if (!asked.empty()) {
    std::cout << '\n'
              << softlook::inspect::to_text(
                     asked, {.paint = terminal_paint(), .decimals = -1, .per_row = 2});
    pictures.push_back(softlook::inspect::to_svg(asked, {.decimals = -1, .per_row = 4}));
  }
  write_page(a.html, pictures);
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::cerr << "usage: dates [--seed N] [--steps N] [--until N] [--checkpoint FILE] "
                 "[--resume FILE] [--html FILE] [DATE...]\n";
    return 2;
  }
  try {
    run(a);
  } catch (const std::exception& e) {
    std::cerr << "dates: " << printable(e.what()) << '\n';
    return 1;
  }
}
