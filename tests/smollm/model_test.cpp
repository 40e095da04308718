#include "examples/smollm/model.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "examples/smollm/conversation.hpp"
#include "examples/smollm/page.hpp"
#include "tests/smollm/file.hpp"

namespace smollm::model_test {
namespace {

using smollm_test::file_writer;
using smollm_test::vocabulary;
using real_matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A model of random numbers: two layers, four query heads of 6 features that share two.
class tiny_model {
 public:
  static constexpr int features = 24, hidden = 40, layers = 2, heads = 4, kv = 2, head = 6;
  static constexpr int context = 700;
  static constexpr double epsilon = 1e-5, base = 1000;

  explicit tiny_model(const std::string& without = {}, double head_count = heads) {
    const vocabulary v({{"h", "e"}, {"l", "l"}, {"he", "ll"}});
    file_writer w;
    v.write(w);
    w.text("general.architecture", "llama");
    const auto number = [&](const std::string& key, double x) {
      if (key != without) w.value("llama." + key, 4, static_cast<std::uint32_t>(x));
    };
    number("embedding_length", features);
    number("feed_forward_length", hidden);
    number("block_count", layers);
    number("attention.head_count", head_count);
    number("attention.head_count_kv", kv);
    number("context_length", context);
    w.value("llama.attention.layer_norm_rms_epsilon", 6, float(epsilon));
    w.value("llama.rope.freq_base", 6, float(base));
    tokens = static_cast<int>(v.tokens.size());
    add(w, "token_embd.weight", tokens, features, 1);
    add(w, "output_norm.weight", 1, features, 1);
    for (int l = 0; l < layers; ++l) {
      const std::string layer = "blk." + std::to_string(l) + '.';
      add(w, layer + "attn_norm.weight", 1, features, 1);
      add(w, layer + "ffn_norm.weight", 1, features, 1);
      add(w, layer + "attn_q.weight", heads * head, features, 0.4);
      add(w, layer + "attn_k.weight", kv * head, features, 0.4);
      add(w, layer + "attn_v.weight", kv * head, features, 0.4);
      add(w, layer + "attn_output.weight", features, heads * head, 0.4);
      add(w, layer + "ffn_gate.weight", hidden, features, 0.4);
      add(w, layer + "ffn_up.weight", hidden, features, 0.4);
      if (without != "ffn_down") add(w, layer + "ffn_down.weight", features, hidden, 0.4);
    }
    bytes = w.file();
  }

  gguf file() const { return {bytes, "it"}; }
  /// Scores of what follows the last of these tokens, by the formulas, in double.
  Eigen::RowVectorXd next(const std::vector<int>& ids, real_matrix* looks = nullptr) const {
    const auto n = static_cast<int>(ids.size());
    real_matrix x(n, features);
    for (int i = 0; i < n; ++i) x.row(i) = of("token_embd.weight").row(ids[std::size_t(i)]);
    for (int l = 0; l < layers; ++l) {
      const std::string layer = "blk." + std::to_string(l) + '.';
      const auto W = [&](const char* name) { return of(layer + name + ".weight").transpose(); };
      const real_matrix h = norm(x, of(layer + "attn_norm.weight"));
      const real_matrix q = turned(h * W("attn_q")), k = turned(h * W("attn_k"));
      const real_matrix v = h * W("attn_v");
      real_matrix out = real_matrix::Zero(n, heads * head);
      for (int a = 0; a < heads; ++a) {
        const int b = a / (heads / kv);
        for (int i = 0; i < n; ++i) {
          Eigen::RowVectorXd p(i + 1);
          for (int j = 0; j <= i; ++j)
            p[j] = std::exp(q.row(i).segment(a * head, head).dot(k.row(j).segment(b * head, head)) /
                            std::sqrt(double(head)));
          p /= p.sum();
          for (int j = 0; j <= i; ++j)
            out.row(i).segment(a * head, head) += p[j] * v.row(j).segment(b * head, head);
          if (looks && l == 1 && a == 3) {
            looks->conservativeResize(n, n);
            looks->row(i).setZero();
            looks->row(i).head(i + 1) = p;
          }
        }
      }
      x += out * W("attn_output");
      const real_matrix g = norm(x, of(layer + "ffn_norm.weight")), gate = g * W("ffn_gate");
      const real_matrix up = g * W("ffn_up");
      real_matrix hid(n, hidden);
      for (int i = 0; i < n; ++i)
        for (int c = 0; c < hidden; ++c)
          hid(i, c) = gate(i, c) / (1 + std::exp(-gate(i, c))) * up(i, c);
      x += hid * W("ffn_down");
    }
    return norm(x, of("output_norm.weight")).row(n - 1) * of("token_embd.weight").transpose();
  }

  int tokens = 0;
  std::vector<std::byte> bytes;

 private:
  void add(file_writer& w, const std::string& name, int rows, int cols, double size) {
    real_matrix& m = matrices_[name];
    m.resize(rows, cols);
    std::vector<float> numbers;
    for (int i = 0; i < rows; ++i)
      for (int c = 0; c < cols; ++c) {
        const auto x = float(size * (double(random_() % 20001) / 10000 - 1));
        numbers.push_back(x);
        m(i, c) = x;
      }
    w.floats(name, {std::uint64_t(cols), std::uint64_t(rows)}, numbers);
  }
  const real_matrix& of(const std::string& name) const { return matrices_.at(name); }
  static real_matrix norm(const real_matrix& x, const real_matrix& gain) {
    real_matrix y = x;
    for (int i = 0; i < x.rows(); ++i) {
      const double root = std::sqrt(x.row(i).squaredNorm() / features + epsilon);
      for (int c = 0; c < features; ++c) y(i, c) = gain(0, c) * x(i, c) / root;
    }
    return y;
  }
  static real_matrix turned(const real_matrix& x) {
    real_matrix y = x;
    for (int i = 0; i < x.rows(); ++i)
      for (int c = 0; c < x.cols(); c += 2) {
        const double angle = i * std::pow(base, -double(c % head) / head);
        y(i, c) = x(i, c) * std::cos(angle) - x(i, c + 1) * std::sin(angle);
        y(i, c + 1) = x(i, c + 1) * std::cos(angle) + x(i, c) * std::sin(angle);
      }
    return y;
  }

  std::map<std::string, real_matrix> matrices_;
  std::mt19937 random_{3031};
};

const kept_weights exact{softlook::weight_storage::exact, softlook::weight_storage::exact};

TEST(LanguageModel, IsItsFormulas) {
  const tiny_model tiny;
  const language_model model(tiny.file(), exact);
  const language_model::pool threads(2);
  EXPECT_EQ(model.layers(), 2);
  EXPECT_EQ(model.heads(), 4);
  EXPECT_EQ(model.context(), 700);
  const std::vector<int> ids = {1, 50, 200, 7, 259, 260, 50};
  auto seen = model.start();
  std::vector<int> so_far;
  // The first four at once, then one by one.
  for (const std::size_t count : {4U, 1U, 1U, 1U}) {
    const auto part = std::span(ids).subspan(so_far.size(), count);
    so_far.insert(so_far.end(), part.begin(), part.end());
    const Eigen::RowVectorXf scores = model.next(part, seen, threads);
    const Eigen::RowVectorXd truth = tiny.next(so_far);
    ASSERT_TRUE(scores.allFinite());
    EXPECT_LE((scores.cast<double>() - truth).cwiseAbs().maxCoeff(),
              1e-5 * truth.cwiseAbs().maxCoeff());
  }
  EXPECT_EQ(seen.rows(), 7);
  real_matrix truth;
  (void)tiny.next(ids, &truth);
  auto two = model.start();
  (void)model.next(std::span(ids).first(2), two, threads);
  const auto looks = model.looks(std::span(ids).subspan(2), two, threads);
  ASSERT_EQ(looks.size(), 2u);
  ASSERT_EQ(looks[1].size(), 4u);
  EXPECT_LE((looks[1][3].cast<double>() - truth.bottomRows(5)).cwiseAbs().maxCoeff(), 1e-5);
}

TEST(LanguageModel, TakesLongTextsInPieces) {
  const tiny_model tiny;
  const language_model model(tiny.file(), exact);
  const language_model::pool threads(1);
  std::vector<int> ids;
  for (int k = 0; k < 600; ++k) ids.push_back(k * k % tiny.tokens);
  auto seen = model.start();
  const Eigen::RowVectorXf scores = model.next(ids, seen, threads);
  const Eigen::RowVectorXd truth = tiny.next(ids);
  EXPECT_LE((scores.cast<double>() - truth).cwiseAbs().maxCoeff(),
            2e-5 * truth.cwiseAbs().maxCoeff());
}

TEST(LanguageModel, KeepsItsWeightsInFewerBytes) {
  const tiny_model tiny;
  const language_model::pool threads(1);
  const std::vector<int> ids = {1, 50, 200};
  const Eigen::RowVectorXd truth = tiny.next(ids);
  std::size_t before = language_model(tiny.file(), exact).weight_bytes();
  for (const auto s : {softlook::weight_storage::bfloat16, softlook::weight_storage::int8}) {
    const language_model model(tiny.file(), {s, s});
    EXPECT_LT(model.weight_bytes(), before);
    before = model.weight_bytes();
    auto seen = model.start();
    EXPECT_LE((model.next(ids, seen, threads).cast<double>() - truth).cwiseAbs().maxCoeff(),
              0.05 * truth.cwiseAbs().maxCoeff());
  }
}

TEST(LanguageModel, MultipliesRoundedNumbersWhereItIsAsked) {
  const tiny_model tiny;
  const language_model::pool threads(2);
  const std::vector<int> ids = {1, 50, 200, 7};
  const Eigen::RowVectorXd truth = tiny.next(ids);
  for (const char* kept : {"bfloat16", "int8"}) {
    const auto format = format_named(kept, true);
    const language_model model(tiny.file(), {format, format});
    EXPECT_EQ(name_of(format.storage()), std::string_view(kept));
    auto seen = model.start();
    const Eigen::RowVectorXf scores = model.next(ids, seen, threads);
    ASSERT_TRUE(scores.allFinite());
    EXPECT_LE((scores.cast<double>() - truth).cwiseAbs().maxCoeff(),
              0.1 * truth.cwiseAbs().maxCoeff());
  }
  EXPECT_THROW((void)format_named("exact", true), std::invalid_argument);
  EXPECT_THROW((void)format_named("int4", false), std::invalid_argument);
}

TEST(LanguageModel, RefusesWhatItCannotTake) {
  const tiny_model tiny;
  const language_model model(tiny.file(), exact);
  const language_model::pool threads(1);
  auto seen = model.start();
  const std::vector<int> outside = {tiny.tokens}, negative = {-1}, none, many(701, 5);
  for (const auto* ids : {&outside, &negative, &none, &many})
    EXPECT_THROW((void)model.next(*ids, seen, threads), std::invalid_argument);
  EXPECT_EQ(seen.rows(), 0);
  for (const char* without : {"embedding_length", "block_count", "context_length", "ffn_down"})
    EXPECT_THROW(language_model(tiny_model(without).file(), exact), model_error) << without;
  EXPECT_THROW(language_model(tiny_model("", 5).file(), exact), model_error);
  EXPECT_THROW(language_model(tiny_model("", 0).file(), exact), model_error);
}

TEST(Conversation, ReadsOnlyWhatIsNew) {
  const tiny_model tiny;
  const language_model model(tiny.file(), exact);
  const language_model::pool threads(1);
  const sampling how{.greedy = true};
  conversation talk(model, threads, how, "be brief");
  std::string shown;
  const auto show = [&](std::string_view text) {
    shown += text;
    return true;
  };
  const answer first = talk.ask("hello", 5, show);
  EXPECT_EQ(first.tokens, talk.answer_size());
  EXPECT_EQ(first.prompt_tokens, talk.answer_begin());
  const std::vector<int> said = talk.tokens();
  EXPECT_EQ(said.back(), model.tokenizer().special("<|im_end|>"));
  EXPECT_EQ(std::vector<int>(said.begin(), said.begin() + std::ptrdiff_t(first.prompt_tokens)),
            model.tokenizer().encode_with_specials(
                "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n"
                "<|im_start|>assistant\n"));
  const answer second = talk.ask("hell", 5, show);
  EXPECT_LT(second.prompt_tokens, first.prompt_tokens + 3);
  // The same tokens without a cache in between.
  auto seen = model.start();
  const auto upto = std::span(talk.tokens()).first(talk.answer_begin());
  Eigen::Index best = 0;
  model.next(upto, seen, threads).maxCoeff(&best);
  if (talk.answer_size() > 0) {
    EXPECT_EQ(talk.tokens()[talk.answer_begin()], best);
  }
  if (talk.answer_size() > 1) {
    const auto looks = talk.looks(1, 1);
    ASSERT_EQ(looks[0][0].cols(), Eigen::Index(talk.answer_begin()) + 1);
    EXPECT_NEAR(looks[0][0].sum(), 1, 1e-5);
  }
  EXPECT_THROW((void)talk.looks(0, 6), std::out_of_range);
  EXPECT_THROW((void)talk.ask(std::string(1000, 'x'), 5, show), std::length_error);
  talk.clear();
  EXPECT_EQ(talk.ask("hello", 5, show).prompt_tokens, first.prompt_tokens);
}

TEST(Conversation, StopsWhenAskedTo) {
  const tiny_model tiny;
  const language_model model(tiny.file(), exact);
  const language_model::pool threads(1);
  conversation talk(model, threads, {.greedy = true});
  EXPECT_LE(talk.ask("hello", 50, [](std::string_view) { return false; }).tokens, 1u);
  EXPECT_LE(talk.ask("hello", 0, [](std::string_view) { return true; }).tokens, 0u);
}

TEST(Page, OfALongAnswerHasMeansAndTheStrongestKeysOfItsWeights) {
  const tiny_model tiny;
  const language_model model(tiny.file(), exact);
  const language_model::pool threads(2);
  conversation talk(model, threads, {.temperature = 50, .top_p = 1, .seed = 7});
  while (talk.answer_size() < 150) {  // every token is about as likely
    talk.clear();
    (void)talk.ask("hello", 150, [](std::string_view) { return true; });
  }
  const auto looks = talk.looks(0, 150);
  const Eigen::Index keys = looks[0][0].cols();
  ASSERT_GT(keys, 200);
  const softlook::inspect::report whole = looks_of_answer(model, talk, "whole", 1 << 30);
  const softlook::inspect::report page = looks_of_answer(model, talk, "page", 1);
  ASSERT_EQ(whole.maps().size(), 8u);
  ASSERT_EQ(page.maps().size(), 8u);
  EXPECT_EQ(page.queries(), whole.queries());
  EXPECT_EQ(page.keys(), whole.keys());
  for (std::size_t head = 0; head < 8; ++head) {
    const Eigen::MatrixXd all = looks[head / 4][head % 4].cast<double>();
    EXPECT_LE((whole.maps()[head] - all).cwiseAbs().maxCoeff(), 1e-5);
    const Eigen::MatrixXd& means = page.maps()[head];
    for (Eigen::Index r = 0; r < 128; r += 17)
      for (Eigen::Index k = 0; k < 128; k += 13) {
        const Eigen::Index top = r * 150 / 128, left = k * keys / 128;
        const auto block =
            all.block(top, left, (r + 1) * 150 / 128 - top, (k + 1) * keys / 128 - left);
        EXPECT_NEAR(means(r, k), block.mean(), 1e-5) << head << " " << r << " " << k;
      }
    const auto& map = page.long_maps()[head];
    for (Eigen::Index i = 0; i < 150; ++i) {
      const auto key = map.strongest_keys()[std::size_t(i * 8)];
      EXPECT_NEAR(map.strongest_weights()(i, 0), all.row(i).maxCoeff(), 1e-5);
      EXPECT_NEAR(all(i, key), all.row(i).maxCoeff(), 1e-5);
    }
  }
}

TEST(Sampler, DrawsByTheProbabilities) {
  Eigen::RowVectorXf scores(5);
  scores << 0.0f, 2.0f, 1.0f, -50.0f, 2.0f;
  EXPECT_EQ(sampler({.greedy = true})(scores), 1);
  sampler all({.temperature = 1, .top_p = 1, .seed = 5});
  std::vector<double> counts(5);
  constexpr int rounds = 20000;
  for (int k = 0; k < rounds; ++k) counts[std::size_t(all(scores))] += 1.0 / rounds;
  const double sum = 1 + 2 * std::exp(2.0) + std::exp(1.0);
  EXPECT_NEAR(counts[0], 1 / sum, 0.015);
  EXPECT_NEAR(counts[1], std::exp(2.0) / sum, 0.015);
  EXPECT_NEAR(counts[2], std::exp(1.0) / sum, 0.015);
  EXPECT_EQ(counts[3], 0);
  sampler likely({.temperature = 1, .top_p = 0.75, .seed = 5});
  sampler same({.temperature = 1, .top_p = 0.75, .seed = 5});
  for (int k = 0; k < 1000; ++k) {
    const int drawn = likely(scores);
    EXPECT_TRUE(drawn == 1 || drawn == 4) << drawn;
    EXPECT_EQ(same(scores), drawn);
  }
  EXPECT_THROW(sampler({.temperature = 0}), std::invalid_argument);
  EXPECT_THROW(sampler({.top_p = 1.5}), std::invalid_argument);
  EXPECT_THROW(sampler({.top_p = 0}), std::invalid_argument);
}

}  // namespace
}  // namespace smollm::model_test
