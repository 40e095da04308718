#include <gtest/gtest.h>

#include <set>

#include "softlook/attention/attention.hpp"
#include "softlook/engine/call/checks.hpp"
#include "softlook/layer/linear_layer.hpp"
#include "softlook/linear/attention.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::overlap_test {
namespace {

using namespace softlook_test;

using input = matrix_view<double>;
using output = mutable_matrix_view<double>;

bool share_an_element(const output& a, const input& b) {
  std::set<const double*> of_a;
  for (index i = 0; i < a.rows; ++i)
    for (index j = 0; j < a.cols; ++j) of_a.insert(&a(i, j));
  for (index i = 0; i < b.rows; ++i)
    for (index j = 0; j < b.cols; ++j)
      if (of_a.count(&b(i, j)) != 0) return true;
  return false;
}

class Overlap : public testing::Test {
 protected:
  [[nodiscard]] index place() { return random.integer(200, 800); }

  generator random = seed(9001);
  std::vector<double> memory = std::vector<double>(2000);
};

TEST_F(Overlap, OfMatricesOfTheSameStridesIsExact) {
  int apart = 0, together = 0;
  for (int k = 0; k < 20000; ++k) {
    const index rs = random.integer(-20, 20), cs = random.integer(-4, 4);
    const output a{memory.data() + place(), random.integer(1, 5), random.integer(1, 5), rs, cs};
    const input b{memory.data() + place(), random.integer(1, 5), random.integer(1, 5), rs, cs};
    const bool expected = share_an_element(a, b);
    ++(expected ? together : apart);
    ASSERT_EQ(detail::overlap(a, b), expected) << rs << ' ' << cs;
    ASSERT_EQ(detail::overlap(a, b.transpose()), expected) << rs << ' ' << cs;
  }
  EXPECT_GT(apart, 1000);
  EXPECT_GT(together, 100);
}

TEST_F(Overlap, IsNeverOverlooked) {
  for (int k = 0; k < 20000; ++k) {
    const output a{memory.data() + place(), random.integer(1, 5), random.integer(1, 5),
                   random.integer(-20, 20), random.integer(-6, 6)};
    const input b{memory.data() + place(), random.integer(1, 5), random.integer(1, 5),
                  random.integer(-20, 20), random.integer(-6, 6)};
    ASSERT_TRUE(detail::overlap(a, b) || !share_an_element(a, b));
  }
}

TEST_F(Overlap, IsToldFromWindowsOfLinesThatAreNotAsFarApart) {
  const output every_line{memory.data(), 10, 3, 8, 1};
  const input every_other_line{memory.data() + 3, 5, 5, 16, 1};
  EXPECT_FALSE(detail::overlap(every_line, every_other_line));
  const input wider{memory.data() + 3, 5, 6, 16, 1};
  EXPECT_TRUE(detail::overlap(every_line, wider));
}

template <class T>
class Interleaved : public testing::Test {};
TYPED_TEST_SUITE(Interleaved, scalars, scalar_names);

/// Rows of two matrices by turns in one block of either storage order.
template <class Block, class F>
void with_alternating_rows(index rows, index cols, const F& f) {
  using T = typename Block::Scalar;
  Block block(2 * rows, cols);
  using lines = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  constexpr bool by_rows = Block::IsRowMajor;
  const lines strides(by_rows ? 2 * cols : 2 * rows, by_rows ? 1 : 2);
  using half = Eigen::Map<Block, Eigen::Unaligned, lines>;
  half first(block.data(), rows, cols, strides);
  half second(block.data() + (by_rows ? cols : 1), rows, cols, strides);
  static_assert(std::is_same_v<typename half::Scalar, T>);
  f(first, second);
}

TYPED_TEST(Interleaved, RowsOfTheOutputMayAlternateWithRowsOfAnInput) {
  using T = TypeParam;
  const auto p = random_problem<T>({.queries = 7, .keys = 7, .features = 4, .values = 4}, seed(31));
  const auto check = [&](auto& O, auto& X) {
    X = p.Q;
    attention_into(X, p.K, p.V, O);
    EXPECT_TRUE(bitwise_equal(row_major<T>(O), row_major<T>(attention(p.Q, p.K, p.V))));
    EXPECT_TRUE(bitwise_equal(row_major<T>(X), row_major<T>(p.Q)));
    linear_attention_into(p.Q, X, p.V, O);
    EXPECT_TRUE(bitwise_equal(row_major<T>(O), row_major<T>(linear_attention(p.Q, p.Q, p.V))));
    const linear_layer<T> layer(p.K.topRows(4));
    layer.into(X, O);
    EXPECT_TRUE(bitwise_equal(row_major<T>(O), row_major<T>(layer(p.Q))));
    EXPECT_TRUE(bitwise_equal(row_major<T>(X), row_major<T>(p.Q)));
    EXPECT_THROW(attention_into(X, p.K, p.V, X), argument_error);
  };
  with_alternating_rows<row_major<T>>(7, 4, check);
  with_alternating_rows<col_major<T>>(7, 4, check);
}

}  // namespace
}  // namespace softlook::overlap_test
