#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "softlook/core/math.hpp"
#include "softlook/engine/call/sorted_call.hpp"

// Windows around predicted positions.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// p_i = keys · sigmoid(v · tanh(q_i W)); the sum over hidden features is taken in double.
template <class T>
struct position_predictor {
  matrix_view<T> W;
  matrix_view<T> v;
  index keys;
  static constexpr index block = 16;

  [[nodiscard]] std::vector<double> operator()(const matrix_view<T>& Q, instruction_set isa,
                                               const executor_ref& exec) const {
    std::vector<T> packed(std::size_t(packed_size<T>(W.rows, W.cols) + packed_panel_width<T>));
    std::vector<T> hidden(std::size_t(round_up(Q.rows * W.cols, block)));
    project(products_of<T>(isa), exec, Q, 1, W, {}, packed.data(), hidden.data());
    // In blocks of a fixed length: compilers vectorise such loops at -O2.
    for (auto h = hidden.data(); h < hidden.data() + hidden.size(); h += block)
      for (index l = 0; l < block; ++l) h[l] = math::tanh(h[l]);
    std::vector<double> positions(std::size_t(Q.rows));
    for (index i = 0; i < Q.rows; ++i) {
      const T* const h = hidden.data() + i * W.cols;
      double sum = 0;
      for (index a = 0; a < W.cols; ++a) sum += double(h[a]) * double(v(0, a));
      positions[std::size_t(i)] = double(keys) * math::sigmoid(sum);
    }
    return positions;
  }
};

/// The windows of some rows, sorted by where they begin: neighbours in a register tile then look at
/// neighbouring keys, whatever the order of the queries.
template <class T>
class sorted_windows {
 public:
  sorted_windows(const std::vector<double>& positions, index half_width, index keys, bool sorted)
      : centre_(positions.size()), offset_(positions.size()) {
    const auto most = static_cast<double>(keys), reach = static_cast<double>(half_width);
    std::vector<start> starts;
    for (const double p : positions) {
      // NaN reaches no key; its row is set to NaN afterwards.
      const double first =
          std::isnan(p) ? most : std::min(most, std::max(0.0, std::ceil(p - reach)));
      starts.push_back({std::int32_t(first), std::int32_t(starts.size())});
    }
    if (sorted) std::sort(starts.begin(), starts.end());
    for (const auto& [first, row] : starts) {
      const double given = positions[std::size_t(row)], p = std::isnan(given) ? 0 : given;
      const double end = std::min(most, std::floor(p + reach) + 1), centre = std::round(p);
      order_.push_back(row);
      begin_.push_back(first);
      end_.push_back(std::max(first, std::int32_t(end)));
      centre_[std::size_t(row)] = std::int32_t(centre);
      offset_[std::size_t(row)] = T(p - centre);
    }
  }

  [[nodiscard]] const std::vector<std::int32_t>& order() const { return order_; }
  [[nodiscard]] const std::int32_t* centre() const { return centre_.data(); }
  [[nodiscard]] const T* offset() const { return offset_.data(); }

  /// Leaves the sorted rows of a call the keys of their windows.
  void limit(call_frame& f) const {
    f.query_positions = order_.data();
    f.later_queries = index(order_.size());
    f.key_begin = begin_.data();
    f.key_end = end_.data();
  }

 private:
  struct start {
    std::int32_t first;  // key
    std::int32_t row;
    friend bool operator<(const start& a, const start& b) {
      return a.first != b.first ? a.first < b.first : a.row < b.row;
    }
  };

  std::vector<std::int32_t> order_, begin_, end_;  // of the sorted rows
  // p = centre + offset, of the rows as they were given: exact differences for long sources.
  std::vector<std::int32_t> centre_;
  std::vector<T> offset_;
};

/// s − (j − p_i)² / (2σ²), σ = D/2.
template <class T>
struct gaussian_transform {
  using policy_kind = transform_kind;
  const std::int32_t* centre;
  const T* offset;
  T sharpness;  // 1 / (2σ²) = 2 / D²

  [[nodiscard]] T exponent(std::int32_t i, std::int32_t j) const {
    const T distance = T(j - centre[i]) - offset[i];
    return -sharpness * distance * distance;
  }
  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem) const {
    return s + S(exponent(i, j));
  }
};

template <class T>
[[nodiscard]] gaussian_transform<T> gaussian_of(const sorted_windows<T>& w, index half_width) {
  return {w.centre(), w.offset(), T(2 / (double(half_width) * double(half_width)))};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
