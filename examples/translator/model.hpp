#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <softlook/exec/thread_pool.hpp>
#include <softlook/seq2seq.hpp>
#include <softlook/transformer.hpp>

#include "marian_file.hpp"
#include "sentencepiece.hpp"

namespace translator {

/// A linear map whose weights are integers over a scale, as in the file:
///   Y = f((X/scale)·Q + b).
/// Q is kept in 8 bits exactly: a row of 127, which X multiplies by zero, is the largest of every
/// column, so that the scale that int8 chooses for it is 1.
class integer_layer {
 public:
  integer_layer(const integer_matrix& W, const float_matrix& b,
                softlook::activation f = softlook::activation::none)
      : layer_(with_largest(W), b, f, softlook::weight_storage::int8), scale_(W.scale) {}

  template <class... Policies>
  float_matrix operator()(const float_matrix& X, const Policies&... policies) const {
    float_matrix scaled = float_matrix::Zero(X.rows(), X.cols() + 1);
    scaled.leftCols(X.cols()) = X / scale_;
    return layer_(scaled, policies...);
  }

 private:
  static Eigen::MatrixXf with_largest(const integer_matrix& W) {
    Eigen::MatrixXf Q(W.q.rows() + 1, W.q.cols());
    Q << W.q.cast<float>(), Eigen::RowVectorXf::Constant(W.q.cols(), 127);
    return Q;
  }

  softlook::linear_layer<float> layer_;
  float scale_;
};

/// One layer of the decoder, whose rows are what was written:
///   x' = norm(x + SSRU(x)),  x'' = norm(x' + attend(x', memory)),  y = norm(x'' + feed(x'')).
struct decoder_layer {
  softlook::ssru_cell<float> cell;
  softlook::layer_norm<float> after_cell;
  integer_layer query, key, value, output;
  softlook::layer_norm<float> after_attention;
  integer_layer hidden, feed;
  softlook::layer_norm<float> after_feed;
};

/// A translator of one language into another, trained with Marian: an encoder of 6 Transformer
/// layers and a decoder of 2 layers with a recurrent unit (SSRU) in place of self-attention, which
/// look at the encoder by 8 heads.
///
/// \see Vaswani et al., "Attention Is All You Need", 2017; Kim et al., "From Research to Production
///      and Back: Ludicrously Fast Neural Machine Translation", 2019.
/// All functions may be called concurrently. A pool of one thread is the calling thread alone.
class translation_model {
 public:
  using pool = softlook::exec::thread_pool;

  /// Reads model.PAIR.intgemm.alphas.bin and vocab.PAIR.spm of a folder; `pair` is "enpt" or
  /// "pten".
  /// \throws model_error  naming the file and what is wrong with it.
  translation_model(const std::filesystem::path& folder, const std::string& pair);

  const sentencepiece& vocabulary() const { return vocabulary_; }
  int end() const { return end_; }  ///< the token that ends every sentence

  /// The tokens of a sentence, the end included.
  std::vector<int> tokens_of(std::string_view sentence) const;

  /// The best translations, at most `beam`, the best first; beam = 1 takes the most probable token
  /// at each step. Scores are log-probabilities for each token (length_exponent 1).
  /// \throws std::invalid_argument  unless there are tokens, all of the vocabulary.
  std::vector<softlook::hypothesis> translate(std::span<const int> source, Eigen::Index beam,
                                              const pool& threads) const;

  /// What the tokens of a translation looked at while they were chosen, a row for each: the first
  /// head of the last layer, which was trained to align words.
  /// \throws std::invalid_argument  as translate().
  float_matrix alignment(std::span<const int> source, std::span<const int> target,
                         const pool& threads) const;

  /// The tokens of a hypothesis as the vocabulary counts them.
  static std::vector<int> ids_of(const softlook::hypothesis& h);

 private:
  /// A sentence that was read: keys and values of each decoder layer, projected once.
  struct memory {
    std::vector<float_matrix> keys, values;
  };
  /// Of the sentences that are being written, a row for each.
  struct state {
    std::vector<softlook::ssru_state<float_matrix>> cells;
    Eigen::Index position = 0;
    void select(std::span<const Eigen::Index> rows);
  };
  struct how {
    const pool& threads;
    softlook::options options;
  };

  void check(std::span<const int> tokens) const;
  float_matrix embedded(std::span<const int> tokens) const;
  memory read(std::span<const int> source, const how& h) const;
  state start() const;
  float_matrix step(const memory& seen, std::span<const Eigen::Index> tokens, state& s,
                    const how& h) const;
  float_matrix after(std::size_t layer, const float_matrix& x, const float_matrix& of_cell,
                     const memory& seen, const how& h) const;

  marian_file file_;  // the embeddings are used where they lie in it
  sentencepiece vocabulary_;
  int end_ = 0;
  integer_matrix words_;
  Eigen::Index heads_ = 1;
  softlook::transformer_encoder<float> encoder_;
  std::vector<decoder_layer> decoder_;
  integer_layer logits_;
};

}  // namespace translator
