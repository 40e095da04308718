#include "softlook/transformer/causal.hpp"

#include <gtest/gtest.h>

#include "softlook/positional.hpp"
#include "tests/oracle/causal.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"
#include "tests/support/ways.hpp"

namespace softlook::causal_test {
namespace {

using namespace softlook_test;

/// Rounding of a stack: `terms` is the sum of the lengths of its sums; norms divide errors by the
/// size of their input, about 1 here.
template <class T>
double causal_bound(double terms, double magnitude) {
  return (16 + terms) * epsilon_of<T>() * magnitude;
}

template <class T>
class CausalTransformer : public ::testing::Test {
 protected:
  static constexpr index n = 21, features = 24, hidden = 50, head_features = 6;
  static constexpr heads grouped{.query = 6, .kv = 2};
  using weights_type = transformer_encoder_layer_parameters<T>;
  using layer_type = transformer_encoder_layer<T>;
  generator random = seed(3011);

  row_major<T> matrix(index rows, index cols, double magnitude = 1) {
    return random_matrix<row_major<T>>(rows, cols, random, magnitude);
  }
  row_major<T> input(index rows = n) { return matrix(rows, features); }
  static rotary_embedding<T> rotation(rotary_pairs pairs = rotary_pairs::interleaved) {
    return rotary_embedding<T>(rotary_frequencies(head_features, 100),
                               {.pairs = pairs, .head_features = {}});
  }
  static oracle::turning turning(rotary_pairs pairs = rotary_pairs::interleaved) {
    oracle::turning by;
    for (const double f : rotary_frequencies(head_features, 100)) by.frequencies.push_back(f);
    by.interleaved = pairs == rotary_pairs::interleaved;
    return by;
  }
  /// As LLaMA's layers: RMS norms, a gate, rotary positions, no bias.
  static transformer_layer_options form() {
    return {.heads = grouped,
            .activation = activation::silu,
            .norm_first = true,
            .norm = norm_kind::rms};
  }
  weights_type parameters(weight_format<T> kept = {},
                          rotary_pairs pairs = rotary_pairs::interleaved) {
    weights_type p = random_encoder_layer<T>(4, 6, hidden, random);
    p.self_attention = random_multi_head<T>({.features = features,
                                             .key_features = features,
                                             .value_features = features,
                                             .query_heads = 6,
                                             .kv_heads = 2,
                                             .head_features = head_features,
                                             .head_values = 5,
                                             .outputs = features},
                                            random);
    auto& a = p.self_attention;
    a.bq = a.bk = a.bv = a.bo = p.b1 = p.b2 = p.bias1 = p.bias2 = row_vector<T>();
    a.rotary = rotation(pairs);
    p.W3 = matrix(features, hidden, 0.3);
    a.weights = p.weights = kept;
    return p;
  }
  causal_transformer<T> stack(index count, weight_format<T> kept = {}) {
    std::vector<layer_type> layers;
    for (index l = 0; l < count; ++l) layers.emplace_back(parameters(kept), form());
    return causal_transformer<T>(std::move(layers), rms_norm<T>(row_vector<T>::Ones(features)));
  }
  static row_major<T> by_steps(const causal_transformer<T>& made, const row_major<T>& X,
                               const std::vector<index>& sizes, const options& opts = {}) {
    auto seen = made.start();
    row_major<T> Y(X.rows(), X.cols());
    index at = 0;
    for (const index rows : sizes) {
      Y.middleRows(at, rows) = made.step(X.middleRows(at, rows), seen, opts);
      at += rows;
    }
    EXPECT_EQ(at, X.rows());
    EXPECT_EQ(seen.rows(), X.rows());
    return Y;
  }
  static double terms(index layers) { return double(layers * (6 * features + 2 * hidden + n)); }
};
TYPED_TEST_SUITE(CausalTransformer, scalars, scalar_names);

TYPED_TEST(CausalTransformer, IsItsFormula) {
  using T = TypeParam;
  for (const rotary_pairs pairs : {rotary_pairs::interleaved, rotary_pairs::half_split}) {
    const auto p = this->parameters({}, pairs), q = this->parameters({}, pairs);
    const row_vector<T> gain = this->matrix(1, this->features);
    const causal_transformer<T> made({{p, this->form()}, {q, this->form()}},
                                     rms_norm<T>(gain, 1e-5));
    const row_major<T> X = this->input();
    const masks::causal_top_left causal;
    const auto first =
        oracle::causal_layer(oracle::widen(X), p, this->form(), this->turning(pairs), causal);
    const auto second =
        oracle::causal_layer(first.output, q, this->form(), this->turning(pairs), causal);
    const oracle::matrix truth = oracle::rms_norm(second.output, oracle::widen(gain), T(1e-5));
    const double bound = causal_bound<T>(this->terms(2), max_magnitude(truth));
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      auto seen = made.start();
      const row_major<T> Y = made.step(X, seen, which.opts);
      ASSERT_TRUE(Y.allFinite());
      EXPECT_LE(max_error(Y, truth), bound);
      EXPECT_LE(max_error(this->by_steps(made, X, {1, 7, 1, 11, 0, 1}, which.opts), truth), bound);
      const auto weights = made.attention_weights(X, made.start(), which.opts);
      ASSERT_EQ(weights.size(), 2u);
      for (std::size_t h = 0; h < 6; ++h) {
        EXPECT_LE(max_error(weights[0][h], first.weights[h]), bound);
        EXPECT_LE(max_error(weights[1][h], second.weights[h]), bound);
      }
    }
  }
}

TYPED_TEST(CausalTransformer, TakesAMaskOfTheWholeText) {
  using T = TypeParam;
  const auto p = this->parameters();
  const causal_transformer<T> made({{p, this->form()}});
  const row_major<T> X = this->input();
  const masks::window window{.left = 3, .right = 3};
  const auto truth =
      oracle::causal_layer(oracle::widen(X), p, this->form(), this->turning(),
                           masks::causal_top_left{} & window, transforms::soft_cap{2});
  auto seen = made.start();
  row_major<T> Y(X.rows(), X.cols());
  Y.topRows(9) = made.step(X.topRows(9), seen, window, transforms::soft_cap{2});
  Y.bottomRows(12) = made.step(X.bottomRows(12), seen, window, transforms::soft_cap{2});
  EXPECT_LE(max_error(Y, truth.output),
            causal_bound<T>(this->terms(1), max_magnitude(truth.output)));
}

TYPED_TEST(CausalTransformer, ChunksHaveTheBitsOfOneStepByTheTiledKernel) {
  using T = TypeParam;
  const causal_transformer<T> made = this->stack(3);
  const row_major<T> X = this->input(150);
  on_every_set([&](const options& given) {
    options opts = given;
    opts.kernel = kernel::tiled;
    const row_major<T> whole = this->by_steps(made, X, {150}, opts);
    EXPECT_TRUE(bitwise_equal(this->by_steps(made, X, {64, 64, 22}, opts), whole));
    EXPECT_TRUE(bitwise_equal(this->by_steps(made, X, {1, 2, 100, 47}, opts), whole));
  });
}

TYPED_TEST(CausalTransformer, HasTheSameBitsOnAnyExecutorAndInPlace) {
  using T = TypeParam;
  const causal_transformer<T> made = this->stack(2);
  for (const index rows : {1, 5, 170}) {
    const row_major<T> X = this->input(rows), before = this->input(3);
    const auto with = [&](const auto&... ps) {
      auto seen = made.start();
      (void)made.step(before, seen, ps...);
      row_major<T> Y = X;
      made.step_into(Y, seen, Y, ps...);
      return Y;
    };
    const row_major<T> alone = with();
    on_other_executors([&](const auto& executor, const char* name) {
      EXPECT_TRUE(bitwise_equal(with(executor), alone)) << name << " " << rows;
    });
  }
}

TYPED_TEST(CausalTransformer, ACacheForksAndForgets) {
  using T = TypeParam;
  const causal_transformer<T> made = this->stack(2);
  const row_major<T> X = this->input(9), a = this->input(1), b = this->input(1);
  auto seen = made.start();
  seen.reserve(20);
  EXPECT_EQ(seen.rows(), 0);
  (void)made.step(X, seen);
  EXPECT_GT(seen.bytes(), 0u);
  auto fork = seen;
  const row_major<T> of_a = made.step(a, seen), of_b = made.step(b, fork);
  seen.truncate(9);
  EXPECT_TRUE(bitwise_equal(made.step(b, seen), of_b));
  fork.truncate(9);
  EXPECT_TRUE(bitwise_equal(made.step(a, fork), of_a));
  expect_error<argument_error>([&] { seen.truncate(11); },
                               {"causal_transformer_cache", "rows is 11", "10"});
}

TYPED_TEST(CausalTransformer, WeightsOfLaterRowsLeaveTheCacheAlone) {
  using T = TypeParam;
  const causal_transformer<T> made = this->stack(2);
  const row_major<T> X = this->input(12);
  const auto all = made.attention_weights(X, made.start());
  auto seen = made.start();
  (void)made.step(X.topRows(7), seen);
  const auto last = made.attention_weights(X.bottomRows(5), seen);
  EXPECT_EQ(seen.rows(), 7);
  for (std::size_t l = 0; l < 2; ++l)
    for (std::size_t h = 0; h < 6; ++h) {
      ASSERT_EQ(last[l][h].cols(), 12);
      EXPECT_LE(max_error(last[l][h], oracle::widen(all[l][h].bottomRows(5).eval())),
                causal_bound<T>(this->terms(2), 1));
    }
}

TEST(CausalTransformerOfFloat, KeepsItsWeightsInFewerBytes) {
  generator random = seed(3019);
  auto p = random_encoder_layer<float>(4, 6, 50, random);
  p.W3 = random_matrix<col_major<float>>(24, 50, random);
  const transformer_layer_options form{.heads = {.query = 4}, .norm_first = true};
  const auto made = [&](const auto& parameters) {
    return causal_transformer<float>({{parameters, form}});
  };
  const row_major<float> X = random_matrix<row_major<float>>(9, 24, random);
  const auto of = [&](const auto& stack) {
    auto seen = stack.start();
    return stack.step(X, seen);
  };
  auto rounded = p;
  for (auto* W :
       {&rounded.W1, &rounded.W2, &rounded.W3, &rounded.self_attention.Wq,
        &rounded.self_attention.Wk, &rounded.self_attention.Wv, &rounded.self_attention.Wo})
    *W = W->cast<Eigen::bfloat16>().cast<float>().eval();
  auto kept = p;
  kept.weights = kept.self_attention.weights = weight_storage::bfloat16;
  EXPECT_TRUE(bitwise_equal(of(made(kept)), of(made(rounded))));
  EXPECT_EQ(2 * made(kept).weight_bytes(), made(p).weight_bytes());
  kept.weights = kept.self_attention.weights = weight_storage::int8;
  EXPECT_LT(made(kept).weight_bytes(), made(p).weight_bytes() / 3);
  const row_major<float> exact = of(made(p));
  EXPECT_LE((of(made(kept)) - exact).cwiseAbs().maxCoeff(), 0.03f * exact.cwiseAbs().maxCoeff());
}

TYPED_TEST(CausalTransformer, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const auto o = this->form();
  const auto rejects = rejects_of<transformer_encoder_layer<T>>(this->parameters(), o);
  rejects([](auto& p) { set_rows(p.W3, 5); }, {"W3.rows() is 5", "Wq.rows() is 24"});
  rejects([](auto& p) { set_columns(p.W3, 5); }, {"W3.cols() is 5", "W1.cols() is 50"});
  rejects([](auto& p) { p.b3 = row_vector<T>::Ones(3); }, {"b3.size() is 3", "W3.cols() is 50"});
  rejects([](auto& p) { p.self_attention.rotary = rotary_embedding<T>(rotary_frequencies(4)); },
          {"rotary.head_features() is 4", "Wq.cols() of a head is 6"});
  expect_error<argument_error>([] { (void)causal_transformer<T>({}); },
                               {"causal_transformer", "layers.size()"});
  expect_error<shape_error>(
      [&] {
        (void)causal_transformer<T>({{this->parameters(), o}}, rms_norm<T>(row_vector<T>::Ones(5)));
      },
      {"final_norm.features() is 5"});
  const causal_transformer<T> made = this->stack(2), other = this->stack(1);
  auto seen = made.start();
  expect_error<shape_error>([&] { (void)made.step(this->matrix(2, 5), seen); },
                            {"X.cols() is 5", "features() is 24"});
  expect_error<shape_error>([&] { (void)other.step(this->input(), seen); },
                            {"the cache's layers is 2", "layers().size() is 1"});
  row_major<T> small(1, 24);
  expect_error<shape_error>([&] { made.step_into(this->input(2), seen, small); },
                            {"Y.rows() is 1", "X.rows() is 2"});
  EXPECT_EQ(seen.rows(), 0);
}

TYPED_TEST(CausalTransformer, AMultiHeadLayerTurnsByThePositionsOfItsRows) {
  using T = TypeParam;
  auto p = this->parameters().self_attention;
  p.bq = this->matrix(1, p.Wq.cols());
  const row_major<T> X = this->input();
  const multi_head<T> layer(p, this->grouped);
  const auto truth = [&](index first_query, index first_key) {
    const oracle::matrix x = oracle::widen(X);
    const oracle::matrix q =
        oracle::turned(oracle::linear(x, oracle::widen(p.Wq), oracle::widen(p.bq)), 6,
                       this->turning(), first_query);
    const oracle::matrix k = oracle::turned(
        oracle::linear(x, oracle::widen(p.Wk), oracle::matrix()), 2, this->turning(), first_key);
    const oracle::matrix v = oracle::linear(x, oracle::widen(p.Wv), oracle::matrix());
    return oracle::linear(oracle::multi_head_attention(q, k, v, 6, 2).output, oracle::widen(p.Wo),
                          oracle::matrix());
  };
  const double bound = causal_bound<T>(this->terms(1), max_magnitude(truth(0, 0)));
  EXPECT_LE(max_error(layer(X), truth(0, 0)), bound);
  EXPECT_LE(max_error(layer(X, frame{.first_query = 4, .keys = 30}), truth(4, 0)), bound);
  EXPECT_LE(max_error(layer(X, frame{.first_key = 5, .keys = 26}), truth(0, 5)), bound);
  // Each sequence begins at 0.
  const std::int32_t ends[] = {0, 8, 21};
  const row_major<T> both = layer(X, segments{ends});
  EXPECT_LE(max_error(both.topRows(8).eval(), oracle::widen(layer(X.topRows(8).eval()))), bound);
  EXPECT_LE(max_error(both.bottomRows(13).eval(), oracle::widen(layer(X.bottomRows(13).eval()))),
            bound);
  // A list of positions.
  std::vector<std::int32_t> at;
  for (std::int32_t i = 0; i < 21; ++i) at.push_back(i + 4);
  EXPECT_LE(max_error(layer(X, frame{.query_positions = at}), truth(4, 0)), bound);
}

TYPED_TEST(CausalTransformer, PositionsBeyondGivenAnglesAreRefused) {
  using T = TypeParam;
  auto p = this->parameters();
  const row_major<T> cos = this->matrix(5, 3), sin = this->matrix(5, 3);
  p.self_attention.rotary = rotary_embedding<T>(cos, sin);
  const causal_transformer<T> made({{p, this->form()}});
  auto seen = made.start();
  (void)made.step(this->input(5), seen);
  expect_error<argument_error>([&] { (void)made.step(this->input(1), seen); },
                               {"the last position is 5", "given for 5"});
}

}  // namespace
}  // namespace softlook::causal_test
