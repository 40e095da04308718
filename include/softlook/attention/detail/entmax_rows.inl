#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "softlook/attention/detail/entmax_row.hpp"
#include "softlook/engine/run/score_rows.hpp"

// Attention whose weights are α-entmax. The threshold of a row depends on all of it, so there is no
// online form. Of V only the rows that have weight are read.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Where a worker keeps what, in bytes.
template <class T>
struct entmax_layout {
  std::size_t weights = 0, keys = 0, output = 0, total = 0;

  entmax_layout(index row_keys, index values) {
    const auto take = [&](index count, std::size_t size) {
      const std::size_t start = total;
      total += (std::size_t(count) * size + 63) / 64 * 64;
      return start;
    };
    weights = take(row_keys, sizeof(double));
    keys = take(row_keys, sizeof(std::int32_t));
    output = take(values, sizeof(T));
  }
};

/// row(head, i, support, scratch for an output row) for every query and query head of a checked
/// call, as tasks.
template <bool Additive, class T, class F>
void for_each_entmax_row(const attention_call<T>& c, double alpha, const F& row) {
  const entmax_layout<T> at(c.K.rows, c.values());
  const score_rows<Additive, T> rows(c);
  rows.run(at.total, [&](const score_block<T>& block) {
    entmax_support support;
    support.keys = reinterpret_cast<std::int32_t*>(block.room + at.keys);
    support.weights = reinterpret_cast<double*>(block.room + at.weights);
    for (index i = block.queries.begin; i < block.queries.end; ++i) {
      entmax_row(block.row(i), block.keys.count(), block.keys.begin, alpha, support);
      row(block.head, i, support, reinterpret_cast<T*>(block.room + at.output));
    }
  });
}

/// sum += p·v, in steps of a fixed length, which compilers vectorise at -O2.
template <class T>
void add_value(T* __restrict sum, T p, const T* __restrict v, index count, index stride) {
  constexpr index step = 16;
  index c = 0;
  if (stride == 1)
    for (; c + step <= count; c += step)
      for (index x = 0; x < step; ++x) sum[c + x] += p * v[c + x];
  for (; c < count; ++c) sum[c] += p * v[c * stride];
}

template <bool Additive, class T>
void run_entmax(const attention_call<T>& c, double alpha) {
  const index e = c.values();
  for_each_entmax_row<Additive>(
      c, alpha, [&](index head, index i, const entmax_support& p, T* sum) {
        const matrix_view<T> V = columns_of_head(c.V, head / c.group(), e, c.heads_apart.V);
        const mutable_matrix_view<T> O = columns_of_head(c.O, head, e, c.heads_apart.O);
        std::fill_n(sum, e, p.nan ? std::numeric_limits<T>::quiet_NaN() : T(0));
        for (index k = 0; k < p.count && e > 0; ++k)
          add_value(sum, T(p.weights[k]), &V(p.keys[k], 0), e, V.col_stride);
        for (index f = 0; f < e; ++f) O(i, f) = sum[f];
      });
}

template <bool Additive, class T>
std::vector<row_major<T>> run_entmax_weights(const attention_call<T>& c, double alpha) {
  std::vector<row_major<T>> all(std::size_t(c.query_heads));
  for (row_major<T>& P : all) P = row_major<T>::Zero(c.Q.rows, c.K.rows);
  for_each_entmax_row<Additive>(c, alpha, [&](index head, index i, const entmax_support& p, T*) {
    row_major<T>& P = all[std::size_t(head)];
    if (p.nan) P.row(i).setConstant(std::numeric_limits<T>::quiet_NaN());
    for (index k = 0; k < p.count; ++k) P(i, p.keys[k]) = T(p.weights[k]);
  });
  return all;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
