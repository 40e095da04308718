// What a trained vision transformer looks at: the class token, from whose point of view the whole
// picture is summed up, attends to the patches in six heads of the last layer. Nobody has told them
// apart; one turns to the forehead of a cat, one to its muzzle, one to all that is not the cat.
//
//   vit PICTURE.png   draws the picture, the mean of all heads, what the model finds important, and
//                     below the heads one by one
//
//   --model FILE    where fetch.sh put the model (build/vit/vit_s_focus.onnx)
//   --png FILE      the picture of all heads (vit.png)
//   --threads N     how many threads compute (as many as there are cores)
//   --runs N        how often, to measure (5): the first one warms up
//
// expect: ^257 tokens through 12 layers
// expect: ^ +2 +0% +100% +0%
// expect: ^ +3 +32% +12% +56%
// expect: written: .*vit\.png

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "examples/support/command_line.hpp"
#include "transformer.hpp"

namespace {

using Eigen::Index;
using softlook::map_size;
using vit::fitted_picture;
using vit::float_matrix;
using model = vit::transformer;

constexpr const char* usage =
    "usage: vit [--model FILE] [--png FILE] [--threads N] [--runs N] PICTURE.png\n";

struct arguments {
  std::string model = "build/vit/vit_s_focus.onnx";
  std::string png = "vit.png";
  std::string threads = std::to_string(std::max(1u, std::thread::hardware_concurrency()));
  std::string runs = "5";
  std::string picture;
};

/// Whether the command line can be understood.
bool parse(int argc, char** argv, arguments& a) {
  std::vector<std::string> pictures;
  if (!examples::take_options(argc, argv,
                              {{"--model", &a.model},
                               {"--png", &a.png},
                               {"--threads", &a.threads},
                               {"--runs", &a.runs}},
                              pictures) ||
      pictures.size() != 1)
    return false;
  a.picture = pictures.front();
  return !a.picture.empty();
}

Index number(const std::string& text, const char* what) {
  constexpr Index largest = 1000;
  const auto value = examples::number_in<Index>(text);
  if (!value || *value < 1 || *value > largest)
    throw std::invalid_argument(std::string(what) + ' ' + text + ": a number from 1 to " +
                                std::to_string(largest));
  return *value;
}

/// From black over violet and orange to a pale yellow, as the share grows from 0 to 1.
Eigen::Vector3f glow(float share) {
  constexpr int steps = 4;
  constexpr float colours[steps + 1][3] = {{0.00f, 0.00f, 0.02f},
                                           {0.34f, 0.06f, 0.43f},
                                           {0.73f, 0.21f, 0.33f},
                                           {0.98f, 0.56f, 0.04f},
                                           {0.99f, 1.00f, 0.64f}};
  const float at = steps * share;
  const int below = std::min(static_cast<int>(at), steps - 1);
  const Eigen::Map<const Eigen::Vector3f> from(colours[below]), to(colours[below + 1]);
  return from + (at - static_cast<float>(below)) * (to - from);
}

/// A map of the square over the picture, of which only a trace is left.
picture lit(const fitted_picture& photo, const float_matrix& map) {
  picture drawn = photo.small;
  const Index width = drawn.size.width;
  for (Index k = 0; k < drawn.size.pixels(); ++k) {
    // A broken model's NaN is dark.
    const float found = map(photo.top + k / width, photo.left + k % width);
    const float share = found > 0 ? std::min(found, 1.0f) : 0.0f;
    const float grey = drawn.rgb.col(k).mean();
    drawn.rgb.col(k) = glow(share).array() + 0.3f * grey * (1 - share);
  }
  return drawn;
}

/// The weights of the patches as a map of the square, 1 where they are largest.
float_matrix map_of(const Eigen::RowVectorXf& patches) {
  const float_matrix grid =
      patches.reshaped<Eigen::RowMajor>(model::grid.height, model::grid.width) / patches.maxCoeff();
  const float_matrix down = vit::interpolation(model::grid.height, model::square.height, false);
  const float_matrix across = vit::interpolation(model::grid.width, model::square.width, false);
  return down * grid * across.transpose();
}

/// Pictures of one size, three in a line.
picture side_by_side(const std::vector<picture>& tiles) {
  constexpr Index in_a_line = 3, gap = 6;
  const map_size tile = tiles.front().size;
  const Index lines = (static_cast<Index>(tiles.size()) + in_a_line - 1) / in_a_line;
  picture all;
  all.size = {.height = lines * (tile.height + gap) - gap,
              .width = in_a_line * (tile.width + gap) - gap};
  all.rgb.setOnes(3, all.size.pixels());
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const Index top = static_cast<Index>(t) / in_a_line * (tile.height + gap);
    const Index left = static_cast<Index>(t) % in_a_line * (tile.width + gap);
    for (Index y = 0; y < tile.height; ++y)
      all.rgb.middleCols((top + y) * all.size.width + left, tile.width) =
          tiles[t].rgb.middleCols(y * tile.width, tile.width);
  }
  return all;
}

/// The mean of the square's pixels in each patch.
Eigen::RowVectorXf patch_means(const float_matrix& map) {
  const auto [height, width] = model::patch;
  Eigen::RowVectorXf means(model::grid.pixels());
  for (Index i = 0; i < means.size(); ++i)
    means[i] =
        map.block(i / model::grid.width * height, i % model::grid.width * width, height, width)
            .mean();
  return means;
}

/// Where each head looks, in per cent of its weight.
void describe(const float_matrix& looks, const Eigen::RowVectorXf& importance) {
  std::printf("head   itself   important   the rest\n");
  for (Index h = 0; h < looks.rows(); ++h) {
    float important = 0, rest = 0;
    for (Index i = 0; i < importance.size(); ++i)
      (importance[i] >= 0.5f ? important : rest) += looks(h, 1 + i);
    std::printf("%4d %7.0f%% %10.0f%% %9.0f%%\n", int(h), 100.0 * double(looks(h, 0)),
                100.0 * double(important), 100.0 * double(rest));
  }
}

void run(const arguments& a) {
  const Index runs = number(a.runs, "--runs");
  const model::pool threads(number(a.threads, "--threads"));
  const fitted_picture photo = model::fitted(read_png(a.picture));
  const model transformer{vit::onnx_file(a.model)};
  const model::pixels input = model::input_of(photo);

  vit::view seen;
  float_matrix importance;
  std::vector<double> seconds;
  for (Index r = 0; r < runs; ++r) {
    const auto start = std::chrono::steady_clock::now();
    seen = transformer.look(input, threads);
    importance = transformer.importance(seen.tokens, threads);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    seconds.push_back(taken.count());
  }
  std::sort(seconds.begin(), seconds.end());
  std::printf("%d tokens through %d layers in %.0f ms (median of %d), %d threads\n\n",
              int(seen.tokens.rows()), int(model::layers), 1000 * seconds[seconds.size() / 2],
              int(runs), int(threads.concurrency()));
  describe(seen.class_looks, patch_means(importance));

  const float_matrix patches = seen.class_looks.rightCols(model::grid.pixels());
  std::vector<picture> tiles = {photo.small, lit(photo, map_of(patches.colwise().mean())),
                                lit(photo, importance)};
  for (Index h = 0; h < patches.rows(); ++h) tiles.push_back(lit(photo, map_of(patches.row(h))));
  write_png(a.png, side_by_side(tiles));
  std::printf(
      "\nwritten: %s (the picture, the mean of the heads, what is important; heads 0 to 5)\n",
      a.png.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::cerr << usage;
    return 2;
  }
  try {
    run(a);
  } catch (const std::exception& error) {
    std::cerr << "vit: " << error.what() << '\n';
    return 1;
  }
}
