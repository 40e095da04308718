#include "conversation.hpp"

#include <algorithm>
#include <chrono>
#include <span>
#include <stdexcept>
#include <utility>

namespace smollm {
namespace {

class stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace

conversation::conversation(const language_model& model, const language_model::pool& threads,
                           const sampling& how, std::string system)
    : model_(model),
      threads_(threads),
      draw_(how),
      system_(std::move(system)),
      begin_(model.tokenizer().special("<|im_start|>")),
      end_(model.tokenizer().special("<|im_end|>")),
      end_of_text_(model.tokenizer().special("<|endoftext|>")),
      seen_(model.start()) {}

void conversation::add(std::string_view text) {
  const std::vector<int> ids = model_.tokenizer().encode(text);
  tokens_.insert(tokens_.end(), ids.begin(), ids.end());
}

void conversation::clear() {
  tokens_.clear();
  seen_.truncate(0);
  answer_begin_ = answer_size_ = 0;
}

answer conversation::ask(std::string_view question, std::size_t most,
                         const std::function<bool(std::string_view)>& show) {
  const std::size_t said = tokens_.size();
  const auto turn = [&](std::string_view role, std::string_view text) {
    add(begin_);
    add(std::string(role) + '\n' + std::string(text));
    add(end_);
    add("\n");
  };
  if (tokens_.empty())
    turn("system", system_);
  else
    add("\n");  // behind the end of the answer before
  turn("user", question);
  add(begin_);
  add("assistant\n");
  const auto context = static_cast<std::size_t>(model_.context());
  if (tokens_.size() >= context) {
    const std::size_t wanted = tokens_.size();
    tokens_.resize(said);
    throw std::length_error("the conversation would have " + std::to_string(wanted) +
                            " tokens, the model looks back on " + std::to_string(context));
  }

  answer a;
  const auto unread = [&] {
    return std::span<const int>(tokens_).subspan(static_cast<std::size_t>(seen_.rows()));
  };
  a.prompt_tokens = unread().size();
  answer_begin_ = tokens_.size();
  answer_size_ = 0;
  const stopwatch reading;
  Eigen::RowVectorXf scores = model_.next(unread(), seen_, threads_);
  a.prompt_seconds = reading.seconds();
  const stopwatch drawing;
  std::string text;
  bool wanted = true;
  while (wanted && a.tokens < most && tokens_.size() < context) {
    const int id = draw_(scores);
    a.ended = id == end_ || id == end_of_text_;
    if (a.ended) break;
    add(id);
    ++a.tokens;
    if (!model_.tokenizer().is_special(id)) text += model_.tokenizer().bytes(id);
    const std::size_t whole = whole_characters(text);
    wanted = show(std::string_view(text).substr(0, whole));
    text.erase(0, whole);
    if (wanted && a.tokens < most && tokens_.size() < context)
      scores = model_.next(unread(), seen_, threads_);
  }
  a.seconds = drawing.seconds();
  if (!text.empty()) show(text);
  answer_size_ = a.tokens;
  add(end_);
  return a;
}

std::vector<std::vector<float_matrix>> conversation::looks(std::size_t first,
                                                           std::size_t count) const {
  if (count < 1 || first >= answer_size_ || count > answer_size_ - first)
    throw std::out_of_range("the answer has " + std::to_string(answer_size_) + " tokens");
  // A token is drawn by the row of the one before it.
  const std::size_t begin = answer_begin_ + first - 1;
  language_model::cache before = seen_;
  before.truncate(static_cast<Eigen::Index>(begin));
  return model_.looks(std::span<const int>(tokens_).subspan(begin, count), before, threads_);
}

}  // namespace smollm
