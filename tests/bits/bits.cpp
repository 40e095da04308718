// Calls softlook in every way and prints a line for each call: its name and a hash of the bits of
// all that it returned. Two trees give the same lines unless a result has changed:
// sh tests/bits/compare.sh OTHER_TREE.
#include "bits.hpp"

#include <exception>

namespace bits {

void picture_calls() {
  namespace inspect = softlook::inspect;
  const rows_of<double> scores = filled<rows_of<double>>("picture", 6, 9);
  const rows_of<double> weights = softlook::entmax(scores, 1.5);
  const inspect::heat_map map(weights, {"a", "b", "c", "d", "e", "<f>"}, {}, "weights & names");
  const std::vector<inspect::heat_map> maps(3, map);
  line("inspect/text", inspect::to_text(map), inspect::to_text(maps, {.decimals = -1}),
       inspect::to_text(map, {.paint = inspect::paint::ansi256}));
  line("inspect/svg", inspect::to_svg(map), inspect::to_svg(maps, {.highest = 1, .per_row = 2}));
  line("inspect/figures", inspect::row_entropy(weights), inspect::strongest_keys(weights, 3),
       inspect::strongest_keys_text(map, 2));
  const inspect::report report(std::vector<std::vector<rows_of<double>>>{{weights, scores}});
  line("inspect/html", inspect::to_html(report));
}

}  // namespace bits

int main() {
  try {
    bits::attention_calls<float>();
    bits::head_calls<float>();
    bits::variant_calls<float>();
    bits::linear_calls<float>();
    bits::layer_calls<float>();
    bits::attention_calls<double>();
    bits::head_calls<double>();
    bits::variant_calls<double>();
    bits::linear_calls<double>();
    bits::layer_calls<double>();
    bits::picture_calls();
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "bits: %s\n", problem.what());
    return 1;
  }
}
