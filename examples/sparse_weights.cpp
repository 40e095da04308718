// The same scores through softmax, 1.5-entmax and sparsemax: how many words keep a weight.
//
//   P = α-entmax(Q Kᵀ / √d):  α = 1 softmax, every word a little; α = 1.5; α = 2 sparsemax
//
// Martins & Astudillo, "From Softmax to Sparsemax", 2016; Peters et al., "Sparse
// Sequence-to-Sequence Models", 2019, section 3.
//
// expect: alpha 1.0 keeps 12 of 12 weights
// expect: alpha 1.5 keeps 8 of 12 weights
// expect: alpha 2.0 keeps 5 of 12 weights
// expect: house, which has no weight for "ist": 0\.00 0\.86 0\.00 0\.14

#include <iomanip>
#include <iostream>
#include <limits>
#include <softlook/softlook.hpp>
#include <vector>

int main() {
  using namespace softlook;
  const inspect::labels source = {"das", "Haus", "ist", "alt"};
  const inspect::labels target = {"the", "house", "is"};

  // Words as points: a translation lies near its source, and articles near verbs.
  Eigen::MatrixXf K(4, 3), Q(3, 3);
  K << 2.0f, 0.0f, 0.6f, 0.0f, 2.0f, 0.2f, 0.6f, 0.2f, 2.0f, 0.2f, 1.2f, 1.4f;
  Q << 2.0f, 0.2f, 0.4f, 0.0f, 2.0f, 0.3f, 0.4f, 0.2f, 2.0f;

  std::vector<inspect::heat_map> maps;
  for (const double alpha : {1.0, 1.5, 2.0}) {
    const Eigen::MatrixXf P = entmax_attention_weights(Q, K, alpha);
    std::cout << std::fixed << std::setprecision(1) << "alpha " << alpha << " keeps "
              << (P.array() > 0).count() << " of " << P.size() << " weights\n";
    maps.emplace_back(P, target, source,
                      alpha == 1  ? "softmax"
                      : alpha < 2 ? "1.5-entmax"
                                  : "sparsemax");
  }
  std::cout << '\n' << inspect::to_text(maps, {.paint = inspect::terminal_paint(), .per_row = 3});

  // A word without weight is not even read: NaN in its value does no harm.
  Eigen::MatrixXf V = Eigen::MatrixXf::Identity(4, 4);
  V.row(2).setConstant(std::numeric_limits<float>::quiet_NaN());
  const Eigen::MatrixXf O = entmax_attention(Q, K, V, 2);
  std::cout << "\nhouse, which has no weight for \"ist\":" << std::setprecision(2);
  for (int c = 0; c < 4; ++c) std::cout << ' ' << O(1, c);
  std::cout << '\n';
}
