#include "model.hpp"

#include <charconv>
#include <cmath>
#include <map>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <softlook/positional.hpp>

namespace translator {
namespace {

using Eigen::Index;
using softlook::layer_norm;
using std::to_string;

constexpr double epsilon = 1e-6;

/// The settings that the file was trained with: "key: value" in each line of its YAML that begins
/// with a key.
class settings {
 public:
  explicit settings(const marian_file& file) : file_(file.name()) {
    std::istringstream text(file.text("special:model.yml"));
    for (std::string line; std::getline(text, line);) {
      const std::size_t colon = line.find(": ");
      if (colon == line.npos || line.starts_with(' ') || line.starts_with('#')) continue;
      values_[line.substr(0, colon)] = line.substr(colon + 2);
    }
  }
  void require(const char* key, const char* value) const {
    const auto found = values_.find(key);
    if (found == values_.end() || found->second != value)
      throw model_error(file_ + ": " + key + " is not \"" + value +
                        "\", the only kind that is known here");
  }
  Index natural(const char* key) const {
    constexpr Index largest = 1'000'000;  // far beyond any model of this kind
    Index value = 0;
    const auto found = values_.find(key);
    if (found != values_.end()) {
      const std::string& text = found->second;
      const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
      if (parsed.ptr != text.data() + text.size()) value = 0;
    }
    if (value < 1 || value > largest)
      throw model_error(file_ + ": " + key + " is not a number from 1 to " + to_string(largest));
    return value;
  }

 private:
  std::string file_;
  std::map<std::string, std::string> values_;
};

/// The parts of a layer by their names in the file.
class layer_reader {
 public:
  layer_reader(const marian_file& file, std::string prefix, Index features)
      : file_(file), prefix_(std::move(prefix)), features_(features) {}

  Index hidden() const { return file_.size(prefix_ + "ffn_W1").second; }
  integer_matrix weight(const char* name, Index inputs, Index outputs) const {
    return file_.integers(prefix_ + name, inputs, outputs);
  }
  integer_matrix square(const char* name) const { return weight(name, features_, features_); }
  float_matrix row(const std::string& name, Index size) const {
    return file_.floats(prefix_ + name, 1, size);
  }
  float_matrix row(const std::string& name) const { return row(name, features_); }
  layer_norm<float> norm(const std::string& name) const {
    return {row(name + "_ln_scale"), row(name + "_ln_bias"), epsilon};
  }
  integer_layer linear(const char* weight, const char* bias) const {
    return {square(weight), row(bias)};
  }

 private:
  const marian_file& file_;
  std::string prefix_;
  Index features_;
};

softlook::transformer_encoder<float> read_encoder(const marian_file& file, const settings& s,
                                                  Index features) {
  std::vector<softlook::transformer_encoder_layer<float>> layers;
  for (Index l = 1; l <= s.natural("enc-depth"); ++l) {
    const layer_reader in(file, "encoder_l" + to_string(l) + '_', features);
    const Index hidden = in.hidden();
    softlook::transformer_encoder_layer_parameters<float> p;
    p.self_attention.Wq = in.square("self_Wq").real();
    p.self_attention.bq = in.row("self_bq");
    p.self_attention.Wk = in.square("self_Wk").real();
    p.self_attention.bk = in.row("self_bk");
    p.self_attention.Wv = in.square("self_Wv").real();
    p.self_attention.bv = in.row("self_bv");
    p.self_attention.Wo = in.square("self_Wo").real();
    p.self_attention.bo = in.row("self_bo");
    p.gain1 = in.row("self_Wo_ln_scale");
    p.bias1 = in.row("self_Wo_ln_bias");
    p.W1 = in.weight("ffn_W1", features, hidden).real();
    p.b1 = in.row("ffn_b1", hidden);
    p.W2 = in.weight("ffn_W2", hidden, features).real();
    p.b2 = in.row("ffn_b2");
    p.gain2 = in.row("ffn_ffn_ln_scale");
    p.bias2 = in.row("ffn_ffn_ln_bias");
    layers.push_back({p,
                      {.heads = {.query = s.natural("transformer-heads")},
                       .activation = softlook::activation::relu,
                       .norm_first = false,
                       .epsilon = epsilon}});
  }
  return softlook::transformer_encoder<float>(std::move(layers));
}

std::vector<decoder_layer> read_decoder(const marian_file& file, const settings& s,
                                        Index features) {
  std::vector<decoder_layer> layers;
  for (Index l = 1; l <= s.natural("dec-depth"); ++l) {
    const layer_reader in(file, "decoder_l" + to_string(l) + '_', features);
    const Index hidden = in.hidden();
    softlook::ssru_parameters<float> cell;
    cell.W = in.square("rnn_W").real();
    cell.Wf = in.square("rnn_Wf").real();
    cell.bf = in.row("rnn_bf");
    layers.push_back({.cell = softlook::ssru_cell<float>(cell),
                      .after_cell = in.norm("rnn_ffn"),
                      .query = in.linear("context_Wq", "context_bq"),
                      .key = in.linear("context_Wk", "context_bk"),
                      .value = in.linear("context_Wv", "context_bv"),
                      .output = in.linear("context_Wo", "context_bo"),
                      .after_attention = in.norm("context_Wo"),
                      .hidden = {in.weight("ffn_W1", features, hidden), in.row("ffn_b1", hidden),
                                 softlook::activation::relu},
                      .feed = {in.weight("ffn_W2", hidden, features), in.row("ffn_b2")},
                      .after_feed = in.norm("ffn_ffn")});
  }
  return layers;
}

/// Row by row, features × words: what the output is multiplied by.
integer_matrix transposed(const integer_matrix& W) {
  return {{W.q.data(), W.q.cols(), W.q.rows(),
           integer_matrix::stride(W.q.innerStride(), W.q.outerStride())},
          W.scale};
}

integer_matrix read_words(const marian_file& file) {
  const auto [words, features] = file.size("Wemb");
  return file.integers("Wemb", words, features, marian_file::order::by_rows);
}

settings checked_settings(const marian_file& file) {
  settings s(file);
  s.require("type", "transformer");
  s.require("transformer-decoder-autoreg", "rnn");
  s.require("dec-cell", "ssru");
  s.require("transformer-ffn-activation", "relu");
  return s;
}

/// Heads whose sizes are equal.
Index checked_heads(const marian_file& file, Index features) {
  const Index heads = checked_settings(file).natural("transformer-heads");
  if (features % heads != 0)
    throw model_error(file.name() + ": it has " + to_string(features) +
                      " features, not a multiple of transformer-heads, " + to_string(heads));
  return heads;
}

float_matrix positions(Index first, Index count, Index features) {
  return softlook::sinusoidal<float>(
      count, features, {.first = first, .layout = softlook::sinusoidal_layout::concatenated});
}

template <class Matrix>
Matrix selected_rows(const Matrix& X, std::span<const Index> rows) {
  Matrix out(static_cast<Index>(rows.size()), X.cols());
  for (Index i = 0; i < out.rows(); ++i) out.row(i) = X.row(rows[std::size_t(i)]);
  return out;
}

}  // namespace

translation_model::translation_model(const std::filesystem::path& folder, const std::string& pair)
    : file_(folder / ("model." + pair + ".intgemm.alphas.bin")),
      vocabulary_(folder / ("vocab." + pair + ".spm")),
      end_(vocabulary_.id_of("</s>")),
      words_(read_words(file_)),
      heads_(checked_heads(file_, words_.q.cols())),
      encoder_(read_encoder(file_, settings(file_), words_.q.cols())),
      decoder_(read_decoder(file_, settings(file_), words_.q.cols())),
      logits_(transposed(words_), file_.floats("decoder_ff_logit_out_b", 1, words_.q.rows())) {
  const std::string name = (folder / ("vocab." + pair + ".spm")).string();
  if (end_ == vocabulary_.unknown()) throw model_error(name + ": the piece </s> is missing");
  if (vocabulary_.size() != words_.q.rows())
    throw model_error(name + ": it has " + to_string(vocabulary_.size()) +
                      " pieces but the model knows " + to_string(words_.q.rows()));
}

std::vector<int> translation_model::tokens_of(std::string_view sentence) const {
  std::vector<int> tokens = vocabulary_.encode(sentence);
  tokens.push_back(end_);
  return tokens;
}

std::vector<int> translation_model::ids_of(const softlook::hypothesis& h) {
  return {h.tokens.begin(), h.tokens.end()};
}

void translation_model::state::select(std::span<const Index> rows) {
  for (auto& c : cells) c = {selected_rows(c.hidden, rows), selected_rows(c.cell, rows)};
}

void translation_model::check(std::span<const int> tokens) const {
  if (tokens.empty()) throw std::invalid_argument("translation_model: there are no tokens");
  for (const int token : tokens)
    if (token < 0 || token >= vocabulary_.size())
      throw std::invalid_argument("translation_model: there is no token " + to_string(token) +
                                  ", the vocabulary has " + to_string(vocabulary_.size()));
}

/// √features · word, without positions.
float_matrix translation_model::embedded(std::span<const int> tokens) const {
  const float factor = std::sqrt(static_cast<float>(words_.q.cols()));
  float_matrix x(static_cast<Index>(tokens.size()), words_.q.cols());
  for (Index i = 0; i < x.rows(); ++i)
    x.row(i) = words_.q.row(tokens[std::size_t(i)]).cast<float>() / words_.scale * factor;
  return x;
}

translation_model::memory translation_model::read(std::span<const int> source, const how& h) const {
  float_matrix x = embedded(source);
  x += positions(0, x.rows(), x.cols());
  encoder_.into(x, x, h.threads, h.options);
  memory seen;
  for (const decoder_layer& layer : decoder_) {
    seen.keys.push_back(layer.key(x, h.threads, h.options));
    seen.values.push_back(layer.value(x, h.threads, h.options));
  }
  return seen;
}

translation_model::state translation_model::start() const {
  const float_matrix zero = float_matrix::Zero(1, words_.q.cols());
  return {std::vector<softlook::ssru_state<float_matrix>>(decoder_.size(), {zero, zero}), 0};
}

/// The rest of a layer, behind its cell.
float_matrix translation_model::after(std::size_t layer, const float_matrix& x,
                                      const float_matrix& of_cell, const memory& seen,
                                      const how& h) const {
  const decoder_layer& l = decoder_[layer];
  const float_matrix y = l.after_cell(x + of_cell, h.threads, h.options);
  const float_matrix context =
      softlook::attention(l.query(y, h.threads, h.options), seen.keys[layer], seen.values[layer],
                          softlook::heads{.query = heads_}, h.threads, h.options);
  const float_matrix z =
      l.after_attention(y + l.output(context, h.threads, h.options), h.threads, h.options);
  const float_matrix fed = l.feed(l.hidden(z, h.threads, h.options), h.threads, h.options);
  return l.after_feed(z + fed, h.threads, h.options);
}

/// Logits of the next token of each sentence.
float_matrix translation_model::step(const memory& seen, std::span<const Index> tokens, state& s,
                                     const how& h) const {
  // Nothing has been written before the first token: its embedding is zero.
  float_matrix x = float_matrix::Zero(static_cast<Index>(tokens.size()), words_.q.cols());
  if (s.position > 0) x = embedded(std::vector<int>(tokens.begin(), tokens.end()));
  x.rowwise() += positions(s.position, 1, x.cols()).row(0);
  for (std::size_t l = 0; l < decoder_.size(); ++l) {
    decoder_[l].cell.advance(x, s.cells[l], h.threads, h.options);
    x = after(l, x, s.cells[l].hidden, seen, h);
  }
  ++s.position;
  return logits_(x, h.threads, h.options);
}

std::vector<softlook::hypothesis> translation_model::translate(std::span<const int> source,
                                                               Index beam,
                                                               const pool& threads) const {
  check(source);
  softlook::workspace scratch;
  const how h{threads, {.workspace = &scratch}};
  const memory seen = read(source, h);
  // Three times as long, as Marian's own decoder allows, and a little for very short ones.
  const softlook::search_options o{.begin = end_,
                                   .end = end_,
                                   .maximum_length = 3 * static_cast<Index>(source.size()) + 8,
                                   .beam = beam,
                                   .length_exponent = 1};
  const auto next = [&](std::span<const Index> tokens, state& s) {
    return step(seen, tokens, s, h);
  };
  if (beam == 1) return {softlook::greedy_search(start(), next, o)};
  return softlook::beam_search(start(), next, o);
}

float_matrix translation_model::alignment(std::span<const int> source, std::span<const int> target,
                                          const pool& threads) const {
  check(source);
  check(target);
  softlook::workspace scratch;
  const how h{threads, {.workspace = &scratch}};
  const memory seen = read(source, h);
  // All rows at once: a row is given the token before it, and its cell reads no row behind it.
  float_matrix x = float_matrix::Zero(static_cast<Index>(target.size()), words_.q.cols());
  x.bottomRows(x.rows() - 1) = embedded(target.first(target.size() - 1));
  x += positions(0, x.rows(), x.cols());
  state s = start();
  for (std::size_t l = 0; l + 1 < decoder_.size(); ++l)
    x = after(l, x, decoder_[l].cell.sequence(x, s.cells[l], threads, h.options), seen, h);
  const decoder_layer& last = decoder_.back();
  const float_matrix of_cell = last.cell.sequence(x, s.cells.back(), threads, h.options);
  const float_matrix query =
      last.query(last.after_cell(x + of_cell, threads, h.options), threads, h.options);
  return softlook::attention_weights(softlook::head_columns(query, 0, heads_),
                                     softlook::head_columns(seen.keys.back(), 0, heads_), threads,
                                     h.options);
}

}  // namespace translator
