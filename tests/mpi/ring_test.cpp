// A ring's bits depend on the number of pieces alone; it is as right as one process.
#include "tests/mpi/support.hpp"
//
#include "softlook/mask/causal.hpp"
#include "softlook/mask/documents.hpp"
#include "softlook/mask/patterns.hpp"
#include "tests/oracle/attention.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/erased.hpp"

namespace softlook::ring_test {
namespace {

using softlook_test::alone;
using softlook_test::any_mask;
using softlook_test::bitwise_equal;
using softlook_test::every_partition;
using softlook_test::hold_mask;
using softlook_test::max_error;
using softlook_test::on_first;
using softlook_test::random_problem;
using softlook_test::rank;
using softlook_test::ranks;
using softlook_test::row_major;
using softlook_test::rows_of;
using softlook_test::world;
using matrix = row_major<float>;

const auto causal = hold_mask(masks::causal_top_left{});

template <class... Ps>
auto ring(const mpi::communicator& comm, const matrix& Q, const matrix& K, const matrix& V,
          const mpi::partitions& at, index pieces, const Ps&... ps) {
  return mpi::ring_attention_with_log_sum_exp(
      comm, rows_of(Q, at.queries, comm.rank()), rows_of(K, at.keys, comm.rank()),
      rows_of(V, at.keys, comm.rank()), at, ps..., mpi::options{.pieces = pieces});
}

TEST(RingAttention, HasBitsThatDependOnPiecesAlone) {
  const heads of{.query = 4, .kv = 2};
  for (const index n : {1, 5, 67, 240})
    for (const index pieces : {1, 6, 16}) {
      const auto p = random_problem<float>({.queries = n, .keys = n, .features = 24, .values = 16},
                                           softlook_test::seed(n));
      const matrix Q = p.Q.replicate(1, 2);
      for (const auto& mask : {causal, hold_mask(masks::window{.left = 21, .right = 3}),
                               hold_mask(masks::padding{.length = n / 3})}) {
        const mpi::partition own = mpi::partition::contiguous(n, 1);
        mpi::communicator self(MPI_COMM_SELF);
        const auto one = mpi::ring_attention_with_log_sum_exp(
            self, Q, p.K, p.V, own, of, any_mask{mask.get()}, mpi::options{.pieces = pieces});
        const auto whole = attention_with_log_sum_exp(Q, p.K, p.V, of, any_mask{mask.get()});
        EXPECT_LE(max_error(one.output, whole.output), 1e-5);
        EXPECT_LE(max_error(one.log_sum_exp, whole.log_sum_exp), 1e-5);
        std::size_t k = 0;
        for (const mpi::partition& at : every_partition(n)) {
          if (!softlook_test::taken(k++ + std::size_t(n))) continue;
          const auto mine = ring(world(), Q, p.K, p.V, at, pieces, of, any_mask{mask.get()});
          EXPECT_TRUE(bitwise_equal(mine.output, rows_of(one.output, at)))
              << n << ' ' << pieces << " kind " << int(at.kind());
          EXPECT_TRUE(bitwise_equal(mine.log_sum_exp, rows_of(one.log_sum_exp, at)));
        }
      }
    }
}

TEST(RingAttention, HasThemOnEveryNumberOfRanksAndOfOtherQueries) {
  const heads of{.query = 4, .kv = 2};
  const auto p = random_problem<float>({.queries = 45, .keys = 130, .features = 24, .values = 16},
                                       softlook_test::seed(4));
  const matrix Q = p.Q.replicate(1, 2);
  const auto mask = hold_mask(masks::causal_bottom_right{});
  const auto one = ring(alone(), Q, p.K, p.V,
                        {mpi::partition::contiguous(45, 1), mpi::partition::striped(130, 1)}, 12,
                        of, any_mask{mask.get()});
  for (int P = 1; P <= ranks(); ++P)
    on_first(P, [&](const mpi::communicator& comm) {
      const mpi::partitions at(mpi::partition::striped(45, P), mpi::partition::zigzag(130, P));
      const auto mine = ring(comm, Q, p.K, p.V, at, 12, of, any_mask{mask.get()});
      EXPECT_TRUE(bitwise_equal(mine.output, rows_of(one.output, at.queries, comm.rank()))) << P;
    });
}

TEST(RingAttention, ErrsNoMoreThanOneProcessWhateverThePieces) {
  for (const double shift : {0.0, 1e4}) {
    auto p = random_problem<float>({.queries = 64, .keys = 64, .features = 16, .values = 16},
                                   softlook_test::seed(12));
    p.Q.col(0).setConstant(4);
    p.K.col(0).setConstant(float(shift));
    const matrix none;
    const auto truth = oracle::attention(p.Q, p.K, p.V, masks::causal_top_left{});
    const double one = max_error(attention(p.Q, p.K, p.V, any_mask{causal.get()}), truth.output);
    const double scores = softlook_test::max_magnitude(truth.raw);
    const mpi::partition at = mpi::partition::zigzag(64, ranks());
    for (const index pieces : {1, 4, 16, 64}) {
      const auto mine = mpi::ring_attention_with_log_sum_exp(
          world(), rows_of(p.Q, at), rows_of(p.K, at), rows_of(p.V, at), at, heads{},
          any_mask{causal.get()}, mpi::options{.pieces = pieces});
      oracle::matrix expected(at.rows(rank()), 16);
      for (index i = 0; i < expected.rows(); ++i)
        expected.row(i) = truth.output.row(at.global(rank(), i));
      EXPECT_LE(max_error(mine.output, expected),
                2 * one + softlook_test::rounding_of<float>(scores, 4));
    }
  }
}

TEST(RingAttention, SharesCausalWorkAndMovesWhatItSays) {
  const index n = 64 * ranks();
  auto random = softlook_test::seed(2);
  const auto X = softlook_test::random_matrix<matrix>(n, 8, random);
  const mpi::partition at = mpi::partition::zigzag(n, ranks());
  mpi::traffic traffic;
  const auto mine = mpi::ring_attention_with_log_sum_exp(
      world(), rows_of(X, at), rows_of(X, at), rows_of(X, at), at, heads{}, any_mask{causal.get()},
      mpi::options{.pieces = 2 * ranks(), .traffic = &traffic});
  // Where pieces lie as the rows do nothing moves but the ring.
  EXPECT_EQ(traffic.messages, ranks() - 1);
  EXPECT_EQ(traffic.bytes, double((ranks() - 1) * 64 * 2 * 8 * 4));
  EXPECT_EQ(mine.output.rows(), 64);
}

}  // namespace
}  // namespace softlook::ring_test
