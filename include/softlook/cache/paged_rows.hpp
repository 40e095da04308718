#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "softlook/cache/detail/stored_row.hpp"
#include "softlook/engine/call/checks.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup cache
/// \{

/// Keys or values in pages of a pool that several sequences share: row r is row r mod page_rows of
/// page table[r / page_rows], and page p is rows [p·page_rows, (p + 1)·page_rows) of the pool. The
/// pool is read in place; K and V given so give the bits of the same rows in one matrix.
///
///     const paged_rows K(pool_k, 128, table, length), V(pool_v, 128, table, length);
///     attention(q, K, V, heads{.query = 8, .kv = 2});
///
/// \see Kwon et al., "PagedAttention", 2023, section 4.1.
/// A view: the pool must outlive it and keep its rows. The table is copied.
template <class T, class Stored = T>
class paged_rows {
 public:
  using stored_rows_tag = void;
  using Scalar = T;
  static_assert(detail::can_be_stored<T, Stored>);

  /// pool: pages·page_rows × columns, row-major.
  /// \throws argument_error  unless page_rows is a power of two, every page of the table lies in
  /// the
  ///         pool and the table has a page for each row; shape_error unless the pool has whole
  ///         pages.
  template <dense_expression Pool>
    requires(!detail::dying_matrix<Pool> && std::is_same_v<detail::scalar_of<Pool>, Stored>)
  paged_rows(Pool&& pool, index page_rows, std::span<const std::int32_t> table, index rows)
      : paged_rows(detail::view_of(pool), {}, page_rows, table, rows) {}
  /// Numbers of 8 bits with scales: pages·page_rows × heads.
  template <dense_expression Pool, dense_expression Scales>
    requires(!detail::dying_matrix<Pool> && !detail::dying_matrix<Scales> &&
             std::is_same_v<Stored, std::int8_t>)
  paged_rows(Pool&& pool, Scales&& scales, index page_rows, std::span<const std::int32_t> table,
             index rows)
      : paged_rows(detail::view_of(pool), detail::view_of(scales), page_rows, table, rows) {}
  template <class Pool, class... Rest>
    requires(detail::dying_matrix<Pool>)
  paged_rows(Pool&&, Rest&&...) = delete;  // a view of a temporary would dangle

  [[nodiscard]] index rows() const { return rows_; }
  [[nodiscard]] index cols() const { return cols_; }
  /// For the kernels.
  [[nodiscard]] detail::row_source<T> source(instruction_set isa) const {
    detail::row_source<T> source{&detail::paged_rows_of<T, Stored>(isa), &block_->table, rows_,
                                 cols_};
    if constexpr (sizeof(Stored) == 1) source.scale_columns = block_->table.head_columns;
    return source;
  }

 private:
  static constexpr const char* name_ = "paged_rows";
  struct block {
    std::vector<const void*> pages;
    std::vector<const float*> scales;
    detail::row_pages table{};
  };

  paged_rows(const matrix_view<Stored>& pool, const matrix_view<float>& scales, index page_rows,
             std::span<const std::int32_t> table, index rows)
      : rows_(rows), cols_(pool.cols) {
    detail::check_page_rows(name_, page_rows);
    const index pages = pool.rows / page_rows;
    if (pool.rows % page_rows != 0)
      detail::raise_sizes(name_, "pool.rows()", pool.rows, "page_rows", page_rows,
                          "a pool has whole pages");
    if (pool.cols > 1 && pool.col_stride != 1)
      detail::raise_argument(name_, "the distance of two columns of the pool",
                             double(pool.col_stride), "rows of a pool are contiguous");
    if (rows < 0 || rows > index(table.size()) * page_rows)
      detail::raise_sizes(name_, "rows", rows, "table.size() · page_rows",
                          index(table.size()) * page_rows, "every row has a page");
    constexpr bool scaled = sizeof(Stored) == 1;
    if constexpr (scaled) {
      detail::check_sizes(name_, "scales.rows()", scales.rows, "pool.rows()", pool.rows,
                          "each row has a scale for each head");
      if (scales.cols < 1 || pool.cols % scales.cols != 0)
        detail::raise_sizes(name_, "pool.cols()", pool.cols, "scales.cols()", scales.cols,
                            "every head has the same number of columns");
      if (scales.cols > 1 && scales.col_stride != 1)
        detail::raise_argument(name_, "the distance of two columns of the scales",
                               double(scales.col_stride), "rows of scales are contiguous");
    }
    auto made = std::make_shared<block>();
    for (const std::int32_t page : table) {
      if (page < 0 || page >= pages)
        detail::raise_argument(
            name_, "a page of the table", page,
            detail::formatted("it lies between 0 and %td, the last of the pool", pages - 1).text);
      made->pages.push_back(pool.data + page * page_rows * pool.row_stride);
      if constexpr (scaled)
        made->scales.push_back(scales.data + page * page_rows * scales.row_stride);
    }
    made->table = {made->pages.data(),
                   made->scales.data(),
                   detail::exact_log2(page_rows),
                   pool.row_stride,
                   scales.row_stride,
                   scaled ? std::max<index>(pool.cols / std::max<index>(scales.cols, 1), 1) : 1};
    block_ = std::move(made);
  }

  std::shared_ptr<const block> block_;
  index rows_;
  index cols_;
};

template <class Pool, class... Rest>
paged_rows(Pool&&, Rest&&...)
    -> paged_rows<std::conditional_t<std::is_same_v<detail::scalar_of<Pool>, std::int8_t>, float,
                                     detail::arithmetic<detail::scalar_of<Pool>>>,
                  detail::scalar_of<Pool>>;

/// \}

SOFTLOOK_NAMESPACE_END
