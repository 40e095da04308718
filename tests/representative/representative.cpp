// One small program that takes every kernel on every instruction set of the machine. It needs no test
// framework, no exceptions and no RTTI, so .ci/run can build it with any flags in one command.
#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <type_traits>
#include <vector>

#include "softlook/softlook.hpp"

namespace {

using softlook::index;

template <class T>
using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class T>
using column = Eigen::Matrix<T, Eigen::Dynamic, 1>;

int checks = 0;
int faults = 0;

void check(bool right, const char* what, const char* set, const char* kernel, const char* scalar) {
  ++checks;
  if (right) return;
  ++faults;
  std::printf("WRONG: %s (%s, %s, %s)\n", what, set, kernel, scalar);
}

/// Values in [-1, 1) that are the same on every machine.
template <class T>
matrix<T> values(index rows, index cols, std::uint64_t seed) {
  matrix<T> X(rows, cols);
  for (index i = 0; i < X.size(); ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    X.data()[i] = static_cast<T>(static_cast<double>(seed >> 33) / double(1u << 30) - 1.0);
  }
  return X;
}

template <class T>
struct problem {
  matrix<T> Q, K, V;
};

template <class T>
problem<T> make_problem(index queries, index keys, index features, index width) {
  return {values<T>(queries, features, 1), values<T>(keys, features, 2), values<T>(keys, width, 3)};
}

struct truth {
  matrix<double> output;
  column<double> log_sum_exp;
};

/// The definition, in double: score(i, j) gives the finished score, allows(i, j) the mask.
template <class T, class Score, class Allows>
truth by_definition(const problem<T>& p, Score score, Allows allows) {
  truth t{matrix<double>::Zero(p.Q.rows(), p.V.cols()), column<double>(p.Q.rows())};
  for (index i = 0; i < p.Q.rows(); ++i) {
    double largest = -std::numeric_limits<double>::infinity();
    for (index j = 0; j < p.K.rows(); ++j)
      if (allows(i, j)) largest = std::max(largest, score(i, j));
    double sum = 0;
    for (index j = 0; j < p.K.rows(); ++j) {
      if (!allows(i, j)) continue;
      const double weight = std::exp(score(i, j) - largest);
      sum += weight;
      for (index c = 0; c < p.V.cols(); ++c) t.output(i, c) += weight * double(p.V(j, c));
    }
    t.log_sum_exp(i) = sum > 0 ? largest + std::log(sum) : largest;
    if (sum > 0) t.output.row(i) /= sum;
  }
  return t;
}

template <class State>
bool agrees(const State& got, const truth& expected) {
  using T = typename std::remove_cvref_t<decltype(got.output)>::Scalar;
  // Scores are of order one, so errors are a small multiple of epsilon.
  const double bound = 200 * double(std::numeric_limits<T>::epsilon());
  for (index i = 0; i < expected.output.rows(); ++i) {
    const double lse = expected.log_sum_exp(i), got_lse = double(got.log_sum_exp(i));
    if (!(got_lse == lse || std::abs(got_lse - lse) <= bound)) return false;
    for (index c = 0; c < expected.output.cols(); ++c)
      if (!(std::abs(double(got.output(i, c)) - expected.output(i, c)) <= bound)) return false;
  }
  return true;
}

template <class T>
void check_dot(const softlook::options& how, const char* set, const char* kernel, const char* type) {
  using namespace softlook;
  for (const index queries : {1, 5, 67}) {
    const auto p = make_problem<T>(queries, 131, 24, 17);
    const double scale = 1 / std::sqrt(24.0);
    const auto dot = [&](index i, index j) {
      return scale * p.Q.row(i).template cast<double>().dot(p.K.row(j).template cast<double>());
    };
    const auto always = [](index, index) { return true; };
    const auto band = [](index i, index j) { return j <= i + 3 && j >= i - 20 && j < 50; };

    check(agrees(attention_with_log_sum_exp(p.Q, p.K, p.V, how), by_definition(p, dot, always)),
          "full attention", set, kernel, type);

    const auto mask = masks::window{.left = 20, .right = 3} & masks::padding{.length = 50};
    const auto capped = [&](index i, index j) {
      return 2 * std::tanh(dot(i, j) / 2) - 0.25 * std::abs(double(i + 131 - queries - j));
    };
    check(agrees(attention_with_log_sum_exp(p.Q, p.K, p.V, mask, transforms::soft_cap{2.0},
                                            transforms::alibi{0.25}, how),
                 by_definition(p, capped, band)),
          "window & padding, soft cap, ALiBi", set, kernel, type);

    // A masked value never shows, whatever it is; a query without keys gives zeros.
    auto poisoned = p;
    poisoned.V.bottomRows(81).setConstant(std::numeric_limits<T>::quiet_NaN());
    check(agrees(attention_with_log_sum_exp(poisoned.Q, poisoned.K, poisoned.V, mask, how),
                 by_definition(p, dot, band)),
          "NaN behind the mask", set, kernel, type);
    const auto nobody = attention_with_log_sum_exp(p.Q, p.K, p.V, masks::padding{.length = 0}, how);
    check(nobody.output.isZero(0), "rows without keys are zero", set, kernel, type);
  }
}

template <class T>
void check_additive(const softlook::options& how, const char* set, const char* kernel,
                    const char* type) {
  using namespace softlook;
  for (const index queries : {1, 35}) {
    const auto p = make_problem<T>(queries, 101, 12, 9);
    const column<T> v = values<T>(12, 1, 4);
    const auto score = [&](index i, index j) {
      double sum = 0;
      for (index f = 0; f < 12; ++f) sum += double(v(f)) * std::tanh(double(p.Q(i, f)) + double(p.K(j, f)));
      return sum;
    };
    const auto causal = [](index i, index j) { return j <= i + 4; };
    check(agrees(attention_with_log_sum_exp(p.Q, p.K, p.V, scores::additive_projected{v},
                                            masks::causal{.offset = 4}, how),
                 by_definition(p, score, causal)),
          "additive attention", set, kernel, type);
  }
}

template <class T>
void check_threads(const softlook::options& how, const char* set, const char* kernel,
                   const char* type) {
  using namespace softlook;
  const auto p = make_problem<T>(301, 257, 16, 8);
  const masks::causal_bottom_right mask;
  const auto alone = attention(p.Q, p.K, p.V, mask, how);
  for (const int threads : {1, 3}) {
    exec::thread_pool pool(threads);
    check(attention(p.Q, p.K, p.V, mask, how, pool) == alone, "the same bits on a pool", set, kernel,
          type);
  }
}

template <class T>
void check_all(const char* type) {
  using namespace softlook;
  for (const instruction_set isa : available_instruction_sets()) {
    for (const kernel which : {kernel::naive, kernel::tiled, kernel::few_queries}) {
      const options how{.isa = isa, .kernel = which};
      check_dot<T>(how, name_of(isa), name_of(which), type);
      check_additive<T>(how, name_of(isa), name_of(which), type);
      check_threads<T>(how, name_of(isa), name_of(which), type);
    }
  }
}

}  // namespace

int main() {
  check_all<float>("float");
  check_all<double>("double");
  std::printf("instruction sets:");
  for (const auto isa : softlook::available_instruction_sets()) std::printf(" %s", name_of(isa));
  std::printf("; %d checks, %d wrong\n", checks, faults);
  return faults == 0 ? 0 : 1;
}
