// Attention over ranks has the bits of one process: whatever the mask, the partition, the heads and
// the number of ranks.
#include "tests/mpi/support.hpp"
//
#include <thread>

#include "softlook/cache.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/documents.hpp"
#include "softlook/mask/patterns.hpp"
#include "softlook/mask/where.hpp"
#include "tests/support/erased.hpp"
#include "tests/support/executors.hpp"

namespace softlook::attention_test {
namespace {

using softlook_test::alone;
using softlook_test::any_mask;
using softlook_test::any_transform;
using softlook_test::bitwise_equal;
using softlook_test::every_partition;
using softlook_test::expect_same_on_all;
using softlook_test::hold_mask;
using softlook_test::hold_transform;
using softlook_test::random_problem;
using softlook_test::rank;
using softlook_test::ranks;
using softlook_test::row_major;
using softlook_test::rows_of;
using softlook_test::thrown_by;
using softlook_test::world;
using matrix = row_major<float>;

/// Masks of every kind, over n queries and m keys.
struct named_mask {
  const char* name;
  std::shared_ptr<const softlook_test::mask_interface> mask;
};
std::vector<named_mask> all_masks(index n, index m) {
  static std::vector<std::int32_t> documents;
  documents.clear();
  for (index i = 0; i < std::max(n, m); ++i)
    documents.push_back(std::int32_t(i < 5 ? 0 : i < 40 ? 1 : 2 + i / 64));
  const std::span<const std::int32_t> ids(documents);
  return {
      {"none", hold_mask(masks::none{})},
      {"causal", hold_mask(masks::causal_top_left{})},
      {"causal at the end", hold_mask(masks::causal_bottom_right{})},
      {"window", hold_mask(masks::window{.left = 9, .right = 0})},
      {"window and causal",
       hold_mask(masks::window{.left = 30, .right = 7} & masks::causal_top_left{})},
      {"padding", hold_mask(masks::padding{.length = m / 2})},  // empties the last ranks
      {"nothing", hold_mask(masks::padding{.length = 0})},
      {"segments", hold_mask(masks::same_segment{10} & masks::causal_top_left{})},
      {"documents",
       hold_mask(masks::documents(ids.first(std::size_t(n)), ids.first(std::size_t(m))))},
      {"longformer", hold_mask(masks::longformer({.window = 8, .global = {0}}))},
      {"function", hold_mask(masks::where([](int i, int j) { return (i * 7 + j) % 3 != 0; }))},
  };
}
std::vector<named_mask> every_mask(index n, index m) {
  std::vector<named_mask> some, all = all_masks(n, m);
  for (std::size_t k = 0; k < all.size(); ++k)
    if (softlook_test::taken(k)) some.push_back(all[k]);
  return some;
}
const auto positions = hold_transform(transforms::map([](auto s, int i, int j, int head) {
  using S = decltype(s);
  return s + S(0.01) * S(i) - S(0.02) * S(j) + S(head);
}));

struct shape {
  index n, m;
  heads of;
};

void expect_bits(const shape& s, mpi::method method, const char* name, const any_mask& mask,
                 index message_rows = INT_MAX) {
  const index H = s.of.query, G = s.of.kv_or_query(), d = 12, e = 8;
  auto random = softlook_test::seed(77);
  const auto Q = softlook_test::random_matrix<matrix>(s.n, H * d, random);
  const auto K = softlook_test::random_matrix<matrix>(s.m, G * d, random);
  const auto V = softlook_test::random_matrix<matrix>(s.m, G * e, random);
  const any_transform transform{positions.get()};
  const auto whole = attention_with_log_sum_exp(Q, K, V, s.of, mask, transform);
  const auto keys = every_partition(s.m), queries = every_partition(s.n);
  for (std::size_t k = 0; k < keys.size(); ++k) {
    const mpi::partitions at(queries[s.n == s.m ? k : (k + 1) % 4], keys[k]);
    mpi::traffic traffic;
    const mpi::options how{.method = method, .message_rows = message_rows, .traffic = &traffic};
    const auto own =
        mpi::attention_with_log_sum_exp(world(), rows_of(Q, at.queries), rows_of(K, at.keys),
                                        rows_of(V, at.keys), at, s.of, mask, transform, how);
    EXPECT_TRUE(bitwise_equal(own.output, rows_of(whole.output, at.queries)))
        << name << ' ' << name_of(method) << ' ' << s.n << 'x' << s.m << " partition " << k;
    EXPECT_TRUE(bitwise_equal(own.log_sum_exp, rows_of(whole.log_sum_exp, at.queries)))
        << name << ' ' << name_of(method);
  }
}

TEST(Attention, OfRanksHasTheBitsOfOneProcessUnderEveryMask) {
  for (const named_mask& mask : every_mask(96, 96))
    expect_bits({96, 96, {.query = 2, .kv = 1}}, mpi::method::gather, mask.name,
                any_mask{mask.mask.get()});
}

TEST(Attention, OfRanksHasThemForLengthsThatRanksDoNotDivide) {
  for (const index n : {1, 2, 3, 5, 7, 13, 2 * ranks() - 1, 101})
    for (const named_mask& mask : all_masks(n, n))
      if (mask.name == std::string("causal") || (n == 5 && mask.name == std::string("none")))
        expect_bits({n, n, {.query = 4, .kv = 2}}, mpi::method::gather, mask.name,
                    any_mask{mask.mask.get()}, 5);
}

TEST(Attention, OfRanksHasThemWhereQueriesAndKeysLieOtherwise) {
  for (const named_mask& mask : every_mask(31, 87))
    expect_bits({31, 87, {.query = 6, .kv = 3}}, mpi::method::gather, mask.name,
                any_mask{mask.mask.get()});
}

TEST(Attention, OfRanksHasThemByHeads) {
  const index P = ranks();
  for (const heads of : {heads{.query = P}, heads{.query = 2 * P, .kv = P}})
    for (const named_mask& mask : every_mask(53, 53))
      expect_bits({53, 53, of}, mpi::method::heads, mask.name, any_mask{mask.mask.get()}, 11);
}

TEST(Attention, OfRanksTakesTheKernelOfTheWhole) {
  // Few queries on a rank, many in all: tiled; few in all: few_queries.
  for (const index n : {3, 40})
    for (const named_mask& mask : all_masks(n, 700))
      if (mask.name == std::string("causal at the end"))
        expect_bits({n, 700, {.query = 2, .kv = 1}}, mpi::method::gather, mask.name,
                    any_mask{mask.mask.get()});
}

TEST(Attention, OfRanksChoosesByThePlanAndSaysWhatMoved) {
  const index n = 64, H = 2 * ranks();
  const auto p = random_problem<float>(
      {.queries = n, .keys = n, .features = 8 * H, .values = 8 * H}, softlook_test::seed(3));
  const mpi::partition at = mpi::partition::contiguous(n, ranks());
  const mpi::attention_plan plan = mpi::plan_attention(
      rows_of(p.Q, at), rows_of(p.K, at), rows_of(p.V, at), at, heads{.query = H},
      any_mask{all_masks(n, n)[0].mask.get()}, mpi::options{.method = mpi::method::gather});
  mpi::traffic traffic;
  const auto mask = hold_mask(masks::none{});
  (void)mpi::attention_with_log_sum_exp(
      world(), rows_of(p.Q, at), rows_of(p.K, at), rows_of(p.V, at), at, heads{.query = H},
      any_mask{mask.get()}, any_transform{positions.get()},
      mpi::options{.method = mpi::method::gather, .traffic = &traffic});
  double sent[2] = {double(traffic.messages), traffic.bytes}, all[2];
  MPI_Allreduce(sent, all, 2, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  EXPECT_EQ(all[0], plan.messages * ranks());
  EXPECT_NEAR(all[1], plan.bytes_received * ranks(), 1e-6 * all[1]);
  EXPECT_EQ(traffic.bytes_held, plan.bytes_held);
}

TEST(Attention, OfRanksReadsAnyStorageAndManyThreads) {
  using columns = softlook_test::col_major<double>;
  auto random = softlook_test::seed(8);
  const columns Q = softlook_test::random_matrix<columns>(75, 10, random);
  const columns K = softlook_test::random_matrix<columns>(75, 10, random);
  const columns V = softlook_test::random_matrix<columns>(75, 9, random);
  const masks::causal_top_left causal;
  const columns whole = attention(Q, K, V, causal);
  const softlook_test::thread_per_worker pool{2};
  for (const mpi::partition& at : every_partition(75)) {
    columns O = columns::Constant(at.rows(rank()) + 2, 9, 7);
    mpi::attention_into(world(), rows_of(Q, at), rows_of(K, at), rows_of(V, at),
                        O.middleRows(1, at.rows(rank())), at, causal, pool);
    EXPECT_TRUE(bitwise_equal(columns(O.middleRows(1, at.rows(rank()))), rows_of(whole, at)));
    EXPECT_TRUE((O.row(0).array() == 7).all() && (O.bottomRows(1).array() == 7).all());
  }
}

TEST(Attention, OfRanksMovesRowsOf16BitsAsTheyAre) {
  using small = row_major<Eigen::bfloat16>;
  const auto p = random_problem<float>({.queries = 60, .keys = 60, .features = 16, .values = 16},
                                       softlook_test::seed(21));
  const small Q = p.Q.cast<Eigen::bfloat16>(), K = p.K.cast<Eigen::bfloat16>(),
              V = p.V.cast<Eigen::bfloat16>();
  const masks::causal_top_left causal;
  const small whole = attention(Q, K, V, causal);
  for (const mpi::partition& at : every_partition(60)) {
    mpi::traffic traffic;
    const small own = mpi::attention(world(), rows_of(Q, at), rows_of(K, at), rows_of(V, at), at,
                                     causal, mpi::options{.traffic = &traffic});
    EXPECT_TRUE(bitwise_equal(matrix(own.cast<float>()), matrix(rows_of(whole, at).cast<float>())));
    EXPECT_EQ(traffic.bytes, double(at.rows(rank()) * 2 * 2 * 16 * (ranks() - 1)));
  }
}

TEST(Attention, OfRanksInterleavesCommunicatorsAndShapes) {
  const mpi::communicator other(MPI_COMM_WORLD);
  const auto mask = hold_mask(masks::causal_top_left{});
  for (int k = 0; k < 6; ++k) {
    const index n = 20 + 7 * k, H = 1 + k % 3;
    const auto p = random_problem<float>(
        {.queries = n, .keys = n, .features = 4 * H, .values = 4 * H}, softlook_test::seed(k));
    const mpi::partition at = every_partition(n)[std::size_t(k % 4)];
    const auto own = mpi::attention_with_log_sum_exp(
        k % 2 ? other : world(), rows_of(p.Q, at), rows_of(p.K, at), rows_of(p.V, at), at,
        heads{.query = H}, any_mask{mask.get()}, any_transform{positions.get()});
    const auto whole = attention_with_log_sum_exp(
        p.Q, p.K, p.V, heads{.query = H}, any_mask{mask.get()}, any_transform{positions.get()});
    EXPECT_TRUE(bitwise_equal(own.output, rows_of(whole.output, at)));
  }
}

/// A call of the whole world, each rank with what the test gives it.
class Errors : public ::testing::Test {
 protected:
  index n = 30, more_rows = 0, columns = 8;
  heads of{.query = 2};
  std::shared_ptr<const softlook_test::mask_interface> mask = hold_mask(masks::none{});
  mpi::options how{};

  std::string call(const mpi::partition& at) const {
    return thrown_by<std::exception>([&] {
      const matrix Q = matrix::Ones(at.rows(rank()), columns);
      const matrix K = matrix::Ones(at.rows(rank()) + more_rows, columns), V = K;
      (void)mpi::attention_with_log_sum_exp(world(), Q, K, V, at, of, any_mask{mask.get()},
                                            any_transform{positions.get()}, how);
    });
  }
  std::string call() const { return call(mpi::partition::contiguous(n, ranks())); }
  void expect(const std::string& text, std::initializer_list<const char*> pieces) const {
    expect_same_on_all(text);
    for (const char* piece : pieces)
      EXPECT_NE(text.find(piece), std::string::npos) << piece << " is not in: " << text;
  }
  static bool last() { return rank() == ranks() - 1; }
};

TEST_F(Errors, ARowTooFewOrTooManyOnOneRankIsAnErrorOnAll) {
  for (const index more : {-1, 1}) {
    more_rows = last() ? more : 0;
    expect(call(), {"K.rows() is", "each rank gives its own rows"});
  }
}

TEST_F(Errors, RanksThatDifferAreNamed) {
  if (ranks() == 1) GTEST_SKIP() << "one rank";
  columns = rank() == 1 ? 6 : 8;
  expect(call(), {"the columns of Q is 6 on rank 1 but 8 on rank 0"});
  columns = 8;
  of = heads{.query = rank() == 1 ? 4 : 2};
  expect(call(), {"the number of query heads is 4 on rank 1 but 2 on rank 0"});
  of = heads{.query = 2};
  mask = rank() == 1 ? hold_mask(masks::causal_top_left{}) : mask;
  expect(call(), {"a policy on rank 1 is not that on rank 0"});
  mask = hold_mask(masks::window{.left = rank() == 1 ? 5 : 4});
  expect(call(), {"a policy on rank 1 is not that on rank 0"});
  mask = hold_mask(masks::none{});
  how.method = rank() == 1 ? mpi::method::ring : mpi::method::gather;
  expect(call(), {"mpi::options on rank 1 is not that on rank 0"});
  how = {};
  const auto zigzag = mpi::partition::zigzag(2 * n * ranks(), ranks()),
             contiguous = mpi::partition::contiguous(2 * n * ranks(), ranks());
  expect(call(rank() == 1 ? zigzag : contiguous), {"the partition of queries on rank 1"});
  EXPECT_EQ(call(), "nothing");
}

TEST_F(Errors, OfAPartitionOfOtherRanks) {
  expect(call(mpi::partition::contiguous(n, ranks() + 1)), {"the ranks of the partition", "is"});
}

TEST_F(Errors, OfHeadsThatRanksDoNotDivide) {
  if (2 % ranks() == 0) GTEST_SKIP() << "they divide 2 heads";
  how.method = mpi::method::heads;
  expect(call(), {"heads", "must divide"});
}

TEST_F(Errors, OfATaskComeWhenAllMessagesHaveArrived) {
  for (const mpi::method method : {mpi::method::gather, mpi::method::ring}) {
    how.method = method;
    // Positions that the agreement does not ask about.
    mask = hold_mask(masks::where([](int i, int j) -> bool {
      if (i == 29 && j == 17) throw std::runtime_error("a pair that nobody expected");
      return true;
    }));
    expect(call(), {"a pair that nobody expected"});
  }
  mask = hold_mask(masks::none{});
  EXPECT_EQ(call(), "nothing");
}

}  // namespace
}  // namespace softlook::attention_test
