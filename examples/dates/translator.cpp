#include "examples/dates/translator.hpp"

#include <algorithm>
#include <stdexcept>

#include <softlook/inspect.hpp>

#include "examples/dates/date_forms.hpp"

namespace dates {
namespace {

constexpr std::string_view known = "abcdefghijklmnopqrstuvwxyz0123456789 ,./-'";
constexpr std::string_view writable = "0123456789-";
static_assert(writable.size() == begin);

/// A day that is unseen or is not, and a form.
struct asked {
  std::string source, right;
};
asked draw(bool unseen, examples::generator& random) {
  std::int64_t day = 0;
  do day = random.below(days);
  while (is_unseen(day) != unseen);
  const auto form = forms()[std::size_t(random.below(std::int64_t(forms().size())))];
  return {written(date_of(day), form), iso(date_of(day))};
}

softlook::gru_parameters<float> first_cell(index inputs, index units, examples::generator& random) {
  softlook::gru_parameters<float> p;
  p.Wx.resize(inputs, 3 * units);
  p.Wh.resize(units, 3 * units);
  examples::fill_glorot(p.Wx, random);
  examples::fill_glorot(p.Wh, random);
  p.bx.setZero(3 * units);
  p.bh.setZero(3 * units);
  return p;
}

}  // namespace

std::vector<index> tokens_of(std::string_view text) {
  if (text.empty()) throw std::invalid_argument("a date has at least one character");
  std::vector<index> tokens;
  for (const char c : text) {
    const char small = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
    const std::size_t at = known.find(small);
    if (at == known.npos)
      throw std::invalid_argument("\"" + std::string(text) + "\": character " +
                                  std::to_string(tokens.size() + 1) +
                                  " is unknown; known are letters, digits, spaces and ,./-'");
    tokens.push_back(index(at));
  }
  return tokens;
}

index token_of(char written) { return index(writable.find(written)); }

weights first_weights(const sizes& s, examples::generator& random) {
  weights p;
  const index context = 2 * s.encoder, read = s.embedding + context;
  p.source_embedding.resize(index(known.size()), s.embedding);
  p.target_embedding.resize(begin + 1, s.embedding);
  examples::fill_normal(p.source_embedding, 0.3, random);
  examples::fill_normal(p.target_embedding, 0.3, random);
  p.forward = first_cell(s.embedding, s.encoder, random);
  p.backward = first_cell(s.embedding, s.encoder, random);
  p.decoder = first_cell(read, s.decoder, random);
  const auto matrix = [&random](index rows, index cols) {
    weights::matrix W(rows, cols);
    examples::fill_glorot(W, random);
    return W;
  };
  p.Ws = matrix(s.encoder, s.decoder);
  p.bs.setZero(s.decoder);
  p.attention.Wq = matrix(s.decoder, s.attention);
  p.attention.Wk = matrix(context, s.attention);
  p.attention.v.resize(s.attention);
  examples::fill_glorot(p.attention.v, random);
  p.readout = matrix(s.decoder + read, 2 * s.maxout);
  p.b_readout.setZero(2 * s.maxout);
  p.Wo = matrix(s.maxout, begin);
  p.bo.setZero(begin);
  return p;
}

batch draw_batch(index sentences, examples::generator& random) {
  batch all;
  all.sentences = sentences;
  all.fed.resize(std::size_t(written_characters * sentences));
  all.wanted.resize(all.fed.size());
  std::size_t length = 0;
  for (index b = 0; b < sentences; ++b) {
    asked one = draw(false, random);
    while (b > 0 && one.source.size() != length) one = draw(false, random);
    const std::vector<index> tokens = tokens_of(one.source);
    length = tokens.size();
    all.source.resize(length * std::size_t(sentences));
    // Step behind step.
    const auto place = [&](std::size_t t) { return t * std::size_t(sentences) + std::size_t(b); };
    for (std::size_t t = 0; t < length; ++t) all.source[place(t)] = tokens[t];
    index last = begin;
    for (std::size_t t = 0; t < one.right.size(); ++t) {
      all.fed[place(t)] = last;
      last = token_of(one.right[t]);
      all.wanted[place(t)] = std::int32_t(last);
    }
  }
  return all;
}

translation translate(const model& m, std::string_view source) {
  const model::sentence read = m.read(tokens_of(source));
  model::state state = m.start(read);
  translation t{{}, Eigen::MatrixXf(written_characters, index(source.size()))};
  index last = begin;
  for (index i = 0; i < written_characters; ++i) {
    const auto step = m.step(read, {&last, 1}, state);
    step.logits.row(0).maxCoeff(&last);
    t.looked.row(i) = step.weights;
    t.text += writable[std::size_t(last)];
  }
  return t;
}

Eigen::MatrixXf alignment(const model& m, std::string_view source, std::string_view right) {
  std::vector<index> tokens;
  for (const char c : right) tokens.push_back(token_of(c));
  return softlook::alignment(m, tokens_of(source), tokens, begin);
}

examination examine(const model& m, int count, std::uint64_t seed) {
  examples::generator random(seed);
  examination e;
  for (; e.asked < count; ++e.asked) {
    const asked one = draw(true, random);
    const std::string found = translate(m, one.source).text;
    if (found == one.right)
      ++e.right;
    else
      e.mistakes.push_back(one.source + " -> " + found + ", not " + one.right);
  }
  return e;
}

}  // namespace dates
