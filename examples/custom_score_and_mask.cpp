// Your own mask and your own change of the scores: two small functions, compiled into the kernel.
// Two machines, A and B, write into one log. What explains an event? An earlier event of the same
// machine, about the same matter, and rather a recent one.
//
//   s(i, j) = q_i · k_j / √d - 0.2 · (minutes from j to i),   -inf unless same machine and j < i
//
// A transform sees each score and a mask each pair (i, j), whichever kernel computes them. The idea
// of functions instead of stored n×m matrices: Dong et al., "Flex Attention", 2024.
//
// Run: custom_score_and_mask [FOLDER]   writes FOLDER/custom_score_and_mask.svg
//
// expect: A boot -> nothing
// expect: A disk error -> A disk slow 0\.9
// expect: A crash -> A disk error 0\.[89]
// expect: B disk ok -> B boot 1\.00
// expect: the tiled kernel agrees: true

#include <cstdint>
#include <iostream>
#include <softlook/softlook.hpp>
#include <string>

int main(int argc, char** argv) {
  using namespace softlook;
  const std::string folder = argc > 1 ? argv[1] : ".";
  const inspect::labels events = {"A boot",       "B boot",  "A disk slow", "B disk ok",
                                  "A disk error", "B login", "A crash"};
  const Eigen::Vector<float, 7> minute(0, 1, 5, 6, 12, 13, 14);
  const Eigen::Vector<int, 7> machine(0, 1, 0, 1, 0, 1, 0);

  Eigen::Matrix<float, 7, 4> X;  // what an event is about
  // start disk trouble user
  X << 1, 0, 0, 0,  // A boot
      1, 0, 0, 0,   // B boot
      0, 2, 1, 0,   // A disk slow
      0, 2, 0, 0,   // B disk ok
      0, 2, 2, 0,   // A disk error
      0, 0, 0, 1,   // B login
      0, 1, 2, 0;   // A crash

  // Functions get positions as std::int32_t and are copied into the kernel: capture pointers, not
  // matrices. Without branches, as here, the compiler turns them into SIMD.
  const float* time = minute.data();
  const transforms::map recent(
      [time](float s, std::int32_t i, std::int32_t j) { return s - 0.2f * (time[i] - time[j]); });

  // A predicate is asked for every pair; `&` with a mask that knows its shape lets the kernel skip
  // whole tiles. causal{-1} is "strictly earlier": a machine's first event has nothing to look at.
  const int* of = machine.data();
  const auto same_machine =
      masks::where([of](std::int32_t i, std::int32_t j) { return of[i] == of[j]; });
  const auto earlier_here = same_machine & masks::causal{.offset = -1};

  const naive_result found = naive_attention(X, X, X, recent, earlier_here);
  const inspect::heat_map map(found.weights, events, events, "what explains an event");
  std::cout << inspect::to_text(map, {.paint = inspect::terminal_paint()}) << '\n'
            << inspect::strongest_keys_text(map, 2);

  // The same two objects serve every kernel. An event without a cause gets a row of zeros.
  const auto tiled = flash_attention(X, X, X, recent, earlier_here);
  std::cout << "\nthe tiled kernel agrees: " << std::boolalpha
            << tiled.isApprox(found.output, 1e-5f) << '\n';

  inspect::write_svg(folder + "/custom_score_and_mask.svg", map);
}
