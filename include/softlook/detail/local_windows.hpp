#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "softlook/core/math.hpp"
#include "softlook/detail/call.hpp"
#include "softlook/detail/placed.hpp"

// Windows around predicted positions: where they lie, and as policies.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// p_i = keys · sigmoid(v · tanh(q_i W)); the sum over hidden features is taken in double.
template <class T>
struct position_predictor {
  matrix_view<T> W;
  matrix_view<T> v;
  index keys;

  [[nodiscard]] std::vector<double> operator()(const matrix_view<T>& Q, instruction_set isa,
                                               const executor_ref& exec) const {
    std::vector<T> packed(std::size_t(packed_size<T>(W.rows, W.cols) + packed_panel_width<T>));
    std::vector<T> hidden(std::size_t(Q.rows * W.cols));
    const matrix_view<T> H =
        project(products_of<T>(isa), exec, Q, 1, W, {}, packed.data(), hidden.data());
    std::vector<double> positions(std::size_t(Q.rows));
    for (index i = 0; i < Q.rows; ++i) {
      double sum = 0;
      for (index a = 0; a < W.cols; ++a) sum += double(math::tanh(H(i, a))) * double(v(0, a));
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
      : order_(positions.size()) {
    std::iota(order_.begin(), order_.end(), 0);
    const auto first_key = [&](std::int32_t i) {
      const double p = positions[std::size_t(i)];
      // NaN reaches no key; its row is set to NaN afterwards.
      return std::isnan(p) ? double(keys) : std::max(0.0, std::ceil(p - double(half_width)));
    };
    if (sorted)
      std::sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
        const double first = first_key(a), second = first_key(b);
        return first < second || (first == second && a < b);
      });
    for (const std::int32_t i : order_) {
      const double p = positions[std::size_t(i)], begin = first_key(i);
      const double end =
          std::isnan(p) ? begin : std::min(double(keys), std::floor(p + double(half_width)) + 1);
      begin_.push_back(std::int32_t(begin));
      end_.push_back(std::int32_t(std::max(begin, end)));
      const double centre = std::isnan(p) ? 0 : std::round(p);
      centre_.push_back(std::int32_t(centre));
      offset_.push_back(T(std::isnan(p) ? 0 : p - centre));
    }
  }

  [[nodiscard]] const std::vector<std::int32_t>& order() const { return order_; }
  [[nodiscard]] const std::int32_t* begin() const { return begin_.data(); }
  [[nodiscard]] const std::int32_t* end() const { return end_.data(); }
  [[nodiscard]] const std::int32_t* centre() const { return centre_.data(); }
  [[nodiscard]] const T* offset() const { return offset_.data(); }

 private:
  std::vector<std::int32_t> order_, begin_, end_;
  std::vector<std::int32_t> centre_;  // p = centre + offset: exact differences for long sources
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

/// begin_i ≤ j < end_i, and what the caller's mask allows.
template <class M>
struct window_mask {
  using policy_kind = mask_kind;
  const std::int32_t* begin;
  const std::int32_t* end;
  placed_mask<M> given;
  bool anything;  // the caller gave no mask

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    const bool inside = (int(j >= begin[i]) & int(j < end[i])) != 0;
    return anything ? inside : inside && given.allows(i, j, p);
  }
  [[nodiscard]] range key_range(range q, problem) const {
    range all{};
    for (index i = q.begin; i < q.end; ++i) all = hull(all, {begin[i], end[i]});
    return all;
  }
  [[nodiscard]] coverage coverage_of(range q, range k, problem) const {
    bool none = true, full = anything;
    for (index i = q.begin; i < q.end; ++i) {
      none = none && (end[i] <= k.begin || begin[i] >= k.end || begin[i] >= end[i]);
      full = full && begin[i] <= k.begin && end[i] >= k.end;
    }
    return none ? coverage::none : full ? coverage::full : coverage::partial;
  }
  void check(const char* where, problem p) const { given.check(where, p); }
};

/// f(policies of the sorted rows…): the caller's, placed, the window in their mask.
template <class T, class None, class F, class... Ps>
[[nodiscard]] auto with_windows(const sorted_windows<T>& w, const placement& at, const None& none,
                                const F& f, const Ps&... policies) {
  const auto one = [&](const auto& policy) -> decltype(auto) {
    using P = std::remove_cvref_t<decltype(policy)>;
    if constexpr (mask_policy<P>)
      return window_mask<P>{w.begin(), w.end(), {policy, at}, false};
    else
      return placed(policy, at);
  };
  if constexpr ((mask_policy<Ps> || ...))
    return f(one(policies)...);
  else
    return f(one(policies)..., window_mask<None>{w.begin(), w.end(), {none, at}, true});
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
