// A struct of weights with all that for_each_parameter knows, for tests of the training kit.
#pragma once

#include <Eigen/Core>
#include <string>
#include <vector>

#include "tests/support/random.hpp"

namespace softlook_test {

template <class T>
struct kit_part {
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> W;  // columns of which lie together
  Eigen::Matrix<T, 1, Eigen::Dynamic> b;

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("W", p.W...);
    f("b", p.b...);
  }
};

template <class T>
struct kit_weights {
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> E;
  std::vector<kit_part<T>> parts;
  Eigen::Matrix<T, Eigen::Dynamic, 1> none;  // an optional bias that is left out
  int setting = 3;

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("E", p.E...);
    f("parts", p.parts...);
    f("none", p.none...);
    f("setting", p.setting...);
  }
};

template <class T>
kit_weights<T> random_kit_weights(std::uint64_t seed) {
  generator random(seed);
  kit_weights<T> w;
  w.E.resize(3, 4);
  w.parts.resize(2);
  for (auto& part : w.parts) {
    part.W.resize(4, 2);
    part.b.resize(2);
  }
  softlook::for_each_parameter(
      [&](const std::string&, auto& m) {
        for (Eigen::Index i = 0; i < m.rows(); ++i)
          for (Eigen::Index j = 0; j < m.cols(); ++j) m(i, j) = T(random.normal());
      },
      w);
  return w;
}

/// Whether all numbers are the same, bit for bit (NaN is not NaN).
template <class P>
bool same_numbers(const P& a, const P& b) {
  bool same = true;
  softlook::for_each_parameter(
      [&](const std::string&, const auto& x, const auto& y) {
        same = same && (x.array() == y.array()).all();
      },
      a, b);
  return same;
}

}  // namespace softlook_test
