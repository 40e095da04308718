#include <softlook/gradient/vision.hpp>
#include <softlook/vision.hpp>
#include <tuple>

#include "adapters.hpp"

/// timm's channel and spatial attention on maps (batch, channel, height, width). The weights of 1×1
/// convolutions are (out, in, 1, 1).
namespace conformance {
namespace {

/// The pictures of a batch, each channels × (height·width).
struct pictures {
  grid maps;
  softlook::map_size size;
};

pictures pictures_of(const case_file& c) {
  const tensor& x = c.input("x", 4);
  const index height = x.shape[2], width = x.shape[3];
  return {{x.shape[0], 1, x.shape[1], height * width, x.values}, {height, width}};
}

double largest(const pictures& X) {
  return finite_magnitude(Eigen::Map<const matrix<double>>(
      X.maps.values.data(), 1, static_cast<index>(X.maps.values.size())));
}

/// What a float run may add: a gate, nowhere steeper than 1/4, of a number that is a sum of sums of
/// at most `magnitude`, each rounded `steps` times, multiplies x.
double rounding(const mode& m, const pictures& X, index steps, double magnitude) {
  if (!m.single_precision) return 0;
  const double terms = static_cast<double>(X.maps.rows + steps);
  const double gate = 1 + magnitude / 4;
  return terms * std::numeric_limits<float>::epsilon() * gate * largest(X);
}

/// A 1×1 convolution as inputs × outputs, or nothing.
template <class T>
Eigen::MatrixX<T> one_by_one(const case_file& c, const std::string& name) {
  const tensor& W = c.weight(name, 4);
  require(c, W.shape[2] == 1 && W.shape[3] == 1, name + " is not a 1x1 convolution");
  return Eigen::Map<const matrix<double>>(W.values.data(), W.shape[0], W.shape[1])
      .transpose()
      .template cast<T>();
}

template <class T>
row<T> row_of(const case_file& c, const std::string& name) {
  if (!c.has_weight(name)) return {};
  const tensor& b = c.weight(name);
  return Eigen::Map<const Eigen::RowVectorXd>(b.values.data(), static_cast<index>(b.values.size()))
      .template cast<T>();
}

/// The largest number that a layer can make of numbers of that magnitude: weights (out, …), bias.
double through(const case_file& c, const std::string& layer, double magnitude) {
  const tensor& W = c.weight(layer + ".weight");
  const Eigen::Map<const matrix<double>> rows(W.values.data(), W.shape[0],
                                              static_cast<index>(W.values.size()) / W.shape[0]);
  const row<double> b = row_of<double>(c, layer + ".bias");
  return magnitude * rows.cwiseAbs().rowwise().sum().maxCoeff() + b.cwiseAbs().sum();
}

/// `layer(map, size, options)` for every picture.
template <class T, class Layer>
outputs for_each_picture(const pictures& X, const mode& m, double bound, const Layer& layer) {
  grid Y = X.maps;
  for (index b = 0; b < X.maps.batches; ++b) {
    const matrix<T> y = layer(X.maps.head<T>(b, 0), X.size, m.options(std::nullopt));
    Y.set_head<T>(b, 0, y);
  }
  return {{"output", {{Y.batches, Y.rows, X.size.height, X.size.width}, Y.values, bound}}};
}

/// The gradient of every picture, dX = back(x, dY, size, options), in double, where the case has
/// one.
template <class Back>
outputs with_gradient(const case_file& c, const mode& m, const pictures& X, outputs out,
                      const Back& back) {
  if (m.single_precision || !c.has_input("grad_output")) return out;
  const tensor& given = c.input("grad_output", 4);
  require(c, given.shape == c.input("x", 4).shape, "grad_output does not fit");
  const grid dY{X.maps.batches, 1, X.maps.rows, X.maps.cols, given.values};
  grid dX = X.maps;
  for (index b = 0; b < dX.batches; ++b)
    dX.set_head<double>(
        b, 0,
        back(X.maps.head<double>(b, 0), dY.head<double>(b, 0), X.size, m.options(std::nullopt)));
  out["grad_x"] = {given.shape, dX.values, 0};
  return out;
}

softlook::gate_function gate_of(const case_file& c, const char* otherwise) {
  const std::string name = c.text("gate", otherwise);
  if (name == "sigmoid") return softlook::gate_function::sigmoid;
  if (name == "hard_sigmoid") return softlook::gate_function::hard_sigmoid;
  throw unsupported("gate " + name);
}

template <class T>
softlook::channel_attention_parameters<T> channel_weights(const case_file& c,
                                                          const std::string& prefix) {
  softlook::channel_attention_parameters<T> p;
  if (c.has_weight(prefix + "fc.weight")) {
    p.W2 = one_by_one<T>(c, prefix + "fc.weight");
    p.b2 = row_of<T>(c, prefix + "fc.bias");
  } else {
    p.W1 = one_by_one<T>(c, prefix + "fc1.weight");
    p.b1 = row_of<T>(c, prefix + "fc1.bias");
    p.W2 = one_by_one<T>(c, prefix + "fc2.weight");
    p.b2 = row_of<T>(c, prefix + "fc2.bias");
  }
  return p;
}

double channel_magnitude(const case_file& c, const pictures& X, const std::string& prefix) {
  if (c.has_weight(prefix + "fc.weight")) return through(c, prefix + "fc", largest(X));
  return through(c, prefix + "fc2", through(c, prefix + "fc1", largest(X)));
}

/// PyTorch's way back through a hard sigmoid multiplies by a sixth that was rounded to float, in
/// double as well: the part of dX that comes through the gates.
matrix<double> with_float_sixth(const matrix<double>& dX, const matrix<double>& dY,
                                const matrix<double>& gates) {
  const matrix<double> direct = gates.row(0).transpose().asDiagonal() * dY;
  return direct + 6.0 * static_cast<double>(1.0F / 6.0F) * (dX - direct);
}

template <class T>
outputs channel_gates(const case_file& c, const mode& m, softlook::gate_function gate,
                      softlook::pooled pooled = softlook::pooled::mean) {
  const pictures X = pictures_of(c);
  const softlook::channel_attention_options how{.pooled = pooled, .gate = gate};
  const softlook::channel_attention<T> layer(channel_weights<T>(c, ""), how);
  const double bound = rounding(m, X, 16, 2 * channel_magnitude(c, X, ""));
  const auto p = channel_weights<double>(c, "");
  return with_gradient(
      c, m, X,
      for_each_picture<T>(
          X, m, bound, [&](const matrix<T>& x, const auto&, const auto& o) { return layer(x, o); }),
      [&](const matrix<double>& x, const matrix<double>& dY, const auto&, const auto& o) {
        softlook::saved_gate<double> saved;
        auto gradients = softlook::zeros_like(p);
        softlook::channel_attention_forward(p, x, saved, how, o);
        const matrix<double> dX =
            softlook::channel_attention_backward(p, saved, dY, gradients, how, o);
        return gate == softlook::gate_function::hard_sigmoid ? with_float_sixth(dX, dY, saved.gates)
                                                             : dX;
      });
}
outputs squeeze_excite(const case_file& c, const mode& m) {
  const auto gate = gate_of(c, "sigmoid");
  return m.single_precision ? channel_gates<float>(c, m, gate) : channel_gates<double>(c, m, gate);
}
outputs effective_squeeze_excite(const case_file& c, const mode& m) {
  const auto gate = gate_of(c, "hard_sigmoid");
  return m.single_precision ? channel_gates<float>(c, m, gate) : channel_gates<double>(c, m, gate);
}

outputs channels_of_cbam(const case_file& c, const mode& m) {
  const auto gate = gate_of(c, "sigmoid");
  const auto pooled = softlook::pooled::mean_and_max;
  return m.single_precision ? channel_gates<float>(c, m, gate, pooled)
                            : channel_gates<double>(c, m, gate, pooled);
}

template <class T>
outputs neighbour_gates(const case_file& c, const mode& m, softlook::channel_ends ends) {
  const pictures X = pictures_of(c);
  agree(c, "kernel_size", static_cast<double>(c.weight("conv.weight", 3).shape[2]));
  const softlook::efficient_channel_attention_options how{.ends = ends};
  const softlook::efficient_channel_attention<T> layer(row_of<T>(c, "conv.weight"), how);
  const double bound = rounding(m, X, 16, through(c, "conv", largest(X)));
  return with_gradient(
      c, m, X,
      for_each_picture<T>(
          X, m, bound, [&](const matrix<T>& x, const auto&, const auto& o) { return layer(x, o); }),
      [&](const matrix<double>& x, const matrix<double>& dY, const auto&, const auto&) {
        const softlook::efficient_channel_attention_parameters<double> p{
            row_of<double>(c, "conv.weight")};
        softlook::saved_gate<double> saved;
        auto gradients = softlook::zeros_like(p);
        softlook::efficient_channel_attention_forward(p, x, saved, how);
        return softlook::efficient_channel_attention_backward(p, saved, dY, gradients, how);
      });
}
outputs efficient_channels(const case_file& c, const mode& m) {
  const auto ends = softlook::channel_ends::zeros;
  return m.single_precision ? neighbour_gates<float>(c, m, ends)
                            : neighbour_gates<double>(c, m, ends);
}
outputs circular_channels(const case_file& c, const mode& m) {
  const auto ends = softlook::channel_ends::circular;
  return m.single_precision ? neighbour_gates<float>(c, m, ends)
                            : neighbour_gates<double>(c, m, ends);
}

/// One number of a batch normalisation.
template <class T>
T number(const case_file& c, const std::string& name) {
  const tensor& t = c.weight(name, 1);
  require(c, t.shape[0] == 1, name + " is not one number");
  return static_cast<T>(t.values[0]);
}

/// A convolution to one plane and the batch normalisation behind it.
template <class T>
softlook::spatial_attention_parameters<T> spatial_weights(const case_file& c,
                                                          const std::string& prefix) {
  const tensor& W = c.weight(prefix + "conv.weight", 4);
  require(c, W.shape[0] == 1, "the convolution has several outputs");
  agree(c, "kernel_size", static_cast<double>(W.shape[3]));
  agree(c, "spatial_kernel_size", static_cast<double>(W.shape[3]));
  softlook::spatial_attention_parameters<T> p;
  p.kernels = Eigen::Map<const matrix<double>>(W.values.data(), W.shape[1] * W.shape[2], W.shape[3])
                  .template cast<T>();
  std::tie(p.gain, p.shift) = softlook::gain_and_shift<T>(
      number<T>(c, prefix + "bn.weight"), number<T>(c, prefix + "bn.bias"),
      number<T>(c, prefix + "bn.running_mean"), number<T>(c, prefix + "bn.running_var"));
  return p;
}

double spatial_magnitude(const case_file& c, const pictures& X, const std::string& prefix) {
  const auto [gain, shift] = softlook::gain_and_shift<double>(
      number<double>(c, prefix + "bn.weight"), number<double>(c, prefix + "bn.bias"),
      number<double>(c, prefix + "bn.running_mean"), number<double>(c, prefix + "bn.running_var"));
  return std::abs(gain) * through(c, prefix + "conv", largest(X)) + std::abs(shift);
}

template <class T>
outputs spatial_gates(const case_file& c, const mode& m) {
  const pictures X = pictures_of(c);
  const softlook::spatial_attention<T> layer(spatial_weights<T>(c, "conv."));
  const double bound = rounding(m, X, 98, spatial_magnitude(c, X, "conv."));
  return with_gradient(c, m, X,
                       for_each_picture<T>(X, m, bound,
                                           [&](const matrix<T>& x, const softlook::map_size& size,
                                               const auto& o) { return layer(x, size, o); }),
                       [&](const matrix<double>& x, const matrix<double>& dY,
                           const softlook::map_size& size, const auto&) {
                         const auto p = spatial_weights<double>(c, "conv.");
                         softlook::saved_gate<double> saved;
                         auto gradients = softlook::zeros_like(p);
                         softlook::spatial_attention_forward(p, x, size, saved, {});
                         return softlook::spatial_attention_backward(p, saved, dY, gradients, {});
                       });
}
outputs spatial(const case_file& c, const mode& m) {
  return m.single_precision ? spatial_gates<float>(c, m) : spatial_gates<double>(c, m);
}

template <class T>
outputs both_gates(const case_file& c, const mode& m, softlook::pooled pooled) {
  const pictures X = pictures_of(c);
  const softlook::channel_attention_options of_channels{.pooled = pooled};
  const softlook::spatial_attention_options of_pixels{.pooled = pooled};
  const softlook::cbam<T> layer(
      softlook::channel_attention<T>(channel_weights<T>(c, "channel."), of_channels),
      softlook::spatial_attention<T>(spatial_weights<T>(c, "spatial.conv."), of_pixels));
  const double steepness = 1 + channel_magnitude(c, X, "channel.");
  const double bound =
      rounding(m, X, 98, steepness * (1 + spatial_magnitude(c, X, "spatial.conv.")));
  return with_gradient(
      c, m, X,
      for_each_picture<T>(X, m, bound,
                          [&](const matrix<T>& x, const softlook::map_size& size, const auto& o) {
                            return layer(x, size, o);
                          }),
      [&](const matrix<double>& x, const matrix<double>& dY, const softlook::map_size& size,
          const auto& o) {
        const softlook::cbam_parameters<double> p{channel_weights<double>(c, "channel."),
                                                  spatial_weights<double>(c, "spatial.conv.")};
        softlook::saved_cbam<double> saved;
        auto gradients = softlook::zeros_like(p);
        softlook::cbam_forward(p, x, size, saved, of_channels, of_pixels, o);
        return softlook::cbam_backward(p, saved, dY, gradients, of_channels, of_pixels, o);
      });
}
outputs cbam(const case_file& c, const mode& m) {
  const auto pooled = softlook::pooled::mean_and_max;
  return m.single_precision ? both_gates<float>(c, m, pooled) : both_gates<double>(c, m, pooled);
}
outputs light_cbam(const case_file& c, const mode& m) {
  const auto pooled = softlook::pooled::mean_max_average;
  return m.single_precision ? both_gates<float>(c, m, pooled) : both_gates<double>(c, m, pooled);
}

/// That of timm's LayerNorm2d.
constexpr double norm_epsilon = 1e-6;

/// The smallest deviation of a picture's hidden numbers: the normalisation divides errors by it.
double least_deviation(const case_file& c, const pictures& X) {
  const Eigen::RowVectorXd key = row_of<double>(c, "conv_attn.weight");
  const Eigen::MatrixXd W1 = one_by_one<double>(c, "mlp_scale.fc1.weight");
  double least = std::numeric_limits<double>::infinity();
  for (index b = 0; b < X.maps.batches; ++b) {
    const matrix<double> x = X.maps.head<double>(b, 0);
    const Eigen::ArrayXd e = (key * x).transpose().array();
    const Eigen::ArrayXd weights = (e - e.maxCoeff()).exp();
    const Eigen::RowVectorXd context = (x * weights.matrix()).transpose() / weights.sum();
    const Eigen::RowVectorXd h = context * W1 + row_of<double>(c, "mlp_scale.fc1.bias");
    const double variance = (h.array() - h.mean()).square().mean();
    least = std::min(least, std::sqrt(variance + norm_epsilon));
  }
  return least;
}

template <class T>
softlook::global_context_parameters<T> context_weights(const case_file& c) {
  return {.key = one_by_one<T>(c, "conv_attn.weight").transpose(),
          .W1 = one_by_one<T>(c, "mlp_scale.fc1.weight"),
          .b1 = row_of<T>(c, "mlp_scale.fc1.bias"),
          .gain = row_of<T>(c, "mlp_scale.norm.weight"),
          .bias = row_of<T>(c, "mlp_scale.norm.bias"),
          .W2 = one_by_one<T>(c, "mlp_scale.fc2.weight"),
          .b2 = row_of<T>(c, "mlp_scale.fc2.bias")};
}

template <class T>
outputs pooled_context(const case_file& c, const mode& m) {
  const pictures X = pictures_of(c);
  const softlook::global_context_options how{.fusion = softlook::context_fusion::scale,
                                             .epsilon = c.number("eps", 1e-6)};
  const softlook::global_context<T> layer(context_weights<T>(c), how);
  const double hidden = through(c, "mlp_scale.fc1", largest(X)) / least_deviation(c, X);
  const double magnitude =
      through(c, "mlp_scale.fc2",
              hidden * row_of<double>(c, "mlp_scale.norm.weight").cwiseAbs().maxCoeff());
  return with_gradient(
      c, m, X,
      for_each_picture<T>(
          X, m, rounding(m, X, 32, magnitude),
          [&](const matrix<T>& x, const auto&, const auto& o) { return layer(x, o); }),
      [&](const matrix<double>& x, const matrix<double>& dY, const auto&, const auto& o) {
        const auto p = context_weights<double>(c);
        softlook::saved_global_context<double> saved;
        auto gradients = softlook::zeros_like(p);
        softlook::global_context_forward(p, x, saved, how, o);
        return softlook::global_context_backward(p, saved, dY, gradients, how, o);
      });
}
outputs global_context(const case_file& c, const mode& m) {
  return m.single_precision ? pooled_context<float>(c, m) : pooled_context<double>(c, m);
}

template <class T>
outputs gathered(const case_file& c, const mode& m) {
  const pictures X = pictures_of(c);
  softlook::gather_excite_options options;
  if (const index extent = c.integer("extent", 0); extent > 0) options.extent = extent;
  return with_gradient(
      c, m, X,
      for_each_picture<T>(X, m, rounding(m, X, 16, largest(X)),
                          [&](const matrix<T>& x, const softlook::map_size& size, const auto& o) {
                            return softlook::gather_excite(x, size, options, o);
                          }),
      [&](const matrix<double>& x, const matrix<double>& dY, const softlook::map_size& size,
          const auto&) { return softlook::gather_excite_backward(x, size, dY, options); });
}
outputs gather_excite(const case_file& c, const mode& m) {
  return m.single_precision ? gathered<float>(c, m) : gathered<double>(c, m);
}

/// timm's non-local block, its batch normalisation (eval mode) folded into the last projection.
template <class T>
softlook::non_local_parameters<T> non_local_layer(const case_file& c) {
  softlook::non_local_parameters<T> p{.Wq = one_by_one<T>(c, "t.weight"),
                                      .Wk = one_by_one<T>(c, "p.weight"),
                                      .Wv = one_by_one<T>(c, "g.weight"),
                                      .Wo = one_by_one<T>(c, "z.weight"),
                                      .bq = row_of<T>(c, "t.bias"),
                                      .bk = row_of<T>(c, "p.bias"),
                                      .bv = row_of<T>(c, "g.bias"),
                                      .bo = row_of<T>(c, "z.bias")};
  const row<T> weight = row_of<T>(c, "norm.weight"), bias = row_of<T>(c, "norm.bias");
  const row<T> mean = row_of<T>(c, "norm.running_mean"), var = row_of<T>(c, "norm.running_var");
  const index channels = p.Wo.cols();
  require(c,
          weight.size() == channels && bias.size() == channels && mean.size() == channels &&
              var.size() == channels,
          "norm has four numbers for each channel");
  if (p.bo.size() == 0) p.bo.setZero(channels);
  for (index k = 0; k < channels; ++k) {
    const auto [gain, shift] = softlook::gain_and_shift<T>(weight[k], bias[k], mean[k], var[k]);
    p.Wo.col(k) *= gain;
    p.bo[k] = p.bo[k] * gain + shift;
  }
  return p;
}

template <class T>
outputs non_local_pixels(const case_file& c, const mode& m) {
  const pictures X = pictures_of(c);
  const softlook::non_local_parameters<T> p = non_local_layer<T>(c);
  const softlook::non_local_block<T> layer(p);
  const double scale =
      c.number("use_scale", 1) != 0 ? 1 / std::sqrt(static_cast<double>(X.maps.rows)) : 1;
  grid Y = X.maps;
  error_bounds bounds;
  for (index b = 0; b < X.maps.batches; ++b) {
    const matrix<T> x = X.maps.head<T>(b, 0);
    Y.set_head<T>(b, 0, matrix<T>(layer(x, m.options(scale))));
    const auto made = [&](const auto& W, const auto& bias) {
      matrix<T> rows = x.transpose() * W;
      if (bias.size() > 0) rows.rowwise() += bias;
      return rows;
    };
    head_problem<T> of;
    of.Q = made(p.Wq, p.bq);
    of.K = made(p.Wk, p.bk);
    of.V = made(p.Wv, p.bv);
    of.scale = scale;
    // The projections are rounded themselves: sums over the channels.
    of.size = score_size{of.scores().magnitude, 3 * x.rows() + p.Wq.cols()};
    bounds = worst(bounds, of.bounds());
  }
  double bound = 0;
  if (m.single_precision) {
    if (!says_something(bounds)) throw beyond_float();
    bound = projected_error(bounds.output, p.Wo) + rounding(m, X, 16, 0);
  }
  return {{"output", {{Y.batches, Y.rows, X.size.height, X.size.width}, Y.values, bound}}};
}
outputs non_local(const case_file& c, const mode& m) {
  return m.single_precision ? non_local_pixels<float>(c, m) : non_local_pixels<double>(c, m);
}

}  // namespace

void add_vision_adapters(adapter_table& table) {
  table["timm.SEModule"] = squeeze_excite;
  table["timm.EffectiveSEModule"] = effective_squeeze_excite;
  table["timm.EcaModule"] = efficient_channels;
  table["timm.CecaModule"] = circular_channels;
  table["timm.cbam.SpatialAttn"] = spatial;
  table["timm.cbam.ChannelAttn"] = channels_of_cbam;
  table["timm.cbam.CbamModule"] = cbam;
  table["timm.cbam.LightCbamModule"] = light_cbam;
  table["timm.GlobalContext"] = global_context;
  table["timm.GatherExcite"] = gather_excite;
  table["timm.NonLocalAttn"] = non_local;
}

}  // namespace conformance
