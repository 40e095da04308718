// For a given kernel and instruction set the result has the same bits for any number of threads,
// any executor, any storage order, any split of the queries and any number of query tiles.
#include <gtest/gtest.h>

#include <string>

#include "softlook/exec/thread_pool.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/storage.hpp"

namespace softlook::identical_bits_test {
namespace {

using namespace softlook_test;

template <class T>
class IdenticalBits : public ::testing::Test {
 protected:
  static constexpr index n = 131, m = 303;
  problem_inputs<T> p =
      random_problem<T>({.queries = n, .keys = m, .features = 19, .values = 23}, seed(91));

  template <class State, class OtherState>
  static void expect_same(const State& a, const OtherState& b) {
    EXPECT_TRUE(bitwise_equal(a.output, b.output));
    EXPECT_TRUE(bitwise_equal(a.log_sum_exp, b.log_sum_exp));
  }

  /// The ways whose kernel is pinned: `attention` alone may choose another kernel for another n.
  /// Not the naive path, whose Eigen products sum in an order that depends on shape and storage.
  static std::vector<way> pinned_ways() {
    std::vector<way> ways;
    for (way& which : fast_ways())
      if (which.opts.kernel) ways.push_back(which);
    return ways;
  }
};
TYPED_TEST_SUITE(IdenticalBits, scalars, scalar_names);

TYPED_TEST(IdenticalBits, ForAnyNumberOfThreads) {
  const masks::causal_bottom_right mask;
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    const auto alone =
        attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, mask, which.opts);
    for (const index threads : {1, 2, 3, 7}) {
      const exec::thread_pool pool(threads);
      this->expect_same(alone, attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, mask,
                                                          which.opts, pool));
    }
  }
}

TYPED_TEST(IdenticalBits, ForAnyExecutor) {
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    const auto alone = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, which.opts);
    const auto with = [&](const auto& executor) {
      return attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, which.opts, executor);
    };
    this->expect_same(alone, with(exec::sequential{}));
    this->expect_same(alone, with(last_task_first{}));
    this->expect_same(alone, with(round_robin{}));
    this->expect_same(alone, with(thread_per_worker{}));
  }
}

TYPED_TEST(IdenticalBits, ForFewQueriesOnAnyNumberOfThreads) {
  const row_major<TypeParam> Q = this->p.Q.topRows(2);
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    const auto alone = attention_with_log_sum_exp(Q, this->p.K, this->p.V, which.opts);
    const exec::thread_pool pool(3);
    this->expect_same(alone, attention_with_log_sum_exp(Q, this->p.K, this->p.V, which.opts, pool));
  }
}

TYPED_TEST(IdenticalBits, ForAnyStorage) {
  using T = TypeParam;
  const col_major<T> Q = this->p.Q, K = this->p.K, V = this->p.V;
  const framed_copy<T> framed_Q(Q), framed_K(K), framed_V(V);
  strided_copy<T> strided_Q(Q), strided_K(K), strided_V(V);
  const row_major<T> turned_Q = Q.transpose(), turned_K = K.transpose(), turned_V = V.transpose();
  for (const way& which : fast_ways()) {
    SCOPED_TRACE(which.name);
    const auto alone = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, which.opts);
    this->expect_same(alone, attention_with_log_sum_exp(Q, K, V, which.opts));
    this->expect_same(alone, attention_with_log_sum_exp(Q, this->p.K, V, which.opts));
    this->expect_same(alone, attention_with_log_sum_exp(this->p.Q, K, this->p.V, which.opts));
    this->expect_same(alone, attention_with_log_sum_exp(framed_Q.block(), framed_K.block(),
                                                        framed_V.block(), which.opts));
    this->expect_same(alone, attention_with_log_sum_exp(strided_Q.map(), strided_K.map(),
                                                        strided_V.map(), which.opts));
    this->expect_same(alone, attention_with_log_sum_exp(turned_Q.transpose(), turned_K.transpose(),
                                                        turned_V.transpose(), which.opts));
  }
}

// Rows of whole vectors may be read in place, all others are copied first.
TYPED_TEST(IdenticalBits, ForAnyStorageOfWholeVectors) {
  using T = TypeParam;
  const auto whole =
      random_problem<T>({.queries = 5, .keys = 700, .features = 32, .values = 144}, seed(93));
  const col_major<T> Q = whole.Q, K = whole.K, V = whole.V;
  strided_copy<T> strided_K(K), strided_V(V);
  for (const way& which : fast_ways()) {
    SCOPED_TRACE(which.name);
    const auto alone = attention_with_log_sum_exp(whole.Q, whole.K, whole.V, which.opts);
    this->expect_same(alone, attention_with_log_sum_exp(Q, K, V, which.opts));
    this->expect_same(alone,
                      attention_with_log_sum_exp(Q, strided_K.map(), strided_V.map(), which.opts));
  }
}

TYPED_TEST(IdenticalBits, ForAnyStorageOfAdditiveScores) {
  using T = TypeParam;
  auto random = seed(92);
  const auto W = random_matrix<row_major<T>>(19, 12, random);
  const auto v = random_matrix<column<T>>(12, 1, random);
  const col_major<T> W_by_columns = W, Q = this->p.Q, K = this->p.K, V = this->p.V;
  for (const way& which : fast_ways()) {
    SCOPED_TRACE(which.name);
    const auto alone = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V,
                                                  scores::additive{W, W, v}, which.opts);
    this->expect_same(
        alone, attention_with_log_sum_exp(Q, K, V, scores::additive{W_by_columns, W_by_columns, v},
                                          which.opts));
  }
}

TYPED_TEST(IdenticalBits, ForAnyStorageOfTheOutput) {
  using T = TypeParam;
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    const auto alone = attention(this->p.Q, this->p.K, this->p.V, which.opts);
    col_major<T> by_columns(this->n, 23);
    attention_into(this->p.Q, this->p.K, this->p.V, by_columns, which.opts);
    EXPECT_TRUE(bitwise_equal(alone, by_columns));
    col_major<T> frame = col_major<T>::Constant(this->n + 2, 30, T(7));
    attention_into(this->p.Q, this->p.K, this->p.V, frame.block(1, 4, this->n, 23), which.opts);
    EXPECT_TRUE(bitwise_equal(alone, frame.block(1, 4, this->n, 23)));
    frame.block(1, 4, this->n, 23).setConstant(T(7));
    EXPECT_TRUE(bitwise_equal(frame, col_major<T>::Constant(this->n + 2, 30, T(7))));
    strided_copy<T> strided(alone);
    strided.map().setZero();
    attention_into(this->p.Q, this->p.K, this->p.V, strided.map(), which.opts);
    EXPECT_TRUE(bitwise_equal(alone, strided.map()));
  }
}

TYPED_TEST(IdenticalBits, ForQueriesInOneCallOrInSeveral) {
  for (const way& which : this->pinned_ways()) {
    SCOPED_TRACE(which.name);
    const auto whole = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, which.opts);
    for (const index rows : {1, 7, 48, 100}) {
      for (index first = 0; first < this->n; first += rows) {
        const index count = std::min(rows, this->n - first);
        const auto part = attention_with_log_sum_exp(this->p.Q.middleRows(first, count), this->p.K,
                                                     this->p.V, which.opts);
        EXPECT_TRUE(bitwise_equal(part.output, whole.output.middleRows(first, count)))
            << rows << " rows from " << first;
        EXPECT_TRUE(bitwise_equal(part.log_sum_exp, whole.log_sum_exp.segment(first, count)));
      }
    }
  }
}

// One query may take whole rows of keys and values in one run, several take a few rows in turn.
TYPED_TEST(IdenticalBits, ForOneQueryAtATimeOverRowsOfWholeVectors) {
  for (const index width : {16, 32, 64, 128}) {
    const auto whole = random_problem<TypeParam>(
        {.queries = 3, .keys = 1003, .features = width, .values = width}, seed(94));
    const col_major<TypeParam> K = whole.K, V = whole.V;
    for (const way& which : this->pinned_ways()) {
      SCOPED_TRACE(which.name + (" of width " + std::to_string(width)));
      const auto together = attention(whole.Q, whole.K, whole.V, which.opts);
      for (index i = 0; i < 3; ++i) {
        const row_major<TypeParam> q = whole.Q.row(i);
        EXPECT_TRUE(bitwise_equal(attention(q, whole.K, whole.V, which.opts), together.row(i)));
        EXPECT_TRUE(bitwise_equal(attention(q, K, V, which.opts), together.row(i)));
      }
    }
  }
}

TYPED_TEST(IdenticalBits, ForQueriesInOneCallOrInSeveralUnderAMask) {
  for (const way& which : this->pinned_ways()) {
    SCOPED_TRACE(which.name);
    const auto whole = attention(this->p.Q, this->p.K, this->p.V, masks::causal{.offset = 40},
                                 transforms::soft_cap{8.0}, which.opts);
    for (const index first : {1, 30, 64}) {
      const auto rest =
          attention(this->p.Q.bottomRows(this->n - first), this->p.K, this->p.V,
                    masks::causal{.offset = 40 + first}, transforms::soft_cap{8.0}, which.opts);
      EXPECT_TRUE(bitwise_equal(rest, whole.bottomRows(this->n - first))) << first;
    }
  }
}

// A product and a sum may or may not become one fused operation, but in every tile alike.
TYPED_TEST(IdenticalBits, ForQueriesInOneCallOrInSeveralUnderAFunctor) {
  const transforms::map bent([](auto s, std::int32_t, std::int32_t j) {
    using S = decltype(s);
    return s * S(0.7) + S(0.013) * S(j) + s * s * S(0.1);
  });
  for (const way& which : this->pinned_ways()) {
    SCOPED_TRACE(which.name);
    const auto whole =
        attention(this->p.Q, this->p.K, this->p.V, masks::causal{.offset = 40}, bent, which.opts);
    for (const index first : {1, 30, 64}) {
      const auto rest = attention(this->p.Q.bottomRows(this->n - first), this->p.K, this->p.V,
                                  masks::causal{.offset = 40 + first}, bent, which.opts);
      EXPECT_TRUE(bitwise_equal(rest, whole.bottomRows(this->n - first))) << first;
    }
  }
}

TYPED_TEST(IdenticalBits, ForAnyNumberOfQueryTiles) {
  for (const auto isa : available_instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    for (const index keys : {1, 40, 96}) {
      options opts;
      opts.isa = isa;
      opts.kernel = kernel::tiled;
      opts.tile = tile_shape{.keys = keys, .query_tiles = 1};
      const auto one = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V,
                                                  masks::causal_bottom_right{}, opts);
      for (const index tiles : {2, 3, 8}) {
        opts.tile->query_tiles = tiles;
        this->expect_same(one, attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V,
                                                          masks::causal_bottom_right{}, opts));
      }
    }
  }
}

TYPED_TEST(IdenticalBits, OfACausalRowWithoutTheRowsAfterIt) {
  for (const way& which : this->pinned_ways()) {
    SCOPED_TRACE(which.name);
    const auto whole =
        attention(this->p.Q, this->p.K, this->p.V, masks::causal_top_left{}, which.opts);
    for (const index rows : {1, 9, 50, 100}) {
      const auto part = attention(this->p.Q.topRows(rows), this->p.K.topRows(rows),
                                  this->p.V.topRows(rows), masks::causal_top_left{}, which.opts);
      EXPECT_TRUE(bitwise_equal(part, whole.topRows(rows))) << rows << " rows";
    }
  }
}

TYPED_TEST(IdenticalBits, InEveryCall) {
  for (const way& which : every_way())
    EXPECT_TRUE(bitwise_equal(attention(this->p.Q, this->p.K, this->p.V, which.opts),
                              attention(this->p.Q, this->p.K, this->p.V, which.opts)))
        << which.name;
}

TYPED_TEST(IdenticalBits, WithAWorkspaceOrWithout) {
  workspace space;
  for (way& which : every_way()) {
    const auto without = attention(this->p.Q, this->p.K, this->p.V, which.opts);
    which.opts.workspace = &space;
    for (int round = 0; round < 2; ++round)
      EXPECT_TRUE(bitwise_equal(without, attention(this->p.Q, this->p.K, this->p.V, which.opts)))
          << which.name;
  }
}

TYPED_TEST(IdenticalBits, OfFlashAttentionAndThePinnedTiledKernel) {
  const auto flash = flash_attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V);
  this->expect_same(flash, attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V,
                                                      with_kernel(kernel::tiled)));
  EXPECT_TRUE(bitwise_equal(flash.output, flash_attention(this->p.Q, this->p.K, this->p.V)));
  row_major<TypeParam> into(this->n, 23);
  flash_attention_into(this->p.Q, this->p.K, this->p.V, into);
  EXPECT_TRUE(bitwise_equal(flash.output, into));
}

TYPED_TEST(IdenticalBits, OfNaiveAttentionAndThePinnedNaiveKernel) {
  const auto naive = naive_attention(this->p.Q, this->p.K, this->p.V);
  const auto pinned =
      attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, with_kernel(kernel::naive));
  EXPECT_TRUE(bitwise_equal(naive.output, pinned.output));
  EXPECT_TRUE(bitwise_equal(naive.log_sum_exp, pinned.log_sum_exp));
}

}  // namespace
}  // namespace softlook::identical_bits_test
