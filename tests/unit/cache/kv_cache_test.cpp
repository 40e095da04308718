// A cache gives what its rows in one matrix give, however they came to it.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "softlook/cache.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::kv_cache_test {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::expect_error;
using softlook_test::random_problem;
using matrix = softlook_test::row_major<float>;

constexpr kv_cache_shape shape{.heads = 2, .key_features = 20, .value_features = 12};

class KvCache : public ::testing::Test {
 protected:
  const matrix K = random_problem<float>({.keys = 500, .features = 40}, softlook_test::seed(91)).K;
  const matrix V = random_problem<float>({.keys = 500, .features = 24}, softlook_test::seed(92)).K;
  const matrix Q =
      random_problem<float>({.queries = 500, .features = 80}, softlook_test::seed(93)).Q;
  const heads h{.query = 4, .kv = 2};
  const masks::causal_bottom_right causal{};

  template <class Cache>
  void append(Cache& cache, index first, index count) const {
    cache.append(K.middleRows(first, count), V.middleRows(first, count));
  }
  /// What the last n of the first `size` rows attend to.
  [[nodiscard]] matrix expected(index size, index n, const options& opts = {}) const {
    return attention(Q.middleRows(size - n, n), K.topRows(size), V.topRows(size), h, causal, opts);
  }
};

TEST_F(KvCache, GivesTheBitsOfItsRowsInAMatrix) {
  for (const index page_rows : {4, 64}) {
    kv_cache<float> cache(shape, {.page_rows = page_rows});
    index size = 0;
    for (const index count : {1, 3, 0, 60, 1, 200, 235}) {
      append(cache, size, count);
      size += count;
      ASSERT_EQ(cache.size(), size);
      for (const index n : {index{1}, std::min<index>(count, 100)}) {
        if (n == 0) continue;
        const matrix O = cache.attend(Q.middleRows(size - n, n), causal);
        ASSERT_TRUE(all_finite(O));
        EXPECT_TRUE(bitwise_equal(O, expected(size, n))) << page_rows << ' ' << size << ' ' << n;
      }
    }
    EXPECT_EQ(cache.pages(), 2 * ((500 + page_rows - 1) / page_rows));
    EXPECT_EQ(cache.bytes(), std::size_t(cache.pages() / 2 * page_rows) * (40 + 24) * 4);
  }
}

TEST_F(KvCache, PrefillInPiecesGivesTheRowsOfOne) {
  const options tiled{.kernel = kernel::tiled};
  const matrix whole = expected(500, 500, tiled);
  kv_cache<float> cache(shape);
  for (index first = 0, count = 0; first < 500; first += count) {
    count = std::min<index>(first == 0 ? 7 : 130, 500 - first);
    append(cache, first, count);
    EXPECT_TRUE(bitwise_equal(cache.attend(Q.middleRows(first, count), causal, tiled),
                              whole.middleRows(first, count)));
  }
}

TEST_F(KvCache, ForksShareThePastAndPartWithTheirOwnRows) {
  kv_cache<float> cache(shape, {.page_rows = 32});
  append(cache, 0, 100);
  EXPECT_EQ(cache.shared_pages(), 0);
  auto fork = cache.fork();
  EXPECT_EQ(cache.shared_pages(), cache.pages());
  fork.append(-K.middleRows(100, 5), -V.middleRows(100, 5));
  EXPECT_EQ(cache.shared_pages(), cache.pages() - 2);  // the last of each side was copied
  append(cache, 100, 5);
  EXPECT_TRUE(
      bitwise_equal(cache.attend(Q.middleRows(104, 1)),
                    matrix(attention(Q.middleRows(104, 1), K.topRows(105), V.topRows(105), h))));
  matrix K_fork = K.topRows(105), V_fork = V.topRows(105);
  K_fork.bottomRows(5) *= -1;
  V_fork.bottomRows(5) *= -1;
  EXPECT_TRUE(bitwise_equal(fork.attend(Q.middleRows(104, 1)),
                            attention(Q.middleRows(104, 1), K_fork, V_fork, h)));
  {
    const auto gone = fork.fork();
  }
  EXPECT_EQ(fork.shared_pages(), 6);  // three whole pages of each side
}

TEST_F(KvCache, TruncatedGoesOnAnotherWay) {
  kv_cache<float> cache(shape, {.page_rows = 16});
  append(cache, 0, 150);
  const auto before = cache.fork();
  cache.truncate(70);
  EXPECT_EQ(cache.size(), 70);
  append(cache, 70, 300);
  EXPECT_TRUE(bitwise_equal(cache.attend(Q.middleRows(300, 70), causal), expected(370, 70)));
  EXPECT_TRUE(bitwise_equal(before.attend(Q.middleRows(100, 50), causal), expected(150, 50)));
  cache.truncate(0);
  append(cache, 0, 3);
  EXPECT_TRUE(bitwise_equal(cache.attend(Q.topRows(3), causal), expected(3, 3)));
}

TEST_F(KvCache, RingKeepsItsWindowAndItsMemory) {
  kv_cache<float> cache(shape, {.page_rows = 16, .window = 50});
  const auto near = masks::window_of(50) & masks::causal_bottom_right{};
  for (index i = 0; i < 500; ++i) {
    append(cache, i, 1);
    EXPECT_LE(cache.pages(), 2 * 5);
    EXPECT_LE(cache.first(), std::max<index>(i + 1 - 50, 0));
    if (i % 37 != 0) continue;
    const matrix O = cache.attend(Q.middleRows(i, 1), near);
    const matrix all = attention(Q.middleRows(i, 1), K.topRows(i + 1), V.topRows(i + 1), h, near,
                                 frame{.first_query = i});
    EXPECT_LE((O - all).cwiseAbs().maxCoeff(), 1e-6F) << i;
  }
}

TEST_F(KvCache, InFewerBitsHoldsWhatItsTypeHolds) {
  kv_cache<float, Eigen::bfloat16> sixteen(shape, {.page_rows = 32});
  kv_cache<float, std::int8_t> eight(shape, {.page_rows = 32});
  append(sixteen, 0, 200);
  append(eight, 0, 90);
  append(eight, 90, 110);
  const int8_rows K8(K.topRows(200), 2), V8(V.topRows(200), 2);
  for (const index n : {1, 50}) {
    const auto q = Q.middleRows(200 - n, n);
    EXPECT_TRUE(bitwise_equal(sixteen.attend(q, causal),
                              attention(q, K.topRows(200).cast<Eigen::bfloat16>().eval(),
                                        V.topRows(200).cast<Eigen::bfloat16>().eval(), h, causal)));
    EXPECT_TRUE(bitwise_equal(eight.attend(q, causal), attention(q, K8, V8, h, causal)));
  }
  EXPECT_EQ(sixteen.bytes() * 2, kv_cache<float>(shape, {.page_rows = 32}).fork().bytes() +
                                     std::size_t(7 * 32) * (40 + 24) * 4);
  matrix broken = K.topRows(2);
  broken(1, 39) = std::numeric_limits<float>::quiet_NaN();
  const matrix was = eight.attend(Q.topRows(1));
  expect_error<argument_error>([&] { eight.append(broken, V.topRows(2)); }, {"K(1, 39)", "nan"});
  EXPECT_EQ(eight.size(), 200);
  EXPECT_TRUE(bitwise_equal(eight.attend(Q.topRows(1)), was));
}

TEST_F(KvCache, IsReadByThreadsAndStatesItsRows) {
  kv_cache<float> cache(shape, {.page_rows = 32});
  append(cache, 0, 500);
  const exec::thread_pool pool(3);
  EXPECT_TRUE(bitwise_equal(cache.attend(Q, causal, pool), expected(500, 500)));
  EXPECT_TRUE(bitwise_equal(attention(Q, cache.keys(), cache.values(), h, causal, pool),
                            expected(500, 500)));
  matrix O(500, 48);
  cache.attend_into(Q, O, causal);
  EXPECT_TRUE(bitwise_equal(O, expected(500, 500)));
}

TEST_F(KvCache, RefusesWhatDoesNotFit) {
  kv_cache<float> cache(shape, {.page_rows = 32});
  append(cache, 0, 10);
  expect_error<shape_error>([&] { cache.append(K.leftCols(39), V); }, {"39", "40"});
  expect_error<shape_error>([&] { cache.append(K, V.leftCols(3)); }, {"3", "24"});
  expect_error<shape_error>([&] { cache.append(K, V.topRows(3)); }, {"3", "500"});
  expect_error<argument_error>([&] { cache.truncate(11); }, {"11", "10"});
  expect_error<argument_error>([&] { cache.truncate(-1); }, {"-1"});
  expect_error<shape_error>([&] { (void)cache.attend(Q.leftCols(50)); }, {"50", "20"});
  expect_error<shape_error>([&] { (void)cache.attend(Q.leftCols(60)); }, {"3", "2"});
  EXPECT_EQ(cache.size(), 10);
  expect_error<argument_error>([] { kv_cache<float>({.heads = 0, .key_features = 1}); }, {"0"});
  expect_error<argument_error>([] { kv_cache<float>({.key_features = 0}); }, {"0"});
  expect_error<argument_error>([] { kv_cache<float>(shape, {.page_rows = 3}); }, {"3"});
  expect_error<argument_error>([] { kv_cache<float>(shape, {.window = 0}); }, {"0"});
  const kv_cache<float> empty(shape);
  EXPECT_TRUE((empty.attend(Q.topRows(3)).array() == 0).all());
}

}  // namespace
}  // namespace softlook::kv_cache_test
