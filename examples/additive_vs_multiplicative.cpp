// Additive against multiplicative scores on the same input: "which number is nearest to mine?"
// Queries and keys are the numbers 1 to 6, each a vector of one feature.
//
//   multiplicative  s = q · k                          Luong et al., 2015, Eq. (8), dot
//   additive        s = v · tanh(q W_q + k W_k + b)    Bahdanau et al., 2015, appendix A.1.2
//
// A product grows with its factors: whatever the query, the longest key wins. The sum inside tanh
// can compare: with W_k = -W_q it depends on q - k only, and two shifted tanh make a bump at q = k.
// Products can do it too, but only when somebody gives them the features for it (the last map).
//
// Run: additive_vs_multiplicative [FOLDER]   writes FOLDER/additive_vs_multiplicative.svg
//
// expect: multiplicative: 2 -> 6 0\.[89]
// expect: additive: 2 -> 2 0\.[67]
// expect: multiplicative on \(x, x²\): 2 -> 2 0\.[5-9]

#include <iostream>
#include <softlook/softlook.hpp>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  using namespace softlook;
  const std::string folder = argc > 1 ? argv[1] : ".";
  const inspect::labels numbers = {"1", "2", "3", "4", "5", "6"};
  const Eigen::VectorXf x = Eigen::VectorXf::LinSpaced(6, 1, 6);

  const Eigen::MatrixXf multiplicative = attention_weights(x, x, scores::dot{});

  // tanh(q - k + 1/2) - tanh(q - k - 1/2): two hidden units, a bump of height 0.92 around q = k.
  const Eigen::RowVector2f Wq(1, 1), Wk(-1, -1), b(0.5f, -0.5f), v(4, -4);
  const scores::additive bump(Wq, Wk, v, b);
  const Eigen::MatrixXf additive = attention_weights(x, x, bump);

  // (q, 1) W (k, k²)ᵀ = 2qk - k² = q² - (q - k)²: Luong's general score; q² is the same for all
  // keys.
  Eigen::MatrixXf Q(6, 2), K(6, 2);
  Q << x, Eigen::VectorXf::Ones(6);
  K << x, x.cwiseAbs2();
  const Eigen::Matrix2f W = Eigen::Vector2f(2, -1).asDiagonal();
  const Eigen::MatrixXf lifted = attention_weights(Q, K, scores::general{W});

  const std::vector<inspect::heat_map> maps = {
      inspect::heat_map(multiplicative, numbers, numbers, "multiplicative"),
      inspect::heat_map(additive, numbers, numbers, "additive"),
      inspect::heat_map(lifted, numbers, numbers, "multiplicative on (x, x²)")};
  std::cout << inspect::to_text(maps, {.paint = inspect::terminal_paint(), .per_row = 1}) << '\n';

  std::cout << "where the query 2 looks, by each of them:\n";
  for (const inspect::heat_map& map : maps)
    std::cout << map.title() << ": "
              << inspect::strongest_keys_text(
                     inspect::heat_map(map.weights().row(1), {numbers[1]}, numbers), 3);

  inspect::write_svg(folder + "/additive_vs_multiplicative.svg", maps);
}
