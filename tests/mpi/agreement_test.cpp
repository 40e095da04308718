// All ranks return, or all throw the same, and nothing was sent.
#include "softlook/mpi/agreement.hpp"

#include "tests/mpi/support.hpp"

namespace softlook::agreement_test {
namespace {

using softlook_test::expect_same_on_all;
using softlook_test::rank;
using softlook_test::ranks;
using softlook_test::thrown_by;
using softlook_test::world;

constexpr const char* rule = "all are alike";

TEST(Agreement, TakesTheLeastOfWhatMayDiffer) {
  std::size_t i = 0;
  const detail::call_facts facts = detail::agree(world(), "test", [&](detail::call_facts& f) {
    f.same("columns", 7, rule);
    i = f.least("instruction set", 5 + (rank() * 3) % ranks());
  });
  EXPECT_EQ(facts.agreed(i), 5);
}

TEST(Agreement, NamesTheFirstRankThatDiffers) {
  const std::string text = thrown_by<shape_error>([] {
    detail::agree(world(), "mpi::test", [](detail::call_facts& f) {
      f.same("rows", 3, rule);
      f.same("columns", rank() >= 1 ? 48 : 64, rule);
    });
  });
  EXPECT_EQ(text, ranks() == 1
                      ? "nothing"
                      : "mpi::test: columns is 48 on rank 1 but 64 on rank 0 (all are alike)");
}

TEST(Agreement, ThrowsWhatTheFirstFailingRankThrows) {
  const int failing = ranks() - 1;
  const auto failed = [&](const auto& error) {
    detail::agree(world(), "mpi::test", [&](detail::call_facts& f) {
      f.same("columns", 1, rule);
      if (rank() == failing) throw error;
    });
  };
  expect_same_on_all(thrown_by<shape_error>([&] { failed(shape_error("too long")); }));
  expect_same_on_all(thrown_by<argument_error>([&] { failed(argument_error("too large")); }));
  EXPECT_NE(thrown_by<std::bad_alloc>([&] { failed(std::bad_alloc()); }), "nothing");
  const std::string other = thrown_by<std::runtime_error>([&] { failed(std::logic_error("odd")); });
  EXPECT_EQ(other,
            ranks() > 1 ? "odd [rank " + std::to_string(failing) + "]" : "another exception: odd");
}

TEST(Agreement, FindsOutThatRanksCallDifferentFunctions) {
  if (ranks() == 1) GTEST_SKIP() << "one rank";
  const std::string text = thrown_by<argument_error>([] {
    detail::agree(world(), rank() == 1 ? "mpi::this" : "mpi::that",
                  [](detail::call_facts& f) { f.same("columns", 1, rule); });
  });
  EXPECT_NE(text.find("rank 1 calls another function"), std::string::npos) << text;
  expect_same_on_all(text);
}

TEST(Communicator, IsMadeAndDestroyedThousandsOfTimes) {
  for (int k = 0; k < (ranks() <= 2 ? 3000 : 50); ++k) {
    mpi::communicator comm(MPI_COMM_WORLD);
    mpi::communicator moved(std::move(comm));
    EXPECT_EQ(moved.size(), ranks());
    EXPECT_EQ(comm.handle(), MPI_COMM_NULL);
    comm = std::move(moved);
    EXPECT_NE(comm.handle(), MPI_COMM_NULL);
  }
}

TEST(Communicator, ServesThousandsOfCalls) {
  for (int k = 0; k < (ranks() <= 2 ? 5000 : 200); ++k)
    detail::agree(world(), "mpi::test", [&](detail::call_facts& f) { f.same("k", k, rule); });
}

TEST(Communicator, RefusesNone) {
  EXPECT_NE(thrown_by<argument_error>([] {
              mpi::communicator none(MPI_COMM_NULL);
            }).find("MPI_COMM_NULL"),
            std::string::npos);
}

TEST(Communicator, MakesErrorsOfMpiExceptionsWithTheRank) {
  try {
    detail::check_mpi(MPI_ERR_TRUNCATE, "MPI_Recv", rank());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const mpi::mpi_error& e) {
    EXPECT_EQ(e.rank(), rank());
    EXPECT_EQ(e.code(), MPI_ERR_TRUNCATE);
    EXPECT_NE(std::string(e.what()).find("MPI_Recv on rank " + std::to_string(rank())),
              std::string::npos);
  }
}

}  // namespace
}  // namespace softlook::agreement_test
