#include "softlook/engine/run/plan.hpp"

#include <gtest/gtest.h>

#include "tests/support/errors.hpp"

namespace softlook::detail::plan_test {
namespace {

// Register tiles of the instruction sets: lanes × vectors queries, rows keys.
constexpr register_shape shapes[] = {{16, 3, 8}, {8, 3, 4}, {4, 3, 4},
                                     {8, 3, 8},  {4, 3, 4}, {2, 3, 4}};

template <class F>
void for_every_call(const F& f) {
  for (const register_shape& r : shapes)
    for (const index scalar_bytes : {4, 8})
      for (const bool additive : {false, true})
        for (const index features : {0, 1, 3, 64, 128, 256, 1024})
          for (const index values : {0, 1, 64, 128, 1024})
            f(call_sizes{.queries = 1000,
                         .keys = 1000,
                         .features = features,
                         .values = values,
                         .additive = additive,
                         .scalar_bytes = scalar_bytes},
              r);
}

TEST(Plan, KeyTilesAreWholeRegisterRows) {
  for_every_call([](const call_sizes& s, const register_shape& r) {
    const index keys = key_tile_for(s, r);
    EXPECT_GE(keys, r.rows);
    EXPECT_EQ(keys % r.rows, 0);
    EXPECT_LE(keys, max_key_tile);
  });
}

// Where a key tile begins decides bits, so it may not depend on the number of queries or of keys.
TEST(Plan, KeyTilesDoNotDependOnQueriesOrKeys) {
  for_every_call([](call_sizes s, const register_shape& r) {
    const index keys = key_tile_for(s, r);
    for (const index count : {1, 7, 100, 100000}) {
      s.queries = count;
      EXPECT_EQ(key_tile_for(s, r), keys);
      s.keys = count;
      EXPECT_EQ(key_tile_for(s, r), keys);
      s.query_heads = 8;
      EXPECT_EQ(key_tile_for(s, r), keys);
    }
  });
}

// A quarter of the second-level cache holds the tiles of queries and one of keys and values.
TEST(Plan, QueryTilesFollowTheSecondLevelCache) {
  const register_shape avx2{.lanes = 8, .vectors = 3, .rows = 4};
  const call_sizes s{.queries = 4800, .keys = 4096, .features = 64, .values = 64};
  const auto tiles = [&](index kib) {
    return plan_for(s, avx2, {.kernel = kernel::tiled}, 1, kib << 10).tiled.query_tiles;
  };
  EXPECT_EQ(tiles(256), 5);
  EXPECT_EQ(tiles(512), 7);
  EXPECT_EQ(tiles(1024), 12);
  EXPECT_EQ(tiles(8192), 12);
  for_every_call([](call_sizes each, const register_shape& r) {
    each.queries = 4800;
    index before = 1;
    for (const index kib : {1, 256, 512, 1024, 2048, 65536}) {
      const index now = query_tiles_for(each, r, key_tile_for(each, r), 1, kib << 10);
      EXPECT_GE(now, before);
      EXPECT_LE(now, max_query_tiles);
      before = now;
    }
  });
}

TEST(Plan, KeyTilesOfAvx2AreShortForShortRowsAndLongForLongOnes) {
  const auto keys = [](index features, index scalar_bytes, index lanes, index rows) {
    return key_tile_for({.features = features, .values = features, .scalar_bytes = scalar_bytes},
                        {.lanes = lanes, .vectors = 3, .rows = rows});
  };
  EXPECT_EQ(keys(64, 4, 8, 4), 64);
  EXPECT_EQ(keys(128, 4, 8, 4), 128);
  EXPECT_EQ(keys(64, 8, 4, 4), 128);
  EXPECT_EQ(keys(64, 4, 16, 8), 96);
  EXPECT_EQ(keys(128, 4, 16, 8), 96);
}

TEST(Plan, ScratchStaysWithinItsLimitWhateverTheNumberOfQueriesAndKeys) {
  for_every_call([](call_sizes s, const register_shape& r) {
    for (const index count : {1, 50, 131072}) {
      s.queries = count;
      s.keys = count;
      for (const index workers : {1, 2, 16})
        for (const kernel which : {kernel::tiled, kernel::few_queries}) {
          const plan p = plan_for(s, r, {.kernel = which}, workers);
          const index total = which == kernel::tiled ? p.tiled.total : p.few.total;
          EXPECT_GT(total, 0);
          EXPECT_LE(total * s.scalar_bytes, scratch_limit)
              << s.features << " " << s.values << " additive " << s.additive << " bytes "
              << s.scalar_bytes << " lanes " << r.lanes;
        }
    }
  });
}

TEST(Plan, ChunksOfFewQueriesDoNotDependOnThreads) {
  for_every_call([](const call_sizes& s, const register_shape& r) {
    const options few{.kernel = kernel::few_queries};
    const index alone = plan_for(s, r, few, 1).chunk;
    EXPECT_GT(alone, 0);
    for (const index workers : {2, 16}) EXPECT_EQ(plan_for(s, r, few, workers).chunk, alone);
  });
}

TEST(Plan, TilesOfTheOptionsAreRoundedUpToWholeRegisterRows) {
  for (const register_shape& r : shapes) {
    for (const index keys : {1, 7, 8, 9, 100}) {
      options o;
      o.tile = tile_shape{.keys = keys, .query_tiles = 3};
      const plan p = plan_for({.queries = 9, .keys = 9, .features = 4, .values = 4}, r, o, 1);
      EXPECT_EQ(p.tiled.key_tile, round_up(keys, r.rows));
      EXPECT_EQ(p.tiled.query_tiles, 3);
    }
  }
}

TEST(Plan, PinnedKernelIsTaken) {
  for (const kernel which : {kernel::naive, kernel::tiled, kernel::few_queries}) {
    options o;
    o.kernel = which;
    for (const index queries : {1, 1000})
      EXPECT_EQ(
          plan_for({.queries = queries, .keys = 9, .features = 4, .values = 4}, shapes[0], o, 1)
              .kernel,
          which);
  }
}

TEST(Plan, OneQueryIsFewAndAThousandAreNot) {
  call_sizes s{.queries = 1, .keys = 4096, .features = 64, .values = 64};
  EXPECT_EQ(plan_for(s, shapes[0], {}, 1).kernel, kernel::few_queries);
  s.queries = 1000;
  EXPECT_EQ(plan_for(s, shapes[0], {}, 1).kernel, kernel::tiled);
}

TEST(Plan, FewQueriesAreFewerWhereKeysAreFew) {
  const auto chosen = [](index queries, index keys, index features = 64, index group = 1) {
    return plan_for({.queries = queries,
                     .keys = keys,
                     .features = features,
                     .values = 64,
                     .query_heads = group},
                    shapes[0], {}, 1)
        .kernel;
  };
  EXPECT_EQ(chosen(8, 64), kernel::few_queries);
  EXPECT_EQ(chosen(9, 64), kernel::tiled);
  EXPECT_EQ(chosen(4, 63), kernel::few_queries);
  EXPECT_EQ(chosen(5, 63), kernel::tiled);
  EXPECT_EQ(chosen(4, 7), kernel::few_queries);
  EXPECT_EQ(chosen(2, 15, 16), kernel::few_queries);
  EXPECT_EQ(chosen(3, 15, 16), kernel::tiled);
  EXPECT_EQ(chosen(3, 16, 16), kernel::few_queries);
  // Rows of heads that share keys are set up together, the tiled kernel sets up each.
  EXPECT_EQ(chosen(1, 1, 16, 8), kernel::few_queries);
  EXPECT_EQ(chosen(1, 1, 16, 9), kernel::tiled);
}

TEST(Plan, SaysWhy) {
  const call_sizes few{.queries = 2, .keys = 99, .features = 4, .values = 4, .query_heads = 2};
  EXPECT_NE(std::string(plan_for(few, shapes[0], {}, 1).reason).find("few rows"),
            std::string::npos);
  const call_sizes short_memory{.queries = 4, .keys = 9, .features = 4, .values = 4};
  EXPECT_NE(std::string(plan_for(short_memory, shapes[0], {}, 1).reason).find("few keys"),
            std::string::npos);
  const call_sizes many{.queries = 9, .keys = 9, .features = 4, .values = 4};
  EXPECT_NE(std::string(plan_for(many, shapes[0], {}, 1).reason).find("many rows"),
            std::string::npos);
  options o;
  o.kernel = kernel::tiled;
  EXPECT_NE(std::string(plan_for(few, shapes[0], o, 1).reason).find("options.kernel"),
            std::string::npos);
}

TEST(Plan, RejectsTilesOutOfRange) {
  softlook_test::expect_error<argument_error>(
      [] { check_tile("test", {.keys = 0, .query_tiles = 1}); }, {"test: options.tile.keys is 0"});
  softlook_test::expect_error<argument_error>(
      [] { check_tile("test", {.keys = 8, .query_tiles = 17}); },
      {"options.tile.query_tiles is 17", "16"});
}

TEST(Plan, RoundsUp) {
  EXPECT_EQ(ceil_div(0, 4), 0);
  EXPECT_EQ(ceil_div(9, 4), 3);
  EXPECT_EQ(round_up(9, 4), 12);
  EXPECT_EQ(round_up(8, 4), 8);
}

}  // namespace
}  // namespace softlook::detail::plan_test
