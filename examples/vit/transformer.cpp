#include "transformer.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace vit {

using Eigen::Index;
using softlook::map_size;
using std::to_string;

namespace {

constexpr double epsilon = 1e-6;  // of all layer norms
constexpr Index hidden = 1536;
constexpr Index tokens = 1 + transformer::grid.pixels();
constexpr float mean_colour[3] = {0.485f, 0.456f, 0.406f};
constexpr float deviation[3] = {0.229f, 0.224f, 0.225f};

shape dims(std::initializer_list<Index> extents) { return {extents.begin(), extents.end()}; }

/// to × from: the mean of the part of a line that each of `to` pixels covers.
float_matrix area_means(Index from, Index to) {
  float_matrix means = float_matrix::Zero(to, from);
  for (Index i = 0; i < to; ++i) {
    const double begin = double(i) * double(from) / double(to);
    const double end = double(i + 1) * double(from) / double(to);
    for (Index k = Index(begin); k < from && double(k) < end; ++k) {
      const double covered = std::min(end, double(k + 1)) - std::max(begin, double(k));
      means(i, k) = float(covered / (end - begin));
    }
  }
  return means;
}

/// One channel of a picture as a matrix of its lines.
template <class Channel>
auto lines_of(Channel&& channel, const map_size& size) {
  return channel.template reshaped<Eigen::RowMajor>(size.height, size.width);
}

/// Positions were trained for 37×37 patches; between them lie those of this grid.
float_matrix positions_of(const onnx_file& file) {
  constexpr Index trained = 37, features = transformer::features;
  const auto [height, width] = transformer::grid;
  const std::string at_patches = file.input("/backbone/embeddings/Reshape_1", 0);
  const float_matrix given =
      file.matrix(at_patches, dims({1, trained * trained, features}), trained * trained);
  float_matrix positions(tokens, features);
  positions.row(0) =
      file.matrix(file.input("/backbone/embeddings/Concat_6", 0), dims({1, 1, features}));
  const float_matrix down = interpolation(trained, height, true);
  const float_matrix across = interpolation(trained, width, true);
  for (Index f = 0; f < features; ++f) {
    const float_matrix map = given.col(f).reshaped<Eigen::RowMajor>(trained, trained);
    const float_matrix smaller = down * map * across.transpose();
    positions.col(f).tail(transformer::grid.pixels()) = smaller.reshaped<Eigen::RowMajor>();
  }
  return positions;
}

softlook::patch_embedding<float> embedding_of(const onnx_file& file) {
  constexpr Index features = transformer::features;
  const std::string part = "backbone.embeddings.";
  softlook::patch_embedding_parameters<float> p;
  p.W = file.matrix(part + "patch_embeddings.projection.weight",
                    dims({features, 3, transformer::patch.height, transformer::patch.width}),
                    features)
            .transpose();
  p.b = file.matrix(part + "patch_embeddings.projection.bias", dims({features}));
  p.class_token = file.matrix(part + "cls_token", dims({1, 1, features}));
  p.positions = positions_of(file);
  return {p, transformer::patch};
}

softlook::transformer_encoder_layer<float> layer_of(const onnx_file& file, Index number) {
  constexpr Index features = transformer::features;
  const std::string part = "encoder.layer." + to_string(number) + '.';
  // The exporter has named the matrices after their order; their nodes say which is which.
  const auto weight = [&](std::string name, Index inputs, Index outputs) {
    std::string node = "/backbone/encoder/layer." + to_string(number) + '/';
    for (char& c : name)
      if (c == '.') c = '/';
    node += name + "/MatMul";
    return file.matrix(file.input(node, 1), dims({inputs, outputs}), inputs);
  };
  const auto row = [&](const char* name, Index size = transformer::features) {
    return file.matrix("backbone." + part + name, dims({size}));
  };
  const Eigen::RowVectorXf scale1 = row("layer_scale1.lambda1");
  const Eigen::RowVectorXf scale2 = row("layer_scale2.lambda1");
  softlook::transformer_encoder_layer_parameters<float> p;
  p.self_attention.Wq = weight("attention.attention.query", features, features);
  p.self_attention.bq = row("attention.attention.query.bias");
  p.self_attention.Wk = weight("attention.attention.key", features, features);
  p.self_attention.bk = row("attention.attention.key.bias");
  p.self_attention.Wv = weight("attention.attention.value", features, features);
  p.self_attention.bv = row("attention.attention.value.bias");
  p.self_attention.Wo = weight("attention.output.dense", features, features) * scale1.asDiagonal();
  p.self_attention.bo = row("attention.output.dense.bias") * scale1.asDiagonal();
  p.gain1 = row("norm1.weight");
  p.bias1 = row("norm1.bias");
  p.W1 = weight("mlp.fc1", features, hidden);
  p.b1 = row("mlp.fc1.bias", hidden);
  p.W2 = weight("mlp.fc2", hidden, features) * scale2.asDiagonal();
  p.b2 = row("mlp.fc2.bias") * scale2.asDiagonal();
  p.gain2 = row("norm2.weight");
  p.bias2 = row("norm2.bias");
  return {p,
          {.heads = {.query = transformer::heads},
           .activation = softlook::activation::gelu,
           .norm_first = true,
           .epsilon = epsilon}};
}

softlook::transformer_encoder<float> layers_below(const onnx_file& file) {
  std::vector<softlook::transformer_encoder_layer<float>> layers;
  for (Index number = 0; number + 1 < transformer::layers; ++number)
    layers.push_back(layer_of(file, number));
  return softlook::transformer_encoder<float>(std::move(layers));
}

}  // namespace

float_matrix interpolation(Index from, Index to, bool cubic) {
  constexpr double a = -0.75;
  const auto weight = [cubic](double x) {
    const double d = std::abs(x);
    if (!cubic) return std::max(0.0, 1 - d);
    if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0.0;
  };
  float_matrix between = float_matrix::Zero(to, from);
  for (Index i = 0; i < to; ++i) {
    const double at = (double(i) + 0.5) * double(from) / double(to) - 0.5;
    const Index below = Index(std::floor(at));
    for (Index k = below - 1; k <= below + 2; ++k)
      between(i, std::clamp<Index>(k, 0, from - 1)) += float(weight(at - double(k)));
  }
  return between;
}

up_convolution::up_convolution(const onnx_file& file, int number, Index inputs, Index outputs) {
  const std::string level = to_string(number);
  const auto row = [&](const std::string& name) {
    return file.matrix("decoder." + name, dims({outputs}));
  };
  const float_matrix variance = row("bn" + level + ".running_var");
  const Eigen::RowVectorXf scale =
      row("bn" + level + ".weight").array() / (variance.array() + 1e-5f).sqrt();
  bias_ = (row("upconv" + level + ".bias") - row("bn" + level + ".running_mean")).array() *
              scale.array() +
          row("bn" + level + ".bias").array();
  // From (input, output, place) to columns that hold all outputs of one place together.
  const float_matrix given =
      file.matrix("decoder.upconv" + level + ".weight", dims({inputs, outputs, 4, 4}), inputs);
  float_matrix W(inputs, 16 * outputs);
  for (Index place = 0; place < 16; ++place)
    for (Index o = 0; o < outputs; ++o)
      W.col(place * outputs + o) = given.col(16 * o + place) * scale[o];
  spread_ = softlook::linear_layer<float>(W);
}

float_matrix up_convolution::operator()(const float_matrix& X, const map_size& size,
                                        const softlook::exec::thread_pool& threads) const {
  const Index outputs = bias_.size();
  const float_matrix spread = spread_(X, threads);
  float_matrix Y = bias_.replicate(4 * size.pixels(), 1);
  // Line y of X falls on the lines 2y − 1 to 2y + 2 of Y, and so do columns.
  threads.bulk(2 * size.height, [&](Index line, Index) {
    for (Index down = (line + 1) % 2; down < 4; down += 2) {
      const Index y = (line + 1 - down) / 2;
      if (line + 1 < down || y >= size.height) continue;
      for (Index x = 0; x < size.width; ++x)
        for (Index right = 0; right < 4; ++right) {
          const Index column = 2 * x + right - 1;
          if (column < 0 || column >= 2 * size.width) continue;
          Y.row(line * 2 * size.width + column) +=
              spread.row(y * size.width + x).segment((4 * down + right) * outputs, outputs);
        }
    }
    auto done = Y.middleRows(line * 2 * size.width, 2 * size.width);
    done = done.cwiseMax(0.0f);
  });
  return Y;
}

transformer::transformer(const onnx_file& file)
    : embed_(embedding_of(file)), below_(layers_below(file)), last_(layer_of(file, layers - 1)) {
  norm_ = {file.matrix("backbone.layernorm.weight", dims({features})),
           file.matrix("backbone.layernorm.bias", dims({features})), epsilon};
  up_.emplace_back(file, 1, features, 256);
  up_.emplace_back(file, 2, 256, 128);
  up_.emplace_back(file, 3, 128, 64);
  weigh_ = file.matrix("decoder.final_conv.weight", dims({1, 64, 1, 1})).transpose();
  bias_ = file.matrix("decoder.final_conv.bias", dims({1}))(0, 0);
}

fitted_picture transformer::fitted(const picture& p) {
  if (p.size.pixels() == 0) throw std::invalid_argument("fitted: the picture has no pixels");
  const Index longest = std::max(p.size.height, p.size.width);
  const auto side = [&](Index pixels) {
    return std::max<Index>(1, (2 * pixels * square.width + longest) / (2 * longest));
  };
  fitted_picture f;
  f.small.size = {.height = side(p.size.height), .width = side(p.size.width)};
  f.top = (square.height - f.small.size.height) / 2;
  f.left = (square.width - f.small.size.width) / 2;
  const float_matrix down = area_means(p.size.height, f.small.size.height);
  const float_matrix across = area_means(p.size.width, f.small.size.width);
  f.small.rgb.resize(3, f.small.size.pixels());
  for (Index c = 0; c < 3; ++c) {
    const float_matrix smaller = down * lines_of(p.rgb.row(c), p.size) * across.transpose();
    f.small.rgb.row(c) = smaller.reshaped<Eigen::RowMajor>().transpose();
  }
  return f;
}

transformer::pixels transformer::input_of(const fitted_picture& p) {
  pixels x = pixels::Zero(3, square.pixels());
  const map_size& size = p.small.size;
  for (Index y = 0; y < size.height; ++y)
    x.middleCols((p.top + y) * square.width + p.left, size.width) =
        p.small.rgb.middleCols(y * size.width, size.width);
  for (Index c = 0; c < 3; ++c) x.row(c) = (x.row(c).array() - mean_colour[c]) / deviation[c];
  return x;
}

view transformer::look(const pixels& x, const pool& threads) const {
  view seen;
  seen.tokens = embed_(x, square, threads);
  below_.into(seen.tokens, seen.tokens, threads);
  const auto weights = last_.attention_weights(seen.tokens, threads);
  seen.class_looks.resize(heads, tokens);
  for (Index h = 0; h < heads; ++h)
    seen.class_looks.row(h) = weights[static_cast<std::size_t>(h)].row(0);
  last_.into(seen.tokens, seen.tokens, threads);
  norm_.into(seen.tokens, seen.tokens, threads);
  return seen;
}

float_matrix transformer::importance(const float_matrix& from, const pool& threads) const {
  float_matrix X = from.bottomRows(grid.pixels());
  map_size size = grid;
  for (const up_convolution& up : up_) {
    X = up(X, size, threads);
    size = {.height = 2 * size.height, .width = 2 * size.width};
  }
  const Eigen::VectorXf weighed = X * weigh_;
  const float_matrix down = interpolation(size.height, square.height, false);
  const float_matrix across = interpolation(size.width, square.width, false);
  const float_matrix map =
      down * weighed.reshaped<Eigen::RowMajor>(size.height, size.width) * across.transpose();
  return (1 + (-(map.array() + bias_)).exp()).inverse();
}

}  // namespace vit
