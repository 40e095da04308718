// The kernels' extern templates come first.
#include "tests/support/ways.hpp"
//
#include <limits>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/vision.hpp"
#include "tests/oracle/numbers.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/storage.hpp"

namespace softlook::vision_test {
namespace {

using namespace softlook_test;
using oracle::real;

/// A gate, nowhere steeper than 1/4, of a number that is a sum of at most `terms` roundings of
/// `score`, times x.
template <class T>
double gate_bound(double terms, double score, double x) {
  return (8 + std::sqrt(terms)) * epsilon_of<T>() * (1 + score) * x;
}

real sigmoid(real x) { return 1 / (1 + std::exp(-x)); }
real hard_sigmoid(real x) { return std::min(std::max(x + 3, real(0)), real(6)) / 6; }
real relu(real x) { return std::max(x, real(0)); }

template <class F>
oracle::matrix each(oracle::matrix X, const F& f) {
  for (index k = 0; k < X.size(); ++k) X.data()[k] = f(X.data()[k]);
  return X;
}

/// 1 × rows.
oracle::matrix means_of_rows(const oracle::matrix& X) {
  oracle::matrix m(1, X.rows());
  for (index c = 0; c < X.rows(); ++c) {
    real sum = 0;
    for (index p = 0; p < X.cols(); ++p) sum += X(c, p);
    m(0, c) = sum / real(X.cols());
  }
  return m;
}
oracle::matrix maxima_of_rows(const oracle::matrix& X) {
  oracle::matrix m(1, X.rows());
  for (index c = 0; c < X.rows(); ++c) {
    m(0, c) = -oracle::infinity;
    for (index p = 0; p < X.cols(); ++p) m(0, c) = std::max(m(0, c), X(c, p));
  }
  return m;
}

oracle::matrix plus_row(oracle::matrix X, const oracle::matrix& b) {
  for (index i = 0; i < X.rows(); ++i)
    for (index j = 0; j < X.cols(); ++j) X(i, j) += b(0, j);
  return X;
}

/// Rows of X times g, a number for each.
oracle::matrix gated_rows(oracle::matrix X, const oracle::matrix& g) {
  for (index c = 0; c < X.rows(); ++c)
    for (index p = 0; p < X.cols(); ++p) X(c, p) *= g(0, c);
  return X;
}
oracle::matrix gated_columns(const oracle::matrix& X, const oracle::matrix& g) {
  return gated_rows(X.transpose(), g).transpose();
}

/// Softmax of Q·Kᵀ times V.
oracle::matrix attended(const oracle::matrix& Q, const oracle::matrix& K, const oracle::matrix& V,
                        real scale = 1) {
  oracle::matrix O = oracle::matrix::Zero(Q.rows(), V.cols());
  for (index i = 0; i < Q.rows(); ++i) {
    real largest = -oracle::infinity, sum = 0;
    for (index j = 0; j < K.rows(); ++j)
      largest = std::max(largest, scale * oracle::inner_product(Q, i, K, j));
    for (index j = 0; j < K.rows(); ++j) {
      const real w = std::exp(scale * oracle::inner_product(Q, i, K, j) - largest);
      sum += w;
      for (index e = 0; e < V.cols(); ++e) O(i, e) += w * V(j, e);
    }
    for (index e = 0; e < V.cols(); ++e) O(i, e) /= sum;
  }
  return O;
}

template <class T>
class Vision : public ::testing::Test {
 protected:
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  static constexpr map_size shape{.height = 7, .width = 23};
  static constexpr index channels = 11, hidden = 3, area = shape.pixels();
  generator random = seed(611);
  row_major<T> input = random_matrix<row_major<T>>(channels, area, random);
  oracle::matrix wide = oracle::widen(input);

  matrix weights(index rows, index cols) { return random_matrix<matrix>(rows, cols, random); }
  row numbers(index count) { return random_matrix<row>(1, count, random); }

  channel_attention_parameters<T> channel_parameters() {
    return {.W1 = weights(channels, hidden),
            .b1 = numbers(hidden),
            .W2 = weights(hidden, channels),
            .b2 = numbers(channels)};
  }
  /// The same result from every storage order, expression and executor, and in place.
  template <class Layer>
  void expect_same_everywhere(const Layer& layer) {
    const row_major<T> once = layer(input);
    const col_major<T> columns = input;
    EXPECT_TRUE(bitwise_equal(layer(columns), once));
    EXPECT_TRUE(bitwise_equal(layer(strided_copy<T>(input).map()), once));
    EXPECT_TRUE(bitwise_equal(layer(framed_copy<T>(input).block()), once));
    EXPECT_TRUE(bitwise_equal(layer(T(1) * input), once));
    exec::thread_pool pool(3);
    EXPECT_TRUE(bitwise_equal(layer(input, pool), once));
  }
};
TYPED_TEST_SUITE(Vision, scalars, scalar_names);

TYPED_TEST(Vision, ChannelAttentionWeighsAChannelByItsPooledValues) {
  using T = TypeParam;
  const auto p = this->channel_parameters();
  const auto mlp = [&](const oracle::matrix& s) {
    const auto h =
        each(plus_row(oracle::product(s, oracle::widen(p.W1)), oracle::widen(p.b1)), relu);
    return plus_row(oracle::product(h, oracle::widen(p.W2)), oracle::widen(p.b2));
  };
  const auto mean = means_of_rows(this->wide), largest = maxima_of_rows(this->wide);
  const oracle::matrix scores[] = {mlp(mean), mlp(mean) + mlp(largest), mlp((mean + largest) / 2)};
  const pooled kinds[] = {pooled::mean, pooled::mean_and_max, pooled::mean_max_average};
  for (int k = 0; k < 3; ++k) {
    const channel_attention<T> soft(p, {.pooled = kinds[k]});
    const channel_attention<T> hard(p, {.pooled = kinds[k], .gate = gate_function::hard_sigmoid});
    const double bound =
        gate_bound<T>(this->area + this->channels + this->hidden,
                      40 * max_magnitude(p.W1) * max_magnitude(p.W2), max_magnitude(this->input));
    EXPECT_LE(max_error(soft.gates(this->input), each(scores[k], sigmoid)), bound) << k;
    for (const auto isa : available_instruction_sets())
      EXPECT_LE(max_error(soft(this->input, options{.isa = isa}),
                          gated_rows(this->wide, each(scores[k], sigmoid))),
                bound)
          << k;
    EXPECT_LE(max_error(hard(this->input), gated_rows(this->wide, each(scores[k], hard_sigmoid))),
              bound)
        << k;
    this->expect_same_everywhere(soft);
  }
}

TYPED_TEST(Vision, EffectiveSqueezeExcitationHasOneLayer) {
  using T = TypeParam;
  const auto W = this->weights(this->channels, this->channels);
  const channel_attention<T> layer({.W2 = W}, {.gate = gate_function::hard_sigmoid});
  const auto scores = oracle::product(means_of_rows(this->wide), oracle::widen(W));
  EXPECT_EQ(layer.channels(), this->channels);
  EXPECT_LE(max_error(layer(this->input), gated_rows(this->wide, each(scores, hard_sigmoid))),
            gate_bound<T>(this->area + this->channels, 4 * max_magnitude(W), 4.0));
}

TYPED_TEST(Vision, MeansOfLargeMapsStayAccurate) {
  using T = TypeParam;
  // One of each 7 of 100 003 numbers is 1: the mean is known, a chain of additions would drift.
  constexpr index count = 100003;
  row_major<T> X = row_major<T>::Zero(1, count);
  index ones = 0;
  for (index p = 0; p < count; p += 7, ++ones) X(0, p) = T(1.1);
  const channel_attention<T> layer({.W2 = Eigen::Matrix<T, 1, 1>(T(8))});
  const real mean = real(T(1.1)) * real(ones) / real(count);
  const oracle::matrix truth = oracle::matrix::Constant(1, 1, sigmoid(8 * mean));
  // 64 additions in each lane, then one in double for each of those sums.
  const double bound = gate_bound<T>(64, 0, 1) + gate_bound<double>(double(count) / 64, 0, 1);
  EXPECT_LE(max_error(layer.gates(X), truth), bound);
}

TYPED_TEST(Vision, EfficientChannelAttentionLooksAtNeighbouringChannels) {
  using T = TypeParam;
  const auto means = means_of_rows(this->wide);
  for (const index taps : {1, 3, 5, 13}) {
    const auto w = this->numbers(taps);
    for (const auto ends : {channel_ends::zeros, channel_ends::circular}) {
      oracle::matrix g(1, this->channels);
      for (index c = 0; c < this->channels; ++c) {
        real sum = 0;
        for (index t = 0; t < taps; ++t) {
          index at = c + t - taps / 2;
          if (ends == channel_ends::circular) at = (at + 2 * this->channels) % this->channels;
          if (at >= 0 && at < this->channels) sum += real(w[t]) * means(0, at);
        }
        g(0, c) = sigmoid(sum);
      }
      const efficient_channel_attention<T> layer(w, {.ends = ends});
      EXPECT_LE(max_error(layer(this->input), gated_rows(this->wide, g)),
                gate_bound<T>(16, 4, 4.0));
      EXPECT_LE(max_error(layer.gates(this->input), g), gate_bound<T>(16, 4, 1));
      this->expect_same_everywhere(layer);
    }
  }
}

TEST(EcaTaps, GrowWithTheLogarithmOfTheChannels) {
  EXPECT_EQ(eca_taps(1), 3);
  EXPECT_EQ(eca_taps(64), 3);
  EXPECT_EQ(eca_taps(128), 5);  // (7 + 1)/2 = 4, made odd
  EXPECT_EQ(eca_taps(256), 5);
  EXPECT_EQ(eca_taps(2048), 7);
  expect_error<argument_error>([] { (void)eca_taps(0); }, {"eca_taps", "channels is 0"});
  expect_error<argument_error>([] { (void)eca_taps(8, 0); }, {"eca_taps", "gamma is 0"});
}

/// Gates of spatial attention, from its formula: zeros around the picture.
oracle::matrix spatial_gates(const oracle::matrix& planes, const map_size& size,
                             const oracle::matrix& kernels, real gain, real shift) {
  const index k = kernels.cols();
  oracle::matrix g(1, size.pixels());
  for (index y = 0; y < size.height; ++y)
    for (index p = 0; p < size.width; ++p) {
      real sum = 0;
      for (index r = 0; r < kernels.rows(); ++r)
        for (index t = 0; t < k; ++t) {
          const index v = y + r % k - k / 2, u = p + t - k / 2;
          if (v >= 0 && v < size.height && u >= 0 && u < size.width)
            sum += kernels(r, t) * planes(r / k, v * size.width + u);
        }
      g(0, y * size.width + p) = sigmoid(gain * sum + shift);
    }
  return g;
}

TYPED_TEST(Vision, SpatialAttentionWeighsAPixelByWhatLiesAroundIt) {
  using T = TypeParam;
  const oracle::matrix pixels = this->wide.transpose();
  oracle::matrix both(2, this->area);
  both << means_of_rows(pixels), maxima_of_rows(pixels);
  const oracle::matrix middle = (both.row(0) + both.row(1)) / 2;
  for (const index k : {1, 3, 7, 25}) {
    const auto two = this->weights(2 * k, k);
    const spatial_attention<T> layer({.kernels = two, .gain = T(0.7), .shift = T(-0.3)});
    const double bound = gate_bound<T>(double(two.size()), double(two.size()), 4.0);
    const auto g =
        spatial_gates(both, this->shape, oracle::widen(two), real(T(0.7)), real(T(-0.3)));
    EXPECT_LE(max_error(layer.gates(this->input, this->shape), g), bound) << k;
    EXPECT_LE(max_error(layer(this->input, this->shape), gated_columns(this->wide, g)), bound) << k;
    const spatial_attention<T> light({.kernels = two.topRows(k)},
                                     {.pooled = pooled::mean_max_average});
    const auto h = spatial_gates(middle, this->shape, oracle::widen(two.topRows(k).eval()), 1, 0);
    EXPECT_LE(max_error(light(this->input, this->shape), gated_columns(this->wide, h)), bound) << k;
    this->expect_same_everywhere(
        [&](const auto& X, const auto&... ps) { return layer(X, this->shape, ps...); });
  }
}

TYPED_TEST(Vision, GainAndShiftAreABatchNormalisationAtRest) {
  using T = TypeParam;
  const auto [gain, shift] = gain_and_shift<T>(T(1.5), T(-0.25), T(0.125), T(0.75), 0.25);
  EXPECT_EQ(gain, T(1.5));
  EXPECT_EQ(shift, T(-0.25) - T(0.125) * T(1.5));
  expect_error<argument_error>([] { (void)gain_and_shift<T>(1, 0, 0, T(-1), 0); },
                               {"gain_and_shift", "is -1"});
}

TYPED_TEST(Vision, CbamGatesChannelsAndThenPixels) {
  using T = TypeParam;
  const channel_attention<T> channel(this->channel_parameters(), {.pooled = pooled::mean_and_max});
  const spatial_attention<T> spatial({.kernels = this->weights(6, 3)});
  const cbam<T> block(channel, spatial);
  const row_major<T> Y = block(this->input, this->shape);
  EXPECT_TRUE(bitwise_equal(Y, spatial(channel(this->input), this->shape)));
  this->expect_same_everywhere(
      [&](const auto& X, const auto&... ps) { return block(X, this->shape, ps...); });
  row_major<T> in_place = this->input;
  block.into(in_place, this->shape, in_place);
  EXPECT_TRUE(bitwise_equal(in_place, Y));
}

TYPED_TEST(Vision, GatherExciteAveragesAroundAGrid) {
  using T = TypeParam;
  const map_size s = this->shape;
  for (const index e : {1, 2, 3, 5, 40}) {
    oracle::matrix truth = this->wide;
    const index down = (s.height + e - 1) / e, right = (s.width + e - 1) / e;
    for (index c = 0; c < this->channels; ++c)
      for (index y = 0; y < s.height; ++y)
        for (index p = 0; p < s.width; ++p) {
          const index cy = y * down / s.height * e, cp = p * right / s.width * e;
          real sum = 0, count = 0;
          for (index v = cy - (e - 1); v <= cy + (e - 1); ++v)
            for (index u = cp - (e - 1); u <= cp + (e - 1); ++u)
              if (v >= 0 && v < s.height && u >= 0 && u < s.width) {
                sum += this->wide(c, v * s.width + u);
                ++count;
              }
          truth(c, y * s.width + p) *= sigmoid(sum / count);
        }
    EXPECT_LE(max_error(gather_excite(this->input, s, {.extent = e}), truth),
              gate_bound<T>(1, 4, 4.0))
        << e;
  }
  const auto global = gated_rows(this->wide, each(means_of_rows(this->wide), sigmoid));
  EXPECT_LE(max_error(gather_excite(this->input, s), global), gate_bound<T>(1, 4, 4.0));
  this->expect_same_everywhere(
      [&](const auto& X, const auto&... ps) { return gather_excite(X, s, {.extent = 3}, ps...); });
  row_major<T> in_place = this->input;
  gather_excite_into(in_place, s, in_place, {.extent = 2});
  EXPECT_TRUE(bitwise_equal(in_place, gather_excite(this->input, s, {.extent = 2})));
}

TYPED_TEST(Vision, GlobalContextPoolsOnceForAllPixels) {
  using T = TypeParam;
  const global_context_parameters<T> p{.key = this->numbers(this->channels),
                                       .W1 = this->weights(this->channels, 5),
                                       .b1 = this->numbers(5),
                                       .gain = this->numbers(5),
                                       .bias = this->numbers(5),
                                       .W2 = this->weights(5, this->channels),
                                       .b2 = this->numbers(this->channels)};
  const oracle::matrix pixels = this->wide.transpose();
  const auto context = attended(oracle::widen(p.key), pixels, pixels);
  auto h = plus_row(oracle::product(context, oracle::widen(p.W1)), oracle::widen(p.b1));
  real mean = 0, square = 0;
  for (index k = 0; k < 5; ++k) mean += h(0, k) / 5;
  for (index k = 0; k < 5; ++k) square += (h(0, k) - mean) * (h(0, k) - mean) / 5;
  const real deviation = std::sqrt(square + real(1e-5));
  for (index k = 0; k < 5; ++k)
    h(0, k) = relu((h(0, k) - mean) / deviation * real(p.gain[k]) + real(p.bias[k]));
  const auto t = plus_row(oracle::product(h, oracle::widen(p.W2)), oracle::widen(p.b2));
  const auto added = plus_row(this->wide.transpose(), t).transpose().eval();
  const double score = 16 * double(this->channels) / double(deviation);
  const double bound = gate_bound<T>(double(this->area), score, 16.0);
  const global_context<T> adds(p), scales(p, {.fusion = context_fusion::scale});
  for (const way& w : every_way()) {
    EXPECT_LE(max_error(adds(this->input, w.opts), added), bound) << w;
    EXPECT_LE(max_error(scales(this->input, w.opts), gated_rows(this->wide, each(t, sigmoid))),
              bound)
        << w;
  }
  this->expect_same_everywhere(adds);
  this->expect_same_everywhere(scales);
}

TYPED_TEST(Vision, NonLocalBlockMixesSimilarPixels) {
  using T = TypeParam;
  const index C = this->channels;
  const non_local_parameters<T> p{.Wq = this->weights(C, 4),
                                  .Wk = this->weights(C, 4),
                                  .Wv = this->weights(C, 6),
                                  .Wo = this->weights(6, C),
                                  .bq = this->numbers(4),
                                  .bk = this->numbers(4),
                                  .bv = this->numbers(6),
                                  .bo = this->numbers(C),
                                  .gain = T(0.5)};
  const oracle::matrix pixels = this->wide.transpose();
  const auto linear = [&](const auto& W, const auto& b) {
    return plus_row(oracle::product(pixels, oracle::widen(W)), oracle::widen(b));
  };
  const auto Q = linear(p.Wq, p.bq), K = linear(p.Wk, p.bk), V = linear(p.Wv, p.bv);
  const auto Y = attended(Q, K, V);
  const oracle::matrix Z =
      this->wide +
      plus_row(oracle::product(Y, oracle::widen(p.Wo)), oracle::widen(p.bo)).transpose() / 2;
  const double scores = 4 * double(max_magnitude(Q)) * double(max_magnitude(K));
  const double bound = multi_head_layer_bound<T>(std::sqrt(double(this->area)) + double(C), scores,
                                                 6 * 3.0 * double(max_magnitude(V)));
  const non_local_block<T> block(p);
  EXPECT_EQ(block.channels(), C);
  for (const way& w : every_way()) EXPECT_LE(max_error(block(this->input, w.opts), Z), bound) << w;
  const auto P = block.weights(this->input);
  EXPECT_LE(max_error((P * V.template cast<T>()).eval(), Y), bound);
  this->expect_same_everywhere(block);
  row_major<T> in_place = this->input;
  block.into(in_place, in_place);
  EXPECT_TRUE(bitwise_equal(in_place, block(this->input)));
}

TYPED_TEST(Vision, NonLocalBlockWithoutMatricesIsGaussian) {
  using T = TypeParam;
  const oracle::matrix pixels = this->wide.transpose();
  const oracle::matrix Z = this->wide + attended(pixels, pixels, pixels, real(0.25)).transpose();
  const non_local_block<T> block({});
  const double scores = double(this->channels) * 16;
  EXPECT_LE(max_error(block(this->input, options{.scale = 0.25}), Z),
            attention_bound<T>(double(this->area), double(this->channels), scores, 4.0));
  // A mask means what it means in attention(): here each pixel sees itself alone.
  const row_major<T> doubled = block(this->input, masks::window{.left = 0, .right = 0});
  EXPECT_LE(max_error(doubled, oracle::matrix(2 * this->wide)), gate_bound<T>(1, 0, 8));
}

TYPED_TEST(Vision, ChannelsAttendToEachOther) {
  using T = TypeParam;
  const auto mixed = attended(this->wide, this->wide, this->wide, real(0.0625));
  const oracle::matrix Y = this->wide + real(T(0.75)) * mixed;
  const double scores = double(this->area) / 16;
  const double bound =
      attention_bound<T>(double(this->channels), double(this->area), 4 * scores, 4.0);
  for (const way& w : every_way()) {
    options o = w.opts;
    o.scale = 0.0625;
    EXPECT_LE(max_error(channel_self_attention(this->input, T(0.75), o), Y), bound) << w;
  }
  this->expect_same_everywhere(
      [](const auto& X, const auto&... ps) { return channel_self_attention(X, T(0.75), ps...); });
}

TYPED_TEST(Vision, DualAttentionAddsPositionsAndChannels) {
  using T = TypeParam;
  const index C = this->channels;
  const non_local_block<T> position({.Wq = this->weights(C, 2),
                                     .Wk = this->weights(C, 2),
                                     .Wv = this->weights(C, C),
                                     .gain = T(0.5)});
  const dual_attention<T> dual(position, T(0.25));
  const row_major<T> sum = position(this->input) + channel_self_attention(this->input, T(0.25));
  EXPECT_TRUE(bitwise_equal(dual(this->input), sum));
  this->expect_same_everywhere(dual);
  row_major<T> in_place = this->input;
  dual.into(in_place, in_place);
  EXPECT_TRUE(bitwise_equal(in_place, sum));
}

TYPED_TEST(Vision, AttentionPoolGivesARowForEachQuery) {
  using T = TypeParam;
  const auto queries = this->weights(3, this->channels);
  const oracle::matrix pixels = this->wide.transpose();
  const auto truth = attended(oracle::widen(queries), pixels, pixels);
  const double scores = double(this->channels) * 4 * max_magnitude(queries);
  EXPECT_LE(max_error(attention_pool(this->input, queries), truth),
            attention_bound<T>(double(this->area), double(this->channels), scores, 4.0));
  const auto first = attention_pool(this->input, queries, masks::padding{.length = 1});
  for (index k = 0; k < 3; ++k)
    EXPECT_TRUE(bitwise_equal(first.row(k), this->input.col(0).transpose()));
  EXPECT_TRUE(row_is_zero(attention_pool(this->input.leftCols(0), queries), 0));
  expect_error<shape_error>([&] { (void)attention_pool(this->input.topRows(4), queries); },
                            {"attention_pool", "queries.cols() is 11", "X.rows() is 4"});
}

TYPED_TEST(Vision, AttentionPoolingAsksWithTheMean) {
  using T = TypeParam;
  const index C = this->channels;
  const multi_head_parameters<T> p{.Wq = this->weights(C, 4),
                                   .Wk = this->weights(C, 4),
                                   .Wv = this->weights(C, 6),
                                   .Wo = this->weights(6, 5)};
  const auto positions = this->weights(this->area + 1, C);
  oracle::matrix tokens(this->area + 1, C);
  tokens << means_of_rows(this->wide), this->wide.transpose();
  tokens += oracle::widen(positions);
  const auto Q = oracle::product(tokens.topRows(1), oracle::widen(p.Wq));
  const auto K = oracle::product(tokens, oracle::widen(p.Wk));
  const auto V = oracle::product(tokens, oracle::widen(p.Wv));
  oracle::matrix heads(1, 6);
  for (index h = 0; h < 2; ++h)
    heads.middleCols(3 * h, 3) = attended(Q.middleCols(2 * h, 2), K.middleCols(2 * h, 2),
                                          V.middleCols(3 * h, 3), 1 / std::sqrt(real(2)));
  const auto truth = oracle::product(heads, oracle::widen(p.Wo));
  const double scores = 2 * double(max_magnitude(Q)) * double(max_magnitude(K));
  const attention_pooling<T> pool(p, softlook::heads{.query = 2}, positions);
  EXPECT_LE(max_error(pool(this->input), truth),
            multi_head_layer_bound<T>(std::sqrt(double(this->area)) + double(C), scores,
                                      6 * 3.0 * double(max_magnitude(V))));
  const attention_pooling<T> without(p, softlook::heads{.query = 2});
  EXPECT_EQ(without(this->input.leftCols(1)).cols(), 5);
  expect_error<argument_error>([&] { (void)without(this->input.leftCols(0)); },
                               {"attention_pooling", "X.cols() is 0"});
  expect_error<shape_error>([&] { (void)pool(this->input.leftCols(3)); },
                            {"attention_pooling", "X.cols() + 1 is 4", "positions.rows() is 162"});
  expect_error<shape_error>([&] { (void)pool(this->input.topRows(3)); },
                            {"X.rows() is 3", "channels() is 11"});
}

TYPED_TEST(Vision, PatchesAreCutInReadingOrder) {
  using T = TypeParam;
  constexpr map_size size{.height = 6, .width = 8}, patch{.height = 3, .width = 2};
  row_major<T> X(2, size.pixels());
  for (index k = 0; k < X.size(); ++k) X.data()[k] = T(k);
  const auto P = patches_of(X, size, patch);
  ASSERT_EQ(P.rows(), 8);
  ASSERT_EQ(P.cols(), 12);
  for (index i = 0; i < P.rows(); ++i)
    for (index j = 0; j < P.cols(); ++j) {
      const index c = j / 6, y = i / 4 * 3 + j % 6 / 2, p = i % 4 * 2 + j % 2;
      EXPECT_EQ(P(i, j), T(c * 48 + y * 8 + p)) << i << " " << j;
    }
  const col_major<T> columns = X;
  exec::thread_pool pool(2);
  EXPECT_TRUE(bitwise_equal(patches_of(columns, size, patch, pool), P));
}

TYPED_TEST(Vision, PatchEmbeddingIsAProjectionWithAClassTokenAndPositions) {
  using T = TypeParam;
  constexpr map_size size{.height = 6, .width = 8}, patch{.height = 3, .width = 4};
  const auto X = this->weights(3, size.pixels());
  const patch_embedding_parameters<T> p{.W = this->weights(36, 5),
                                        .b = this->numbers(5),
                                        .class_token = this->numbers(5),
                                        .positions = this->weights(5, 5)};
  const auto P = oracle::widen(patches_of(X, size, patch));
  oracle::matrix Z(5, 5);
  Z << oracle::widen(p.class_token),
      plus_row(oracle::product(P, oracle::widen(p.W)), oracle::widen(p.b));
  Z += oracle::widen(p.positions);
  const patch_embedding<T> embed(p, patch);
  EXPECT_EQ(embed.channels(), 3);
  EXPECT_EQ(embed.features(), 5);
  EXPECT_EQ(embed.patch(), patch);
  const double bound = linear_bound<T>(36, 36 * max_magnitude(X) * max_magnitude(p.W));
  for (const auto isa : available_instruction_sets())
    EXPECT_LE(max_error(embed(X, size, options{.isa = isa}), Z), bound);
  const patch_embedding<T> bare({.W = p.W}, patch);
  EXPECT_LE(max_error(bare(X, size), oracle::product(P, oracle::widen(p.W))), bound);
}

TYPED_TEST(Vision, GatesWriteIntoBlocksAndInPlace) {
  using T = TypeParam;
  const channel_attention<T> layer(this->channel_parameters());
  const auto Y = layer(this->input);
  col_major<T> frame = col_major<T>::Constant(this->channels + 2, this->area + 3, T(7));
  layer.into(this->input, frame.block(1, 2, this->channels, this->area));
  EXPECT_TRUE(bitwise_equal(frame.block(1, 2, this->channels, this->area), Y));
  EXPECT_EQ(frame(0, 2), T(7));
  EXPECT_EQ(frame(1, 1), T(7));
  row_major<T> in_place = this->input;
  layer.into(in_place, in_place);
  EXPECT_TRUE(bitwise_equal(in_place, Y));
}

TYPED_TEST(Vision, ANaNReachesWhatItHasAPartIn) {
  using T = TypeParam;
  row_major<T> X = this->input;
  X(2, 30) = std::numeric_limits<T>::quiet_NaN();
  const auto Y = gather_excite(X, this->shape);
  for (index c = 0; c < this->channels; ++c) EXPECT_EQ(row_is_nan(Y, c), c == 2);
  // A 3×3 kernel: pixel (1, 7) spoils the nine pixels around it, in every channel.
  const spatial_attention<T> layer({.kernels = this->weights(6, 3)});
  const auto Z = layer(X, this->shape);
  for (index p = 0; p < this->area; ++p) {
    const index y = p / this->shape.width, q = p % this->shape.width;
    EXPECT_EQ(std::isnan(Z(0, p)), std::abs(y - 1) <= 1 && std::abs(q - 7) <= 1) << p;
  }
}

TYPED_TEST(Vision, EmptyMapsGiveEmptyMaps) {
  using T = TypeParam;
  const row_major<T> none(this->channels, 0);
  const channel_attention<T> layer(this->channel_parameters(), {.pooled = pooled::mean_and_max});
  EXPECT_EQ(layer(none).rows(), this->channels);
  EXPECT_TRUE(all_finite(layer.gates(none)));
  const spatial_attention<T> spatial({.kernels = this->weights(6, 3)});
  EXPECT_EQ(spatial(none, {0, 4}).cols(), 0);
  EXPECT_EQ(spatial(row_major<T>(0, 6), {2, 3}).cols(), 6);
  EXPECT_EQ(gather_excite(none, {4, 0}).cols(), 0);
  EXPECT_EQ(gather_excite(none, {4, 0}, {.extent = 2}).cols(), 0);
  EXPECT_EQ(non_local_block<T>({})(none).cols(), 0);
  EXPECT_EQ(channel_self_attention(none, T(1)).rows(), this->channels);
  EXPECT_EQ(patches_of(none, {0, 4}, {2, 2}).rows(), 0);
}

TYPED_TEST(Vision, GatesRejectWhatDoesNotFit) {
  using T = TypeParam;
  auto p = this->channel_parameters();
  const channel_attention<T> layer(p);
  expect_error<shape_error>([&] { (void)layer(this->input.topRows(4)); },
                            {"channel_attention", "X.rows() is 4", "channels() is 11"});
  row_major<T> Y = row_major<T>::Constant(4, 4, T(7));
  expect_error<shape_error>([&] { layer.into(this->input, Y); },
                            {"Y.rows() is 4", "X.rows() is 11"});
  EXPECT_TRUE((Y.array() == T(7)).all());
  row_major<T> both(this->channels, this->area + 1);
  expect_error<argument_error>(
      [&] { layer.into(both.leftCols(this->area), both.rightCols(this->area)); }, {"Y overlaps X"});
  p.W2 = this->weights(this->hidden + 1, this->channels);
  expect_error<shape_error>([&] { channel_attention<T>{p}; }, {"W1.cols() is 3", "W2.rows() is 4"});
  p.W2 = this->weights(this->hidden, 4);
  p.b2 = {};
  expect_error<shape_error>([&] { channel_attention<T>{p}; },
                            {"W2.cols() is 4", "W1.rows() is 11"});
  using eca = efficient_channel_attention<T>;
  expect_error<argument_error>([&] { eca(this->numbers(4)); }, {"taps.size() is 4", "odd"});
  expect_error<shape_error>([&] { eca(this->weights(3, 3)); }, {"taps.rows() is 3", "vector"});
  using spatial = spatial_attention<T>;
  expect_error<argument_error>([&] { spatial({.kernels = this->weights(8, 4)}); },
                               {"spatial_attention", "kernels.cols() is 4", "odd"});
  expect_error<shape_error>([&] { spatial({.kernels = this->weights(3, 3)}); },
                            {"kernels.rows() is 3", "2 * kernels.cols() is 6"});
  const spatial fine({.kernels = this->weights(6, 3)});
  expect_error<shape_error>([&] { (void)fine(this->input, {7, 22}); },
                            {"X.cols() is 161", "size.height * size.width is 154"});
  expect_error<argument_error>([&] { (void)fine(this->input, {-7, -23}); }, {"size.height is -23"});
  expect_error<argument_error>(
      [&] { (void)gather_excite(this->input, this->shape, {.extent = 0}); },
      {"gather_excite", "extent is 0"});
}

TYPED_TEST(Vision, BlocksRejectWhatDoesNotFit) {
  using T = TypeParam;
  using block = non_local_block<T>;
  const auto W = [&](index rows, index cols) { return this->weights(rows, cols); };
  expect_error<shape_error>([&] { block({.Wq = W(4, 2), .Wk = W(5, 2)}); },
                            {"non_local_block", "Wk.rows() is 5", "Wq.rows() is 4"});
  expect_error<shape_error>([&] { block({.Wq = W(4, 2), .Wk = W(4, 3)}); },
                            {"Wk.cols() is 3", "Wq.cols() is 2"});
  expect_error<shape_error>([&] { block({.Wq = W(4, 2), .Wk = W(4, 2), .Wv = W(5, 4)}); },
                            {"Wv.rows() is 5", "channels is 4"});
  expect_error<shape_error>([&] { block({.Wv = W(4, 3)}); }, {"Wv.cols() is 3", "channels is 4"});
  expect_error<shape_error>([&] { block({.Wv = W(4, 3), .Wo = W(2, 4)}); },
                            {"Wo.rows() is 2", "Wv.cols() is 3"});
  expect_error<shape_error>([&] { block({.Wq = W(4, 2), .Wk = W(4, 2), .bq = this->numbers(3)}); },
                            {"bq.size() is 3", "Wq.cols() is 2"});
  expect_error<shape_error>([&] { (void)block({.Wv = W(4, 4)})(this->input); },
                            {"X.rows() is 11", "channels() is 4"});
  global_context_parameters<T> p{
      .key = this->numbers(4), .W1 = W(4, 2), .gain = this->numbers(2), .W2 = W(2, 4)};
  expect_error<shape_error>([&] { (void)global_context<T>(p)(this->input); },
                            {"global_context", "X.rows() is 11", "channels() is 4"});
  p.gain = this->numbers(3);
  expect_error<shape_error>([&] { global_context<T>{p}; }, {"gain.size() is 3", "W1.cols() is 2"});
  expect_error<shape_error>([&] { (void)patches_of(this->input, this->shape, {2, 23}); },
                            {"patches_of", "7x23", "2x23"});
  expect_error<argument_error>([&] { (void)patches_of(this->input, this->shape, {0, 1}); },
                               {"patch.height is 0"});
  using embed = patch_embedding<T>;
  expect_error<shape_error>([&] { embed({.W = W(10, 2)}, {2, 2}); },
                            {"W.rows() % patch pixels is 2"});
  expect_error<shape_error>([&] { embed({.W = W(8, 2), .class_token = this->numbers(3)}, {2, 2}); },
                            {"class_token.size() is 3", "W.cols() is 2"});
  const embed with({.W = W(8, 2), .positions = W(3, 2)}, {2, 2});
  expect_error<shape_error>([&] { (void)with(W(2, 8), {2, 4}); },
                            {"tokens is 2", "positions.rows() is 3"});
  expect_error<shape_error>([&] { (void)with(W(3, 12), {2, 6}); }, {"X.rows() is 3"});
}

}  // namespace
}  // namespace softlook::vision_test
