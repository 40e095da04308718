#include "softlook/engine/run/row_chain.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "softlook/exec/sequential.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::detail::row_chain_test {
namespace {

using namespace softlook_test;

TEST(RowBlocks, AreWholeRegisterTilesForEveryWorker) {
  for (const index rows : {0, 1, 31, 32, 63, 64, 65, 100, 128, 170, 512, 1000, 100000})
    for (const index row_bytes : {0, 4, 1536, 6144, 1 << 20})
      for (const index workers : {1, 2, 3, 5, 16, 1000}) {
        EXPECT_EQ(has_row_blocks(rows, workers), workers > 1 && rows >= 32 * workers);
        if (!has_row_blocks(rows, workers)) continue;
        const index block = row_block_for(rows, row_bytes, workers);
        EXPECT_EQ(block % 8, 0) << "no register tile of rows is cut in two";
        EXPECT_GE(block, least_row_block);
        EXPECT_LE(block, 128);
        EXPECT_TRUE(block == least_row_block || block * row_bytes <= 768 * 1024);
        const index rounds = ceil_div(ceil_div(rows, block), workers);
        EXPECT_LT((rounds - 1) * workers * block, rows) << "a worker has a block in each round";
      }
}

/// Two products and a norm that fits between them.
template <class T>
class RowChain : public ::testing::Test {
 protected:
  static constexpr index features = 24, hidden = 50;
  generator random = seed(709);

  row_major<T> matrix(index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, random);
  }
  packed_linear<T> linear(index inputs, index outputs) {
    const row_major<T> W = matrix(inputs, outputs), b = matrix(1, outputs);
    return {view_of(W), view_of(b), activation::relu};
  }
  row_norm<T> norm_of(index columns) {
    const row_major<T> gain = matrix(1, columns), bias = matrix(1, columns);
    return {view_of(gain), view_of(bias), 1e-5};
  }
  const packed_linear<T> first = linear(features, hidden), second = linear(hidden, features);
  const row_norm<T> norm = norm_of(hidden);

  static mutable_matrix_view<T> writable(row_major<T>& X) {
    return {X.data(), X.rows(), X.cols(), X.cols(), 1};
  }

  /// f(chain) on an executor.
  template <class Executor, class F>
  void with_chain(const Executor& executor, index rows, const F& f) const {
    layer_call call;
    call.exec = ref_to(executor);
    call.isa = best_instruction_set();
    std::vector<T> norm_rows(std::size_t(norm.workers(rows, call.exec) * norm.scratch_size()));
    row_chain<T> chain(call, rows, norm_rows.data());
    f(chain);
  }
  template <class F>
  void on_every_executor(index rows, const F& f) const {
    const exec::thread_pool two(2), five(5);
    with_chain(two, rows, f);
    with_chain(five, rows, f);
    with_chain(round_robin{2}, rows, f);
    with_chain(round_robin{5}, rows, f);
    with_chain(round_robin{70}, rows, f);
    with_chain(thread_per_worker{}, rows, f);
  }
};
TYPED_TEST_SUITE(RowChain, scalars, scalar_names);

TYPED_TEST(RowChain, HasTheBitsOfItsStepsOneAfterAnother) {
  using T = TypeParam;
  for (const index rows : {1, 31, 64, 65, 170, 300}) {
    const row_major<T> X = this->matrix(rows, this->features);
    const auto f = [&](row_chain<T>& chain, row_major<T>& H, row_major<T>& Y) {
      chain.product(this->first, view_of(X), this->writable(H), {});
      chain.norm(this->norm, view_of(H), this->writable(H));
      chain.product(this->second, view_of(H), this->writable(Y), {}, view_of(X));
      chain.run();
    };
    row_major<T> H(rows, this->hidden), expected(rows, this->features);
    this->with_chain(exec::sequential{}, rows, [&](row_chain<T>& c) { f(c, H, expected); });
    this->on_every_executor(rows, [&](row_chain<T>& c) {
      row_major<T> Y = row_major<T>::Constant(rows, this->features, T(42));
      f(c, H, Y);
      EXPECT_TRUE(bitwise_equal(Y, expected)) << rows;
    });
  }
}

TYPED_TEST(RowChain, AProductMultipliesAFactorAndAddsAResidual) {
  using T = TypeParam;
  for (const index rows : {1, 7, 64, 170}) {
    const row_major<T> X = this->matrix(rows, this->features);
    const row_major<T> G = this->matrix(rows, this->hidden), R = this->matrix(rows, this->hidden);
    row_major<T> plain(rows, this->hidden);
    this->with_chain(exec::sequential{}, rows, [&](row_chain<T>& c) {
      c.product(this->first, view_of(X), this->writable(plain), {});
    });
    const row_major<T> expected = (plain.array() * G.array() + R.array()).matrix();
    this->on_every_executor(rows, [&](row_chain<T>& c) {
      row_major<T> Y = G;
      c.product(this->first, view_of(X), this->writable(Y), {}, view_of(R), view_of(Y));
      c.run();
      EXPECT_LE((Y - expected).cwiseAbs().maxCoeff(),
                std::numeric_limits<T>::epsilon() * expected.cwiseAbs().maxCoeff())
          << rows;
    });
  }
}

TYPED_TEST(RowChain, IsOneSetOfTasks) {
  using T = TypeParam;
  const row_major<T> X = this->matrix(100, this->features);
  row_major<T> H(100, this->hidden), Y = X;
  index sets = 0;
  this->with_chain(counted_sets{3, &sets}, 100, [&](row_chain<T>& chain) {
    chain.product(this->first, view_of(X), this->writable(H), {});
    chain.norm(this->norm, view_of(H), this->writable(H));
    chain.product(this->second, view_of(H), this->writable(Y), {}, view_of(Y));
    EXPECT_EQ(sets, 0);
    chain.run();
    EXPECT_EQ(sets, 1);
    chain.run();
    EXPECT_EQ(sets, 1) << "nothing was put off";
  });
}

TYPED_TEST(RowChain, AStepWaitsForOneWhoseRowsLieElsewhere) {
  using T = TypeParam;
  constexpr index rows = 96, shift = 40, columns = TestFixture::features;
  const packed_linear<T> square = this->linear(columns, columns);
  // In one matrix: rows [shift, shift + rows) become f(rows [0, rows)), or the other way round, and
  // then whatever a second step makes of them.
  for (const bool down : {true, false})
    for (const bool reads_first : {true, false}) {
      const row_major<T> start = this->matrix(rows + shift, columns);
      const auto f = [&](row_chain<T>& chain, row_major<T>& all) {
        const auto upper = this->writable(all).rows_from(0, rows);
        const auto lower = this->writable(all).rows_from(shift, rows);
        row_major<T> apart(rows, columns);
        const auto &from = down ? upper : lower, &to = down ? lower : upper;
        if (reads_first)
          chain.product(square, as_input(from), this->writable(apart), {});
        else
          chain.product(square, view_of(start).rows_from(0, rows), from, {});
        if (reads_first)
          chain.product(square, as_input(this->writable(apart)), to, {});
        else
          chain.product(square, as_input(to), this->writable(apart), {});
        chain.product(square, as_input(this->writable(apart)), to, {});
        chain.run();
      };
      row_major<T> expected = start;
      this->with_chain(exec::sequential{}, rows, [&](row_chain<T>& c) { f(c, expected); });
      this->on_every_executor(rows, [&](row_chain<T>& c) {
        row_major<T> all = start;
        f(c, all);
        EXPECT_TRUE(bitwise_equal(all, expected)) << down << reads_first;
      });
    }
}

TYPED_TEST(RowChain, TakesAnyNumberOfSteps) {
  using T = TypeParam;
  const row_major<T> X = this->matrix(70, this->hidden);
  row_major<T> expected = X, Y = X;
  const auto f = [&](row_chain<T>& chain, row_major<T>& H) {
    for (int step = 0; step < 30; ++step) chain.norm(this->norm, view_of(H), this->writable(H));
    chain.run();
  };
  this->with_chain(exec::sequential{}, 70, [&](row_chain<T>& c) { f(c, expected); });
  this->with_chain(round_robin{2}, 70, [&](row_chain<T>& c) { f(c, Y); });
  EXPECT_TRUE(bitwise_equal(Y, expected));
}

TYPED_TEST(RowChain, TakesProductsOfOtherRowsAndOfNone) {
  using T = TypeParam;
  for (const index others : {0, 3, 100}) {
    const row_major<T> X = this->matrix(70, this->features),
                       M = this->matrix(others, this->features);
    const auto f = [&](row_chain<T>& chain, row_major<T>& H, row_major<T>& of_M) {
      row_major<T> none(70, 0);
      const packed_linear<T> to_none = this->linear(this->features, 0);
      chain.template products<3>(
          {to_none.args(best_instruction_set(), view_of(X), this->writable(none), {}),
           this->first.args(best_instruction_set(), view_of(M), this->writable(of_M), {}),
           this->first.args(best_instruction_set(), view_of(X), this->writable(H), {})});
      chain.run();
    };
    row_major<T> expected(70, this->hidden), expected_of_M(others, this->hidden);
    this->with_chain(exec::sequential{}, 70,
                     [&](row_chain<T>& c) { f(c, expected, expected_of_M); });
    this->on_every_executor(70, [&](row_chain<T>& c) {
      row_major<T> H(70, this->hidden), of_M(others, this->hidden);
      f(c, H, of_M);
      EXPECT_TRUE(bitwise_equal(H, expected));
      EXPECT_TRUE(bitwise_equal(of_M, expected_of_M));
    });
  }
}

}  // namespace
}  // namespace softlook::detail::row_chain_test
