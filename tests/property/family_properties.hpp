// What holds of any attention: the properties that family.inl asks of every variant.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/property/family.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/ways.hpp"

namespace softlook_test::family {

/// A variant without its type, so that a property is compiled once.
struct subject {
  matrix (*output)(const inputs&, const how&) = nullptr;
  matrix (*weights)(const inputs&, const how&) = nullptr;
  bool self_attention = false, as_many_keys = false, takes_masks = false, whole_rows = false;
  bool tiles = false;
  double steepness = 1;
};

template <class V>
concept shows_weights = requires(const inputs& in, const how& h) { V::weights(in, h); };

template <class V>
subject subject_of() {
  subject s{&V::output,     nullptr,       V::self_attention, V::as_many_keys || V::self_attention,
            V::takes_masks, V::whole_rows, V::tiles,          V::steepness};
  if constexpr (shows_weights<V>) s.weights = &V::weights;
  return s;
}

inline how unmasked(const softlook::options& opts = {}) {
  static const auto none = hold_mask(softlook::masks::none{});
  return {any_mask{none.get()}, false, opts};
}

inline how causal(const softlook::options& opts = {}) {
  static const auto future = hold_mask(softlook::masks::causal_top_left{});
  return {any_mask{future.get()}, true, opts};
}

/// Without a mask, and causal where the variant can be.
inline std::vector<how> ways_of(const subject& s, const inputs& in,
                                const softlook::options& opts = {}) {
  std::vector<how> ways{unmasked(opts)};
  if (s.takes_masks && in.Q.rows() == in.K.rows()) ways.push_back(causal(opts));
  return ways;
}

inline inputs random_inputs(const subject& s, index n, index m, generator& random) {
  inputs in;
  in.Q = random_matrix<matrix>(n, features, random);
  in.K = s.self_attention ? in.Q : random_matrix<matrix>(m, features, random);
  in.V = s.self_attention ? in.Q : random_matrix<matrix>(m, features, random);
  return in;
}

/// f(inputs, random) for some sizes: single rows, part of a tile, several tiles.
template <class F>
void for_sizes(const subject& s, const F& f) {
  generator random = seed(77);
  using sizes = std::pair<index, index>;
  for (const auto& [n, m] :
       {sizes{1, 1}, {2, 5}, {9, 3}, {33, 20}, {33, 33}, {70, 131}, {97, 97}}) {
    const index keys = s.as_many_keys ? n : m;
    SCOPED_TRACE(::testing::Message() << "n " << n << " m " << keys);
    const inputs in = random_inputs(s, n, keys, random);
    f(in, random);
  }
}

/// Every kernel on every instruction set, where the variant lets them be chosen.
inline std::vector<way> kernels_of(const subject& s) {
  return s.tiles ? every_way() : std::vector<way>{{"as it is", {}}};
}

/// f(inputs, random, options) for those sizes and kernels.
template <class F>
void for_every_case(const subject& s, const F& f) {
  for_sizes(s, [&](const inputs& in, generator& random) {
    for (const way& which : kernels_of(s)) {
      SCOPED_TRACE(which.name);
      f(in, random, which.opts);
    }
  });
}

/// Two results are compared, each off by the bound of one.
inline double agreement(const subject& s, const inputs& in) {
  const double scores = s.steepness * double(features) * max_magnitude(in.Q) * max_magnitude(in.K);
  return 2 * attention_bound<float>(double(in.K.rows()), double(features), scores,
                                    1 + max_magnitude(in.V));
}

inline Eigen::PermutationMatrix<Eigen::Dynamic> shuffle(index count, generator& random) {
  Eigen::VectorXi order(count);
  std::iota(order.begin(), order.end(), 0);
  for (index k = count - 1; k > 0; --k) std::swap(order[k], order[random.integer(0, k)]);
  return Eigen::PermutationMatrix<Eigen::Dynamic>(order);
}

inline void expect_permuted_queries_permute_outputs(const subject& s) {
  for_every_case(s, [&](const inputs& in, generator& random, const softlook::options& opts) {
    const auto order = shuffle(in.Q.rows(), random);
    const matrix straight = order * s.output(in, unmasked(opts));
    EXPECT_LE(max_error(s.output({order * in.Q, in.K, in.V}, unmasked(opts)), straight),
              agreement(s, in));
  });
}

inline void expect_permuted_keys_change_nothing(const subject& s) {
  for_every_case(s, [&](const inputs& in, generator& random, const softlook::options& opts) {
    const auto order = shuffle(in.K.rows(), random);
    EXPECT_LE(max_error(s.output({in.Q, order * in.K, order * in.V}, unmasked(opts)),
                        s.output(in, unmasked(opts))),
              agreement(s, in));
  });
}

inline void expect_permuted_tokens_permute_outputs(const subject& s) {
  for_every_case(s, [&](const inputs& in, generator& random, const softlook::options& opts) {
    const auto order = shuffle(in.Q.rows(), random);
    const matrix X = order * in.Q, straight = order * s.output(in, unmasked(opts));
    EXPECT_LE(max_error(s.output({X, X, X}, unmasked(opts)), straight), agreement(s, in));
  });
}

/// Other numbers, and NaN, in the later rows of all three inputs: not a bit changes.
inline void expect_rows_to_ignore_what_is_later(const subject& s) {
  generator random = seed(78);
  for (const index n : {2, 9, 33, 97}) {
    const inputs in = random_inputs(s, n, n, random);
    const index cut = random.integer(1, n - 1);
    for (const way& which : kernels_of(s)) {
      const matrix straight = s.output(in, causal(which.opts));
      for (const float later : {0.f, 5.f, std::numeric_limits<float>::quiet_NaN()}) {
        inputs other = in;
        for (matrix* X : {&other.Q, &other.K, &other.V}) X->bottomRows(n - cut).array() *= later;
        const matrix changed = s.output(other, causal(which.opts));
        EXPECT_TRUE(bitwise_equal(changed.topRows(cut), straight.topRows(cut)))
            << which.name << ", n " << n << " cut " << cut << " later times " << later;
      }
    }
  }
}

/// Of each column; and of 0 where weights may sum to less than 1.
inline void expect_outputs_within_values(const subject& s) {
  for_every_case(s, [&](const inputs& in, generator&, const softlook::options& opts) {
    const double slack = 4 * unit_sum_bound<float>(double(in.K.rows())) * max_magnitude(in.V);
    for (const how& h : ways_of(s, in, opts)) {
      const matrix O = s.output(in, h);
      ASSERT_TRUE(all_finite(O));
      ASSERT_EQ(O.cols(), in.V.cols());
      for (index c = 0; c < O.cols(); ++c) {
        float low = in.V.col(c).minCoeff(), high = in.V.col(c).maxCoeff();
        if (!s.whole_rows) low = std::min(low, 0.f), high = std::max(high, 0.f);
        EXPECT_GE(double(O.col(c).minCoeff()), double(low) - slack) << "column " << c;
        EXPECT_LE(double(O.col(c).maxCoeff()), double(high) + slack) << "column " << c;
      }
    }
  });
}

inline void expect_rows_of_weights_to_sum_to_one(const subject& s) {
  for_sizes(s, [&](const inputs& in, generator&) {
    const double slack = unit_sum_bound<float>(double(in.K.rows()));
    for (const how& h : ways_of(s, in)) {
      const matrix W = s.weights(in, h);
      ASSERT_TRUE(all_finite(W));
      EXPECT_GE(W.minCoeff(), 0.f);
      for (index i = 0; i < W.rows(); ++i) {
        const double sum = W.row(i).cast<double>().sum();
        EXPECT_LE(sum, 1 + slack) << "row " << i;
        if (s.whole_rows) {
          EXPECT_GE(sum, 1 - slack) << "row " << i;
        }
      }
    }
  });
}

inline void expect_outputs_to_be_weighted_values(const subject& s) {
  for_every_case(s, [&](const inputs& in, generator&, const softlook::options& opts) {
    for (const how& h : ways_of(s, in, opts)) {
      const matrix truth = s.weights(in, h) * in.V;
      EXPECT_LE(max_error(s.output(in, h), truth), agreement(s, in));
    }
  });
}

inline void expect_outputs_to_be_linear_in_values(const subject& s) {
  for_every_case(s, [&](const inputs& in, generator& random, const softlook::options& opts) {
    inputs other = in, both = in;
    other.V = random_matrix<matrix>(in.V.rows(), in.V.cols(), random);
    both.V = 2.5f * in.V - other.V;
    for (const how& h : ways_of(s, in, opts)) {
      const matrix truth = 2.5f * s.output(in, h) - s.output(other, h);
      const double size = 3 * max_magnitude(in.V) + max_magnitude(other.V);
      EXPECT_LE(max_error(s.output(both, h), truth),
                2 * attention_bound<float>(double(in.K.rows()), 1, s.steepness, size));
    }
  });
}

inline void expect_tiled_to_equal_naive(const subject& s) {
  for_sizes(s, [&](const inputs& in, generator&) {
    const auto naive = ways_of(s, in, with_kernel(softlook::kernel::naive));
    for (const way& which : fast_ways()) {
      if (which.opts.kernel != softlook::kernel::tiled) continue;
      SCOPED_TRACE(which.name);
      for (const how& h : naive) {
        const how tiled{h.mask, h.causal, which.opts};
        EXPECT_LE(max_error(s.output(in, tiled), s.output(in, h)), agreement(s, in));
      }
    }
  });
}

}  // namespace softlook_test::family
