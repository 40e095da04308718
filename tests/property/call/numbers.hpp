// Matrices of a random call: their numbers and where they lie in memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "softlook/core/error.hpp"
#include "softlook/core/types.hpp"
#include "tests/support/choices.hpp"

namespace softlook_test::call_case {

using softlook::index;
using softlook::problem;

inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// The call that runs, to be told with a finding.
inline std::string& running() {
  static std::string it = "no call";
  return it;
}

/// \throws finding  unless it is true.
inline void require(bool truth, const char* what) {
  if (!truth) throw finding(std::string(what) + " (" + running() + ")");
}

/// What f throws, of the two errors that misuse may throw; others are findings.
template <class F>
bool refused(const F& f) {
  try {
    f();
  } catch (const softlook::shape_error&) {
    return true;
  } catch (const softlook::argument_error&) {
    return true;
  }
  return false;
}

/// Rarely a number that no caller means.
inline index or_wild(choices& in, index usual) {
  constexpr index far = std::numeric_limits<index>::max();
  constexpr index wild[] = {-1,       0,   1,    index{1} << 31, (index{1} << 31) - 1,
                            -far - 1, far, -far, index{1} << 32, far / 2,
                            -far / 2};
  const unsigned b = in.byte();
  return b < 244 ? usual : wild[b % std::size(wild)];
}

using plain = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using strided = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, 0,
                           Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;

inline plain numbers_of(choices& in, index rows, index cols) {
  constexpr float sizes[] = {1, 1, 1, 1, 4, 0.01F, 30, 1e4F, 1e-20F, 1e-42F, 1e18F, 3e38F};
  constexpr float inf = std::numeric_limits<float>::infinity();
  constexpr float spots[] = {NAN, inf, -inf, 3e38F, -0.0F, 1e-44F, 1e20F, -1e10F};
  generator random = in.numbers();
  const float size = in.one_of(sizes);
  plain X(rows, cols);
  for (index i = 0; i < X.size(); ++i) X.data()[i] = size * float(random.uniform(-1, 1));
  for (index count = std::max<index>(in.integer(0, 7) - 3, 0); count > 0; --count) {
    const unsigned at = in.word();
    const float spot = in.one_of(spots);
    if (X.size() > 0) X.data()[index(at) % X.size()] = spot;
  }
  return X;
}

/// A matrix in a block of memory of its own, or in that of another, in either order and with gaps.
template <class T>
struct placed {
  std::shared_ptr<std::vector<T>> memory;
  index first = 0, rows = 0, cols = 0, row_stride = 1, col_stride = 1;

  strided<T> map() const {
    return {memory->data() + first, rows, cols,
            Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(row_stride, col_stride)};
  }
  index at(index i, index j) const { return first + i * row_stride + j * col_stride; }
};

template <class T>
placed<T> place(choices& in, const plain& X) {
  placed<T> p;
  p.rows = X.rows();
  p.cols = X.cols();
  const bool by_columns = in.one_in(3);
  const index gap = in.one_in(3) ? in.integer(0, 5) : 0;
  const index step = in.one_in(8) ? 2 : 1;
  const index inner = by_columns ? p.rows : p.cols, outer = by_columns ? p.cols : p.rows;
  (by_columns ? p.row_stride : p.col_stride) = step;
  (by_columns ? p.col_stride : p.row_stride) = std::max<index>(inner * step + gap, 1);
  p.first = in.integer(0, 3);
  const index length = outer > 0 && inner > 0 ? p.at(p.rows - 1, p.cols - 1) + 1 : p.first;
  p.memory = std::make_shared<std::vector<T>>(std::size_t(length), T(7));
  for (index i = 0; i < p.rows; ++i)
    for (index j = 0; j < p.cols; ++j) (*p.memory)[std::size_t(p.at(i, j))] = T(X(i, j));
  return p;
}

inline bool same_bits(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

}  // namespace softlook_test::call_case
