#pragma once

#include <algorithm>
#include <string>

#include "softlook/attention/attention.hpp"
#include "softlook/layer/linear_layer.hpp"
#include "softlook/layer/multi_head.hpp"
#include "softlook/vision/detail/passes.hpp"
#include "softlook/vision/feature_map.hpp"

// Between pictures and tokens: patches as rows, and pixels pooled to a few rows. X is channels ×
// (height·width).

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup vision_tokens Patches and attention pooling
/// A picture as tokens, as in a vision transformer; the pixels of a map pooled by attention.
/// \cases tests/unit/vision/vision_test.cpp
/// \program examples/vision/main.cpp
/// \{

/// Pixels pooled by what each query looks for:  O = softmax(queries·X)·Xᵀ, not scaled.
///
/// \see Ilse, Tomczak, Welling, "Attention-based Deep Multiple Instance Learning", 2018, Eq. (7),
///      with a linear score; Cao et al., "GCNet", 2019, section 3.3, is one query.
/// queries: k × channels, learned; X: channels × pixels -> O: k × channels. Without pixels O is 0.
/// \param policies  those of attention() but a score; a mask says which pixels count.
/// \throws shape_error  unless a query has an entry for each channel.
/// Cost: attention() with k queries.
template <dense_expression X, dense_expression Q, class... Ps>
[[nodiscard]] auto attention_pool(const X& x, const Q& queries, const Ps&... policies) {
  if constexpr (detail::check_scalars<X, Q>()) {
    detail::check_sizes("attention_pool", "queries.cols()", queries.cols(), "X.rows()", x.rows(),
                        "a query has an entry for each channel");
    const detail::readable<X> in(x);
    const auto pixels = detail::map_of(in.view().transpose());
    return attention(queries, pixels, pixels, scores::dot{}, policies...);
  }
}

/// Attention pooling as CLIP's picture encoder ends: the mean of all pixels asks, and it and the
/// pixels answer,
///   T = [mean of X; Xᵀ] + positions,   o = multi_head(q = T_0, K = V = T).
///
/// \see Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
///      2021, section 2.4.
/// X: channels × pixels -> 1 × outputs.
template <class T>
class attention_pooling {
 public:
  using scalar = T;
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

  /// `positions` is (1 + pixels) × channels, the mean's position first, or empty.
  /// \throws shape_error  as multi_head, and unless positions has a column for each channel.
  attention_pooling(const multi_head_parameters<T>& p, const heads& h, const matrix& positions = {})
      : attend_(p, h), positions_(positions) {
    if (positions_.size() > 0)
      detail::check_sizes("attention_pooling", "positions.cols()", positions_.cols(), "channels()",
                          channels(), "a position is added to a token");
  }

  [[nodiscard]] index channels() const { return attend_.features(); }
  [[nodiscard]] index outputs() const { return attend_.outputs(); }

  /// \param policies  an executor, options.
  /// \throws shape_error     unless X has channels() rows and, where there are positions, as many
  ///                         columns as they are for;
  ///         argument_error  if X has no pixel.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const Ps&... policies) const {
    const char* where = "attention_pooling";
    if constexpr (detail::check_layer_scalars<T, X>() && detail::check_layer_policies<T, Ps...>()) {
      const detail::readable<X> in(x);
      detail::check_sizes(where, "X.rows()", x.rows(), "channels()", channels(),
                          "a feature map has a row for each channel");
      if (x.cols() == 0) detail::raise_argument(where, "X.cols()", 0, "no pixels have no mean");
      if (positions_.size() > 0)
        detail::check_sizes(where, "X.cols() + 1", x.cols() + 1, "positions.rows()",
                            positions_.rows(), "the mean and each pixel have a position");
      const detail::layer_call call = detail::layer_call_of(where, policies...);
      detail::row_major<T> tokens(x.cols() + 1, x.rows());
      tokens.row(0) = detail::pool_channels(call.exec, in.view(), pooled::mean);
      tokens.bottomRows(x.cols()) = detail::map_of(in.view().transpose());
      if (positions_.size() > 0) tokens += positions_;
      return attend_(tokens.topRows(1), tokens, tokens, policies...);
    }
  }

 private:
  multi_head<T> attend_;
  matrix positions_;
};

namespace detail {

inline index count_patches(const char* where, index columns, const map_size& size,
                           const map_size& patch) {
  if (patch.height < 1 || patch.width < 1)
    raise_argument(where, patch.height < 1 ? "patch.height" : "patch.width",
                   double(std::min(patch.height, patch.width)), "a patch has pixels");
  check_map(where, columns, size);
  if (size.height % patch.height != 0 || size.width % patch.width != 0)
    raise<shape_error>(std::string(where) + ": a picture of " + std::to_string(size.height) + "x" +
                       std::to_string(size.width) + " cannot be cut into patches of " +
                       std::to_string(patch.height) + "x" + std::to_string(patch.width) +
                       " (both sizes are multiples; crop or pad the picture)");
  return size.height / patch.height * (size.width / patch.width);
}

/// Row i of P: the numbers of patch i, channel by channel, line by line.
template <class T>
void copy_patches(const executor_ref& exec, const matrix_view<T>& X, const map_size& size,
                  const map_size& patch, row_major<T>& P) {
  const index across = size.width / patch.width;
  run_blocks(exec, P.rows(), P.cols(), [&](index first, index last) {
    for (index i = first; i < last; ++i) {
      const index top = i / across * patch.height, left = i % across * patch.width;
      T* to = P.row(i).data();
      for (index c = 0; c < X.rows; ++c)
        for (index y = 0; y < patch.height; ++y)
          for (index p = 0; p < patch.width; ++p) *to++ = X(c, (top + y) * size.width + left + p);
    }
  });
}

}  // namespace detail

/// The patches of a picture as rows, from left to right and from top to bottom, each channel by
/// channel and line by line: the order of a convolution's weights.
///
/// \see Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1.
/// X: channels × (height·width) -> patches × (channels·patch.height·patch.width), row-major.
/// \param policies  an executor, options.
/// \throws shape_error  unless X is of that size and both its sides are multiples of the patch's.
template <dense_expression X, class... Ps>
[[nodiscard]] auto patches_of(const X& x, const map_size& size, const map_size& patch,
                              const Ps&... policies) {
  using T = detail::scalar_of<X>;
  if constexpr (detail::check_scalars<X>() && detail::check_layer_policies<T, Ps...>()) {
    const detail::readable<X> in(x);
    const index count = detail::count_patches("patches_of", x.cols(), size, patch);
    const detail::layer_call call = detail::layer_call_of("patches_of", policies...);
    detail::row_major<T> P(count, x.rows() * patch.pixels());
    detail::copy_patches(call.exec, in.view(), size, patch, P);
    return P;
  }
}

/// The weights of patch_embedding. Of a convolution (out, channels, patch.height, patch.width) with
/// the patch as its stride, W is the transpose of out × (channels·patch.height·patch.width).
template <class T>
struct patch_embedding_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix W{};          ///< (channels·patch pixels) × features
  row b{};             ///< empty: none
  row class_token{};   ///< one more token, in front; empty: none
  matrix positions{};  ///< a row for each token; empty: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("W", p.W...);
    f("b", p.b...);
    f("class_token", p.class_token...);
    f("positions", p.positions...);
  }
};

namespace detail {

template <class T>
void check_patch_weights(const char* where, const patch_embedding_parameters<T>& p,
                         const map_size& patch) {
  if (patch.height < 1 || patch.width < 1)
    raise_argument(where, patch.height < 1 ? "patch.height" : "patch.width",
                   double(std::min(patch.height, patch.width)), "a patch has pixels");
  check_sizes(where, "W.rows() % patch pixels", p.W.rows() % patch.pixels(), "0", 0,
              "W has a row for each number of a patch, channel by channel");
  if (p.b.size() > 0)
    check_sizes(where, "b.size()", p.b.size(), "W.cols()", p.W.cols(),
                "it has an entry for each column, or none");
  if (p.class_token.size() > 0)
    check_sizes(where, "class_token.size()", p.class_token.size(), "W.cols()", p.W.cols(),
                "tokens share one feature size");
  if (p.positions.size() > 0)
    check_sizes(where, "positions.cols()", p.positions.cols(), "W.cols()", p.W.cols(),
                "a position is added to a token");
}

}  // namespace detail

/// A picture as the tokens of a vision transformer:
///   Z = [class token; patches·W + b] + positions.
///
/// \see Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at
///      Scale", 2021, Eq. (1).
/// X: channels × (height·width) -> Z: tokens × features, row-major, patches from left to right and
/// from top to bottom. Cost: one copy of X, and the product of a projection.
template <class T>
class patch_embedding {
 public:
  using scalar = T;

  /// \throws shape_error  unless the parameters share one feature size and W's rows are whole
  ///                      patches; argument_error  unless a patch has pixels.
  patch_embedding(const patch_embedding_parameters<T>& p, const map_size& patch)
      : project_(p.W, p.b), class_token_(p.class_token), positions_(p.positions), patch_(patch) {
    detail::check_patch_weights("patch_embedding", p, patch);
  }

  [[nodiscard]] index channels() const { return project_.inputs() / patch_.pixels(); }
  [[nodiscard]] index features() const { return project_.outputs(); }
  [[nodiscard]] map_size patch() const { return patch_; }

  /// \param policies  an executor, options.
  /// \throws shape_error  as patches_of(), unless X has channels() rows, and unless there are as
  ///                      many positions as tokens.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const map_size& size, const Ps&... policies) const {
    const char* where = "patch_embedding";
    if constexpr (detail::check_layer_scalars<T, X>() && detail::check_layer_policies<T, Ps...>()) {
      const index count = detail::count_patches(where, x.cols(), size, patch_);
      const index extra = class_token_.size() > 0 ? 1 : 0;
      detail::check_sizes(where, "X.rows()", x.rows(), "channels()", channels(),
                          "a picture has a row for each channel");
      if (positions_.size() > 0)
        detail::check_sizes(where, "tokens", count + extra, "positions.rows()", positions_.rows(),
                            "each token has a position");
      const auto P = patches_of(x, size, patch_, policies...);
      detail::row_major<T> Z(count + extra, features());
      if (extra > 0) Z.row(0) = class_token_;
      project_.into(P, Z.bottomRows(count), policies...);
      if (positions_.size() > 0) Z += positions_;
      return Z;
    }
  }

 private:
  linear_layer<T> project_;
  Eigen::Matrix<T, 1, Eigen::Dynamic> class_token_;
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> positions_;
  map_size patch_;
};

/// \}

SOFTLOOK_NAMESPACE_END
