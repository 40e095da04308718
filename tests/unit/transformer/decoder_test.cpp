#include "softlook/transformer/decoder.hpp"

#include <gtest/gtest.h>

#include "tests/oracle/decoder.hpp"
#include "tests/support/decoders.hpp"
#include "tests/support/erased.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/ways.hpp"

namespace softlook::decoder_test {
namespace {

using namespace softlook_test;

/// Rounding of a layer: `terms` is the sum of the lengths of its sums; a norm divides errors by the
/// deviation of its input, about 1 here.
template <class T>
double decoder_layer_bound(double terms, double magnitude) {
  return (16 + terms) * epsilon_of<T>() * magnitude;
}

/// A transform and a mask of one attention, as one type each.
struct looks {
  std::shared_ptr<const transform_interface> transform =
      hold_transform(transforms::map([](auto s, std::int32_t, std::int32_t) { return s; }));
  std::shared_ptr<const mask_interface> mask = hold_mask(masks::none{});

  std::tuple<any_transform, any_mask> policies() const {
    return {any_transform{transform.get()}, any_mask{mask.get()}};
  }
};
template <class Mask>
looks seen_through(const Mask& mask) {
  looks l;
  l.mask = hold_mask(mask);
  return l;
}
template <class Transform, class Mask>
looks seen_through(const Transform& transform, const Mask& mask) {
  looks l = seen_through(mask);
  l.transform = hold_transform(transform);
  return l;
}

template <class T>
class TransformerDecoder : public ::testing::Test {
 protected:
  static constexpr index n = 13, m = 9, features = 24, memory_features = 17, hidden = 50;
  using weights_type = transformer_decoder_layer_parameters<T>;
  using layer_type = transformer_decoder_layer<T>;
  generator random = seed(771);
  const decoder_shape shape{.features = features,
                            .memory_features = memory_features,
                            .hidden = hidden,
                            .heads = {.query = 4}};

  row_major<T> matrix(index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, random);
  }
  row_major<T> input(index rows = n) { return matrix(rows, features); }
  row_major<T> memory(index rows = m) { return matrix(rows, memory_features); }
  weights_type layer_parameters() { return random_decoder_layer<T>(shape, random); }
  static transformer_layer_options form(bool norm_first, activation f = activation::relu) {
    return {.heads = {.query = 4}, .activation = f, .norm_first = norm_first};
  }
  template <class F>
  static void for_both_norms(const F& f) {
    for (const bool norm_first : {false, true}) {
      SCOPED_TRACE(norm_first ? "pre-norm" : "post-norm");
      f(form(norm_first));
    }
  }
  std::vector<layer_type> layers(index count, const transformer_layer_options& o) {
    std::vector<layer_type> stack;
    for (index l = 0; l < count; ++l) stack.emplace_back(layer_parameters(), o);
    return stack;
  }
  transformer_decoder<T> stack(index count, const transformer_layer_options& o) {
    return transformer_decoder<T>(layers(count, o),
                                  layer_norm<T>(row_vector<T>::Ones(features), row_vector<T>()));
  }

  static double bound(index rows, index memory_rows, index layers, double magnitude) {
    const index terms = 6 * features + 2 * memory_features + hidden + rows + memory_rows;
    return decoder_layer_bound<T>(double(layers * terms), magnitude);
  }

  static void expect_agreement(const row_major<T>& X, const row_major<T>& M, const weights_type& p,
                               const transformer_layer_options& o, const looks& target = {},
                               const looks& at_memory = {}) {
    const auto truth = oracle::decoder_layer(oracle::widen(X), oracle::widen(M), p, o,
                                             target.policies(), at_memory.policies());
    const double limit = bound(X.rows(), M.rows(), 1, max_magnitude(truth.output));
    const layer_type made(p, o);
    const auto [t, tm] = target.policies();
    const auto [s, sm] = at_memory.policies();
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      const auto policies_of_target = for_target(t, tm);
      const auto policies_of_memory = for_memory(sm, s);
      const row_major<T> Y = made(X, M, policies_of_target, policies_of_memory, which.opts);
      EXPECT_LE(max_error(Y, truth.output), limit);
      const auto weights =
          made.attention_weights(X, M, policies_of_memory, which.opts, policies_of_target);
      ASSERT_EQ(weights.target.size(), truth.target_weights.size());
      ASSERT_EQ(weights.memory.size(), truth.memory_weights.size());
      for (std::size_t head = 0; head < weights.target.size(); ++head) {
        EXPECT_LE(max_error(weights.target[head], truth.target_weights[head]), limit);
        EXPECT_LE(max_error(weights.memory[head], truth.memory_weights[head]), limit);
      }
    }
  }

  /// The rows of X through steps of these sizes.
  template <class... Ps>
  static row_major<T> by_steps(const transformer_decoder<T>& made, const row_major<T>& X,
                               const row_major<T>& M, const std::vector<index>& sizes,
                               const Ps&... policies) {
    transformer_decoder_cache<T> cache =
        made.start(M, executor_of(policies...), detail::options_of(policies...));
    row_major<T> Y(X.rows(), X.cols());
    index at = 0;
    for (const index size : sizes) {
      Y.middleRows(at, size) = made.step(X.middleRows(at, size), cache, policies...);
      at += size;
      EXPECT_EQ(cache.rows(), at);
    }
    EXPECT_EQ(at, X.rows());
    return Y;
  }
  static const exec::sequential& executor_of() {
    static const exec::sequential alone{};
    return alone;
  }
  template <class P, class... Ps>
  static const auto& executor_of(const P& policy, const Ps&... others) {
    if constexpr (executor<P>)
      return policy;
    else
      return executor_of(others...);
  }
  static std::vector<std::vector<index>> ways_to_step() {
    return {std::vector<index>(n, 1), {n}, {3, 1, 5, 4}, {1, 12}, {0, 7, 0, 6}};
  }
};
TYPED_TEST_SUITE(TransformerDecoder, scalars, scalar_names);

TYPED_TEST(TransformerDecoder, ALayerIsItsFormula) {
  for (const bool norm_first : {false, true})
    for (const activation f : {activation::relu, activation::gelu, activation::gelu_tanh})
      this->expect_agreement(this->input(), this->memory(), this->layer_parameters(),
                             this->form(norm_first, f));
}

TYPED_TEST(TransformerDecoder, ALayerTakesAnyNumberOfRows) {
  this->for_both_norms([&](const transformer_layer_options& o) {
    const auto p = this->layer_parameters();
    for (const index rows : {1, 2, 33})
      for (const index seen : {0, 1, 40})
        this->expect_agreement(this->input(rows), this->memory(seen), p, o);
  });
}

TYPED_TEST(TransformerDecoder, ALayerTakesMasksAndTransformsForEachAttention) {
  using T = TypeParam;
  row_major<bool> padding = row_major<bool>::Constant(1, this->m, false);
  padding.rightCols(4).setConstant(true);
  row_major<bool> empty = row_major<bool>::Constant(this->n, this->m, false);
  empty.row(3).setConstant(true);
  const row_major<T> B = this->matrix(4 * this->n, this->m);
  this->for_both_norms([&](const transformer_layer_options& o) {
    const auto p = this->layer_parameters();
    const row_major<T> X = this->input(), M = this->memory();
    const looks causal = seen_through(masks::causal_top_left{});
    this->expect_agreement(X, M, p, o, causal);
    this->expect_agreement(X, M, p, o, looks{}, seen_through(masks::dense_ignoring(padding)));
    this->expect_agreement(X, M, p, o, causal, seen_through(masks::dense_ignoring(empty)));
    this->expect_agreement(
        X, M, p, o, seen_through(transforms::alibi{0.25}, masks::window{.left = 3, .right = 0}),
        seen_through(transforms::bias{B}, masks::dense_ignoring(padding)));
  });
}

TYPED_TEST(TransformerDecoder, ALayerTakesGroupedHeadsExtraKeysItsEpsilonAndNoBias) {
  using T = TypeParam;
  using row = row_vector<T>;
  auto p = random_decoder_layer<T>({.features = 24,
                                    .memory_features = this->memory_features,
                                    .hidden = this->hidden,
                                    .heads = {.query = 6, .kv = 2}},
                                   this->random);
  p.self_attention.add_zero_attn = true;
  p.cross_attention.bias_k = this->matrix(1, p.cross_attention.Wk.cols());
  p.cross_attention.bias_v = this->matrix(1, p.cross_attention.Wv.cols());
  p.b1 = p.b2 = p.bias1 = p.bias2 = p.bias3 = row();
  p.self_attention.bq = p.cross_attention.bo = row();
  for (const bool norm_first : {false, true})
    this->expect_agreement(this->input(), this->memory(), p,
                           {.heads = {.query = 6, .kv = 2}, .norm_first = norm_first, .epsilon = 2},
                           seen_through(masks::causal_top_left{}));
}

TYPED_TEST(TransformerDecoder, HasTheSameBitsInAnyStorageAndInPlace) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_layer_options& o) {
    const transformer_decoder_layer<T> one(this->layer_parameters(), o);
    const transformer_decoder<T> two = this->stack(2, o);
    const row_major<T> X = this->input(), M = this->memory();
    const col_major<T> by_columns = M;
    strided_copy<T> strided(M);
    on_every_set([&](const options& opts) {
      const auto check = [&](const auto& made) {
        const row_major<T> expected = made(X, M, opts);
        expect_bits_in_any_storage(X, expected,
                                   [&](const auto& x, auto&& y) { made.into(x, M, y, opts); });
        row_major<T> rows = X;
        made.into(rows, by_columns, rows, opts);
        EXPECT_TRUE(bitwise_equal(rows, expected));
        col_major<T> columns = X;
        made.into(columns, strided.map(), columns, opts);
        EXPECT_TRUE(bitwise_equal(columns, expected));
        EXPECT_TRUE(
            bitwise_equal(made(X, M + row_major<T>::Zero(M.rows(), M.cols()), opts), expected));
      };
      check(one);
      check(two);
    });
  });
}

TYPED_TEST(TransformerDecoder, HasTheSameBitsOnAnyExecutor) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_layer_options& o) {
    const transformer_decoder<T> made = this->stack(2, o);
    const auto causal = for_target(masks::causal_top_left{});
    for (const index memory_rows : {50, 170, 190}) {
      const row_major<T> X = this->input(170), M = this->memory(memory_rows);
      const row_major<T> alone = made(X, M, causal);
      on_other_executors([&](const auto& executor, const char* name) {
        EXPECT_TRUE(bitwise_equal(made(X, M, executor, causal), alone)) << name;
        const auto looks = made.layers().front().attention_weights(X, M, executor);
        const auto of_one = made.layers().front().attention_weights(X, M);
        for (std::size_t head = 0; head < 4; ++head) {
          EXPECT_TRUE(bitwise_equal(looks.target[head], of_one.target[head])) << name;
          EXPECT_TRUE(bitwise_equal(looks.memory[head], of_one.memory[head])) << name;
        }
      });
    }
    const row_major<T> X = this->input(70), M = this->memory(50);
    on_every_set([&](const options& opts) {
      const row_major<T> alone = made(X, M, causal, opts);
      const row_major<T> steps = this->by_steps(made, X, M, {40, 1, 29}, opts);
      on_other_executors([&](const auto& executor, const char* name) {
        EXPECT_TRUE(bitwise_equal(made(X, M, executor, causal, opts), alone)) << name;
        EXPECT_TRUE(bitwise_equal(this->by_steps(made, X, M, {40, 1, 29}, executor, opts), steps))
            << name;
      });
    });
  });
}

TYPED_TEST(TransformerDecoder, AStackIsItsLayersOneAfterAnother) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_layer_options& o) {
    const auto layers = this->layers(3, o);
    const layer_norm<T> norm(this->matrix(1, 24), this->matrix(1, 24), 1e-3);
    const transformer_decoder<T> plain(layers), normed(layers, norm);
    EXPECT_EQ(plain.layers().size(), 3u);
    EXPECT_EQ(plain.features(), 24);
    EXPECT_EQ(plain.memory_features(), this->memory_features);
    EXPECT_FALSE(plain.final_norm().has_value());
    const row_major<T> X = this->input(), M = this->memory();
    const auto causal = for_target(masks::causal_top_left{});
    const auto padded = for_memory(masks::padding{.length = 5});
    on_every_set([&](const options& opts) {
      row_major<T> x = X;
      for (const auto& layer : layers) x = layer(x, M, opts, causal, padded).eval();
      EXPECT_TRUE(bitwise_equal(plain(X, M, padded, causal, opts), x));
      EXPECT_TRUE(bitwise_equal(normed(X, M, padded, causal, opts), norm(x, opts)));
    });
  });
}

TYPED_TEST(TransformerDecoder, StepsHaveTheBitsOfTheWholeCallWhereTheKernelIsPinned) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_layer_options& o) {
    auto layers = this->layers(1, o);
    auto p = this->layer_parameters();
    p.self_attention.add_zero_attn = true;
    p.cross_attention.add_zero_attn = true;
    layers.emplace_back(p, o);
    const transformer_decoder<T> made(layers, layer_norm<T>(this->matrix(1, 24), row_vector<T>()));
    const row_major<T> X = this->input(), M = this->memory();
    on_every_set([&](options opts) {
      opts.kernel = kernel::tiled;
      const auto check = [&](const auto& whole, const auto&... policies) {
        for (const auto& sizes : this->ways_to_step()) {
          const row_major<T> steps = this->by_steps(made, X, M, sizes, opts, policies...);
          EXPECT_TRUE(bitwise_equal(steps, whole));
        }
      };
      const masks::causal_top_left causal;
      check(made(X, M, for_target(causal), opts));
      const auto some = masks::where([](index i, index j) { return i % 3 != 1 || j != i / 2; });
      const auto diagonal = for_memory(masks::causal{.offset = 2});
      check(made(X, M, for_target(some & causal), diagonal, opts), for_target(some), diagonal);
    });
  });
}

TYPED_TEST(TransformerDecoder, StepsAgreeWithTheWholeCallForEveryKernelMaskAndTransform) {
  using T = TypeParam;
  const auto wave = transforms::map(
      [](auto s, std::int32_t i, std::int32_t j) { return s + decltype(s)(i % 5 - j % 3); });
  this->for_both_norms([&](const transformer_layer_options& o) {
    const transformer_decoder<T> made = this->stack(2, o);
    const row_major<T> X = this->input(), M = this->memory();
    const looks target = seen_through(transforms::alibi{0.5}, masks::window{.left = 4});
    const looks causal = seen_through(transforms::alibi{0.5}, masks::window{.left = 4, .right = 0});
    const looks at_memory = seen_through(wave, masks::padding{.length = 6});
    const auto [t, tm] = target.policies();
    const auto [c, cm] = causal.policies();
    const auto [s, sm] = at_memory.policies();
    const row_major<T> whole = made(X, M, for_target(c, cm), for_memory(s, sm));
    const double limit = 2 * this->bound(this->n, this->m, 2, max_magnitude(whole));
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      for (const auto& sizes : this->ways_to_step())
        EXPECT_LE(max_error(this->by_steps(made, X, M, sizes, which.opts, for_target(t, tm),
                                           for_memory(s, sm)),
                            whole),
                  limit);
    }
  });
}

TYPED_TEST(TransformerDecoder, AMatrixOfAStepHasTheRowsSoFar) {
  using T = TypeParam;
  const transformer_decoder<T> made = this->stack(2, this->form(false));
  const row_major<T> X = this->input(), M = this->memory(), B = this->matrix(this->n, this->n);
  row_major<bool> ignored = row_major<bool>::Constant(this->n, this->m, false);
  for (index i = 0; i < this->n; ++i) ignored(i, i % this->m) = true;
  const masks::causal_top_left causal;
  options opts;
  opts.kernel = kernel::tiled;
  const row_major<T> whole = made(X, M, for_target(transforms::bias{B}, causal),
                                  for_memory(masks::dense_ignoring(ignored)), opts);
  auto cache = made.start(M);
  for (const index rows : {2, 3, 9, 13}) {
    const index earlier = cache.rows();
    const auto so_far = ignored.topRows(rows);
    const auto square = B.topLeftCorner(rows, rows);
    const row_major<T> Y = made.step(X.middleRows(earlier, rows - earlier), cache,
                                     for_target(transforms::bias{square}),
                                     for_memory(masks::dense_ignoring(so_far)), opts);
    EXPECT_LE(max_error(Y, whole.middleRows(earlier, rows - earlier)),
              2 * this->bound(this->n, this->m, 2, max_magnitude(whole)));
  }
}

TYPED_TEST(TransformerDecoder, ACopyOfACacheIsAnotherSentence) {
  using T = TypeParam;
  const transformer_decoder<T> made = this->stack(2, this->form(true));
  const row_major<T> M = this->memory(), start = this->input(4), one = this->input(5),
                     other = this->input(5);
  auto cache = made.start(M);
  EXPECT_EQ(cache.rows(), 0);
  EXPECT_EQ(cache.memory_rows(), this->m);
  (void)made.step(start, cache);
  auto copy = cache;
  const row_major<T> from_cache = made.step(one, cache), from_copy = made.step(other, copy);
  const auto after = [&](const row_major<T>& rest) {
    auto fresh = made.start(M);
    (void)made.step(start, fresh);
    return made.step(rest, fresh);
  };
  EXPECT_TRUE(bitwise_equal(from_cache, after(one)));
  EXPECT_TRUE(bitwise_equal(from_copy, after(other)));
  cache.truncate(4);
  EXPECT_EQ(cache.rows(), 4);
  EXPECT_TRUE(bitwise_equal(made.step(other, cache), from_copy)) << "after truncate";
  expect_error<argument_error>([&] { cache.truncate(10); },
                               {"transformer_decoder_cache", "rows is 10", "rows(), 9"});
  expect_error<argument_error>([&] { cache.truncate(-1); }, {"rows is -1"});
}

TYPED_TEST(TransformerDecoder, ReservingRowsChangesNothing) {
  using T = TypeParam;
  const transformer_decoder<T> made = this->stack(1, this->form(false));
  const row_major<T> M = this->memory(), X = this->input(7);
  auto roomy = made.start(M), tight = made.start(M);
  roomy.reserve(100);
  for (index i = 0; i < 7; ++i) {
    if (i == 4) roomy.reserve(2);
    EXPECT_TRUE(bitwise_equal(made.step(X.row(i), roomy), made.step(X.row(i), tight)));
  }
}

TYPED_TEST(TransformerDecoder, AMemoryMayBeEmpty) {
  using T = TypeParam;
  const transformer_decoder<T> made = this->stack(2, this->form(true));
  const row_major<T> X = this->input(), none = this->memory(0);
  options opts;
  opts.kernel = kernel::tiled;
  const row_major<T> whole = made(X, none, for_target(masks::causal_top_left{}), opts);
  EXPECT_TRUE(all_finite(whole));
  EXPECT_TRUE(bitwise_equal(this->by_steps(made, X, none, {1, 12}, opts), whole));
}

TYPED_TEST(TransformerDecoder, NanReachesWhatLooksAtItOnly) {
  using T = TypeParam;
  this->for_both_norms([&](const transformer_layer_options& o) {
    const transformer_decoder<T> made = this->stack(2, o);
    const row_major<T> X = this->input(), M = this->memory();
    row_major<T> broken = X, poisoned = M;
    broken(8, 5) = std::numeric_limits<T>::quiet_NaN();
    poisoned(6, 2) = std::numeric_limits<T>::quiet_NaN();
    const auto causal = for_target(masks::causal_top_left{});
    const auto padded = for_memory(masks::padding{.length = 6});
    on_every_set([&](const options& opts) {
      const row_major<T> clean = made(X, M, causal, padded, opts);
      const row_major<T> Y = made(broken, M, causal, padded, opts);
      EXPECT_TRUE(bitwise_equal(Y.topRows(8), clean.topRows(8)));
      for (index i = 8; i < this->n; ++i) EXPECT_TRUE(row_is_nan(Y, i)) << i;
      EXPECT_TRUE(bitwise_equal(made(X, poisoned, causal, padded, opts), clean));
      EXPECT_TRUE(row_is_nan(made(X, poisoned, causal, opts), 0));
    });
  });
}

TYPED_TEST(TransformerDecoder, AWorkspaceMayServeCallsOfAnySize) {
  using T = TypeParam;
  const transformer_decoder<T> made = this->stack(2, this->form(false));
  workspace space;
  options opts;
  opts.workspace = &space;
  for (const index rows : {3, 70, 1, 20}) {
    const auto X = this->input(rows), M = this->memory(rows + 5);
    EXPECT_TRUE(bitwise_equal(made(X, M, opts), made(X, M)));
    EXPECT_TRUE(bitwise_equal(this->by_steps(made, X, M, {1, rows - 1}, opts),
                              this->by_steps(made, X, M, {1, rows - 1})));
    (void)made.layers().front().attention_weights(X, M, opts);
  }
}

TYPED_TEST(TransformerDecoder, NoRowsGiveNoRows) {
  using T = TypeParam;
  const transformer_decoder<T> made = this->stack(2, this->form(true));
  const row_major<T> none = this->input(0), M = this->memory();
  EXPECT_EQ(made(none, M).rows(), 0);
  EXPECT_EQ(made(none, M).cols(), 24);
  auto cache = made.start(M);
  EXPECT_EQ(made.step(none, cache).rows(), 0);
  EXPECT_EQ(cache.rows(), 0);
  static_assert(!decltype(made(col_major<T>(1, 24), M))::IsRowMajor);
}

TYPED_TEST(TransformerDecoder, RejectsInputsOfOtherSizesAndOverlap) {
  using T = TypeParam;
  const auto check = [&](const auto& made, const char* name) {
    const auto X = this->input(5), M = this->memory(5);
    const row_major<T> wide = this->matrix(5, 25);
    row_major<T> Y = row_major<T>::Constant(5, 24, T(42)), narrow = row_major<T>::Zero(5, 23);
    expect_error<shape_error>([&] { (void)made(wide, M); },
                              {name, "X.cols() is 25", "features() is 24"});
    expect_error<shape_error>([&] { made.into(X, wide, Y); },
                              {name, "memory.cols() is 25", "memory_features() is 17"});
    expect_error<shape_error>([&] { made.into(this->input(6), M, Y); },
                              {name, "Y.rows() is 5", "X.rows() is 6"});
    expect_error<shape_error>([&] { made.into(X, M, narrow); },
                              {name, "Y.cols() is 23", "features() is 24"});
    row_major<T> all = this->matrix(30, 60);
    const row_major<T> untouched = all;
    expect_error<argument_error>(
        [&] { made.into(all.block(0, 0, 5, 24), M, all.block(1, 0, 5, 24)); },
        {name, "Y overlaps X"});
    expect_error<argument_error>(
        [&] { made.into(X, all.block(0, 20, 9, 17), all.block(3, 0, 5, 24)); },
        {name, "Y overlaps memory"});
    const row_major<bool> mask = row_major<bool>::Constant(4, 5, true);
    expect_error<shape_error>([&] { made.into(X, M, Y, for_target(masks::dense{mask})); },
                              {"rows() is 4", "5"});
    expect_error<shape_error>([&] { made.into(X, M, Y, for_memory(masks::dense{mask})); },
                              {"rows() is 4", "5"});
    EXPECT_TRUE((Y.array() == T(42)).all());
    EXPECT_TRUE(bitwise_equal(all, untouched));
  };
  this->for_both_norms([&](const transformer_layer_options& o) {
    check(transformer_decoder_layer<T>(this->layer_parameters(), o), "transformer_decoder_layer: ");
    check(this->stack(2, o), "transformer_decoder");
  });
  const transformer_decoder_layer<T> one(this->layer_parameters(), this->form(false));
  expect_error<shape_error>(
      [&] { (void)one.attention_weights(this->matrix(5, 25), this->memory()); },
      {"X.cols() is 25", "24"});
}

TYPED_TEST(TransformerDecoder, RejectsAStepThatDoesNotFitAndKeepsItsCache) {
  using T = TypeParam;
  const transformer_decoder<T> made = this->stack(2, this->form(true));
  const row_major<T> M = this->memory(), X = this->input(3);
  expect_error<shape_error>([&] { (void)made.start(this->matrix(3, 5)); },
                            {"transformer_decoder", "memory.cols() is 5", "is 17"});
  auto cache = made.start(M);
  const row_major<T> first = made.step(X, cache);
  const row_major<bool> mask = row_major<bool>::Constant(4, 5, true);
  expect_error<shape_error>([&] { (void)made.step(this->matrix(1, 23), cache); },
                            {"transformer_decoder", "X.cols() is 23", "24"});
  expect_error<shape_error>([&] { (void)made.step(X, cache, for_target(masks::dense{mask})); },
                            {"rows() is 4", "6"});
  row_major<T> narrow(3, 20);
  expect_error<shape_error>([&] { made.step_into(X, cache, narrow); }, {"Y.cols() is 20", "24"});
  EXPECT_EQ(cache.rows(), 3);
  cache.truncate(0);
  EXPECT_TRUE(bitwise_equal(made.step(X, cache), first));
  transformer_decoder_cache<T> empty;
  expect_error<shape_error>([&] { (void)made.step(X, empty); },
                            {"transformer_decoder", "cache's layers is 0", "layers().size() is 2"});
  auto p = this->layer_parameters();
  p.self_attention.add_zero_attn = true;
  auto layers = this->layers(1, this->form(true));
  layers.emplace_back(p, this->form(true));
  auto of_another = transformer_decoder<T>(layers).start(M);
  expect_error<shape_error>([&] { (void)made.step(X, of_another); },
                            {"transformer_decoder", "keys of other sizes"});
}

TYPED_TEST(TransformerDecoder, RejectsParametersThatDoNotFit) {
  using T = TypeParam;
  using parameters = transformer_decoder_layer_parameters<T>;
  const auto good = this->layer_parameters();
  const auto rejects = rejects_of<transformer_decoder_layer<T>>(good, this->form(false));
  const char* const name = "transformer_decoder_layer";
  rejects([&](parameters& p) { set_rows(p.self_attention.Wk, 23); },
          {name, "Wk.rows() is 23", "24"});
  rejects([&](parameters& p) { set_rows(p.cross_attention.Wq, 23); },
          {name, "cross_attention.Wq.rows() is 23", "Wq.rows() is 24"});
  rejects(
      [&](parameters& p) {
        set_columns(p.cross_attention.Wo, 23);
        p.cross_attention.bo.conservativeResize(23);
      },
      {name, "cross_attention.Wo.cols() is 23", "24"});
  rejects([&](parameters& p) { set_rows(p.cross_attention.Wv, 23); },
          {name, "cross_attention.Wv.rows() is 23", "cross_attention.Wk.rows() is 17"});
  rejects([&](parameters& p) { set_rows(p.W1, 23); }, {name, "W1.rows() is 23", "24"});
  rejects([&](parameters& p) { set_rows(p.W2, 49); }, {name, "W2.rows() is 49", "W1.cols() is 50"});
  rejects([&](parameters& p) { p.gain3.conservativeResize(9); }, {"gain3.size() is 9", "24"});
  rejects([&](parameters& p) { p.bias3.conservativeResize(9); }, {"bias3.size() is 9", "24"});
  rejects([&](parameters& p) { p.gain2.conservativeResize(9); }, {"gain2.size() is 9", "24"});
  transformer_layer_options o = this->form(false);
  o.epsilon = -1;
  expect_error<argument_error>([&] { (void)transformer_decoder_layer<T>(good, o); },
                               {name, "epsilon is -1"});
}

TYPED_TEST(TransformerDecoder, RejectsAStackWhoseLayersDoNotFit) {
  using T = TypeParam;
  using layers = std::vector<transformer_decoder_layer<T>>;
  expect_error<argument_error>([&] { (void)transformer_decoder<T>(layers{}); },
                               {"transformer_decoder", "layers.size() is 0"});
  layers two = this->layers(1, this->form(false));
  two.emplace_back(random_decoder_layer<T>({.features = 24, .memory_features = 18}, this->random),
                   this->form(false));
  expect_error<shape_error>([&] { (void)transformer_decoder<T>(two); },
                            {"layer.memory_features() is 18", "17"});
  const layer_norm<T> norm(row_vector<T>::Ones(20), row_vector<T>());
  expect_error<shape_error>(
      [&] { (void)transformer_decoder<T>(this->layers(1, this->form(false)), norm); },
      {"final_norm.features() is 20", "24"});
}

}  // namespace
}  // namespace softlook::decoder_test
