#pragma once

#include <cmath>
#include <utility>

#include "softlook/layer/linear_layer.hpp"
#include "softlook/layer/matrix_layer.hpp"
#include "softlook/vision/detail/passes.hpp"
#include "softlook/vision/feature_map.hpp"

// Attention that weighs instead of mixing: a number between 0 and 1 for each channel or each pixel
// of a feature map. X is channels × (height·width); results have X's shape and storage order.
// Policies are an executor and options (isa); neither changes a bit of what is summed here.
// `into` writes to the caller's matrix, block or map, which may be X itself, and must not overlap
// it otherwise. A NaN reaches every gate that its channel or pixel has a part in.

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup vision_gates Channel and spatial attention
/// Channels and pixels of a feature map weighed by what they hold: squeeze-and-excitation, ECA,
/// CBAM.
/// \cases tests/conformance/data/other/channel_spatial
/// \{

/// What all gates of a map can do, with a gate for each channel or each pixel:
///   Y = X ∘ gates(X)
/// Y may be X itself. A gate of pixels takes the map's size after X. A call takes an executor
/// and options; X has channels() rows, or a column for each of size's pixels.
template <class Gate, class T, class... Size>
class map_gate : public matrix_layer<Gate, T, Size...> {
 public:
  /// The gates alone, 1 × channels or 1 × pixels, for looking at them.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto gates(const X& x, const Size&... size, const Ps&... policies) const {
    using entry = detail::layer_entry;
    detail::row_vector<T> found;
    if constexpr (entry::accepts<Gate, Ps...>(detail::matrices<X>{})) {
      const detail::readable<X> map(x);
      const auto in = entry::input_of(gate(), map.view(), size...);
      entry::show(
          gate(), in, [&](const auto&, const auto& call) { found = gate().compute(call, in); },
          policies...);
    }
    return found;
  }

 private:
  friend detail::layer_entry;
  template <class>
  friend class cbam;
  [[nodiscard]] const Gate& gate() const { return static_cast<const Gate&>(*this); }

  [[nodiscard]] static const matrix_view<T>& map_of(const matrix_view<T>& X) { return X; }
  [[nodiscard]] static const matrix_view<T>& map_of(const detail::sized_map<T>& in) { return in.X; }

  template <class Inputs>
  void run(const Inputs& in, const mutable_matrix_view<T>& Y, const detail::scratch_space<T>&,
           const detail::layer_call& call) const {
    const detail::row_vector<T> of = gate().compute(call, in);
    detail::scale<T>(call.exec, map_of(in), Y, Gate::of_channels_ ? of.data() : nullptr,
                     Gate::of_channels_ ? nullptr : of.data());
  }
};

/// The weights of channel_attention. Matrices are inputs × outputs: of a 1×1 convolution with
/// weights (out, in, 1, 1) give the transpose of out × in.
template <class T>
struct channel_attention_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix W1{};  ///< channels × hidden; empty: no hidden layer
  row b1{};     ///< empty: none
  matrix W2{};  ///< hidden (or channels) × channels
  row b2{};     ///< empty: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("W1", p.W1...);
    f("b1", p.b1...);
    f("W2", p.W2...);
    f("b2", p.b2...);
  }
};

struct channel_attention_options {
  softlook::pooled pooled = softlook::pooled::mean;
  gate_function gate = gate_function::sigmoid;
};

/// Channel attention: what a channel holds on the whole decides how much of it is kept,
///   y_c = x_c · g_c,   g = gate(Σ over the pooled rows s of W2·relu(W1·s + b1) + b2).
///
///   squeeze-and-excitation  pooled::mean (Hu et al., "Squeeze-and-Excitation Networks", 2018,
///                           Eq. (2)–(4))
///   effective SE            the same without W1, gate hard_sigmoid (Lee and Park, "CenterMask",
///                           2020, section 3.3)
///   CBAM's                  pooled::mean_and_max (Woo et al., "CBAM", 2018, Eq. (2)); biases count
///                           for each of the two
///   light CBAM's            pooled::mean_max_average (timm's LightChannelAttn)
///
/// X: channels × pixels -> Y of that shape. A map without pixels is empty, its gates those of
/// zeros. Cost: two passes over X and O(channels·hidden).
template <class T>
class channel_attention : public map_gate<channel_attention<T>, T> {
 public:
  /// \throws shape_error  unless the layers fit: W1 channels × hidden, W2 hidden × channels.
  explicit channel_attention(const channel_attention_parameters<T>& p,
                             const channel_attention_options& o = {})
      : first_(p.W1, p.b1, activation::relu), second_(p.W2, p.b2), options_(o) {
    const char* where = "channel_attention";
    deep_ = p.W1.size() > 0;
    if (deep_)
      detail::check_sizes(where, "W1.cols()", p.W1.cols(), "W2.rows()", p.W2.rows(),
                          "the second layer reads what the first one gives");
    detail::check_sizes(where, "W2.cols()", p.W2.cols(), deep_ ? "W1.rows()" : "W2.rows()",
                        deep_ ? p.W1.rows() : p.W2.rows(), "there is a gate for each channel");
  }

  [[nodiscard]] index channels() const { return second_.outputs(); }

 private:
  friend detail::layer_entry;
  friend class map_gate<channel_attention<T>, T>;
  template <class>
  friend class cbam;
  static constexpr const char* name_ = "channel_attention";
  static constexpr bool of_channels_ = true;

  void check(const matrix_view<T>& X) const { detail::check_channels(name_, X, channels()); }

  [[nodiscard]] detail::row_vector<T> compute(const detail::layer_call& call,
                                              const matrix_view<T>& X) const {
    detail::row_major<T> pooled = detail::pool_channels(call.exec, X, options_.pooled);
    const options isa{.isa = call.isa};
    if (deep_) pooled = first_(pooled, isa);
    pooled = second_(pooled, isa);
    for (index r = 1; r < pooled.rows(); ++r) pooled.row(0) += pooled.row(r);
    return pooled.row(0).unaryExpr([g = options_.gate](T v) { return detail::gate_of(g, v); });
  }

  linear_layer<T> first_;
  linear_layer<T> second_;
  channel_attention_options options_;
  bool deep_ = false;
};

/// What a channel at the end has for neighbours: nothing, or the channels of the other end (CECA).
enum class channel_ends { zeros, circular };

struct efficient_channel_attention_options {
  channel_ends ends = channel_ends::zeros;
  gate_function gate = gate_function::sigmoid;
};

/// Efficient channel attention: a channel's gate depends on the means s of its neighbours alone,
///   y_c = x_c · gate(Σ_t taps_t · s_{c + t − taps/2}).
///
/// \see Wang et al., "ECA-Net: Efficient Channel Attention", 2020, section 3.2.
/// X: channels × pixels -> Y of that shape; any number of channels. Cost: two passes over X.
template <class T>
class efficient_channel_attention : public map_gate<efficient_channel_attention<T>, T> {
 public:
  /// `taps` is a vector of odd size. \throws argument_error  if it is not.
  template <dense_expression Taps>
  explicit efficient_channel_attention(const Taps& taps,
                                       const efficient_channel_attention_options& o = {})
      : options_(o) {
    static_assert(std::is_same_v<detail::scalar_of<Taps>, T>,
                  "softlook: an efficient_channel_attention<T> is made of a vector of T");
    const char* where = "efficient_channel_attention";
    if (taps.size() % 2 == 0)
      detail::raise_argument(where, "taps.size()", double(taps.size()),
                             "it is odd, so that a channel is in the middle of its neighbours");
    if (taps.rows() != 1 && taps.cols() != 1)
      detail::raise_sizes(where, "taps.rows()", taps.rows(), "taps.cols()", taps.cols(),
                          "the taps are a vector");
    taps_.resize(taps.size());
    for (index k = 0; k < taps.size(); ++k) taps_[k] = taps.rows() == 1 ? taps(0, k) : taps(k, 0);
  }

 private:
  friend detail::layer_entry;
  friend class map_gate<efficient_channel_attention<T>, T>;
  static constexpr const char* name_ = "efficient_channel_attention";
  static constexpr bool of_channels_ = true;

  static void check(const matrix_view<T>&) {}

  [[nodiscard]] detail::row_vector<T> compute(const detail::layer_call& call,
                                              const matrix_view<T>& X) const {
    const auto means = detail::pool_channels(call.exec, X, pooled::mean);
    const index count = means.cols(), middle = taps_.size() / 2;
    detail::row_vector<T> gates(count);
    for (index c = 0; c < count; ++c) {
      T sum = 0;
      for (index t = 0; t < taps_.size(); ++t) {
        const index at = c + t - middle;
        if (options_.ends == channel_ends::circular)
          sum += taps_[t] * means(0, (at % count + count) % count);
        else if (at >= 0 && at < count)
          sum += taps_[t] * means(0, at);
      }
      gates[c] = detail::gate_of(options_.gate, sum);
    }
    return gates;
  }

  detail::row_vector<T> taps_;
  efficient_channel_attention_options options_;
};

/// How many taps ECA gives a map: |log2(channels)/γ + b/γ|, made odd, at least 3 (timm's rounding).
/// \see Wang et al., 2020, section 3.2.3.  \throws argument_error  unless channels ≥ 1 and γ > 0.
[[nodiscard]] inline index eca_taps(index channels, double gamma = 2, double b = 1) {
  if (channels < 1)
    detail::raise_argument("eca_taps", "channels", double(channels), "there is at least one");
  detail::check_parameter<double>("eca_taps", "gamma", gamma, detail::parameter::positive,
                                  "it is positive and finite");
  detail::check_parameter<double>("eca_taps", "b", b, detail::parameter::finite, "it is finite");
  const auto t = static_cast<index>(std::abs((std::log2(double(channels)) + b) / gamma));
  return std::max<index>(t % 2 == 0 ? t + 1 : t, 3);
}

namespace detail {}  // namespace detail

/// The weights of spatial_attention.
template <class T>
struct spatial_attention_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  matrix
      kernels{};  ///< k × k, k odd; for mean_and_max 2k × k: the mean's kernel above the maximum's
  T gain = 1;     ///< times the convolution,
  T shift = 0;    ///< plus this: a bias, or a batch normalisation at rest

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("kernels", p.kernels...);
    const auto number = [&](const char* name, auto... m) { f(name, m...); };
    number("gain", detail::as_matrix(p.gain)...);
    number("shift", detail::as_matrix(p.shift)...);
  }
};

/// γ·(x − μ)/√(σ² + ε) + β as gain and shift: a batch normalisation with running statistics.
/// \throws argument_error  unless σ² + ε is positive.
template <class T>
[[nodiscard]] std::pair<T, T> gain_and_shift(T gamma, T beta, T mean, T variance,
                                             double epsilon = 1e-5) {
  const double scale = double(variance) + epsilon;
  detail::check_parameter<double>("gain_and_shift", "variance + epsilon", scale,
                                  detail::parameter::positive, "it is positive and finite");
  const double gain = double(gamma) / std::sqrt(scale);
  return {T(gain), T(double(beta) - double(mean) * gain)};
}

struct spatial_attention_options {
  softlook::pooled pooled = softlook::pooled::mean_and_max;
  gate_function gate = gate_function::sigmoid;
};

/// Spatial attention: what a pixel and those around it hold decides how much of it is kept,
///   y_p = x_p · gate(gain·(kernels ∗ [mean_c x, max_c x])_p + shift),
/// with zeros around the picture and the kernel as it is written, not mirrored.
///
/// \see Woo et al., "CBAM: Convolutional Block Attention Module", 2018, Eq. (3), k = 7. Light
///      CBAM's reads half the mean plus half the maximum (pooled::mean_max_average) with one
///      kernel.
/// X: channels × (height·width) -> Y of that shape. Cost: two passes over X and k² for each pixel.
template <class T>
class spatial_attention : public map_gate<spatial_attention<T>, T, map_size> {
 public:
  /// \throws shape_error     unless kernels has k columns, and k rows for each pooled plane;
  ///         argument_error  unless k is odd, gain and shift are finite.
  explicit spatial_attention(const spatial_attention_parameters<T>& p,
                             const spatial_attention_options& o = {})
      : kernels_(p.kernels), gain_(p.gain), shift_(p.shift), options_(o) {
    detail::check_factor<T>("spatial_attention", "gain", gain_);
    detail::check_factor<T>("spatial_attention", "shift", shift_);
    const index k = kernels_.cols(), planes = detail::planes_of(o.pooled);
    if (k % 2 == 0)
      detail::raise_argument("spatial_attention", "kernels.cols()", double(k),
                             "a kernel has a middle, so its size is odd");
    detail::check_sizes("spatial_attention", "kernels.rows()", kernels_.rows(),
                        planes == 2 ? "2 * kernels.cols()" : "kernels.cols()", planes * k,
                        "there is a square kernel for each pooled plane, below each other");
  }

 private:
  friend detail::layer_entry;
  friend class map_gate<spatial_attention<T>, T, map_size>;
  template <class>
  friend class cbam;
  static constexpr const char* name_ = "spatial_attention";
  static constexpr bool of_channels_ = false;

  [[nodiscard]] static detail::sized_map<T> input_of(const matrix_view<T>& X,
                                                     const map_size& size) {
    return {X, size};
  }
  static void check(const detail::sized_map<T>& in) {
    detail::check_map(name_, in.X.cols, in.size);
  }

  [[nodiscard]] detail::row_vector<T> compute(const detail::layer_call& call,
                                              const detail::sized_map<T>& in) const {
    const auto planes = detail::pool_pixels(call.exec, in.X, options_.pooled);
    const auto found = detail::correlate<T>(call.exec, planes, in.size, kernels_);
    return found.unaryExpr(
        [this](T v) { return detail::gate_of(options_.gate, gain_ * v + shift_); });
  }

  detail::row_major<T> kernels_;
  T gain_;
  T shift_;
  spatial_attention_options options_;
};

/// Channel attention, then spatial attention of what it left:
///   Y = spatial(channel(X))
///
/// \see Woo et al., "CBAM: Convolutional Block Attention Module", 2018, Eq. (1).
///
///     const cbam<float> block(channel_attention<float>(mlp, {.pooled = pooled::mean_and_max}),
///                             spatial_attention<float>({.kernels = seven_by_seven_twice}));
///     const auto Y = block(X, {.height = 14, .width = 14});
///
/// X: channels × (height·width) -> Y of that shape, which may be X itself. A call takes an executor
/// and options.
template <class T>
class cbam : public matrix_layer<cbam<T>, T, map_size> {
 public:
  cbam(channel_attention<T> channel, spatial_attention<T> spatial)
      : channel_(std::move(channel)), spatial_(std::move(spatial)) {}

  [[nodiscard]] const channel_attention<T>& channel() const { return channel_; }
  [[nodiscard]] const spatial_attention<T>& spatial() const { return spatial_; }

 private:
  friend detail::layer_entry;
  static constexpr const char* name_ = "cbam";

  [[nodiscard]] static detail::sized_map<T> input_of(const matrix_view<T>& X,
                                                     const map_size& size) {
    return {X, size};
  }
  void check(const detail::sized_map<T>& in) const {
    detail::check_map(name_, in.X.cols, in.size);
    channel_.check(in.X);
  }
  void run(const detail::sized_map<T>& in, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch, const detail::layer_call& call) const {
    channel_.run(in.X, Y, scratch, call);
    spatial_.run(detail::sized_map<T>{detail::as_input(Y), in.size}, Y, scratch, call);
  }

  channel_attention<T> channel_;
  spatial_attention<T> spatial_;
};

/// \}

SOFTLOOK_NAMESPACE_END
