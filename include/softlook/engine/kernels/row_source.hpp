#pragma once

#include <cstdint>

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
  index count = 0;
};

/// Numbers of 16 bits, as IEEE 754 and as the upper half of a float; numbers of 8 are std::int8_t
/// with a scale for each row and head.
struct half_bits {
  std::uint16_t bits;
};
struct bfloat16_bits {
  std::uint16_t bits;
};

/// Rows in pages, each of 2^page_shift rows one behind the other: row r is row r mod 2^page_shift
/// of page r / 2^page_shift.
struct row_pages {
  const void* const* pages = nullptr;
  const float* const* scales = nullptr;  // of numbers of 8 bits: rows × heads of each page
  index page_shift = 0;
  index row_stride = 0;    // in numbers as they are stored
  index scale_stride = 0;  // heads
  index head_columns = 1;  // that share a scale
};

template <class T>
struct row_source;

/// How rows are read as scalars of T, whatever the type in which they are stored.
template <class T>
struct row_functions {
  /// Panels of `width` rows, one behind the other, each depth-major; a ragged one is filled with
  /// zeros.
  void (*pack)(const row_source<T>&, range rows, index width, T* panels) = nullptr;
  /// Where the first of the rows lie, and how many they are; none where columns are not contiguous
  /// or not of T. They are equally far apart.
  row_block<T> (*in_place)(const row_source<T>&, range rows) = nullptr;
  /// The rows one behind the other, zeros behind the columns up to `padded` (a multiple of 4).
  void (*copy)(const row_source<T>&, range rows, index padded, T* buffer) = nullptr;
  /// scores[k] = q · row k, and output += Σ weights[k] · row k, of whole vectors, without a copy of
  /// what is not of T. None where rows of T lie in place.
  void (*dot)(const row_source<T>&, range rows, const T* q, T* scores) = nullptr;
  void (*add)(const row_source<T>&, range rows, const T* weights, T* output) = nullptr;
  /// Prefetches the first `count` of the rows, which are taken off them.
  void (*prefetch)(const row_source<T>&, range& rows, index count) = nullptr;
  /// Every number of the rows is finite, and add() is the only way to multiply them.
  bool finite = false;
};

/// rows × cols scalars in a storage that the functions know: the first number of a strided matrix,
/// or row_pages.
template <class T>
struct row_source {
  const row_functions<T>* read = nullptr;
  const void* storage = nullptr;
  index rows = 0;
  index cols = 0;
  index first_row = 0;
  index first_col = 0;
  index offset = 0;      // of a strided matrix, in its own scalars, besides those two
  index row_stride = 0;  // of a strided matrix, in its own scalars
  index col_stride = 0;
  index scale_columns = 0;  // that share a scale: those of a head lie among them; or none

  /// A head's columns.
  [[nodiscard]] row_source columns(index first, index count) const {
    row_source part = *this;
    part.first_col += first;
    part.cols = count;
    return part;
  }
  /// The same shape, so many scalars further on.
  [[nodiscard]] row_source moved_by(index scalars) const {
    row_source part = *this;
    part.offset += scalars;
    return part;
  }
  [[nodiscard]] row_source rows_from(index first, index count) const {
    row_source part = *this;
    part.first_row += first;
    part.rows = count;
    return part;
  }
};

template <class T, class Stored>
[[nodiscard]] row_source<T> source_of(const matrix_view<Stored>& X, const row_functions<T>& read) {
  row_source<T> source{&read, X.data, X.rows, X.cols};
  source.row_stride = X.row_stride;
  source.col_stride = X.col_stride;
  return source;
}

/// The strided matrix of Stored behind a source. A matrix without columns may have no memory.
template <class Stored, class T>
[[nodiscard]] inline matrix_view<Stored> stored_matrix(const row_source<T>& X) {
  const auto* const data = static_cast<const Stored*>(X.storage);
  const index first = X.first_row * X.row_stride + X.first_col * X.col_stride + X.offset;
  return {X.cols > 0 && X.rows > 0 ? data + first : data, X.rows, X.cols, X.row_stride,
          X.col_stride};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
