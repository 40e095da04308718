// Randomised differential test of the way back: shape × mask × transforms × heads × storage × sinks
// × dropout × the gradient of the log-sum-exp, on every instruction set. The formulas with plain
// loops, in T and in long double, are what it is held to: error of tiled ≤ 2 · error of naive +
// rounding, both against long double. Keys that no query sees may hold NaN.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <sstream>
#include <vector>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/gradient/attention.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/padding.hpp"
#include "softlook/mask/where.hpp"
#include "softlook/mask/window.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/cases.hpp"
#include "tests/support/erased.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/layers.hpp"
#include "tests/support/random.hpp"
#include "tests/support/storage.hpp"

namespace softlook_test {

using softlook::index;
using softlook::problem;

/// A transform that a case decides on, which takes dual numbers.
struct some_transform {
  using policy_kind = softlook::transform_kind;
  enum { none, cap, slope, bent } kind = none;
  double number = 1;

  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    if (kind == cap) return softlook::transforms::soft_cap{number}(s, i, j, p);
    if (kind == slope) return softlook::transforms::alibi{number}(s, i, j, p);
    if (kind == bent)
      return S(0.8) * s + S(0.05) * S((3 * i + 5 * j + 7 * p.head) % 11) * softlook::math::tanh(s);
    return s;
  }
};

template <class Real>
struct gradients_of {
  using matrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic>;
  matrix dQ, dK, dV;
  std::vector<Real> dsinks;
  // What roundings are measured by: the sums of magnitudes.
  matrix of_dQ, of_dK, of_dV;
  Real largest_score = 0;  // |S|, |L|, and the sum of |q k|
};

template <class T>
class backward_case {
 public:
  explicit backward_case(choices& random, index part = 1) : random_(random) {
    n_ = size(150 / part);
    m_ = size(420 / part);
    d_ = size(40);
    e_ = size(40);
    if (random_.chance(0.3)) {
      kv_ = random_.integer(1, 2);
      heads_ = kv_ * random_.integer(1, 3);
      n_ = std::min<index>(n_, 60);
      m_ = std::min<index>(m_, 120);
    }
    about_ << "n " << n_ << " m " << m_ << " d " << d_ << " e " << e_ << ", heads " << heads_ << "/"
           << kv_;
    choose_policies();
    choose_numbers();
  }

  std::string description() const { return about_.str(); }

  void check() {
    const auto truth = plain<long double>();
    const auto naive = plain<T>();
    const softlook::exec::thread_pool pool(3);
    on_every_set([&](const softlook::options& opts) {
      softlook::options o = opts;
      o.scale = scale_;
      if (sinks_.size() > 0)
        check_with(truth, naive, pool, o, drop_, softlook::sinks(sinks_));
      else
        check_with(truth, naive, pool, o);
      count_compared(*o.isa);
    });
  }

 private:
  index size(index most) { return random_.size(most, 24); }
  row_major<T> matrix(index rows, index cols, double magnitude) {
    generator numbers = random_.numbers();
    return random_matrix<row_major<T>>(rows, cols, numbers, magnitude);
  }

  void choose_policies() {
    namespace masks = softlook::masks;
    const masks::window window{.left = random_.integer(0, m_),
                               .right = random_.integer(0, 9),
                               .offset = random_.integer(-5, m_)};
    const masks::padding padding{.length = random_.integer(0, m_)};
    const masks::causal causal{.offset = random_.integer(-n_, m_)};
    const auto where = masks::where([](std::int32_t i, std::int32_t j, std::int32_t head) {
      return (i * 7 + j * 3 + head) % 5 != 0;
    });
    const index which = random_.integer(0, 7);
    about_ << ", mask " << which;
    switch (which) {
      case 0:
        mask_ = hold_mask(masks::causal_top_left{});
        break;
      case 1:
        mask_ = hold_mask(causal);
        break;
      case 2:
        mask_ = hold_mask(window);
        break;
      case 3:
        mask_ = hold_mask(padding);
        break;
      case 4:
        mask_ = hold_mask(where);
        break;
      case 5:
        mask_ = hold_mask(window & padding);
        break;
      default:
        mask_ = hold_mask(masks::none{});
    }
    transform_.kind =
        random_.one_of({some_transform::none, some_transform::none, some_transform::cap,
                        some_transform::slope, some_transform::bent});
    transform_.number = random_.one_of({0.5, 1.0, 4.0});
    if (random_.chance(0.3)) scale_ = random_.one_of({0.1, 1.0, -0.5});
    generator logits = random_.numbers();
    if (random_.chance(0.2)) sinks_ = random_matrix<Eigen::VectorXd>(heads_, 1, logits, 3);
    if (sinks_.size() > 0 && random_.chance(0.5))  // together: one set of policies less to compile
      drop_ = {.probability = random_.one_of({0.5, 0.1, 0.9}), .seed = random_.below(1024)};
    about_ << ", transform " << transform_.kind << " " << transform_.number << ", sinks "
           << sinks_.size() << ", dropped " << drop_.probability;
  }

  void choose_numbers() {
    const double of_queries = random_.one_of({1e-3, 0.3, 1.0, 1.0, 5.0});
    const double of_keys = random_.one_of({1e-3, 0.3, 1.0, 1.0, 5.0});
    Q_ = matrix(n_, d_ * heads_, of_queries);
    K_ = matrix(m_, d_ * kv_, of_keys);
    V_ = matrix(m_, e_ * kv_, random_.one_of({0.1, 1.0, 1e4}));
    dO_ = matrix(n_, e_ * heads_, random_.one_of({1e-3, 1.0}));
    if (random_.chance(0.4)) dL_ = matrix(n_, heads_, 1);
    by_columns_ = random_.chance(0.3);
    about_ << ", |q| " << of_queries << " |k| " << of_keys << (by_columns_ ? ", columns" : "");
    if (!random_.chance(0.3)) return;
    for (index j = 0; j < m_; ++j) {
      bool seen = false;
      for (index i = 0; i < n_ && !seen; ++i)
        for (index h = 0; h < heads_; ++h) seen = seen || allows(i, j, h);
      if (seen) continue;
      K_.row(j).setConstant(std::numeric_limits<T>::quiet_NaN());
      V_.row(j).setConstant(std::numeric_limits<T>::infinity());
    }
  }

  problem problem_of(index head) const {
    return {std::int32_t(n_), std::int32_t(m_), std::int32_t(head), std::int32_t(heads_)};
  }
  /// What a weight is multiplied by: the comment of dropout.
  template <class Real>
  Real kept_share(index i, index j, index head) const {
    if (!(drop_.probability > 0)) return 1;
    const auto words =
        softlook::detail::philox({std::uint32_t(j / 4), std::uint32_t(i), std::uint32_t(head), 0},
                                 {std::uint32_t(drop_.seed), std::uint32_t(drop_.seed >> 32)});
    const bool dropped = double(words[std::size_t(j % 4)]) < drop_.probability * 0x1p32;
    return dropped ? Real(0) : 1 / (1 - Real(drop_.probability));
  }
  bool allows(index i, index j, index head) const {
    return mask_->allows(std::int32_t(i), std::int32_t(j), problem_of(head));
  }

  /// The formulas, from the definition of the softmax, in Real.
  template <class Real>
  gradients_of<Real> plain() const {
    using matrix_of = typename gradients_of<Real>::matrix;
    const auto zeros = [](const auto& X) { return matrix_of::Zero(X.rows(), X.cols()).eval(); };
    gradients_of<Real> g{zeros(Q_), zeros(K_), zeros(V_), std::vector<Real>(std::size_t(heads_)),
                         zeros(Q_), zeros(K_), zeros(V_)};
    const Real scale = scale_ ? Real(*scale_) : 1 / std::sqrt(Real(d_));
    for (index h = 0; h < heads_; ++h)
      for (index i = 0; i < n_; ++i) row_back(g, scale, h, i);
    return g;
  }

  template <class Real>
  void row_back(gradients_of<Real>& g, Real scale, index h, index i) const {
    constexpr Real nothing = -std::numeric_limits<Real>::infinity();
    const index q = h * d_, k = h / (heads_ / kv_) * d_, v = h / (heads_ / kv_) * e_, o = h * e_;
    const auto count = static_cast<std::size_t>(m_);
    std::vector<Real> S(count, nothing), slope(count), P(count), dP(count), size_of_dP(count);
    Real top = sinks_.size() > 0 ? Real(sinks_[h]) : nothing;
    for (index j = 0; j < m_; ++j) {
      if (!allows(i, j, h)) continue;
      Real s = 0, products = 0;
      for (index x = 0; x < d_; ++x) {
        s += Real(Q_(i, q + x)) * Real(K_(j, k + x));
        products += std::abs(Real(Q_(i, q + x)) * Real(K_(j, k + x)));
      }
      const auto t = transform_(softlook::math::dual<Real>{scale * s, Real(1)}, std::int32_t(i),
                                std::int32_t(j), problem_of(h));
      S[std::size_t(j)] = t.value;
      slope[std::size_t(j)] = t.derivative;
      top = std::max(top, t.value);
      g.largest_score =
          std::max({g.largest_score, std::abs(scale) * products, Real(std::abs(t.value))});
    }
    if (top == nothing) return;
    Real sum = sinks_.size() > 0 ? std::exp(Real(sinks_[h]) - top) : Real(0);
    for (const Real s : S) sum += s == nothing ? Real(0) : std::exp(s - top);
    const Real L = top + std::log(sum);
    Real D = 0, size_of_D = 0;
    for (std::size_t j = 0; j < count; ++j) {
      if (S[j] == nothing) continue;
      P[j] = std::exp(S[j] - L);
      const Real share = kept_share<Real>(i, index(j), h);
      for (index x = 0; x < e_ && share > 0; ++x) {
        const Real p = share * Real(dO_(i, o + x)) * Real(V_(index(j), v + x));
        dP[j] += p;
        size_of_dP[j] += std::abs(p);
      }
      D += P[j] * dP[j];
      size_of_D += P[j] * size_of_dP[j];
    }
    if (dL_.size() > 0) {
      D -= Real(dL_(i, h));
      size_of_D += std::abs(Real(dL_(i, h)));
    }
    if (sinks_.size() > 0) g.dsinks[std::size_t(h)] -= std::exp(Real(sinks_[h]) - L) * D;
    for (index j = 0; j < m_; ++j) {
      const auto at = std::size_t(j);
      if (S[at] == nothing) continue;
      const Real dS = P[at] * (dP[at] - D) * slope[at];
      const Real size_of_dS = P[at] * (size_of_dP[at] + size_of_D) * std::max(Real(1), slope[at]);
      for (index x = 0; x < d_; ++x) {
        g.dQ(i, q + x) += scale * dS * Real(K_(j, k + x));
        g.dK(j, k + x) += scale * dS * Real(Q_(i, q + x));
        g.of_dQ(i, q + x) += std::abs(scale * Real(K_(j, k + x))) * size_of_dS;
        g.of_dK(j, k + x) += std::abs(scale * Real(Q_(i, q + x))) * size_of_dS;
      }
      const Real kept = P[at] * kept_share<Real>(i, j, h);
      for (index x = 0; x < e_; ++x) {
        g.dV(j, v + x) += kept * Real(dO_(i, o + x));
        g.of_dV(j, v + x) += std::abs(kept * Real(dO_(i, o + x)));
      }
    }
  }

  template <class... Ps>
  void check_with(const gradients_of<long double>& truth, const gradients_of<T>& naive,
                  const softlook::exec::thread_pool& pool, const softlook::options& o,
                  const Ps&... others) const {
    if (by_columns_)
      compare<col_major<T>>(truth, naive, pool, o, others...);
    else
      compare<row_major<T>>(truth, naive, pool, o, others...);
  }

  template <class M, class... Ps>
  void compare(const gradients_of<long double>& truth, const gradients_of<T>& naive,
               const softlook::exec::thread_pool& pool, const softlook::options& o,
               const Ps&... others) const {
    const M Q = Q_, K = K_, V = V_, dO = dO_;
    const any_mask mask{mask_.get()};
    const softlook::heads h{.query = heads_, .kv = kv_};
    const auto s = softlook::attention_with_log_sum_exp(Q, K, V, h, mask, transform_, o, others...);
    Eigen::VectorXd dsinks = Eigen::VectorXd::Zero(heads_);
    constexpr bool with_sinks = sizeof...(others) > 0;
    const auto back = [&](const auto&... more) {
      softlook::attention_gradients<M> g;
      softlook::backward_extras<T> extras;
      if (dL_.size() > 0) extras.dL = softlook::detail::view_of(dL_);
      if (with_sinks) extras.dsinks = dsinks.data();
      softlook::attention_backward_into(Q, K, V, s.output, s.log_sum_exp, dO, g, extras, h, mask,
                                        transform_, o, others..., more...);
      return g;
    };
    const auto g = back();
    const auto near = [&](const char* name, const M& is, const auto& must, const auto& of_naive,
                          const auto& size) {
      ASSERT_TRUE(is.allFinite()) << name;
      const auto error = [&](const auto& X) {
        return (X.template cast<long double>() - must).cwiseAbs();
      };
      const long double most = error(is).maxCoeff(), of = error(of_naive).maxCoeff();
      ASSERT_TRUE(std::isfinite(double(most)) && std::isfinite(double(of))) << name;
      // Weights below the smallest normal number are 0.
      const long double tiny = 1e6L * std::numeric_limits<T>::min();
      EXPECT_LE(double(most), double(2 * of + rounding(truth) * size.maxCoeff() + tiny)) << name;
    };
    near("dQ", g.dQ, truth.dQ, naive.dQ, truth.of_dQ);
    near("dK", g.dK, truth.dK, naive.dK, truth.of_dK);
    near("dV", g.dV, truth.dV, naive.dV, truth.of_dV);
    for (index x = 0; x < heads_ && with_sinks; ++x) {
      const long double is = truth.dsinks[std::size_t(x)];
      EXPECT_NEAR(dsinks[x], double(is),
                  double(rounding(truth)) * double(n_) *
                          std::max(1.0, double(V_.cwiseAbs().maxCoeff())) * double(e_) /
                          (1 - drop_.probability) +
                      1e-12)
          << "dsink " << x;
    }
    const auto other = back(pool);
    EXPECT_TRUE(bitwise_equal(g.dQ, other.dQ) && bitwise_equal(g.dK, other.dK) &&
                bitwise_equal(g.dV, other.dV))
        << "with three workers";
  }

  /// Of a magnitude: a few roundings, and those of an exponent, which is as large as scores are.
  long double rounding(const gradients_of<long double>& truth) const {
    const long double cap =
        transform_.kind == some_transform::cap ? 1 + 1 / transform_.number : 1.0L;
    return std::numeric_limits<T>::epsilon() * (8 + 3 * truth.largest_score) * cap;
  }

  choices& random_;
  std::ostringstream about_;
  index n_ = 1, m_ = 1, d_ = 1, e_ = 1, heads_ = 1, kv_ = 1;
  bool by_columns_ = false;
  std::optional<double> scale_;
  some_transform transform_;
  Eigen::VectorXd sinks_;
  softlook::dropout drop_{};
  std::shared_ptr<const mask_interface> mask_;
  row_major<T> Q_, K_, V_, dO_, dL_;
};

}  // namespace softlook_test
