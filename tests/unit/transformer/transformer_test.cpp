#include "softlook/transformer.hpp"

#include <gtest/gtest.h>

#include "tests/oracle/decoder.hpp"
#include "tests/support/decoders.hpp"
#include "tests/support/errors.hpp"

namespace softlook::transformer_test {
namespace {

using namespace softlook_test;

/// Rounding of a stack whose sums have `terms` terms altogether; its norms divide errors by a
/// deviation of about 1.
template <class T>
double transformer_bound(double terms, double magnitude) {
  return (16 + terms) * epsilon_of<T>() * magnitude;
}

template <class T>
class Transformer : public ::testing::Test {
 protected:
  static constexpr index n = 11, m = 8, source_features = 12, target_features = 24, hidden = 30;
  generator random = seed(881);
  const transformer_layer_options form{.heads = {.query = 4}, .norm_first = true};
  std::vector<transformer_encoder_layer_parameters<T>> encoder_weights;
  std::vector<transformer_decoder_layer_parameters<T>> decoder_weights;
  const row_vector<T> gain = random_matrix<row_vector<T>>(1, target_features, random);

  row_major<T> matrix(index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, random);
  }
  row_major<T> source() { return matrix(m, source_features); }
  row_major<T> target() { return matrix(n, target_features); }

  transformer<T> make() {
    std::vector<transformer_encoder_layer<T>> encoder;
    std::vector<transformer_decoder_layer<T>> decoder;
    for (int l = 0; l < 2; ++l) {
      encoder_weights.push_back(random_encoder_layer<T>(4, source_features / 4, hidden, random));
      encoder.emplace_back(encoder_weights.back(), form);
    }
    for (int l = 0; l < 3; ++l) {
      decoder_weights.push_back(random_decoder_layer<T>({.features = target_features,
                                                         .memory_features = source_features,
                                                         .hidden = hidden,
                                                         .heads = form.heads},
                                                        random));
      decoder.emplace_back(decoder_weights.back(), form);
    }
    return {transformer_encoder<T>(encoder),
            transformer_decoder<T>(decoder, layer_norm<T>(gain, row_vector<T>()))};
  }
};
TYPED_TEST_SUITE(Transformer, scalars, scalar_names);

TYPED_TEST(Transformer, IsAnEncoderAndADecoderThatLooksAtWhatItMade) {
  using T = TypeParam;
  const transformer<T> made = this->make();
  const row_major<T> S = this->source(), X = this->target();
  const auto causal = for_target(masks::causal_top_left{});
  const masks::padding padding{.length = 5};
  on_every_set([&](const options& opts) {
    const row_major<T> memory = made.encoder()(S, padding, opts);
    const row_major<T> expected = made.decoder()(X, memory, causal, for_memory(padding), opts);
    EXPECT_TRUE(bitwise_equal(made(S, X, opts, for_memory(padding), causal, for_source(padding)),
                              expected));
    EXPECT_TRUE(bitwise_equal(made(S, X, opts), made.decoder()(X, made.encoder()(S, opts), opts)));
  });
}

TYPED_TEST(Transformer, AgreesWithTheOracle) {
  using T = TypeParam;
  const transformer<T> made = this->make();
  const row_major<T> S = this->source(), X = this->target();
  oracle::matrix memory = oracle::widen(S), y = oracle::widen(X);
  for (const auto& p : this->encoder_weights) memory = oracle::encoder_layer(memory, p, this->form);
  const auto causal = std::make_tuple(masks::causal_top_left{});
  for (const auto& p : this->decoder_weights)
    y = oracle::decoder_layer(y, memory, p, this->form, causal, std::tuple<>()).output;
  y = oracle::layer_norm(y, oracle::widen(this->gain), oracle::matrix(), 1e-5L);
  const index encoder_terms = 4 * this->source_features + this->hidden + this->m;
  const index decoder_terms =
      6 * this->target_features + 2 * this->source_features + this->hidden + this->n + this->m;
  on_every_set([&](const options& opts) {
    EXPECT_LE(
        max_error(made(S, X, for_target(masks::causal_top_left{}), opts), y),
        transformer_bound<T>(double(2 * encoder_terms + 3 * decoder_terms), max_magnitude(y)));
  });
}

TYPED_TEST(Transformer, HasTheSameBitsInAnyStorageInPlaceWithAWorkspaceAndOnAnyExecutor) {
  using T = TypeParam;
  const transformer<T> made = this->make();
  const row_major<T> S = this->source(), X = this->target();
  const col_major<T> by_columns = S;
  const row_major<T> expected = made(S, X);
  expect_bits_in_any_storage(X, expected,
                             [&](const auto& x, auto&& y) { made.into(by_columns, x, y); });
  row_major<T> in_place = X;
  workspace space;
  options opts;
  opts.workspace = &space;
  made.into(S, in_place, in_place, opts);
  EXPECT_TRUE(bitwise_equal(in_place, expected));
  on_other_executors([&](const auto& executor, const char* name) {
    EXPECT_TRUE(bitwise_equal(made(S, X, executor, opts), expected)) << name;
  });
}

TYPED_TEST(Transformer, DecodesRowByRowFromItsParts) {
  using T = TypeParam;
  const transformer<T> made = this->make();
  const row_major<T> S = this->source(), X = this->target();
  options opts;
  opts.kernel = kernel::tiled;
  const row_major<T> whole = made(S, X, for_target(masks::causal_top_left{}), opts);
  auto cache = made.decoder().start(made.encoder()(S, opts));
  for (index i = 0; i < this->n; ++i)
    EXPECT_TRUE(bitwise_equal(made.decoder().step(X.row(i), cache, opts), whole.row(i)));
}

TYPED_TEST(Transformer, RejectsPartsAndInputsThatDoNotFit) {
  using T = TypeParam;
  const transformer<T> made = this->make();
  expect_error<shape_error>(
      [&] {
        (void)transformer<T>(transformer_encoder<T>({transformer_encoder_layer<T>(
                                 random_encoder_layer<T>(4, 5, 7, this->random), this->form)}),
                             made.decoder());
      },
      {"transformer", "decoder.memory_features() is 12", "encoder.features() is 20"});
  const row_major<T> S = this->source(), X = this->target();
  row_major<T> Y = row_major<T>::Constant(this->n, 24, T(42));
  expect_error<shape_error>([&] { made.into(this->matrix(3, 13), X, Y); },
                            {"transformer: ", "source.cols() is 13", "12"});
  expect_error<shape_error>([&] { made.into(S, this->matrix(this->n, 23), Y); },
                            {"transformer: ", "X.cols() is 23", "24"});
  expect_error<shape_error>([&] { made.into(S, this->matrix(3, 24), Y); },
                            {"Y.rows() is 11", "X.rows() is 3"});
  EXPECT_TRUE((Y.array() == T(42)).all());
  row_major<T> both = this->matrix(30, 60);
  expect_error<argument_error>(
      [&] { made.into(both.block(0, 0, 8, 12), X, both.block(2, 4, this->n, 24)); },
      {"Y overlaps source"});
}

}  // namespace
}  // namespace softlook::transformer_test
