// What README says of the caller's rounding mode: softmax loses some bits in a mode other than to
// nearest, and nothing else. A program of its own, because the mode is the process's.
#include <gtest/gtest.h>

#include <cfenv>

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/attention.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/random.hpp"
#include "tests/support/ways.hpp"

namespace softlook {
namespace {

using namespace softlook_test;

class rounding {
 public:
  explicit rounding(int mode) { std::fesetround(mode); }
  ~rounding() { std::fesetround(FE_TONEAREST); }
  rounding(const rounding&) = delete;
  rounding& operator=(const rounding&) = delete;
};

/// The numbers in README.
template <class T>
constexpr double stated = std::is_same_v<T, float> ? 1e-4 : 1e-11;

template <class T>
class RoundingMode : public testing::Test {};
TYPED_TEST_SUITE(RoundingMode, scalars, scalar_names);

TYPED_TEST(RoundingMode, OfTheCallerCostsOnlyTheStatedAccuracy) {
  using T = TypeParam;
  const auto p =
      random_problem<T>({.queries = 53, .keys = 67, .features = 16, .values = 5}, seed(77));
  const masks::causal_bottom_right mask;
  const auto truth = oracle::attention(p.Q, p.K, p.V, mask);
  const exec::thread_pool pool(2);
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name + " in mode " + std::to_string(mode));
      row_major<T> O(p.Q.rows(), p.V.cols()), by_pool = O, none = O;
      int left = FE_TONEAREST;
      {
        const rounding set(mode);
        attention_into(p.Q, p.K, p.V, O, mask, which.opts);
        attention_into(p.Q, p.K, p.V, by_pool, mask, pool, which.opts);
        attention_into(p.Q, p.K, p.V, none, masks::padding{.length = 0}, which.opts);
        left = std::fegetround();
      }
      EXPECT_EQ(left, mode);
      EXPECT_TRUE(O.allFinite());
      EXPECT_LE(max_error(O, truth.output), stated<T> * max_magnitude(p.V));
      EXPECT_TRUE(bitwise_equal(O, by_pool));
      EXPECT_TRUE((none.array() == T(0)).all());
    }
  }
}

}  // namespace
}  // namespace softlook
