// What tests/smollm/compare.py compares with the reference, the comparison of ctest, and the side
// of softlook in bench/peers/smollm.py.
//   smollm_tokens MODEL encode                texts of standard input, each ended by a byte 0, with
//                                             special tokens -> a line of ids each
//   smollm_tokens MODEL greedy KIND COUNT     lines of ids -> lines of the COUNT likeliest ids that
//                                             follow
//   smollm_tokens MODEL check KIND FILE       lines "ids : ids that follow : margins", from the
//                                             float reference
//   smollm_tokens MODEL speed KIND THREADS    tokens a second
//   smollm_tokens MODEL serve KIND THREADS    "greedy COUNT IDS", "read", "write", "bandwidth" ->
//                                             "ok" and ids, seconds (of a token), bytes a second
// KIND: exact, bfloat16, int8, low:bfloat16, low:int8 (with low_precision).

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <numeric>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "examples/smollm/model.hpp"

namespace {

using smollm::language_model;

softlook::weight_format<float> format_of(const std::string& kind) {
  const bool low = kind.starts_with("low:");
  return smollm::format_named(low ? kind.substr(4) : kind, low);
}

std::vector<int> ids_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<int>(in), {}};
}

int likeliest(const Eigen::RowVectorXf& scores) {
  Eigen::Index best = 0;
  scores.maxCoeff(&best);
  return static_cast<int>(best);
}

std::vector<int> greedy(const language_model& model, const std::vector<int>& ids, std::size_t count,
                        const language_model::pool& threads) {
  auto seen = model.start();
  std::vector<int> out{likeliest(model.next(ids, seen, threads))};
  while (out.size() < count)
    out.push_back(likeliest(model.next(std::span(out).last(1), seen, threads)));
  return out;
}

int encode(const language_model& model) {
  for (std::string text; std::getline(std::cin, text, '\0');) {
    for (const int id : model.tokenizer().encode_with_specials(text)) std::cout << id << ' ';
    std::cout << '\n';
  }
  return 0;
}

/// With exact weights every token is that of the reference, unless its margin over the next one is
/// rounding; with packed ones the first difference of each line is told.
int check(const language_model& model, const std::string& kind, const std::string& file,
          const language_model::pool& threads) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error(file + ": the file cannot be opened");
  int lines = 0, equal = 0, wrong = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> parts(1);
    for (const char c : line)
      if (c == ':')
        parts.emplace_back();
      else
        parts.back() += c;
    if (parts.size() != 3) throw std::runtime_error(file + ": a line has not three parts");
    const std::vector<int> expected = ids_of(parts[1]);
    std::istringstream margin_text(parts[2]);
    const std::vector<double> margins{std::istream_iterator<double>(margin_text), {}};
    const std::vector<int> found = greedy(model, ids_of(parts[0]), expected.size(), threads);
    const auto at = static_cast<std::size_t>(
        std::mismatch(found.begin(), found.end(), expected.begin()).first - found.begin());
    ++lines;
    if (at == expected.size()) {
      ++equal;
      continue;
    }
    const double margin = margins.at(at);
    std::printf("line %d: token %zu is %d, not %d; the reference prefers it by %.4f\n", lines,
                at + 1, found[at], expected[at], margin);
    // Scores are about 20 here; float rounds 30 layers of them to a few units of 1e-4.
    constexpr double rounding = 2e-3, of_packed = 1;
    if (margin > (kind == "exact" ? rounding : of_packed)) ++wrong;
  }
  std::printf("%s: %d of %d lines equal\n", kind.c_str(), equal, lines);
  return lines > 0 && wrong == 0 ? 0 : 1;
}

/// Bytes a second that these threads read of memory, each its part of what no cache holds.
double bandwidth(const language_model::pool& threads) {
  constexpr Eigen::Index parts = 64, size = 1 << 20;  // 512 MiB
  static const std::vector<std::uint64_t> numbers(std::size_t(parts * size), 1);
  std::vector<std::uint64_t> sums(parts);
  const auto begun = std::chrono::steady_clock::now();
  threads.bulk(parts, [&](Eigen::Index part, Eigen::Index) noexcept {
    const std::uint64_t* const from = numbers.data() + part * size;
    sums[std::size_t(part)] = std::accumulate(from, from + size, std::uint64_t{0});
  });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  if (std::accumulate(sums.begin(), sums.end(), std::uint64_t{0}) != numbers.size()) return 0;
  return double(numbers.size() * sizeof(std::uint64_t)) / took.count();
}

/// What is read and written where time is measured.
class measured {
 public:
  measured(const language_model& model, const language_model::pool& threads)
      : model_(model), threads_(threads) {
    for (int k = 0; k < 512; ++k) prompt_.push_back(1000 + k * 37 % 40000);
  }

  /// Seconds of the prompt.
  double reading() const {
    auto seen = model_.start();
    const stopwatch begun;
    likeliest(model_.next(prompt_, seen, threads_));
    return begun.seconds();
  }
  /// Seconds of each of `count` tokens after a short prompt.
  double writing(int count) const {
    auto seen = model_.start();
    int id = likeliest(model_.next(std::span(prompt_).first(16), seen, threads_));
    const stopwatch begun;
    for (int k = 0; k < count; ++k) id = likeliest(model_.next(std::span(&id, 1), seen, threads_));
    return begun.seconds() / count;
  }

 private:
  struct stopwatch {
    std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
    double seconds() const {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    }
  };
  const language_model& model_;
  const language_model::pool& threads_;
  std::vector<int> prompt_;
};

/// The best of some rounds, in which what is compared alternates.
void measure(const language_model& model, const language_model::pool& threads) {
  const measured run(model, threads);
  double reading = 1e9, each = 1e9, memory = 0;
  for (int round = 0; round < 12; ++round) {
    reading = std::min(reading, run.reading());
    for (int part = 0; part < 4; ++part) {
      each = std::min(each, run.writing(16));
      memory = std::max(memory, bandwidth(threads));
    }
  }
  const auto bytes = double(model.weight_bytes());
  std::printf("512 tokens in %.3f s, %.0f a second\n", reading, 512 / reading);
  std::printf("then %.2f ms a token, %.1f a second: %.2f GB/s of %.1f MB; memory gives %.2f GB/s\n",
              1e3 * each, 1 / each, bytes / each / 1e9, bytes / 1e6, memory / 1e9);
}

/// Answers lines as bench/peers/protocol.py has them.
void serve(const language_model& model, const language_model::pool& threads) {
  const measured run(model, threads);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    std::string what;
    in >> what;
    std::cout << "ok";
    if (what == "greedy") {
      std::size_t count = 0;
      in >> count;
      for (const int id : greedy(model, {std::istream_iterator<int>(in), {}}, count, threads))
        std::cout << ' ' << id;
    } else {
      std::cout << ' '
                << (what == "read"    ? run.reading()
                    : what == "write" ? run.writing(64)
                                      : bandwidth(threads));
    }
    std::cout << std::endl;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string what = argc > 2 ? argv[2] : "";
    if (argc < 3) throw std::invalid_argument("usage: see tests/smollm/tokens.cpp");
    const auto kept = format_of(argc > 3 ? argv[3] : "int8");
    const language_model model(std::string(argv[1]), {kept, kept});
    if (what == "encode") return encode(model);
    if (argc != 5) throw std::invalid_argument("usage: see tests/smollm/tokens.cpp");
    const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    const language_model::pool threads(what == "speed" || what == "serve" ? std::stoi(argv[4])
                                                                          : cores);
    if (what == "check") return check(model, argv[3], argv[4], threads);
    if (what == "speed") measure(model, threads);
    if (what == "serve") serve(model, threads);
    if (what == "greedy")
      for (std::string line; std::getline(std::cin, line);) {
        for (const int id : greedy(model, ids_of(line), std::stoul(argv[4]), threads))
          std::cout << id << ' ';
        std::cout << std::endl;
      }
  } catch (const std::exception& e) {
    std::cerr << "smollm_tokens: " << e.what() << '\n';
    return 1;
  }
  return 0;
}
