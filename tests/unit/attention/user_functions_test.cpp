// A user's predicate or functor: what it is given, and what happens when it throws.
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "softlook/exec/thread_pool.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/random.hpp"

namespace softlook::user_functions_test {
namespace {

using namespace softlook_test;

struct own_blocks {
  using policy_kind = mask_kind;
  bool allows(std::int32_t i, std::int32_t j, problem) const { return i / 16 == j / 16; }
  range key_range(range q, problem) const {
    return {q.begin / 16 * 16, (q.end + 15) / 16 * 16};  // may pass the last key
  }
  coverage coverage_of(range, range, problem) const { return coverage::partial; }
};

/// The first 8 keys, of which it is asked; what it is asked beyond the tile behind them is counted.
struct first_keys {
  using policy_kind = mask_kind;
  std::atomic<int>* beyond;
  bool allows(std::int32_t, std::int32_t j, problem) const {
    if (j >= 16) beyond->fetch_add(1);
    return j < 8;
  }
  range key_range(range, problem) const { return {0, 8}; }
  coverage coverage_of(range, range k, problem) const {
    return k.begin >= 8 ? coverage::none : k.end <= 8 ? coverage::full : coverage::partial;
  }
};

struct thrown {
  std::int32_t query;
};

template <class T>
class UserFunctions : public ::testing::Test {
 protected:
  static constexpr index n = 300, m = 40;
  problem_inputs<T> p =
      random_problem<T>({.queries = n, .keys = m, .features = 4, .values = 3}, seed(191));
};
TYPED_TEST_SUITE(UserFunctions, scalars, scalar_names);

TYPED_TEST(UserFunctions, AreOnlyAskedAboutExistingPairs) {
  for (const way& which : every_way()) {
    const auto inside = [&](std::int32_t i, std::int32_t j) {
      return i >= 0 && i < this->n && j >= 0 && j < this->m;
    };
    std::atomic<int> outside{0};
    const transforms::map watch_scores([&](auto s, std::int32_t i, std::int32_t j) {
      if (!inside(i, j)) outside.fetch_add(1);
      return s;
    });
    const masks::where watch_pairs([&](std::int32_t i, std::int32_t j) {
      if (!inside(i, j)) outside.fetch_add(1);
      return true;
    });
    (void)attention(this->p.Q, this->p.K, this->p.V, watch_scores, watch_pairs, which.opts);
    EXPECT_EQ(outside.load(), 0) << which.name;
  }
}

// Lanes that hold no query may be asked too, about the position of some query; so every pair must
// be asked about with its own score, not only with it.
TYPED_TEST(UserFunctions, SeeScoresInNaturalUnits) {
  const auto raw = attention_scores(this->p.Q, this->p.K, stage::raw);
  const double bound = rounding_of<TypeParam>(max_magnitude(raw), max_magnitude(raw));
  for (const way& which : every_way()) {
    row_major<char> seen = row_major<char>::Zero(this->n, this->m);
    const transforms::map compare([&](auto s, std::int32_t i, std::int32_t j) {
      if (std::fabs(static_cast<double>(s - raw(i, j))) <= bound) seen(i, j) = 1;
      return s;
    });
    (void)attention(this->p.Q, this->p.K, this->p.V, compare, which.opts);
    EXPECT_EQ(seen.minCoeff(), 1) << which.name;
  }
}

TYPED_TEST(UserFunctions, ExceptionOfAPredicateReachesTheCaller) {
  for (const way& which : every_way()) {
    const masks::where mask([](std::int32_t i, std::int32_t) -> bool {
      if (i == 77) throw thrown{i};
      return true;
    });
    EXPECT_THROW((void)attention(this->p.Q, this->p.K, this->p.V, mask, which.opts), thrown)
        << which.name;
  }
}

TYPED_TEST(UserFunctions, ExceptionOfAFunctorReachesTheCaller) {
  for (const way& which : every_way()) {
    const transforms::map f([](auto s, std::int32_t i, std::int32_t) {
      if (i == 77) throw thrown{i};
      return s;
    });
    EXPECT_THROW((void)attention(this->p.Q, this->p.K, this->p.V, f, which.opts), thrown)
        << which.name;
    EXPECT_THROW(
        (void)attention(this->p.Q, this->p.K, this->p.V, f, which.opts, exec::thread_pool(3)),
        thrown)
        << which.name;
  }
}

// Which queries a task holds is the library's choice; that the lowest task wins is the promise.
TYPED_TEST(UserFunctions, ExceptionOfTheLowestTaskIsThrown) {
  const transforms::map f([](auto s, std::int32_t i, std::int32_t) {
    if (i % 100 == 0) throw thrown{i};
    return s;
  });
  for (const way& which : every_way()) {
    const auto query_thrown = [&](const auto& executor) {
      try {
        (void)attention(this->p.Q, this->p.K, this->p.V, f, which.opts, executor);
      } catch (const thrown& error) {
        return error.query;
      }
      return std::int32_t{-1};
    };
    EXPECT_EQ(query_thrown(exec::sequential{}), query_thrown(last_task_first{})) << which.name;
    const exec::thread_pool pool(4);
    const std::int32_t first = query_thrown(pool);
    EXPECT_GE(first, 0) << which.name;
    for (int round = 0; round < 10; ++round) EXPECT_EQ(query_thrown(pool), first) << which.name;
  }
}

TYPED_TEST(UserFunctions, ThePoolWorksOnAfterAnException) {
  const exec::thread_pool pool(3);
  const masks::where broken(
      [](std::int32_t, std::int32_t) -> bool { throw std::runtime_error("no"); });
  const auto before = attention(this->p.Q, this->p.K, this->p.V, pool);
  EXPECT_THROW((void)attention(this->p.Q, this->p.K, this->p.V, broken, pool), std::runtime_error);
  EXPECT_TRUE(bitwise_equal(attention(this->p.Q, this->p.K, this->p.V, pool), before));
}

TYPED_TEST(UserFunctions, MayHoldParametersAndTakeTheHeadOrTheProblem) {
  using T = TypeParam;
  const T slope = T(0.25);
  const std::int32_t reach = 7;
  const auto near = [=](std::int32_t i, std::int32_t j, problem size) {
    return (i - size.queries) + (size.keys - j) <= reach + 4 * size.head && j - i <= size.keys;
  };
  expect_every_way_agrees(
      this->p.Q, this->p.K, this->p.V, std::nullopt,
      transforms::map([=](auto s, std::int32_t i, std::int32_t j, problem size) {
        return s - slope * T(std::abs((i - size.queries) + (size.keys - j)));
      }),
      masks::where(near));
  const heads two{.query = 2};
  const auto together = attention(this->p.Q, this->p.K, this->p.V.leftCols(2), two,
                                  transforms::map([=](auto s, auto, auto, std::int32_t head) {
                                    return s * (1 + slope * T(head));
                                  }),
                                  masks::where(near));
  for (std::int32_t h = 0; h < 2; ++h) {
    const auto Q = head_columns(this->p.Q, h, 2), K = head_columns(this->p.K, h, 2);
    const row_major<T> V = this->p.V.col(h);
    const auto alone = attention(
        Q, K, V, transforms::map([=](auto s, auto, auto) { return s * (1 + slope * T(h)); }),
        masks::where([=](std::int32_t i, std::int32_t j, problem size) {
          size.head = h;
          return near(i, j, size);
        }));
    EXPECT_TRUE(bitwise_equal(together.col(h), alone.col(0))) << h;
  }
}

TYPED_TEST(UserFunctions, OfAMaskThatIsJoinedAreNotAskedWhereTheOtherOneDecides) {
  std::atomic<int> beyond{0};
  const first_keys first{&beyond};
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt,
                          masks::either<first_keys, own_blocks>{first, {}});
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt,
                          masks::both<own_blocks, first_keys>{{}, first});
  for (const way& which : fast_ways()) {
    if (which.opts.kernel != kernel::tiled) continue;
    beyond = 0;
    (void)attention(this->p.Q, this->p.K, this->p.V, which.opts,
                    masks::either<first_keys, own_blocks>{first, {}});
    (void)attention(this->p.Q, this->p.K, this->p.V, which.opts,
                    masks::both<own_blocks, first_keys>{{}, first});
    EXPECT_EQ(beyond.load(), 0) << which.name;
  }
}

TYPED_TEST(UserFunctions, AMaskOfTheUsersOwnTypeIsAMask) {
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt, own_blocks{});
}

}  // namespace
}  // namespace softlook::user_functions_test
