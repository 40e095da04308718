#include "encoder.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

namespace minilm {

using Eigen::Index;
using softlook::layer_norm;
using softlook::transformer_encoder_layer;
using std::to_string;

struct sentence_encoder::configuration {
  Index features, hidden, layers, heads, positions, types, words;
  double epsilon;
};

sentence_encoder::configuration sentence_encoder::read_configuration(
    const std::filesystem::path& file) {
  using nlohmann::json;
  const auto fail = [&file](const std::string& what) {
    throw model_error(file.string() + ": " + what);
  };
  std::ifstream in(file);
  if (!in) fail("the file cannot be opened");
  const json config = json::parse(in, nullptr, false);
  if (!config.is_object()) fail("this is not a JSON object");

  const auto natural = [&](const char* key) {
    constexpr std::uint64_t largest = 1'000'000;  // far beyond any model of this kind
    const auto found = config.find(key);
    const bool is_natural = found != config.end() && found->is_number_unsigned();
    const auto value = is_natural ? found->get<std::uint64_t>() : 0;
    if (value < 1 || value > largest)
      fail(std::string(key) + " is not a number from 1 to " + to_string(largest));
    return static_cast<Index>(value);
  };
  const auto require = [&](const char* key, const char* value) {
    const auto found = config.find(key);
    if (found == config.end() || *found != value)
      fail(std::string(key) + " is not \"" + value + "\", the only kind that is known here");
  };
  require("model_type", "bert");
  require("hidden_act", "gelu");
  require("position_embedding_type", "absolute");
  const auto epsilon = config.find("layer_norm_eps");
  if (epsilon == config.end() || !epsilon->is_number() || !(epsilon->get<double>() >= 0))
    fail("layer_norm_eps is not a number from 0");

  const configuration c = {.features = natural("hidden_size"),
                           .hidden = natural("intermediate_size"),
                           .layers = natural("num_hidden_layers"),
                           .heads = natural("num_attention_heads"),
                           .positions = natural("max_position_embeddings"),
                           .types = natural("type_vocab_size"),
                           .words = natural("vocab_size"),
                           .epsilon = epsilon->get<double>()};
  if (c.features % c.heads != 0) fail("hidden_size is not a multiple of num_attention_heads");
  return c;
}

softlook::transformer_encoder_layer_parameters<float> sentence_encoder::read_layer(
    const safetensors& weights, const configuration& config, Index number) {
  const std::string layer = "encoder.layer." + to_string(number) + '.';
  // The file holds them as torch does, outputs × inputs.
  const auto weight = [&](const char* name, Index inputs, Index outputs) {
    return weights.matrix(layer + name + ".weight", outputs, inputs).transpose();
  };
  const auto row = [&](const char* name, Index size) {
    return weights.matrix(layer + name, 1, size);
  };
  const Index features = config.features, hidden = config.hidden;
  softlook::transformer_encoder_layer_parameters<float> p;
  p.self_attention.Wq = weight("attention.self.query", features, features);
  p.self_attention.bq = row("attention.self.query.bias", features);
  p.self_attention.Wk = weight("attention.self.key", features, features);
  p.self_attention.bk = row("attention.self.key.bias", features);
  p.self_attention.Wv = weight("attention.self.value", features, features);
  p.self_attention.bv = row("attention.self.value.bias", features);
  p.self_attention.Wo = weight("attention.output.dense", features, features);
  p.self_attention.bo = row("attention.output.dense.bias", features);
  p.gain1 = row("attention.output.LayerNorm.weight", features);
  p.bias1 = row("attention.output.LayerNorm.bias", features);
  p.W1 = weight("intermediate.dense", features, hidden);
  p.b1 = row("intermediate.dense.bias", hidden);
  p.W2 = weight("output.dense", hidden, features);
  p.b2 = row("output.dense.bias", features);
  p.gain2 = row("output.LayerNorm.weight", features);
  p.bias2 = row("output.LayerNorm.bias", features);
  return p;
}

softlook::transformer_layer_options sentence_encoder::layer_options(const configuration& config) {
  return {.heads = {.query = config.heads},
          .activation = softlook::activation::gelu,
          .norm_first = false,
          .epsilon = config.epsilon};
}

softlook::transformer_encoder<float> sentence_encoder::read_layers(const safetensors& weights,
                                                                   const configuration& config) {
  std::vector<transformer_encoder_layer<float>> layers;
  for (Index number = 0; number < config.layers; ++number)
    layers.emplace_back(read_layer(weights, config, number), layer_options(config));
  return softlook::transformer_encoder<float>(std::move(layers));
}

sentence_encoder::sentence_encoder(const std::filesystem::path& folder)
    : sentence_encoder(folder, read_configuration(folder / "config.json")) {}

sentence_encoder::sentence_encoder(const std::filesystem::path& folder, const configuration& config)
    : weights_(folder / "model.safetensors"),
      tokenizer_(folder / "vocab.txt"),
      words_(weights_.matrix("embeddings.word_embeddings.weight", config.words, config.features)),
      encoder_(read_layers(weights_, config)),
      heads_(config.heads),
      hidden_(config.hidden),
      epsilon_(config.epsilon) {
  if (tokenizer_.size() != static_cast<std::size_t>(config.words))
    throw model_error((folder / "vocab.txt").string() + ": it has " + to_string(tokenizer_.size()) +
                      " tokens but the model knows " + to_string(config.words));
  const auto types =
      weights_.matrix("embeddings.token_type_embeddings.weight", config.types, config.features);
  positions_ =
      weights_.matrix("embeddings.position_embeddings.weight", config.positions, config.features);
  positions_.rowwise() += types.row(0);
  norm_ = {weights_.matrix("embeddings.LayerNorm.weight", 1, config.features),
           weights_.matrix("embeddings.LayerNorm.bias", 1, config.features), config.epsilon};
}

std::size_t sentence_encoder::longest_input() const {
  return std::min(wordpiece::longest_input, static_cast<std::size_t>(positions_.rows()));
}

/// A row for each token: the sum of the vectors of its word, its position and its type.
float_matrix sentence_encoder::embedded(const std::vector<int>& ids) const {
  const auto count = static_cast<Index>(ids.size());
  if (count < 1 || count > positions_.rows())
    throw std::invalid_argument("sentence_encoder: there are " + to_string(count) +
                                " tokens, the model takes 1 to " + to_string(positions_.rows()));
  float_matrix x = positions_.topRows(count);
  for (Index i = 0; i < count; ++i) {
    const int id = ids[static_cast<std::size_t>(i)];
    if (id < 0 || id >= words_.rows())
      throw std::invalid_argument("sentence_encoder: token " + to_string(id) +
                                  " is not in the vocabulary");
    x.row(i) += words_.row(id);
  }
  return x;
}

Eigen::RowVectorXf sentence_encoder::embedding(const std::vector<int>& ids, const pool& threads,
                                               const softlook::options& how) const {
  float_matrix x = embedded(ids);
  norm_.into(x, x, threads, how);
  encoder_.into(x, x, threads, how);
  return x.colwise().mean().normalized();
}

float_matrix sentence_encoder::rows_behind(const std::vector<int>& ids, Index layers,
                                           const pool& threads) const {
  if (layers < 0 || layers > this->layers())
    throw std::invalid_argument("sentence_encoder: there are no " + to_string(layers) +
                                " layers, the model has " + to_string(this->layers()));
  float_matrix x = embedded(ids);
  norm_.into(x, x, threads);
  for (Index below = 0; below < layers; ++below)
    encoder_.layers()[static_cast<std::size_t>(below)].into(x, x, threads);
  return x;
}

softlook::transformer_encoder_layer_parameters<float> sentence_encoder::weights_of_layer(
    Index layer) const {
  if (layer < 0 || layer >= layers())
    throw std::invalid_argument("sentence_encoder: there is no layer " + to_string(layer) +
                                ", the model has " + to_string(layers()) + ", counted from 0");
  configuration config{};
  config.features = features();
  config.hidden = hidden_;
  return read_layer(weights_, config, layer);
}

softlook::transformer_layer_options sentence_encoder::options_of_layer() const {
  configuration config{};
  config.heads = heads_;
  config.epsilon = epsilon_;
  return layer_options(config);
}

std::vector<float_matrix> sentence_encoder::attention(const std::vector<int>& ids, Index layer,
                                                      const pool& threads,
                                                      const softlook::options& how) const {
  if (layer < 0 || layer >= layers())
    throw std::invalid_argument("sentence_encoder: there is no layer " + to_string(layer) +
                                ", the model has " + to_string(layers()) + ", counted from 0");
  float_matrix x = embedded(ids);
  norm_.into(x, x, threads, how);
  for (Index below = 0; below < layer; ++below)
    encoder_.layers()[static_cast<std::size_t>(below)].into(x, x, threads, how);
  return encoder_.layers()[static_cast<std::size_t>(layer)].attention_weights(x, threads, how);
}

encoding sentence_encoder::encode(std::string_view text, const pool& threads) const {
  std::vector<int> ids = tokenizer_.encode(text, longest_input());
  Eigen::RowVectorXf vector = embedding(ids, threads);
  return {std::move(ids), std::move(vector)};
}

std::vector<encoding> sentence_encoder::encode(std::span<const std::string> texts,
                                               const pool& threads) const {
  const pool calling_thread(1);
  std::vector<softlook::workspace> scratch(static_cast<std::size_t>(threads.concurrency()));
  std::vector<encoding> out(texts.size());
  // Executors take no exceptions, and nothing here throws one but for want of memory.
  threads.bulk(static_cast<Index>(texts.size()), [&](Index task, Index worker) noexcept {
    encoding& result = out[static_cast<std::size_t>(task)];
    result.ids = tokenizer_.encode(texts[static_cast<std::size_t>(task)], longest_input());
    result.embedding = embedding(result.ids, calling_thread,
                                 {.workspace = &scratch[static_cast<std::size_t>(worker)]});
  });
  return out;
}

}  // namespace minilm
