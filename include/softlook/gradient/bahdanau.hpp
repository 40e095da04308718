#pragma once

#include <span>
#include <vector>

#include "softlook/gradient/decoder_attention.hpp"
#include "softlook/gradient/embedding.hpp"
#include "softlook/gradient/maxout.hpp"
#include "softlook/gradient/recurrent.hpp"
#include "softlook/seq2seq/models.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What bahdanau_forward() keeps of B sentences of T source tokens and U target tokens; most of it
/// is 14·B·T·units of the encoder, B·U·(6·units + T) of the decoder and 3·U times its weights of
/// the state. As much again for the way back.
template <class T>
struct saved_bahdanau {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  std::vector<index> source{}, fed{};
  index sentences = 0;
  saved_gru<T> forward{}, backward{};
  matrix first_state{};                     ///< s_0, B×units
  std::vector<saved_memory<T>> memories{};  ///< of each sentence
  std::vector<saved_step<T>> looks{};       ///< of each step, then of each sentence
  std::vector<saved_gru<T>> decoder{};      ///< of each step but the last
  matrix read{};                            ///< [s_{i−1}, E y_{i−1}, c_i], step behind step
  matrix pairs{};                           ///< before the maxout
  saved_maxout<T> maxout{};
  matrix logits{};  ///< U·B×vocabulary, step behind step
  matrix dmost{}, dread{}, dstate{}, dcontext{}, dfed{}, dmemory{};

  [[nodiscard]] index steps() const { return sentences > 0 ? index(fed.size()) / sentences : 0; }
  /// What sentence b looked at while it was written, U×T.
  [[nodiscard]] matrix weights(index b) const {
    matrix all(steps(), memories[std::size_t(b)].keys.rows());
    for (index i = 0; i < all.rows(); ++i)
      all.row(i) = looks[std::size_t(i * sentences + b)].weights;
    return all;
  }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = (source.size() + fed.size()) * sizeof(index) + forward.bytes() +
                      backward.bytes() + maxout.bytes();
    for (const matrix* m : {&first_state, &read, &pairs, &logits, &dmost, &dread, &dstate,
                            &dcontext, &dfed, &dmemory})
      all += detail::bytes_of(*m);
    const auto add = [&all](const auto& parts) {
      for (const auto& part : parts) all += part.bytes();
    };
    add(memories);
    add(looks);
    add(decoder);
    return all;
  }
};

namespace detail {

template <class Row>
void check_bias(const char* where, const char* name, const Row& b, const char* of, index wanted) {
  if (b.size() > 0)
    check_sizes(where, name, b.size(), of, wanted, "it has an entry for each column, or none");
}

/// Of tokens that are given step behind step.
inline void check_steps(const char* where, const char* name, std::size_t tokens, index sentences) {
  if (tokens == 0) raise_argument(where, name, 0, "a sentence has at least one token");
  check_sizes(where, name, index(tokens), "whole steps of the sentences",
              index(tokens) / sentences * sentences, "each step has a token of each sentence");
}

/// Rows b, b + B, b + 2·B, … of a matrix whose steps have B rows: those of one sentence.
template <class Matrix>
[[nodiscard]] auto rows_of_sentence(Matrix& m, index b, index sentences) {
  using map = Eigen::Map<std::conditional_t<std::is_const_v<Matrix>, const Matrix, Matrix>, 0,
                         Eigen::OuterStride<>>;
  return map(m.data() + b * m.cols(), m.rows() / sentences, m.cols(),
             Eigen::OuterStride<>(sentences * m.cols()));
}

/// [→H ←H] and the memory of each sentence; s_0.
template <class T, class... Ps>
void read_sentences(matrix_products<T>& products, const bahdanau_parameters<T>& p,
                    saved_bahdanau<T>& s, const Ps&... policies) {
  using matrix = typename saved_bahdanau<T>::matrix;
  const index B = s.sentences, units = p.forward.Wh.rows();
  const matrix x = selected_rows(p.source_embedding, std::span<const index>(s.source));
  const matrix zero = matrix::Zero(B, units);
  gru_forward(p.forward, x, zero, s.forward, reading::forwards, policies...);
  gru_forward(p.backward, x, zero, s.backward, reading::backwards, policies...);
  const matrix annotations = beside(s.forward.H, s.backward.H);
  s.memories.resize(std::size_t(B));
  for (index b = 0; b < B; ++b) {
    const auto rows = rows_of_sentence(annotations, b, B);
    memory_forward(p.attention, rows, rows, s.memories[std::size_t(b)], policies...);
  }
  shape_as(s.first_state, B, p.Ws.cols());
  products.multiply(as_input(writable_view(s.backward.H).rows_from(0, B)), view_of(p.Ws),
                    writable_view(s.first_state), view_of(p.bs));
  for (index k = 0; k < s.first_state.size(); ++k)
    s.first_state.data()[k] = math::tanh(s.first_state.data()[k]);
}

/// s.read: what each step reads off, and the states on the way.
template <class T, class... Ps>
void write_sentences(const bahdanau_parameters<T>& p, saved_bahdanau<T>& s, const Ps&... policies) {
  const index B = s.sentences, steps = s.steps(), units = p.decoder.Wh.rows();
  const index embedded = p.target_embedding.cols(), context = p.attention.Wk.rows();
  shape_as(s.read, steps * B, units + embedded + context);
  s.looks.resize(std::size_t(steps * B));
  s.decoder.resize(std::size_t(steps - 1));
  for (index i = 0; i < steps; ++i) {
    auto read = s.read.middleRows(i * B, B);
    if (i == 0)
      read.leftCols(units) = s.first_state;
    else
      read.leftCols(units) = s.decoder[std::size_t(i - 1)].H;
    for (index b = 0; b < B; ++b) {
      read.row(b).segment(units, embedded) = p.target_embedding.row(s.fed[std::size_t(i * B + b)]);
      read.row(b).tail(context) =
          step_forward(p.attention, s.memories[std::size_t(b)], read.block(b, 0, 1, units),
                       s.looks[std::size_t(i * B + b)], policies...);
    }
    if (i + 1 < steps)
      gru_forward(p.decoder, read.rightCols(embedded + context), read.leftCols(units),
                  s.decoder[std::size_t(i)], reading::forwards, policies...);
  }
}

/// Through the steps from the last to the first: s.dstate becomes the gradient of s_0, s.dfed that
/// of the embeddings of what was fed.
template <class T, class... Ps>
void write_sentences_back(const bahdanau_parameters<T>& p, saved_bahdanau<T>& s,
                          bahdanau_parameters<T>& g, const Ps&... policies) {
  using matrix = typename saved_bahdanau<T>::matrix;
  const index B = s.sentences, units = p.decoder.Wh.rows();
  const index embedded = p.target_embedding.cols(), context = p.attention.Wk.rows();
  const matrix no_weights;
  s.dstate.setZero(B, units);
  shape_as(s.dfed, s.read.rows(), embedded);
  for (index i = s.steps() - 1; i >= 0; --i) {
    const auto dread = s.dread.middleRows(i * B, B);
    auto dfed = s.dfed.middleRows(i * B, B);
    dfed = dread.middleCols(units, embedded);
    s.dcontext = dread.rightCols(context);
    if (i + 1 < s.steps()) {
      saved_gru<T>& step = s.decoder[std::size_t(i)];
      gru_backward(p.decoder, step, s.dstate, g.decoder, policies...);
      dfed += step.dX.leftCols(embedded);
      s.dcontext += step.dX.rightCols(context);
      s.dstate = step.dfirst;
    }
    s.dstate += dread.leftCols(units);
    for (index b = 0; b < B; ++b)
      s.dstate.row(b) +=
          step_backward(p.attention, s.memories[std::size_t(b)], s.looks[std::size_t(i * B + b)],
                        s.dcontext.row(b), no_weights, g.attention, policies...);
  }
}

/// From s.dstate and the gradients of the memories to those of the encoder.
template <class T, class... Ps>
void read_sentences_back(matrix_products<T>& products, const bahdanau_parameters<T>& p,
                         saved_bahdanau<T>& s, bahdanau_parameters<T>& g, const Ps&... policies) {
  const index B = s.sentences, units = p.forward.Wh.rows();
  shape_as(s.dmemory, s.forward.H.rows(), 2 * units);
  for (index b = 0; b < B; ++b) {
    saved_memory<T>& memory = s.memories[std::size_t(b)];
    memory_backward(p.attention, memory, g.attention, policies...);
    rows_of_sentence(s.dmemory, b, B) = memory.dkeys + memory.dvalues;
  }
  s.dstate.array() *= T(1) - s.first_state.array().square();
  const auto dsum = view_of(s.dstate);
  const auto last = writable_view(s.backward.H).rows_from(0, B);
  products.add(as_input(last).transpose(), dsum, writable_view(g.Ws));
  products.add_column_sums(dsum, writable_view(g.bs));
  products.add(dsum, view_of(p.Ws).transpose(),
               writable_view(s.dmemory).rows_from(0, B).columns(units, units));
  gru_backward(p.forward, s.forward, s.dmemory.leftCols(units), g.forward, policies...);
  gru_backward(p.backward, s.backward, s.dmemory.rightCols(units), g.backward, policies...);
  const std::span<const index> source(s.source);
  add_to_rows(source, view_of(s.forward.dX), g.source_embedding);
  add_to_rows(source, view_of(s.backward.dX), g.source_embedding);
}

}  // namespace detail

/// The logits of a bahdanau_model for each token of B sentences whose targets are given (teacher
/// forcing) -> saved.logits, U·B×vocabulary. Tokens are step behind step, so that token t of
/// sentence b is number t·B + b: `source` has T·B of them, `fed`, what the decoder is fed before
/// each step (the first token, then the target without its last), U·B. Sentences of one call have
/// one length on each side; others go into other calls, whose gradients add up.
/// \param policies  an executor and options.
/// \throws shape_error     unless all parts fit each other and there are whole steps;
///         argument_error  for a sentence without tokens, or a token without an embedding.
template <class T, class... Ps>
const auto& bahdanau_forward(const bahdanau_parameters<T>& p, std::span<const index> source,
                             std::span<const index> fed, index sentences, saved_bahdanau<T>& saved,
                             const Ps&... policies) {
  const char* where = "bahdanau_forward";
  detail::check_parts(where, p);
  detail::check_bias(where, "bs.size()", p.bs, "Ws.cols()", p.Ws.cols());
  detail::check_bias(where, "b_readout.size()", p.b_readout, "readout.cols()", p.readout.cols());
  detail::check_bias(where, "bo.size()", p.bo, "Wo.cols()", p.Wo.cols());
  if (sentences < 1)
    detail::raise_argument(where, "sentences", double(sentences), "there is at least one");
  detail::check_steps(where, "source.size()", source.size(), sentences);
  detail::check_steps(where, "fed.size()", fed.size(), sentences);
  detail::check_ids(where, source, p.source_embedding.rows());
  detail::check_ids(where, fed, p.target_embedding.rows());
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  saved.source.assign(source.begin(), source.end());
  saved.fed.assign(fed.begin(), fed.end());
  saved.sentences = sentences;
  detail::read_sentences(products, p, saved, policies...);
  detail::write_sentences(p, saved, policies...);
  detail::shape_as(saved.pairs, saved.read.rows(), p.readout.cols());
  products.multiply(detail::view_of(saved.read), detail::view_of(p.readout),
                    detail::writable_view(saved.pairs), detail::view_of(p.b_readout));
  maxout_forward(saved.pairs, saved.maxout);
  detail::shape_as(saved.logits, saved.read.rows(), p.Wo.cols());
  products.multiply(detail::view_of(saved.maxout.Y), detail::view_of(p.Wo),
                    detail::writable_view(saved.logits), detail::view_of(p.bo));
  return saved.logits;
}

/// Gradients of all weights, of the decoder's steps from the last to the first and back through the
/// encoder.
/// \throws shape_error  unless dlogits has the shape of the logits and gradients that of the
/// weights.
template <class T, dense_expression G, class... Ps>
void bahdanau_backward(const bahdanau_parameters<T>& p, saved_bahdanau<T>& saved, const G& dlogits,
                       bahdanau_parameters<T>& gradients, const Ps&... policies) {
  const char* where = "bahdanau_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dlogits, saved.logits);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  const detail::readable<G> given(dlogits);
  const auto d = given.view();
  products.add(detail::view_of(saved.maxout.Y).transpose(), d, detail::writable_view(gradients.Wo));
  products.add_column_sums(d, detail::writable_view(gradients.bo));
  detail::shape_as(saved.dmost, saved.maxout.Y.rows(), saved.maxout.Y.cols());
  products.multiply(d, detail::view_of(p.Wo).transpose(), detail::writable_view(saved.dmost));
  const auto dpairs = detail::view_of(maxout_backward(saved.maxout, saved.dmost));
  products.add(detail::view_of(saved.read).transpose(), dpairs,
               detail::writable_view(gradients.readout));
  products.add_column_sums(dpairs, detail::writable_view(gradients.b_readout));
  detail::shape_as(saved.dread, saved.read.rows(), saved.read.cols());
  products.multiply(dpairs, detail::view_of(p.readout).transpose(),
                    detail::writable_view(saved.dread));
  detail::write_sentences_back(p, saved, gradients, policies...);
  detail::add_to_rows(std::span<const index>(saved.fed), detail::view_of(saved.dfed),
                      gradients.target_embedding);
  detail::read_sentences_back(products, p, saved, gradients, policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
