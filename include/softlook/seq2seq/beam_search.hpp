#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup seq2seq
/// \{

struct search_options {
  index begin = 0;             ///< the token that is fed first
  index end = 1;               ///< the token that ends a sentence
  index maximum_length = 100;  ///< tokens of a sentence, `end` included
  index beam = 5;              ///< sentences kept at each length
  double length_exponent = 0;  ///< sentences are ranked by log p / length^exponent
};

/// A sentence that a search found.
struct hypothesis {
  std::vector<index> tokens{};  ///< without `begin`, with `end` if it was reached
  double log_probability = 0;
  double score = 0;    ///< log_probability / length^exponent
  bool ended = false;  ///< false: cut at the maximal length
};

/// What a search carries from step to step: a row of state for each sentence.
template <class State>
concept search_state = std::movable<State> && requires(State s, std::span<const index> rows) {
  s.select(rows);  // the state of these sentences in this order; one may occur several times
};

namespace detail {

inline void check_search(const char* where, const search_options& o) {
  if (o.maximum_length < 1)
    raise_argument(where, "maximum_length", double(o.maximum_length), "it is at least 1");
  if (o.beam < 1) raise_argument(where, "beam", double(o.beam), "it is at least 1");
  if (!(o.length_exponent >= 0 && std::isfinite(o.length_exponent)))
    raise_argument(where, "length_exponent", o.length_exponent, "it is finite and not negative");
}

/// log softmax of one row of logits; a token of −∞ or NaN is impossible.
template <class M>
void log_softmax_row(const M& logits, index row, std::vector<later<M, double>>& out) {
  constexpr double impossible = -std::numeric_limits<double>::infinity();
  out.assign(std::size_t(logits.cols()), impossible);
  double top = impossible, sum = 0;
  for (index t = 0; t < logits.cols(); ++t) {
    const double s = double(logits(row, t));
    if (s > impossible) out[std::size_t(t)] = s;
    top = std::max(top, out[std::size_t(t)]);
  }
  if (top == impossible) return;
  for (double& s : out) sum += std::exp(s - top);
  const double log_of_sum = std::log(sum);
  for (double& s : out) s = s - top - log_of_sum;
}

template <class M>
void check_logits(const char* where, const M& logits, std::size_t sentences) {
  check_sizes(where, "logits.rows()", logits.rows(), "the sentences",
              static_cast<long long>(sentences), "a step gives each sentence a row of logits");
}

[[nodiscard]] inline double score_of(double log_probability, index length, double exponent) {
  return exponent == 0 ? log_probability : log_probability / std::pow(double(length), exponent);
}

/// Sentences as a tree of tokens, so that those with a common beginning share it. A template, like
/// ranking, so that it is compiled with the first search.
template <std::same_as<index> Token>
class token_tree {
 public:
  [[nodiscard]] index add(index parent, Token token) {
    nodes_.push_back({parent, token});
    return index(nodes_.size()) - 1;
  }
  [[nodiscard]] std::vector<Token> sentence(index node) const {
    std::vector<Token> tokens;
    for (; node >= 0; node = nodes_[std::size_t(node)].parent)
      tokens.push_back(nodes_[std::size_t(node)].token);
    std::reverse(tokens.begin(), tokens.end());
    return tokens;
  }

 private:
  struct entry {
    index parent;
    Token token;
  };
  std::vector<entry> nodes_;
};

struct extension {
  double log_probability;
  index parent;  // among the live sentences
  index token;
};

/// The best extensions, best first; ties go to the better parent, then to the smaller token.
template <class M>
[[nodiscard]] auto best_extensions(const M& logits, const std::vector<double>& so_far,
                                   index count) {
  std::vector<later<M, extension>> all;
  std::vector<later<M, double>> row;
  for (index i = 0; i < logits.rows(); ++i) {
    log_softmax_row(logits, i, row);
    for (index t = 0; t < logits.cols(); ++t) {
      const double log_probability = so_far[std::size_t(i)] + row[std::size_t(t)];
      if (log_probability > -std::numeric_limits<double>::infinity())
        all.push_back({log_probability, i, t});
    }
  }
  const auto better = [](const extension& a, const extension& b) {
    if (a.log_probability != b.log_probability) return a.log_probability > b.log_probability;
    return a.parent != b.parent ? a.parent < b.parent : a.token < b.token;
  };
  const auto kept = std::min(all.size(), std::size_t(count));
  std::partial_sort(all.begin(), all.begin() + std::ptrdiff_t(kept), all.end(), better);
  all.resize(kept);
  return all;
}

/// The best `count`, best first; of equal ones the first found, which is not longer.
template <std::same_as<hypothesis> Sentence>
class ranking {
 public:
  explicit ranking(index count) : count_(std::size_t(count)) {}

  void add(Sentence h) {
    const auto at =
        std::upper_bound(best_.begin(), best_.end(), h.score,
                         [](double score, const Sentence& other) { return score > other.score; });
    best_.insert(at, std::move(h));
    if (best_.size() > count_) best_.pop_back();
  }
  /// Whether a sentence of this score, found later, would not be among them.
  [[nodiscard]] bool beats(double score) const {
    return best_.size() == count_ && best_.back().score >= score;
  }
  [[nodiscard]] std::vector<Sentence> take() { return std::move(best_); }

 private:
  std::size_t count_;
  std::vector<Sentence> best_;
};

}  // namespace detail

/// The sentence that takes the most probable token at each step; of equal ones the first.
///
/// step(std::span<const index> tokens, State&) is given the last token of each sentence, here of
/// one; it advances the state and returns logits, a row for each sentence and a column for each
/// token of the vocabulary. A token of logit −∞ is never taken; where no other is left, the
/// sentence stops.
template <search_state State, class Step>
[[nodiscard]] hypothesis greedy_search(State state, const Step& step, const search_options& o) {
  detail::check_search("greedy_search", o);
  detail::later<State, hypothesis> h;
  std::vector<detail::later<State, double>> row;
  index last = o.begin;
  while (!h.ended && index(h.tokens.size()) < o.maximum_length) {
    const auto& logits = step(std::span<const index>(&last, 1), state);
    detail::check_logits("greedy_search", logits, 1);
    detail::log_softmax_row(logits, 0, row);
    const auto best = std::max_element(row.begin(), row.end());
    if (best == row.end() || !std::isfinite(*best)) break;
    h.log_probability += *best;
    last = best - row.begin();
    h.tokens.push_back(last);
    h.ended = last == o.end;
  }
  h.score = detail::score_of(h.log_probability, std::max<index>(index(h.tokens.size()), 1),
                             o.length_exponent);
  return h;
}

/// Beam search: at each length the `beam` most probable extensions of the kept sentences go on;
/// those that end are put aside. At most `beam` sentences, the best first by
///   score = log p / length^exponent.
/// A sentence that reaches the maximal length counts as it is.
///
/// \see Graves, "Sequence Transduction with Recurrent Neural Networks", 2012, Algorithm 1;
///      Sutskever et al., 2014, section 3.2; the normalisation is that of Wu et al., 2016, section
///      7, with the length itself in its numerator.
/// The step is the one of greedy_search(), for up to `beam` sentences at once; before each step the
/// state's select() keeps, reorders and repeats the rows of the sentences that went on. The search
/// stops early only when nothing that is left can become one of the results. Ties go to the
/// sentence that ranked higher before, then to the smaller token. With beam = 1 it finds what
/// greedy_search() finds, with beam ≥ vocabulary^maximum_length the most probable of all sentences.
/// Empty if no token is possible. Cost: maximum_length steps, and sorting beam·vocabulary numbers
/// in each.
template <search_state State, class Step>
[[nodiscard]] std::vector<hypothesis> beam_search(State state, const Step& step,
                                                  const search_options& o) {
  detail::check_search("beam_search", o);
  detail::token_tree<detail::later<State, index>> tree;
  detail::ranking<detail::later<State, hypothesis>> found(o.beam);
  using numbers = std::vector<detail::later<State, index>>;
  numbers nodes{-1}, last{o.begin}, parents;
  std::vector<detail::later<State, double>> so_far{0};
  const auto put_aside = [&](index node, index length, double log_probability, bool ended) {
    found.add({tree.sentence(node), log_probability,
               detail::score_of(log_probability, length, o.length_exponent), ended});
  };
  for (index length = 1; !last.empty() && length <= o.maximum_length; ++length) {
    const auto& logits = step(std::span<const index>(last), state);
    detail::check_logits("beam_search", logits, last.size());
    const auto best = detail::best_extensions(logits, so_far, o.beam);
    const numbers before = nodes;
    nodes.clear();
    last.clear();
    so_far.clear();
    parents.clear();
    for (const detail::extension& e : best) {
      const index node = tree.add(before[std::size_t(e.parent)], e.token);
      const bool ended = e.token == o.end;
      if (ended || length == o.maximum_length) {
        put_aside(node, length, e.log_probability, ended);
        continue;
      }
      nodes.push_back(node);
      last.push_back(e.token);
      so_far.push_back(e.log_probability);
      parents.push_back(e.parent);
    }
    if (last.empty()) break;
    // log p only falls, and the longest sentence divides it by most.
    const double reachable = detail::score_of(so_far.front(), o.maximum_length, o.length_exponent);
    if (found.beats(reachable)) break;
    state.select(std::span<const index>(parents));
  }
  return found.take();
}

/// \}

SOFTLOOK_NAMESPACE_END
