// Layers over several sequences in one call: each gets the rows of a call of its own.
#include <gtest/gtest.h>

#include <vector>

#include "softlook/layer/multi_head.hpp"
#include "softlook/transformer/encoder.hpp"
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
