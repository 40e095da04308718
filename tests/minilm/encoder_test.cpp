// A model of two small layers with random weights, written to files as the real one is, against
// plain loops in long double. The real model's values are the conformance cases other/minilm.

#include "examples/minilm/encoder.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "tests/support/bounds.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace encoder_test {
namespace {

namespace fs = std::filesystem;
using Eigen::Index;
using minilm::model_error;
using minilm::sentence_encoder;
using real = long double;
using table = Eigen::Matrix<real, Eigen::Dynamic, Eigen::Dynamic>;
using pool = softlook::exec::thread_pool;

constexpr Index features = 12, hidden = 20, layers = 2, heads = 3, positions = 10, types = 2;
const std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nanimal\nis\ntired\n.\n";
constexpr Index words = 10;

std::string configuration() {
  return R"({"model_type":"bert","hidden_act":"gelu","position_embedding_type":"absolute",)"
         R"("hidden_size":12,"intermediate_size":20,"num_hidden_layers":2,)"
         R"("num_attention_heads":3,"max_position_embeddings":10,"type_vocab_size":2,)"
         R"("vocab_size":10,"layer_norm_eps":1e-12})";
}

class weights {
 public:
  weights() {
    add("embeddings.word_embeddings.weight", words, features);
    add("embeddings.position_embeddings.weight", positions, features);
    add("embeddings.token_type_embeddings.weight", types, features);
    add_norm("embeddings.LayerNorm");
    for (Index l = 0; l < layers; ++l) {
      const std::string layer = "encoder.layer." + std::to_string(l) + '.';
      for (const char* name : {"attention.self.query", "attention.self.key", "attention.self.value",
                               "attention.output.dense"})
        add_linear(layer + name, features, features);
      add_norm(layer + "attention.output.LayerNorm");
      add_linear(layer + "intermediate.dense", features, hidden);
      add_linear(layer + "output.dense", hidden, features);
      add_norm(layer + "output.LayerNorm");
    }
  }

  table operator()(const std::string& name) const { return values_.at(name).cast<real>(); }

  void erase(const std::string& name) { values_.erase(name); }
  void transpose(const std::string& name) {
    values_.at(name) = minilm::float_matrix(values_.at(name).transpose());
  }

  std::string file() const {
    std::string header, data;
    for (const auto& [name, m] : values_) {
      const std::size_t begin = data.size(), size = sizeof(float) * std::size_t(m.size());
      data.resize(begin + size);
      std::memcpy(data.data() + begin, m.data(), size);
      header += (header.empty() ? "{\"" : ",\"") + name + R"(":{"dtype":"F32","shape":[)" +
                std::to_string(m.rows()) + ',' + std::to_string(m.cols()) +
                R"(],"data_offsets":[)" + std::to_string(begin) + ',' +
                std::to_string(begin + size) + "]}";
    }
    header += '}';
    std::string length(8, '\0');
    const std::uint64_t bytes = header.size();
    std::memcpy(length.data(), &bytes, sizeof bytes);
    return length + header + data;
  }

 private:
  void add(const std::string& name, Index rows, Index cols, float mean = 0) {
    minilm::float_matrix& m = values_[name];
    m.resize(rows, cols);
    for (float& x : m.reshaped()) x = mean + static_cast<float>(random_.uniform(-0.5, 0.5));
  }
  void add_linear(const std::string& name, Index in, Index out) {
    add(name + ".weight", out, in);
    add(name + ".bias", 1, out);
  }
  void add_norm(const std::string& name) {
    add(name + ".weight", 1, features, 1);
    add(name + ".bias", 1, features);
  }

  softlook_test::generator random_ = softlook_test::seed(11);
  std::map<std::string, minilm::float_matrix> values_;
};

/// The model as its papers write it.
class oracle {
 public:
  explicit oracle(const weights& w) : w_(w) {}

  std::vector<std::vector<table>> attention;  // of each layer and head

  table hidden_states(const std::vector<int>& ids) {
    table x(Index(ids.size()), features);
    for (Index i = 0; i < x.rows(); ++i)
      for (Index f = 0; f < features; ++f)
        x(i, f) = w_("embeddings.word_embeddings.weight")(ids[std::size_t(i)], f) +
                  w_("embeddings.position_embeddings.weight")(i, f) +
                  w_("embeddings.token_type_embeddings.weight")(0, f);
    x = norm(x, "embeddings.LayerNorm");
    for (Index l = 0; l < layers; ++l) {
      const std::string layer = "encoder.layer." + std::to_string(l) + '.';
      const table attended = linear(attend(x, layer), layer + "attention.output.dense");
      x = norm(x + attended, layer + "attention.output.LayerNorm");
      table h = linear(x, layer + "intermediate.dense");
      for (real& t : h.reshaped()) t = t / 2 * (1 + std::erf(t / std::sqrt(real(2))));
      x = norm(x + linear(h, layer + "output.dense"), layer + "output.LayerNorm");
    }
    return x;
  }

  Eigen::RowVectorXd embedding(const std::vector<int>& ids) {
    const table x = hidden_states(ids);
    table mean = table::Zero(1, features);
    for (Index i = 0; i < x.rows(); ++i) mean += x.row(i) / real(x.rows());
    real square = 0;
    for (const real t : mean.reshaped()) square += t * t;
    return (mean / std::sqrt(square)).cast<double>();
  }

 private:
  table linear(const table& x, const std::string& name) const {
    const table W = w_(name + ".weight"), b = w_(name + ".bias");
    table y(x.rows(), W.rows());
    for (Index i = 0; i < y.rows(); ++i)
      for (Index o = 0; o < y.cols(); ++o) {
        y(i, o) = b(0, o);
        for (Index f = 0; f < x.cols(); ++f) y(i, o) += x(i, f) * W(o, f);
      }
    return y;
  }

  table norm(table x, const std::string& name) const {
    const table gain = w_(name + ".weight"), bias = w_(name + ".bias");
    for (Index i = 0; i < x.rows(); ++i) {
      real mean = 0, variance = 0;
      for (Index f = 0; f < features; ++f) mean += x(i, f) / features;
      for (Index f = 0; f < features; ++f)
        variance += (x(i, f) - mean) * (x(i, f) - mean) / features;
      for (Index f = 0; f < features; ++f)
        x(i, f) = (x(i, f) - mean) / std::sqrt(variance + 1e-12L) * gain(0, f) + bias(0, f);
    }
    return x;
  }

  table attend(const table& x, const std::string& layer) {
    const table Q = linear(x, layer + "attention.self.query");
    const table K = linear(x, layer + "attention.self.key");
    const table V = linear(x, layer + "attention.self.value");
    const Index n = x.rows(), d = features / heads;
    table out = table::Zero(n, features);
    std::vector<table>& seen = attention.emplace_back(heads, table::Zero(n, n));
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < n; ++i) {
        real sum = 0;
        table& P = seen[std::size_t(h)];
        for (Index j = 0; j < n; ++j) {
          real score = 0;
          for (Index f = h * d; f < (h + 1) * d; ++f) score += Q(i, f) * K(j, f);
          sum += P(i, j) = std::exp(score / std::sqrt(real(d)));
        }
        for (Index j = 0; j < n; ++j) P(i, j) /= sum;
        for (Index j = 0; j < n; ++j)
          for (Index f = h * d; f < (h + 1) * d; ++f) out(i, f) += P(i, j) * V(j, f);
      }
    return out;
  }

  const weights& w_;
};

/// Values are about 1 and pass through `layers` layers, each a handful of sums over at most
/// `hidden` terms; a norm does not make errors much larger.
double model_bound() {
  const double sums = 6.0 * double(layers) + 2;
  return sums * softlook_test::dot_product_bound<float>(double(hidden), 1);
}

class SentenceEncoder : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / (std::string("softlook_encoder_") + info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write("config.json", configuration());
    write("vocab.txt", vocabulary);
    write("model.safetensors", weights_.file());
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const char* name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  /// The message without its folder.
  std::string message() const {
    try {
      const sentence_encoder model(folder_);
    } catch (const model_error& e) {
      const std::string what = e.what(), start = folder_.string() + '/';
      return what.starts_with(start) ? what.substr(start.size()) : what;
    }
    return "nothing was thrown";
  }

  /// The message when a part of the configuration is replaced.
  std::string without(const std::string& part, const std::string& other) const {
    std::string text = configuration();
    text.replace(text.find(part), part.size(), other);
    write("config.json", text);
    return message();
  }

  weights weights_;
  fs::path folder_;
};

const std::vector<int> ids = {2, 5, 6, 7, 8, 9, 3};
const std::string sentence = "The animal is tired.";

TEST_F(SentenceEncoder, EmbedsAsTheFormulasSay) {
  const sentence_encoder model(folder_);
  const auto got = model.encode(sentence, pool(1));
  EXPECT_EQ(got.ids, ids);
  const Eigen::RowVectorXd want = oracle(weights_).embedding(ids);
  ASSERT_TRUE(got.embedding.allFinite());
  EXPECT_LE((got.embedding.cast<double>() - want).cwiseAbs().maxCoeff(), model_bound());
}

TEST_F(SentenceEncoder, ShowsTheAttentionOfEveryLayer) {
  const sentence_encoder model(folder_);
  EXPECT_EQ(model.layers(), layers);
  EXPECT_EQ(model.heads(), heads);
  oracle truth(weights_);
  truth.hidden_states(ids);
  for (Index l = 0; l < layers; ++l) {
    const auto got = model.attention(ids, l, pool(2));
    ASSERT_EQ(got.size(), std::size_t(heads));
    for (std::size_t h = 0; h < got.size(); ++h) {
      const Eigen::MatrixXd want = truth.attention[std::size_t(l)][h].cast<double>();
      ASSERT_EQ(got[h].rows(), want.rows());
      EXPECT_LE((got[h].cast<double>() - want).cwiseAbs().maxCoeff(), model_bound());
    }
  }
}

TEST_F(SentenceEncoder, GivesTheSameBitsHoweverManyThreadsAndTexts) {
  const sentence_encoder model(folder_);
  const std::vector<std::string> texts = {sentence, "", "tired animal", "the the the the", "xyz"};
  const auto many = model.encode(texts, pool(3));
  ASSERT_EQ(many.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto one = model.encode(texts[i], pool(i % 2 == 0 ? 1 : 2));
    EXPECT_EQ(many[i].ids, one.ids);
    EXPECT_EQ(many[i].embedding, one.embedding);
  }
  EXPECT_TRUE(model.encode(std::vector<std::string>{}, pool(2)).empty());
}

TEST_F(SentenceEncoder, CutsTextsThatAreLongerThanItsPositions) {
  const sentence_encoder model(folder_);
  const std::vector<std::string> texts(3, "the the the the the the the the the the the the");
  for (const auto& one : model.encode(texts, pool(2))) {
    EXPECT_EQ(one.ids.size(), std::size_t(positions));
    EXPECT_EQ(one.ids.back(), 3);
  }
  EXPECT_EQ(model.encode(texts[0], pool(1)).ids.size(), std::size_t(positions));
}

TEST_F(SentenceEncoder, RefusesTokensAndLayersThatItDoesNotHave) {
  const sentence_encoder model(folder_);
  const auto text_of = [](const auto& use) {
    return softlook_test::message_of<std::invalid_argument>(use);
  };
  const pool one(1);
  const std::string who = "sentence_encoder: ";
  EXPECT_EQ(text_of([&] { model.embedding({}, one); }),
            who + "there are 0 tokens, the model takes 1 to 10");
  EXPECT_EQ(text_of([&] { model.embedding(std::vector<int>(11, 5), one); }),
            who + "there are 11 tokens, the model takes 1 to 10");
  EXPECT_EQ(text_of([&] { model.embedding({10}, one); }),
            who + "token 10 is not in the vocabulary");
  EXPECT_EQ(text_of([&] { model.embedding({-1}, one); }),
            who + "token -1 is not in the vocabulary");
  EXPECT_EQ(text_of([&] { model.attention(ids, 2, one); }),
            who + "there is no layer 2, the model has 2, counted from 0");
  EXPECT_EQ(text_of([&] { model.attention(ids, -1, one); }),
            who + "there is no layer -1, the model has 2, counted from 0");
}

TEST_F(SentenceEncoder, SaysWhichFileOrWeightIsMissingOrWrong) {
  weights changed = weights_;
  changed.transpose("encoder.layer.1.output.dense.weight");
  write("model.safetensors", changed.file());
  EXPECT_EQ(
      message(),
      "model.safetensors: tensor \"encoder.layer.1.output.dense.weight\": it is 20x12 but the "
      "model needs 12x20");
  changed.erase("encoder.layer.1.output.dense.weight");
  write("model.safetensors", changed.file());
  EXPECT_EQ(message(),
            "model.safetensors: tensor \"encoder.layer.1.output.dense.weight\": it is not in the "
            "file");
  write("model.safetensors", weights_.file());
  write("vocab.txt", vocabulary + "more\n");
  EXPECT_EQ(message(), "vocab.txt: it has 11 tokens but the model knows 10");
  fs::remove(folder_ / "vocab.txt");
  EXPECT_EQ(message(), "vocab.txt: the file cannot be opened");
  fs::remove(folder_ / "config.json");
  EXPECT_EQ(message(), "config.json: the file cannot be opened");
}

TEST_F(SentenceEncoder, SaysWhatIsWrongWithTheConfiguration) {
  EXPECT_EQ(without("}", ""), "config.json: this is not a JSON object");
  EXPECT_EQ(without("\"bert\"", "\"gpt2\""),
            "config.json: model_type is not \"bert\", the only kind that is known here");
  EXPECT_EQ(without("\"gelu\"", "7"),
            "config.json: hidden_act is not \"gelu\", the only kind that is known here");
  for (const char* wrong : {"0", "-3", "1000001", "3.0", "\"3\"", "null"})
    EXPECT_EQ(without("\"num_attention_heads\":3", "\"num_attention_heads\":" + std::string(wrong)),
              "config.json: num_attention_heads is not a number from 1 to 1000000");
  EXPECT_EQ(without("\"vocab_size\":10,", ""),
            "config.json: vocab_size is not a number from 1 to 1000000");
  EXPECT_EQ(without("\"num_attention_heads\":3", "\"num_attention_heads\":5"),
            "config.json: hidden_size is not a multiple of num_attention_heads");
  EXPECT_EQ(without("1e-12", "-1e-12"), "config.json: layer_norm_eps is not a number from 0");
}

}  // namespace
}  // namespace encoder_test
