// How often and how much a call takes from the heap. A program of its own, because it replaces the
// global allocation functions; Eigen's matrices and the library's workspace both end there.
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <optional>

#include "softlook/attention/entmax.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "softlook/gradient/transformer.hpp"
#include "softlook/layer/linear_layer.hpp"
#include "softlook/linear.hpp"
#include "softlook/positional.hpp"
#include "softlook/seq2seq/bahdanau_attention.hpp"
#include "softlook/seq2seq/luong_attention.hpp"
#include "softlook/seq2seq/recurrent_cells.hpp"
#include "softlook/transformer.hpp"
#include "tests/support/decoders.hpp"
#include "tests/support/random.hpp"
#include "tests/support/ways.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SOFTLOOK_TEST_COUNTS_ALLOCATIONS 0  // the sanitizers own these functions
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SOFTLOOK_TEST_COUNTS_ALLOCATIONS 0
#endif
#endif
#if !defined(SOFTLOOK_TEST_COUNTS_ALLOCATIONS)
#define SOFTLOOK_TEST_COUNTS_ALLOCATIONS 1
#endif

namespace {

std::atomic<std::size_t> allocations{0};
std::atomic<std::size_t> allocated_bytes{0};

void count(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace

#if SOFTLOOK_TEST_COUNTS_ALLOCATIONS && defined(__GLIBC__)

// glibc lets a program replace malloc itself, which Eigen calls, and keeps its own under these
// names.
extern "C" {
void* __libc_malloc(std::size_t bytes);                           // NOLINT
void* __libc_memalign(std::size_t alignment, std::size_t bytes);  // NOLINT

void* malloc(std::size_t bytes) {
  count(bytes);
  return __libc_malloc(bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  count(bytes);
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  count(bytes);
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? 12 : 0;
}
}
#define SOFTLOOK_TEST_SEES_ALLOCATIONS 1
#else
#define SOFTLOOK_TEST_SEES_ALLOCATIONS 0
#endif

namespace softlook {
namespace {

using namespace softlook_test;

struct usage {
  std::size_t count = 0;
  std::size_t bytes = 0;
};

template <class F>
usage used_by(const F& f) {
  const usage before{allocations.load(), allocated_bytes.load()};
  f();
  return {allocations.load() - before.count, allocated_bytes.load() - before.bytes};
}

template <class T>
class Allocations : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!SOFTLOOK_TEST_SEES_ALLOCATIONS) GTEST_SKIP() << "allocations cannot be counted here";
  }
  static problem_inputs<T> inputs(index n, index m) {
    return random_problem<T>({.queries = n, .keys = m, .features = 64, .values = 64}, seed(411));
  }
  static std::vector<way> ways() {
    std::vector<way> result;
    for (const way& which : fast_ways())
      if (which.name.find("smallest") == std::string::npos) result.push_back(which);
    return result;
  }
};
TYPED_TEST_SUITE(Allocations, scalars, scalar_names);

TYPED_TEST(Allocations, AreSeen) {
  const usage used = used_by([] { row_major<TypeParam>::Zero(100, 100).eval(); });
  EXPECT_GE(used.count, 1u);
  EXPECT_GE(used.bytes, 10000 * sizeof(TypeParam));
  EXPECT_GE(used_by([] { delete new volatile int(3); }).count, 1u);
}

TYPED_TEST(Allocations, AreNoneInSteadyStateWithAWorkspace) {
  for (const index n : {1, 3, 300}) {
    const auto p = this->inputs(n, 500);
    for (const way& which : this->ways()) {
      workspace space;
      options opts = which.opts;
      opts.workspace = &space;
      row_major<TypeParam> O(n, 64);
      attention_into(p.Q, p.K, p.V, O, opts, masks::causal_bottom_right{});
      const usage used =
          used_by([&] { attention_into(p.Q, p.K, p.V, O, opts, masks::causal_bottom_right{}); });
      EXPECT_EQ(used.count, 0u) << which.name << " n " << n;
    }
  }
}

TYPED_TEST(Allocations, AreNoneForTinyInputsWithoutAWorkspace) {
  for (const index n : {1, 8, 16}) {
    const auto p =
        random_problem<TypeParam>({.queries = n, .keys = n, .features = 8, .values = 8}, seed(413));
    row_major<TypeParam> O(n, 8);
    for (const auto isa : available_instruction_sets())
      EXPECT_EQ(used_by([&] { attention_into(p.Q, p.K, p.V, O, options{.isa = isa}); }).count, 0u)
          << name_of(isa) << " n " << n;
  }
}

TYPED_TEST(Allocations, AreNoneInSteadyStateOfFlashAttention) {
  const auto p = this->inputs(200, 300);
  workspace space;
  options opts;
  opts.workspace = &space;
  row_major<TypeParam> O(200, 64);
  flash_attention_into(p.Q, p.K, p.V, O, opts);
  EXPECT_EQ(used_by([&] { flash_attention_into(p.Q, p.K, p.V, O, opts); }).count, 0u);
}

TYPED_TEST(Allocations, AreNoneInSteadyStateOfManyHeads) {
  auto random = seed(412);
  const auto X = random_matrix<row_major<TypeParam>>(40, 64, random);
  workspace space;
  options opts;
  opts.workspace = &space;
  row_major<TypeParam> O(40, 64);
  const heads h{.query = 8};
  attention_into(X, X, X, O, h, opts);
  EXPECT_EQ(used_by([&] { attention_into(X, X, X, O, h, opts); }).count, 0u);
}

/// call(executor, options) allocates nothing once it has run, on the calling thread and on a pool.
template <class Call>
void expect_no_allocations_when_warm(const Call& call, const char* name) {
  const exec::thread_pool pool(3);
  for (const auto isa : available_instruction_sets()) {
    workspace space;
    options opts;
    opts.isa = isa;
    opts.workspace = &space;
    call(exec::sequential{}, opts);
    EXPECT_EQ(used_by([&] { call(exec::sequential{}, opts); }).count, 0u) << name;
    call(pool, opts);
    const std::size_t grown = space.bytes();
    EXPECT_EQ(used_by([&] { call(pool, opts); }).count, 0u) << name << " on a pool";
    EXPECT_EQ(space.bytes(), grown) << name;
  }
}

TYPED_TEST(Allocations, OfADecodersStepAreWhatItReturns) {
  using T = TypeParam;
  auto random = seed(417);
  const auto W = random_matrix<row_major<T>>(24, 24, random);
  const auto both = random_matrix<row_major<T>>(48, 24, random);
  const auto v = random_matrix<column<T>>(24, 1, random);
  const auto memory = random_matrix<row_major<T>>(700, 24, random);
  const auto queries = random_matrix<row_major<T>>(3, 24, random);
  workspace space;
  options opts;
  opts.workspace = &space;
  row_major<T> context(3, 24), weights(3, 700);
  const auto expect = [&](auto decoder, const char* name) {
    decoder.set_memory(memory);
    (void)decoder.step(queries, opts);
    EXPECT_EQ(used_by([&] { (void)decoder.step(queries, opts); }).count, 2u) << name;
    EXPECT_EQ(used_by([&] { (void)decoder.step(queries.row(1), opts); }).count, 2u) << name;
    EXPECT_EQ(used_by([&] { decoder.step_into(queries, context, weights, opts); }).count, 0u)
        << name;
    EXPECT_EQ(used_by([&] {
                decoder.step_into(queries.row(1), context.row(1), weights.row(1), opts);
              }).count,
              0u)
        << name;
  };
  expect(bahdanau_attention<T>(scores::additive{W, W, v}), "additive");
  expect(luong_attention<T>(scores::concat{both, v}), "concat");
  expect(luong_attention<T>(scores::general{W}), "general");
  expect(luong_attention<T>(scores::dot{}), "dot");
}

TYPED_TEST(Allocations, AreNoneInWarmSparseAndLinearAttentionOfManyHeads) {
  using T = TypeParam;
  const auto p = this->inputs(200, 200);
  const heads h{.query = 4};
  row_major<T> O(200, 64);
  linear_state<T> state(16, 16, 4);
  expect_no_allocations_when_warm(
      [&](const auto& executor, const options& opts) {
        entmax_attention_into(p.Q, p.K, p.V, O, 1.5, h, executor, opts);
        entmax_attention_into(p.Q, p.K, p.V, O, 2, masks::causal{}, executor, opts);
        causal_linear_attention_into(p.Q, p.K, p.V, O, h, executor, opts);
        fast_weights_into(p.Q, p.K, p.V, O, state, h, executor, opts);
      },
      "sparse and linear attention");
}

TYPED_TEST(Allocations, AreNoneInWarmLayers) {
  using T = TypeParam;
  auto random = seed(413);
  const auto row = [&] { return random_matrix<row_vector<T>>(1, 48, random); };
  const linear_layer<T> linear(random_matrix<col_major<T>>(48, 48, random), row(),
                               activation::gelu);
  const layer_norm<T> norm(row(), row());
  for (const index rows : {1, 5, 130}) {
    const auto X = random_matrix<row_major<T>>(rows, 48, random);
    row_major<T> Y(rows, 48);
    col_major<T> columns(rows, 48);
    expect_no_allocations_when_warm(
        [&](const auto& executor, const options& opts) {
          linear.into(X, Y, executor, opts);
          linear.into(X, columns, executor, opts);
        },
        "linear_layer");
    expect_no_allocations_when_warm(
        [&](const auto& executor, const options& opts) {
          norm.into(X, Y, executor, opts);
          norm.into(Y, Y, executor, opts);
        },
        "layer_norm");
  }
}

TYPED_TEST(Allocations, AreNoneInAWarmMultiHeadLayer) {
  using T = TypeParam;
  auto random = seed(414);
  const multi_head_shape shape{.query_heads = 4, .kv_heads = 2};
  auto p = random_multi_head<T>(shape, random);
  const multi_head<T> plain(p, shape.heads());
  p.bias_k = random_matrix<row_vector<T>>(1, p.Wk.cols(), random);
  p.bias_v = random_matrix<row_vector<T>>(1, p.Wv.cols(), random);
  p.add_zero_attn = true;
  const multi_head<T> extended(p, shape.heads());
  const auto K = random_matrix<row_major<T>>(70, 12, random);
  const row_major<bool> ignored = row_major<bool>::Constant(1, 70, false);
  for (const index rows : {1, 3, 130}) {
    const auto Q = random_matrix<row_major<T>>(rows, 12, random);
    row_major<T> O(rows, 12);
    expect_no_allocations_when_warm(
        [&](const auto& executor, const options& opts) {
          plain.into(Q, K, K, O, executor, opts, masks::dense_ignoring(ignored));
          extended.into(Q, K, K, O, executor, opts, masks::dense_ignoring(ignored));
        },
        "multi_head");
  }
}

TYPED_TEST(Allocations, AreNoneInAWarmTransformer) {
  using T = TypeParam;
  auto random = seed(415);
  for (const bool norm_first : {false, true}) {
    std::vector<transformer_encoder_layer<T>> layers;
    for (int l = 0; l < 2; ++l)
      layers.emplace_back(
          random_encoder_layer<T>(4, 6, 50, random),
          transformer_encoder_layer_options{.heads = {.query = 4}, .norm_first = norm_first});
    const transformer_encoder<T> stack(
        layers, layer_norm<T>(row_vector<T>::Ones(24), row_vector<T>::Zero(24)));
    for (const index rows : {1, 3, 130}) {
      const auto X = random_matrix<row_major<T>>(rows, 24, random);
      row_major<T> Y(rows, 24);
      expect_no_allocations_when_warm(
          [&](const auto& executor, const options& opts) {
            layers.front().into(X, Y, executor, opts);
          },
          "transformer_encoder_layer");
      expect_no_allocations_when_warm(
          [&](const auto& executor, const options& opts) {
            stack.into(X, Y, executor, opts, masks::causal_top_left{});
            stack.into(Y, Y, executor, opts, masks::causal_top_left{});
          },
          "transformer_encoder");
    }
  }
}

TYPED_TEST(Allocations, AreNoneInAWarmStepOfTraining) {
  using T = TypeParam;
  generator random = seed(424);
  const row_major<T> X = random_matrix<row_major<T>>(200, 24, random);
  workspace space;
  const options opts{.workspace = &space};
  const transformer_layer_options form{.heads = {.query = 4}, .norm_first = true};
  transformer_encoder_parameters<T> p;
  for (int k = 0; k < 2; ++k) p.layers.push_back(random_encoder_layer<T>(4, 6, 50, random));
  auto gradients = zeros_like(p);
  saved_transformer_encoder<T> saved;
  const auto step = [&] {
    causal_transformer_forward(p, form, X, saved, opts);
    causal_transformer_backward(p, form, saved, saved.Y(), gradients, opts);
  };
  step();
  EXPECT_EQ(used_by(step).count, 0u);
}

TYPED_TEST(Allocations, AreNoneInAWarmWayBackOfAnAdditiveScore) {
  using T = TypeParam;
  generator random = seed(425);
  const auto Q = random_matrix<row_major<T>>(210, 12, random),
             K = random_matrix<row_major<T>>(230, 14, random),
             V = random_matrix<row_major<T>>(230, 10, random);
  const additive_parameters<T> p{
      random_matrix<row_major<T>>(12, 20, random), random_matrix<row_major<T>>(14, 20, random),
      random_matrix<row_major<T>>(20, 1, random), random_matrix<row_major<T>>(20, 1, random)};
  auto weights = zeros_like(p);
  workspace space;
  const options opts{.workspace = &space};
  const auto state = attention_with_log_sum_exp(Q, K, V, p.score(), opts);
  attention_gradients<row_major<T>> gradients;
  backward_extras<T> extras;
  extras.weights.Wq = weights.Wq;
  extras.weights.Wk = weights.Wk;
  extras.weights.v = weights.v;
  extras.weights.b = weights.b;
  const auto back = [&] {
    attention_backward_into(Q, K, V, state.output, state.log_sum_exp, state.output, gradients,
                            extras, p.score(), opts);
  };
  back();
  EXPECT_EQ(used_by(back).count, 0u);
}

TYPED_TEST(Allocations, OfAForkOfADecodersCacheAreItsTablesAndThePageThatItWrites) {
  using T = TypeParam;
  auto random = seed(418);
  const transformer_layer_options form{.heads = {.query = 4}};
  constexpr index layers = 3, features = 64;
  const decoder_shape shape{.features = features, .memory_features = features};
  const transformer_decoder<T> decoder(std::vector<transformer_decoder_layer<T>>(
      layers, transformer_decoder_layer<T>(random_decoder_layer<T>(shape, random), form)));
  const auto X = random_matrix<row_major<T>>(1000, features, random);
  row_major<T> y(1, features);
  workspace space;
  options opts;
  opts.workspace = &space;
  auto cache = decoder.start(X);
  (void)decoder.step(X, cache);
  {
    auto other = cache;
    decoder.step_into(X.topRows(1), other, y, opts);  // warms the workspace
  }
  ASSERT_GE(cache.bytes(), std::size_t(4 * layers * 1000 * features) * sizeof(T));
  std::optional<transformer_decoder_cache<T>> fork;
  EXPECT_LE(used_by([&] { fork.emplace(cache); }).bytes, cache.bytes() / 100);
  // A page of keys and one of values for each layer.
  const std::size_t pages = std::size_t(2 * layers * 128 * features) * sizeof(T);
  const usage step = used_by([&] { decoder.step_into(X.topRows(1), *fork, y, opts); });
  EXPECT_GE(step.bytes, pages);
  EXPECT_LE(step.bytes, pages + pages / 10);
  EXPECT_EQ(used_by([&] { decoder.step_into(X.topRows(1), *fork, y, opts); }).count, 0u);
}

TYPED_TEST(Allocations, AreNoneInAWarmDecoderNorInItsSteps) {
  using T = TypeParam;
  auto random = seed(416);
  const transformer_layer_options form{.heads = {.query = 4}};
  const std::vector<transformer_decoder_layer<T>> layers(
      2, transformer_decoder_layer<T>(random_decoder_layer<T>({}, random), form));
  const transformer_decoder<T> decoder(
      layers, layer_norm<T>(row_vector<T>::Ones(24), row_vector<T>::Zero(24)));
  const transformer<T> whole(transformer_encoder<T>({transformer_encoder_layer<T>(
                                 random_encoder_layer<T>(4, 6, 50, random), form)}),
                             decoder);
  const auto memory = random_matrix<row_major<T>>(40, 24, random);
  const auto causal = for_target(masks::causal_top_left{});
  const auto padded = for_memory(masks::padding{.length = 30});
  auto cache = decoder.start(memory);
  cache.reserve(200);
  for (const index rows : {1, 3, 130}) {
    const auto X = random_matrix<row_major<T>>(rows, 24, random);
    row_major<T> Y(rows, 24);
    expect_no_allocations_when_warm(
        [&](const auto& executor, const options& opts) {
          layers.front().into(X, memory, Y, executor, opts, causal, padded);
          decoder.into(X, memory, Y, executor, opts, causal, padded);
          whole.into(memory, X, Y, executor, opts, causal, padded);
        },
        "transformer_decoder");
    expect_no_allocations_when_warm(
        [&](const auto& executor, const options& opts) {
          cache.truncate(0);
          decoder.step_into(X, cache, Y, executor, opts, padded);
          decoder.step_into(X.topRows(1), cache, Y.topRows(1), executor, opts, padded);
        },
        "transformer_decoder::step_into");
  }
}

TYPED_TEST(Allocations, AreNoneInWarmStepsOfACausalTransformer) {
  using T = TypeParam;
  auto random = seed(425);
  auto p = random_encoder_layer<T>(4, 6, 50, random);
  p.W3 = random_matrix<col_major<T>>(24, 50, random);
  rotary_embedding<T> rotary(rotary_frequencies(6));
  rotary.precompute(200);
  p.self_attention.rotary = rotary;
  const transformer_encoder_layer<T> layer(p, {.heads = {.query = 4},
                                               .activation = activation::silu,
                                               .norm_first = true,
                                               .norm = norm_kind::rms});
  const causal_transformer<T> stack({layer, layer}, rms_norm<T>(row_vector<T>::Ones(24)));
  auto seen = stack.start();
  seen.reserve(200);
  for (const index rows : {1, 3, 130}) {
    const auto X = random_matrix<row_major<T>>(rows, 24, random);
    row_major<T> Y(rows, 24);
    expect_no_allocations_when_warm(
        [&](const auto& executor, const options& opts) {
          seen.truncate(0);
          stack.step_into(X, seen, Y, executor, opts);
          stack.step_into(X.topRows(1), seen, Y.topRows(1), executor, opts);
        },
        "causal_transformer::step_into");
  }
}

TYPED_TEST(Allocations, AreNoneInWarmRecurrentCells) {
  using T = TypeParam;
  auto random = seed(417);
  const auto weights = [&]<class Parameters>(Parameters p, index gates) {
    p.Wx = random_matrix<row_major<T>>(7, gates * 5, random);
    p.Wh = random_matrix<row_major<T>>(5, gates * 5, random);
    return p;
  };
  gru_parameters<T> before = weights(gru_parameters<T>{}, 3);
  before.reset = gru_reset::before_product;
  const gru_cell<T> plain(weights(gru_parameters<T>{}, 3)), of_the_paper(before);
  const lstm_cell<T> lstm(weights(lstm_parameters<T>{}, 4));
  const ssru_cell<T> ssru({random_matrix<row_major<T>>(7, 5, random),
                           random_matrix<row_major<T>>(7, 5, random),
                           random_matrix<row_major<T>>(1, 5, random)});
  const auto X = random_matrix<row_major<T>>(9, 7, random);
  row_major<T> h = random_matrix<row_major<T>>(9, 5, random);
  lstm_state<row_major<T>> s{h, h}, simple{h, h};
  expect_no_allocations_when_warm(
      [&](const auto& executor, const options& opts) {
        ssru.advance(X, simple, executor, opts);
        plain.advance(X, h, executor, opts);
        of_the_paper.advance(X, h, executor, opts);
        lstm.advance(X, s, executor, opts);
      },
      "recurrent cells");
}

TYPED_TEST(Allocations, AreNoneInLinearAttentionNorInItsSteps) {
  using T = TypeParam;
  const auto p = this->inputs(100, 100);
  row_major<T> O(100, 64);
  linear_state<T> state(64, 64);
  const usage steps = used_by([&] {
    for (index t = 0; t < 3; ++t)
      causal_linear_attention_into(p.Q.row(t), p.K.row(t), p.V.row(t), O.row(t), state);
  });
  EXPECT_EQ(steps.count, 0u);
  expect_no_allocations_when_warm(
      [&](const auto& executor, const options& opts) {
        linear_attention_into(p.Q, p.K, p.V, O, executor, opts);
        causal_linear_attention_into(p.Q, p.K, p.V, O, state, executor, opts);
      },
      "linear attention");
}

TYPED_TEST(Allocations, DoNotGrowWithTheNumberOfQueriesOrKeys) {
  for (const way& which : this->ways()) {
    row_major<TypeParam> small_O(300, 64), large_O(3000, 64);
    const auto small = this->inputs(300, 400), large = this->inputs(3000, 2000);
    const usage of_small =
        used_by([&] { attention_into(small.Q, small.K, small.V, small_O, which.opts); });
    const usage of_large =
        used_by([&] { attention_into(large.Q, large.K, large.V, large_O, which.opts); });
    EXPECT_EQ(of_small.count, of_large.count) << which.name;
    if (which.opts.kernel == kernel::few_queries) continue;  // its partial states are shared out
    EXPECT_LE(of_large.bytes, std::size_t{4} << 20) << which.name;
    EXPECT_LT(of_large.bytes, 3000 * 2000 * sizeof(TypeParam) / 4) << which.name;
  }
}

TYPED_TEST(Allocations, OfAThreadPoolAreItsWorkersScratch) {
  const auto p = this->inputs(2000, 700);
  row_major<TypeParam> O(2000, 64);
  const exec::thread_pool pool(3);
  attention_into(p.Q, p.K, p.V, O, pool);
  const usage used = used_by([&] { attention_into(p.Q, p.K, p.V, O, pool); });
  EXPECT_LE(used.bytes, 3 * (std::size_t{4} << 20));
  EXPECT_LE(used.count, 8u);
}

}  // namespace
}  // namespace softlook
