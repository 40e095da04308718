#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "softlook/core/math.hpp"
#include "softlook/engine/call/layer_call.hpp"
#include "softlook/engine/run/materialised.hpp"
#include "softlook/vision/feature_map.hpp"

// Passes over feature maps: what gates know of them, and what gates do to them. Bound by reading
// the map once, so plain Eigen arrays serve; sums run in one order whatever the storage order is.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class T>
using row_vector = Eigen::Matrix<T, 1, Eigen::Dynamic>;
template <class T>
using line = Eigen::Map<Eigen::Array<T, 1, Eigen::Dynamic>>;
template <class T>
using const_line = Eigen::Map<const Eigen::Array<T, 1, Eigen::Dynamic>>;

inline void check_map(const char* where, index columns, const map_size& size) {
  if (size.height < 0 || size.width < 0)
    raise_argument(where, size.height < 0 ? "size.height" : "size.width",
                   double(std::min(size.height, size.width)), "a size is not negative");
  check_sizes(where, "X.cols()", columns, "size.height * size.width", size.pixels(),
              "a feature map has a column for each pixel");
}

/// f(first, last) for blocks of `count` items of `cost` elements each, large enough to be a task.
template <class F>
void run_blocks(const executor_ref& exec, index count, index cost, const F& f) {
  const index block = std::max<index>(1, 8192 / std::max<index>(cost, 1));
  run_tasks(exec, ceil_div(count, block),
            [&](index task, index) { f(task * block, std::min((task + 1) * block, count)); });
}

/// A map whose channels are contiguous: the caller's memory where that is so, else a copy.
template <class T>
class contiguous_channels {
 public:
  explicit contiguous_channels(const matrix_view<T>& x) : view_(x) {
    if (x.col_stride == 1 || x.cols == 0) return;
    copy_.resize(x.rows, x.cols);
    copy_by_blocks(x);
    view_ = {copy_.data(), x.rows, x.cols, x.cols, 1};
  }
  contiguous_channels(const contiguous_channels&) = delete;
  contiguous_channels& operator=(const contiguous_channels&) = delete;
  [[nodiscard]] const T* channel(index c) const { return view_.data + c * view_.row_stride; }
  [[nodiscard]] index channels() const { return view_.rows; }
  [[nodiscard]] index pixels() const { return view_.cols; }

 private:
  /// Square by square: neither side then walks through more lines than the first cache holds.
  void copy_by_blocks(const matrix_view<T>& x) {
    constexpr index side = 32;
    for (index top = 0; top < x.rows; top += side)
      for (index left = 0; left < x.cols; left += side) {
        const index rows = std::min(side, x.rows - top), cols = std::min(side, x.cols - left);
        for (index c = top; c < top + rows; ++c)
          for (index p = left; p < left + cols; ++p) copy_(c, p) = x(c, p);
      }
  }

  matrix_view<T> view_;
  row_major<T> copy_;
};

template <class T>
struct statistics {
  T mean = 0;
  T largest = 0;
};

/// Of one channel; zeros where it has no pixel. Sums of at most 1024 numbers, in 16 lanes, are
/// added up in double, so that the error does not grow with the picture.
template <class T>
[[nodiscard]] statistics<T> statistics_of(const T* x, index count) {
  constexpr int lanes = 16;
  constexpr index block = 1024;
  using vector = Eigen::Array<T, lanes, 1>;
  if (count == 0) return {};
  double total = 0;
  vector largest = vector::Constant(x[0]);
  for (index begin = 0; begin < count; begin += block) {
    const index end = std::min(begin + block, count);
    vector sum = vector::Zero();
    index p = begin;
    for (; p + lanes <= end; p += lanes) {
      const Eigen::Map<const vector> next(x + p);
      sum += next;
      largest = largest.max(next);
    }
    for (int k = 0; p < end; ++p, ++k) {
      sum[k] += x[p];
      largest[k] = std::max(largest[k], x[p]);
    }
    for (int k = 0; k < lanes; ++k) total += double(sum[k]);
  }
  return {T(total / double(count)), *std::max_element(largest.begin(), largest.end())};
}

/// What `pool` keeps of mean and maximum; the first row, and with mean_and_max a second.
template <class T>
void keep(pooled pool, const statistics<T>& s, index at, mutable_matrix_view<T> out) {
  out(0, at) = pool == pooled::mean_max_average ? T(0.5) * s.mean + T(0.5) * s.largest : s.mean;
  if (pool == pooled::mean_and_max) out(1, at) = s.largest;
}
[[nodiscard]] constexpr index planes_of(pooled pool) {
  return pool == pooled::mean_and_max ? 2 : 1;
}

/// A column for each channel.
template <class T>
[[nodiscard]] row_major<T> pool_channels(const executor_ref& exec, const matrix_view<T>& X,
                                         pooled pool) {
  const contiguous_channels<T> map(X);
  row_major<T> out(planes_of(pool), X.rows);
  const mutable_matrix_view<T> kept = writable_view(out);
  run_blocks(exec, X.rows, X.cols, [&](index first, index last) {
    for (index c = first; c < last; ++c)
      keep(pool, statistics_of(map.channel(c), map.pixels()), c, kept);
  });
  return out;
}

/// A column for each pixel; zeros where there is no channel.
template <class T>
[[nodiscard]] row_major<T> pool_pixels(const executor_ref& exec, const matrix_view<T>& X,
                                       pooled pool) {
  const contiguous_channels<T> map(X);
  row_major<T> out = row_major<T>::Zero(planes_of(pool), X.cols);
  if (X.rows == 0) return out;
  const mutable_matrix_view<T> kept = writable_view(out);
  constexpr index block = 512;
  run_tasks(exec, ceil_div(X.cols, block), [&](index task, index) {
    const index begin = task * block, count = std::min(block, X.cols - begin);
    Eigen::Array<T, 1, Eigen::Dynamic, Eigen::RowMajor, 1, block> sum =
        const_line<T>(map.channel(0) + begin, count);
    auto largest = sum;
    for (index c = 1; c < X.rows; ++c) {
      const const_line<T> next(map.channel(c) + begin, count);
      sum += next;
      largest = largest.max(next);
    }
    sum /= T(X.rows);
    for (index k = 0; k < count; ++k)
      keep(pool, statistics<T>{sum[k], largest[k]}, begin + k, kept);
  });
  return out;
}

template <class T>
[[nodiscard]] T gate_of(gate_function g, T x) {
  return g == gate_function::sigmoid ? math::sigmoid(x)
                                     : std::min(std::max(x + T(3), T(0)), T(6)) / T(6);
}

/// Y = X ∘ gates, a gate for each row or, where `of_rows` is null, for each column. Y may be X.
template <class T>
void scale(const executor_ref& exec, const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const T* of_rows, const T* of_columns) {
  if (Y.row_stride == 1 && Y.col_stride != 1)  // along what is contiguous
    return scale(exec, X.transpose(), Y.transpose(), of_columns, of_rows);
  const bool contiguous = X.col_stride == 1 && Y.col_stride == 1;
  run_blocks(exec, Y.rows, Y.cols, [&](index first, index last) {
    for (index i = first; i < last; ++i) {
      if (!contiguous) {
        for (index j = 0; j < Y.cols; ++j)
          Y(i, j) = X(i, j) * (of_rows != nullptr ? of_rows[i] : of_columns[j]);
        continue;
      }
      const const_line<T> x(X.data + i * X.row_stride, X.cols);
      line<T> y(Y.data + i * Y.row_stride, Y.cols);
      if (of_rows != nullptr)
        y = x * of_rows[i];
      else
        y = x * const_line<T>(of_columns, Y.cols);
    }
  });
}

/// The correlation that deep learning calls a convolution: planes of one picture with a k×k kernel
/// each, summed; zeros around the picture. `planes` has a row for each plane, `kernels` k rows.
template <class T>
[[nodiscard]] row_vector<T> correlate(const executor_ref& exec, const row_major<T>& planes,
                                      const map_size& size, const row_major<T>& kernels) {
  const index k = kernels.cols(), margin = k / 2;
  const index height = size.height + 2 * margin, width = size.width + 2 * margin;
  std::vector<T> framed(std::size_t(planes.rows() * height * width), T(0));
  const auto framed_line = [&](index plane, index y) {
    return framed.data() + (plane * height + y) * width;
  };
  for (index plane = 0; plane < planes.rows(); ++plane)
    for (index y = 0; y < size.height; ++y)
      std::copy_n(planes.row(plane).data() + y * size.width, size.width,
                  framed_line(plane, y + margin) + margin);
  row_vector<T> out = row_vector<T>::Zero(size.pixels());
  run_blocks(exec, size.height, size.width * kernels.size(), [&](index first, index last) {
    for (index y = first; y < last; ++y) {
      line<T> sum(out.data() + y * size.width, size.width);
      for (index r = 0; r < kernels.rows(); ++r)
        for (index dx = 0; dx < k; ++dx)
          sum += kernels(r, dx) * const_line<T>(framed_line(r / k, y + r % k) + dx, size.width);
    }
  });
  return out;
}

/// The output of a block: X's shape, X itself or apart from it.
template <class T>
void check_map_output(const char* where, const matrix_view<T>& X, const mutable_matrix_view<T>& Y) {
  check_layer_output(where, Y, X.rows, "X.cols()", X.cols);
  check_in_place(where, Y, X);
}
template <class T>
void check_channels(const char* where, const matrix_view<T>& X, index channels) {
  check_sizes(where, "X.rows()", X.rows, "channels()", channels,
              "a feature map has a row for each channel");
}

/// A map of a layer, with its size.
template <class T>
struct sized_map {
  matrix_view<T> X;
  map_size size;
};

/// Y = X + gain·Z, element by element.
template <class T, class Z>
void add_to_map(const matrix_view<T>& X, const mutable_matrix_view<T>& Y, T gain, const Z& z) {
  for (index i = 0; i < Y.rows; ++i)
    for (index j = 0; j < Y.cols; ++j) Y(i, j) = X(i, j) + gain * z(i, j);
}

/// One number as a matrix, for those who go through weights.
template <class T>
[[nodiscard]] Eigen::Map<Eigen::Matrix<T, 1, 1>> as_matrix(T& x) {
  return Eigen::Map<Eigen::Matrix<T, 1, 1>>(&x);
}
template <class T>
[[nodiscard]] Eigen::Map<const Eigen::Matrix<T, 1, 1>> as_matrix(const T& x) {
  return Eigen::Map<const Eigen::Matrix<T, 1, 1>>(&x);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
