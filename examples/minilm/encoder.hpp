#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <softlook/exec/thread_pool.hpp>
#include <softlook/transformer.hpp>

#include "examples/support/safetensors.hpp"
#include "wordpiece.hpp"

namespace minilm {

using examples::float_matrix;
using examples::safetensors;

/// What the model makes of a text: its tokens, and a point on the unit sphere. Texts that mean
/// similar things lie close to each other; the cosine of their angle is a.embedding · b.embedding.
struct encoding {
  std::vector<int> ids;
  Eigen::RowVectorXf embedding;
};

/// The sentence encoder all-MiniLM-L6-v2, a BERT of 6 layers, 12 heads and 384 features:
///
///     tokens -> word + position + type vectors -> layer norm -> 6 × (attention, feed-forward)
///            -> mean over the tokens -> length 1
///
/// \see Devlin et al., "BERT", 2019; Reimers and Gurevych, "Sentence-BERT", 2019, section 3 (the
///      mean over tokens); Wang et al., "MiniLM", 2020 (how so small a model was trained).
/// All functions may be called concurrently. A pool of one thread is the calling thread alone.
class sentence_encoder {
 public:
  using pool = softlook::exec::thread_pool;

  /// Reads config.json, vocab.txt and model.safetensors of a folder.
  /// \throws model_error  naming the file and what is wrong with it.
  explicit sentence_encoder(const std::filesystem::path& folder);

  const wordpiece& tokenizer() const { return tokenizer_; }
  Eigen::Index layers() const { return static_cast<Eigen::Index>(encoder_.layers().size()); }
  Eigen::Index heads() const { return heads_; }
  Eigen::Index features() const { return positions_.cols(); }

  /// Tokens beyond the 256 that the model was trained with are cut off.
  encoding encode(std::string_view text, const pool& threads) const;

  /// Many texts at once, a thread for each: faster than many threads for each text.
  std::vector<encoding> encode(std::span<const std::string> texts, const pool& threads) const;

  /// The embedding of tokens, [CLS] and [SEP] included.
  /// \throws std::invalid_argument  unless there are 1 to 512 ids of the vocabulary.
  Eigen::RowVectorXf embedding(const std::vector<int>& ids, const pool& threads,
                               const softlook::options& how = {}) const;

  /// What the tokens look at in a layer, counted from 0: a matrix tokens × tokens for each head.
  /// \throws std::invalid_argument  as above, and unless 0 <= layer < layers().
  std::vector<float_matrix> attention(const std::vector<int>& ids, Eigen::Index layer,
                                      const pool& threads, const softlook::options& how = {}) const;

  /// The tokens' rows behind the first layers: what the next one is given.
  /// \throws std::invalid_argument  as above, and unless 0 <= layers <= layers().
  float_matrix rows_behind(const std::vector<int>& ids, Eigen::Index layers,
                           const pool& threads) const;
  /// The weights of a layer, counted from 0, to go on training with; its settings.
  softlook::transformer_encoder_layer_parameters<float> weights_of_layer(Eigen::Index layer) const;
  softlook::transformer_layer_options options_of_layer() const;
  /// As many tokens as encode() takes.
  std::vector<int> tokens(std::string_view text) const {
    return tokenizer_.encode(text, longest_input());
  }

 private:
  struct configuration;
  sentence_encoder(const std::filesystem::path& folder, const configuration& config);
  static configuration read_configuration(const std::filesystem::path& file);
  static softlook::transformer_encoder_layer_parameters<float> read_layer(
      const safetensors& weights, const configuration& config, Eigen::Index number);
  static softlook::transformer_layer_options layer_options(const configuration& config);
  static softlook::transformer_encoder<float> read_layers(const safetensors& weights,
                                                          const configuration& config);
  std::size_t longest_input() const;
  float_matrix embedded(const std::vector<int>& ids) const;

  safetensors weights_;  // the word vectors are used where they lie in the file
  wordpiece tokenizer_;
  Eigen::Map<const float_matrix> words_;
  float_matrix positions_;  // with the vector of the only token type that is used
  softlook::layer_norm<float> norm_;
  softlook::transformer_encoder<float> encoder_;
  Eigen::Index heads_, hidden_;
  double epsilon_;
};

}  // namespace minilm
