// Several heads look at the same sentence in different ways: one map per head.
// The heads' queries, keys and values lie beside each other in the columns of Q, K and V, and no
// head is ever copied out.
//
//   head_h = softmax(Q_h K_hᵀ / √d) V_h,   O = [head_1 … head_H]
//
// Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2, without the projections. The
// four heads are of the kinds that Clark et al., "What Does BERT Look At?", 2019, section 3, find
// in a trained model: the previous word, the next word, the same word, and everything.
//
// Run: multi_head [FOLDER]   writes FOLDER/multi_head.svg
//
// expect: previous word: cat -> the 0\.9
// expect: same word: cat -> cat 0\.[45].*, cat 0\.[45]
// expect: everything: cat -> the 0\.17
// expect: outputs: 6 x 4

#include <iostream>
#include <softlook/softlook.hpp>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  using namespace softlook;
  const std::string folder = argc > 1 ? argv[1] : ".";
  const inspect::labels words = {"the", "cat", "saw", "the", "other", "cat"};
  const inspect::labels names = {"previous word", "next word", "same word", "everything"};
  constexpr Eigen::Index n = 6, d = 6, heads_count = 4;

  // One feature for each position, and one for each different word.
  const Eigen::MatrixXf position = Eigen::MatrixXf::Identity(n, d);
  Eigen::MatrixXf word = position;
  word.row(3) = word.row(0);  // "the" again
  word.row(5) = word.row(1);  // "cat" again

  // A query is what a head looks for, a key what it finds. A query of zeros has no preference.
  Eigen::MatrixXf Q = Eigen::MatrixXf::Zero(n, heads_count * d), K(n, heads_count * d);
  Q.middleCols(0 * d, d).bottomRows(n - 1) = 12 * position.topRows(n - 1);
  Q.middleCols(1 * d, d).topRows(n - 1) = 12 * position.bottomRows(n - 1);
  Q.middleCols(2 * d, d) = 12 * word;
  K << position, position, word, word;

  const heads four{.query = heads_count};
  const std::vector<Eigen::MatrixXf> P = attention_weights(Q, K, four);

  std::vector<inspect::heat_map> maps;
  for (std::size_t h = 0; h < P.size(); ++h) maps.emplace_back(P[h], words, words, names[h]);
  std::cout << inspect::to_text(maps, {.paint = inspect::terminal_paint(), .per_row = 2}) << '\n';

  std::cout << "where the first \"cat\" looks, head by head:\n";
  for (const inspect::heat_map& map : maps)
    std::cout << map.title() << ": "
              << inspect::strongest_keys_text(
                     inspect::heat_map(map.weights().row(1), {words[1]}, words), 2);

  // One value for each head: the word's position. So the output is where each head looks on
  // average.
  const Eigen::MatrixXf V = Eigen::VectorXf::LinSpaced(n, 1, float(n)).replicate(1, heads_count);
  const Eigen::MatrixXf O = attention(Q, K, V, four);
  std::cout << "\noutputs: " << O.rows() << " x " << O.cols()
            << ", the mean position each word looks at, a column for each head:\n"
            << O << '\n';

  inspect::write_svg(folder + "/multi_head.svg", maps, {.per_row = 2});
}
