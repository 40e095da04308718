#pragma once

#include "softlook/gradient/detail/vision_parts.hpp"
#include "softlook/gradient/linear.hpp"

// Gates and context of a feature map, channels × (height·width), in training. What is pooled, gated
// and convolved is what the layers of vision/ compute; of several largest the first has the slope.

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// The taps of efficient_channel_attention, an odd number.
template <class T>
struct efficient_channel_attention_parameters {
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  row taps{};

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("taps", p.taps...);
  }
};

/// The weights of cbam.
template <class T>
struct cbam_parameters {
  channel_attention_parameters<T> channel{};
  spatial_attention_parameters<T> spatial{};

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("channel", p.channel...);
    f("spatial", p.spatial...);
  }
};

/// What a gate of channels or of pixels keeps: X, Y, and a few numbers for each of them; X's size
/// again for the way back.
template <class T>
struct saved_gate {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix X{}, Y{};
  matrix pooled{};  ///< a row, or two, with a number for each channel or pixel
  matrix hidden{};  ///< of channel_attention, before its relu; of spatial_attention the convolution
  matrix gates{};   ///< 1 × channels or 1 × pixels
  matrix dX{};      ///< written on the way back
  matrix dsums{}, dhidden{}, dpooled{};
  std::vector<index> largest{};
  map_size size{};  ///< of spatial_attention

  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return 2 * bytes_of(X) + bytes_of(pooled) + bytes_of(hidden) + bytes_of(gates) + bytes_of(dX) +
           bytes_of(dsums) + bytes_of(dhidden) + bytes_of(dpooled) + largest.size() * sizeof(index);
  }
};

template <class T>
struct saved_cbam {
  saved_gate<T> channel{}, spatial{};
  [[nodiscard]] std::size_t bytes() const { return channel.bytes() + spatial.bytes(); }
};

/// What global_context_forward() keeps: X and Y, a number for each pixel, a few rows.
template <class T>
struct saved_global_context {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix X{}, Y{};
  matrix weights{};         ///< of the pixels
  matrix context{};         ///< 1 × channels
  matrix hidden{}, unit{};  ///< before and after the normalisation
  matrix positive{};        ///< relu of what it gives
  matrix gates{};           ///< or what is added
  matrix dX{};              ///< written by global_context_backward()
  matrix dsums{}, dpositive{}, dcontext{}, dweights{};
  detail::normalised_row<T> norm{};

  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return bytes_of(X) + bytes_of(Y) + bytes_of(dX) + bytes_of(weights) + bytes_of(dweights) +
           3 * bytes_of(context) + 3 * bytes_of(hidden);
  }
};

/// Y = X ∘ gates of channel_attention (squeeze-and-excitation, CBAM's), kept as saved.Y.
/// \param policies  an executor and options.
/// \throws shape_error  unless the weights fit each other and X.
template <class T, dense_expression X, class... Ps>
const auto& channel_attention_forward(const channel_attention_parameters<T>& p, const X& x,
                                      saved_gate<T>& saved, const channel_attention_options& o,
                                      const Ps&... policies) {
  const char* where = "channel_attention_forward";
  const bool deep = p.W1.size() > 0;
  detail::check_sizes(where, "X.rows()", x.rows(), deep ? "W1.rows()" : "W2.rows()",
                      deep ? p.W1.rows() : p.W2.rows(), "a feature map has a row for each channel");
  detail::check_sizes(where, "W2.cols()", p.W2.cols(), "X.rows()", x.rows(),
                      "there is a gate for each channel");
  if (deep)
    detail::check_sizes(where, "W1.cols()", p.W1.cols(), "W2.rows()", p.W2.rows(),
                        "the second layer reads what the first one gives");
  saved.X = x;
  detail::channel_forward(p, saved, o, detail::layer_call_of(where, policies...));
  return saved.Y;
}
template <class T, dense_expression G, class... Ps>
const auto& channel_attention_backward(const channel_attention_parameters<T>& p,
                                       saved_gate<T>& saved, const G& dY,
                                       channel_attention_parameters<T>& gradients,
                                       const channel_attention_options& o, const Ps&... policies) {
  const char* where = "channel_attention_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::readable<G> given(dY);
  detail::channel_backward(p, saved, given.view(), gradients, o,
                           detail::layer_call_of(where, policies...));
  return saved.dX;
}

/// Y = X ∘ gates of efficient_channel_attention (ECA, CECA).
template <class T, dense_expression X>
const auto& efficient_channel_attention_forward(const efficient_channel_attention_parameters<T>& p,
                                                const X& x, saved_gate<T>& saved,
                                                const efficient_channel_attention_options& o) {
  if (p.taps.size() % 2 == 0)
    detail::raise_argument("efficient_channel_attention_forward", "taps.size()",
                           double(p.taps.size()),
                           "it is odd, so that a channel is in the middle of its neighbours");
  saved.X = x;
  detail::shape_as(saved.pooled, 1, x.rows());
  detail::pool_rows(detail::view_of(saved.X), pooled::mean, detail::writable_view(saved.pooled),
                    saved.largest);
  saved.gates.setZero(1, x.rows());
  detail::for_each_neighbour(x.rows(), p.taps.size(), o.ends, [&](index c, index t, index at) {
    saved.gates(0, c) += p.taps[t] * saved.pooled(0, at);
  });
  for (index c = 0; c < x.rows(); ++c)
    saved.gates(0, c) = detail::gate_of(o.gate, saved.gates(0, c));
  detail::shape_as(saved.Y, x.rows(), x.cols());
  detail::gate_rows(detail::view_of(saved.X), detail::view_of(saved.gates),
                    detail::writable_view(saved.Y));
  return saved.Y;
}
template <class T, dense_expression G>
const auto& efficient_channel_attention_backward(
    const efficient_channel_attention_parameters<T>& p, saved_gate<T>& saved, const G& dY,
    efficient_channel_attention_parameters<T>& gradients,
    const efficient_channel_attention_options& o) {
  const char* where = "efficient_channel_attention_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::readable<G> given(dY);
  detail::shape_as(saved.dX, saved.X.rows(), saved.X.cols());
  detail::shape_as(saved.dsums, 1, saved.X.rows());
  detail::gate_rows_back(o.gate, detail::view_of(saved.X), given.view(),
                         detail::view_of(saved.gates), detail::writable_view(saved.dX),
                         detail::writable_view(saved.dsums));
  saved.dpooled.setZero(1, saved.X.rows());
  detail::for_each_neighbour(saved.X.rows(), p.taps.size(), o.ends,
                             [&](index c, index t, index at) {
                               gradients.taps[t] += saved.dsums(0, c) * saved.pooled(0, at);
                               saved.dpooled(0, at) += saved.dsums(0, c) * p.taps[t];
                             });
  detail::pool_rows_back(detail::view_of(saved.dpooled), pooled::mean, saved.largest,
                         detail::writable_view(saved.dX));
  return saved.dX;
}

/// Y = X ∘ gates of spatial_attention.
/// \throws shape_error  unless size fits X, and kernels has k columns and k rows for each plane.
template <class T, dense_expression X>
const auto& spatial_attention_forward(const spatial_attention_parameters<T>& p, const X& x,
                                      const map_size& size, saved_gate<T>& saved,
                                      const spatial_attention_options& o) {
  const char* where = "spatial_attention_forward";
  detail::check_map(where, x.cols(), size);
  detail::check_sizes(where, "kernels.rows()", p.kernels.rows(), "planes * kernels.cols()",
                      detail::planes_of(o.pooled) * p.kernels.cols(),
                      "there is a square kernel for each pooled plane, below each other");
  if (p.kernels.cols() % 2 == 0)
    detail::raise_argument(where, "kernels.cols()", double(p.kernels.cols()),
                           "a kernel has a middle, so its size is odd");
  saved.X = x;
  saved.size = size;
  detail::spatial_forward(p, saved, o);
  return saved.Y;
}
template <class T, dense_expression G>
const auto& spatial_attention_backward(const spatial_attention_parameters<T>& p,
                                       saved_gate<T>& saved, const G& dY,
                                       spatial_attention_parameters<T>& gradients,
                                       const spatial_attention_options& o) {
  const char* where = "spatial_attention_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::readable<G> given(dY);
  detail::spatial_backward(p, saved, given.view(), gradients, o);
  return saved.dX;
}

/// Y of cbam: spatial attention of what channel attention left.
template <class T, dense_expression X, class... Ps>
const auto& cbam_forward(const cbam_parameters<T>& p, const X& x, const map_size& size,
                         saved_cbam<T>& saved, const channel_attention_options& channel,
                         const spatial_attention_options& spatial, const Ps&... policies) {
  detail::check_map("cbam_forward", x.cols(), size);
  channel_attention_forward(p.channel, x, saved.channel, channel, policies...);
  return spatial_attention_forward(p.spatial, saved.channel.Y, size, saved.spatial, spatial);
}
template <class T, dense_expression G, class... Ps>
const auto& cbam_backward(const cbam_parameters<T>& p, saved_cbam<T>& saved, const G& dY,
                          cbam_parameters<T>& gradients, const channel_attention_options& channel,
                          const spatial_attention_options& spatial, const Ps&... policies) {
  const auto& left =
      spatial_attention_backward(p.spatial, saved.spatial, dY, gradients.spatial, spatial);
  return channel_attention_backward(p.channel, saved.channel, left, gradients.channel, channel,
                                    policies...);
}

/// Y of global_context.
/// \param policies  an executor and options.
/// \throws shape_error  unless the weights fit each other and X.
template <class T, dense_expression X, class... Ps>
const auto& global_context_forward(const global_context_parameters<T>& p, const X& x,
                                   saved_global_context<T>& saved, const global_context_options& o,
                                   const Ps&... policies) {
  const char* where = "global_context_forward";
  const auto is = [&](const char* name, index value, const char* of, index wanted) {
    detail::check_sizes(where, name, value, of, wanted, "the layers fit each other");
  };
  is("X.rows()", x.rows(), "key.size()", p.key.size());
  is("W1.rows()", p.W1.rows(), "key.size()", p.key.size());
  is("gain.size()", p.gain.size(), "W1.cols()", p.W1.cols());
  is("W2.rows()", p.W2.rows(), "W1.cols()", p.W1.cols());
  is("W2.cols()", p.W2.cols(), "key.size()", p.key.size());
  detail::check_epsilon<T>(where, o.epsilon);
  saved.X = x;
  detail::context_forward(p, saved, o, detail::layer_call_of(where, policies...));
  return saved.Y;
}
template <class T, dense_expression G, class... Ps>
const auto& global_context_backward(const global_context_parameters<T>& p,
                                    saved_global_context<T>& saved, const G& dY,
                                    global_context_parameters<T>& gradients,
                                    const global_context_options& o, const Ps&... policies) {
  const char* where = "global_context_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::readable<G> given(dY);
  detail::context_backward(p, saved, given.view(), gradients, o,
                           detail::layer_call_of(where, policies...));
  return saved.dX;
}

/// dX of gather_excite(), which has no weights: its gates are computed again.
/// \throws shape_error  unless size fits X and dY has X's shape; argument_error  unless e ≥ 1.
template <dense_expression X, dense_expression G>
[[nodiscard]] plain_matrix_like<X> gather_excite_backward(const X& x, const map_size& size,
                                                          const G& dY,
                                                          const gather_excite_options& o = {}) {
  using T = detail::scalar_of<X>;
  const char* where = "gather_excite_backward";
  detail::check_map(where, x.cols(), size);
  if (o.extent.value_or(1) < 1)
    detail::raise_argument(where, "extent", double(*o.extent), "a step is at least 1");
  detail::check_output_gradient(where, dY, x);
  const detail::row_major<T> map = x, given = dY;
  detail::row_major<T> dX(x.rows(), x.cols());
  for (index c = 0; c < map.rows() && map.cols() > 0; ++c) {
    const T* const of = map.data() + c * map.cols();
    const detail::row_major<T> gates = detail::gathered(of, size, o.extent, o.gate);
    detail::row_major<T> d = detail::row_major<T>::Zero(gates.rows(), gates.cols());
    for (index y = 0; y < size.height; ++y)
      for (index j = 0; j < size.width; ++j) {
        const index u = y * gates.rows() / size.height, v = j * gates.cols() / size.width;
        const index at = y * size.width + j;
        dX(c, at) = given(c, at) * gates(u, v);
        d(u, v) += given(c, at) * of[at];
      }
    for (index u = 0; u < d.rows(); ++u)
      for (index v = 0; v < d.cols(); ++v) {
        const index e = o.extent.value_or(0);
        const range rows =
            o.extent ? range{std::max<index>(e * u - e + 1, 0), std::min(e * u + e, size.height)}
                     : range{0, size.height};
        const range cols =
            o.extent ? range{std::max<index>(e * v - e + 1, 0), std::min(e * v + e, size.width)}
                     : range{0, size.width};
        const T share =
            d(u, v) * detail::gate_slope_of(o.gate, gates(u, v)) / T(rows.count() * cols.count());
        for (index y = rows.begin; y < rows.end; ++y)
          for (index j = cols.begin; j < cols.end; ++j) dX(c, y * size.width + j) += share;
      }
  }
  return dX;
}

/// \}

SOFTLOOK_NAMESPACE_END
