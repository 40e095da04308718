// Rows in the pages of a pool give the bits of the same rows in a matrix.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "softlook/cache.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::paged_rows_test {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::expect_error;
using softlook_test::random_problem;
using matrix = softlook_test::row_major<float>;

/// The pages of a table, one behind the other.
template <class Matrix>
Matrix gathered(const Matrix& pool, index page_rows, const std::vector<std::int32_t>& table,
                index rows) {
  Matrix X(rows, pool.cols());
  for (index r = 0; r < rows; ++r)
    X.row(r) = pool.row(table[std::size_t(r / page_rows)] * page_rows + r % page_rows);
  return X;
}

TEST(PagedRows, OfAnySizeGiveTheBitsOfAMatrix) {
  const matrix pool_k =
      random_problem<float>({.keys = 1024, .features = 2 * 40}, softlook_test::seed(81)).K;
  const matrix pool_v =
      random_problem<float>({.keys = 1024, .features = 2 * 24}, softlook_test::seed(82)).K;
  for (const index page_rows : {1, 4, 32, 256}) {
    std::vector<std::int32_t> table;
    for (index p = 0; p < 1024 / page_rows; ++p)
      table.push_back(std::int32_t((p * 5 + 3) % (1024 / page_rows)));
    for (const index rows : {1, 200, 777})
      for (const index n : {1, 6, 90}) {
        const matrix Q =
            random_problem<float>({.queries = n, .features = 4 * 40}, softlook_test::seed(83)).Q;
        const paged_rows K(pool_k, page_rows, table, rows), V(pool_v, page_rows, table, rows);
        const heads h{.query = 4, .kv = 2};
        const matrix O =
            attention(Q, gathered(pool_k, page_rows, table, rows),
                      gathered(pool_v, page_rows, table, rows), h, masks::causal_bottom_right{});
        ASSERT_TRUE(all_finite(O));
        EXPECT_TRUE(bitwise_equal(attention(Q, K, V, h, masks::causal_bottom_right{}), O))
            << page_rows << ' ' << rows << ' ' << n;
      }
  }
}

TEST(PagedRows, InEveryInstructionSetAndStorage) {
  const matrix pool =
      random_problem<float>({.keys = 256, .features = 48}, softlook_test::seed(84)).K;
  const auto half = pool.cast<Eigen::half>().eval();
  const int8_rows eight(pool, 1);
  const std::vector<std::int32_t> table{3, 0, 2};
  const matrix Q =
      random_problem<float>({.queries = 50, .features = 48}, softlook_test::seed(85)).Q;
  for (const instruction_set isa : available_instruction_sets())
    for (const index n : {2, 50}) {
      const softlook::options opts{.isa = isa};
      const auto q = Q.topRows(n);
      const paged_rows H(half, 64, table, 150);
      const matrix held = gathered(matrix(half.cast<float>()), 64, table, 150);
      EXPECT_TRUE(bitwise_equal(attention(q, H, H, opts), attention(q, held, held, opts)));
      const paged_rows<float, std::int8_t> E(eight.values(), eight.scales(), 64, table, 150);
      const matrix of_eight = gathered(matrix(eight.matrix()), 64, table, 150);
      const matrix is = attention(q, E, E, opts), wanted = attention(q, of_eight, of_eight, opts);
      ASSERT_TRUE(all_finite(is));
      EXPECT_LE((is - wanted).cwiseAbs().maxCoeff(), n == 2 ? 2e-6F : 0.0F);
    }
}

TEST(PagedRows, RefuseTablesThatLeaveThePool) {
  const matrix pool = matrix::Zero(64, 8);
  const std::vector<std::int32_t> beyond{0, 4}, negative{-1}, one{1};
  expect_error<argument_error>([&] { paged_rows(pool, 16, beyond, 20); }, {"4", "3"});
  expect_error<argument_error>([&] { paged_rows(pool, 16, negative, 2); }, {"-1", "0", "3"});
  expect_error<argument_error>([&] { paged_rows(pool, 12, one, 2); }, {"page_rows", "12"});
  expect_error<shape_error>([&] { paged_rows(pool, 128, one, 2); }, {"64", "128"});
  expect_error<shape_error>([&] { paged_rows(pool, 16, one, 17); }, {"17", "16"});
  expect_error<shape_error>([&] { paged_rows(pool, 16, one, -1); }, {"-1"});
  constexpr index most = std::numeric_limits<index>::max();
  expect_error<shape_error>([&] { paged_rows(pool, 16, one, most); }, {"rows", "16"});
  const matrix columns = matrix::Zero(64, 16);
  expect_error<argument_error>([&] { paged_rows(columns.transpose(), 16, one, 1); },
                               {"contiguous"});
}

}  // namespace
}  // namespace softlook::paged_rows_test
