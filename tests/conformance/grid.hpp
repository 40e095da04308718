#pragma once

#include <string>
#include <vector>

#include "case_file.hpp"

namespace conformance {

template <class T>
using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
using bool_matrix = matrix<bool>;

/// Four-dimensional values (batch, head, row, column): what every framework's layout becomes.
/// A batch, head or row extent of 1 stands for all of them where the other operand has more.
struct grid {
  index batches = 1;
  index heads = 1;
  index rows = 0;
  index cols = 0;
  std::vector<double> values;

  /// \throws std::length_error  beyond what any case needs: a wrong or hostile file.
  static grid zeros(index batches, index heads, index rows, index cols);

  double* slice(index b, index h) { return values.data() + offset(b, h); }
  const double* slice(index b, index h) const { return values.data() + offset(b, h); }
  index offset(index b, index h) const {
    return ((batches == 1 ? 0 : b) * heads + (heads == 1 ? 0 : h)) * rows * cols;
  }

  template <class T>
  matrix<T> head(index b, index h) const {
    return Eigen::Map<const matrix<double>>(slice(b, h), rows, cols).template cast<T>();
  }
  template <class T>
  void set_head(index b, index h, const matrix<T>& X) {
    Eigen::Map<matrix<double>>(slice(b, h), rows, cols) = X.template cast<double>();
  }
  template <class T>
  void add_head(index b, index h, const matrix<T>& X) {
    Eigen::Map<matrix<double>>(slice(b, h), rows, cols) += X.template cast<double>();
  }
  /// The heads of one batch side by side, as multi-head attention packs them: rows × (heads·cols).
  template <class T>
  matrix<T> packed(index b) const {
    matrix<T> X(rows, heads * cols);
    for (index h = 0; h < heads; ++h) X.middleCols(h * cols, cols) = head<T>(b, h);
    return X;
  }
  template <class T>
  void set_packed(index b, const matrix<T>& X) {
    for (index h = 0; h < heads; ++h) set_head<T>(b, h, matrix<T>(X.middleCols(h * cols, cols)));
  }
};

/// f(batch, head) for each.
template <class F>
void for_each_head(const grid& g, const F& f) {
  for (index b = 0; b < g.batches; ++b)
    for (index h = 0; h < g.heads; ++h) f(b, h);
}

enum class layout { heads_first, tokens_first };  // (B, H, L, D) and (B, L, H, D)

/// The tensor as a grid. Leading dimensions are folded into the batch; fewer than four are filled
/// up with ones in front. \throws case_error below rank 2 (heads_first) or unless rank 4.
grid grid_of(const case_file& c, const tensor& t, layout how = layout::heads_first);

/// (B, L, heads·D) with the heads side by side.
grid grid_of_packed(const case_file& c, const tensor& t, index heads);

/// (B, L, D) with one head.
inline grid grid_of_batch(const case_file& c, const tensor& t) { return grid_of_packed(c, t, 1); }

/// A mask or bias, aligned at the right: each dimension is 1 or that of the scores. \throws
/// case_error
grid aligned(const case_file& c, const tensor& t, index batches, index heads, index rows,
             index cols);

/// \throws case_error  with the file, unless the condition holds.
void require(const case_file& c, bool condition, const std::string& what);

/// Keys appended below those there are, in every head.
grid stacked(const grid& above, const grid& below);

/// (B, H, L, D) -> (B, L, H, D): values and extents change places together.
grid reordered(const grid& g);

}  // namespace conformance
