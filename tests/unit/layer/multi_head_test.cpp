// The class multi_head: a layer with its projections. multi_head_test.cpp tests the free functions.
#include <gtest/gtest.h>

#include "softlook/layer/multi_head.hpp"
#include "tests/support/erased.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"
#include "tests/support/ways.hpp"

namespace softlook::multi_head_test {
namespace {

using namespace softlook_test;

template <class T>
class MultiHeadLayer : public ::testing::Test {
 protected:
  static constexpr index n = 21, m = 26;
  generator random = seed(641);

  row_major<T> matrix(index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, random);
  }
  multi_head_parameters<T> parameters(const multi_head_shape& s) {
    return random_multi_head<T>(s, random);
  }
  row_major<bool> random_bool(index rows, index cols, double share) {
    row_major<bool> result(rows, cols);
    for (index i = 0; i < rows; ++i)
      for (index j = 0; j < cols; ++j) result(i, j) = random.chance(share);
    return result;
  }

  /// Output and weights on every set and kernel.
  template <class... Policies>
  static void expect_exactly_these(const row_major<T>& Q, const row_major<T>& K,
                                   const row_major<T>& V, const multi_head_parameters<T>& p,
                                   const heads& h, const Policies&... policies) {
    const auto truth =
        oracle::multi_head(oracle::widen(Q), oracle::widen(K), oracle::widen(V), p, h, policies...);
    const auto scores = static_cast<double>(truth.largest_score);
    const double terms =
        static_cast<double>(p.Wq.rows() + p.Wk.rows() + p.Wv.rows() + p.Wo.rows() + K.rows());
    const oracle::matrix values =
        oracle::linear(oracle::widen(V), oracle::widen(p.Wv), oracle::widen(p.bv));
    const double largest_value = std::max(max_magnitude(values), max_magnitude(p.bias_v));
    const oracle::matrix joined = oracle::matrix::Constant(1, p.Wo.rows(), largest_value);
    const double magnitude =
        max_magnitude(oracle::product(joined, oracle::widen(p.Wo).cwiseAbs())) +
        max_magnitude(p.bo);
    const double bound = multi_head_layer_bound<T>(terms, scores, magnitude);
    const multi_head<T> layer(p, h);
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      const auto result = layer.with_weights(Q, K, V, policies..., which.opts);
      EXPECT_LE(max_error(result.output, truth.output), bound);
      EXPECT_TRUE(bitwise_equal(layer(Q, K, V, policies..., which.opts), result.output));
      ASSERT_EQ(result.weights.size(), truth.weights.size());
      for (std::size_t head = 0; head < result.weights.size(); ++head)
        EXPECT_LE(max_error(result.weights[head], truth.weights[head]),
                  multi_head_layer_bound<T>(terms, scores, 1));
    }
  }

  static void expect_agreement(const row_major<T>& Q, const row_major<T>& K, const row_major<T>& V,
                               const multi_head_parameters<T>& p, const heads& h) {
    expect_exactly_these(Q, K, V, p, h);
  }
  void expect_agreement(const multi_head_parameters<T>& p, const heads& h) {
    expect_exactly_these(matrix(n, p.Wq.rows()), matrix(m, p.Wk.rows()), matrix(m, p.Wv.rows()), p,
                         h);
  }
  /// One instantiation of the layer for all transforms and masks.
  template <class P, class... Policies>
  void expect_agreement(const multi_head_parameters<T>& p, const heads& h, const P& policy,
                        const Policies&... policies) {
    with_erased(
        [&](const any_transform& transform, const any_mask& mask) {
          expect_exactly_these(matrix(n, p.Wq.rows()), matrix(m, p.Wk.rows()),
                               matrix(m, p.Wv.rows()), p, h, transform, mask);
        },
        policy, policies...);
  }
};
TYPED_TEST_SUITE(MultiHeadLayer, scalars, scalar_names);

TYPED_TEST(MultiHeadLayer, ProjectsAttendsAndProjectsAgain) {
  const multi_head_shape shape;
  this->expect_agreement(this->parameters(shape), shape.heads());
}

TYPED_TEST(MultiHeadLayer, TakesBiasesOneByOne) {
  using T = TypeParam;
  const multi_head_shape shape;
  const auto all = this->parameters(shape);
  using row = row_vector<T>;
  for (int kept = 0; kept < 5; ++kept) {
    auto p = all;
    if (kept != 0) p.bq = row();
    if (kept != 1) p.bk = row();
    if (kept != 2) p.bv = row();
    if (kept != 3) p.bo = row();
    this->expect_agreement(p, shape.heads());
  }
}

TYPED_TEST(MultiHeadLayer, TakesFeaturesOfEachInputFromItsWeight) {
  const multi_head_shape shape{.features = 10,
                               .key_features = 7,
                               .value_features = 5,
                               .query_heads = 2,
                               .kv_heads = 2,
                               .head_features = 9,
                               .head_values = 4,
                               .outputs = 50};
  const auto p = this->parameters(shape);
  this->expect_agreement(p, shape.heads());
  const multi_head<TypeParam> layer(p, shape.heads());
  EXPECT_EQ(layer.features(), 10);
  EXPECT_EQ(layer.outputs(), 50);
  EXPECT_EQ(layer.extra_keys(), 0);
}

TYPED_TEST(MultiHeadLayer, GroupsOfQueryHeadsShareAKeyHead) {
  for (const index kv : {1, 2, 3, 6}) {
    const multi_head_shape shape{.query_heads = 6, .kv_heads = kv};
    this->expect_agreement(this->parameters(shape), shape.heads());
    this->expect_agreement(this->parameters(shape), shape.heads(), masks::causal_bottom_right{});
  }
}

TYPED_TEST(MultiHeadLayer, OfFewQueriesOrOne) {
  const multi_head_shape shape{.query_heads = 4, .kv_heads = 2};
  const auto p = this->parameters(shape);
  for (const index queries : {1, 2, 3})
    this->expect_agreement(this->matrix(queries, 12), this->matrix(40, 12), this->matrix(40, 12), p,
                           shape.heads());
}

TYPED_TEST(MultiHeadLayer, SelfAttentionGivesOneInputThreeTimes) {
  using T = TypeParam;
  const multi_head_shape shape;
  const multi_head<T> layer(this->parameters(shape), shape.heads());
  const auto X = this->matrix(this->n, 12);
  EXPECT_TRUE(bitwise_equal(layer(X), layer(X, X, X)));
  const masks::causal_top_left causal;
  EXPECT_TRUE(bitwise_equal(layer(X, causal), layer(X, X, X, causal)));
  const auto once = layer.with_weights(X, causal), thrice = layer.with_weights(X, X, X, causal);
  EXPECT_TRUE(bitwise_equal(once.output, thrice.output));
  for (std::size_t head = 0; head < 4; ++head)
    EXPECT_TRUE(bitwise_equal(once.weights[head], thrice.weights[head]));
}

TYPED_TEST(MultiHeadLayer, PaddingAndAttentionMasksIgnoreWhatIsTrue) {
  const multi_head_shape shape;
  const auto p = this->parameters(shape);
  const row_major<bool> padding = this->random_bool(1, this->m, 0.3);
  row_major<bool> pairs = this->random_bool(this->n, this->m, 0.3);
  const row_major<bool> each_head = this->random_bool(4 * this->n, this->m, 0.3);
  this->expect_agreement(p, shape.heads(), masks::dense_ignoring(padding));
  this->expect_agreement(p, shape.heads(), masks::dense_ignoring(pairs));
  this->expect_agreement(p, shape.heads(),
                         masks::dense_ignoring(padding) & masks::dense_ignoring(pairs));
  this->expect_agreement(p, shape.heads(), masks::dense_ignoring(each_head));
  // The truth itself: where a mask is true, no head looks.
  const multi_head<TypeParam> layer(p, shape.heads());
  const auto result = layer.with_weights(this->matrix(this->n, 12), this->matrix(this->m, 12),
                                         this->matrix(this->m, 12), masks::dense_ignoring(pairs));
  for (const auto& weights : result.weights)
    for (index i = 0; i < this->n; ++i)
      for (index j = 0; j < this->m; ++j) EXPECT_EQ(weights(i, j) == 0, pairs(i, j));
}

TYPED_TEST(MultiHeadLayer, BiasesAreAddedToScoresAndMayForbid) {
  using T = TypeParam;
  const multi_head_shape shape;
  const auto p = this->parameters(shape);
  row_major<T> one = this->matrix(this->n, this->m), each = this->matrix(4 * this->n, this->m);
  for (index i = 0; i < this->n; ++i)
    for (index j = i % 3; j < this->m; j += 3) {
      one(i, j) = -std::numeric_limits<T>::infinity();
      each(this->n + i, j) = -std::numeric_limits<T>::infinity();
    }
  one.row(5).setConstant(-std::numeric_limits<T>::infinity());
  this->expect_agreement(p, shape.heads(), transforms::bias{one});
  this->expect_agreement(p, shape.heads(), transforms::bias{each});
  this->expect_agreement(p, shape.heads(), transforms::bias{each}, masks::causal_bottom_right{});
}

TYPED_TEST(MultiHeadLayer, PoliciesAreThoseOfAttention) {
  const multi_head_shape shape;
  const auto p = this->parameters(shape);
  const Eigen::VectorXd slopes = transforms::alibi_slopes(4);
  this->expect_agreement(p, shape.heads(), transforms::alibi_per_head{slopes},
                         masks::window{.left = 6, .right = 2});
  this->expect_agreement(p, shape.heads(), transforms::soft_cap{2.0}, masks::causal_top_left{});
  const row_major<TypeParam> Q = this->matrix(this->n, 12), K = this->matrix(this->m, 12);
  const multi_head<TypeParam> layer(p, shape.heads());
  options scaled;
  scaled.scale = 0.25;
  const auto truth = oracle::multi_head(oracle::widen(Q), oracle::widen(K), oracle::widen(K), p,
                                        shape.heads(), scaled);
  EXPECT_LE(max_error(layer(Q, K, K, scaled), truth.output),
            multi_head_layer_bound<TypeParam>(48 + this->m, 4, 8));
}

TYPED_TEST(MultiHeadLayer, ExtraKeysStandBehindTheGivenOnesAndAreSeenByAll) {
  using T = TypeParam;
  const multi_head_shape shape{.query_heads = 4, .kv_heads = 2};
  for (const bool with_bias : {false, true})
    for (const bool with_zero : {false, true}) {
      auto p = this->parameters(shape);
      if (with_bias) {
        p.bias_k = random_matrix<row_vector<T>>(1, p.Wk.cols(), this->random);
        p.bias_v = random_matrix<row_vector<T>>(1, p.Wv.cols(), this->random);
      }
      p.add_zero_attn = with_zero;
      const heads h = shape.heads();
      EXPECT_EQ((multi_head<T>(p, h).extra_keys()), index(with_bias) + index(with_zero));
      const row_major<bool> padding = this->random_bool(1, this->m, 0.3);
      const row_major<bool> each_head = this->random_bool(4 * this->n, this->m, 0.3);
      const auto B = this->matrix(this->n, this->m);
      this->expect_agreement(p, h);
      this->expect_agreement(p, h, masks::causal_top_left{});
      this->expect_agreement(p, h, masks::causal_bottom_right{}, transforms::bias{B});
      this->expect_agreement(p, h, masks::dense_ignoring(padding) & masks::window{.left = 3});
      this->expect_agreement(p, h, masks::dense_ignoring(each_head), transforms::alibi{0.5});
      this->expect_agreement(p, h, masks::causal{.offset = -8}, transforms::soft_cap{1.0});
      this->expect_agreement(p, h, masks::padding{.length = 0});
    }
}

TYPED_TEST(MultiHeadLayer, ExtraKeysAloneServeAQueryWithoutKeys) {
  using T = TypeParam;
  const multi_head_shape shape;
  auto p = this->parameters(shape);
  p.add_zero_attn = true;
  const row_major<T> Q = this->matrix(5, 12), none(0, 12);
  this->expect_agreement(Q, none, none, p, shape.heads());
  p.bias_k = random_matrix<row_vector<T>>(1, 12, this->random);
  p.bias_v = random_matrix<row_vector<T>>(1, 12, this->random);
  this->expect_agreement(Q, none, none, p, shape.heads());
}

TYPED_TEST(MultiHeadLayer, QueriesWithoutKeysGetTheOutputBias) {
  using T = TypeParam;
  const multi_head_shape shape;
  const auto p = this->parameters(shape);
  const multi_head<T> layer(p, shape.heads());
  const row_major<T> Q = this->matrix(this->n, 12), K = this->matrix(this->m, 12), none(0, 12);
  row_major<bool> ignored = row_major<bool>::Constant(this->n, this->m, false);
  ignored.row(4).setConstant(true);
  ignored.row(20).setConstant(true);
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    const auto result = layer.with_weights(Q, K, K, masks::dense_ignoring(ignored), which.opts);
    for (const index i : {4, 20}) {
      EXPECT_TRUE(bitwise_equal(result.output.row(i), p.bo));
      for (const auto& weights : result.weights) EXPECT_TRUE(row_is_zero(weights, i));
    }
    EXPECT_FALSE(bitwise_equal(result.output.row(5), p.bo));
    EXPECT_TRUE(bitwise_equal(layer(Q, none, none, which.opts), p.bo.replicate(this->n, 1).eval()));
  }
}

TYPED_TEST(MultiHeadLayer, WeightsSumToOneAndWithTheValuesGiveTheOutput) {
  using T = TypeParam;
  const multi_head_shape shape{.query_heads = 4, .kv_heads = 2, .head_values = 5};
  auto p = this->parameters(shape);
  p.bias_k = random_matrix<row_vector<T>>(1, p.Wk.cols(), this->random);
  p.bias_v = random_matrix<row_vector<T>>(1, p.Wv.cols(), this->random);
  p.add_zero_attn = true;
  const multi_head<T> layer(p, shape.heads());
  const auto Q = this->matrix(this->n, 12), K = this->matrix(this->m, 12),
             V = this->matrix(this->m, 12);
  const auto result = layer.with_weights(Q, K, V, masks::causal_bottom_right{});
  row_major<T> values = row_major<T>::Zero(this->m + 2, p.Wv.cols());
  values.topRows(this->m) = (V * p.Wv).rowwise() + p.bv;
  values.row(this->m) = p.bias_v;
  row_major<T> joined(this->n, 20);
  ASSERT_EQ(result.weights.size(), 4u);
  for (index head = 0; head < 4; ++head) {
    const auto& weights = result.weights[std::size_t(head)];
    ASSERT_EQ(weights.cols(), this->m + 2);
    EXPECT_LE(max_error(weights.rowwise().sum().eval(), column<T>::Ones(this->n)),
              unit_sum_bound<T>(this->m + 2));
    EXPECT_TRUE((weights.array() >= 0).all());
    joined.middleCols(head * 5, 5) = weights * values.middleCols(head / 2 * 5, 5);
  }
  const row_major<T> output = (joined * p.Wo).rowwise() + p.bo;
  EXPECT_LE(max_error(result.output, output), multi_head_layer_bound<T>(64 + this->m, 4, 8));
}

TYPED_TEST(MultiHeadLayer, MeanOfHeadsIsTheAverageWeight) {
  using T = TypeParam;
  const multi_head_shape shape;
  const multi_head<T> layer(this->parameters(shape), shape.heads());
  const auto X = this->matrix(this->n, 12);
  const auto weights = layer.with_weights(X).weights;
  const row_major<T> mean = mean_of_heads(weights);
  for (index i = 0; i < this->n; ++i)
    for (index j = 0; j < this->n; ++j) {
      oracle::real sum = 0;
      for (const auto& P : weights) sum += P(i, j);
      EXPECT_LE(std::fabs(mean(i, j) - sum / 4), unit_sum_bound<T>(4));
    }
  EXPECT_TRUE(bitwise_equal(mean_of_heads(std::vector<row_major<T>>{weights[2]}), weights[2]));
  EXPECT_EQ(mean_of_heads(std::vector<row_major<T>>{}).size(), 0);
}

TYPED_TEST(MultiHeadLayer, HasTheSameBitsInAnyStorage) {
  using T = TypeParam;
  const multi_head_shape shape;
  auto p = this->parameters(shape);
  p.add_zero_attn = true;
  const multi_head<T> layer(p, shape.heads());
  const auto Q = this->matrix(this->n, 12), K = this->matrix(this->m, 12);
  on_every_set([&](const options& opts) {
    const row_major<T> expected = layer(Q, K, K, opts);
    expect_bits_in_any_storage(Q, expected,
                               [&](const auto& x, auto&& y) { layer.into(x, K, K, y, opts); });
    expect_bits_in_any_storage(K, expected,
                               [&](const auto& x, auto&& y) { layer.into(Q, x, x, y, opts); });
  });
}

TYPED_TEST(MultiHeadLayer, HasTheSameBitsOnAnyExecutorAndForQueriesInSeveralCalls) {
  using T = TypeParam;
  const multi_head_shape shape{.query_heads = 4, .kv_heads = 2};
  auto p = this->parameters(shape);
  p.add_zero_attn = true;
  const multi_head<T> layer(p, shape.heads());
  const auto Q = this->matrix(60, 12), K = this->matrix(this->m, 12);
  on_every_set([&](options opts) {
    opts.kernel = kernel::tiled;
    const auto alone = layer.with_weights(Q, K, K, opts, masks::padding{.length = 20});
    on_other_executors([&](const auto& executor, const char* name) {
      const auto other = layer.with_weights(Q, K, K, executor, opts, masks::padding{.length = 20});
      EXPECT_TRUE(bitwise_equal(other.output, alone.output)) << name;
      for (std::size_t head = 0; head < 4; ++head)
        EXPECT_TRUE(bitwise_equal(other.weights[head], alone.weights[head])) << name;
    });
    for (const index rows : {1, 7, 33})
      EXPECT_TRUE(
          bitwise_equal(layer(Q.middleRows(5, rows), K, K, opts, masks::padding{.length = 20}),
                        alone.output.middleRows(5, rows)));
  });
}

TYPED_TEST(MultiHeadLayer, NanInAQueryReachesExactlyItsRow) {
  using T = TypeParam;
  const multi_head_shape shape;
  const multi_head<T> layer(this->parameters(shape), shape.heads());
  const auto Q = this->matrix(this->n, 12), K = this->matrix(this->m, 12);
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    const row_major<T> clean = layer(Q, K, K, which.opts);
    for (const index poisoned : {0, 9, 20}) {
      row_major<T> broken = Q;
      broken(poisoned, 7) = std::numeric_limits<T>::quiet_NaN();
      row_major<T> O = layer(broken, K, K, which.opts);
      EXPECT_TRUE(row_is_nan(O, poisoned));
      O.row(poisoned) = clean.row(poisoned);
      EXPECT_TRUE(bitwise_equal(O, clean)) << poisoned;
    }
  }
}

TYPED_TEST(MultiHeadLayer, MaskedPoisonNeverReachesTheOutput) {
  using T = TypeParam;
  const multi_head_shape shape;
  const multi_head<T> layer(this->parameters(shape), shape.heads());
  const auto Q = this->matrix(this->n, 12), K = this->matrix(this->m, 12);
  row_major<T> broken = K;
  broken.row(3).setConstant(std::numeric_limits<T>::quiet_NaN());
  broken.row(25).setConstant(std::numeric_limits<T>::infinity());
  row_major<bool> ignored = row_major<bool>::Constant(1, this->m, false);
  ignored(0, 3) = ignored(0, 25) = true;
  const auto mask = masks::dense_ignoring(ignored);
  for (const way& which : every_way())
    EXPECT_TRUE(
        bitwise_equal(layer(Q, broken, broken, mask, which.opts), layer(Q, K, K, mask, which.opts)))
        << which.name;
}

TYPED_TEST(MultiHeadLayer, KeepsACopyOfItsParameters) {
  using T = TypeParam;
  const multi_head_shape shape;
  auto p = this->parameters(shape);
  p.bias_k = random_matrix<row_vector<T>>(1, 12, this->random);
  p.bias_v = random_matrix<row_vector<T>>(1, 12, this->random);
  const multi_head<T> layer(p, shape.heads());
  const auto X = this->matrix(5, 12);
  const auto expected = layer(X);
  p.Wq.setZero();
  p.Wo.setZero();
  p.bias_v.setZero();
  EXPECT_TRUE(bitwise_equal(layer(X), expected));
}

TYPED_TEST(MultiHeadLayer, AWorkspaceMayServeCallsOfAnySize) {
  using T = TypeParam;
  const multi_head_shape shape;
  const multi_head<T> layer(this->parameters(shape), shape.heads());
  workspace space;
  options opts;
  opts.workspace = &space;
  const exec::thread_pool pool(3);
  for (const index rows : {3, 200, 1, 50}) {
    const auto X = this->matrix(rows, 12);
    const row_major<T> expected = layer(X);
    EXPECT_TRUE(bitwise_equal(layer(X, opts), expected));
    EXPECT_TRUE(bitwise_equal(layer(X, pool, opts), expected));
    EXPECT_TRUE(bitwise_equal(layer.with_weights(X, opts).output, expected));
  }
}

TYPED_TEST(MultiHeadLayer, EdgeSizes) {
  using T = TypeParam;
  const multi_head_shape shape;
  const multi_head<T> layer(this->parameters(shape), shape.heads());
  const row_major<T> no_queries(0, 12), K = this->matrix(4, 12);
  for (const way& which : every_way()) {
    EXPECT_EQ(layer(no_queries, K, K, which.opts).cols(), 12) << which.name;
    EXPECT_EQ(layer(no_queries, which.opts).rows(), 0) << which.name;
  }
  const multi_head_shape one{.features = 1,
                             .key_features = 1,
                             .value_features = 1,
                             .query_heads = 1,
                             .kv_heads = 1,
                             .head_features = 1,
                             .head_values = 1,
                             .outputs = 1};
  this->expect_agreement(this->matrix(3, 1), this->matrix(2, 1), this->matrix(2, 1),
                         this->parameters(one), one.heads());
}

TYPED_TEST(MultiHeadLayer, RejectsInputsOfOtherSizesAndLeavesTheOutputAlone) {
  using T = TypeParam;
  const multi_head_shape shape{.features = 12, .key_features = 7, .value_features = 5};
  const multi_head<T> layer(this->parameters(shape), shape.heads());
  const auto Q = this->matrix(3, 12), K = this->matrix(4, 7), V = this->matrix(4, 5);
  row_major<T> O = row_major<T>::Constant(3, 12, T(42));
  const auto rejects = [&](const row_major<T>& q, const row_major<T>& k, const row_major<T>& v,
                           std::initializer_list<const char*> pieces) {
    expect_error<shape_error>([&] { layer.into(q, k, v, O); }, pieces);
    expect_error<shape_error>([&] { (void)layer(q, k, v); }, pieces);
    expect_error<shape_error>([&] { (void)layer.with_weights(q, k, v); }, pieces);
  };
  rejects(Q.leftCols(11), K, V, {"multi_head", "Q.cols() is 11", "Wq.rows() is 12"});
  rejects(Q, K.leftCols(6), V, {"K.cols() is 6", "Wk.rows() is 7"});
  rejects(Q, K, V.leftCols(4), {"V.cols() is 4", "Wv.rows() is 5"});
  rejects(Q, K, V.topRows(3), {"V.rows() is 3", "K.rows() is 4"});
  row_major<T> narrow = row_major<T>::Zero(3, 11), longer = row_major<T>::Zero(4, 12);
  expect_error<shape_error>([&] { layer.into(Q, K, V, narrow); },
                            {"O.cols() is 11", "outputs() is 12"});
  expect_error<shape_error>([&] { layer.into(Q, K, V, longer); },
                            {"O.rows() is 4", "Q.rows() is 3"});
  const row_major<bool> mask = row_major<bool>::Constant(2, 4, true);
  expect_error<shape_error>([&] { layer.into(Q, K, V, O, masks::dense{mask}); },
                            {"multi_head", "rows() is 2", "Q.rows() is 3"});
  expect_error<argument_error>([&] { layer.into(Q, K, V, O, transforms::soft_cap{-1.0}); },
                               {"multi_head", "cap is -1"});
  EXPECT_TRUE((O.array() == T(42)).all());
  EXPECT_TRUE(narrow.isZero(0));
  EXPECT_TRUE(longer.isZero(0));
}

TYPED_TEST(MultiHeadLayer, RejectsAnOutputThatOverlapsAnInput) {
  using T = TypeParam;
  const multi_head_shape shape;
  const multi_head<T> layer(this->parameters(shape), shape.heads());
  auto Q = this->matrix(4, 12), K = this->matrix(4, 12), V = this->matrix(4, 12);
  expect_error<argument_error>([&] { layer.into(Q, K, V, Q); }, {"multi_head", "O overlaps Q"});
  expect_error<argument_error>([&] { layer.into(Q, K, V, K); }, {"O overlaps K"});
  expect_error<argument_error>([&] { layer.into(Q, K, V, V); }, {"O overlaps V"});
}

TYPED_TEST(MultiHeadLayer, RejectsParametersThatDoNotFit) {
  using T = TypeParam;
  const multi_head_shape shape{.query_heads = 4, .kv_heads = 2};
  const auto good = this->parameters(shape);
  const auto rejects = [&](const auto& change, std::initializer_list<const char*> pieces) {
    auto p = good;
    change(p);
    expect_error<shape_error>([&] { (void)multi_head<T>(p, shape.heads()); }, pieces);
  };
  using parameters = multi_head_parameters<T>;
  const auto columns = [](auto& W, index count) { W.conservativeResize(W.rows(), count); };
  rejects([&](parameters& p) { columns(p.Wq, 11); }, {"multi_head", "Wq.cols() is 11", "4"});
  rejects([&](parameters& p) { columns(p.Wk, 5); }, {"Wk.cols() is 5", "2"});
  rejects([&](parameters& p) { columns(p.Wv, 5); }, {"Wv.cols() is 5", "2"});
  rejects([&](parameters& p) { columns(p.Wk, 4); }, {"Wk.cols()", "Wq.cols()"});
  rejects([&](parameters& p) { p.Wo.conservativeResize(11, 12); }, {"Wo.rows() is 11", "12"});
  rejects([&](parameters& p) { p.bq.conservativeResize(3); },
          {"bq.size() is 3", "Wq.cols() is 12"});
  rejects([&](parameters& p) { p.bk.conservativeResize(3); }, {"bk.size() is 3", "Wk.cols() is 6"});
  rejects([&](parameters& p) { p.bv.conservativeResize(3); }, {"bv.size() is 3", "Wv.cols() is 6"});
  rejects([&](parameters& p) { p.bo.conservativeResize(3); },
          {"bo.size() is 3", "Wo.cols() is 12"});
  rejects([&](parameters& p) { p.bias_k.setZero(6); },
          {"bias_k.size() is 6", "bias_v.size() is 0"});
  rejects([&](parameters& p) { p.bias_k.setZero(5); }, {"bias_k.size() is 5", "Wk.cols() is 6"});
  rejects([&](parameters& p) { p.bias_v.setZero(5); }, {"bias_v.size() is 5", "Wv.cols() is 6"});
  const auto with = [&](const heads& h) { return [&good, h] { (void)multi_head<T>(good, h); }; };
  expect_error<shape_error>(with({.query = 4, .kv = 3}),
                            {"multi_head: heads.query is 4 but heads.kv is 3"});
  expect_error<argument_error>(with({.query = 0}), {"multi_head: heads.query is 0"});
  expect_error<argument_error>(with({.query = 4, .kv = 0}), {"multi_head: heads.kv is 0"});
}

}  // namespace
}  // namespace softlook::multi_head_test
