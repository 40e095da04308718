#include "softlook/seq2seq.hpp"

#include <gtest/gtest.h>

#include "tests/oracle/recurrent.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"

namespace softlook::models_test {
namespace {

using namespace softlook_test;
using oracle::real;
using tokens = std::vector<index>;

oracle::matrix tanh_of(oracle::matrix X) {
  for (index k = 0; k < X.size(); ++k) X.data()[k] = std::tanh(X.data()[k]);
  return X;
}

oracle::matrix beside(const oracle::matrix& A, const oracle::matrix& B) {
  oracle::matrix both(A.rows(), A.cols() + B.cols());
  both << A, B;
  return both;
}

template <class E>
oracle::matrix row_of(const E& embedding, index token) {
  return oracle::widen(embedding.row(token));
}

/// One step of the GRU of appendix A: the reset gate acts before the product.
template <class T>
oracle::matrix gru(const oracle::matrix& x, const oracle::matrix& h, const gru_parameters<T>& p) {
  return oracle::gru(x, h, p, gru_reset::before_product);
}

struct attended {
  oracle::matrix context, weights;
};
/// Softmax of the scores, and the mixture of the rows of the memory.
attended mixture(const std::vector<real>& scores, const oracle::matrix& memory) {
  attended a{oracle::matrix::Zero(1, memory.cols()), oracle::matrix(1, memory.rows())};
  real sum = 0;
  for (const real s : scores) sum += std::exp(s);
  for (index j = 0; j < memory.rows(); ++j) {
    a.weights(0, j) = std::exp(scores[std::size_t(j)]) / sum;
    for (index c = 0; c < memory.cols(); ++c) a.context(0, c) += a.weights(0, j) * memory(j, c);
  }
  return a;
}

struct truth {
  oracle::matrix logits, weights;  ///< a row for each step
};

/// Appendix A.2, with the target given.
template <class T>
truth bahdanau(const bahdanau_parameters<T>& p, const tokens& source, const tokens& target) {
  const index m = index(source.size()), u = p.forward.Wh.rows();
  oracle::matrix memory(m, 2 * u), h = oracle::matrix::Zero(1, u);
  for (index j = 0; j < m; ++j)
    memory.row(j).head(u) = h =
        gru(row_of(p.source_embedding, source[std::size_t(j)]), h, p.forward);
  h.setZero();
  for (index j = m - 1; j >= 0; --j)
    memory.row(j).tail(u) = h =
        gru(row_of(p.source_embedding, source[std::size_t(j)]), h, p.backward);
  oracle::matrix s = tanh_of(oracle::linear(h, oracle::widen(p.Ws), oracle::widen(p.bs)));
  const oracle::matrix keys = oracle::product(memory, oracle::widen(p.attention.Wk));
  truth t{oracle::matrix(index(target.size()), p.Wo.cols()),
          oracle::matrix(index(target.size()), m)};
  for (index i = 0; i < t.logits.rows(); ++i) {
    const oracle::matrix query = oracle::product(s, oracle::widen(p.attention.Wq));
    std::vector<real> scores;
    for (index j = 0; j < m; ++j) {
      real e = 0;
      for (index a = 0; a < query.cols(); ++a)
        e += real(p.attention.v(a)) * std::tanh(query(0, a) + keys(j, a));
      scores.push_back(e);
    }
    const attended seen = mixture(scores, memory);
    const oracle::matrix in =
        beside(row_of(p.target_embedding, target[std::size_t(i)]), seen.context);
    const oracle::matrix pairs =
        oracle::linear(beside(s, in), oracle::widen(p.readout), oracle::widen(p.b_readout));
    oracle::matrix most(1, pairs.cols() / 2);
    for (index c = 0; c < most.cols(); ++c)
      most(0, c) = std::max(pairs(0, 2 * c), pairs(0, 2 * c + 1));
    t.logits.row(i) = oracle::linear(most, oracle::widen(p.Wo), oracle::widen(p.bo));
    t.weights.row(i) = seen.weights;
    s = gru(in, s, p.decoder);
  }
  return t;
}

/// Luong's global attention with the score `general` (q·W·kᵀ) and input feeding.
template <class T, class W>
truth luong(const luong_parameters<T>& p, const W& score, const tokens& source,
            const tokens& target) {
  const index m = index(source.size());
  std::vector<oracle::lstm_truth> layers;
  for (const auto& l : p.encoder)
    layers.push_back({oracle::matrix::Zero(1, l.Wh.rows()), oracle::matrix::Zero(1, l.Wh.rows())});
  oracle::matrix memory(m, p.encoder.back().Wh.rows());
  for (index j = 0; j < m; ++j) {
    oracle::matrix x = row_of(p.source_embedding, source[std::size_t(j)]);
    for (std::size_t l = 0; l < layers.size(); ++l) {
      layers[l] = oracle::lstm(x, layers[l], p.encoder[l]);
      x = layers[l].hidden;
    }
    memory.row(j) = x;
  }
  if (p.start == luong_start::zero) {
    layers.clear();
    for (const auto& l : p.decoder)
      layers.push_back(
          {oracle::matrix::Zero(1, l.Wh.rows()), oracle::matrix::Zero(1, l.Wh.rows())});
  }
  oracle::matrix fed = oracle::matrix::Zero(1, p.Wc.cols());
  truth t{oracle::matrix(index(target.size()), p.Wo.cols()),
          oracle::matrix(index(target.size()), m)};
  for (index i = 0; i < t.logits.rows(); ++i) {
    oracle::matrix x = beside(row_of(p.target_embedding, target[std::size_t(i)]), fed);
    for (std::size_t l = 0; l < layers.size(); ++l) {
      layers[l] = oracle::lstm(x, layers[l], p.decoder[l]);
      x = layers[l].hidden;
    }
    const oracle::matrix query = oracle::product(x, oracle::widen(score));
    std::vector<real> scores;
    for (index j = 0; j < m; ++j) scores.push_back(oracle::inner_product(query, 0, memory, j));
    const attended seen = mixture(scores, memory);
    fed = oracle::linear(beside(seen.context, x), oracle::widen(p.Wc), oracle::widen(p.bc));
    if (p.squash) fed = tanh_of(fed);
    t.logits.row(i) = oracle::linear(fed, oracle::widen(p.Wo), oracle::widen(p.bo));
    t.weights.row(i) = seen.weights;
  }
  return t;
}

/// A recurrence of `steps` steps, each of sums of `terms` terms; a step may double what the state
/// was off by.
template <class T>
double recurrent_bound(index terms, index steps) {
  return std::ldexp(double(16 + terms), int(steps)) * epsilon_of<T>();
}

template <class T>
class Seq2Seq : public ::testing::Test {
 protected:
  static constexpr index source_words = 11, target_words = 6, embedding = 4, units = 5, hidden = 7;
  const tokens source{3, 1, 4, 1, 5, 9}, target{5, 0, 2, 2};
  generator random = seed(1213);

  row_major<T> matrix(index rows, index cols, double scale = 0) {
    return random_matrix<row_major<T>>(rows, cols, random,
                                       scale > 0 ? scale : 1 / std::sqrt(double(rows)));
  }
  template <class Parameters>
  Parameters cell(index inputs, index gates) {
    Parameters p;
    p.Wx = matrix(inputs, gates * units);
    p.Wh = matrix(units, gates * units);
    p.bx = matrix(1, gates * units, 0.3);
    p.bh = matrix(1, gates * units, 0.3);
    if constexpr (requires { p.reset; }) p.reset = gru_reset::before_product;
    return p;
  }
  bahdanau_parameters<T> bahdanau_weights() {
    bahdanau_parameters<T> p;
    p.source_embedding = matrix(source_words, embedding, 1);
    p.target_embedding = matrix(target_words, embedding, 1);
    p.forward = cell<gru_parameters<T>>(embedding, 3);
    p.backward = cell<gru_parameters<T>>(embedding, 3);
    p.Ws = matrix(units, units);
    p.bs = matrix(1, units, 0.3);
    p.attention.Wq = matrix(units, hidden);
    p.attention.Wk = matrix(2 * units, hidden);
    p.attention.v = matrix(1, hidden, 2).transpose();
    p.decoder = cell<gru_parameters<T>>(embedding + 2 * units, 3);
    p.readout = matrix(units + embedding + 2 * units, 6);
    p.b_readout = matrix(1, 6, 0.3);
    p.Wo = matrix(3, target_words, 3);
    p.bo = matrix(1, target_words, 0.3);
    return p;
  }
  luong_parameters<T> luong_weights(const row_major<T>& score) {
    luong_parameters<T> p;
    p.source_embedding = matrix(source_words, embedding, 1);
    p.target_embedding = matrix(target_words, embedding, 1);
    p.encoder = {cell<lstm_parameters<T>>(embedding, 4), cell<lstm_parameters<T>>(units, 4)};
    p.decoder = {cell<lstm_parameters<T>>(embedding + 8, 4), cell<lstm_parameters<T>>(units, 4)};
    p.attention = luong_attention<T>(scores::general{score});
    p.Wc = matrix(2 * units, 8);
    p.bc = matrix(1, 8, 0.3);
    p.Wo = matrix(8, target_words, 3);
    return p;
  }

  /// The logits and weights of a given target, through the model's steps.
  template <class Model, class... Ps>
  seq2seq_step<T> forced(const Model& model, const Ps&... policies) const {
    const auto sentence = model.read(source, policies...);
    auto state = model.start(sentence);
    seq2seq_step<T> all{row_major<T>(4, target_words), row_major<T>(4, 6)};
    for (index i = 0; i < 4; ++i) {
      const auto one =
          model.step(sentence, std::span(target).subspan(std::size_t(i), 1), state, policies...);
      all.logits.row(i) = one.logits;
      all.weights.row(i) = one.weights;
    }
    return all;
  }

  /// What holds for any model.
  template <class Model>
  void expect_a_model(const Model& model, const truth& expected, index terms) const {
    const double limit = recurrent_bound<T>(terms, 10);
    on_every_set([&](const options& opts) {
      const auto all = forced(model, opts);
      EXPECT_LE(max_error(all.logits, expected.logits), limit);
      EXPECT_LE(max_error(all.weights, expected.weights), limit);
    });
    const exec::thread_pool pool(3);
    const auto all = forced(model), on_pool = forced(model, pool);
    EXPECT_TRUE(bitwise_equal(all.logits, on_pool.logits));
    EXPECT_TRUE(bitwise_equal(all.weights, on_pool.weights));
    // The first token is fed, the others are what was written after it.
    const tokens written(target.begin() + 1, target.end());
    EXPECT_TRUE(bitwise_equal(alignment(model, source, written, target.front()),
                              row_major<T>(all.weights.topRows(3))));
    expect_search_agrees(model);
    expect_rows_are_sentences(model);
  }

  /// A state of several sentences is several states.
  template <class Model>
  void expect_rows_are_sentences(const Model& model) const {
    const auto sentence = model.read(source);
    auto state = model.start(sentence);
    (void)model.step(sentence, tokens{1}, state);
    auto several = state;
    several.select(std::vector<index>{0, 0, 0});
    const auto together = model.step(sentence, tokens{3, 0, 5}, several);
    several.select(std::vector<index>{2, 0});
    const auto later = model.step(sentence, tokens{1, 2}, several);
    const auto alone = [&](index first, index second, index row) {
      auto one = state;
      const auto a = model.step(sentence, tokens{first}, one);
      const auto b = model.step(sentence, tokens{second}, one);
      const double limit = recurrent_bound<T>(40, 4);
      EXPECT_LE(max_error(b.logits, later.logits.row(row)), limit);
      EXPECT_LE(max_error(b.weights, later.weights.row(row)), limit);
      return a;
    };
    EXPECT_LE(max_error(alone(5, 1, 0).logits, together.logits.row(2)),
              (recurrent_bound<T>(40, 4)));
    EXPECT_LE(max_error(alone(3, 2, 1).logits, together.logits.row(0)),
              (recurrent_bound<T>(40, 4)));
  }

  /// A beam that holds every sentence finds the most probable one; a beam of one is greedy.
  template <class Model>
  void expect_search_agrees(const Model& model) const {
    const search_options all{.begin = 5, .end = 1, .maximum_length = 3, .beam = 6 * 6 * 6};
    const auto found = translate(model, source, all);
    ASSERT_EQ(found.size(), 1u + 5u + 25u * 6u);
    double total = 0;
    for (const hypothesis& h : found) {
      total += std::exp(h.log_probability);
      EXPECT_NEAR(h.log_probability, log_probability(model, h.tokens, 5),
                  (recurrent_bound<T>(40, 4)));
      EXPECT_LE(h.score, found.front().score);
    }
    EXPECT_NEAR(total, 1, (recurrent_bound<T>(40, 6)));  // every sentence once
    search_options one = all;
    one.beam = 1;
    const auto sentence = model.read(source);
    const auto greedy = greedy_search(
        model.start(sentence),
        [&](std::span<const index> last, typename Model::state& s) {
          return model.step(sentence, last, s).logits;
        },
        one);
    EXPECT_EQ(translate(model, source, one).front().tokens, greedy.tokens);
  }

  template <class Model>
  double log_probability(const Model& model, const tokens& written, index begin) const {
    const auto sentence = model.read(source);
    auto state = model.start(sentence);
    double sum = 0;
    index last = begin;
    for (const index token : written) {
      const auto logits = model.step(sentence, tokens{last}, state).logits;
      double total = 0;
      for (index t = 0; t < logits.cols(); ++t) total += std::exp(double(logits(0, t)));
      sum += double(logits(0, token)) - std::log(total);
      last = token;
    }
    return sum;
  }

  template <class Model>
  void expect_errors(const Model& model, const char* name) const {
    const auto sentence = model.read(source);
    auto state = model.start(sentence);
    expect_error<argument_error>([&] { (void)model.read(tokens{}); }, {name, "source.size() is 0"});
    expect_error<argument_error>([&] { (void)model.read(tokens{11}); },
                                 {name, "token is 11", "11"});
    expect_error<argument_error>([&] { (void)model.step(sentence, tokens{-1}, state); },
                                 {name, "token is -1"});
    expect_error<shape_error>([&] { (void)model.step(sentence, tokens{1, 2}, state); },
                              {name, "tokens.size() is 2", "rows of the state is 1"});
  }
};
TYPED_TEST_SUITE(Seq2Seq, scalars, scalar_names);

TYPED_TEST(Seq2Seq, BahdanausModelIsItsAppendix) {
  const auto p = this->bahdanau_weights();
  this->expect_a_model(bahdanau_model<TypeParam>(p), bahdanau(p, this->source, this->target), 20);
}

TYPED_TEST(Seq2Seq, LuongsModelIsItsEquations) {
  const row_major<TypeParam> score = this->matrix(5, 5, 1);
  const auto p = this->luong_weights(score);
  this->expect_a_model(luong_model<TypeParam>(p), luong(p, score, this->source, this->target), 20);
}

TYPED_TEST(Seq2Seq, LuongsDecoderMayBeginAtZeroAndNotBeSquashed) {
  using T = TypeParam;
  const row_major<T> score = this->matrix(5, 5, 1);
  auto p = this->luong_weights(score);
  for (const bool squash : {true, false}) {
    p.squash = squash;
    p.start = luong_start::zero;
    this->expect_a_model(luong_model<T>(p), luong(p, score, this->source, this->target), 20);
  }
  // The stacks need not be alike then.
  p.decoder.pop_back();
  this->expect_a_model(luong_model<T>(p), luong(p, score, this->source, this->target), 20);
  p.start = luong_start::encoder_state;
  expect_error<shape_error>([&] { (void)luong_model<T>(p); }, {"decoder.size() is 1", "is 2"});
  p.start = luong_start::zero;
  p.decoder.clear();
  expect_error<argument_error>([&] { (void)luong_model<T>(p); },
                               {"luong_model", "decoder.size() is 0"});
}

TYPED_TEST(Seq2Seq, ASentenceOfOneTokenIsLookedAtAlone) {
  const bahdanau_model<TypeParam> model(this->bahdanau_weights());
  const auto weights = alignment(model, tokens{2}, tokens{1, 3, 0}, 5);
  ASSERT_EQ(weights.rows(), 3);
  EXPECT_TRUE((weights.array() == 1).all());
  EXPECT_EQ(alignment(model, tokens{2, 3}, tokens{}, 5).rows(), 0);
}

TYPED_TEST(Seq2Seq, RejectsTokensThatDoNotExist) {
  using T = TypeParam;
  this->expect_errors(bahdanau_model<T>(this->bahdanau_weights()), "bahdanau_model");
  this->expect_errors(luong_model<T>(this->luong_weights(this->matrix(5, 5))), "luong_model");
}

TYPED_TEST(Seq2Seq, RejectsPartsThatDoNotFit) {
  using T = TypeParam;
  const auto good = this->bahdanau_weights();
  const auto rejects = [&](const auto& change, std::initializer_list<const char*> pieces) {
    auto p = good;
    change(p);
    expect_error<shape_error>([&] { (void)bahdanau_model<T>(p); }, pieces);
  };
  using parameters = bahdanau_parameters<T>;
  rejects([&](parameters& p) { p.source_embedding = this->matrix(11, 3); },
          {"bahdanau_model", "forward.Wx.rows() is 4", "source_embedding.cols() is 3"});
  rejects([&](parameters& p) { p.target_embedding = this->matrix(6, 3); },
          {"decoder.Wx.rows() is 14", "is 13"});
  rejects([&](parameters& p) { p.attention.Wq = this->matrix(4, 7); },
          {"bahdanau_model: attention.Wq.rows() is 4", "decoder.Wh.rows() is 5"});
  rejects([&](parameters& p) { p.attention.Wk = this->matrix(9, 7); },
          {"bahdanau_model: attention.Wk.rows() is 9", "is 10"});
  rejects([&](parameters& p) { p.attention.v = column<T>::Zero(6); }, {"v.size() is 6", "is 7"});
  rejects([&](parameters& p) { p.Wo = this->matrix(4, 6); }, {"readout.cols() is 6", "is 8"});
  rejects([&](parameters& p) { p.Ws = this->matrix(4, 5); }, {"Ws.rows() is 4", "is 5"});
  auto q = this->luong_weights(this->matrix(5, 5));
  q.decoder.pop_back();
  expect_error<shape_error>([&] { (void)luong_model<T>(q); },
                            {"luong_model", "decoder.size() is 1", "encoder.size() is 2"});
  q.encoder.clear();
  expect_error<argument_error>([&] { (void)luong_model<T>(q); }, {"encoder.size() is 0"});
  q = this->luong_weights(this->matrix(5, 5));
  q.Wo = this->matrix(7, 6);
  expect_error<shape_error>([&] { (void)luong_model<T>(q); }, {"Wo.rows() is 7", "Wc.cols() is 8"});
  q = this->luong_weights(this->matrix(5, 5));
  q.target_embedding = this->matrix(6, 9);
  expect_error<shape_error>([&] { (void)luong_model<T>(q); }, {"decoder.Wx.rows() is 12", "17"});
}

}  // namespace
}  // namespace softlook::models_test
