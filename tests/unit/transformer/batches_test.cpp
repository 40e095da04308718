// Layers over several sequences in one call: each gets the rows of a call of its own.
#include <gtest/gtest.h>

#include <vector>

#include "softlook/layer/multi_head.hpp"
#include "softlook/transformer/decoder.hpp"
#include "softlook/transformer/encoder.hpp"
#include "softlook/transformer/transformer.hpp"
#include "tests/support/layers.hpp"

namespace softlook {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::expect_error;
using matrix = softlook_test::row_major<float>;
using offsets = std::vector<std::int32_t>;

class Batches : public ::testing::Test {
 protected:
  Eigen::MatrixXf numbers(index rows, index cols, double size = 0.3) {
    return softlook_test::random_matrix<Eigen::MatrixXf>(rows, cols, random_, size);
  }
  multi_head_parameters<float> attention() {
    multi_head_parameters<float> p;
    p.Wq = numbers(16, 16), p.Wk = numbers(16, 16), p.Wv = numbers(16, 16), p.Wo = numbers(16, 16);
    return p;
  }
  transformer_encoder_layer<float> layer(bool norm_first) {
    transformer_encoder_layer_parameters<float> p;
    p.self_attention = attention();
    p.W1 = numbers(16, 40), p.W2 = numbers(40, 16);
    p.b1 = numbers(1, 40), p.b2 = numbers(1, 16);
    p.gain1 = p.gain2 = Eigen::RowVectorXf::Ones(16);
    p.bias1 = p.bias2 = Eigen::RowVectorXf::Zero(16);
    transformer_encoder_layer_options o;
    o.heads = {.query = 4};
    o.norm_first = norm_first;
    return {p, o};
  }

  transformer_decoder_layer<float> decoder_layer(bool norm_first) {
    transformer_decoder_layer_parameters<float> p;
    p.self_attention = attention();
    p.cross_attention = attention();
    p.W1 = numbers(16, 40), p.W2 = numbers(40, 16);
    p.gain1 = p.gain2 = p.gain3 = Eigen::RowVectorXf::Ones(16);
    transformer_layer_options o;
    o.heads = {.query = 4};
    o.norm_first = norm_first;
    return {p, o};
  }

  softlook_test::generator random_{981};
  const offsets at{0, 7, 7, 90, 150};
  const matrix X = numbers(150, 16, 1);
};

TEST_F(Batches, PackedThroughAStackOfLayers) {
  for (const bool norm_first : {false, true}) {
    const transformer_encoder<float> stack({layer(norm_first), layer(norm_first)});
    const exec::thread_pool pool(2);
    const matrix Y = stack(X, segments{at}, masks::causal_top_left{}, pool);
    ASSERT_TRUE(all_finite(Y));
    for (std::size_t s = 0; s + 1 < at.size(); ++s) {
      const index first = at[s], count = at[s + 1] - first;
      const matrix own = stack(X.middleRows(first, count), masks::causal_top_left{});
      EXPECT_TRUE(bitwise_equal(matrix(Y.middleRows(first, count)), own)) << s;
    }
  }
}

TEST_F(Batches, PaddedThroughALayer) {
  const auto one = layer(false);
  const offsets lengths{50, 20, 1};
  const matrix Y = one(X, padded_batch{3, lengths, lengths});
  for (index s = 0; s < 3; ++s) {
    const index used = lengths[std::size_t(s)];
    const matrix own = one(X.middleRows(50 * s, used));
    EXPECT_TRUE(bitwise_equal(matrix(Y.middleRows(50 * s, used)), own)) << s;
  }
}

TEST_F(Batches, CrossAttentionOfSequences) {
  const multi_head<float> attend(attention(), {.query = 2});
  const offsets keys{0, 30, 60, 61, 150};
  const matrix Y = attend(X, X, X, segments{at, keys});
  for (std::size_t s = 0; s + 1 < at.size(); ++s) {
    const index i = at[s], n = at[s + 1] - i, j = keys[s], m = keys[s + 1] - j;
    const auto k = X.middleRows(j, m);
    EXPECT_TRUE(bitwise_equal(matrix(Y.middleRows(i, n)), matrix(attend(X.middleRows(i, n), k, k))))
        << s;
  }
}

TEST_F(Batches, TargetsAndTheirMemoriesThroughADecoder) {
  const offsets of_memory{0, 12, 40, 41, 100};
  const matrix M = numbers(100, 16, 1);
  for (const bool norm_first : {false, true}) {
    const transformer_decoder<float> stack({decoder_layer(norm_first), decoder_layer(norm_first)});
    const exec::thread_pool pool(2);
    const auto causal = masks::causal_top_left{};
    const matrix Y =
        stack(X, M, for_target(segments{at}, causal), for_memory(segments{at, of_memory}), pool);
    ASSERT_TRUE(all_finite(Y));
    for (std::size_t s = 0; s + 1 < at.size(); ++s) {
      const index first = at[s], count = at[s + 1] - first;
      const index key = of_memory[s], keys = of_memory[s + 1] - key;
      const matrix own =
          stack(X.middleRows(first, count), M.middleRows(key, keys), for_target(causal));
      EXPECT_TRUE(bitwise_equal(matrix(Y.middleRows(first, count)), own)) << s;
    }
  }
}

TEST_F(Batches, PaddedThroughADecoderLayer) {
  const auto one = decoder_layer(false);
  const offsets lengths{50, 20, 1}, of_memory{3, 0, 30};
  const matrix M = numbers(90, 16, 1);
  const matrix Y = one(X, M, for_target(padded_batch{3, lengths, lengths}),
                       for_memory(padded_batch{3, lengths, of_memory}));
  for (index s = 0; s < 3; ++s) {
    const index used = lengths[std::size_t(s)], keys = of_memory[std::size_t(s)];
    const matrix own = one(X.middleRows(50 * s, used), M.middleRows(30 * s, keys));
    EXPECT_TRUE(bitwise_equal(matrix(Y.middleRows(50 * s, used)), own)) << s;
  }
}

TEST_F(Batches, ThroughAWholeTransformer) {
  const transformer<float> model(transformer_encoder<float>({layer(true)}),
                                 transformer_decoder<float>({decoder_layer(true)}));
  const offsets of_source{0, 12, 40, 41, 100};
  const matrix S = numbers(100, 16, 1);
  const matrix Y = model(S, X, for_source(segments{of_source}), for_target(segments{at}),
                         for_memory(segments{at, of_source}));
  for (std::size_t s = 0; s + 1 < at.size(); ++s) {
    const index first = at[s], count = at[s + 1] - first;
    const index row = of_source[s], rows = of_source[s + 1] - row;
    EXPECT_TRUE(bitwise_equal(matrix(Y.middleRows(first, count)),
                              matrix(model(S.middleRows(row, rows), X.middleRows(first, count)))))
        << s;
  }
}

TEST_F(Batches, RefuseWhatDoesNotFit) {
  const auto one = layer(false);
  const offsets early{0, 149};
  matrix Y = matrix::Constant(150, 16, 7);
  expect_error<shape_error>([&] { one.into(X, Y, segments{early}); }, {"149", "150"});
  EXPECT_TRUE((Y.array() == 7).all());
  auto p = attention();
  p.add_zero_attn = true;
  const multi_head<float> more(p, {.query = 2});
  expect_error<argument_error>([&] { (void)more(X, segments{at}); }, {"1", "one sequence"});
}

}  // namespace
}  // namespace softlook
