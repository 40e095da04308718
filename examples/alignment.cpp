// The alignment of "I love you" with "je t'aime": which English word does each French word look at?
// French words are the queries (rows), English words the keys (columns). The languages put the
// object on different sides of the verb, so the alignment crosses.
//
//   P = softmax(Q Kᵀ / √d)    O = P V
//
// The picture: Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and
// Translate", 2015, figure 3.  The formula: Vaswani et al., 2017, Eq. (1).
//
// Run: alignment [FOLDER]   writes FOLDER/alignment.svg
//
// expect: je -> I 0\.9
// expect: t' -> you 0\.9
// expect: aime -> love 0\.[89]

#include <iostream>
#include <softlook/softlook.hpp>
#include <string>

int main(int argc, char** argv) {
  using namespace softlook;
  const std::string folder = argc > 1 ? argv[1] : ".";
  const inspect::labels french = {"je", "t'", "aime"}, english = {"I", "love", "you"};

  // Made by hand; a trained model would have learnt them. What each English word is about:
  Eigen::MatrixXf K(3, 3);
  //   speaker  listener  affection
  K << 4.0f, 0.0f, 0.3f,  // I
      0.5f, 0.5f, 4.0f,   // love
      0.0f, 4.0f, 0.3f;   // you

  // ... and what each French word asks for. "aime" is the verb's form for the first person, so it
  // asks for affection and a little for the speaker.
  Eigen::MatrixXf Q(3, 3);
  Q << 2.0f, 0.0f, 0.0f,  // je
      0.0f, 2.0f, 0.0f,   // t'
      0.9f, 0.0f, 2.0f;   // aime

  // The values are the keys: every French word receives a mixture of English meanings.
  const naive_result found = naive_attention(Q, K, K);

  const inspect::heat_map map(found.weights, french, english, "je t'aime / I love you");
  std::cout << inspect::to_text(map, {.paint = inspect::terminal_paint()}) << '\n'
            << inspect::strongest_keys_text(map, 2);

  // Row by row the weights sum to 1, and O is the mixture. attention() gives the same without ever
  // holding P.
  std::cout << "\nwhat each word receives (speaker, listener, affection):\n"
            << found.output << "\nattention() differs by less than 1e-5: " << std::boolalpha
            << attention(Q, K, K).isApprox(found.output, 1e-5f) << '\n';

  inspect::write_svg(folder + "/alignment.svg", map);
  std::cout << "\nwritten: " << folder << "/alignment.svg\n";
}
