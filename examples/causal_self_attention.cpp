// A sentence attends to itself, and no word sees the words after it.  Queries and keys come from
// the same words through two maps, Q = X W_q and K = X W_k; here X says what a word is, W_q what
// such a word looks for, and W_k changes nothing.
//
//   P = softmax(Q Kᵀ / √d − slope · (i − j), masked where j > i)
//
// Vaswani et al., 2017, section 3.2.3 (masked self-attention); the slope that makes near words
// stronger is ALiBi: Press et al., "Train Short, Test Long", 2022, section 3.
//
// Run: causal_self_attention [FOLDER]   writes FOLDER/causal_self_attention.svg
//
// expect: it -> cat 0\.[89]
// expect: tired -> it 0\.[6-9][0-9]*, cat 0\.[1-3]
// expect: the first 6 words alone give the same rows: true

#include <iostream>
#include <softlook/softlook.hpp>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  using namespace softlook;
  const std::string folder = argc > 1 ? argv[1] : ".";
  enum kind { article, animal, thing, verb, preposition, conjunction, pronoun, adjective, kinds };

  const inspect::labels words = {"the", "cat",     "sat", "on",  "the",
                                 "mat", "because", "it",  "was", "tired"};
  const std::vector<kind> is = {article, animal,      verb,    preposition, article,
                                thing,   conjunction, pronoun, verb,        adjective};
  const Eigen::Index n = static_cast<Eigen::Index>(words.size());

  Eigen::MatrixXf X = Eigen::MatrixXf::Zero(n, kinds);
  for (Eigen::Index i = 0; i < n; ++i) X(i, is[static_cast<std::size_t>(i)]) = 1;

  // What the row's kind of word looks for in the words before it (and in itself).
  Eigen::MatrixXf Wq = Eigen::MatrixXf::Zero(kinds, kinds);
  Wq(article, article) = 12;
  Wq(animal, article) = 12;
  Wq(thing, article) = 12;
  Wq(thing, preposition) = 9;  // the mat that something is on
  Wq(verb, animal) = 12;
  Wq(verb, pronoun) = 12;
  Wq(preposition, verb) = 12;
  Wq(conjunction, verb) = 12;
  Wq(pronoun, animal) = 14;  // "it" could be the cat or the mat; only animals get tired
  Wq(pronoun, thing) = 2;
  Wq(adjective, pronoun) = 12;
  Wq(adjective, animal) = 12;

  const Eigen::MatrixXf Q = X * Wq;
  const transforms::alibi nearer{.slope = 0.2};
  const masks::causal_top_left past;
  const Eigen::MatrixXf P = attention_weights(Q, X, nearer, past);

  const inspect::heat_map map(P, words, words, "who looks at whom");
  std::cout << inspect::to_text(map, {.paint = inspect::terminal_paint()}) << '\n'
            << inspect::strongest_keys_text(map, 2);
  std::cout << "\nnumber of words each row effectively looks at:\n"
            << inspect::row_entropy(P).array().exp().matrix().transpose() << '\n';

  // Because no word sees its future, a sentence that goes on does not change what is already there:
  // this is what lets a decoder keep its keys and values.
  const Eigen::MatrixXf all = attention(Q, X, X, nearer, past);
  const Eigen::MatrixXf begun = attention(Q.topRows(6), X.topRows(6), X.topRows(6), nearer, past);
  std::cout << "\nthe first 6 words alone give the same rows: " << std::boolalpha
            << begun.isApprox(all.topRows(6), 1e-5f) << '\n';

  inspect::write_svg(folder + "/causal_self_attention.svg", map);
}
