#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include <softlook/seq2seq.hpp>

#include "letters.hpp"
#include "weights_file.hpp"

namespace transliterate {

/// Latin letters to Khmer ones, by additive attention, as trained in Keras: a bidirectional GRU
/// reads, a GRU writes and looks back after each step,
///   h_t = GRU(E y_{t−1}, h_{t−1}),  h_0 = 0,  c_t = Σ_j α_tj k_j,
///   α_t = softmax_j(v · tanh(h_t + k_j)),  logits = [h_t, c_t]·W + b
/// where k_j are the states of the encoder, projected once. Bahdanau's own model looks with h_{t−1}
/// and feeds c_t to the GRU; what both share are the score and the cells.
///
/// A model as softlook's translate() and alignment() take it.
class netra {
 public:
  using matrix = softlook::seq2seq_step<float>::matrix;
  struct sentence {
    softlook::bahdanau_attention<float> attention;
  };
  struct state {
    matrix h;
    void select(std::span<const softlook::index> rows);
  };

  /// Reads netra.weights.h5 of a folder. \throws model_error
  explicit netra(const std::filesystem::path& folder);

  /// The tokens of a word, filled up to the length that the model was trained with.
  /// \throws std::invalid_argument  for letters that it does not know, or too many.
  std::vector<softlook::index> tokens_of(std::string_view word) const;
  softlook::search_options search() const;
  const letters& written() const { return khmer_; }

  sentence read(std::span<const softlook::index> source) const;
  state start(const sentence&) const { return {matrix::Zero(1, decoder_.units())}; }
  softlook::seq2seq_step<float> step(const sentence& read, std::span<const softlook::index> tokens,
                                     state& last) const;

 private:
  explicit netra(const weights_file& w);

  letters latin_, khmer_;
  matrix source_, target_;  // embeddings
  softlook::gru_cell<float> forward_, backward_, decoder_;
  softlook::linear_layer<float> keys_, output_;
  softlook::bahdanau_attention<float> attention_;
};

}  // namespace transliterate
