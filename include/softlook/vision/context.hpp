#pragma once

#include <algorithm>
#include <optional>

#include "softlook/attention/attention.hpp"
#include "softlook/engine/call/layer_policies.hpp"
#include "softlook/layer/layer_norm.hpp"
#include "softlook/layer/linear_layer.hpp"
#include "softlook/layer/matrix_layer.hpp"
#include "softlook/vision/detail/passes.hpp"
#include "softlook/vision/feature_map.hpp"

// Gates and sums made of what lies around a pixel, or of the whole map. X is channels ×
// (height·width); results have X's shape and storage order. `into` writes to the caller's matrix,
// block or map, which may be X itself, and must not overlap it otherwise.

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup vision_context Gather-excite and global context
/// Channels weighed, or added to, by what lies around a pixel or in the whole map.
/// \cases tests/conformance/data/other/channel_spatial
/// \{

namespace detail {

/// The gates of one channel, a row and a column for each point of the grid.
template <class T>
[[nodiscard]] row_major<T> gathered(const T* x, const map_size& size, std::optional<index> extent,
                                    gate_function g) {
  if (!extent)
    return row_major<T>::Constant(1, 1, gate_of(g, statistics_of(x, size.pixels()).mean));
  const index e = *extent;
  row_major<T> gates(ceil_div(size.height, e), ceil_div(size.width, e));
  Eigen::Array<later<T, double>, 1, Eigen::Dynamic> lines(size.width);
  for (index u = 0; u < gates.rows(); ++u) {
    const range rows{std::max<index>(e * u - e + 1, 0), std::min(e * u + e, size.height)};
    lines.setZero();
    for (index y = rows.begin; y < rows.end; ++y)
      lines += const_line<T>(x + y * size.width, size.width).template cast<double>();
    for (index v = 0; v < gates.cols(); ++v) {
      const range cols{std::max<index>(e * v - e + 1, 0), std::min(e * v + e, size.width)};
      double sum = 0;
      for (index p = cols.begin; p < cols.end; ++p) sum += lines[p];
      gates(u, v) = gate_of(g, T(sum / double(rows.count() * cols.count())));
    }
  }
  return gates;
}

/// Row c of Y: each pixel times the gate of its point of the grid.
template <class T>
void excite(const T* x, const map_size& size, const row_major<T>& gates,
            const mutable_matrix_view<T>& Y, index c) {
  Eigen::Array<T, 1, Eigen::Dynamic> of_line(size.width);
  index filled = -1;
  for (index y = 0; y < size.height; ++y) {
    const index u = y * gates.rows() / size.height;
    if (u != filled)
      for (index p = 0; p < size.width; ++p) of_line[p] = gates(u, p * gates.cols() / size.width);
    filled = u;
    const const_line<T> from(x + y * size.width, size.width);
    if (Y.col_stride == 1) {
      line<T>(&Y(c, y * size.width), size.width) = from * of_line;
    } else {
      for (index p = 0; p < size.width; ++p) Y(c, y * size.width + p) = from[p] * of_line[p];
    }
  }
}

}  // namespace detail

/// How far gather_excite() looks. Unset: over the whole map.
struct gather_excite_options {
  std::optional<index> extent{};
  gate_function gate = gate_function::sigmoid;
};

/// Gather-excite without parameters: each pixel of a channel is weighed by the mean of what lies
/// around the nearest point of a grid of step e,
///   y_c(p) = x_c(p)·gate(mean of x_c over the (2e − 1)×(2e − 1) pixels around that point).
///
/// \see Hu et al., "Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks",
///      2018, section 3 (GE-θ⁻). The grid has ⌈height/e⌉ × ⌈width/e⌉ points, at multiples of e;
///      pixels outside the map do not count. Pixel y reads point ⌊y·⌈height/e⌉/height⌋.
/// X: channels × (height·width) -> Y of that shape.
/// \param policies  an executor, options.
/// \throws shape_error     unless X has a column for each pixel;
///         argument_error  unless e ≥ 1, and if Y overlaps X without being X.
/// Cost: five passes over X at most, whatever e is.
template <dense_expression X, dense_expression Y, class... Ps>
void gather_excite_into(const X& x, const map_size& size, Y&& y,
                        const gather_excite_options& o = {}, const Ps&... policies) {
  using T = detail::scalar_of<X>;
  const char* where = "gather_excite";
  if constexpr (detail::check_scalars<X, Y>() && detail::check_layer_policies<T, Ps...>()) {
    const detail::readable<X> in(x);
    const matrix_view<T> map = in.view();
    const mutable_matrix_view<T> out = detail::writable_view(y);
    detail::check_map(where, map.cols, size);
    if (o.extent.value_or(1) < 1)
      detail::raise_argument(where, "extent", double(*o.extent), "a step is at least 1");
    detail::check_map_output(where, map, out);
    const detail::layer_call call = detail::layer_call_of(where, policies...);
    if (map.cols == 0) return;
    const detail::contiguous_channels<T> channels(map);
    detail::run_blocks(call.exec, map.rows, map.cols, [&](index first, index last) {
      for (index c = first; c < last; ++c) {
        const detail::row_major<T> gates =
            detail::gathered(channels.channel(c), size, o.extent, o.gate);
        detail::excite(channels.channel(c), size, gates, out, c);
      }
    });
  }
}

template <dense_expression X, class... Ps>
[[nodiscard]] auto gather_excite(const X& x, const map_size& size,
                                 const gather_excite_options& o = {}, const Ps&... policies) {
  plain_matrix_like<X> y(x.rows(), x.cols());
  gather_excite_into(x, size, y, o, policies...);
  return y;
}

/// What the gate of global_context does: adds to every pixel (the paper), or weighs the channels.
enum class context_fusion { add, scale };

/// The weights of global_context, inputs × outputs.
template <class T>
struct global_context_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  row key{};           ///< channels: what a pixel must hold to count (its bias would cancel)
  matrix W1{};         ///< channels × hidden
  row b1{};            ///< empty: none
  row gain{}, bias{};  ///< of the layer normalisation of the hidden numbers
  matrix W2{};         ///< hidden × channels
  row b2{};            ///< empty: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("key", p.key...);
    f("W1", p.W1...);
    f("b1", p.b1...);
    f("gain", p.gain...);
    f("bias", p.bias...);
    f("W2", p.W2...);
    f("b2", p.b2...);
  }
};

struct global_context_options {
  context_fusion fusion = context_fusion::add;
  gate_function gate = gate_function::sigmoid;  ///< with context_fusion::scale
  double epsilon = 1e-5;
};

/// Global context block: one attention map for all queries pools the pixels to one context,
///   u = Σ_j softmax_j(key·x_j) x_j,   t = W2·relu(LN(W1·u + b1)) + b2,
///   y_p = x_p + t  (add)    or    y_p = x_p ∘ gate(t)  (scale).
///
/// \see Cao et al., "GCNet: Non-Local Networks Meet Squeeze-Excitation Networks and Beyond", 2019,
///      Figure 4(d).
/// X: channels × pixels -> Y of that shape, which may be X itself. A map without pixels has the
/// context 0. A call takes an executor and options.
/// Cost: the softmax is attention() with one query; two or three passes over X.
template <class T>
class global_context : public matrix_layer<global_context<T>, T> {
 public:
  /// \throws shape_error  unless the layers fit; argument_error  unless ε is finite and not
  /// negative.
  explicit global_context(const global_context_parameters<T>& p,
                          const global_context_options& o = {})
      : key_(p.key),
        first_(p.W1, p.b1),
        norm_(p.gain, p.bias, (detail::check_epsilon<T>(name_, o.epsilon), o.epsilon)),
        second_(p.W2, p.b2),
        options_(o) {
    const char* where = name_;
    detail::check_sizes(where, "W1.rows()", p.W1.rows(), "key.size()", p.key.size(),
                        "both read a pixel's channels");
    detail::check_sizes(where, "gain.size()", p.gain.size(), "W1.cols()", p.W1.cols(),
                        "hidden numbers are normalised");
    detail::check_sizes(where, "W2.rows()", p.W2.rows(), "W1.cols()", p.W1.cols(),
                        "the second layer reads what the first one gives");
    detail::check_sizes(where, "W2.cols()", p.W2.cols(), "key.size()", p.key.size(),
                        "there is a number for each channel");
  }

  [[nodiscard]] index channels() const { return key_.cols(); }

 private:
  friend detail::layer_entry;
  using policy_rule = detail::unmasked_policies;
  static constexpr const char* name_ = "global_context";

  void check(const matrix_view<T>& X) const { detail::check_channels(name_, X, channels()); }
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>&, const detail::call_policies<T>& call) const {
    const matrix_view<T> key = detail::view_of(key_), pixels = X.transpose();
    const auto score = scores::dot{}.recipe<T>(name_, key.cols, pixels.cols);
    const auto context = detail::run_inner(detail::inner_call(call, score, key, pixels, pixels));
    const options isa{.isa = call.isa};
    detail::row_vector<T> t = second_(norm_(first_(context, isa), isa).cwiseMax(T(0)).eval(), isa);
    if (options_.fusion == context_fusion::scale) {
      t = t.unaryExpr([this](T v) { return detail::gate_of(options_.gate, v); }).eval();
      return detail::scale<T>(call.exec, X, Y, t.data(), nullptr);
    }
    detail::add_to_map(X, Y, T(1), [&](index c, index) { return t[c]; });
  }

  detail::row_major<T> key_;
  linear_layer<T> first_;
  layer_norm<T> norm_;
  linear_layer<T> second_;
  global_context_options options_;
};

/// \}

SOFTLOOK_NAMESPACE_END
