// A bias is added in blocks, whichever way it lies: the bits of a function that adds it.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <vector>

#include "softlook/attention.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::bias_test {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;

template <class T>
class Bias : public ::testing::Test {
 protected:
  using matrix = softlook_test::row_major<T>;

  /// Of Q, K and V of one head or several, in each set and kernel.
  template <class B, class Place>
  void expect_bits_of_a_function(const B& bias, index n, index m, index query_heads,
                                 const Place& place, std::int32_t rows) {
    const heads h{.query = query_heads};
    const auto p = softlook_test::random_problem<T>(
        {.queries = n, .keys = m, .features = 8 * query_heads, .values = 5 * query_heads},
        softlook_test::seed(911));
    const auto by_hand =
        transforms::map([&bias, rows](auto s, std::int32_t i, std::int32_t j, std::int32_t head) {
          const index row = bias.rows() == 1 ? 0 : bias.rows() == rows ? i : head * rows + i;
          return s + bias(row, bias.cols() == 1 ? 0 : j);
        });
    for (const instruction_set isa : available_instruction_sets())
      for (const kernel by : {kernel::tiled, kernel::few_queries}) {
        const options opts{.isa = isa, .kernel = by};
        const matrix added = attention(p.Q, p.K, p.V, h, place, opts, transforms::bias(bias));
        ASSERT_TRUE(all_finite(added));
        EXPECT_TRUE(bitwise_equal(added, matrix(attention(p.Q, p.K, p.V, h, place, opts, by_hand))))
            << name_of(isa) << ' ' << name_of(by) << ' ' << n << 'x' << m;
      }
  }
  matrix numbers(index rows, index cols) {
    return softlook_test::random_matrix<matrix>(rows, cols, random_);
  }
  softlook_test::generator random_ = softlook_test::seed(912);
};
TYPED_TEST_SUITE(Bias, softlook_test::scalars);

TYPED_TEST(Bias, InEveryOrderAndSize) {
  using by_columns = Eigen::Matrix<TypeParam, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
  for (const index n : {1, 3, 8, 29, 70})
    for (const index m : {1, 5, 64, 131}) {
      const auto B = this->numbers(n, m);
      this->expect_bits_of_a_function(B, n, m, 1, frame{}, std::int32_t(n));
      this->expect_bits_of_a_function(by_columns(B), n, m, 1, frame{}, std::int32_t(n));
      // A number apart in both directions.
      const auto wide = this->numbers(2 * n, 3 * m);
      using apart = Eigen::Map<const typename TestFixture::matrix, 0,
                               Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;
      const apart strided(wide.data(), n, m,
                          Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(6 * m, 3));
      this->expect_bits_of_a_function(strided, n, m, 1, frame{}, std::int32_t(n));
    }
}

TYPED_TEST(Bias, OfARowAColumnOrABlockForEachHead) {
  for (const index n : {2, 30}) {
    const index m = 77;
    this->expect_bits_of_a_function(this->numbers(1, m), n, m, 2, frame{}, std::int32_t(n));
    this->expect_bits_of_a_function(this->numbers(n, 1), n, m, 2, frame{}, std::int32_t(n));
    this->expect_bits_of_a_function(this->numbers(1, 1), n, m, 2, frame{}, std::int32_t(n));
    this->expect_bits_of_a_function(this->numbers(2 * n, m), n, m, 2, frame{}, std::int32_t(n));
  }
}

/// Positions that neither lie beside each other nor rise.
TYPED_TEST(Bias, OfQueriesAnywhereInALongerProblem) {
  const std::vector<std::int32_t> positions{9, 7, 11, 8, 0, 1, 2, 30, 4, 5, 6, 3, 31, 12, 13, 14};
  const index n = index(positions.size()), m = 50, whole = 40;
  const frame place{.queries = whole, .first_key = 3, .keys = m + 5, .query_positions = positions};
  this->expect_bits_of_a_function(this->numbers(whole, m + 5), n, m, 1, place, whole);
  using by_columns = Eigen::Matrix<TypeParam, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
  this->expect_bits_of_a_function(by_columns(this->numbers(whole, m + 5)), n, m, 1, place, whole);
}

}  // namespace
}  // namespace softlook::bias_test
