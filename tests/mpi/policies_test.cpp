// What stands beside masks: scores that project, sinks, dropout, and rows of a cache.
#include "tests/mpi/support.hpp"
//
#include "softlook/cache.hpp"
#include "softlook/mask/causal.hpp"
#include "tests/support/erased.hpp"

namespace softlook::policies_test {
namespace {

using softlook_test::alone;
using softlook_test::any_mask;
using softlook_test::bitwise_equal;
using softlook_test::every_partition;
using softlook_test::hold_mask;
using softlook_test::max_error;
using softlook_test::random_matrix;
using softlook_test::rank;
using softlook_test::ranks;
using softlook_test::row_major;
using softlook_test::rows_of;
using softlook_test::world;
using matrix = row_major<float>;

TEST(Policies, OfEveryKindActAsInOneProcess) {
  const index n = 70, H = ranks(), d = 12, e = 8;
  auto random = softlook_test::seed(31);
  const auto Q = random_matrix<matrix>(n, H * d, random);
  const auto K = random_matrix<matrix>(n, H * d, random);
  const auto V = random_matrix<matrix>(n, H * e, random);
  const auto W = random_matrix<matrix>(d, d, random, 0.3);
  const Eigen::VectorXd logits = Eigen::VectorXd::LinSpaced(H, -1, 1);
  const heads of{.query = H};
  const scores::general score(W);
  const softlook::sinks sunk(logits);
  const dropout dropped{.probability = 0.3, .seed = 11};
  const auto held = hold_mask(masks::causal_top_left{});
  const any_mask mask{held.get()};
  const auto whole = attention_with_log_sum_exp(Q, K, V, of, score, sunk, dropped, mask);
  const auto call = [&](const mpi::communicator& comm, const mpi::partition& at,
                        mpi::method method) {
    return mpi::attention_with_log_sum_exp(
        comm, rows_of(Q, at, comm.rank()), rows_of(K, at, comm.rank()), rows_of(V, at, comm.rank()),
        at, of, score, sunk, dropped, mask, mpi::options{.method = method, .pieces = 12});
  };
  const auto ring = call(alone(), mpi::partition::contiguous(n, 1), mpi::method::ring);
  EXPECT_LE(max_error(ring.output, whole.output), 1e-5);
  EXPECT_LE(max_error(ring.log_sum_exp, whole.log_sum_exp), 1e-5);
  for (const mpi::partition& at : every_partition(n)) {
    for (const mpi::method method : {mpi::method::gather, mpi::method::heads}) {
      const auto own = call(world(), at, method);
      EXPECT_TRUE(bitwise_equal(own.output, rows_of(whole.output, at))) << name_of(method);
      EXPECT_TRUE(bitwise_equal(own.log_sum_exp, rows_of(whole.log_sum_exp, at)));
    }
    const auto own = call(world(), at, mpi::method::ring);
    EXPECT_TRUE(bitwise_equal(own.output, rows_of(ring.output, at)));
    EXPECT_TRUE(bitwise_equal(own.log_sum_exp, rows_of(ring.log_sum_exp, at)));
  }
}

TEST(Policies, ReadRowsOfACacheOnEachRank) {
  auto random = softlook_test::seed(33);
  const auto Q = random_matrix<matrix>(90, 16, random);
  const auto K = random_matrix<matrix>(90, 16, random), V = random_matrix<matrix>(90, 16, random);
  const auto held = hold_mask(masks::causal_top_left{});
  const any_mask mask{held.get()};
  const matrix whole = attention(Q, K, V, mask);
  for (const mpi::partition& at : every_partition(90)) {
    kv_cache<float> cache({.heads = 1, .key_features = 16, .value_features = 16});
    cache.append(rows_of(K, at), rows_of(V, at));
    const matrix own =
        mpi::attention(world(), rows_of(Q, at), cache.keys(), cache.values(), at, mask);
    EXPECT_TRUE(bitwise_equal(own, rows_of(whole, at)));
  }
}

}  // namespace
}  // namespace softlook::policies_test
