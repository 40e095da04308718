#include "softlook/transformer/encoder.hpp"

#include <gtest/gtest.h>

#include "tests/support/erased.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"
#include "tests/support/ways.hpp"

namespace softlook::encoder_test {
namespace {

using namespace softlook_test;

constexpr activation activations[] = {activation::none, activation::relu, activation::gelu,
                                      activation::gelu_tanh};

/// Rounding of a layer: `terms` is the sum of the lengths of its sums; a norm divides errors by the
/// deviation of its input, about 1 here.
template <class T>
double encoder_layer_bound(double terms, double magnitude) {
  return (16 + terms) * epsilon_of<T>() * magnitude;
}

template <class T>
class TransformerEncoder : public ::testing::Test {
 protected:
  static constexpr index n = 21, head_features = 6, hidden_units = 50;
  static constexpr index features = 4 * head_features;
  using layer_weights = transformer_encoder_layer_parameters<T>;
  using layer_type = transformer_encoder_layer<T>;
  generator random = seed(661);

  row_major<T> matrix(index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, random);
  }
  row_major<T> input(index rows = n) { return matrix(rows, features); }
  layer_weights layer_parameters() {
    return random_encoder_layer<T>(4, head_features, hidden_units, random);
  }
  static transformer_encoder_layer_options form(bool norm_first, activation f = activation::relu) {
    return {.heads = {.query = 4}, .activation = f, .norm_first = norm_first};
  }

  /// f(options of a layer) for pre- and post-norm.
  template <class F>
  static void for_both_norms(const F& f) {
    for (const bool norm_first : {false, true}) {
      SCOPED_TRACE(norm_first ? "pre-norm" : "post-norm");
      f(form(norm_first));
    }
  }

  template <class... Policies>
  static void expect_exactly_these(const row_major<T>& X, const layer_weights& p,
                                   const transformer_encoder_layer_options& o,
                                   const Policies&... policies) {
    const oracle::matrix wide = oracle::widen(X);
    const oracle::matrix truth = oracle::encoder_layer(wide, p, o, policies...);
    const oracle::matrix seen = oracle::attention_input(wide, p, o);
    const auto weights =
        oracle::multi_head(seen, seen, seen, p.self_attention, o.heads, policies...).weights;
    const double terms = static_cast<double>(4 * X.cols() + p.W1.cols() + X.rows());
    const double bound = encoder_layer_bound<T>(terms, max_magnitude(truth));
    const layer_type made(p, o);
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      EXPECT_LE(max_error(made(X, policies..., which.opts), truth), bound);
      const auto looks = made.attention_weights(X, policies..., which.opts);
      ASSERT_EQ(looks.size(), weights.size());
      for (std::size_t head = 0; head < looks.size(); ++head)
        EXPECT_LE(max_error(looks[head], weights[head]), bound);
    }
  }
  static void expect_agreement(const row_major<T>& X, const layer_weights& p,
                               const transformer_encoder_layer_options& o) {
    expect_exactly_these(X, p, o);
  }
  template <class P, class... Policies>
  static void expect_agreement(const row_major<T>& X, const layer_weights& p,
                               const transformer_encoder_layer_options& o, const P& policy,
                               const Policies&... policies) {
    with_erased([&](const any_transform& transform,
                    const any_mask& mask) { expect_exactly_these(X, p, o, transform, mask); },
                policy, policies...);
  }

  std::vector<layer_type> layers(index count, const transformer_encoder_layer_options& o) {
    std::vector<layer_type> stack;
    for (index l = 0; l < count; ++l) stack.emplace_back(layer_parameters(), o);
    return stack;
  }
};
TYPED_TEST_SUITE(TransformerEncoder, scalars, scalar_names);

TYPED_TEST(TransformerEncoder, ALayerIsItsFormulaWithEveryActivation) {
  for (const bool norm_first : {false, true})
    for (const activation f : activations) {
      SCOPED_TRACE(name_of(f));
      this->expect_agreement(this->input(), this->layer_parameters(), this->form(norm_first, f));
    }
}

TYPED_TEST(TransformerEncoder, ALayerTakesAnyNumberOfRows) {
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const auto p = this->layer_parameters();
    for (const index rows : {1, 2, 8, 9, 33, 70}) this->expect_agreement(this->input(rows), p, o);
  });
}

TYPED_TEST(TransformerEncoder, ALayerMayLackAnyBias) {
  using row = row_vector<TypeParam>;
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const auto all = this->layer_parameters();
    for (int without = 0; without < 5; ++without) {
      auto p = all;
      if (without == 0 || without == 4) p.b1 = row();
      if (without == 1 || without == 4) p.b2 = row();
      if (without == 2 || without == 4) p.bias1 = row();
      if (without == 3 || without == 4) p.bias2 = row();
      if (without == 4) {
        auto& a = p.self_attention;
        a.bq = a.bk = a.bv = a.bo = row();
      }
      this->expect_agreement(this->input(), p, o);
    }
  });
}

TYPED_TEST(TransformerEncoder, ALayerTakesGroupedHeadsAndItsEpsilon) {
  using T = TypeParam;
  auto p = this->layer_parameters();
  p.self_attention = random_multi_head<T>({.features = 24,
                                           .key_features = 24,
                                           .value_features = 24,
                                           .query_heads = 6,
                                           .kv_heads = 2,
                                           .head_features = 5,
                                           .head_values = 3,
                                           .outputs = 24},
                                          this->random);
  p.self_attention.add_zero_attn = true;
  for (const double epsilon : {1e-12, 1e-5, 2.0})
    for (const bool norm_first : {false, true})
      this->expect_agreement(this->input(), p,
                             {.heads = {.query = 6, .kv = 2},
                              .activation = activation::gelu,
                              .norm_first = norm_first,
                              .epsilon = epsilon});
}

TYPED_TEST(TransformerEncoder, ALayerTakesMasksAndTransforms) {
  using T = TypeParam;
  row_major<bool> padding = row_major<bool>::Constant(1, this->n, false);
  padding.rightCols(5).setConstant(true);
  row_major<bool> empty = row_major<bool>::Constant(this->n, this->n, false);
  empty.row(3).setConstant(true);
  const auto B = this->matrix(4 * this->n, this->n);
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const auto p = this->layer_parameters();
    const row_major<T> X = this->input();
    this->expect_agreement(X, p, o, masks::causal_top_left{});
    this->expect_agreement(X, p, o, masks::dense_ignoring(padding));
    this->expect_agreement(X, p, o, masks::dense_ignoring(padding) & masks::causal_top_left{});
    this->expect_agreement(X, p, o, masks::dense_ignoring(empty));
    this->expect_agreement(X, p, o, masks::window{.left = 2, .right = 2}, transforms::bias{B});
  });
}

TYPED_TEST(TransformerEncoder, AttentionWeightsAreThoseTheLayerUses) {
  using T = TypeParam;
  // With Wv and Wo the identity, b2 and W2 zero, what a pre-norm layer adds to X is
  // weights · norm1(X), head by head.
  auto p = this->layer_parameters();
  auto& a = p.self_attention;
  a.Wv = a.Wo = col_major<T>::Identity(24, 24);
  a.bv = a.bo = row_vector<T>();
  p.W2.setZero();
  p.b2 = row_vector<T>();
  const transformer_encoder_layer<T> made(p, this->form(true));
  const row_major<T> X = this->input();
  const masks::causal_top_left causal;
  const auto weights = made.attention_weights(X, causal);
  const row_major<T> normed = layer_norm<T>(p.gain1, p.bias1)(X), Y = made(X, causal);
  ASSERT_EQ(weights.size(), 4u);
  for (index head = 0; head < 4; ++head) {
    const row_major<T> added = weights[std::size_t(head)] * normed.middleCols(head * 6, 6);
    EXPECT_LE(max_error((Y - X).middleCols(head * 6, 6).eval(), added),
              encoder_layer_bound<T>(double(this->n), max_magnitude(X)));
  }
}

TYPED_TEST(TransformerEncoder, HasTheSameBitsInAnyStorageAndInPlace) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const transformer_encoder_layer<T> one(this->layer_parameters(), o);
    const transformer_encoder<T> stack(this->layers(3, o));
    const row_major<T> X = this->input();
    on_every_set([&](const options& opts) {
      const auto check = [&](const auto& made) {
        const row_major<T> expected = made(X, opts);
        expect_bits_in_any_storage(X, expected,
                                   [&](const auto& x, auto&& y) { made.into(x, y, opts); });
        row_major<T> rows = X;
        made.into(rows, rows, opts);
        EXPECT_TRUE(bitwise_equal(rows, expected));
        col_major<T> columns = X;
        made.into(columns, columns, opts);
        EXPECT_TRUE(bitwise_equal(columns, expected));
      };
      check(one);
      check(stack);
    });
  });
}

TYPED_TEST(TransformerEncoder, HasTheSameBitsOnAnyExecutor) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const transformer_encoder<T> stack(this->layers(2, o),
                                       layer_norm<T>(row_vector<T>::Ones(24), row_vector<T>()));
    // Up to 170: blocks of rows for none, some or all of the executors.
    for (const index rows : {2, 70, 170}) {
      const row_major<T> X = this->input(rows);
      on_every_set([&](const options& opts) {
        const masks::causal_top_left causal;
        const row_major<T> alone = stack(X, opts, causal);
        const auto looks = stack.layers().front().attention_weights(X, opts);
        on_other_executors([&](const auto& executor, const char* name) {
          EXPECT_TRUE(bitwise_equal(stack(X, executor, opts, causal), alone)) << name;
          const auto other = stack.layers().front().attention_weights(X, executor, opts);
          for (std::size_t head = 0; head < 4; ++head)
            EXPECT_TRUE(bitwise_equal(other[head], looks[head])) << name;
        });
      });
    }
  });
}

TYPED_TEST(TransformerEncoder, HasTheSameBitsOnAnyExecutorInPlaceAndInAnyStorage) {
  using T = TypeParam;
  const exec::thread_pool pool(2);
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const transformer_encoder<T> stack(this->layers(2, o));
    const row_major<T> X = this->input(75), alone = stack(X);
    expect_bits_in_any_storage(X, alone, [&](const auto& x, auto&& y) { stack.into(x, y, pool); });
    row_major<T> rows = X;
    stack.into(rows, rows, pool);
    EXPECT_TRUE(bitwise_equal(rows, alone));
    col_major<T> columns = X;
    stack.into(columns, columns, pool);
    EXPECT_TRUE(bitwise_equal(columns, alone));
  });
}

TYPED_TEST(TransformerEncoder, LayersOfOtherFormsHaveTheSameBitsOnAnyExecutor) {
  using T = TypeParam;
  // Other heads, extra keys, hidden units and places of the norm: what a layer writes lies where
  // the one before has other rows.
  std::vector<transformer_encoder_layer<T>> layers;
  for (const index kind : {0, 1, 2, 3, 1, 0}) {
    auto p = random_encoder_layer<T>(4, 6, 10 + 70 * kind, this->random);
    const heads h{.query = 4, .kv = kind % 2 == 0 ? 4 : 2};
    p.self_attention = random_multi_head<T>({.features = 24,
                                             .key_features = 24,
                                             .value_features = 24,
                                             .query_heads = h.query,
                                             .kv_heads = *h.kv,
                                             .head_features = 3 + 5 * kind,
                                             .head_values = 17 - 5 * kind,
                                             .outputs = 24},
                                            this->random);
    p.self_attention.add_zero_attn = kind == 2;
    if (kind == 1) {
      p.self_attention.bias_k =
          random_matrix<row_vector<T>>(1, p.self_attention.Wk.cols(), this->random);
      p.self_attention.bias_v =
          random_matrix<row_vector<T>>(1, p.self_attention.Wv.cols(), this->random);
    }
    layers.emplace_back(p, transformer_encoder_layer_options{.heads = h, .norm_first = kind == 3});
  }
  const transformer_encoder<T> stack(layers);
  const row_major<T> X = this->input(170), alone = stack(X);
  row_major<T> x = X;
  for (const auto& layer : layers) x = layer(x).eval();
  EXPECT_TRUE(bitwise_equal(alone, x));
  on_other_executors([&](const auto& executor, const char* name) {
    EXPECT_TRUE(bitwise_equal(stack(X, executor), alone)) << name;
  });
}

TYPED_TEST(TransformerEncoder, ALayerIsTwoSetsOfTasksWhereEachWorkerHasABlockOfRows) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const transformer_encoder<T> stack(this->layers(4, o),
                                       layer_norm<T>(row_vector<T>::Ones(24), row_vector<T>()));
    const row_major<T> X = this->input(64);
    index sets = 0;
    EXPECT_TRUE(bitwise_equal(stack(X, counted_sets{2, &sets}), stack(X)));
    EXPECT_EQ(sets, 2 * 4 + 1);
    sets = 0;
    (void)stack(X, counted_sets{3, &sets});
    EXPECT_EQ(sets, 7 * 4 + 1) << "too few rows for three workers: each product is shared out";
  });
}

TYPED_TEST(TransformerEncoder, AMaskThatThrowsIsHeardOnAnyExecutor) {
  using T = TypeParam;
  const transformer_encoder<T> stack(this->layers(2, this->form(false)));
  const row_major<T> X = this->input(170);
  const auto refuses = masks::where([](std::int32_t i, std::int32_t) -> bool {
    if (i == 100) throw std::runtime_error("refused");
    return true;
  });
  on_other_executors([&](const auto& executor, const char* name) {
    EXPECT_THROW((void)stack(X, executor, refuses), std::runtime_error) << name;
    EXPECT_TRUE(bitwise_equal(stack(X, executor), stack(X))) << name;
  });
}

TYPED_TEST(TransformerEncoder, AStackIsItsLayersOneAfterAnother) {
  using T = TypeParam;
  const masks::causal_top_left causal;
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const auto layers = this->layers(3, o);
    const layer_norm<T> norm(random_matrix<row_vector<T>>(1, 24, this->random),
                             random_matrix<row_vector<T>>(1, 24, this->random), 1e-3);
    const transformer_encoder<T> plain(layers), normed(layers, norm);
    EXPECT_EQ(plain.layers().size(), 3u);
    EXPECT_EQ(plain.features(), 24);
    EXPECT_FALSE(plain.final_norm().has_value());
    EXPECT_TRUE(normed.final_norm().has_value());
    const row_major<T> X = this->input();
    on_every_set([&](const options& opts) {
      row_major<T> x = X;
      for (const auto& layer : layers) x = layer(x, opts, causal).eval();
      EXPECT_TRUE(bitwise_equal(plain(X, opts, causal), x));
      EXPECT_TRUE(bitwise_equal(normed(X, opts, causal), norm(x, opts)));
    });
  });
}

TYPED_TEST(TransformerEncoder, AStackAgreesWithTheOracle) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    std::vector<transformer_encoder_layer_parameters<T>> parameters;
    std::vector<transformer_encoder_layer<T>> layers;
    for (int l = 0; l < 4; ++l) {
      parameters.push_back(this->layer_parameters());
      layers.emplace_back(parameters.back(), o);
    }
    const row_vector<T> gain = random_matrix<row_vector<T>>(1, 24, this->random);
    const transformer_encoder<T> stack(layers, layer_norm<T>(gain, row_vector<T>()));
    const row_major<T> X = this->input();
    oracle::matrix x = oracle::widen(X);
    for (const auto& p : parameters) x = oracle::encoder_layer(x, p, o);
    x = oracle::layer_norm(x, oracle::widen(gain), oracle::matrix(), 1e-5L);
    on_every_set([&](const options& opts) {
      EXPECT_LE(
          max_error(stack(X, opts), x),
          encoder_layer_bound<T>(4 * (4 * 24 + this->hidden_units + this->n), max_magnitude(x)));
    });
  });
}

TYPED_TEST(TransformerEncoder, LayersOfOtherWidthsMayFollowEachOther) {
  using T = TypeParam;
  std::vector<transformer_encoder_layer<T>> layers;
  for (const index hidden : {3, 200, 1})
    layers.emplace_back(random_encoder_layer<T>(4, 6, hidden, this->random), this->form(true));
  const row_major<T> X = this->input();
  row_major<T> x = X;
  for (const auto& layer : layers) x = layer(x).eval();
  EXPECT_TRUE(bitwise_equal(transformer_encoder<T>(layers)(X), x));
}

TYPED_TEST(TransformerEncoder, NanReachesWhatLooksAtItOnly) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const transformer_encoder<T> stack(this->layers(2, o));
    const row_major<T> X = this->input();
    row_major<T> broken = X;
    broken(8, 5) = std::numeric_limits<T>::quiet_NaN();
    on_every_set([&](const options& opts) {
      const row_major<T> clean = stack(X, opts, masks::causal_top_left{});
      const row_major<T> Y = stack(broken, opts, masks::causal_top_left{});
      EXPECT_TRUE(bitwise_equal(Y.topRows(8), clean.topRows(8)));
      for (index i = 8; i < this->n; ++i) EXPECT_TRUE(row_is_nan(Y, i)) << i;
    });
  });
}

TYPED_TEST(TransformerEncoder, AWorkspaceMayServeCallsOfAnySize) {
  using T = TypeParam;
  const transformer_encoder<T> stack(this->layers(2, this->form(false)));
  workspace space;
  options opts;
  opts.workspace = &space;
  const exec::thread_pool pool(3);
  for (const index rows : {3, 150, 1, 40}) {
    const auto X = this->input(rows);
    const row_major<T> expected = stack(X);
    EXPECT_TRUE(bitwise_equal(stack(X, opts), expected));
    EXPECT_TRUE(bitwise_equal(stack(X, pool, opts), expected));
    (void)stack.layers().front().attention_weights(X, opts);
  }
}

TYPED_TEST(TransformerEncoder, NoRowsGiveNoRows) {
  using T = TypeParam;
  const row_major<T> none(0, 24);
  const exec::thread_pool pool(3);
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    const transformer_encoder<T> stack(this->layers(2, o),
                                       layer_norm<T>(row_vector<T>::Ones(24), row_vector<T>()));
    on_every_set([&](const options& opts) {
      EXPECT_EQ(stack(none, opts).cols(), 24);
      EXPECT_EQ(stack(none, opts, pool).rows(), 0);
      EXPECT_EQ(stack.layers().front().attention_weights(none, opts).size(), 4u);
    });
  });
  static_assert(
      !decltype(transformer_encoder<T>(this->layers(1, {}))(col_major<T>(1, 24)))::IsRowMajor);
}

TYPED_TEST(TransformerEncoder, RejectsInputsOfOtherSizesAndPartialOverlap) {
  using T = TypeParam;
  const auto check = [&](const auto& made, const char* name) {
    row_major<T> all = this->matrix(30, 60);
    const row_major<T> untouched = all;
    row_major<T> Y = row_major<T>::Constant(5, 24, T(42));
    const auto X = this->input(5);
    const auto wide = this->matrix(5, 25);
    expect_error<shape_error>([&] { (void)made(wide); },
                              {name, "X.cols() is 25", "features() is 24"});
    expect_error<shape_error>([&] { made.into(wide, Y); }, {name, "X.cols() is 25"});
    expect_error<shape_error>([&] { made.into(all.topLeftCorner(6, 24), Y); },
                              {name, "Y.rows() is 5", "X.rows() is 6"});
    row_major<T> narrow = row_major<T>::Zero(5, 23);
    expect_error<shape_error>([&] { made.into(X, narrow); },
                              {name, "Y.cols() is 23", "features() is 24"});
    expect_error<argument_error>([&] { made.into(all.block(0, 0, 5, 24), all.block(1, 0, 5, 24)); },
                                 {name, "Y overlaps X"});
    const row_major<bool> mask = row_major<bool>::Constant(4, 5, true);
    expect_error<shape_error>([&] { made.into(X, Y, masks::dense{mask}); }, {"rows() is 4", "5"});
    EXPECT_TRUE((Y.array() == T(42)).all());
    EXPECT_TRUE(narrow.isZero(0));
    EXPECT_TRUE(bitwise_equal(all, untouched));
  };
  this->for_both_norms([&](const transformer_encoder_layer_options& o) {
    check(transformer_encoder_layer<T>(this->layer_parameters(), o), "transformer_encoder_layer: ");
    check(transformer_encoder<T>(this->layers(2, o)), "transformer_encoder");
  });
  const transformer_encoder_layer<T> one(this->layer_parameters(), this->form(false));
  const auto wide = this->matrix(5, 25);
  expect_error<shape_error>([&] { (void)one.attention_weights(wide); }, {"X.cols() is 25", "24"});
}

TYPED_TEST(TransformerEncoder, RejectsParametersThatDoNotFit) {
  using T = TypeParam;
  using parameters = transformer_encoder_layer_parameters<T>;
  const auto good = this->layer_parameters();
  const auto rejects = rejects_of<transformer_encoder_layer<T>>(good, this->form(false));
  rejects([&](parameters& p) { set_rows(p.self_attention.Wk, 23); },
          {"transformer_encoder_layer", "Wk.rows() is 23", "24"});
  rejects([&](parameters& p) { set_rows(p.self_attention.Wv, 23); }, {"Wv.rows() is 23", "24"});
  rejects(
      [&](parameters& p) {
        set_columns(p.self_attention.Wo, 23);
        p.self_attention.bo.conservativeResize(23);
      },
      {"Wo.cols() is 23", "24"});
  rejects([&](parameters& p) { set_rows(p.W1, 23); }, {"W1.rows() is 23", "24"});
  rejects([&](parameters& p) { set_columns(p.W2, 23); }, {"W2.cols() is 23", "24"});
  rejects([&](parameters& p) { set_rows(p.W2, 49); }, {"W2.rows() is 49", "W1.cols() is 50"});
  rejects([&](parameters& p) { p.b1.conservativeResize(9); }, {"b1.size() is 9", "50"});
  rejects([&](parameters& p) { p.b2.conservativeResize(9); }, {"b2.size() is 9", "24"});
  rejects([&](parameters& p) { p.gain1.conservativeResize(9); }, {"gain1.size() is 9", "24"});
  rejects([&](parameters& p) { p.gain2.conservativeResize(9); }, {"gain2.size() is 9", "24"});
  rejects([&](parameters& p) { p.bias1.conservativeResize(9); }, {"bias1.size() is 9", "24"});
  rejects([&](parameters& p) { p.bias2.conservativeResize(9); }, {"bias2.size() is 9", "24"});
  rejects([&](parameters& p) { p.self_attention.bq.conservativeResize(9); },
          {"transformer_encoder_layer", "bq.size() is 9", "24"});
  transformer_encoder_layer_options o = this->form(false);
  o.epsilon = -1;
  expect_error<argument_error>([&] { (void)transformer_encoder_layer<T>(good, o); },
                               {"transformer_encoder_layer", "epsilon is -1"});
  o = this->form(false);
  o.heads.query = 5;
  expect_error<shape_error>([&] { (void)transformer_encoder_layer<T>(good, o); }, {"24", "5"});
}

TYPED_TEST(TransformerEncoder, RejectsAStackWhoseLayersDoNotFit) {
  using T = TypeParam;
  using layers = std::vector<transformer_encoder_layer<T>>;
  expect_error<argument_error>([&] { (void)transformer_encoder<T>(layers{}); },
                               {"transformer_encoder", "layers.size() is 0"});
  layers two = this->layers(1, this->form(false));
  two.emplace_back(random_encoder_layer<T>(4, 5, 10, this->random), this->form(false));
  expect_error<shape_error>([&] { (void)transformer_encoder<T>(two); },
                            {"transformer_encoder", "features() is 20", "24"});
  const layer_norm<T> norm(row_vector<T>::Ones(20), row_vector<T>());
  expect_error<shape_error>(
      [&] { (void)transformer_encoder<T>(this->layers(1, this->form(false)), norm); },
      {"final_norm.features() is 20", "24"});
}

}  // namespace
}  // namespace softlook::encoder_test
