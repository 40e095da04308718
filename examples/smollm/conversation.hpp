#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model.hpp"

namespace smollm {

/// What was said, and how long it took.
struct answer {
  std::size_t prompt_tokens = 0;  ///< read before the first token was drawn
  std::size_t tokens = 0;         ///< drawn, without the one that ends an answer
  double prompt_seconds = 0;
  double seconds = 0;  ///< of what was drawn
  bool ended = false;  ///< by the model
};

/// Questions and answers in turn, in the form that SmolLM2 was trained with:
///
///     <|im_start|>system\n…<|im_end|>\n<|im_start|>user\n…<|im_end|>\n<|im_start|>assistant\n
///
/// What has been said stays in the cache, so a turn reads only what is new.
class conversation {
 public:
  static constexpr std::string_view default_system =
      "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

  /// The model and the threads outlive it.
  conversation(const language_model& model, const language_model::pool& threads,
               const sampling& how, std::string system = std::string(default_system));

  /// Asks and takes up to `most` tokens; show(text) gets each piece of the answer, whole
  /// characters, and says whether to go on.
  /// \throws std::length_error  if what was said and the question leave no room for an answer.
  answer ask(std::string_view question, std::size_t most,
             const std::function<bool(std::string_view)>& show);
  /// Forgets what was said.
  void clear();

  /// All tokens so far; those of the last answer begin at answer_begin().
  const std::vector<int>& tokens() const { return tokens_; }
  std::size_t answer_begin() const { return answer_begin_; }
  std::size_t answer_size() const { return answer_size_; }
  const language_model::cache& seen() const { return seen_; }

  /// What the model looked at when it drew `count` tokens of the last answer from `first` on:
  /// [layer][head], a row for each of them, a column for each token before the last of them.
  std::vector<std::vector<float_matrix>> looks(std::size_t first, std::size_t count) const;

 private:
  void add(std::string_view text);
  void add(int id) { tokens_.push_back(id); }

  const language_model& model_;
  const language_model::pool& threads_;
  sampler draw_;
  std::string system_;
  int begin_, end_, end_of_text_;
  std::vector<int> tokens_;
  language_model::cache seen_;
  std::size_t answer_begin_ = 0;
  std::size_t answer_size_ = 0;
};

}  // namespace smollm
