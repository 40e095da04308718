#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "softlook/attention/detail/head_calls.hpp"
#include "softlook/core/math.hpp"
#include "softlook/engine/call/sorted_call.hpp"

// Windows around predicted positions.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// p_i = keys · sigmoid(v · tanh(q_i W)) of every head, those of a head behind one another; the sum
/// over hidden features is taken in double.
template <class T>
struct position_predictor {
  matrix_view<T> W;
  matrix_view<T> v;
  index keys;
  index heads;
  static constexpr index block = 16;

  [[nodiscard]] std::vector<double> operator()(const matrix_view<T>& Q, instruction_set isa,
                                               const executor_ref& exec) const {
    std::vector<T> packed(std::size_t(packed_size<T>(W.rows, W.cols) + packed_panel_width<T>));
    std::vector<T> hidden(std::size_t(round_up(Q.rows * heads * W.cols, block)));
    project(products_of<T>(isa), exec, Q, heads, W, {}, packed.data(), hidden.data());
    // In blocks of a fixed length: compilers vectorise such loops at -O2.
    for (auto h = hidden.data(); h < hidden.data() + hidden.size(); h += block)
      for (index l = 0; l < block; ++l) h[l] = math::tanh(h[l]);
    std::vector<double> positions;
    for (index head = 0; head < heads; ++head)
      for (index i = 0; i < Q.rows; ++i) {
        const T* const h = hidden.data() + (i * heads + head) * W.cols;
        double sum = 0;
        for (index a = 0; a < W.cols; ++a) sum += double(h[a]) * double(v(0, a));
        positions.push_back(double(keys) * math::sigmoid(sum));
      }
    return positions;
  }
};

/// Windows around positions.
struct window_shape {
  index half_width = 1;
  index keys = 0;
  bool sorted = true;
};

/// The windows of some rows in each head, sorted by where they begin: neighbours in a register tile
/// then look at neighbouring keys, whatever the order of the queries.
template <class T>
class sorted_windows {
 public:
  /// `positions`: those of a head behind one another.
  sorted_windows(const std::vector<double>& positions, index heads, const window_shape& of)
      : rows_(index(positions.size()) / heads),
        centre_(positions.size()),
        offset_(positions.size()) {
    for (index head = 0; head < heads; ++head) add(positions.data() + head * rows_, head, of);
  }

  /// The row that is the i-th of a head.
  [[nodiscard]] index row(index head, index i) const {
    return order_[std::size_t(head * rows_ + i)];
  }
  [[nodiscard]] const std::int32_t* centre() const { return centre_.data(); }
  [[nodiscard]] const T* offset() const { return offset_.data(); }

  /// Leaves the sorted rows of a head's call the keys of their windows.
  void limit(call_frame& f, index head) const {
    f.query_positions = order_.data() + head * rows_;
    f.later_queries = rows_;
    f.key_begin = begin_.data() + head * rows_;
    f.key_end = end_.data() + head * rows_;
  }

 private:
  void add(const double* positions, index head, const window_shape& of) {
    const auto most = static_cast<double>(of.keys), reach = static_cast<double>(of.half_width);
    std::vector<start> starts;
    for (index i = 0; i < rows_; ++i) {
      const double p = positions[i];
      // NaN reaches no key; its row is set to NaN afterwards.
      const double first =
          std::isnan(p) ? most : std::min(most, std::max(0.0, std::ceil(p - reach)));
      starts.push_back({std::int32_t(first), std::int32_t(i)});
    }
    if (of.sorted) std::sort(starts.begin(), starts.end());
    for (const auto& [first, row] : starts) {
      const double given = positions[row], p = std::isnan(given) ? 0 : given;
      const double end = std::min(most, std::floor(p + reach) + 1), centre = std::round(p);
      order_.push_back(row);
      begin_.push_back(first);
      end_.push_back(std::max(first, std::int32_t(end)));
      centre_[std::size_t(head * rows_ + row)] = std::int32_t(centre);
      offset_[std::size_t(head * rows_ + row)] = T(p - centre);
    }
  }

  struct start {
    std::int32_t first;  // key
    std::int32_t row;
    friend bool operator<(const start& a, const start& b) {
      return a.first != b.first ? a.first < b.first : a.row < b.row;
    }
  };

  index rows_;
  std::vector<std::int32_t> order_, begin_, end_;  // of the sorted rows
  // p = centre + offset, of the rows as they were given: exact differences for long sources.
  std::vector<std::int32_t> centre_;
  std::vector<T> offset_;
};

/// s − (j − p_i)² / (2σ²), σ = D/2.
template <class T>
struct gaussian_transform {
  using policy_kind = transform_kind;
  static constexpr bool is_shift = true;
  const std::int32_t* centre;
  const T* offset;
  T sharpness;  // 1 / (2σ²) = 2 / D²

  /// j − p_i and ln g_i(j) of query i of a head: `i` counts those of the heads before it.
  [[nodiscard]] T distance(index i, std::int32_t j) const { return T(j - centre[i]) - offset[i]; }
  [[nodiscard]] T exponent(index i, std::int32_t j) const {
    const T away = distance(i, j);
    return -sharpness * away * away;
  }
  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return s + S(exponent(index{p.head} * p.queries + i, j));
  }
};

template <class T>
[[nodiscard]] gaussian_transform<T> gaussian_of(const sorted_windows<T>& w, index half_width) {
  return {w.centre(), w.offset(), T(2 / (double(half_width) * double(half_width)))};
}

/// Runs a call whose queries were sorted, each head over its windows.
template <class T>
void run_over_windows(const attention_call<T>& all, const sorted_windows<T>& windows) {
  for_each_head(all, [&](index head, attention_call<T>& one) {
    windows.limit(one.frame, head);
    run(one);
  });
}

/// The weights over the windows, in each head.
template <bool Additive, class T>
[[nodiscard]] std::vector<row_major<T>> weights_over_windows(const attention_call<T>& all,
                                                             const sorted_windows<T>& windows) {
  std::vector<row_major<T>> of_heads(std::size_t(all.query_heads));
  for_each_head(all, [&](index head, attention_call<T>& one) {
    windows.limit(one.frame, head);
    of_heads[std::size_t(head)] = std::move(run_weights<Additive>(one).front());
  });
  return of_heads;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
