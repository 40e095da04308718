#pragma once

#include "softlook/gradient/detail/pixel_attention.hpp"
#include "softlook/gradient/linear.hpp"
#include "softlook/gradient/multi_head.hpp"
#include "softlook/vision/non_local.hpp"
#include "softlook/vision/tokens.hpp"

// Attention in feature maps, channels × (height·width), in training.

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What non_local_forward() keeps: X and Y, queries, keys, values and outputs of the pixels, a
/// number for each pixel; for the way back as much again. Nothing is pixels × pixels.
template <class T>
struct saved_non_local {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix X{}, Y{};
  detail::kept_rows<T> pixels{};
  matrix added{};  ///< pixels × channels, what gain multiplies
  matrix dX{};     ///< written by non_local_backward()
  matrix dadded{};

  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return bytes_of(X) + bytes_of(Y) + bytes_of(added) + bytes_of(dX) + bytes_of(dadded) +
           pixels.bytes();
  }
};

namespace detail {

/// What the pixels become: as they are where no matrix says otherwise.
template <class T, class W, class B>
void embed_pixels(matrix_products<T>& products, const matrix_view<T>& pixels, const W& weights,
                  const B& bias, row_major<T>& to) {
  if (weights.size() == 0) {
    to = map_of(pixels);
    return;
  }
  shape_as(to, pixels.rows, weights.cols());
  products.multiply(pixels, view_of(weights), writable_view(to), view_of(bias));
}
template <class T, class W, class B>
void embed_pixels_back(matrix_products<T>& products, const matrix_view<T>& pixels, const W& weights,
                       const row_major<T>& d, W& dweights, B& dbias,
                       const mutable_matrix_view<T>& dpixels) {
  if (weights.size() == 0) return add_rows_to(view_of(d), dpixels);
  products.add(pixels.transpose(), view_of(d), writable_view(dweights));
  products.add_column_sums(view_of(d), writable_view(dbias));
  products.add(view_of(d), view_of(weights).transpose(), dpixels);
}

}  // namespace detail

/// Y of non_local_block, kept as saved.Y.
/// \see Wang et al., "Non-local Neural Networks", 2018, Eq. (3) and (6).
/// \param policies  a mask, transforms, an executor, options.
/// \throws shape_error, argument_error  unless weights, X and policies fit; nothing has been
///         written then.
template <class T, dense_expression X, class... Ps>
const auto& non_local_forward(const non_local_parameters<T>& p, const X& x,
                              saved_non_local<T>& saved, const Ps&... policies) {
  static_assert(detail::check_row_policies<T, Ps...>());
  const char* where = "non_local_forward";
  const index channels = detail::check_non_local(where, p);
  if (channels > 0)
    detail::check_sizes(where, "X.rows()", x.rows(), "channels", channels,
                        "a feature map has a row for each channel");
  const auto columns = [&](const auto& W) { return W.size() > 0 ? W.cols() : x.rows(); };
  detail::check_rows<T>(where, x.cols(), x.cols(), columns(p.Wq), columns(p.Wv), policies...);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  saved.X = x;
  detail::kept_rows<T>& kept = saved.pixels;
  const auto pixels = detail::view_of(saved.X).transpose();
  detail::embed_pixels(products, pixels, p.Wq, p.bq, kept.Q);
  detail::embed_pixels(products, pixels, p.Wk, p.bk, kept.K);
  detail::embed_pixels(products, pixels, p.Wv, p.bv, kept.V);
  detail::attend_kept(where, kept, policies...);
  detail::embed_pixels(products, detail::view_of(kept.O), p.Wo, p.bo, saved.added);
  detail::shape_as(saved.Y, x.rows(), x.cols());
  for (index c = 0; c < saved.Y.rows(); ++c)
    for (index j = 0; j < saved.Y.cols(); ++j)
      saved.Y(c, j) = saved.X(c, j) + p.gain * saved.added(j, c);
  return saved.Y;
}

/// saved.dX; adds to the gradients of the weights and of the gain.
/// \throws shape_error  unless dY has the output's shape and gradients that of the weights.
template <class T, dense_expression G, class... Ps>
const auto& non_local_backward(const non_local_parameters<T>& p, saved_non_local<T>& saved,
                               const G& dY, non_local_parameters<T>& gradients,
                               const Ps&... policies) {
  static_assert(detail::check_row_policies<T, Ps...>());
  const char* where = "non_local_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  detail::kept_rows<T>& kept = saved.pixels;
  saved.dX = dY;
  detail::shape_as(saved.dadded, saved.added.rows(), saved.added.cols());
  for (index j = 0; j < saved.dadded.rows(); ++j)
    for (index c = 0; c < saved.dadded.cols(); ++c) {
      gradients.gain += saved.dX(c, j) * saved.added(j, c);
      saved.dadded(j, c) = p.gain * saved.dX(c, j);
    }
  kept.dO.setZero(kept.O.rows(), kept.O.cols());
  detail::embed_pixels_back(products, detail::view_of(kept.O), p.Wo, saved.dadded, gradients.Wo,
                            gradients.bo, detail::writable_view(kept.dO));
  detail::attend_kept_back(kept, policies...);
  const auto pixels = detail::view_of(saved.X).transpose();
  const auto dpixels = detail::writable_view(saved.dX).transpose();
  const auto back = [&](const auto& W, const auto& d, auto& dW, auto& db) {
    detail::embed_pixels_back(products, pixels, W, d, dW, db, dpixels);
  };
  back(p.Wq, kept.to.dQ, gradients.Wq, gradients.bq);
  back(p.Wk, kept.to.dK, gradients.Wk, gradients.bk);
  back(p.Wv, kept.to.dV, gradients.Wv, gradients.bv);
  return saved.dX;
}

/// The weights of dual_attention: those of its block without Wo, and the paper's β.
template <class T>
struct dual_attention_parameters {
  non_local_parameters<T> position{};
  T channel_gain = 0;

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("position", p.position...);
    const auto number = [&](const char* name, auto... m) { f(name, m...); };
    number("channel_gain", detail::as_matrix(p.channel_gain)...);
  }
};

/// What dual_attention_forward() keeps: that of its block, and of the channels X twice and Y.
template <class T>
struct saved_dual_attention {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  saved_non_local<T> position{};
  detail::kept_rows<T> channels{};
  matrix Y{};
  matrix dX{};  ///< written by dual_attention_backward()
  matrix dY{};  ///< as it was given

  [[nodiscard]] std::size_t bytes() const {
    return position.bytes() + channels.bytes() + 3 * detail::bytes_of(Y);
  }
};

namespace detail {

/// softmax(X·Xᵀ) X, kept.
template <class T, class... Ps>
void attend_channels(const char* where, const row_major<T>& X, kept_rows<T>& kept,
                     const Ps&... policies) {
  kept.Q = kept.K = kept.V = X;
  attend_kept(where, kept, policies...);
}
/// dX += what gain·softmax(X·Xᵀ) X gives. Returns the gradient of the gain.
template <class T, class... Ps>
[[nodiscard]] T attend_channels_back(T gain, const row_major<T>& dY, kept_rows<T>& kept,
                                     row_major<T>& dX, const Ps&... policies) {
  T dgain = 0;
  kept.dO = gain * dY;
  for (index c = 0; c < dY.rows(); ++c)
    for (index j = 0; j < dY.cols(); ++j) dgain += dY(c, j) * kept.O(c, j);
  attend_kept_back(kept, policies...);
  dX += kept.to.dQ + kept.to.dK + kept.to.dV;
  return dgain;
}

}  // namespace detail

/// Y of dual_attention, kept as saved.Y.
/// \see Fu et al., "Dual Attention Network for Scene Segmentation", 2019, section 3.4.
/// \param policies  an executor and options.
/// \throws shape_error, argument_error  unless weights and X fit; nothing has been written then.
template <class T, dense_expression X, class... Ps>
const auto& dual_attention_forward(const dual_attention_parameters<T>& p, const X& x,
                                   saved_dual_attention<T>& saved, const Ps&... policies) {
  static_assert(detail::check_layer_policies<T, Ps...>());
  const char* where = "dual_attention_forward";
  detail::check_factor<T>(where, "channel_gain", p.channel_gain);
  non_local_forward(p.position, x, saved.position, policies...);
  detail::attend_channels(where, saved.position.X, saved.channels, policies...);
  saved.Y = saved.position.Y + saved.position.X + p.channel_gain * saved.channels.O;
  return saved.Y;
}
template <class T, dense_expression G, class... Ps>
const auto& dual_attention_backward(const dual_attention_parameters<T>& p,
                                    saved_dual_attention<T>& saved, const G& dY,
                                    dual_attention_parameters<T>& gradients,
                                    const Ps&... policies) {
  static_assert(detail::check_layer_policies<T, Ps...>());
  const char* where = "dual_attention_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  saved.dY = dY;
  saved.dX = saved.dY + non_local_backward(p.position, saved.position, saved.dY, gradients.position,
                                           policies...);
  gradients.channel_gain +=
      detail::attend_channels_back(p.channel_gain, saved.dY, saved.channels, saved.dX, policies...);
  return saved.dX;
}

/// What channel_self_attention_backward() returns.
template <class Matrix>
struct channel_self_attention_gradients {
  Matrix dX;
  typename Matrix::Scalar dgain = 0;
};

/// The way back through channel_self_attention(), given dY, with weights computed again.
/// \param policies  a mask, transforms, an executor, options.
/// \throws shape_error  unless dY has X's shape; argument_error  unless the gain is finite.
template <dense_expression X, dense_expression G, class... Ps>
[[nodiscard]] auto channel_self_attention_backward(const X& x, detail::scalar_of<X> gain,
                                                   const G& dY, const Ps&... policies) {
  using T = detail::scalar_of<X>;
  const char* where = "channel_self_attention_backward";
  channel_self_attention_gradients<plain_matrix_like<X>> g;
  if constexpr (detail::check_scalars<X, G>() && detail::check_row_policies<T, Ps...>()) {
    detail::check_factor<T>(where, "gain", gain);
    detail::check_output_gradient(where, dY, x);
    detail::kept_rows<T> kept;
    detail::row_major<T> dX = dY;
    const detail::row_major<T> given = dX;
    detail::attend_channels(where, detail::row_major<T>(x), kept, policies...);
    g.dgain = detail::attend_channels_back(gain, given, kept, dX, policies...);
    g.dX = dX;
  }
  return g;
}

/// What attention_pool_backward() returns.
template <class MatrixX, class MatrixQ>
struct attention_pool_gradients {
  MatrixX dX;
  MatrixQ dqueries;
};

/// The way back through attention_pool(), given dO, k × channels, with weights computed again.
/// \param policies  those of the call: a mask, transforms, an executor, options.
/// \throws shape_error  unless a query has an entry for each channel and dO has the queries' shape.
template <dense_expression X, dense_expression Q, dense_expression G, class... Ps>
[[nodiscard]] auto attention_pool_backward(const X& x, const Q& queries, const G& dO,
                                           const Ps&... policies) {
  using T = detail::scalar_of<X>;
  const char* where = "attention_pool_backward";
  attention_pool_gradients<plain_matrix_like<X>, plain_matrix_like<Q>> g;
  if constexpr (detail::check_scalars<X, Q, G>() && detail::check_row_policies<T, Ps...>()) {
    detail::check_sizes(where, "queries.cols()", queries.cols(), "X.rows()", x.rows(),
                        "a query has an entry for each channel");
    detail::check_sizes(where, "dO.rows()", dO.rows(), "queries.rows()", queries.rows(),
                        "a gradient for each query");
    detail::check_sizes(where, "dO.cols()", dO.cols(), "X.rows()", x.rows(),
                        "a gradient for each channel");
    detail::kept_rows<T> kept;
    kept.Q = queries;
    kept.K = kept.V = x.transpose();
    kept.dO = dO;
    detail::attend_kept(where, kept, policies...);
    detail::attend_kept_back(kept, policies...);
    g.dX = (kept.to.dK + kept.to.dV).transpose();
    g.dqueries = kept.to.dQ;
  }
  return g;
}

/// The weights of attention_pooling; empty positions are none.
template <class T>
struct attention_pooling_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  multi_head_parameters<T> attend{};
  matrix positions{};  ///< (1 + pixels) × channels, the mean's first

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("attend", p.attend...);
    f("positions", p.positions...);
  }
};

/// What attention_pooling_forward() keeps: the tokens, and what a multi-head attention of one query
/// keeps; X's size again for the way back.
template <class T>
struct saved_attention_pooling {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix tokens{};  ///< (1 + pixels) × channels
  saved_multi_head<T> attend{};
  matrix dtokens{};
  matrix dX{};  ///< written by attention_pooling_backward()

  [[nodiscard]] std::size_t bytes() const {
    using detail::bytes_of;
    return bytes_of(tokens) + bytes_of(dtokens) + bytes_of(dX) + attend.bytes();
  }
};

/// The output of attention_pooling, 1 × outputs.
/// \see Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
///      2021, section 2.4.
/// \param policies  an executor and options.
/// \throws shape_error, argument_error  as attention_pooling.
template <class T, dense_expression X, class... Ps>
const auto& attention_pooling_forward(const attention_pooling_parameters<T>& p, const heads& h,
                                      const X& x, saved_attention_pooling<T>& saved,
                                      const Ps&... policies) {
  static_assert(detail::check_layer_policies<T, Ps...>());
  const char* where = "attention_pooling_forward";
  if (x.cols() == 0) detail::raise_argument(where, "X.cols()", 0, "no pixels have no mean");
  detail::check_sizes(where, "X.rows()", x.rows(), "attend.Wq.rows()", p.attend.Wq.rows(),
                      "a feature map has a row for each channel");
  if (p.positions.size() > 0) {
    detail::check_sizes(where, "positions.rows()", p.positions.rows(), "X.cols() + 1", x.cols() + 1,
                        "the mean and each pixel have a position");
    detail::check_sizes(where, "positions.cols()", p.positions.cols(), "X.rows()", x.rows(),
                        "a position is added to a token");
  }
  detail::shape_as(saved.tokens, x.cols() + 1, x.rows());
  saved.tokens.bottomRows(x.cols()) = x.transpose();
  for (index c = 0; c < x.rows(); ++c) {
    double sum = 0;
    for (index j = 1; j <= x.cols(); ++j) sum += double(saved.tokens(j, c));
    saved.tokens(0, c) = T(sum / double(x.cols()));
  }
  if (p.positions.size() > 0) saved.tokens += p.positions;
  return multi_head_forward(p.attend, h, saved.tokens.topRows(1), saved.tokens, saved.tokens,
                            saved.attend, policies...);
}
template <class T, dense_expression G, class... Ps>
const auto& attention_pooling_backward(const attention_pooling_parameters<T>& p, const heads& h,
                                       saved_attention_pooling<T>& saved, const G& dY,
                                       attention_pooling_parameters<T>& gradients,
                                       const Ps&... policies) {
  static_assert(detail::check_layer_policies<T, Ps...>());
  detail::check_gradients("attention_pooling_backward", p, gradients);
  multi_head_backward(p.attend, h, saved.attend, dY, gradients.attend, policies...);
  saved.dtokens = saved.attend.dK + saved.attend.dV;
  saved.dtokens.row(0) += saved.attend.dQ;
  if (p.positions.size() > 0) gradients.positions += saved.dtokens;
  const index pixels = saved.dtokens.rows() - 1;
  saved.dX = saved.dtokens.bottomRows(pixels).transpose();
  saved.dX.colwise() += (saved.dtokens.row(0) / T(pixels)).transpose();
  return saved.dX;
}

/// \}

SOFTLOOK_NAMESPACE_END
