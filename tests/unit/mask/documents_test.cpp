#include "softlook/mask/documents.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"
#include "tests/support/random.hpp"

namespace softlook::documents_test {
namespace {

using softlook_test::answers;
using softlook_test::expect_error;
using ids = std::vector<std::int32_t>;

ids random_ids(index count, std::int32_t most, bool sorted, std::uint64_t seed) {
  auto random = softlook_test::seed(seed);
  ids all(static_cast<std::size_t>(count));
  for (auto& id : all) id = static_cast<std::int32_t>(random.integer(-1, most));
  if (sorted) std::sort(all.begin(), all.end());
  return all;
}

/// Every tile of one problem.
template <class Mask>
void expect_tiles_of(const Mask& mask, problem size, answers required) {
  for (index q = 0; q < size.queries; ++q)
    for (index q_end = q + 1; q_end <= size.queries; ++q_end) {
      softlook_test::expect_range_holds_every_allowed_key(mask, {q, q_end}, size);
      for (index k = 0; k < size.keys; ++k)
        for (index k_end = k + 1; k_end <= size.keys; ++k_end)
          softlook_test::expect_true_coverage(mask, {q, q_end}, {k, k_end}, size, required);
    }
}

TEST(MaskDocuments, HoldsTheKeysOfTheQuerysDocument) {
  const ids q = {3, 3, 1, 7}, k = {7, 3, 3, 1, 2};
  const masks::documents mask(q, k);
  for (std::int32_t i = 0; i < 4; ++i)
    for (std::int32_t j = 0; j < 5; ++j)
      EXPECT_EQ(mask.allows(i, j, {}), q[std::size_t(i)] == k[std::size_t(j)]);
}

TEST(MaskDocuments, TilesAgreeWithPairsWhateverTheOrder) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed)
    for (const std::int32_t most : {0, 2, 9})
      for (const bool sorted_q : {false, true})
        for (const bool sorted_k : {false, true}) {
          const ids q = random_ids(9, most, sorted_q, seed);
          const ids k = random_ids(11, most, sorted_k, seed + 100);
          const problem size{.queries = 9, .keys = 11};
          expect_tiles_of(masks::documents(q, k), size,
                          sorted_q && sorted_k ? answers::exact : answers::correct);
          expect_tiles_of(masks::documents(q, k) & masks::causal_bottom_right{}, size,
                          answers::correct);
          expect_tiles_of(!masks::documents(q, k), size, answers::correct);
        }
}

TEST(MaskDocuments, SortedKeysBoundTheRange) {
  const ids k = {0, 0, 2, 2, 2, 5, 9}, q = {2, 5, 3, 1};
  const masks::documents mask(q, k);
  const problem size{.queries = 4, .keys = 7};
  EXPECT_EQ(mask.key_range({0, 1}, size), (range{2, 5}));
  EXPECT_EQ(mask.key_range({0, 2}, size), (range{2, 6}));
  EXPECT_TRUE(mask.key_range({2, 3}, size).empty());
  EXPECT_TRUE(mask.key_range({1, 1}, size).empty());
}

TEST(MaskDocuments, OneListServesSelfAttention) {
  const ids of = {0, 0, 1, 1, 1, 4};
  const masks::documents mask(of);
  expect_tiles_of(mask, {.queries = 6, .keys = 6}, answers::exact);
  EXPECT_EQ(mask.key_range({2, 3}, {.queries = 6, .keys = 6}), (range{2, 5}));
}

TEST(MaskDocuments, RejectsListsOfOtherSizes) {
  const ids three = {1, 2, 3}, two = {1, 2};
  expect_error<shape_error>(
      [&] { masks::documents(three, two).check("attention", {.queries = 4, .keys = 2}); },
      {"attention: masks::documents of_queries.size() is 3 but Q.rows() is 4"});
  expect_error<shape_error>(
      [&] { masks::documents(three, two).check("attention", {.queries = 3, .keys = 5}); },
      {"masks::documents of_keys.size() is 2 but K.rows() is 5"});
}

TEST(MaskDocuments, TakesNoListThatIsGoneAfterTheStatement) {
  EXPECT_TRUE((std::is_constructible_v<masks::documents, ids&>));
  EXPECT_TRUE((std::is_constructible_v<masks::documents, std::span<const std::int32_t>>));
  EXPECT_FALSE((std::is_constructible_v<masks::documents, ids>));
  EXPECT_FALSE((std::is_constructible_v<masks::documents, ids&, ids>));
}

}  // namespace
}  // namespace softlook::documents_test
