#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <softlook/attention/hard.hpp>
#include <softlook/gradients.hpp>
#include <softlook/mask/documents.hpp>

#include "examples/training/cross_entropy.hpp"
#include "examples/training/random.hpp"

// A row of cells, each with a symbol and a digit: which digit is in the cell with the symbol that
// is asked for? Of the cells' symbols one is that one.

namespace search {

using softlook::index;
template <class T>
using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct sizes {
  index symbols = 20;
  index digits = 10;
  index cells = 12;  ///< of a row
  index features = 16;
};

/// Rows one behind the other: one call for all, in which a query sees the cells of its own row.
struct problems {
  index cells = 0;
  std::vector<std::int32_t> cue, wanted, place;  ///< of each row; place: the cell asked for
  std::vector<std::int32_t> symbol, digit;       ///< of each cell
  std::vector<std::int32_t> of_query, of_cell;   ///< the number of the row

  [[nodiscard]] index count() const { return index(cue.size()); }
  [[nodiscard]] softlook::masks::documents mask() const { return {of_query, of_cell}; }
};

inline problems draw(const sizes& s, index count, examples::generator& random) {
  const auto below = [&random](index n) { return std::int32_t(random.below(n)); };
  problems p;
  p.cells = s.cells;
  for (std::int32_t row = 0; row < count; ++row) {
    p.cue.push_back(below(s.symbols));
    p.place.push_back(below(s.cells));
    p.of_query.push_back(row);
    for (std::int32_t cell = 0; cell < s.cells; ++cell) {
      const std::int32_t other =
          (p.cue.back() + 1 + below(s.symbols - 1)) % std::int32_t(s.symbols);
      p.symbol.push_back(cell == p.place.back() ? p.cue.back() : other);
      p.digit.push_back(below(s.digits));
      p.of_cell.push_back(row);
      if (cell == p.place.back()) p.wanted.push_back(p.digit.back());
    }
  }
  return p;
}

/// q = a row of `cue`, k_j = a row of `symbol`, v_j = a row of `digit`, each learned:
///   o = attention(q, K, V),  logits = o·W + b
template <class T>
struct parameters {
  softlook::token_embedding_parameters<T> cue{}, symbol{}, digit{};
  softlook::linear_parameters<T> output{};

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("cue", p.cue...);
    f("symbol", p.symbol...);
    f("digit", p.digit...);
    f("output", p.output...);
  }
};

template <class T>
parameters<T> first_weights(const sizes& s, examples::generator& random) {
  parameters<T> p;
  const auto fill = [&](auto& W, index rows, index cols, double deviation) {
    W.resize(rows, cols);
    examples::fill_normal(W, deviation, random);
  };
  fill(p.cue.tokens, s.symbols, s.features, 0.5);
  fill(p.symbol.tokens, s.symbols, s.features, 0.5);
  fill(p.digit.tokens, s.digits, s.features, 0.5);
  fill(p.output.W, s.features, s.digits, 1 / std::sqrt(double(s.features)));
  p.output.b.setZero(s.digits);
  return p;
}

/// What a step has in mind between its way forward and its way back.
template <class T>
struct saved {
  softlook::saved_token_embedding<T> Q{}, K{}, V{};
  softlook::saved_linear<T> output{};
};

/// Queries, keys and values.
template <class T>
void embed(const parameters<T>& p, const problems& of, saved<T>& s) {
  softlook::token_embedding_forward(p.cue, std::span<const std::int32_t>(of.cue), s.Q);
  softlook::token_embedding_forward(p.symbol, std::span<const std::int32_t>(of.symbol), s.K);
  softlook::token_embedding_forward(p.digit, std::span<const std::int32_t>(of.digit), s.V);
}
template <class T, class Gradients>
void embed_back(const parameters<T>& p, const saved<T>& s, const Gradients& of,
                parameters<T>& gradients) {
  softlook::token_embedding_backward(p.cue, s.Q, of.dQ, gradients.cue);
  softlook::token_embedding_backward(p.symbol, s.K, of.dK, gradients.symbol);
  softlook::token_embedding_backward(p.digit, s.V, of.dV, gradients.digit);
}

struct outcome {
  double loss = 0;   ///< mean cross-entropy
  double right = 0;  ///< share of rows whose digit is the most probable one
  double found = 0;  ///< share of rows whose cell got the largest weight, or was chosen
};

/// Soft attention: a mixture of all cells' digits, whose weights have derivatives. Gradients, where
/// asked for, are added to.
template <class T>
outcome soft(const parameters<T>& p, const problems& of, parameters<T>* gradients) {
  constexpr auto none = softlook::activation::none;
  saved<T> s;
  embed(p, of, s);
  const auto mask = of.mask();
  const auto state = softlook::attention_with_log_sum_exp(s.Q.Y, s.K.Y, s.V.Y, mask);
  const auto& logits = softlook::linear_forward(p.output, state.output, s.output, none);
  matrix<T> dlogits;
  const auto told = examples::cross_entropy(logits, of.wanted, gradients ? &dlogits : nullptr);
  outcome o{told.loss, double(told.correct) / double(of.count()), 0};
  if (!gradients) {
    const auto P = softlook::attention_weights(s.Q.Y, s.K.Y, mask);
    for (index i = 0; i < of.count(); ++i) {
      index most = 0;
      P.row(i).maxCoeff(&most);
      o.found += most - i * of.cells == of.place[std::size_t(i)] ? 1.0 / double(of.count()) : 0;
    }
    return o;
  }
  const auto& dO = softlook::linear_backward(p.output, s.output, dlogits, gradients->output, none);
  embed_back(
      p, s,
      softlook::attention_backward(s.Q.Y, s.K.Y, s.V.Y, state.output, state.log_sum_exp, dO, mask),
      *gradients);
  return o;
}

/// How hard attention is trained.
struct reinforce {
  softlook::moving_baseline baseline{};
  double entropy = 0.02;   ///< how much a wide choice is worth
  std::uint64_t seed = 1;  ///< of the choices
};

/// Hard attention: the digit of one cell that is drawn. The weights that make a choice probable
/// learn from rewards, r_i = ln p(wanted digit | the chosen cell); all others as usual.
///   d ln p_i = −(r_i − b)/n,   and −λ/n for each entropy
/// \see Xu et al., "Show, Attend and Tell", 2015, Eq. (12).
template <class T>
outcome hard(const parameters<T>& p, const problems& of, reinforce& how, parameters<T>& gradients) {
  constexpr auto none = softlook::activation::none;
  saved<T> s;
  embed(p, of, s);
  const auto mask = of.mask();
  const index n = of.count();
  const auto chosen = softlook::hard_attention(
      s.Q.Y, s.K.Y, s.V.Y, softlook::selections::sample{.seed = how.seed++}, mask);
  const auto& logits = softlook::linear_forward(p.output, chosen.output, s.output, none);
  matrix<T> dlogits;
  const auto told = examples::cross_entropy(logits, of.wanted, &dlogits);
  outcome o{told.loss, double(told.correct) / double(n), 0};
  matrix<T> dlog(n, 1);
  double mean_reward = 0;
  for (index i = 0; i < n; ++i) {
    const std::int32_t label = of.wanted[std::size_t(i)];
    // dlogits are (p − 1)/n at the label.
    const double reward = std::log(std::max(1e-9, 1 + double(n) * double(dlogits(i, label))));
    dlog(i, 0) = T(-(reward - how.baseline.value) / double(n));
    mean_reward += reward / double(n);
    o.found += chosen.choice(i) - i * of.cells == of.place[std::size_t(i)] ? 1 / double(n) : 0;
  }
  (void)how.baseline.advantage(mean_reward);
  const auto& dO = softlook::linear_backward(p.output, s.output, dlogits, gradients.output, none);
  auto g = softlook::hard_attention_backward(s.Q.Y, s.K.Y, s.V.Y, chosen.choice, dO, dlog, mask);
  const matrix<T> dH = matrix<T>::Constant(n, 1, T(-how.entropy / double(n)));
  const auto wide = softlook::weight_entropies_backward(s.Q.Y, s.K.Y, dH, mask);
  g.dQ += wide.dQ;
  g.dK += wide.dK;
  embed_back(p, s, g, gradients);
  return o;
}

/// Of the most probable cell, as one uses hard attention after training.
template <class T>
outcome hard(const parameters<T>& p, const problems& of) {
  saved<T> s;
  embed(p, of, s);
  const auto chosen =
      softlook::hard_attention(s.Q.Y, s.K.Y, s.V.Y, softlook::selections::argmax{}, of.mask());
  const auto& logits =
      softlook::linear_forward(p.output, chosen.output, s.output, softlook::activation::none);
  const auto told = examples::cross_entropy(logits, of.wanted);
  outcome o{told.loss, double(told.correct) / double(of.count()), 0};
  for (index i = 0; i < of.count(); ++i)
    o.found +=
        chosen.choice(i) - i * of.cells == of.place[std::size_t(i)] ? 1.0 / double(of.count()) : 0;
  return o;
}

}  // namespace search
