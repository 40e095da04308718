// Rows arrive where they belong, whatever the partition and however messages are cut.
#include "softlook/mpi/transfer.hpp"

#include <chrono>
#include <limits>
#include <thread>

#include "tests/mpi/support.hpp"

namespace softlook::transfer_test {
namespace {

using softlook_test::bitwise_equal;
using softlook_test::col_major;
using softlook_test::every_partition;
using softlook_test::expect_same_on_all;
using softlook_test::random_matrix;
using softlook_test::rank;
using softlook_test::ranks;
using softlook_test::row_major;
using softlook_test::rows_of;
using softlook_test::thrown_by;
using softlook_test::world;

TEST(Transfer, BringsRowsThroughMessagesOfAFewRows) {
  for (const index n : {1, 5, 64, 97})
    for (const mpi::partition& at : every_partition(n))
      for (const index most : {index{1}, index{3}, index{INT_MAX}}) {
        auto random = softlook_test::seed(5);
        const auto X = random_matrix<row_major<double>>(n, 3, random);
        detail::transfer messages(world(), most);
        const auto all = detail::hold_rows<double>(messages, n, 3);
        all.writable().data[0] = 0;
        std::fill_n(all.writable().data, 3 * n, std::numeric_limits<double>::quiet_NaN());
        const row_major<double> own = rows_of(X, at);
        detail::pack_own(detail::view_of(own), all, at, rank());
        std::this_thread::sleep_for(std::chrono::microseconds(rank() * 977 % 1500));
        detail::post_gather(messages, all, at, 7);
        for (int k = 0; k < 3; ++k) messages.poll();
        messages.wait();
        EXPECT_TRUE(messages.poll());
        for (index i = 0; i < n; ++i)
          for (index j = 0; j < 3; ++j) EXPECT_EQ(all.view()(i, j), X(i, j));
        index expected = 0;  // of this rank, to each other one
        for (const mpi::row_run& run : at.runs(rank())) expected += (run.count + most - 1) / most;
        EXPECT_EQ(messages.so_far().messages, expected * (ranks() - 1));
        EXPECT_EQ(messages.so_far().bytes, double(at.rows(rank()) * 24 * (ranks() - 1)));
      }
}

TEST(Rows, AreScatteredAndGathered) {
  auto random = softlook_test::seed(6);
  for (const index n : {0, 1, 41})
    for (const mpi::partition& at : every_partition(n)) {
      const auto X = random_matrix<col_major<float>>(n, 5, random);
      const int root = ranks() - 1;
      const row_major<float> own =
          mpi::scatter_rows(world(), rank() == root ? X : col_major<float>(0, 5), at, root);
      EXPECT_TRUE(bitwise_equal(own, row_major<float>(rows_of(X, at))));
      EXPECT_TRUE(bitwise_equal(mpi::gather_rows(world(), own, at), row_major<float>(X)));
      EXPECT_TRUE(
          bitwise_equal(mpi::gather_rows(world(), col_major<float>(own), at), row_major<float>(X)));
    }
}

TEST(Rows, AreRefusedOnAllRanksWhereOneHasTooMany) {
  const mpi::partition at = mpi::partition::contiguous(20, ranks());
  const index more = rank() == ranks() - 1 ? 1 : 0;
  const row_major<float> X = row_major<float>::Zero(at.rows(rank()) + more, 2);
  const std::string text = thrown_by<shape_error>([&] { (void)mpi::gather_rows(world(), X, at); });
  EXPECT_NE(text.find("X.rows() is"), std::string::npos) << text;
  expect_same_on_all(text);
  const std::string other = thrown_by<shape_error>([&] {
    (void)mpi::gather_rows(world(), X.topRows(at.rows(rank())), mpi::partition::contiguous(20, 99));
  });
  EXPECT_NE(other.find("the ranks of the partition is 99"), std::string::npos) << other;
}

}  // namespace
}  // namespace softlook::transfer_test
