// A model of few small layers with random weights, written to files as the real ones are, against
// plain loops in long double. The real models' values are in reference.txt.

#include "examples/translator/model.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "examples/support/files.hpp"
#include "tests/support/random.hpp"

namespace model_test {
namespace {

namespace fs = std::filesystem;
using Eigen::Index;
using translator::translation_model;
using real = long double;
using table = Eigen::Matrix<real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr Index features = 8, hidden = 12, heads = 2, words = 9, encoders = 2, decoders = 2;
constexpr float scale = 80;

template <class Number>
std::string bytes_of(Number value) {
  std::string out(sizeof value, '\0');
  examples::put_number(value, reinterpret_cast<std::byte*>(out.data()));
  return out;
}

/// The items of a Marian file, and what they mean.
class weights {
 public:
  weights() {
    integers("Wemb", words, features);
    floats("decoder_ff_logit_out_b", words);
    for (Index l = 1; l <= encoders; ++l) add_layer("encoder_l" + std::to_string(l) + '_', "self");
    for (Index l = 1; l <= decoders; ++l) {
      const std::string part = "decoder_l" + std::to_string(l) + '_';
      add_layer(part, "context");
      integers(part + "rnn_W", features, features);
      integers(part + "rnn_Wf", features, features);
      floats(part + "rnn_bf", features);
      add_norm(part + "rnn_ffn");
    }
  }
  table operator()(const std::string& name) const { return values_.at(name); }

  std::string file() const {
    const std::string settings = "dec-cell: ssru\ndec-depth: " + std::to_string(decoders) +
                                 "\nenc-depth: " + std::to_string(encoders) +
                                 "\ntransformer-decoder-autoreg: rnn\n"
                                 "transformer-ffn-activation: relu\ntransformer-heads: " +
                                 std::to_string(heads) + "\ntype: transformer\n" + '\0';
    std::string headers = bytes_of<std::uint64_t>(1) + bytes_of<std::uint64_t>(values_.size() + 1);
    std::string names, shapes, data;
    const auto add = [&](const std::string& name, std::uint64_t type,
                         const std::vector<std::int32_t>& shape, const std::string& bytes) {
      for (const std::uint64_t n : {std::uint64_t(name.size() + 1), type,
                                    std::uint64_t(shape.size()), std::uint64_t(bytes.size())})
        headers += bytes_of(n);
      names += name + '\0';
      for (const std::int32_t extent : shape) shapes += bytes_of(extent);
      data += bytes;
    };
    for (const auto& [name, m] : values_) {
      const bool is_float = m.rows() == 1;
      std::string bytes;
      const table order = name == "Wemb" || is_float ? m : table(m.transpose());
      for (const real x : order.reshaped<Eigen::RowMajor>())
        bytes += is_float ? bytes_of(float(x)) : std::string(1, char(std::lround(x * scale)));
      if (!is_float) bytes += bytes_of(scale);
      add(name, is_float ? 0x0404 : 0x4101, {std::int32_t(m.rows()), std::int32_t(m.cols())},
          bytes);
    }
    add("special:model.yml", 0x0101, {std::int32_t(settings.size())}, settings);
    return headers + names + shapes + bytes_of<std::uint64_t>(0) + data;
  }

 private:
  void integers(const std::string& name, Index rows, Index cols) {
    table& m = values_[name] = table(rows, cols);
    for (real& x : m.reshaped()) x = real(float(std::lround(random_.uniform(-127, 127))) / scale);
  }
  void floats(const std::string& name, Index size, double mean = 0) {
    table& m = values_[name] = table(1, size);
    for (real& x : m.reshaped()) x = real(float(mean + random_.uniform(-0.5, 0.5)));
  }
  void add_norm(const std::string& name) {
    floats(name + "_ln_scale", features, 1);
    floats(name + "_ln_bias", features);
  }
  void add_layer(const std::string& part, const std::string& attention) {
    for (const char* name : {"q", "k", "v", "o"}) {
      integers(part + attention + "_W" + name, features, features);
      floats(part + attention + "_b" + name, features);
    }
    add_norm(part + attention + "_Wo");
    integers(part + "ffn_W1", features, hidden);
    floats(part + "ffn_b1", hidden);
    integers(part + "ffn_W2", hidden, features);
    floats(part + "ffn_b2", features);
    add_norm(part + "ffn_ffn");
  }

  softlook_test::generator random_ = softlook_test::seed(29);
  std::map<std::string, table> values_;
};

/// The model as its papers write it.
class oracle {
 public:
  explicit oracle(const weights& w) : w_(w) {}

  struct sentence {
    std::vector<int> tokens;
    real log_probability = 0;
    std::vector<table> looked;  ///< of the first head of the last layer, a row for each token
  };

  sentence translate(const std::vector<int>& source, std::size_t longest) {
    table memory(Index(source.size()), features);
    for (Index i = 0; i < memory.rows(); ++i) memory.row(i) = input(source[std::size_t(i)], i);
    for (Index l = 1; l <= encoders; ++l) {
      const std::string part = "encoder_l" + std::to_string(l) + '_';
      memory = feed(attend(memory, memory, part + "self"), part);
    }
    std::vector<table> cells(decoders, table::Zero(1, features));
    sentence s;
    while (s.tokens.size() < longest && (s.tokens.empty() || s.tokens.back() != 0)) {
      table x = input(s.tokens.empty() ? -1 : s.tokens.back(), Index(s.tokens.size()));
      for (Index l = 1; l <= decoders; ++l) {
        const std::string part = "decoder_l" + std::to_string(l) + '_';
        table& c = cells[std::size_t(l - 1)];
        table gate = linear(x, part + "rnn_Wf", part + "rnn_bf");
        const table candidate = linear(x, part + "rnn_W", "");
        for (Index k = 0; k < features; ++k) {
          const real f = 1 / (1 + std::exp(-gate(0, k)));
          c(0, k) = f * c(0, k) + (1 - f) * candidate(0, k);
        }
        x = feed(attend(norm(x + c.cwiseMax(real(0)), part + "rnn_ffn"), memory, part + "context"),
                 part);
      }
      s.looked.push_back(looked_);
      choose(x, s);
    }
    return s;
  }

 private:
  void choose(const table& x, sentence& s) {
    const table embedding = w_("Wemb");
    table logits = w_("decoder_ff_logit_out_b");
    for (Index t = 0; t < words; ++t)
      for (Index k = 0; k < features; ++k) logits(0, t) += x(0, k) * embedding(t, k);
    Index best = 0;
    real sum = 0;
    logits.row(0).maxCoeff(&best);
    for (Index t = 0; t < words; ++t) sum += std::exp(logits(0, t) - logits(0, best));
    s.tokens.push_back(int(best));
    s.log_probability -= std::log(sum);
  }
  table input(int token, Index position) const {
    table x(1, features);
    for (Index k = 0; k < features; ++k) {
      const Index half = features / 2;
      const real angle = real(position) * std::pow(real(10000), -real(k % half) / real(half - 1));
      x(0, k) = k < half ? std::sin(angle) : std::cos(angle);
      if (token >= 0) x(0, k) += w_("Wemb")(token, k) * std::sqrt(real(features));
    }
    return x;
  }
  table linear(const table& x, const std::string& weight, const std::string& bias) const {
    const table W = w_(weight);
    table y = table::Zero(x.rows(), W.cols());
    for (Index i = 0; i < y.rows(); ++i)
      for (Index o = 0; o < y.cols(); ++o) {
        if (!bias.empty()) y(i, o) = w_(bias)(0, o);
        for (Index k = 0; k < x.cols(); ++k) y(i, o) += x(i, k) * W(k, o);
      }
    return y;
  }
  table norm(table x, const std::string& part) const {
    const table gain = w_(part + "_ln_scale"), bias = w_(part + "_ln_bias");
    for (Index i = 0; i < x.rows(); ++i) {
      real mean = 0, variance = 0;
      for (Index k = 0; k < features; ++k) mean += x(i, k) / features;
      for (Index k = 0; k < features; ++k)
        variance += (x(i, k) - mean) * (x(i, k) - mean) / features;
      for (Index k = 0; k < features; ++k)
        x(i, k) = (x(i, k) - mean) / std::sqrt(variance + real(1e-6)) * gain(0, k) + bias(0, k);
    }
    return x;
  }
  table attend(const table& x, const table& memory, const std::string& part) {
    const table q = linear(x, part + "_Wq", part + "_bq");
    const table k = linear(memory, part + "_Wk", part + "_bk");
    const table v = linear(memory, part + "_Wv", part + "_bv");
    table context = table::Zero(x.rows(), features);
    constexpr Index d = features / heads;
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < x.rows(); ++i) {
        table p(1, memory.rows());
        for (Index j = 0; j < p.cols(); ++j) {
          real score = 0;
          for (Index c = h * d; c < (h + 1) * d; ++c) score += q(i, c) * k(j, c);
          p(0, j) = std::exp(score / std::sqrt(real(d)));
        }
        p /= p.sum();
        for (Index j = 0; j < p.cols(); ++j)
          for (Index c = h * d; c < (h + 1) * d; ++c) context(i, c) += p(0, j) * v(j, c);
        if (h == 0) looked_ = p;
      }
    return norm(x + linear(context, part + "_Wo", part + "_bo"), part + "_Wo");
  }
  table feed(const table& x, const std::string& part) const {
    const table h = linear(x, part + "ffn_W1", part + "ffn_b1").cwiseMax(real(0));
    return norm(x + linear(h, part + "ffn_W2", part + "ffn_b2"), part + "ffn_ffn");
  }

  const weights& w_;
  table looked_;
};

std::string vocabulary() {
  std::string file;
  for (Index k = 0; k < words; ++k) {
    const std::string piece = k == 0 ? "</s>" : k == 1 ? "<unk>" : std::string(1, char('a' + k));
    const std::string kind = k == 0 ? "\x18\x03" : k == 1 ? "\x18\x02" : "";
    const std::string inside = "\x0A" + std::string(1, char(piece.size())) + piece + kind;
    file += "\x0A" + std::string(1, char(inside.size())) + inside;
  }
  return file;
}

class TranslationModel : public ::testing::Test {
 protected:
  TranslationModel() { write(model_.file()); }
  ~TranslationModel() override { fs::remove_all(folder_); }
  void write(const std::string& model) const {
    fs::create_directories(folder_);
    std::ofstream(folder_ / "model.enpt.intgemm.alphas.bin", std::ios::binary) << model;
    std::ofstream(folder_ / "vocab.enpt.spm", std::ios::binary) << vocabulary();
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / "softlook_translation_model_test";
  const weights model_;
  const translation_model::pool one_{1};
};

TEST_F(TranslationModel, TranslatesAndAlignsAsItsPapersSay) {
  constexpr double bound =
      2e-4;  // sums of a few hundred floats, through layers that are not trained
  const translation_model model(folder_, "enpt");
  for (const std::vector<int>& source :
       {std::vector<int>{0}, {4, 0}, {2, 5, 3, 8, 0}, {7, 6, 7, 1, 2, 2, 4, 0}}) {
    const auto truth = oracle(model_).translate(source, 3 * source.size() + 8);
    const auto best = model.translate(source, 1, one_).front();
    ASSERT_EQ(translation_model::ids_of(best), truth.tokens);
    EXPECT_NEAR(best.log_probability, double(truth.log_probability), bound * 10);
    const auto weights = model.alignment(source, truth.tokens, one_);
    ASSERT_EQ(weights.rows(), Index(truth.looked.size()));
    for (Index i = 0; i < weights.rows(); ++i)
      for (Index j = 0; j < weights.cols(); ++j)
        EXPECT_NEAR(weights(i, j), double(truth.looked[std::size_t(i)](0, j)), bound);
    const translation_model::pool three(3);
    EXPECT_EQ(model.alignment(source, truth.tokens, three), weights);
  }
}

TEST_F(TranslationModel, SaysWhatItCannotUse) {
  const translation_model model(folder_, "enpt");
  EXPECT_THROW((void)model.translate(std::vector<int>{}, 1, one_), std::invalid_argument);
  EXPECT_THROW((void)model.translate(std::vector<int>{9}, 1, one_), std::invalid_argument);
  EXPECT_THROW((void)model.alignment(std::vector<int>{0}, std::vector<int>{-1}, one_),
               std::invalid_argument);
  std::string other = model_.file();
  other.replace(other.find("ssru"), 4, "lstm");
  write(other);
  EXPECT_THROW(translation_model(folder_, "enpt"), translator::model_error);
  EXPECT_THROW(translation_model(folder_, "pten"), translator::model_error);
}

}  // namespace
}  // namespace model_test
