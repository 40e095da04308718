// Layers over several sequences in one call: each gets the rows of a call of its own.
#include <gtest/gtest.h>

#include <vector>

#include "softlook/layer/multi_head.hpp"
#include "softlook/transformer/decoder.hpp"
#include "softlook/transformer/encoder.hpp"
#include "softlook/transformer/transformer.hpp"
#include "tests/support/layers.hpp"

namespace softlook::batches_test {
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
  /// The same with keys of its own.
  multi_head_parameters<float> attention_with_keys(bool bias, bool zero) {
    multi_head_parameters<float> p = attention();
    if (bias) p.bias_k = numbers(1, 16), p.bias_v = numbers(1, 16);
    p.add_zero_attn = zero;
    return p;
  }
  transformer_encoder_layer<float> layer(bool norm_first, bool extra_keys = false) {
    transformer_encoder_layer_parameters<float> p;
    p.self_attention = attention_with_keys(extra_keys, extra_keys);
    p.W1 = numbers(16, 40), p.W2 = numbers(40, 16);
    p.b1 = numbers(1, 40), p.b2 = numbers(1, 16);
    p.gain1 = p.gain2 = Eigen::RowVectorXf::Ones(16);
    p.bias1 = p.bias2 = Eigen::RowVectorXf::Zero(16);
    transformer_encoder_layer_options o;
    o.heads = {.query = 4};
    o.norm_first = norm_first;
    return {p, o};
  }

  transformer_decoder_layer<float> decoder_layer(bool norm_first, bool extra_keys = false) {
    transformer_decoder_layer_parameters<float> p;
    p.self_attention = attention_with_keys(extra_keys, false);
    p.cross_attention = attention_with_keys(false, extra_keys);
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

TEST_F(Batches, EachSequenceHasTheLayersOwnKeys) {
  const offsets keys{0, 30, 30, 61, 150};  // the second has none but those
  const exec::thread_pool pool(2);
  for (const bool bias : {false, true})
    for (const bool zero : {false, true}) {
      SCOPED_TRACE(::testing::Message() << "bias " << bias << " zero " << zero);
      const multi_head<float> attend(attention_with_keys(bias, zero), {.query = 4});
      const auto causal = masks::causal_top_left{};
      for (const kernel which : {kernel::tiled, kernel::few_queries, kernel::naive}) {
        const options o{.kernel = which};
        const matrix Y = attend(X, X, X, segments{at, keys}, causal, pool, o);
        ASSERT_TRUE(all_finite(Y));
        for (std::size_t s = 0; s + 1 < at.size(); ++s) {
          const index i = at[s], n = at[s + 1] - i, j = keys[s], m = keys[s + 1] - j;
          const auto k = X.middleRows(j, m);
          EXPECT_TRUE(bitwise_equal(matrix(Y.middleRows(i, n)),
                                    matrix(attend(X.middleRows(i, n), k, k, causal, o))))
              << s;
        }
      }
    }
}

TEST_F(Batches, PaddedSequencesHaveTheLayersOwnKeysBehindTheirLengths) {
  const multi_head<float> attend(attention_with_keys(true, true), {.query = 4});
  const offsets lengths{30, 7, 0, 12, 1}, of_keys{30, 4, 0, 30, 2};
  const matrix Y = attend(X, X, X, padded_batch{5, lengths, of_keys});
  for (index s = 0; s < 5; ++s) {
    const auto q = X.middleRows(30 * s, lengths[std::size_t(s)]);
    const auto k = X.middleRows(30 * s, of_keys[std::size_t(s)]);
    EXPECT_TRUE(bitwise_equal(matrix(Y.middleRows(30 * s, q.rows())), matrix(attend(q, k, k))))
        << s;
  }
}

TEST_F(Batches, WithKeysOfTheirOwnThroughStacks) {
  const offsets of_memory{0, 12, 40, 41, 100};
  const matrix M = numbers(100, 16, 1);
  const exec::thread_pool pool(2);
  const auto causal = masks::causal_top_left{};
  for (const bool norm_first : {false, true}) {
    // Layers with and without such keys lay out their scratch differently.
    const transformer_encoder<float> encode(
        {layer(norm_first, true), layer(norm_first, false), layer(norm_first, true)});
    const transformer_decoder<float> decode(
        {decoder_layer(norm_first, false), decoder_layer(norm_first, true)});
    workspace space;
    const matrix encoded = encode(X, segments{at}, causal, pool, options{.workspace = &space});
    const matrix decoded =
        decode(X, M, for_target(segments{at}, causal), for_memory(segments{at, of_memory}), pool);
    for (std::size_t s = 0; s + 1 < at.size(); ++s) {
      const index first = at[s], count = at[s + 1] - first;
      const auto x = X.middleRows(first, count);
      const auto memory = M.middleRows(of_memory[s], of_memory[s + 1] - of_memory[s]);
      EXPECT_TRUE(
          bitwise_equal(matrix(encoded.middleRows(first, count)), matrix(encode(x, causal))))
          << s;
      EXPECT_TRUE(bitwise_equal(matrix(decoded.middleRows(first, count)),
                                matrix(decode(x, memory, for_target(causal)))))
          << s;
    }
  }
}

TEST_F(Batches, ShowTheWeightsOfEachSequence) {
  const offsets keys{0, 30, 30, 61, 150};
  for (const bool extra : {false, true}) {
    const multi_head<float> attend(attention_with_keys(extra, extra), {.query = 2});
    const auto [Y, W] = attend.with_weights(X, X, X, segments{at, keys});
    EXPECT_TRUE(bitwise_equal(Y, matrix(attend(X, X, X, segments{at, keys}))));
    ASSERT_EQ(W.size(), 2u);
    for (std::size_t s = 0; s + 1 < at.size(); ++s) {
      const index i = at[s], n = at[s + 1] - i, j = keys[s], m = keys[s + 1] - j;
      if (n == 0) continue;  // no row to look at, and Eigen's blocks of nothing step off null
      const auto k = X.middleRows(j, m);
      const auto own = attend.with_weights(X.middleRows(i, n), k, k);
      for (std::size_t h = 0; h < 2; ++h) {
        ASSERT_EQ(W[h].cols(), 150 + attend.extra_keys());
        const matrix rows = W[h].middleRows(i, n);
        matrix expected = matrix::Zero(n, rows.cols());
        expected.middleCols(j, m) = own.weights[h].leftCols(m);
        expected.rightCols(attend.extra_keys()) = own.weights[h].rightCols(attend.extra_keys());
        EXPECT_TRUE(bitwise_equal(rows, expected)) << s;
      }
    }
  }
}

TEST_F(Batches, OfNoRowsAreNothing) {
  const multi_head<float> attend(attention_with_keys(true, true), {.query = 2});
  const offsets none{0}, empty{0, 0, 0};
  EXPECT_EQ(attend(X.topRows(0), segments{none}).rows(), 0);
  EXPECT_EQ(attend(X.topRows(0), segments{empty}).rows(), 0);
  EXPECT_EQ(attend(X.topRows(0), padded_batch{3}).rows(), 0);
}

TEST_F(Batches, RefuseWhatDoesNotFit) {
  const auto one = layer(false);
  const offsets early{0, 149};
  matrix Y = matrix::Constant(150, 16, 7);
  expect_error<shape_error>([&] { one.into(X, Y, segments{early}); }, {"149", "150"});
  EXPECT_TRUE((Y.array() == 7).all());
  const multi_head<float> more(attention_with_keys(true, true), {.query = 2});
  expect_error<shape_error>([&] { more.into(X, X, X, Y, segments{early}); }, {"149", "150"});
  const offsets other{0, 7, 150};
  expect_error<shape_error>([&] { more.into(X, X, X, Y, segments{at, other}); }, {"3", "5"});
  expect_error<shape_error>([&] { more.into(X, X, X, Y, padded_batch{index{1} << 60}); },
                            {"150", "sequences"});
  const offsets longer{50, 50, 51};
  expect_error<argument_error>([&] { more.into(X, X, X, Y, padded_batch{3, {}, longer}); },
                               {"51", "50"});
  EXPECT_TRUE((Y.array() == 7).all());
}

}  // namespace
}  // namespace softlook::batches_test
