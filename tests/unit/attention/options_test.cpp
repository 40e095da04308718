#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::options_test {
namespace {

using namespace softlook_test;

template <class T>
class AttentionOptions : public ::testing::Test {
 protected:
  problem_inputs<T> p =
      random_problem<T>({.queries = 30, .keys = 500, .features = 40, .values = 24}, seed(181));

  bool same_as(const options& a, const options& b) const {
    return static_cast<bool>(
        bitwise_equal(attention(p.Q, p.K, p.V, a), attention(p.Q, p.K, p.V, b)));
  }
};
TYPED_TEST_SUITE(AttentionOptions, scalars, scalar_names);

TYPED_TEST(AttentionOptions, DefaultIsOneOfThePinnedKernels) {
  const bool is_pinned = this->same_as({}, with_kernel(kernel::tiled)) ||
                         this->same_as({}, with_kernel(kernel::few_queries));
  EXPECT_TRUE(is_pinned);
  this->p.Q = this->p.Q.topRows(1).eval();
  const bool one_query_is_pinned = this->same_as({}, with_kernel(kernel::tiled)) ||
                                   this->same_as({}, with_kernel(kernel::few_queries));
  EXPECT_TRUE(one_query_is_pinned);
}

TYPED_TEST(AttentionOptions, DefaultIsTheBestInstructionSet) {
  options opts;
  opts.isa = available_instruction_sets().back();
  EXPECT_TRUE(this->same_as({}, opts));
}

TYPED_TEST(AttentionOptions, DefaultScaleOfTheDefaultScoreIsOneOverTheRootOfTheFeatures) {
  options opts;
  opts.scale = 1 / std::sqrt(40.0);
  EXPECT_TRUE(this->same_as({}, opts));
}

TYPED_TEST(AttentionOptions, ScaleMultipliesEveryScore) {
  for (const way& which : every_way()) {
    const auto opts = with_scale(which.opts, 0.5);
    const row_major<TypeParam> Q = this->p.Q * TypeParam(0.5);
    EXPECT_LE(max_error(attention(this->p.Q, this->p.K, this->p.V, opts),
                        attention(Q, this->p.K, this->p.V, with_scale(which.opts, 1.0))),
              rounding_of<TypeParam>(20, 4))
        << which.name;
  }
}

// Pinning the kernel must pick it: the three sum in different orders, which shows in the bits.
TYPED_TEST(AttentionOptions, PinnedKernelsDiffer) {
  EXPECT_FALSE(this->same_as(with_kernel(kernel::naive), with_kernel(kernel::tiled)));
  EXPECT_FALSE(this->same_as(with_kernel(kernel::few_queries), with_kernel(kernel::tiled)));
  EXPECT_FALSE(this->same_as(with_kernel(kernel::naive), with_kernel(kernel::few_queries)));
}

TYPED_TEST(AttentionOptions, TileShapeIsForced) {
  options opts = with_kernel(kernel::tiled);
  opts.tile = smallest_tile;
  EXPECT_FALSE(this->same_as(with_kernel(kernel::tiled), opts));
}

TYPED_TEST(AttentionOptions, InstructionSetIsForced) {
  const auto sets = available_instruction_sets();
  for (const instruction_set isa :
       {instruction_set::baseline, instruction_set::avx2, instruction_set::avx512}) {
    options opts = with_kernel(kernel::tiled);
    opts.isa = isa;
    if (std::find(sets.begin(), sets.end(), isa) != sets.end())
      EXPECT_NO_THROW((void)attention(this->p.Q, this->p.K, this->p.V, opts)) << name_of(isa);
    else
      expect_error<argument_error>([&] { (void)attention(this->p.Q, this->p.K, this->p.V, opts); },
                                   {"isa"});
  }
}

TYPED_TEST(AttentionOptions, AvailableInstructionSetsRiseFromTheBaseline) {
  const auto sets = available_instruction_sets();
  ASSERT_FALSE(sets.empty());
  EXPECT_TRUE(std::is_sorted(sets.begin(), sets.end()));
  EXPECT_EQ(std::adjacent_find(sets.begin(), sets.end()), sets.end());
}

TYPED_TEST(AttentionOptions, WorkspaceGrowsOnceAndIsKept) {
  workspace space;
  options opts = with_kernel(kernel::tiled);
  opts.workspace = &space;
  (void)attention(this->p.Q, this->p.K, this->p.V, opts);
  const auto bytes = space.bytes();
  EXPECT_GT(bytes, 0u);
  (void)attention(this->p.Q, this->p.K, this->p.V, opts);
  EXPECT_EQ(space.bytes(), bytes);
  const row_major<TypeParam> few = this->p.K.topRows(2);
  (void)attention(this->p.Q, few, this->p.V.topRows(2), opts);
  EXPECT_EQ(space.bytes(), bytes);
}

// 4 MiB for every worker, whatever n and m: design, section 6.
TYPED_TEST(AttentionOptions, ScratchStaysWithinItsLimit) {
  constexpr std::size_t limit = std::size_t{4} << 20;
  for (const way& which : every_way()) {
    if (which.opts.kernel == kernel::naive) continue;
    for (const index width : {1, 64, 1024}) {
      for (const index keys : {10, 700}) {
        workspace space;
        options opts = which.opts;
        opts.workspace = &space;
        const auto wide = random_problem<TypeParam>(
            {.queries = width == 1024 ? 5 : 200, .keys = keys, .features = width, .values = width},
            seed(182));
        (void)attention(wide.Q, wide.K, wide.V, opts);
        EXPECT_LE(space.bytes(), limit) << which.name << " width " << width << " keys " << keys;
      }
    }
  }
}

}  // namespace
}  // namespace softlook::options_test
