// A decode step over a short cache takes a way of its own. Its bits are those of the kernel for few
// queries, which the same call runs with an executor of the caller's.
#include "softlook/engine/run/single_query.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "softlook/attention.hpp"
#include "softlook/cache/kv_cache.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::single_query_test {
namespace {

using namespace softlook_test;

template <class T>
struct step {
  row_major<T> Q, K, V;
  heads of;
  options opts;

  step(index m, index d, index e, heads h, std::uint64_t number) : of(h) {
    generator random = seed(number);
    Q = random_matrix<row_major<T>>(1, h.query * d, random);
    K = random_matrix<row_major<T>>(m, h.kv_or_query() * d, random);
    V = random_matrix<row_major<T>>(m, h.kv_or_query() * e, random);
  }
  template <class... Ps>
  [[nodiscard]] auto operator()(const Ps&... policies) const {
    return attention_with_log_sum_exp(Q, K, V, of, opts, policies...);
  }
  /// Both ways, bit for bit.
  template <class... Ps>
  void expect_same(const Ps&... policies) const {
    const auto alone = (*this)(policies...);
    const auto other = (*this)(policies..., last_task_first{});
    EXPECT_TRUE(bitwise_equal(alone.output, other.output));
    EXPECT_TRUE(bitwise_equal(alone.log_sum_exp, other.log_sum_exp));
  }
  template <class... Ps>
  [[nodiscard]] bool is_single(const Ps&... policies) const {
    row_major<T> O(1, of.query * (V.cols() / of.kv_or_query()));
    auto bound = detail::bind("step", Q, K, V, of, opts, policies...);
    bound.call().O = detail::writable_view(O);
    return detail::run_single_query(bound.call());
  }
};

/// The baseline kernels of x86 have none.
template <class T>
[[nodiscard]] bool has_kernel() {
  return detail::few_kernels_of<T, false>(detail::best_instruction_set()).single_query != nullptr;
}

template <class T>
class SingleQuery : public ::testing::Test {};
TYPED_TEST_SUITE(SingleQuery, scalars, scalar_names);

TYPED_TEST(SingleQuery, HasTheBitsOfFewQueries) {
  std::uint64_t number = 1;
  for (const instruction_set isa : available_instruction_sets())
    for (const heads h : {heads{.query = 1, .kv = 1}, heads{.query = 8, .kv = 2},
                          heads{.query = 6, .kv = 6}, heads{.query = 6, .kv = 1}})
      for (const index d : {16, 64, 128, 256, 24, 65, 320})
        for (const index m : {1, 7, 8, 9, 31, 128, 129}) {
          SCOPED_TRACE(std::string(name_of(isa)) + ", heads " + std::to_string(h.query) + "/" +
                       std::to_string(h.kv_or_query()) + ", d " + std::to_string(d) + ", m " +
                       std::to_string(m));
          step<TypeParam> s(m, d, d == 128 ? 64 : d, h, number++);
          s.opts.isa = isa;
          s.expect_same();
        }
}

TYPED_TEST(SingleQuery, IsWhatAPlainStepRuns) {
  const step<TypeParam> s(40, 64, 64, {.query = 8, .kv = 2}, 3);
  const bool has = has_kernel<TypeParam>();
  EXPECT_EQ(s.is_single(), has);
  EXPECT_EQ(s.is_single(masks::causal_bottom_right{}), has);
  EXPECT_FALSE(s.is_single(masks::causal_top_left{}));
  EXPECT_FALSE(s.is_single(masks::padding{39}));
  EXPECT_FALSE(s.is_single(transforms::alibi{.slope = 0.5}));
  EXPECT_FALSE(s.is_single(dropout{.probability = 0.5, .seed = 1}));
  EXPECT_FALSE(s.is_single(last_task_first{}));
}

/// Hides all keys from one head alone.
struct one_head_blind {
  using policy_kind = mask_kind;
  bool allows(std::int32_t, std::int32_t, problem p) const { return p.head != 3; }
  range key_range(range, problem p) const { return {0, p.head != 3 ? p.keys : 0}; }
  coverage coverage_of(range, range, problem p) const {
    return p.head != 3 ? coverage::full : coverage::none;
  }
};

TYPED_TEST(SingleQuery, AsksTheMaskOfEachHead) {
  const step<TypeParam> s(12, 64, 64, {.query = 8, .kv = 2}, 4);
  EXPECT_FALSE(s.is_single(one_head_blind{}));
  s.expect_same(one_head_blind{});
  s.expect_same(masks::causal_bottom_right{});
  s.expect_same(masks::causal_top_left{});
  s.expect_same(masks::padding{5});
}

// A frame places the query among more keys than the call has.
TYPED_TEST(SingleQuery, KnowsTheFrame) {
  const step<TypeParam> s(12, 64, 64, {.query = 8, .kv = 2}, 5);
  for (const index first : {5, 11, 40})
    s.expect_same(masks::causal{}, frame{.first_query = first, .keys = 50});
}

TYPED_TEST(SingleQuery, LeavesWhatIsNotFiniteToTheOtherKernel) {
  using limits = std::numeric_limits<TypeParam>;
  for (const TypeParam odd : {limits::quiet_NaN(), limits::infinity(), -limits::infinity(),
                              limits::max(), limits::denorm_min()}) {
    for (const index at : {0, 7, 20}) {
      step<TypeParam> s(21, 64, 64, {.query = 8, .kv = 2}, 6);
      s.V(at, 70) = odd;
      s.expect_same();
      s.K(at, 3) = odd;
      s.expect_same();
      s.Q(0, 130) = odd;
      s.expect_same();
    }
  }
}

TYPED_TEST(SingleQuery, SumsAreThoseOfNaiveAttention) {
  for (const index m : {1, 5, 40, 128}) {
    const step<TypeParam> s(m, 64, 64, {.query = 8, .kv = 4}, 7);
    const auto naive = naive_attention(s.Q, s.K, s.V, s.of).output;
    const TypeParam worst = (s().output - naive).cwiseAbs().maxCoeff();
    EXPECT_LE(worst, 64 * std::numeric_limits<TypeParam>::epsilon());
  }
}

// Heads of a tensor lie apart, rows of a cache in pages.
TYPED_TEST(SingleQuery, ReadsPagesAndColumnsOfEitherOrder) {
  for (const index m : {3, 16, 17, 40}) {
    const step<TypeParam> s(m, 64, 64, {.query = 8, .kv = 2}, 8);
    kv_cache<TypeParam> cache({.heads = 2, .key_features = 64, .value_features = 64},
                              {.page_rows = 16});
    cache.append(s.K, s.V);
    EXPECT_TRUE(bitwise_equal(cache.attend(s.Q), s().output));
    const Eigen::Matrix<TypeParam, Eigen::Dynamic, Eigen::Dynamic> K = s.K, V = s.V;
    EXPECT_TRUE(bitwise_equal(attention(s.Q, K, V, s.of), s().output));
  }
}

}  // namespace
}  // namespace softlook::single_query_test
