// A recurrent encoder-decoder that reads a sentence and writes it backwards, and what it looked at.
// Its weights are set by hand: one unit of each GRU counts words, 1 − 0.9ʲ, the others hold the
// word that was read last. The decoder's state counts too, and its attention looks for the place
// where the encoder, reading from the right, had counted as far.
//
//   e_ij = v · tanh(s_{i−1} W_q + h_j W_k)    α_i = softmax(e_i)    c_i = Σ_j α_ij h_j
//
// Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate", 2015,
// appendix A.2; the picture: figure 3.
//
// Run: seq2seq [FOLDER]   writes FOLDER/seq2seq.svg, and seq2seq.html to explore in a browser
//
// expect: ^mat the on sat cat the <end>
// expect: mat .* 0\.9
// expect: log-probability -0\.0

#include <iostream>
#include <softlook/softlook.hpp>
#include <string>

using namespace softlook;
using matrix = bahdanau_parameters<float>::matrix;

const inspect::labels words = {"<end>", "the", "cat", "sat", "on", "mat"};

/// A GRU that counts with its last unit and holds the last word in the others, if there are others.
gru_parameters<float> counter(Eigen::Index inputs, Eigen::Index held) {
  const Eigen::Index units = held + 1;
  gru_parameters<float> p;
  p.Wx = matrix::Zero(inputs, 3 * units);
  p.Wx.block(0, 2 * units, held, held) = 3 * matrix::Identity(held, held);
  p.Wh = matrix::Zero(units, 3 * units);
  p.bx = matrix::Zero(1, 3 * units);
  p.bx.segment(units, held).setConstant(-20);  // z = 0: take the new word
  p.bx[2 * units - 1] = std::log(9.0f);        // z = 0.9: keep, and add a tenth of what is left
  p.bx[3 * units - 1] = 5;
  return p;
}

int main(int argc, char** argv) {
  const auto vocabulary = Eigen::Index(words.size()), units = vocabulary + 1;
  bahdanau_parameters<float> p;
  p.source_embedding = matrix::Identity(vocabulary, vocabulary);
  p.target_embedding = matrix::Zero(vocabulary, 1);  // what was written does not matter here
  p.forward = p.backward = counter(vocabulary, vocabulary);
  p.decoder = counter(1 + 2 * units, 0);
  p.Ws = matrix::Zero(units, 1);
  p.bs = matrix::Constant(1, 1, std::atanh(0.1f));  // the first word
  // A difference of two tanh is a bump where both counts are equal; a held word widens it.
  p.attention.Wq = matrix::Constant(1, 2, 40);
  p.attention.Wk = matrix::Zero(2 * units, 2);
  p.attention.Wk.block(units, 0, vocabulary, 2).rowwise() = Eigen::RowVector2f(1, -1);
  p.attention.Wk.row(2 * units - 1).setConstant(-40);
  p.attention.v = Eigen::Vector2f(3, -3);
  // Each word's logit is how much of it the context holds.
  p.readout = matrix::Zero(1 + 1 + 2 * units, 2 * vocabulary);  // [state, last word, context]
  for (Eigen::Index w = 0; w < vocabulary; ++w) p.readout(2 + w, 2 * w) = 1;
  p.Wo = 12 * matrix::Identity(vocabulary, vocabulary);
  const bahdanau_model<float> model(p);

  const std::vector<Eigen::Index> source = {0, 1, 2, 3, 4, 1, 5};
  const auto best = translate(model, source, {.begin = 0, .end = 0, .maximum_length = 20}).front();
  inspect::labels read, written;
  for (const auto w : source) read.push_back(words[std::size_t(w)]);
  for (const auto w : best.tokens) written.push_back(words[std::size_t(w)]);

  for (const auto& word : written) std::cout << word << ' ';
  std::cout << "\nlog-probability " << best.log_probability << "\n\n";
  const inspect::heat_map map(alignment(model, source, best.tokens, 0), written, read, "alignment");
  std::cout << inspect::to_text(map, {.paint = inspect::terminal_paint()});
  const std::string folder = argc > 1 ? argv[1] : ".";
  inspect::write_svg(folder + "/seq2seq.svg", map);
  inspect::write_html(folder + "/seq2seq.html", inspect::report(map));
}
