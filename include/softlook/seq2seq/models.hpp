#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "softlook/layer/linear_layer.hpp"
#include "softlook/seq2seq/bahdanau_attention.hpp"
#include "softlook/seq2seq/beam_search.hpp"
#include "softlook/seq2seq/luong_attention.hpp"
#include "softlook/seq2seq/recurrent_cells.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup seq2seq Sequence to sequence
/// Recurrent encoder-decoders with attention, their cells, and the search for a sentence.
/// \cases tests/unit/seq2seq/models_test.cpp
/// \program examples/seq2seq.cpp
/// \{

/// What a step of a model gives for each sentence: a row of logits over the vocabulary, and the
/// weights of its attention over the source.
template <class T>
struct seq2seq_step {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix logits;
  matrix weights;
};

namespace detail {

template <class Matrix>
[[nodiscard]] Matrix selected_rows(const Matrix& X, std::span<const index> rows) {
  Matrix selected(index(rows.size()), X.cols());
  for (index i = 0; i < selected.rows(); ++i) selected.row(i) = X.row(rows[std::size_t(i)]);
  return selected;
}

/// Rows of an embedding.
/// \throws argument_error  unless every token has one.
template <class Matrix>
[[nodiscard]] Matrix embedded(const char* where, const Matrix& E, std::span<const index> tokens) {
  for (const index token : tokens)
    if (token < 0 || token >= E.rows())
      raise_argument(
          where, "token", double(token),
          "it is the number of a row of the embedding, which has " + std::to_string(E.rows()));
  return selected_rows(E, tokens);
}

template <class Matrix>
[[nodiscard]] Matrix beside(const Matrix& A, const Matrix& B) {
  Matrix both(A.rows(), A.cols() + B.cols());
  both << A, B;
  return both;
}

inline void check_sentence(const char* where, std::size_t length) {
  if (length == 0) raise_argument(where, "source.size()", 0, "a sentence has at least one token");
}

}  // namespace detail

/// Weights of Bahdanau's model; matrices are inputs × outputs, embeddings have a row for each
/// token.
template <class T>
struct bahdanau_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix source_embedding{}, target_embedding{};
  gru_parameters<T> forward{}, backward{};  ///< the encoder: source embedding -> units
  matrix Ws{};                              ///< encoder units × decoder units
  row bs{};                                 ///< empty: none
  additive_parameters<T> attention{};       ///< of the decoder's units and 2·encoder units
  gru_parameters<T> decoder{};              ///< [target embedding, context] -> units
  matrix readout{};  ///< U_o, V_o, C_o below each other: [state, embedding, context] × 2·maxout
  row b_readout{};   ///< empty: none
  matrix Wo{};       ///< maxout × vocabulary
  row bo{};          ///< empty: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("source_embedding", p.source_embedding...);
    f("target_embedding", p.target_embedding...);
    f("forward", p.forward...);
    f("backward", p.backward...);
    f("Ws", p.Ws...);
    f("bs", p.bs...);
    f("attention", p.attention...);
    f("decoder", p.decoder...);
    f("readout", p.readout...);
    f("b_readout", p.b_readout...);
    f("Wo", p.Wo...);
    f("bo", p.bo...);
  }
};

namespace detail {

/// The parts of the model fit each other; each is checked where it is used.
template <class T>
void check_parts(const char* where, const bahdanau_parameters<T>& p) {
  const index units = p.decoder.Wh.rows(), context = 2 * p.forward.Wh.rows();
  const auto is = [where](const char* what, index size, const char* of, index wanted) {
    check_sizes(where, what, size, of, wanted, "the parts of a model fit each other");
  };
  is("forward.Wx.rows()", p.forward.Wx.rows(), "source_embedding.cols()",
     p.source_embedding.cols());
  is("backward.Wx.rows()", p.backward.Wx.rows(), "source_embedding.cols()",
     p.source_embedding.cols());
  is("backward.Wh.rows()", p.backward.Wh.rows(), "forward.Wh.rows()", p.forward.Wh.rows());
  is("Ws.rows()", p.Ws.rows(), "backward.Wh.rows()", p.backward.Wh.rows());
  is("Ws.cols()", p.Ws.cols(), "decoder.Wh.rows()", units);
  is("attention.Wq.rows()", p.attention.Wq.rows(), "decoder.Wh.rows()", units);
  is("attention.Wk.rows()", p.attention.Wk.rows(), "2 · forward.Wh.rows()", context);
  is("decoder.Wx.rows()", p.decoder.Wx.rows(), "target_embedding.cols() + attention.Wk.rows()",
     p.target_embedding.cols() + context);
  is("readout.rows()", p.readout.rows(), "decoder.Wh.rows() + decoder.Wx.rows()",
     units + p.decoder.Wx.rows());
  is("readout.cols()", p.readout.cols(), "2 · Wo.rows()", 2 * p.Wo.rows());
}

}  // namespace detail

/// Translation by jointly learning to align: a bidirectional GRU reads, a GRU writes and looks at
/// what was read before each word.
///   h_j = [→h_j, ←h_j],  s_0 = tanh(←h_1·Ws + bs)
///   c_i = attention of s_{i−1} over the h_j,  s_i = GRU([E y_{i−1}, c_i], s_{i−1})
///   logits = maxout([s_{i−1}, E y_{i−1}, c_i]·readout + b)·Wo + bo,  maxout over pairs of columns
///
/// \see Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and
///      Translate", 2015, appendix A.2. With gru_reset::before_product the GRUs are those of the
///      paper.
/// Decode with translate(), or step by step: read(), start(), step().
template <class T>
class bahdanau_model {
 public:
  using scalar = T;
  using matrix = typename seq2seq_step<T>::matrix;

  /// A sentence that was read.
  struct sentence {
    bahdanau_attention<T> attention;  ///< with the annotations as its memory
    matrix first_state;               ///< s_0
  };
  /// s of each sentence that is being written.
  struct state {
    matrix s;
    void select(std::span<const index> rows) { s = detail::selected_rows(s, rows); }
  };

  /// \throws shape_error  unless all parts fit each other.
  explicit bahdanau_model(const bahdanau_parameters<T>& p)
      : source_(p.source_embedding),
        target_(p.target_embedding),
        forward_(p.forward),
        backward_(p.backward),
        decoder_(p.decoder),
        first_(p.Ws, p.bs),
        readout_(p.readout, p.b_readout),
        output_(p.Wo, p.bo),
        attention_(p.attention.score()) {
    detail::check_parts(name_, p);
  }

  /// \throws argument_error  for an empty sentence or a token without an embedding.
  template <class... Ps>
  [[nodiscard]] sentence read(std::span<const index> source, const Ps&... policies) const {
    detail::check_sentence(name_, source.size());
    const matrix x = detail::embedded(name_, source_, source);
    const index units = forward_.units();
    matrix h = matrix::Zero(1, units);
    const matrix there = forward_.sequence(x, h, policies...);
    h.setZero();
    const matrix back = backward_.sequence(x.colwise().reverse(), h, policies...);
    sentence read{attention_, first_(h, policies...)};  // h is now ←h_1
    read.first_state = read.first_state.unaryExpr([](T t) { return math::tanh(t); }).eval();
    read.attention.set_memory(detail::beside(there, matrix(back.colwise().reverse())));
    return read;
  }
  [[nodiscard]] state start(const sentence& source) const { return {source.first_state}; }

  /// One token for each sentence of the state, which advances.
  /// \param tokens  the last token of each.
  /// \throws argument_error for a token without an embedding; shape_error for another number of
  ///         tokens than the state has rows.
  template <class... Ps>
  [[nodiscard]] seq2seq_step<T> step(const sentence& source, std::span<const index> tokens,
                                     state& last, const Ps&... policies) const {
    detail::check_sizes(name_, "tokens.size()", index(tokens.size()), "the rows of the state",
                        last.s.rows(), "each sentence has a last token");
    const auto seen = source.attention.step(last.s, policies...);
    const matrix in = detail::beside(detail::embedded(name_, target_, tokens), seen.context);
    const matrix pairs = readout_(detail::beside(last.s, in), policies...);
    matrix most(pairs.rows(), pairs.cols() / 2);
    for (index c = 0; c < most.cols(); ++c)
      most.col(c) = pairs.col(2 * c).cwiseMax(pairs.col(2 * c + 1));
    decoder_.advance(in, last.s, policies...);
    return {output_(most, policies...), seen.weights};
  }

 private:
  static constexpr const char* name_ = "bahdanau_model";
  matrix source_, target_;
  gru_cell<T> forward_, backward_, decoder_;
  linear_layer<T> first_, readout_, output_;
  bahdanau_attention<T> attention_;
};

/// Where Luong's decoder begins: where the encoder stopped, or at zero.
enum class luong_start { encoder_state, zero };

/// Weights of Luong's model, and what trained models do otherwise than the paper.
template <class T>
struct luong_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix source_embedding{}, target_embedding{};
  std::vector<lstm_parameters<T>> encoder{};  ///< one for each layer
  std::vector<lstm_parameters<T>> decoder{};  ///< the first takes [target embedding, h̃]
  luong_attention<T> attention{scores::dot{}};
  matrix Wc{};  ///< [context, hidden] × h̃
  row bc{};     ///< empty: none
  matrix Wo{};  ///< h̃ × vocabulary
  row bo{};     ///< empty: none
  luong_start start = luong_start::encoder_state;
  bool squash = true;  ///< tanh of h̃; false: none, as in TensorFlow's AttentionWrapper
};

/// A stack of LSTMs reads, another begins where it stopped, writes, and looks back after each word;
/// what it saw is fed to the next step (input feeding).
///   h_t = LSTM([E y_{t−1}, h̃_{t−1}]),  c_t = attention of h_t over the encoder's states
///   h̃_t = tanh([c_t, h_t]·Wc + bc),  logits = h̃_t·Wo + bo,  h̃_0 = 0
/// Without `squash` there is no tanh; with luong_start::zero the decoder's layers begin at zero,
/// and may then have other sizes and another number than the encoder's.
///
/// \see Luong, Pham, Manning, "Effective Approaches to Attention-based Neural Machine Translation",
///      2015, Eq. (5), (6), section 3.3.
template <class T>
class luong_model {
 public:
  using scalar = T;
  using matrix = typename seq2seq_step<T>::matrix;

  struct state {
    std::vector<lstm_state<matrix>> layers;
    matrix seen;  ///< h̃
    void select(std::span<const index> rows) {
      for (auto& l : layers)
        l = {detail::selected_rows(l.hidden, rows), detail::selected_rows(l.cell, rows)};
      seen = detail::selected_rows(seen, rows);
    }
  };
  struct sentence {
    luong_attention<T> attention;
    state first_state;
  };

  /// \throws shape_error, argument_error  unless all parts fit each other.
  explicit luong_model(const luong_parameters<T>& p)
      : source_(p.source_embedding),
        target_(p.target_embedding),
        encoder_(p.encoder.begin(), p.encoder.end()),
        decoder_(p.decoder.begin(), p.decoder.end()),
        attention_(p.attention),
        combine_(p.Wc, p.bc),
        output_(p.Wo, p.bo),
        start_(p.start),
        squash_(p.squash) {
    const auto is = [](const char* what, index size, const char* of, index wanted) {
      detail::check_sizes(name_, what, size, of, wanted, "the parts of a model fit each other");
    };
    if (encoder_.empty())
      detail::raise_argument(name_, "encoder.size()", 0, "a stack has at least one layer");
    if (decoder_.empty())
      detail::raise_argument(name_, "decoder.size()", 0, "a stack has at least one layer");
    const bool goes_on = start_ == luong_start::encoder_state;
    if (goes_on)
      is("decoder.size()", index(decoder_.size()), "encoder.size()", index(encoder_.size()));
    const index seen = combine_.outputs();
    for (std::size_t l = 0; l < encoder_.size(); ++l)
      is("encoder.Wx.rows()", encoder_[l].inputs(), "the size of what the layer is given",
         l == 0 ? source_.cols() : encoder_[l - 1].units());
    for (std::size_t l = 0; l < decoder_.size(); ++l) {
      is("decoder.Wx.rows()", decoder_[l].inputs(), "the size of what the layer is given",
         l == 0 ? target_.cols() + seen : decoder_[l - 1].units());
      if (goes_on)
        is("decoder.Wh.rows()", decoder_[l].units(), "encoder.Wh.rows()", encoder_[l].units());
    }
    is("Wc.rows()", combine_.inputs(), "encoder and decoder units",
       encoder_.back().units() + decoder_.back().units());
    is("Wo.rows()", output_.inputs(), "Wc.cols()", seen);
  }

  /// \throws argument_error  for an empty sentence or a token without an embedding.
  template <class... Ps>
  [[nodiscard]] sentence read(std::span<const index> source, const Ps&... policies) const {
    detail::check_sentence(name_, source.size());
    matrix x = detail::embedded(name_, source_, source);
    sentence read{attention_, {{}, matrix::Zero(1, combine_.outputs())}};
    for (const lstm_cell<T>& cell : encoder_) {
      read.first_state.layers.push_back(zero_state(cell));
      x = cell.sequence(x, read.first_state.layers.back(), policies...).eval();
    }
    read.attention.set_memory(x);
    if (start_ == luong_start::zero) {
      read.first_state.layers.clear();
      for (const lstm_cell<T>& cell : decoder_) read.first_state.layers.push_back(zero_state(cell));
    }
    return read;
  }
  [[nodiscard]] state start(const sentence& source) const { return source.first_state; }

  /// One token for each sentence of the state, which advances. As bahdanau_model::step().
  template <class... Ps>
  [[nodiscard]] seq2seq_step<T> step(const sentence& source, std::span<const index> tokens,
                                     state& last, const Ps&... policies) const {
    detail::check_sizes(name_, "tokens.size()", index(tokens.size()), "the rows of the state",
                        last.seen.rows(), "each sentence has a last token");
    matrix x = detail::beside(detail::embedded(name_, target_, tokens), last.seen);
    for (std::size_t l = 0; l < decoder_.size(); ++l) {
      decoder_[l].advance(x, last.layers[l], policies...);
      x = last.layers[l].hidden;
    }
    const auto seen = source.attention.step(x, policies...);
    last.seen = combine_(detail::beside(seen.context, x), policies...);
    if (squash_) last.seen = last.seen.unaryExpr([](T t) { return math::tanh(t); }).eval();
    return {output_(last.seen, policies...), seen.weights};
  }

 private:
  static constexpr const char* name_ = "luong_model";
  [[nodiscard]] static lstm_state<matrix> zero_state(const lstm_cell<T>& cell) {
    const matrix zero = matrix::Zero(1, cell.units());
    return {zero, zero};
  }
  matrix source_, target_;
  std::vector<lstm_cell<T>> encoder_, decoder_;
  luong_attention<T> attention_;
  linear_layer<T> combine_, output_;
  luong_start start_;
  bool squash_;
};

/// What each written token looked at while it was chosen, tokens × source: the alignment matrix of
/// the two sentences, which inspect::heat_map draws. The tokens are given (teacher forcing), so it
/// also shows how a model aligns a translation that is not its own.
/// \param begin  the token that is fed first.
template <class Model, class... Ps>
[[nodiscard]] typename Model::matrix alignment(const Model& model, std::span<const index> source,
                                               std::span<const index> tokens, index begin,
                                               const Ps&... policies) {
  const typename Model::sentence sentence = model.read(source, policies...);
  typename Model::state state = model.start(sentence);
  typename Model::matrix weights(index(tokens.size()), index(source.size()));
  index last = begin;
  for (index i = 0; i < weights.rows(); ++i) {
    weights.row(i) =
        model.step(sentence, std::span<const index>(&last, 1), state, policies...).weights;
    last = tokens[std::size_t(i)];
  }
  return weights;
}

/// The sentences that a model writes for a source, the best first; beam = 1 is greedy.
/// \param policies  an executor, options.
template <class Model, class... Ps>
[[nodiscard]] std::vector<hypothesis> translate(const Model& model, std::span<const index> source,
                                                const search_options& o, const Ps&... policies) {
  const typename Model::sentence sentence = model.read(source, policies...);
  return beam_search(
      model.start(sentence),
      [&](std::span<const index> tokens, typename Model::state& state) {
        return model.step(sentence, tokens, state, policies...).logits;
      },
      o);
}

/// \}

SOFTLOOK_NAMESPACE_END
