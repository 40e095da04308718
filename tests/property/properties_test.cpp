// What softmax attention does to the last bit or beside what every variant does (family.inl).
#include <gtest/gtest.h>

#include "softlook/exec/thread_pool.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/random.hpp"
#include "tests/support/ways.hpp"

namespace softlook {
namespace {

using namespace softlook_test;

template <class T>
class Properties : public ::testing::Test {
 protected:
  static constexpr int rounds = 12;
  generator random = seed(301);

  problem_inputs<T> next() {
    const problem_sizes sizes{.queries = random.integer(1, 90),
                              .keys = random.integer(1, 250),
                              .features = random.integer(1, 40),
                              .values = random.integer(1, 40),
                              .magnitude = random.one_of({0.3, 1.0, 3.0})};
    return random_problem<T>(sizes, generator(random.bits()));
  }
  /// Twice: two results are compared, each off by the bound of one.
  static double bound(const problem_inputs<T>& p, double extra_scores = 0) {
    const double root = std::sqrt(static_cast<double>(p.Q.cols()));
    const double scores = root * max_magnitude(p.Q) * max_magnitude(p.K) + extra_scores;
    return 2 * attention_bound<T>(static_cast<double>(p.K.rows()), static_cast<double>(p.Q.cols()),
                                  scores, 1 + max_magnitude(p.V));
  }
  template <class F>
  void for_every_case(const F& f) {
    for (int round = 0; round < rounds; ++round) {
      const auto p = next();
      for (const way& which : every_way()) {
        SCOPED_TRACE(::testing::Message()
                     << which.name << ", round " << round << ": n " << p.Q.rows() << " m "
                     << p.K.rows() << " d " << p.Q.cols() << " e " << p.V.cols());
        f(p, which.opts);
      }
    }
  }
};
TYPED_TEST_SUITE(Properties, scalars, scalar_names);

TYPED_TEST(Properties, AConstantAddedToARowOfScoresOnlyShiftsItsLogSumExp) {
  using T = TypeParam;
  this->for_every_case([&](const auto& p, const options& opts) {
    const auto shift = random_matrix<column<T>>(p.Q.rows(), 1, this->random, 5.0);
    const auto plain = attention_with_log_sum_exp(p.Q, p.K, p.V, opts);
    const auto shifted = attention_with_log_sum_exp(p.Q, p.K, p.V, transforms::bias{shift}, opts);
    const double bound = this->bound(p, max_magnitude(shift));
    EXPECT_LE(max_error(plain.output, shifted.output), bound);
    EXPECT_LE(max_error(plain.log_sum_exp + shift, shifted.log_sum_exp), bound);
  });
}

TYPED_TEST(Properties, SplittingTheKeysAndMergingTheStatesChangesNothing) {
  this->for_every_case([&](const auto& p, const options& opts) {
    const index m = p.K.rows(), first = this->random.integer(0, m),
                second = this->random.integer(first, m);
    const auto part = [&](index begin, index end) {
      return attention_with_log_sum_exp(p.Q, p.K.middleRows(begin, end - begin),
                                        p.V.middleRows(begin, end - begin), opts);
    };
    const auto whole = attention_with_log_sum_exp(p.Q, p.K, p.V, opts);
    const auto merged = merge(merge(part(0, first), part(first, second)), part(second, m));
    EXPECT_LE(max_error(merged.output, whole.output), 2 * this->bound(p));
    EXPECT_LE(max_error(merged.log_sum_exp, whole.log_sum_exp), 2 * this->bound(p));
  });
}

TYPED_TEST(Properties, SplittingTheKeysUnderACausalMaskChangesNothing) {
  this->for_every_case([&](const auto& p, const options& opts) {
    const index m = p.K.rows(), cut = this->random.integer(0, m);
    const index offset = this->random.integer(-10, m);
    const auto whole =
        attention_with_log_sum_exp(p.Q, p.K, p.V, masks::causal{.offset = offset}, opts);
    const auto before = attention_with_log_sum_exp(p.Q, p.K.topRows(cut), p.V.topRows(cut),
                                                   masks::causal{.offset = offset}, opts);
    const auto after =
        attention_with_log_sum_exp(p.Q, p.K.bottomRows(m - cut), p.V.bottomRows(m - cut),
                                   masks::causal{.offset = offset - cut}, opts);
    const auto merged = merge(before, after);
    EXPECT_LE(max_error(merged.output, whole.output), 2 * this->bound(p));
    EXPECT_LE(max_error(merged.log_sum_exp, whole.log_sum_exp), 2 * this->bound(p));
  });
}

TYPED_TEST(Properties, AnyTilingGivesTheSameAnswer) {
  for (int round = 0; round < this->rounds; ++round) {
    const auto p = this->next();
    const auto naive = naive_attention(p.Q, p.K, p.V, masks::causal_bottom_right{});
    for (const auto isa : available_instruction_sets()) {
      options opts = with_kernel(kernel::tiled);
      opts.isa = isa;
      opts.tile = tile_shape{.keys = this->random.integer(1, 200),
                             .query_tiles = this->random.integer(1, 9)};
      const auto tiled =
          attention_with_log_sum_exp(p.Q, p.K, p.V, masks::causal_bottom_right{}, opts);
      EXPECT_LE(max_error(tiled.output, naive.output), this->bound(p)) << opts.tile->keys;
      EXPECT_LE(max_error(tiled.log_sum_exp, naive.log_sum_exp), this->bound(p));
    }
  }
}

TYPED_TEST(Properties, EqualValuesAreReturned) {
  this->for_every_case([&](const auto& p, const options& opts) {
    const row_major<TypeParam> V = p.V.row(0).replicate(p.K.rows(), 1);
    const auto output = attention(p.Q, p.K, V, opts);
    const double slack =
        unit_sum_bound<TypeParam>(static_cast<double>(p.K.rows())) * max_magnitude(V);
    EXPECT_LE(max_error(output, V.row(0).replicate(p.Q.rows(), 1)), slack);
  });
}

// Twice the values are twice the outputs exactly: a power of two scales every rounding with it.
TYPED_TEST(Properties, TwiceTheValuesAreTwiceTheOutputsToTheBit) {
  this->for_every_case([&](const auto& p, const options& opts) {
    const row_major<TypeParam> V = TypeParam(2) * p.V;
    const row_major<TypeParam> twice = TypeParam(2) * attention(p.Q, p.K, p.V, opts);
    EXPECT_TRUE(bitwise_equal(attention(p.Q, p.K, V, opts), twice));
  });
}

TYPED_TEST(Properties, DoublingEveryKeyChangesOnlyTheLogSumExp) {
  this->for_every_case([&](const auto& p, const options& opts) {
    const row_major<TypeParam> K = p.K.replicate(2, 1), V = p.V.replicate(2, 1);
    const auto once = attention_with_log_sum_exp(p.Q, p.K, p.V, opts);
    const auto twice = attention_with_log_sum_exp(p.Q, K, V, opts);
    EXPECT_LE(max_error(once.output, twice.output), this->bound(p));
    const column<TypeParam> shifted =
        once.log_sum_exp.array() + static_cast<TypeParam>(std::log(2.0));
    EXPECT_LE(max_error(shifted, twice.log_sum_exp), this->bound(p));
  });
}

TYPED_TEST(Properties, ThreadsChangeNoBit) {
  const exec::thread_pool pool(3);
  this->for_every_case([&](const auto& p, const options& opts) {
    const auto alone =
        attention_with_log_sum_exp(p.Q, p.K, p.V, masks::causal_bottom_right{}, opts);
    const auto together =
        attention_with_log_sum_exp(p.Q, p.K, p.V, masks::causal_bottom_right{}, opts, pool);
    EXPECT_TRUE(bitwise_equal(alone.output, together.output));
    EXPECT_TRUE(bitwise_equal(alone.log_sum_exp, together.log_sum_exp));
  });
}

}  // namespace
}  // namespace softlook
