// Hard attention that looks at one cell, trained with REINFORCE, beside soft attention that looks
// at all: which digit is in the cell with this symbol? Both have the same weights before training
// and see the same rows; the learning curves are drawn.
//
//   soft  o = Σ_j P_j v_j                 hard  o = v_c,  c ~ P,  d ln P_c = −(ln p(digit | c) − b)
//
//   search
//
//   --seed N      of the first weights, the rows and the choices (1)
//   --steps N     of both trainings (600)
//   --svg FILE    the curves (search.svg)
//
// expect: ^before training: soft finds [0-9.]+ %, hard finds [0-9.]+ % of the cells$
// expect: ^after 600 steps: soft finds (9|100)[0-9.]* %, hard finds (9|100)[0-9.]* % of the cells$
// expect: soft attention$
// expect: hard attention, REINFORCE$
// expect: ^written: .*search\.svg$

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "examples/search/model.hpp"
#include "examples/support/command_line.hpp"
#include "examples/support/line_plot.hpp"
#include "examples/training/optimiser.hpp"
#include "examples/training/progress.hpp"

namespace {

using weights = search::parameters<float>;

constexpr softlook::index rows_of_step = 64, rows_asked = 500;
constexpr std::uint64_t seed_of_questions = 2;  // everyone is asked the same

struct arguments {
  std::uint64_t seed = 1;
  std::int64_t steps = 600;
  std::string svg = "search.svg";
};

bool parse(int argc, char** argv, arguments& a) {
  std::string seed = "1", steps = "600";
  std::vector<std::string> words;
  if (!examples::take_options(argc, argv,
                              {{"--seed", &seed}, {"--steps", &steps}, {"--svg", &a.svg}}, words))
    return false;
  const auto seed_number = examples::number_in<std::uint64_t>(seed);
  const auto steps_number = examples::number_in<std::int64_t>(steps);
  if (!seed_number || !steps_number || !words.empty()) return false;
  a.seed = *seed_number;
  a.steps = *steps_number;
  return a.steps >= 1 && a.steps <= 1'000'000;
}

/// One of the two that learn.
struct learner {
  weights now;
  examples::adamw<weights> optimiser{now, {.weight_decay = 0}};

  void step(const weights& gradients, double rate) { optimiser.step(now, gradients, rate); }
};

/// A row of a problem as one reads it, and which cell is looked at.
void show_row(const search::problems& p, softlook::index row, const weights& hard) {
  search::saved<float> s;
  search::embed(hard, p, s);
  const auto chosen =
      softlook::hard_attention(s.Q.Y, s.K.Y, s.V.Y, softlook::selections::argmax{}, p.mask());
  std::cout << "  " << char('a' + p.cue[std::size_t(row)]) << "?  ";
  for (softlook::index cell = row * p.cells; cell < (row + 1) * p.cells; ++cell) {
    const bool looked = chosen.choice(row) == cell;
    std::cout << (looked ? '[' : ' ') << char('a' + p.symbol[std::size_t(cell)])
              << p.digit[std::size_t(cell)] << (looked ? ']' : ' ');
  }
  std::cout << '\n';
}

void run(const arguments& a) {
  const search::sizes sizes;
  examples::generator random(a.seed), of_questions(seed_of_questions);
  const auto questions = search::draw(sizes, rows_asked, of_questions);
  const weights first = search::first_weights<float>(sizes, random);
  learner soft{first}, hard{first};
  search::reinforce how{.seed = a.seed};
  const examples::cosine_schedule rate{
      .highest = 1e-2, .lowest = 1e-3, .warmup = a.steps / 50, .steps = a.steps};
  examples::line_plot plot{.title = "Looking at one cell, and at all",
                           .x_name = "steps",
                           .y_name = "digits that are right, %",
                           .curves = {{"soft attention", {}}, {"hard attention, REINFORCE", {}}},
                           .from_zero = true};
  const auto examine = [&](std::int64_t step) {
    const search::outcome of_soft = search::soft<float>(soft.now, questions, nullptr);
    const search::outcome of_hard = search::hard(hard.now, questions);
    plot.curves[0].points.emplace_back(double(step), 100 * of_soft.right);
    plot.curves[1].points.emplace_back(double(step), 100 * of_hard.right);
    if (step != 0 && step != a.steps) return;
    char figures[160];
    std::snprintf(figures, sizeof figures, "soft finds %.1f %%, hard finds %.1f %% of the cells",
                  100 * of_soft.found, 100 * of_hard.found);
    std::cout << (step == 0 ? "before training" : "after " + std::to_string(step) + " steps")
              << ": " << figures << std::endl;
  };

  examine(0);
  examples::progress bar(a.steps);
  for (std::int64_t step = 1; step <= a.steps; ++step) {
    const auto rows = search::draw(sizes, rows_of_step, random);
    weights of_soft = softlook::zeros_like(first), of_hard = of_soft;
    (void)search::soft(soft.now, rows, &of_soft);
    const double loss = search::hard(hard.now, rows, how, of_hard).loss;
    soft.step(of_soft, rate(step - 1));
    hard.step(of_hard, rate(step - 1));
    bar.show(step, loss);
    if (step % std::max<std::int64_t>(1, a.steps / 100) == 0 || step == a.steps) {
      if (step == a.steps) bar.finish();
      examine(step);
    }
  }
  std::cout << "trained in " << examples::duration_text(bar.seconds())
            << " by one thread\n\nWhere hard attention looks now:\n";
  for (softlook::index row = 0; row < 4; ++row) show_row(questions, row, hard.now);
  std::cout << '\n' << examples::to_text(plot);
  examples::write_svg(a.svg, plot);
  std::cout << "written: " << a.svg << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::cerr << "usage: search [--seed N] [--steps N] [--svg FILE]\n";
    return 2;
  }
  try {
    run(a);
  } catch (const std::exception& e) {
    std::cerr << "search: " << softlook::inspect::printable(e.what()) << '\n';
    return 1;
  }
}
