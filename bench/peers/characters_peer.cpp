// softlook's side of characters.py: a step of training of examples/characters.
//
//   characters_peer            known features heads hidden layers length pieces
//   characters_peer serve      answers lines: losses FILE, time STEPS

#include <time.h>

#include <cstdint>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>

#include "examples/characters/training.hpp"
#include "examples/support/safetensors.hpp"
#include "examples/training/checkpoint.hpp"

namespace {

constexpr int steps_that_agree = 5;
constexpr double rate = 1e-3;
const characters::sizes sizes{.known = 68, .features = 48, .heads = 3, .hidden = 192, .layers = 3};

double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

/// Writes the first weights, and the losses of steps on one batch.
std::string losses(const std::string& path) {
  examples::generator random(1);
  characters::training model(sizes, random);
  examples::safetensors_writer file;
  examples::add_parameters(file, "weights.", model.now());
  file.write(path);
  characters::batch b;
  for (std::int32_t k = 0; k < b.length * b.pieces; ++k) {
    b.text.push_back(k * 37 % std::int32_t(sizes.known));
    b.wanted.push_back((b.text.back() * 5 + 1) % std::int32_t(sizes.known));
  }
  std::ostringstream text;
  text.precision(8);
  for (int k = 0; k < steps_that_agree; ++k) text << model.step(b, rate) << ' ';
  return text.str();
}

class timed {
 public:
  timed() : random_(1), model_(sizes, random_) {
    std::string text;
    for (std::size_t k = 0; k < 100'000; ++k) text += char(random_.below(sizes.known));
    for (char c = 0; c < char(sizes.known); ++c) text += c;
    corpus_ = characters::corpus_of(text);
  }
  /// Seconds of a step.
  double run(int steps) {
    const double start = processor_seconds();
    for (int k = 0; k < steps; ++k) {
      batch_.draw(corpus_, random_);
      (void)model_.step(batch_, rate);
    }
    return (processor_seconds() - start) / steps;
  }

 private:
  examples::generator random_;
  characters::training model_;
  characters::corpus corpus_;
  characters::batch batch_;
};

}  // namespace

int main(int argc, char**) {
  const characters::batch b;
  if (argc < 2) {
    std::cout << sizes.known << ' ' << sizes.features << ' ' << sizes.heads << ' ' << sizes.hidden
              << ' ' << sizes.layers << ' ' << b.length << ' ' << b.pieces << '\n';
    return 0;
  }
  timed steps;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::istringstream words(line);
      std::string command, argument;
      words >> command >> argument;
      if (command == "losses")
        std::cout << "ok " << losses(argument) << std::endl;
      else
        std::cout << "ok " << steps.run(std::stoi(argument)) << std::endl;
    } catch (const std::exception& e) {
      std::cout << "error " << e.what() << std::endl;
    }
  }
}
