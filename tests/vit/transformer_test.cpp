// The model against what ONNX Runtime computes, where examples/run.sh has fetched model and
// picture; how reference.txt was made says reference.py.

#include "examples/vit/transformer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

namespace transformer_test {
namespace {

using Eigen::Index;
using vit::float_matrix;
using model = vit::transformer;

const std::filesystem::path root = SOFTLOOK_ROOT;

/// Of two implementations that sum up in float, through twelve layers; weights are at most 1, and
/// the numbers of a token at most 8.
constexpr double agreement = 1e-4;

double distance(const float_matrix& a, const float_matrix& b) {
  EXPECT_EQ(a.rows(), b.rows());
  EXPECT_EQ(a.cols(), b.cols());
  EXPECT_TRUE(a.allFinite());
  if (a.rows() != b.rows() || a.cols() != b.cols()) return 1;
  return double((a - b).cwiseAbs().maxCoeff());
}

/// "name rows columns" and the rows, as often as there are.
std::map<std::string, float_matrix> read_reference() {
  std::map<std::string, float_matrix> all;
  std::ifstream in(root / "tests/vit/reference.txt");
  std::string line, name;
  std::getline(in, line);
  Index rows = 0, cols = 0;
  while (in >> name >> rows >> cols) {
    float_matrix& m = all[name];
    m.resize(rows, cols);
    for (Index k = 0; k < m.size(); ++k) in >> m.data()[k];
  }
  return all;
}

/// The mean of each patch.
float_matrix patch_means(const float_matrix& map) {
  float_matrix means(model::grid.height, model::grid.width);
  for (Index y = 0; y < means.rows(); ++y)
    for (Index x = 0; x < means.cols(); ++x)
      means(y, x) = map.block(y * model::patch.height, x * model::patch.width, model::patch.height,
                              model::patch.width)
                        .mean();
  return means;
}

TEST(VisionTransformer, AgreesWithOnnxRuntime) {
  const auto file = root / "build/vit/vit_s_focus.onnx", photo = root / "build/picture/chelsea.png";
  if (!std::filesystem::exists(file) || !std::filesystem::exists(photo))
    GTEST_SKIP() << "sh examples/run.sh vit has not fetched the model and the picture";
  const auto reference = read_reference();
  ASSERT_EQ(reference.size(), 4u);

  const model::pixels input = model::input_of(model::fitted(read_png(photo.string())));
  for (Index c = 0; c < 3; ++c) {
    const float_matrix means = patch_means(input.row(c).reshaped<Eigen::RowMajor>(224, 224));
    EXPECT_LE(distance(means.reshaped<Eigen::RowMajor>().transpose(), reference.at("input").row(c)),
              agreement);
  }

  const model transformer{vit::onnx_file(file)};
  const model::pool one(1), two(2);
  const vit::view seen = transformer.look(input, one);
  const double weights = distance(seen.class_looks, reference.at("weights"));
  EXPECT_LE(weights, agreement);
  float_matrix tokens(5, model::features);
  for (Index k = 0; k < tokens.rows(); ++k) tokens.row(k) = seen.tokens.row(64 * k);
  const double outputs = distance(tokens, reference.at("tokens"));
  EXPECT_LE(outputs, agreement);
  const float_matrix importance = transformer.importance(seen.tokens, one);
  const double important = distance(patch_means(importance), reference.at("importance"));
  EXPECT_LE(important, agreement);
  RecordProperty("weights", std::to_string(weights));
  std::printf("largest difference: weights %.1e, tokens %.1e, importance %.1e\n", weights, outputs,
              important);

  const vit::view again = transformer.look(input, two);
  EXPECT_EQ(again.tokens, seen.tokens);
  EXPECT_EQ(again.class_looks, seen.class_looks);
  EXPECT_EQ(transformer.importance(again.tokens, two), importance);
}

TEST(VisionTransformer, FitsPicturesOfAnySizeIntoItsSquare) {
  using softlook::map_size;
  const auto sizes = std::vector<std::pair<map_size, map_size>>{
      {{.height = 300, .width = 451}, {.height = 149, .width = 224}},
      {{.height = 7, .width = 7}, {.height = 224, .width = 224}},
      {{.height = 1000, .width = 1}, {.height = 224, .width = 1}},
      {{.height = 448, .width = 224}, {.height = 224, .width = 112}}};
  for (const auto& [from, to] : sizes) {
    picture p;
    p.size = from;
    p.rgb.setConstant(3, from.pixels(), 0.25f);
    const vit::fitted_picture f = model::fitted(p);
    EXPECT_EQ(f.small.size, to);
    EXPECT_LE((f.small.rgb.array() - 0.25f).abs().maxCoeff(), 1e-5f);
    EXPECT_EQ(f.top, (224 - to.height) / 2);
    EXPECT_EQ(f.left, (224 - to.width) / 2);
    const model::pixels x = model::input_of(f);
    EXPECT_EQ(x.cols(), 224 * 224);
    // Black around it: as many pixels as the picture leaves have the smallest number.
    const Index black = (x.row(0).array() < -2.0f).count();
    EXPECT_EQ(black, 224 * 224 - to.pixels());
  }
  EXPECT_THROW((void)model::fitted(picture{}), std::invalid_argument);
}

TEST(VisionTransformer, MeansCoverEveryPixelOnce) {
  picture p;
  p.size = {.height = 448, .width = 448};
  p.rgb.resize(3, p.size.pixels());
  for (Index k = 0; k < p.size.pixels(); ++k) p.rgb.col(k).setConstant(float(k % 448 % 2));
  EXPECT_LE((model::fitted(p).small.rgb.array() - 0.5f).abs().maxCoeff(), 1e-6f);
}

TEST(Interpolation, KeepsConstantsAndWhatNeedsNone) {
  for (const bool cubic : {false, true}) {
    for (const auto& [from, to] : {std::pair<Index, Index>{37, 16}, {16, 224}, {128, 224}, {1, 3}})
      EXPECT_LE((vit::interpolation(from, to, cubic).rowwise().sum().array() - 1).abs().maxCoeff(),
                4 * std::numeric_limits<float>::epsilon());
    EXPECT_EQ(vit::interpolation(5, 5, cubic), float_matrix::Identity(5, 5));
  }
}

TEST(Interpolation, LiesBetweenTheTwoNearestOrUsesFour) {
  float_matrix line(4, 2), cubic(4, 2);
  line << 1, 0, 0.75f, 0.25f, 0.25f, 0.75f, 0, 1;
  EXPECT_EQ(vit::interpolation(2, 4, false), line);
  // Keys' polynomial at distances 1/4, 3/4, 5/4 and 7/4; beyond the edge the last pixel is
  // repeated.
  const float near = 0.87890625f, far = 0.26171875f, before = -0.10546875f, behind = -0.03515625f;
  cubic << near + far + behind, before, near + before, far + behind, far + behind, near + before,
      before, near + far + behind;
  EXPECT_EQ(vit::interpolation(2, 4, true), cubic);
}

}  // namespace
}  // namespace transformer_test
