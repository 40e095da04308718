// Any function may be called from several threads at once, also on one pool, also inside a task.
#include <gtest/gtest.h>

#include <atomic>
#include <cfenv>
#include <thread>
#include <vector>

#include "softlook/exec/thread_pool.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::concurrency_test {
namespace {

using namespace softlook_test;

template <class T>
class Concurrency : public ::testing::Test {
 protected:
  problem_inputs<T> p =
      random_problem<T>({.queries = 150, .keys = 90, .features = 60, .values = 57}, seed(201));
};
TYPED_TEST_SUITE(Concurrency, scalars, scalar_names);

TYPED_TEST(Concurrency, SeveralThreadsShareOnePool) {
  const exec::thread_pool pool(3);
  for (const way& which : every_way()) {
    const auto alone = attention(this->p.Q, this->p.K, this->p.V, which.opts);
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
      callers.emplace_back([&] {
        for (int round = 0; round < 5; ++round)
          if (!bitwise_equal(attention(this->p.Q, this->p.K, this->p.V, which.opts, pool), alone))
            wrong.fetch_add(1);
      });
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong.load(), 0) << which.name;
  }
}

TYPED_TEST(Concurrency, CallsMayNestInsideATask) {
  const exec::thread_pool pool(3);
  const auto alone = attention(this->p.Q, this->p.K, this->p.V);
  std::atomic<int> wrong{0};
  pool.bulk(6, [&](index, index) {
    if (!bitwise_equal(attention(this->p.Q, this->p.K, this->p.V, pool), alone)) wrong.fetch_add(1);
  });
  EXPECT_EQ(wrong.load(), 0);
}

TYPED_TEST(Concurrency, AFunctorMayCallAttentionItself) {
  const exec::thread_pool pool(2);
  const auto alone = attention(this->p.Q, this->p.K, this->p.V);
  std::atomic<int> wrong{0};
  const transforms::map f([&](auto s, std::int32_t i, std::int32_t j) {
    if (i % 50 == 0 && j == 0) {
      if (!bitwise_equal(attention(this->p.Q, this->p.K, this->p.V, pool), alone))
        wrong.fetch_add(1);
    }
    return s;
  });
  EXPECT_TRUE(
      bitwise_equal(attention(this->p.Q, this->p.K, this->p.V, f, with_kernel(kernel::tiled), pool),
                    attention(this->p.Q, this->p.K, this->p.V,
                              transforms::map([](auto s, std::int32_t, std::int32_t) { return s; }),
                              with_kernel(kernel::tiled))));
  EXPECT_EQ(wrong.load(), 0);
}

class rounding_scope {
 public:
  explicit rounding_scope(int mode) : before_(std::fegetround()) { std::fesetround(mode); }
  ~rounding_scope() { std::fesetround(before_); }
  rounding_scope(const rounding_scope&) = delete;
  rounding_scope& operator=(const rounding_scope&) = delete;

 private:
  int before_;
};

TYPED_TEST(Concurrency, WorkersRoundAsTheCallerDoes) {
  const exec::thread_pool pool(4);
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    const auto nearest = attention(this->p.Q, this->p.K, this->p.V, which.opts, pool);
    row_major<TypeParam> alone, together;
    {
      const rounding_scope upward(FE_UPWARD);
      alone = attention(this->p.Q, this->p.K, this->p.V, which.opts);
      together = attention(this->p.Q, this->p.K, this->p.V, which.opts, pool);
    }
    EXPECT_TRUE(bitwise_equal(alone, together));
    EXPECT_FALSE(bitwise_equal(alone, nearest)) << "rounding upward changed nothing";
    EXPECT_TRUE(
        bitwise_equal(attention(this->p.Q, this->p.K, this->p.V, which.opts, pool), nearest))
        << "a worker kept another caller's rounding";
  }
}

}  // namespace
}  // namespace softlook::concurrency_test
