#pragma once

#include "softlook/core/types.hpp"

// Rows of keys and values wherever they are stored: the kernels read them through functions that
// are compiled with an instruction set. Another storage, or a page table, is another set of them.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Rows whose columns are contiguous, in memory.
template <class T>
struct row_block {
  const T* data = nullptr;
  index stride = 0;
};

template <class T>
struct row_source;

/// How rows are read as scalars of T, whatever the type in which they are stored.
template <class T>
struct row_functions {
  /// Panels of `width` rows, one behind the other, each depth-major; a ragged one is filled with
  /// zeros.
  void (*pack)(const row_source<T>&, range rows, index width, T* panels) = nullptr;
  /// Where the rows lie, or no data: their columns must be contiguous, and the rows equally far
  /// apart.
  row_block<T> (*in_place)(const row_source<T>&, range rows) = nullptr;
  /// The rows one behind the other, zeros behind the columns up to `padded` (a multiple of 4).
  void (*copy)(const row_source<T>&, range rows, index padded, T* buffer) = nullptr;
  /// Prefetches the first `count` of the rows, which are taken off them.
  void (*prefetch)(const row_source<T>&, range& rows, index count) = nullptr;
};

/// rows × cols scalars in a storage that the functions know.
template <class T>
struct row_source {
  const row_functions<T>* read = nullptr;
  const void* storage = nullptr;
  index rows = 0;
  index cols = 0;
  index first_col = 0;
  index row_stride = 0;  // of a strided matrix, in its own scalars
  index col_stride = 0;

  /// A head's columns.
  [[nodiscard]] row_source columns(index first, index count) const {
    row_source part = *this;
    part.first_col += first;
    part.cols = count;
    return part;
  }
};

template <class T, class Stored>
[[nodiscard]] row_source<T> source_of(const matrix_view<Stored>& X, const row_functions<T>& read) {
  return {&read, X.data, X.rows, X.cols, 0, X.row_stride, X.col_stride};
}

/// The strided matrix of Stored behind a source. A matrix without columns may have no memory.
template <class Stored, class T>
[[nodiscard]] inline matrix_view<Stored> stored_matrix(const row_source<T>& X) {
  const auto* const data = static_cast<const Stored*>(X.storage);
  return {X.cols > 0 && X.rows > 0 ? data + X.first_col * X.col_stride : data, X.rows, X.cols,
          X.row_stride, X.col_stride};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
