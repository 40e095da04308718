#pragma once

#include <memory>

#include "softlook/cache/detail/stored_row.hpp"
#include "softlook/engine/call/checks.hpp"
#include "softlook/engine/call/readable.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup cache
/// \{

/// Rows of keys or values in 8 bits, with a scale for each row and head:
///   x̂ = s·b,  s = max |x| / 127,  b = round(x / s),  so |x − x̂| ≤ s / 2.
/// Given as K or V they are read as float; arithmetic, softmax and output are those of float.
///
///     const int8_rows K8(K, 2), V8(V, 2);   // once
///     attention(q, K8, V8, heads{.query = 8, .kv = 2});
///
/// Error: a score moves by at most |scale|·‖q‖₁·s_j / 2, an output by at most half the largest s of
/// its values besides.
/// \see Dettmers et al., "LLM.int8()", 2022, Eq. (2) (absolute maximum, row-wise).
/// Immutable: copies share memory.
template <class T = float>
class int8_rows {
 public:
  using stored_rows_tag = void;
  using Scalar = T;
  static_assert(std::is_same_v<T, float>, "softlook: numbers of 8 bits are read as float");
  using numbers = Eigen::Matrix<std::int8_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using scales_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  /// \throws shape_error unless heads divide the columns; argument_error without heads, or for a
  ///         number that is not finite.
  template <dense_expression X>
  explicit int8_rows(const X& x, index heads = 1) {
    static_assert(std::is_same_v<detail::scalar_of<X>, float>,
                  "softlook: int8_rows are made of float");
    const detail::readable<X> in(x);
    const matrix_view<float> view = in.view();
    check(view.cols, heads);
    detail::check_finite("int8_rows", "X", view);
    auto made =
        std::make_shared<block>(numbers(view.rows, view.cols), scales_matrix(view.rows, heads));
    for (index i = 0; i < view.rows; ++i)
      detail::store_row(view, i, heads, made->values.data() + i * view.cols,
                        made->scales.data() + i * heads);
    keep(std::move(made));
  }
  /// Of numbers and scales (rows × heads) that another program made.
  /// \throws shape_error unless they fit; argument_error for a scale that is not finite.
  int8_rows(const numbers& values, const scales_matrix& scales) {
    check(values.cols(), scales.cols());
    detail::check_sizes("int8_rows", "scales.rows()", scales.rows(), "values.rows()", values.rows(),
                        "each row has a scale for each head");
    detail::check_finite("int8_rows", "scales", detail::view_of(scales));
    keep(std::make_shared<block>(values, scales));
  }

  [[nodiscard]] index rows() const { return block_->values.rows(); }
  [[nodiscard]] index cols() const { return block_->values.cols(); }
  [[nodiscard]] index heads() const { return block_->scales.cols(); }
  [[nodiscard]] const numbers& values() const { return block_->values; }
  [[nodiscard]] const scales_matrix& scales() const { return block_->scales; }

  /// What the kernels read.
  [[nodiscard]] Eigen::MatrixXf matrix() const {
    Eigen::MatrixXf X(rows(), cols());
    const index columns = cols() / heads();
    for (index i = 0; i < rows(); ++i)
      for (index c = 0; c < cols(); ++c) X(i, c) = float(values()(i, c)) * scales()(i, c / columns);
    return X;
  }

  /// For the kernels.
  [[nodiscard]] detail::row_source<float> source(instruction_set isa) const {
    detail::row_source<float> source{&detail::paged_rows_of<float, std::int8_t>(isa),
                                     &block_->table, rows(), cols()};
    source.scale_columns = block_->table.head_columns;
    return source;
  }

 private:
  struct block {
    block(numbers v, scales_matrix s) : values(std::move(v)), scales(std::move(s)) {}
    numbers values;
    scales_matrix scales;
    const void* page = nullptr;
    const float* page_scales = nullptr;
    detail::row_pages table{};
  };

  static void check(index columns, index heads) {
    if (heads < 1)
      detail::raise_argument("int8_rows", "heads", double(heads), "there is at least 1");
    detail::check_columns_of_heads("int8_rows", "X.cols()", columns, "heads", heads);
    if (heads > std::max<index>(columns, 1))
      detail::raise_sizes("int8_rows", "heads", heads, "X.cols()", columns,
                          "a head has at least one column");
  }
  void keep(std::shared_ptr<block> made) {
    made->page = made->values.data();
    made->page_scales = made->scales.data();
    made->table = {&made->page,
                   &made->page_scales,
                   62,
                   made->values.cols(),
                   made->scales.cols(),
                   std::max<index>(made->values.cols() / made->scales.cols(), 1)};
    block_ = std::move(made);
  }

  std::shared_ptr<const block> block_;
};

template <class... Xs>
int8_rows(const Xs&...) -> int8_rows<float>;

/// \}

SOFTLOOK_NAMESPACE_END
