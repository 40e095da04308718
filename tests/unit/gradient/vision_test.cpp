#include "softlook/gradient/vision.hpp"

#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::vision_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using weights = Eigen::MatrixXd;
using row = Eigen::RowVectorXd;

constexpr map_size size{.height = 3, .width = 4};
constexpr gate_function both_gates[] = {gate_function::sigmoid, gate_function::hard_sigmoid};
constexpr pooled all_pooled[] = {pooled::mean, pooled::mean_and_max, pooled::mean_max_average};

channel_attention_parameters<double> channel_weights(bool deep, bool biased, generator& random) {
  channel_attention_parameters<double> p;
  if (deep) p.W1 = random_matrix<weights>(5, 3, random);
  p.W2 = random_matrix<weights>(deep ? 3 : 5, 5, random);
  if (biased) p.b2 = random_matrix<row>(1, 5, random);
  if (biased && deep) p.b1 = random_matrix<row>(1, 3, random);
  return p;
}

spatial_attention_parameters<double> spatial_weights(pooled pool, generator& random) {
  return {random_matrix<weights>(3 * detail::planes_of(pool), 3, random), 0.7, -0.2};
}

TEST(VisionGradient, OfChannelsIsThatOfDifferences) {
  generator random = seed(16501);
  for (const pooled pool : all_pooled)
    for (const gate_function gate : both_gates)
      for (const bool deep : {true, false}) {
        auto p = channel_weights(deep, pool != pooled::mean, random);
        matrix X = random_matrix<matrix>(5, 12, random);
        const matrix dY = random_matrix<matrix>(5, 12, random);
        const channel_attention_options o{.pooled = pool, .gate = gate};
        saved_gate<double> saved, other;
        channel_attention_forward(p, X, saved, o);
        EXPECT_LE((saved.Y - channel_attention<double>(p, o)(X)).cwiseAbs().maxCoeff(), 1e-14);
        auto gradients = zeros_like(p);
        const matrix dX = channel_attention_backward(p, saved, dY, gradients, o);
        const auto loss = [&] {
          return inner_product(dY, channel_attention_forward(p, X, other, o));
        };
        expect_gradient("X", X, dX, loss);
        expect_parameter_gradients(p, gradients, loss);
      }
}

TEST(VisionGradient, OfNeighboursIsThatOfDifferences) {
  generator random = seed(16502);
  for (const channel_ends ends : {channel_ends::zeros, channel_ends::circular}) {
    efficient_channel_attention_parameters<double> p{random_matrix<row>(1, 5, random)};
    matrix X = random_matrix<matrix>(6, 12, random);
    const matrix dY = random_matrix<matrix>(6, 12, random);
    const efficient_channel_attention_options o{.ends = ends};
    saved_gate<double> saved, other;
    efficient_channel_attention_forward(p, X, saved, o);
    EXPECT_LE((saved.Y - efficient_channel_attention<double>(p.taps, o)(X)).cwiseAbs().maxCoeff(),
              1e-14);
    auto gradients = zeros_like(p);
    const matrix dX = efficient_channel_attention_backward(p, saved, dY, gradients, o);
    const auto loss = [&] {
      return inner_product(dY, efficient_channel_attention_forward(p, X, other, o));
    };
    expect_gradient("X", X, dX, loss);
    expect_parameter_gradients(p, gradients, loss);
  }
}

TEST(VisionGradient, OfPixelsIsThatOfDifferences) {
  generator random = seed(16503);
  for (const pooled pool : all_pooled) {
    auto p = spatial_weights(pool, random);
    matrix X = random_matrix<matrix>(4, 12, random);
    const matrix dY = random_matrix<matrix>(4, 12, random);
    const spatial_attention_options o{.pooled = pool};
    saved_gate<double> saved, other;
    spatial_attention_forward(p, X, size, saved, o);
    EXPECT_LE((saved.Y - spatial_attention<double>(p, o)(X, size)).cwiseAbs().maxCoeff(), 1e-14);
    auto gradients = zeros_like(p);
    EXPECT_EQ(gradients.gain, 0);
    const matrix dX = spatial_attention_backward(p, saved, dY, gradients, o);
    const auto loss = [&] {
      return inner_product(dY, spatial_attention_forward(p, X, size, other, o));
    };
    expect_gradient("X", X, dX, loss);
    expect_parameter_gradients(p, gradients, loss);
    EXPECT_EQ(cast_parameters<float>(p).gain, 0.7f);
  }
}

TEST(VisionGradient, OfCbamIsThatOfDifferences) {
  generator random = seed(16504);
  for (const pooled pool : {pooled::mean_and_max, pooled::mean_max_average}) {
    cbam_parameters<double> p{channel_weights(true, false, random), spatial_weights(pool, random)};
    matrix X = random_matrix<matrix>(5, 12, random);
    const matrix dY = random_matrix<matrix>(5, 12, random);
    const channel_attention_options channel{.pooled = pool};
    const spatial_attention_options spatial{.pooled = pool};
    saved_cbam<double> saved, other;
    cbam_forward(p, X, size, saved, channel, spatial);
    auto gradients = zeros_like(p);
    const matrix dX = cbam_backward(p, saved, dY, gradients, channel, spatial);
    const auto loss = [&] {
      return inner_product(dY, cbam_forward(p, X, size, other, channel, spatial));
    };
    expect_gradient("X", X, dX, loss);
    expect_parameter_gradients(p, gradients, loss);
  }
}

TEST(VisionGradient, OfContextIsThatOfDifferences) {
  generator random = seed(16505);
  for (const context_fusion fusion : {context_fusion::add, context_fusion::scale}) {
    global_context_parameters<double> p;
    p.key = random_matrix<row>(1, 5, random);
    p.W1 = random_matrix<weights>(5, 4, random);
    p.b1 = random_matrix<row>(1, 4, random);
    p.gain = random_matrix<row>(1, 4, random);
    p.bias = random_matrix<row>(1, 4, random);
    p.W2 = random_matrix<weights>(4, 5, random);
    p.b2 = random_matrix<row>(1, 5, random);
    matrix X = random_matrix<matrix>(5, 12, random);
    const matrix dY = random_matrix<matrix>(5, 12, random);
    const global_context_options o{.fusion = fusion};
    saved_global_context<double> saved, other;
    global_context_forward(p, X, saved, o);
    EXPECT_LE((saved.Y - global_context<double>(p, o)(X)).cwiseAbs().maxCoeff(), 1e-13);
    auto gradients = zeros_like(p);
    const matrix dX = global_context_backward(p, saved, dY, gradients, o);
    const auto loss = [&] { return inner_product(dY, global_context_forward(p, X, other, o)); };
    expect_gradient("X", X, dX, loss, 1e-6);
    expect_parameter_gradients(p, gradients, loss, 1e-6);
  }
}

TEST(VisionGradient, OfGatherExciteIsThatOfDifferences) {
  generator random = seed(16506);
  for (const std::optional<index> extent : {std::optional<index>(), std::optional<index>(2)})
    for (const gate_function gate : both_gates) {
      matrix X = random_matrix<matrix>(3, 12, random);
      const matrix dY = random_matrix<matrix>(3, 12, random);
      const gather_excite_options o{.extent = extent, .gate = gate};
      const matrix dX = gather_excite_backward(X, size, dY, o);
      expect_gradient("X", X, dX, [&] { return inner_product(dY, gather_excite(X, size, o)); });
    }
}

TEST(VisionGradient, RefusesWhatDoesNotFit) {
  generator random = seed(16507);
  const auto p = channel_weights(true, true, random);
  saved_gate<double> saved;
  auto gradients = zeros_like(p);
  const auto refused = [&](const auto& call) { return message_of<shape_error>(call); };
  EXPECT_NE(refused([&] {
              channel_attention_forward(p, matrix::Ones(4, 12), saved, {});
            }).find("channel_attention_forward: X.rows() is 4 but W1.rows() is 5"),
            std::string::npos);
  channel_attention_forward(p, matrix::Ones(5, 12), saved, {});
  EXPECT_NE(refused([&] {
              channel_attention_backward(p, saved, matrix::Ones(5, 11), gradients, {});
            }).find("dY.cols() is 11"),
            std::string::npos);
  const auto s = spatial_weights(pooled::mean, random);
  EXPECT_NE(refused([&] {
              spatial_attention_forward(s, matrix::Ones(5, 11), size, saved, {});
            }).find("X.cols() is 11"),
            std::string::npos);
}

}  // namespace
}  // namespace softlook::vision_test
