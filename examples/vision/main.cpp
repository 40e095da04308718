// What one patch of a photograph looks at. The photograph is cut into patches of 4×4 pixels, and
// each becomes a token as in a vision transformer (patches·W + b + positions). W needs no training:
// it asks how bright, how red, how yellow a patch is and how it changes across and down, and two
// more features say where it lies. Queries and keys are these tokens, and
//
//   softmax over −β|q − k|²/2  =  softmax over β·q·k − β|k|²/2,
//
// a dot product with a bias for each key, lets similar patches attend to each other: a patch in one
// eye of the cat finds the other eye, far away. (With trained W's it would be a transformer's
// layer.)
//
// Patches as tokens: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, Eq. (1).
// Pixels that attend to similar ones: Wang et al., "Non-local Neural Networks", 2018, Eq. (2).
//
// Run: vision PICTURE.png [FOLDER [Y X]]   writes FOLDER/attention.png: the picture, grey where the
// patch at line Y and column X does not look, and FOLDER/mixed.png: the colour each patch receives.
//
// expect: ^8400 patches of 4x4 pixels, 7 features each
// expect: ^half of its weight lies on 0\.[89][0-9]* % of the patches
// expect: ^beyond 100 pixels lies 0\.4[4-8] of its weight
// expect: ^beyond 100 pixels it looks most at line 15[0-9], column 31[0-9]

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <iostream>
#include <softlook/softlook.hpp>
#include <stdexcept>
#include <vector>

#include "png_file.hpp"

namespace {

using softlook::map_size;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using row = Eigen::RowVectorXf;
using Eigen::Index;

constexpr map_size patch{.height = 4, .width = 4};
constexpr float sharpness = 4;  // β
enum feature : Index { brightness, red_green, yellow_blue, across, down, measured };
constexpr Index features = measured + 2;                               // and where the patch lies
constexpr float importance[measured] = {0.1f, 1, 0.8f, 0.03f, 0.03f};  // light varies, colour tells

/// Patches down and across.
map_size grid_of(const map_size& size) {
  return {.height = size.height / patch.height, .width = size.width / patch.width};
}

/// (3·16) × 7: for each channel, line and column of a patch its part in each feature.
Eigen::MatrixXf measures() {
  constexpr float colours[3][3] = {{1, 1, 1}, {1, -1, 1}, {1, 0, -2}};  // of red, green, blue
  Eigen::MatrixXf W = Eigen::MatrixXf::Zero(3 * patch.pixels(), features);
  for (Index k = 0; k < W.rows(); ++k) {
    const Index channel = k / patch.pixels();
    const Index y = k % patch.pixels() / patch.width, x = k % patch.width;
    W(k, brightness) = colours[channel][0];
    W(k, red_green) = colours[channel][1];
    W(k, yellow_blue) = colours[channel][2];
    W(k, across) = x < patch.width / 2 ? -1.0f : 1.0f;
    W(k, down) = y < patch.height / 2 ? -1.0f : 1.0f;
  }
  return W;
}

/// The tokens of a photograph, each measured feature centred and with its importance as deviation.
matrix tokens_of(const picture& photo) {
  softlook::patch_embedding_parameters<float> p{.W = measures(), .b = row::Zero(features)};
  const matrix raw = softlook::patch_embedding<float>(p, patch)(photo.rgb, photo.size);
  for (Index f = 0; f < measured; ++f) {
    const float mean = raw.col(f).mean();
    const float deviation = std::sqrt((raw.col(f).array() - mean).square().mean());
    const float scale = importance[f] / std::max(deviation, 1e-6f);
    p.W.col(f) *= scale;
    p.b[f] = -mean * scale;
  }
  const map_size grid = grid_of(photo.size);
  p.positions = matrix::Zero(grid.pixels(), features);
  for (Index i = 0; i < grid.pixels(); ++i) {
    p.positions(i, measured) = 0.5f * float(i / grid.width) / float(grid.height);
    p.positions(i, measured + 1) = 0.5f * float(i % grid.width) / float(grid.height);
  }
  return softlook::patch_embedding<float>(p, patch)(photo.rgb, photo.size);
}

/// The mean colour of each patch.
matrix colours_of(const picture& photo) {
  const matrix patches = softlook::patches_of(photo.rgb, photo.size, patch);
  matrix colours(patches.rows(), 3);
  for (Index c = 0; c < 3; ++c)
    colours.col(c) = patches.middleCols(c * patch.pixels(), patch.pixels()).rowwise().mean();
  return colours;
}

/// `paint(pixel, patch)` for every pixel.
void for_each_pixel(const map_size& size, const std::function<void(Index, Index)>& paint) {
  const Index in_a_line = grid_of(size).width;
  for (Index k = 0; k < size.pixels(); ++k) {
    const Index y = k / size.width, x = k % size.width;
    paint(k, y / patch.height * in_a_line + x / patch.width);
  }
}

/// The photograph, as colourful as it is looked at, with a frame around the patch that looks.
picture lit(const picture& photo, const row& weights, Index query) {
  picture drawn = photo;
  const float largest = weights.maxCoeff();
  for_each_pixel(photo.size, [&](Index k, Index i) {
    const float share = weights[i] / largest;
    const float grey = 0.5f * photo.rgb.col(k).mean();
    drawn.rgb.col(k).array() = (1 - share) * grey + share * photo.rgb.col(k).array();
  });
  const Index top = query / grid_of(photo.size).width * patch.height;
  const Index left = query % grid_of(photo.size).width * patch.width;
  for (Index k = 0; k < photo.size.pixels(); ++k) {
    const Index y = k / photo.size.width - top, x = k % photo.size.width - left;
    const bool inside = y >= 0 && y < patch.height && x >= 0 && x < patch.width;
    const bool near = y >= -2 && y < patch.height + 2 && x >= -2 && x < patch.width + 2;
    if (near && !inside) drawn.rgb.col(k) << 0, 1, 1;
  }
  return drawn;
}

/// How much of the weight lies far from the patch that looks, and where most.
void describe(const map_size& size, const row& weights, Index query) {
  const map_size grid = grid_of(size);
  std::vector<float> sorted(weights.begin(), weights.end());
  std::sort(sorted.rbegin(), sorted.rend());
  float sum = 0, far = 0;
  std::size_t few = 0;
  while (few < sorted.size() && sum < 0.5f) sum += sorted[few++];
  Index most = -1;
  for (Index i = 0; i < grid.pixels(); ++i) {
    const Index y = i / grid.width - query / grid.width, x = i % grid.width - query % grid.width;
    if (std::hypot(float(y * patch.height), float(x * patch.width)) <= 100) continue;
    far += weights[i];
    if (most < 0 || weights[i] > weights[most]) most = i;
  }
  std::cout << "half of its weight lies on " << 100 * double(few) / double(grid.pixels())
            << " % of the patches\nbeyond 100 pixels lies " << far << " of its weight\n";
  if (most >= 0)
    std::cout << "beyond 100 pixels it looks most at line " << most / grid.width * patch.height
              << ", column " << most % grid.width * patch.width << '\n';
}

void run(const std::string& file, const std::string& folder, Index y, Index x) {
  picture photo = read_png(file);
  const map_size grid = grid_of(photo.size);
  photo = cropped(photo, {.height = grid.height * patch.height, .width = grid.width * patch.width});
  if (y < 0 || y >= photo.size.height || x < 0 || x >= photo.size.width)
    throw std::invalid_argument("the picture has no such line and column");
  const Index query = y / patch.height * grid.width + x / patch.width;

  const matrix tokens = tokens_of(photo);
  std::cout.precision(2);
  std::cout << tokens.rows() << " patches of 4x4 pixels, " << tokens.cols() << " features each\n";

  // −β|k|²/2, one row for all queries.
  const row bias = -0.5f * sharpness * tokens.rowwise().squaredNorm().transpose();
  const softlook::scores::dot score;
  const softlook::transforms::bias near{bias};
  const softlook::options beta{.scale = sharpness};

  // Every patch looks at every patch; the weights of all would fill 269 MiB and are never stored.
  const matrix colours = colours_of(photo);
  const matrix mixed = softlook::attention(tokens, tokens, colours, score, near, beta);
  picture painted = photo;
  for_each_pixel(photo.size,
                 [&](Index k, Index i) { painted.rgb.col(k) = mixed.row(i).transpose(); });
  write_png(folder + "/mixed.png", painted);

  // The weights of one patch, to look at.
  const row weights = softlook::attention_weights(tokens.row(query), tokens, score, near, beta);
  std::cout << "the patch at line " << y << ", column " << x << " looks at the others:\n";
  describe(photo.size, weights, query);
  write_png(folder + "/attention.png", lit(photo, weights, query));
  std::cout << "written: " << folder << "/attention.png, " << folder << "/mixed.png\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc == 4 || argc > 5) {
    std::cerr << "usage: vision PICTURE.png [FOLDER [Y X]]\n";
    return 2;
  }
  try {
    run(argv[1], argc > 2 ? argv[2] : ".", argc > 4 ? std::stol(argv[3]) : 128,
        argc > 4 ? std::stol(argv[4]) : 164);
  } catch (const std::exception& error) {
    std::cerr << "vision: " << error.what() << '\n';
    return 1;
  }
}
