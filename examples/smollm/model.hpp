#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <softlook/exec/thread_pool.hpp>
#include <softlook/layer/linear_layer.hpp>
#include <softlook/low_precision.hpp>
#include <softlook/transformer/causal.hpp>

#include "gguf.hpp"
#include "tokenizer.hpp"

namespace smollm {

/// How the numbers of the model are kept: those of the layers, and of the matrix that gives a score
/// for each token.
struct kept_weights {
  softlook::weight_format<float> layers = softlook::weight_storage::int8;
  softlook::weight_format<float> tokens = softlook::weight_storage::int8;
};

/// exact, bfloat16 or int8, by name. With low_precision what is multiplied by them is rounded too,
/// where the machine has a unit for such products, which reads texts faster.
/// \throws std::invalid_argument  for another name, or for exact with low_precision.
softlook::weight_format<float> format_named(const std::string& name, bool low_precision);

/// SmolLM2-135M-Instruct, a language model of LLaMA's kind: what comes after some tokens.
///
///     tokens -> vectors -> 30 × (attention, feed-forward) -> norm -> a score for each token
///
/// with RMS norms, 9 query heads and 3 heads of keys and values, rotary positions, SwiGLU. The
/// vectors of the tokens are also the rows of the last matrix.
///
/// \see Allal et al., "SmolLM2", 2025; Touvron et al., "LLaMA", 2023, section 2.2.
class language_model {
 public:
  using cache = softlook::causal_transformer_cache<float>;
  using pool = softlook::exec::thread_pool;

  /// \throws model_error  if the file is not such a model.
  explicit language_model(const std::filesystem::path& file, const kept_weights& kept = {});
  /// The same of bytes that outlive it.
  language_model(gguf file, const kept_weights& kept);

  const smollm::tokenizer& tokenizer() const { return tokenizer_; }
  Eigen::Index layers() const { return static_cast<Eigen::Index>(stack_.layers().size()); }
  Eigen::Index heads() const { return heads_; }
  /// Tokens that it was trained to look back on.
  Eigen::Index context() const { return context_; }
  /// What a step reads of weights.
  std::size_t weight_bytes() const { return stack_.weight_bytes() + scores_.weight_bytes(); }

  cache start() const { return stack_.start(); }
  /// Scores of what comes after these tokens, which follow those of the cache. Long texts are taken
  /// in pieces.
  /// \throws std::invalid_argument  without tokens, for an id that is none, or beyond context().
  Eigen::RowVectorXf next(std::span<const int> ids, cache& seen, const pool& threads) const;

  /// What these tokens, which follow those of the cache, look at: [layer][head], a row for each.
  std::vector<std::vector<float_matrix>> looks(std::span<const int> ids, const cache& seen,
                                               const pool& threads) const;

 private:
  struct configuration;
  static configuration read_configuration(const gguf& file);
  static softlook::causal_transformer<float> read_layers(
      const gguf& file, const configuration& c, const softlook::weight_format<float>& kept);
  language_model(gguf&& file, const configuration& c, const kept_weights& kept);
  void check(std::span<const int> ids, const cache& seen) const;

  gguf file_;
  smollm::tokenizer tokenizer_;
  Eigen::Index heads_;
  Eigen::Index context_;
  softlook::linear_layer<float> scores_;
  softlook::causal_transformer<float> stack_;
};

/// How the next token is chosen.
struct sampling {
  bool greedy = false;       ///< the one with the highest score
  double temperature = 0.2;  ///< scores are divided by it
  double top_p = 0.9;        ///< of the most likely tokens, as many as have this probability
  std::uint64_t seed = 0;
};

/// Draws tokens; the same numbers for the same seed on every machine.
/// \see Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020, section 3.1 (top-p).
class sampler {
 public:
  /// \throws std::invalid_argument  unless 0 < temperature and 0 < top_p ≤ 1.
  explicit sampler(const sampling& how);
  int operator()(const Eigen::RowVectorXf& scores);

 private:
  sampling how_;
  std::mt19937_64 random_;
};

}  // namespace smollm
