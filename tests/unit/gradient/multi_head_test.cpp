#include "softlook/gradient/multi_head.hpp"

#include "softlook/positional.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::multi_head_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using parameters = multi_head_parameters<double>;

struct layer_sizes {
  heads of{.query = 2};
  index d = 4, e = 3;  // of a head
  index queries = 5, keys = 4, values = 6, outputs = 5;
  bool biases = true;
};

parameters weights_of(const layer_sizes& s, generator& random) {
  const index kv = s.of.kv_or_query();
  parameters p;
  const auto weights = [&](index rows, index cols) {
    return random_matrix<parameters::matrix>(rows, cols, random, 0.7);
  };
  const auto bias = [&](index size) { return random_matrix<parameters::row>(1, size, random); };
  p.Wq = weights(s.queries, s.of.query * s.d);
  p.Wk = weights(s.keys, kv * s.d);
  p.Wv = weights(s.values, kv * s.e);
  p.Wo = weights(s.of.query * s.e, s.outputs);
  if (!s.biases) return p;
  p.bq = bias(p.Wq.cols());
  p.bk = bias(p.Wk.cols());
  p.bv = bias(p.Wv.cols());
  p.bo = bias(s.outputs);
  return p;
}

/// A key and value of the layer's own.
void give_own_key(parameters& p, generator& random) {
  p.bias_k = random_matrix<parameters::row>(1, p.Wk.cols(), random);
  p.bias_v = random_matrix<parameters::row>(1, p.Wv.cols(), random);
}

struct rows_of_layer {
  matrix Q, K, V, dY;
};

rows_of_layer rows_of(const layer_sizes& s, index n, index m, generator& random) {
  return {random_matrix<matrix>(n, s.queries, random), random_matrix<matrix>(m, s.keys, random),
          random_matrix<matrix>(m, s.values, random), random_matrix<matrix>(n, s.outputs, random)};
}

/// Output, gradients of inputs and of weights.
template <class... Ps>
void expect_gradients(parameters& p, const heads& h, rows_of_layer& x, const Ps&... policies) {
  saved_multi_head<double> saved, other;
  const matrix Y = multi_head_forward(p, h, x.Q, x.K, x.V, saved, policies...);
  const matrix expected = multi_head<double>(p, h)(x.Q, x.K, x.V, policies...);
  EXPECT_LE((Y - expected).cwiseAbs().maxCoeff(), 1e-12);
  parameters gradients = zeros_like(p);
  multi_head_backward(p, h, saved, x.dY, gradients, policies...);
  const auto loss = [&] {
    return inner_product(x.dY, multi_head_forward(p, h, x.Q, x.K, x.V, other, policies...));
  };
  expect_gradient("Q", x.Q, saved.dQ, loss);
  expect_gradient("K", x.K, saved.dK, loss);
  expect_gradient("V", x.V, saved.dV, loss);
  expect_parameter_gradients(p, gradients, loss);
}

TEST(MultiHeadGradient, IsThatOfDifferences) {
  generator random = seed(16041);
  for (const heads h : {heads{.query = 2}, heads{.query = 4, .kv = 2}, heads{.query = 2, .kv = 1}})
    for (const int own : {0, 1, 2, 3}) {
      const layer_sizes s{.of = h, .biases = own < 2};
      parameters p = weights_of(s, random);
      if (own & 1) give_own_key(p, random);
      p.add_zero_attn = (own & 2) != 0;
      rows_of_layer x = rows_of(s, 3, 4, random);
      expect_gradients(p, h, x);
    }
}

TEST(MultiHeadGradient, KnowsMasksTransformsAndScale) {
  generator random = seed(16042);
  const layer_sizes s;
  const matrix B = random_matrix<matrix>(2 * 3, 4, random);
  Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic> allowed(3, 4);
  allowed << 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1;  // the second query has no key
  for (const bool own : {false, true}) {
    parameters p = weights_of(s, random);
    if (own) give_own_key(p, random);
    rows_of_layer x = rows_of(s, 3, 4, random);
    expect_gradients(p, s.of, x, transforms::bias(B), masks::dense(allowed), options{.scale = 0.4});
  }
}

TEST(MultiHeadGradient, TurnsRotaryPositionsBack) {
  generator random = seed(16043);
  for (const rotary_pairs pairs : {rotary_pairs::half_split, rotary_pairs::interleaved}) {
    const layer_sizes s{.of = {.query = 4, .kv = 2}, .d = 6};
    parameters p = weights_of(s, random);
    p.rotary = rotary_embedding<double>(rotary_frequencies(4, 10),
                                        {.pairs = pairs, .head_features = 6, .magnitude = 1.2});
    rows_of_layer x = rows_of(s, 3, 4, random);
    expect_gradients(p, s.of, x, frame{.first_query = 2, .first_key = 1});
  }
}

TEST(MultiHeadGradient, OfSeveralSequencesIsThatOfDifferences) {
  generator random = seed(16046);
  const std::int32_t queries[] = {0, 2, 2, 5}, keys[] = {0, 3, 4, 7};
  const segments packed{queries, keys};
  const masks::causal_bottom_right causal{};
  for (const bool own : {false, true}) {
    const layer_sizes s{.of = {.query = 4, .kv = 2}, .d = 6};
    parameters p = weights_of(s, random);
    p.rotary =
        rotary_embedding<double>(rotary_frequencies(4, 10), {.head_features = 6, .magnitude = 1.2});
    if (own) give_own_key(p, random);
    rows_of_layer x = rows_of(s, 5, 7, random);
    expect_gradients(p, s.of, x, packed, causal);
  }
  const layer_sizes s;
  parameters p = weights_of(s, random);
  rows_of_layer x = rows_of(s, 6, 8, random);
  const std::int32_t used[] = {3, 1}, seen[] = {2, 4};
  expect_gradients(p, s.of, x, padded_batch{2, used, seen}, causal, transforms::soft_cap{2});
}

TEST(MultiHeadGradient, OfSequencesIsTheSumOfTheirs) {
  generator random = seed(16047);
  const layer_sizes s{.queries = 6, .keys = 6, .values = 6};
  const parameters p = weights_of(s, random);
  const std::int32_t at[] = {0, 4, 5, 12};
  const matrix X = random_matrix<matrix>(12, 6, random), dY = random_matrix<matrix>(12, 5, random);
  const dropout d{.probability = 0.4, .seed = 5};
  saved_multi_head<double> saved, one;
  parameters gradients = zeros_like(p), sum = zeros_like(p);
  const matrix Y = multi_head_forward(p, s.of, X, saved, segments{at});
  const matrix dX = multi_head_backward(p, s.of, saved, dY, gradients, segments{at});
  for (int k = 0; k < 3; ++k) {
    const index first = at[k], rows = at[k + 1] - first;
    const matrix part = multi_head_forward(p, s.of, X.middleRows(first, rows), one);
    EXPECT_LE((part - Y.middleRows(first, rows)).cwiseAbs().maxCoeff(), 1e-12);
    const matrix back = multi_head_backward(p, s.of, one, dY.middleRows(first, rows), sum);
    EXPECT_LE((back - dX.middleRows(first, rows)).cwiseAbs().maxCoeff(), 1e-12);
  }
  EXPECT_LE((gradients.Wq - sum.Wq).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LE((gradients.Wo - sum.Wo).cwiseAbs().maxCoeff(), 1e-12);
  // Dropped weights hang on the number of the sequence.
  rows_of_layer x = rows_of(s, 12, 12, random);
  parameters q = p;
  expect_gradients(q, s.of, x, segments{at}, d);
}

TEST(MultiHeadGradient, OfSelfAttentionIsOneSum) {
  generator random = seed(16044);
  const layer_sizes s{.queries = 6, .keys = 6, .values = 6};
  parameters p = weights_of(s, random);
  matrix X = random_matrix<matrix>(4, 6, random);
  const matrix dY = random_matrix<matrix>(4, 5, random);
  const auto causal = masks::causal_top_left{};
  saved_multi_head<double> saved, apart;
  const matrix Y = multi_head_forward(p, s.of, X, saved, causal);
  parameters gradients = zeros_like(p), others = zeros_like(p);
  const matrix dX = multi_head_backward(p, s.of, saved, dY, gradients, causal);
  EXPECT_EQ(multi_head_forward(p, s.of, X, X, X, apart, causal), Y);
  multi_head_backward(p, s.of, apart, dY, others, causal);
  EXPECT_LE((dX - (apart.dQ + apart.dK + apart.dV)).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_EQ(gradients.Wk, others.Wk);
  EXPECT_EQ(saved.dK.size(), 0);
  EXPECT_LT(saved.bytes(), apart.bytes());
  saved_multi_head<double> other;
  expect_gradient("X", X, dX,
                  [&] { return inner_product(dY, multi_head_forward(p, s.of, X, other, causal)); });
}

TEST(MultiHeadGradient, RefusesWhatDoesNotFit) {
  generator random = seed(16045);
  const layer_sizes s;
  const parameters p = weights_of(s, random);
  parameters gradients = zeros_like(p);
  const rows_of_layer x = rows_of(s, 3, 4, random);
  saved_multi_head<double> saved;
  expect_error<shape_error>([&] { multi_head_forward(p, s.of, x.K, x.K, x.V, saved); },
                            {"multi_head_forward", "Q.cols() is 4", "Wq.rows() is 5"});
  expect_error<shape_error>([&] { multi_head_forward(p, {.query = 3}, x.Q, x.K, x.V, saved); },
                            {"Wq.cols() is 8", "heads.query is 3"});
  Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic> allowed(2, 4);
  allowed.setOnes();
  expect_error<shape_error>(
      [&] { multi_head_forward(p, s.of, x.Q, x.K, x.V, saved, masks::dense(allowed)); },
      {"2", "3"});
  const std::int32_t at[] = {0, 4};
  expect_error<shape_error>(
      [&] { multi_head_forward(p, s.of, x.Q, x.K, x.V, saved, segments{at}); },
      {"multi_head_forward", "segments", "4", "3"});
  parameters with_own = p;
  with_own.bias_k = parameters::row::Zero(p.Wk.cols());
  with_own.bias_v = parameters::row::Zero(p.Wv.cols());
  expect_error<argument_error>(
      [&] { multi_head_forward(with_own, s.of, x.Q, x.K, x.V, saved, padded_batch{1}); },
      {"own", "padded_batch"});
  EXPECT_EQ(saved.Y.size(), 0);
  EXPECT_EQ(saved.Q.size(), 0);
  multi_head_forward(p, s.of, x.Q, x.K, x.V, saved);
  expect_error<shape_error>(
      [&] { multi_head_backward(p, s.of, saved, matrix::Zero(3, 4), gradients); },
      {"dY.cols() is 4", "is 5"});
  EXPECT_EQ(gradients.Wq.cwiseAbs().maxCoeff(), 0);
}

TEST(MultiHeadGradient, OfFloatIsThatOfDouble) {
  generator random = seed(16047);
  const layer_sizes s{.of = {.query = 4, .kv = 2}};
  const parameters wide = weights_of(s, random);
  const auto narrow = cast_parameters<float>(wide);
  const rows_of_layer x = rows_of(s, 9, 7, random);
  saved_multi_head<double> saved;
  saved_multi_head<float> saved_narrow;
  parameters gradients = zeros_like(wide);
  auto narrow_gradients = zeros_like(narrow);
  multi_head_forward(wide, s.of, x.Q, x.K, x.V, saved);
  multi_head_backward(wide, s.of, saved, x.dY, gradients);
  multi_head_forward(narrow, s.of, x.Q.cast<float>(), x.K.cast<float>(), x.V.cast<float>(),
                     saved_narrow);
  multi_head_backward(narrow, s.of, saved_narrow, x.dY.cast<float>(), narrow_gradients);
  expect_same_gradient("Q", saved_narrow.dQ, saved.dQ);
  expect_same_gradient("K", saved_narrow.dK, saved.dK);
  expect_same_gradient("V", saved_narrow.dV, saved.dV);
  expect_same_parameter_gradients(narrow_gradients, gradients);
}

TEST(MultiHeadGradient, IsFiniteInFloat) {
  generator random = seed(16046);
  const layer_sizes s;
  const auto p = cast_parameters<float>(weights_of(s, random));
  const rows_of_layer x = rows_of(s, 3, 4, random);
  auto gradients = zeros_like(p);
  saved_multi_head<float> saved;
  multi_head_forward(p, s.of, 50 * x.Q.cast<float>(), 50 * x.K.cast<float>(), x.V.cast<float>(),
                     saved);
  EXPECT_TRUE(multi_head_backward(p, s.of, saved, x.dY.cast<float>(), gradients).allFinite());
  EXPECT_TRUE(gradients.Wk.allFinite());
}

}  // namespace
}  // namespace softlook::multi_head_test
