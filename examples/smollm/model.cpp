#include "model.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <softlook/position/encodings.hpp>

namespace smollm {

using Eigen::Index;
using softlook::transformer_encoder_layer;
using std::to_string;

softlook::weight_format<float> format_named(const std::string& name, bool low_precision) {
  using enum softlook::weight_storage;
  using softlook::number_format;
  for (const auto kept : {exact, bfloat16, int8}) {
    if (name != softlook::name_of(kept)) continue;
    if (!low_precision) return kept;
    if (kept == exact)
      throw std::invalid_argument("exact weights are not multiplied with low precision");
    return softlook::low_precision{kept == int8 ? number_format::int8 : number_format::bfloat16};
  }
  throw std::invalid_argument("weights " + name + ": they are bfloat16, int8 or exact");
}

struct language_model::configuration {
  Index features, hidden, layers, query_heads, kv_heads, tokens, context, turned;
  double epsilon, base;
};

language_model::configuration language_model::read_configuration(const gguf& file) {
  const auto fail = [&](const std::string& what) { throw model_error(file.name() + ": " + what); };
  if (file.text("general.architecture") != "llama")
    fail("general.architecture is not llama, the only kind that is known here");
  const auto natural = [&](const char* key) {
    constexpr std::uint64_t largest = 1'000'000;  // far beyond any model of this kind
    const std::uint64_t value = file.natural(std::string("llama.") + key, largest);
    if (value < 1) fail(std::string("llama.") + key + " is 0");
    return static_cast<Index>(value);
  };
  configuration c{};
  c.features = natural("embedding_length");
  c.hidden = natural("feed_forward_length");
  c.layers = natural("block_count");
  c.query_heads = natural("attention.head_count");
  c.kv_heads = natural("attention.head_count_kv");
  c.context = natural("context_length");
  c.tokens = static_cast<Index>(file.texts("tokenizer.ggml.tokens").size());
  c.epsilon = file.number("llama.attention.layer_norm_rms_epsilon");
  c.base = file.number("llama.rope.freq_base");
  if (c.query_heads % c.kv_heads != 0 || c.features % c.query_heads != 0)
    fail("there are " + to_string(c.query_heads) + " query heads, " + to_string(c.kv_heads) +
         " heads of keys and " + to_string(c.features) + " features, which do not share evenly");
  c.turned = c.features / c.query_heads;
  if (file.values().contains("llama.rope.dimension_count") &&
      natural("rope.dimension_count") != c.turned)
    fail("llama.rope.dimension_count is not the size of a head");
  if (c.turned % 2 != 0 || !(c.epsilon >= 0) || !(c.base > 0) || !std::isfinite(c.base))
    fail("a head of " + to_string(c.turned) +
         " features, epsilon or the base of its angles is not "
         "what a model has");
  // A layer takes tensors of the file, so this many must be there.
  if (static_cast<std::size_t>(c.layers) > file.tensors().size())
    fail("llama.block_count is " + to_string(c.layers) + " but there are " +
         to_string(file.tensors().size()) + " tensors");
  return c;
}

softlook::causal_transformer<float> language_model::read_layers(
    const gguf& file, const configuration& c, const softlook::weight_format<float>& kept) {
  const Index head = c.features / c.query_heads, kv = c.kv_heads * head;
  softlook::rotary_embedding<float> rotary(
      softlook::rotary_frequencies(head, c.base),
      {.pairs = softlook::rotary_pairs::interleaved, .head_features = head});
  rotary.precompute(c.context);
  const softlook::rotary_positions<float> positions(rotary);
  std::vector<transformer_encoder_layer<float>> layers;
  for (Index number = 0; number < c.layers; ++number) {
    const std::string layer = "blk." + to_string(number) + '.';
    // The file holds them outputs × inputs.
    const auto weight = [&](const char* name, Index inputs, Index outputs) {
      return file.matrix(layer + name + ".weight", outputs, inputs).transpose().eval();
    };
    const auto row = [&](const char* name) {
      return file.matrix(layer + name + ".weight", 1, c.features);
    };
    softlook::transformer_encoder_layer_parameters<float> p;
    p.self_attention.Wq = weight("attn_q", c.features, c.features);
    p.self_attention.Wk = weight("attn_k", c.features, kv);
    p.self_attention.Wv = weight("attn_v", c.features, kv);
    p.self_attention.Wo = weight("attn_output", c.features, c.features);
    p.self_attention.rotary = positions;
    p.self_attention.weights = kept;
    p.W1 = weight("ffn_gate", c.features, c.hidden);
    p.W3 = weight("ffn_up", c.features, c.hidden);
    p.W2 = weight("ffn_down", c.hidden, c.features);
    p.weights = kept;
    p.gain1 = row("attn_norm");
    p.gain2 = row("ffn_norm");
    layers.emplace_back(
        p, softlook::transformer_layer_options{.heads = {.query = c.query_heads, .kv = c.kv_heads},
                                               .activation = softlook::activation::silu,
                                               .norm_first = true,
                                               .epsilon = c.epsilon,
                                               .norm = softlook::norm_kind::rms});
  }
  return softlook::causal_transformer<float>(
      std::move(layers),
      softlook::rms_norm<float>(file.matrix("output_norm.weight", 1, c.features), c.epsilon));
}

language_model::language_model(const std::filesystem::path& file, const kept_weights& kept)
    : language_model(gguf(file), kept) {}

language_model::language_model(gguf file, const kept_weights& kept)
    : language_model(std::move(file), read_configuration(file), kept) {}

language_model::language_model(gguf&& file, const configuration& c, const kept_weights& kept)
    : file_(std::move(file)),
      tokenizer_(file_),
      heads_(c.query_heads),
      context_(c.context),
      scores_(file_.matrix("token_embd.weight", c.tokens, c.features).transpose(),
              softlook::activation::none, kept.tokens),
      stack_(read_layers(file_, c, kept.layers)) {}

void language_model::check(std::span<const int> ids, const cache& seen) const {
  if (ids.empty()) throw std::invalid_argument("language_model: there are no tokens");
  if (seen.rows() + static_cast<Index>(ids.size()) > context_)
    throw std::invalid_argument("language_model: " + to_string(ids.size()) + " tokens after " +
                                to_string(seen.rows()) + " are more than the model knows, " +
                                to_string(context_));
  for (const int id : ids)
    if (id < 0 || static_cast<std::size_t>(id) >= tokenizer_.size())
      throw std::invalid_argument("language_model: token " + to_string(id) +
                                  " is not in the vocabulary");
}

Eigen::RowVectorXf language_model::next(std::span<const int> ids, cache& seen,
                                        const pool& threads) const {
  check(ids, seen);
  constexpr std::size_t piece = 512;
  float_matrix x;
  for (std::size_t at = 0; at < ids.size(); at += piece) {
    file_.rows_into("token_embd.weight", ids.subspan(at, std::min(piece, ids.size() - at)), x);
    stack_.step_into(x, seen, x, threads);
  }
  return scores_(x.bottomRows(1), threads);
}

std::vector<std::vector<float_matrix>> language_model::looks(std::span<const int> ids,
                                                             const cache& seen,
                                                             const pool& threads) const {
  check(ids, seen);
  float_matrix x;
  file_.rows_into("token_embd.weight", ids, x);
  return stack_.attention_weights(x, seen, threads);
}

sampler::sampler(const sampling& how) : how_(how), random_(how.seed) {
  if (!(how.temperature > 0))
    throw std::invalid_argument("temperature is " + to_string(how.temperature) +
                                ", it is more than 0 (--greedy takes the likeliest token)");
  if (!(how.top_p > 0) || how.top_p > 1)
    throw std::invalid_argument("top-p is " + to_string(how.top_p) +
                                ", it lies above 0 and is at most 1");
}

int sampler::operator()(const Eigen::RowVectorXf& scores) {
  Index best = 0;
  scores.maxCoeff(&best);
  if (how_.greedy) return static_cast<int>(best);
  std::vector<int> order(static_cast<std::size_t>(scores.size()));
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> weight(order.size());
  double sum = 0;
  for (std::size_t k = 0; k < order.size(); ++k)
    sum += weight[k] =
        std::exp((double(scores[static_cast<Index>(k)]) - double(scores[best])) / how_.temperature);
  const auto more = [&](int a, int b) {
    const double x = weight[static_cast<std::size_t>(a)], y = weight[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  // As many of the likeliest as it takes; rarely more than the first few are needed.
  std::size_t count = 0, sorted = 0;
  double kept = 0;
  while (count < order.size() && kept < how_.top_p * sum) {
    if (count == sorted) {
      const std::size_t upto = std::min(order.size(), std::max<std::size_t>(64, 4 * sorted));
      std::partial_sort(order.begin() + static_cast<std::ptrdiff_t>(sorted),
                        order.begin() + static_cast<std::ptrdiff_t>(upto), order.end(), more);
      sorted = upto;
    }
    kept += weight[static_cast<std::size_t>(order[count++])];
  }
  // 53 bits of the generator, not a distribution of the library, which differs from one to another.
  double left = static_cast<double>(random_() >> 11U) * 0x1p-53 * kept;
  for (std::size_t k = 0; k + 1 < count; ++k) {
    left -= weight[static_cast<std::size_t>(order[k])];
    if (left < 0) return order[k];
  }
  return order[count > 0 ? count - 1 : 0];
}

}  // namespace smollm
