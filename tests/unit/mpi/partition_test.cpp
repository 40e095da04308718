// Which rows lie where: every row once, and the inverse gives them back.
#include "softlook/mpi/partition.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "softlook/mpi/detail/state_tree.hpp"
#include "softlook/mpi/plan.hpp"
#include "tests/support/errors.hpp"

namespace softlook::partition_test {
namespace {

using mpi::partition;
using softlook_test::expect_error;

std::vector<partition> partitions_of(index n, int ranks) {
  std::vector<index> counts(std::size_t(ranks), 0);
  for (index row = 0; row < n; ++row) ++counts[std::size_t((row * row + 1) % ranks)];
  return {partition::contiguous(n, ranks), partition::zigzag(n, ranks),
          partition::striped(n, ranks), partition::of_counts(counts)};
}

TEST(Partition, HasEveryRowOnceAndAnInverse) {
  for (const index n : {0, 1, 2, 3, 7, 10, 31, 2999})
    for (const int ranks : {1, 2, 3, 4, 7, 8, 40})
      for (const partition& p : partitions_of(n, ranks)) {
        ASSERT_EQ(p.rows(), n);
        std::vector<int> seen(std::size_t(n), 0);
        index rows = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          rows += p.rows(rank);
          index local = 0, before = -1;
          for (const mpi::row_run& run : p.runs(rank)) {
            EXPECT_GT(run.count, 0);
            EXPECT_EQ(run.local, local);
            local += run.count;
          }
          EXPECT_EQ(local, p.rows(rank));
          for (index i = 0; i < p.rows(rank); ++i) {
            const index at = p.global(rank, i);
            EXPECT_GT(at, before);  // rows of a rank are in the order of the sequence
            before = at;
            ++seen[std::size_t(at)];
            EXPECT_EQ(p.place_of(at), (mpi::row_place{rank, i})) << n << ' ' << ranks;
          }
        }
        EXPECT_EQ(rows, n);
        for (const int times : seen) EXPECT_EQ(times, 1);
      }
}

TEST(Partition, CutsWhereEveryMultipleOfItsPartsCuts) {
  for (const index n : {0, 5, 97, 1 << 30})
    for (index parts = 1; parts < 9; ++parts)
      for (index part = 0; part < parts; ++part)
        EXPECT_EQ(detail::cut_evenly(n, parts, part).begin,
                  detail::cut_evenly(n, 6 * parts, 6 * part).begin);
  EXPECT_EQ(detail::cut_evenly(2147483647, 1 << 20, (1 << 20) - 1).end, 2147483647);
}

TEST(Partition, SharesCausalWorkEvenlyByZigzagAndStripes) {
  const index n = 16384;
  for (const int ranks : {2, 4, 8, 64})
    for (const partition& p : {partition::zigzag(n, ranks), partition::striped(n, ranks)}) {
      double most = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        double pairs = 0;
        for (index i = 0; i < p.rows(rank); ++i) pairs += double(p.global(rank, i) + 1);
        most = std::max(most, pairs);
      }
      EXPECT_LE(most, 1.05 * double(n) * double(n + 1) / 2 / ranks);
    }
}

TEST(Partition, RefusesWhatIsNoPartition) {
  expect_error<argument_error>([] { (void)partition::zigzag(-1, 2); },
                               {"mpi::partition", "n is -1"});
  expect_error<argument_error>([] { (void)partition::striped(4, 0); }, {"ranks is 0"});
  expect_error<argument_error>([] { (void)partition::contiguous(index{1} << 31, 2); },
                               {"2147483647"});
  expect_error<argument_error>([] { (void)partition::of_counts({3, -2}); }, {"a count is -2"});
  expect_error<argument_error>([] { (void)partition::of_counts(std::vector<index>{}); },
                               {"ranks is 0"});
  const partition p = partition::contiguous(5, 2);
  expect_error<argument_error>([&] { static_cast<void>(p.rows(2)); }, {"rank is 2", "2 ranks"});
  expect_error<argument_error>([&] { static_cast<void>(p.global(0, 2)); }, {"i is 2", "2 rows"});
  expect_error<argument_error>([&] { static_cast<void>(p.place_of(5)); }, {"position is 5"});
}

TEST(StateTree, HasTheSameBracketsInWhateverOrderStatesCome) {
  for (index leaves = 1; leaves < 20; ++leaves) {
    std::string first;
    for (index step = 1; step < 2 * leaves; ++step) {
      if (std::gcd(step, leaves) != 1) continue;
      detail::waiting_nodes<std::string> nodes(leaves);
      for (index k = 0; k < leaves; ++k) {
        const index leaf = k * step % leaves;
        nodes.put({0, leaf}, std::to_string(leaf),
                  [](std::string& a, std::string&& b) { a = "(" + a + "+" + b + ")"; });
      }
      ASSERT_EQ(nodes.all().size(), 1U) << leaves;
      if (first.empty()) first = nodes.all().front().second;
      EXPECT_EQ(nodes.all().front().second, first);
    }
  }
}

using state = detail::rank_state<float>;

state state_of(float lse, float value) {
  return {state{detail::row_major<float>::Constant(1, 2, value),
                detail::row_major<float>::Constant(1, 1, lse)}};
}

TEST(StateTree, MergesScoresThatAreFarApart) {
  for (const float far : {90.0F, 1e4F, 3e38F})
    for (const bool left : {false, true}) {
      state a = state_of(left ? far : -far, left ? 2.0F : 5.0F);
      detail::merge_into(a, state_of(left ? -far : far, left ? 5.0F : 2.0F));
      EXPECT_EQ(a.O(0, 0), 2.0F);
      EXPECT_EQ(a.log_sum_exp(0, 0), far);
    }
}

TEST(StateTree, MergesEmptyRowsToEmptyRows) {
  constexpr float nothing = -std::numeric_limits<float>::infinity();
  state both = state_of(nothing, 0.0F);
  detail::merge_into(both, state_of(nothing, 0.0F));
  EXPECT_EQ(both.O(0, 0), 0.0F);
  EXPECT_EQ(both.log_sum_exp(0, 0), nothing);
  for (const bool left : {false, true}) {
    state one = left ? state_of(0.7F, 0.1F) : state_of(nothing, 0.0F);
    detail::merge_into(one, left ? state_of(nothing, 0.0F) : state_of(0.7F, 0.1F));
    EXPECT_EQ(one.O(0, 1), 0.1F);
    EXPECT_EQ(one.log_sum_exp(0, 0), 0.7F);
  }
}

TEST(AttentionPlan, TakesWhatMovesLeast) {
  mpi::attention_sizes s{.queries = 1 << 18,
                         .keys = 1 << 18,
                         .features = 128,
                         .values = 128,
                         .query_heads = 32,
                         .kv_heads = 8,
                         .ranks = 8};
  EXPECT_EQ(mpi::plan_attention(s).method, mpi::method::gather);  // beside the work
  s.busiest = 1.9;  // of neighbours under a causal mask
  EXPECT_EQ(mpi::plan_attention(s).method, mpi::method::heads);
  EXPECT_EQ(mpi::plan_attention(s).busiest, 1);
  s.ranks = 1;
  EXPECT_EQ(mpi::plan_attention(s).method, mpi::method::gather);
  s.ranks = 64;
  EXPECT_EQ(mpi::plan_attention(s).method, mpi::method::gather);
  EXPECT_NE(mpi::plan_attention(s).reason.find("do not divide"), std::string::npos);
  s.queries = s.keys = 10'000'000;
  EXPECT_EQ(mpi::plan_attention(s).method, mpi::method::ring);
  expect_error<argument_error>(
      [&] { static_cast<void>(mpi::plan_attention(s, {.method = mpi::method::heads})); },
      {"key heads is 8", "64 ranks"});
  EXPECT_EQ(mpi::plan_attention(s, {.method = mpi::method::gather}).method, mpi::method::gather);
}

TEST(AttentionPlan, CountsBytesAndMessages) {
  const mpi::attention_sizes s{.queries = 1000,
                               .keys = 1000,
                               .features = 16,
                               .values = 8,
                               .query_heads = 4,
                               .kv_heads = 2,
                               .ranks = 4};
  const mpi::attention_plan gather = mpi::cost_of(mpi::method::gather, s);
  EXPECT_EQ(gather.bytes_received, 4.0 * 750 * 2 * 24);
  EXPECT_EQ(gather.messages, 2.0 * 2 * 3);
  EXPECT_EQ(gather.bytes_held, 2.0 * 4 * 1000 * 24);
  const mpi::attention_plan ring = mpi::cost_of(mpi::method::ring, s);
  EXPECT_EQ(ring.bytes_received, gather.bytes_received);
  EXPECT_EQ(ring.messages, 3);
  const mpi::attention_plan heads = mpi::cost_of(mpi::method::heads, s);
  EXPECT_EQ(heads.bytes_received, 4.0 * 0.75 * 24 * (1000 * 4 + 1000 * 2) / 4);
}

}  // namespace
}  // namespace softlook::partition_test
