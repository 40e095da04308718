#pragma once

#include "softlook/engine/kernels/args.hpp"

// What the kernels ask of a source of rows whatever the instruction set.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// `wanted` rows, `padded` columns: in place where they lie so, else a copy in the buffer, zeros
/// behind the columns and the rows.
template <class T>
inline row_block<T> padded_rows(const row_source<T>& X, range rows, index padded, index wanted,
                                T* buffer) {
  const index count = rows.count();
  if (X.cols == padded && count == wanted) {
    const row_block<T> block = X.read->in_place(X, rows);
    if (block.count == count) return block;
  }
  X.read->copy(X, rows, padded, buffer);
  for (index x = count * padded; x < wanted * padded; ++x) buffer[x] = T(0);
  return {buffer, padded, wanted};
}

/// Rows that are needed next, prefetched a few at a time among products: all at once would exhaust
/// the miss buffers, and reading them on demand costs 5 % at d = 128.
template <class T>
struct rows_ahead {
  const row_source<T>* source = nullptr;
  range rows{};
  index at_once = 1;
  index apart = 1;  // products from one time to the next
  index wait = 0;

  /// Spreads them over so many products, but no less at a time than eight lines: a call for each
  /// line costs more than it gains.
  SOFTLOOK_SMALL __attribute__((noinline)) void spread(index products) {
    const index each = products > 0 ? ceil_div(rows.count(), products) : 0;
    const index lines = each * ceil_div(source->cols * index(sizeof(T)), index(64));
    apart = lines > 0 && lines < 8 ? 8 / lines : 1;
    at_once = each * apart;
    wait = 0;
  }
  inline __attribute__((always_inline)) void prefetch() {
    if (--wait > 0 || at_once == 0 || rows.begin >= rows.end) return;
    wait = apart;
    source->read->prefetch(*source, rows, at_once);
  }
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
