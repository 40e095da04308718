#include "grid.hpp"

#include <algorithm>
#include <stdexcept>

namespace conformance {
namespace {

std::string shape_text(const std::vector<index>& shape) {
  std::string text;
  for (const index extent : shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text.empty() ? "a scalar" : text;
}

}  // namespace

grid grid::zeros(index batches, index heads, index rows, index cols) {
  constexpr index largest = index{1} << 26;
  index count = 1;
  for (const index extent : {batches, heads, rows, cols}) {
    if (extent > 0 && count > largest / extent) throw std::length_error("a tensor is too large");
    count *= std::max<index>(extent, 1);
  }
  const bool empty = batches == 0 || heads == 0 || rows == 0 || cols == 0;
  const auto size = static_cast<std::size_t>(empty ? 0 : count);
  return {batches, heads, rows, cols, std::vector<double>(size)};
}

void require(const case_file& c, bool condition, const std::string& what) {
  if (!condition) c.fail(1, what);
}

grid grid_of(const case_file& c, const tensor& t, layout how) {
  if (t.rank() < 2) c.fail(t.line, "a tensor of rank 2 or more is needed here");
  if (how == layout::tokens_first) {
    if (t.rank() != 4) c.fail(t.line, "a tensor (batch, length, heads, features) is needed here");
    return reordered({t.shape[0], t.shape[1], t.shape[2], t.shape[3], t.values});
  }
  grid g;
  const auto rank = t.shape.size();
  g.cols = t.shape[rank - 1];
  g.rows = t.shape[rank - 2];
  if (rank > 2) g.heads = t.shape[rank - 3];
  for (std::size_t axis = 0; axis + 3 < rank; ++axis) g.batches *= t.shape[axis];
  g.values = t.values;
  return g;
}

grid grid_of_packed(const case_file& c, const tensor& t, index heads) {
  if (t.rank() != 3) c.fail(t.line, "a tensor (batch, length, features) is needed here");
  if (heads < 1 || t.shape[2] % heads != 0)
    c.fail(t.line, "the features do not divide into " + std::to_string(heads) + " heads");
  return reordered({t.shape[0], t.shape[1], heads, t.shape[2] / heads, t.values});
}

grid aligned(const case_file& c, const tensor& t, index batches, index heads, index rows,
             index cols) {
  if (t.rank() > 4) c.fail(t.line, "a mask or bias has at most 4 dimensions");
  std::vector<index> shape(static_cast<std::size_t>(4 - t.rank()), 1);
  shape.insert(shape.end(), t.shape.begin(), t.shape.end());
  const std::vector<index> full = {batches, heads, rows, cols};
  for (std::size_t axis = 0; axis < 4; ++axis) {
    if (shape[axis] != 1 && shape[axis] != full[axis])
      c.fail(t.line,
             "a mask of " + shape_text(t.shape) + " does not fit scores of " + shape_text(full));
  }
  return {shape[0], shape[1], shape[2], shape[3], t.values};
}

grid stacked(const grid& above, const grid& below) {
  grid g = grid::zeros(above.batches, above.heads, above.rows + below.rows, above.cols);
  for_each_head(g, [&](index b, index h) {
    double* end = std::copy_n(above.slice(b, h), above.rows * above.cols, g.slice(b, h));
    std::copy_n(below.slice(b, h), below.rows * below.cols, end);
  });
  return g;
}

grid reordered(const grid& g) {
  grid out = grid::zeros(g.batches, g.rows, g.heads, g.cols);
  for_each_head(g, [&](index b, index h) {
    for (index i = 0; i < g.rows; ++i)
      std::copy_n(g.slice(b, h) + i * g.cols, g.cols, out.slice(b, i) + h * g.cols);
  });
  return out;
}

}  // namespace conformance
