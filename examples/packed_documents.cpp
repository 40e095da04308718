// Documents of different lengths packed one behind the other, as training and serving do to waste
// no padding: one call, in which no word looks into another document. The same as a mask over one
// long sequence, where only the tiles of the documents are computed.
//
// Krell et al., "Efficient Sequence Packing without Cross-contamination", 2021.
//
// Run: packed_documents   writes no file
//
// expect: falls +0 +0 .*██ 1.00
// expect: the two ways agree

#include <cstdio>
#include <softlook/softlook.hpp>
#include <string>
#include <vector>

using Eigen::Index;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

int main() {
  const std::vector<std::string> words{"the",   "cat", "sleeps", "a",    "dog",
                                       "barks", "at",  "night",  "rain", "falls"};
  const std::vector<std::int32_t> offsets{0, 3, 8, 10};                    // three documents
  const std::vector<std::int32_t> document{0, 0, 0, 1, 1, 1, 1, 1, 2, 2};  // the one of each word
  const Index n = Index(words.size()), d = 16;
  const matrix X = matrix::NullaryExpr(n, d, [&](Index i, Index c) {
    float x = 0;  // a word is the sum of its letters
    for (const char letter : words[std::size_t(i)])
      x += std::sin(float(letter) * float(c + 1) * 0.7f);
    return x;
  });

  const matrix packed = softlook::attention(X, X, X, softlook::segments{offsets});
  const softlook::masks::documents apart{document, document};
  const matrix masked = softlook::attention(X, X, X, apart);
  const matrix P = softlook::attention_weights(X, X, apart);
  std::puts(softlook::inspect::to_text(softlook::inspect::heat_map(P, words, words)).c_str());
  const double difference = (packed - masked).cwiseAbs().maxCoeff();
  std::printf("the two ways %s: the largest difference is %.1e\n",
              difference < 1e-6 ? "agree" : "DISAGREE", difference);
}
