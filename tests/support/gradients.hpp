// Gradients by central differences.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "softlook/core/parameters.hpp"
#include "tests/support/random.hpp"

namespace softlook_test {

/// Σ G ∘ Y: the number whose gradients are asked for.
template <class G, class Y>
double inner_product(const G& g, const Y& y) {
  double sum = 0;
  for (Eigen::Index i = 0; i < y.rows(); ++i)
    for (Eigen::Index j = 0; j < y.cols(); ++j) sum += double(g(i, j)) * double(y(i, j));
  return sum;
}

/// Each entry of dX is the central difference of loss() in that entry of X, which loss() reads; in
/// double, within `tolerance` of the largest entry. Several steps: whichever is nearest counts.
template <class X, class D, class F>
void expect_gradient(const std::string& name, X& x, const D& dx, const F& loss,
                     double tolerance = 2e-7) {
  ASSERT_EQ(dx.rows(), x.rows()) << name;
  ASSERT_EQ(dx.cols(), x.cols()) << name;
  if (x.size() == 0) return;
  ASSERT_TRUE(dx.allFinite()) << name;
  const double scale = std::max(1.0, double(dx.cwiseAbs().maxCoeff()));
  for (Eigen::Index i = 0; i < x.rows(); ++i)
    for (Eigen::Index j = 0; j < x.cols(); ++j) {
      const double at = x(i, j);
      double nearest = std::numeric_limits<double>::infinity();
      for (const double step : {1e-4, 1e-5, 1e-6}) {
        x(i, j) = at + step;
        const double above = loss();
        x(i, j) = at - step;
        const double below = loss();
        nearest = std::min(nearest, std::abs((above - below) / (2 * step) - dx(i, j)));
      }
      x(i, j) = at;
      EXPECT_LE(nearest, tolerance * scale) << name << "(" << i << ", " << j << ") " << dx(i, j);
    }
}

/// expect_gradient() for every matrix of a struct of weights.
template <class P, class F>
void expect_parameter_gradients(P& weights, const P& gradients, const F& loss,
                                double tolerance = 2e-7) {
  softlook::for_each_parameter([&](const std::string& name, auto& w,
                                   const auto& g) { expect_gradient(name, w, g, loss, tolerance); },
                               weights, gradients);
}

/// Gradients of a float run are those of the double run, within `tolerance` of the largest entry.
template <class F, class D>
void expect_same_gradient(const std::string& name, const F& narrow, const D& wide,
                          double tolerance = 2e-5) {
  ASSERT_EQ(narrow.rows(), wide.rows()) << name;
  ASSERT_EQ(narrow.cols(), wide.cols()) << name;
  if (wide.size() == 0) return;
  ASSERT_TRUE(narrow.allFinite()) << name;
  const double scale = std::max(1.0, double(wide.cwiseAbs().maxCoeff()));
  EXPECT_LE((narrow.template cast<double>() - wide).cwiseAbs().maxCoeff(), tolerance * scale)
      << name;
}
template <class Narrow, class Wide>
void expect_same_parameter_gradients(const Narrow& narrow, const Wide& wide,
                                     double tolerance = 2e-5) {
  softlook::for_each_parameter([&](const std::string& name, const auto& f,
                                   const auto& d) { expect_same_gradient(name, f, d, tolerance); },
                               narrow, wide);
}

}  // namespace softlook_test
