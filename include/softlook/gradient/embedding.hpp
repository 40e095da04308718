#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "softlook/gradient/linear.hpp"
#include "softlook/vision/tokens.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// The weights of an embedding: a row for each token, and a learned one for each position.
template <class T>
struct token_embedding_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix tokens{};     ///< tokens × features
  matrix positions{};  ///< positions × features; empty: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("tokens", p.tokens...);
    f("positions", p.positions...);
  }
};

/// What token_embedding_forward() keeps: features·n numbers, and which rows they are.
template <class T>
struct saved_token_embedding {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  std::vector<std::int32_t> ids{};
  matrix Y{};  ///< n×features

  [[nodiscard]] std::size_t bytes() const {
    return detail::bytes_of(Y) + ids.size() * sizeof(std::int32_t);
  }
};

namespace detail {

/// Each id is that of a row of an embedding.
template <class Id>
void check_ids(const char* where, std::span<const Id> ids, index tokens) {
  for (const Id id : ids)
    if (id < 0 || id >= tokens)
      raise_argument(where, "an id", double(id),
                     "it lies below tokens.rows(), " + std::to_string(tokens));
}

/// Row i of D is added to row ids[i] of `to`, in the order of i.
template <class T, class Id, class Matrix>
void add_to_rows(std::span<const Id> ids, const matrix_view<T>& D, Matrix& to) {
  for (index i = 0; i < D.rows; ++i) {
    T* const row = to.row(ids[std::size_t(i)]).data();
    for (index c = 0; c < D.cols; ++c) row[c] += D(i, c);
  }
}

}  // namespace detail

/// Row i of Y = row ids[i] of the tokens, plus row i of the positions -> saved.Y.
/// \throws argument_error  for an id that is no token;
///         shape_error     for more ids than positions, or of other features than the tokens.
template <class T>
const auto& token_embedding_forward(const token_embedding_parameters<T>& p,
                                    std::span<const std::int32_t> ids,
                                    saved_token_embedding<T>& saved) {
  const char* where = "token_embedding_forward";
  const index n = index(ids.size());
  detail::check_ids(where, ids, p.tokens.rows());
  if (p.positions.size() > 0) {
    detail::check_sizes(where, "positions.cols()", p.positions.cols(), "tokens.cols()",
                        p.tokens.cols(), "a position is added to a token");
    if (n > p.positions.rows())
      detail::raise_sizes(where, "ids.size()", n, "positions.rows()", p.positions.rows(),
                          "each token has a position");
  }
  saved.ids.assign(ids.begin(), ids.end());
  detail::shape_as(saved.Y, n, p.tokens.cols());
  for (index i = 0; i < n; ++i) {
    saved.Y.row(i) = p.tokens.row(ids[std::size_t(i)]);
    if (p.positions.size() > 0) saved.Y.row(i) += p.positions.row(i);
  }
  return saved.Y;
}

/// Row i of dY is added to the rows of gradients that made row i of Y, in the order of i.
/// \throws shape_error  unless dY has the output's shape and gradients that of the weights.
template <class T, dense_expression G>
void token_embedding_backward(const token_embedding_parameters<T>& p,
                              const saved_token_embedding<T>& saved, const G& dY,
                              token_embedding_parameters<T>& gradients) {
  const char* where = "token_embedding_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::readable<G> given(dY);
  const auto d = given.view();
  detail::add_to_rows(std::span<const std::int32_t>(saved.ids), d, gradients.tokens);
  for (index i = 0; p.positions.size() > 0 && i < d.rows; ++i) {
    T* const at = gradients.positions.row(i).data();
    for (index c = 0; c < d.cols; ++c) at[c] += d(i, c);
  }
}

/// What patch_embedding_forward() keeps: the patches, as many numbers as the picture has, and
/// features·tokens; for the way back as much again.
template <class T>
struct saved_patch_embedding {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  map_size size{}, patch{};
  matrix patches{};  ///< a row for each
  matrix Y{};        ///< tokens × features
  matrix dY{};       ///< as it was given
  matrix dpatches{};
  matrix dX{};  ///< channels × pixels, written by patch_embedding_backward()

  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = 0;
    for (const matrix* m : {&patches, &Y, &dY, &dpatches, &dX}) all += detail::bytes_of(*m);
    return all;
  }
};

namespace detail {

/// The other way of copy_patches(): every number of X is in one patch.
template <class T>
void scatter_patches(const executor_ref& exec, const row_major<T>& P, const map_size& size,
                     const map_size& patch, const mutable_matrix_view<T>& X) {
  const index across = size.width / patch.width;
  run_tasks(exec, P.rows(), [&](index i, index) {
    const index top = i / across * patch.height, left = i % across * patch.width;
    const T* from = P.data() + i * P.cols();
    for (index c = 0; c < X.rows; ++c)
      for (index y = 0; y < patch.height; ++y)
        for (index x = 0; x < patch.width; ++x) X(c, (top + y) * size.width + left + x) = *from++;
  });
}

}  // namespace detail

/// The tokens of a picture, X: channels × (height·width) -> saved.Y: tokens × features.
/// \see patch_embedding, which computes the same
/// \param policies  an executor and options.
/// \throws shape_error, argument_error  as patch_embedding.
template <class T, dense_expression X, class... Ps>
const auto& patch_embedding_forward(const patch_embedding_parameters<T>& p, const X& x,
                                    const map_size& size, const map_size& patch,
                                    saved_patch_embedding<T>& saved, const Ps&... policies) {
  const char* where = "patch_embedding_forward";
  detail::check_patch_weights(where, p, patch);
  const index count = detail::count_patches(where, x.cols(), size, patch);
  const index extra = p.class_token.size() > 0 ? 1 : 0;
  detail::check_sizes(where, "X.rows()", x.rows(), "channels", p.W.rows() / patch.pixels(),
                      "a picture has a row for each channel");
  if (p.positions.size() > 0)
    detail::check_sizes(where, "tokens", count + extra, "positions.rows()", p.positions.rows(),
                        "each token has a position");
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  const detail::readable<X> in(x);
  saved.size = size;
  saved.patch = patch;
  detail::shape_as(saved.patches, count, p.W.rows());
  detail::copy_patches(call.exec, in.view(), size, patch, saved.patches);
  detail::shape_as(saved.Y, count + extra, p.W.cols());
  products.multiply(detail::view_of(saved.patches), detail::view_of(p.W),
                    detail::writable_view(saved.Y).rows_from(extra, count), detail::view_of(p.b));
  if (extra > 0) saved.Y.row(0) = p.class_token;
  if (p.positions.size() > 0) saved.Y += p.positions;
  return saved.Y;
}

/// dX, the gradient of the picture, and gradients of all weights.
/// \throws shape_error  unless dY has the output's shape and gradients that of the weights.
template <class T, dense_expression G, class... Ps>
const auto& patch_embedding_backward(const patch_embedding_parameters<T>& p,
                                     saved_patch_embedding<T>& saved, const G& dY,
                                     patch_embedding_parameters<T>& gradients,
                                     const Ps&... policies) {
  const char* where = "patch_embedding_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  const index count = saved.patches.rows(), extra = saved.Y.rows() - count;
  saved.dY = dY;
  if (p.positions.size() > 0) gradients.positions += saved.dY;
  if (extra > 0) gradients.class_token += saved.dY.row(0);
  const auto d = detail::as_input(detail::writable_view(saved.dY).rows_from(extra, count));
  products.add(detail::view_of(saved.patches).transpose(), d, detail::writable_view(gradients.W));
  products.add_column_sums(d, detail::writable_view(gradients.b));
  detail::shape_as(saved.dpatches, count, p.W.rows());
  products.multiply(d, detail::view_of(p.W).transpose(), detail::writable_view(saved.dpatches));
  detail::shape_as(saved.dX, p.W.rows() / saved.patch.pixels(), saved.size.pixels());
  detail::scatter_patches(call.exec, saved.dpatches, saved.size, saved.patch,
                          detail::writable_view(saved.dX));
  return saved.dX;
}

/// \}

SOFTLOOK_NAMESPACE_END
