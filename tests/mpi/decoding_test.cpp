// A step of decoding over a cache on ranks: one answer, on all of them.
#include "tests/mpi/support.hpp"
//
#include "softlook/mask/causal.hpp"
#include "softlook/mask/window.hpp"
#include "tests/support/erased.hpp"

namespace softlook::decoding_test {
namespace {

using softlook_test::alone;
using softlook_test::any_mask;
using softlook_test::bitwise_equal;
using softlook_test::every_partition;
using softlook_test::expect_same_on_all;
using softlook_test::hold_mask;
using softlook_test::max_error;
using softlook_test::random_problem;
using softlook_test::rank;
using softlook_test::ranks;
using softlook_test::row_major;
using softlook_test::rows_of;
using softlook_test::thrown_by;
using softlook_test::world;
using matrix = row_major<float>;

const heads of{.query = 4, .kv = 2};

matrix decode(const mpi::communicator& comm, const softlook_test::problem_inputs<float>& p,
              const mpi::partition& at, const any_mask& mask, index pieces) {
  return mpi::decode_attention(comm, p.Q, rows_of(p.K, at, comm.rank()),
                               rows_of(p.V, at, comm.rank()), at, of, mask,
                               mpi::options{.pieces = pieces});
}

TEST(DecodeAttention, GivesEveryRankTheAnswerOfOneProcess) {
  for (const index m : {1, 3, 50, 333})
    for (const index queries : {1, 3, 8}) {
      auto p = random_problem<float>({.queries = queries, .keys = m, .features = 24, .values = 16},
                                     softlook_test::seed(m));
      p.Q = matrix(p.Q.replicate(1, 2));
      for (const auto& held : {hold_mask(masks::causal_bottom_right{}),
                               hold_mask(masks::window{.left = 40} & masks::causal_bottom_right{}),
                               hold_mask(masks::padding{.length = m / 4})}) {
        const any_mask mask{held.get()};
        const matrix whole = attention(p.Q, p.K, p.V, of, mask);
        std::size_t k = 0;
        for (const mpi::partition& at : every_partition(m))
          for (const index pieces : {index{16}, index{ranks()}, index{5}}) {
            if (!softlook_test::taken(k++)) continue;
            const matrix mine = decode(world(), p, at, mask, pieces);
            EXPECT_LE(max_error(mine, whole), 2e-6) << m << ' ' << queries << ' ' << pieces;
            matrix first = mine;
            MPI_Bcast(first.data(), int(first.size()), MPI_FLOAT, 0, MPI_COMM_WORLD);
            EXPECT_TRUE(bitwise_equal(mine, first));
          }
      }
    }
}

TEST(DecodeAttention, HasBitsThatDependOnPiecesAlone) {
  auto p = random_problem<float>({.queries = 2, .keys = 1000, .features = 24, .values = 16},
                                 softlook_test::seed(9));
  p.Q = matrix(p.Q.replicate(1, 2));
  const auto held = hold_mask(masks::causal_bottom_right{});
  const index pieces = 2 * 168;  // of 1, 2, 3, 4, 7 and 8 ranks, twice
  const auto one = mpi::partition::contiguous(1000, 1);
  const matrix bits = decode(alone(), p, one, any_mask{held.get()}, pieces);
  for (const mpi::partition& at :
       {mpi::partition::contiguous(1000, ranks()), mpi::partition::zigzag(1000, ranks())})
    EXPECT_TRUE(bitwise_equal(decode(world(), p, at, any_mask{held.get()}, pieces), bits));
  for (const index C : {pieces, index{64}}) {
    if (C % ranks() != 0) continue;
    const matrix stripes =
        decode(alone(), p, mpi::partition::striped(1000, 1), any_mask{held.get()}, C);
    EXPECT_TRUE(bitwise_equal(
        decode(world(), p, mpi::partition::striped(1000, ranks()), any_mask{held.get()}, C),
        stripes));
  }
}

TEST(DecodeAttention, RefusesQueriesThatDiffer) {
  if (ranks() == 1) GTEST_SKIP() << "one rank";
  auto p = random_problem<float>({.queries = 1, .keys = 20, .features = 48, .values = 16},
                                 softlook_test::seed(9));
  p.K = matrix(p.K.leftCols(24));
  const auto held = hold_mask(masks::none{});
  if (rank() == 1) p.Q(0, 3) += 1;
  const std::string text = thrown_by<argument_error>([&] {
    (void)decode(world(), p, mpi::partition::contiguous(20, ranks()), any_mask{held.get()}, 16);
  });
  EXPECT_NE(text.find("Q on rank 1 is not that on rank 0"), std::string::npos) << text;
  expect_same_on_all(text);
}

}  // namespace
}  // namespace softlook::decoding_test
