#include <gtest/gtest.h>

#include "tests/support/kernels.hpp"
// The kernels first: what follows instantiates none.
#include "softlook/exec/thread_pool.hpp"
#include "softlook/layer/multi_head.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::plan_test {
namespace {

using namespace softlook_test;

problem_inputs<float> inputs(index n, index m) {
  return random_problem<float>({.queries = n, .keys = m, .features = 16, .values = 8}, seed(91));
}

TEST(PlanAttention, NamesTheKernelTheSetAndTheReason) {
  const auto p = inputs(100, 70);
  for (const instruction_set isa : available_instruction_sets()) {
    const attention_plan plan = plan_attention(p.Q, p.K, p.V, options{.isa = isa});
    EXPECT_EQ(plan.kernel, kernel::tiled);
    EXPECT_EQ(plan.isa, isa);
    EXPECT_GT(plan.tile.keys, 0);
    EXPECT_GT(plan.tile.query_tiles, 0);
    EXPECT_EQ(plan.workers, 1);
    EXPECT_GT(plan.scratch_bytes, 0u);
    EXPECT_EQ(plan.projected_bytes, 0u);
    EXPECT_FALSE(plan.reason.empty());
  }
}

TEST(PlanAttention, OfOneQueryCutsTheKeysIntoChunks) {
  const auto p = inputs(1, 5000);
  const attention_plan plan = plan_attention(p.Q, p.K, p.V);
  EXPECT_EQ(plan.kernel, kernel::few_queries);
  EXPECT_GT(plan.keys_in_chunk, 0);
  EXPECT_EQ(plan.tasks, (5000 + plan.keys_in_chunk - 1) / plan.keys_in_chunk);
}

TEST(PlanAttention, FollowsTheOptions) {
  const auto p = inputs(100, 70);
  options o;
  o.kernel = kernel::naive;
  EXPECT_EQ(plan_attention(p.Q, p.K, p.V, o).scratch_bytes, 2 * 100 * 70 * sizeof(float));
  o.kernel = kernel::few_queries;
  EXPECT_EQ(plan_attention(p.Q, p.K, p.V, o).kernel, kernel::few_queries);
  o = {};
  o.tile = tile_shape{.keys = 8, .query_tiles = 1};
  const attention_plan plan = plan_attention(p.Q, p.K, p.V, o);
  EXPECT_EQ(plan.tile.keys, 8);
  EXPECT_EQ(plan.tile.query_tiles, 1);
}

TEST(PlanAttention, CountsWorkersAndProjectedInputs) {
  const auto p = inputs(4000, 70);
  const exec::thread_pool pool(3);
  EXPECT_EQ(plan_attention(p.Q, p.K, p.V, pool).workers, 3);
  auto random = seed(92);
  const auto W = random_matrix<row_major<float>>(16, 16, random);
  EXPECT_GE(plan_attention(p.Q, p.K, p.V, scores::general(W)).projected_bytes,
            4000 * 16 * sizeof(float));
}

TEST(PlanAttention, WakesNobodyForWhatOneThreadHasDoneBefore) {
  const exec::thread_pool pool(2);
  for (const auto& [n, workers] : {std::pair{64, 1}, std::pair{300, 2}}) {
    const auto p = inputs(n, n);
    EXPECT_EQ(plan_attention(p.Q, p.K, p.V, pool).workers, workers) << n;
  }
  auto random = seed(94);
  const auto Q = random_matrix<row_major<float>>(64, 32, random);
  EXPECT_EQ(plan_attention(Q, Q, Q, heads{.query = 2}, pool).workers, 2)
      << "heads are tasks anyway";
}

TEST(PlanAttention, SaysWhatACallWithAWorkspaceTakes) {
  for (const index n : {1, 3, 50, 700}) {
    const auto p = inputs(n, 300);
    workspace space;
    options o;
    o.workspace = &space;
    const attention_plan plan = plan_attention(p.Q, p.K, p.V, o);
    EXPECT_EQ(space.bytes(), 0u) << "a plan computes nothing";
    static_cast<void>(attention(p.Q, p.K, p.V, o));
    EXPECT_EQ(space.bytes(), plan.scratch_bytes + plan.projected_bytes);
  }
}

TEST(PlanAttention, OfHeadsFoldsGroupsThatShareKeys) {
  auto random = seed(93);
  const auto Q = random_matrix<row_major<float>>(3, 32, random);
  const auto K = random_matrix<row_major<float>>(99, 8, random);
  EXPECT_EQ(plan_attention(Q, K, K, heads{.query = 4, .kv = 1}).kernel, kernel::tiled);
  EXPECT_EQ(plan_attention(Q, K, K, heads{.query = 4, .kv = 1}).tasks, 4);
  const auto K4 = random_matrix<row_major<float>>(99, 32, random);
  EXPECT_EQ(plan_attention(Q, K4, K4, heads{.query = 4}).kernel, kernel::few_queries);
}

TEST(PlanAttention, ChecksShapesLikeACall) {
  const auto p = inputs(4, 5);
  const row_major<float> wrong(5, 7);
  expect_error<shape_error>([&] { static_cast<void>(plan_attention(p.Q, wrong, p.V)); },
                            {"plan_attention: K.cols() is 7", "Q.cols() is 16"});
}

}  // namespace
}  // namespace softlook::plan_test
