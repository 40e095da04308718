// The way back over ranks: the gradients of one process, with bits that neither ranks nor
// partitions change.
#include "tests/mpi/support.hpp"
//
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <optional>

#include "softlook/core/dropout.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "softlook/mask/patterns.hpp"
#include "softlook/mask/segment.hpp"
#include "softlook/mpi/gradient.hpp"
#include "tests/support/erased.hpp"
#include "tests/support/gradients.hpp"

// Buffers of messages hold NaN before anything has arrived.
void* operator new(std::size_t bytes, std::align_val_t to) {
  const std::size_t alignment = std::size_t(to);
  void* const p = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!p) throw std::bad_alloc();
  return std::memset(p, 0xFF, bytes);
}
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace softlook::backward_test {
namespace {

using softlook_test::alone;
using softlook_test::any_mask;
using softlook_test::bitwise_equal;
using softlook_test::every_partition;
using softlook_test::expect_same_on_all;
using softlook_test::hold_mask;
using softlook_test::on_first;
using softlook_test::rank;
using softlook_test::ranks;
using softlook_test::row_major;
using softlook_test::rows_of;
using softlook_test::thrown_by;
using softlook_test::world;
using matrix = row_major<float>;
using wide = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;
using mask_owner = std::shared_ptr<const softlook_test::mask_interface>;

const mask_owner causal = hold_mask(masks::causal_top_left{});

/// A call of which every rank knows all rows; K and V differ from row to row.
template <class T>
struct problem_of {
  row_major<T> Q, K, V, dO, O, L;
  heads h;

  template <class... Ps>
  problem_of(index n, index m, index d, index e, const heads& of, const Ps&... ps) : h(of) {
    auto random = softlook_test::seed(std::uint64_t(n * 1000 + m));
    const auto rows_and_columns = [&](index rows, index cols) {
      return softlook_test::random_matrix<row_major<T>>(rows, cols, random);
    };
    Q = rows_and_columns(n, d * of.query);
    K = rows_and_columns(m, d * *of.kv);
    V = rows_and_columns(m, e * *of.kv);
    dO = rows_and_columns(n, e * of.query);
    const auto state = attention_with_log_sum_exp(Q, K, V, h, ps...);
    O = state.output;
    L = state.log_sum_exp;
  }
  template <class... Ps>
  [[nodiscard]] attention_gradients<row_major<T>> of_one_process(const Ps&... ps) const {
    return attention_backward(Q, K, V, O, L, dO, h, ps...);
  }
  template <class... Ps>
  [[nodiscard]] attention_gradients<row_major<T>> on(const mpi::communicator& comm,
                                                     const mpi::partitions& at,
                                                     const Ps&... ps) const {
    const auto queries = [&](const row_major<T>& X) { return rows_of(X, at.queries, comm.rank()); };
    const auto keys = [&](const row_major<T>& X) { return rows_of(X, at.keys, comm.rank()); };
    return mpi::attention_backward(comm, queries(Q), keys(K), keys(V), queries(O), queries(L),
                                   queries(dO), at, h, ps...);
  }
};

/// The formulas with plain loops.
template <class T>
attention_gradients<wide> plain_gradients(const problem_of<T>& p, const any_mask& mask) {
  const index n = p.Q.rows(), m = p.K.rows(), H = p.h.query, g = H / *p.h.kv;
  const index d = p.Q.cols() / H, e = p.dO.cols() / H;
  const long double scale = 1 / std::sqrt(static_cast<long double>(d));
  const wide Q = p.Q.template cast<long double>(), K = p.K.template cast<long double>(),
             V = p.V.template cast<long double>(), dO = p.dO.template cast<long double>();
  attention_gradients<wide> to{wide::Zero(n, Q.cols()), wide::Zero(m, K.cols()),
                               wide::Zero(m, V.cols())};
  for (index h = 0; h < H; ++h)
    for (index i = 0; i < n; ++i) {
      const auto q = Q.row(i).segment(h * d, d), G = dO.row(i).segment(h * e, e);
      std::vector<long double> P(static_cast<std::size_t>(m));
      long double sum = 0, dot = 0;
      const problem of{std::int32_t(n), std::int32_t(m), std::int32_t(h), std::int32_t(H)};
      for (index j = 0; j < m; ++j)
        if (mask.allows(std::int32_t(i), std::int32_t(j), of))
          sum += P[std::size_t(j)] = std::exp(scale * q.dot(K.row(j).segment(h / g * d, d)));
      for (index j = 0; sum > 0 && j < m; ++j) {
        P[std::size_t(j)] /= sum;
        dot += P[std::size_t(j)] * G.dot(V.row(j).segment(h / g * e, e));
      }
      for (index j = 0; j < m; ++j) {
        const long double w = P[std::size_t(j)];
        const long double dS = w * (G.dot(V.row(j).segment(h / g * e, e)) - dot) * scale;
        to.dQ.row(i).segment(h * d, d) += dS * K.row(j).segment(h / g * d, d);
        to.dK.row(j).segment(h / g * d, d) += dS * q;
        to.dV.row(j).segment(h / g * e, e) += w * G;
      }
    }
  return to;
}

template <class Matrix>
void expect_near(const char* what, const Matrix& actual, const wide& all, const mpi::partition& at,
                 const wide* expected = nullptr) {
  using T = typename Matrix::Scalar;
  const wide mine = expected ? *expected : rows_of(all, at);
  ASSERT_EQ(actual.rows(), mine.rows()) << what;
  ASSERT_TRUE(actual.allFinite()) << what;
  if (mine.size() == 0) return;
  const long double size = std::max(1.0L, all.cwiseAbs().maxCoeff());
  EXPECT_LE((actual.template cast<long double>() - mine).cwiseAbs().maxCoeff(),
            60 * static_cast<long double>(std::numeric_limits<T>::epsilon()) * size)
      << what;
}
template <class T>
void expect_same(const attention_gradients<row_major<T>>& mine,
                 const attention_gradients<row_major<T>>& whole, const mpi::partitions& at,
                 int of = rank()) {
  EXPECT_TRUE(bitwise_equal(mine.dQ, rows_of(whole.dQ, at.queries, of)));
  EXPECT_TRUE(bitwise_equal(mine.dK, rows_of(whole.dK, at.keys, of)));
  EXPECT_TRUE(bitwise_equal(mine.dV, rows_of(whole.dV, at.keys, of)));
}

std::vector<mpi::method> methods(const heads& h) {
  std::vector<mpi::method> all = {mpi::method::gather, mpi::method::ring};
  if (*h.kv % ranks() == 0) all.push_back(mpi::method::heads);
  return all;
}

TEST(BackwardOverRanks, IsThatOfTheFormulasByEveryMethod) {
  const heads few{.query = 4, .kv = 2}, many{.query = 8, .kv = 8};
  const std::vector<mask_owner> every = {
      hold_mask(masks::none{}), causal, hold_mask(masks::window{.left = 9, .right = 2}),
      hold_mask(masks::same_segment{7} & masks::causal_top_left{})};
  std::size_t k = 0;
  for (const auto& [n, m] : {std::pair<index, index>{1, 1}, {3, 40}, {40, 3}, {37, 37}})
    for (const heads& h : {few, many})
      for (const mask_owner& mask : every) {
        if (mask != causal && (n < 37 || *h.kv != 2)) continue;
        const problem_of<float> p(n, m, 5, 3, h, any_mask{mask.get()});
        const auto truth = plain_gradients(p, any_mask{mask.get()});
        for (const mpi::method by : methods(h)) {
          if (!softlook_test::taken(k++)) continue;
          const mpi::partitions at(mpi::partition::zigzag(n, ranks()),
                                   mpi::partition::striped(m, ranks()));
          SCOPED_TRACE(testing::Message() << n << "x" << m << " by " << mpi::name_of(by));
          const auto g =
              p.on(world(), at, any_mask{mask.get()}, mpi::options{.method = by, .pieces = 12});
          expect_near("dQ", g.dQ, truth.dQ, at.queries);
          expect_near("dK", g.dK, truth.dK, at.keys);
          expect_near("dV", g.dV, truth.dV, at.keys);
        }
      }
}

TEST(BackwardOverRanks, HasBitsThatDependOnPiecesAlone) {
  const heads h{.query = 4, .kv = 2};
  std::size_t k = 0;
  for (const index n : {5, 67})
    for (const index pieces : {1, 12})
      for (const mask_owner& mask : {causal, hold_mask(masks::padding{.length = n / 3})}) {
        const problem_of<float> p(n, n, 8, 6, h, any_mask{mask.get()});
        for (const mpi::method by : {mpi::method::gather, mpi::method::ring}) {
          const mpi::options how{.method = by, .pieces = pieces};
          const auto one =
              p.on(alone(), mpi::partition::contiguous(n, 1), any_mask{mask.get()}, how);
          for (const mpi::partition& at : every_partition(n)) {
            if (!softlook_test::taken(k++)) continue;
            SCOPED_TRACE(testing::Message() << n << " " << pieces << " " << mpi::name_of(by)
                                            << " kind " << int(at.kind()));
            expect_same(p.on(world(), at, any_mask{mask.get()}, how), one, at);
          }
        }
      }
}

TEST(BackwardOverRanks, HasThemOnEveryNumberOfRanksAndOfOtherQueries) {
  const heads h{.query = 2, .kv = 1};
  const mask_owner mask = hold_mask(masks::causal_bottom_right{});
  const problem_of<float> p(45, 90, 8, 8, h, any_mask{mask.get()});
  for (const mpi::method by : {mpi::method::gather, mpi::method::ring}) {
    const mpi::options how{.method = by, .pieces = 16};
    const auto one =
        p.on(alone(), {mpi::partition::contiguous(45, 1), mpi::partition::contiguous(90, 1)},
             any_mask{mask.get()}, how);
    for (int P = 1; P <= ranks(); ++P)
      on_first(P, [&](const mpi::communicator& comm) {
        const mpi::partitions at(mpi::partition::striped(45, P), mpi::partition::contiguous(90, P));
        expect_same(p.on(comm, at, any_mask{mask.get()}, how), one, at, comm.rank());
      });
  }
}

TEST(BackwardOverRanks, ByHeadsHasTheBitsOfOneProcess) {
  const heads h{.query = 16, .kv = 8};
  const problem_of<float> p(210, 210, 8, 6, h, any_mask{causal.get()});
  const auto one = p.of_one_process(any_mask{causal.get()});
  const mpi::options how{.method = mpi::method::heads};
  for (const mpi::partition& at : every_partition(210)) {
    if (8 % ranks() == 0) {
      expect_same(p.on(world(), at, any_mask{causal.get()}, how), one, at);
    } else {
      expect_same_on_all(
          thrown_by<argument_error>([&] { (void)p.on(world(), at, any_mask{causal.get()}, how); }));
    }
  }
}

TEST(BackwardOverRanks, KnowsDropoutTransformsAndSinksAtPositionsOfTheWhole) {
  const heads h{.query = 4, .kv = 2};
  const Eigen::VectorXd of_heads = Eigen::VectorXd::LinSpaced(4, -1, 2), slopes = of_heads / 8;
  const auto with = [&](const auto& f) {
    return f(any_mask{causal.get()}, dropout{.probability = 0.3, .seed = 7}, sinks(of_heads),
             transforms::soft_cap{.cap = 2}, transforms::alibi_per_head(slopes));
  };
  const auto p =
      with([&](const auto&... ps) { return problem_of<double>(75, 75, 6, 4, h, ps...); });
  const auto one = with([&](const auto&... ps) { return p.of_one_process(ps...); });
  for (const mpi::partition& at : every_partition(75))
    for (const mpi::method by : methods(h)) {
      const auto g = with([&](const auto&... ps) {
        return p.on(world(), at, ps..., mpi::options{.method = by, .pieces = 10});
      });
      SCOPED_TRACE(mpi::name_of(by));
      expect_near("dQ", g.dQ, one.dQ.cast<long double>(), at);
      expect_near("dK", g.dK, one.dK.cast<long double>(), at);
      expect_near("dV", g.dV, one.dV.cast<long double>(), at);
    }
}

TEST(BackwardOverRanks, IsTheDifferenceOfWhatRanksCompute) {
  const heads h{.query = 2, .kv = 1};
  problem_of<double> p(9, 9, 3, 2, h, any_mask{causal.get()});
  const mpi::partition at = mpi::partition::zigzag(9, ranks());
  const auto loss = [&] {
    const auto O = mpi::attention(world(), rows_of(p.Q, at), rows_of(p.K, at), rows_of(p.V, at), at,
                                  h, any_mask{causal.get()});
    const double mine = softlook_test::inner_product(rows_of(p.dO, at), O);
    double all = 0;
    MPI_Allreduce(&mine, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return all;
  };
  const auto g = p.on(world(), at, any_mask{causal.get()},
                      mpi::options{.method = mpi::method::ring, .pieces = 4});
  auto random = softlook_test::seed(5);
  const auto expect_slope = [&](const char* name, row_major<double>& X,
                                const row_major<double>& mine) {
    const row_major<double> dX = mpi::gather_rows(world(), mine, at), at_X = X;
    const auto along = softlook_test::random_matrix<row_major<double>>(X.rows(), X.cols(), random);
    const double slope = softlook_test::inner_product(dX, along);
    double nearest = std::numeric_limits<double>::infinity();
    for (const double step : {1e-4, 1e-5}) {
      X = at_X + step * along;
      const double above = loss();
      X = at_X - step * along;
      nearest = std::min(nearest, std::abs((above - loss()) / (2 * step) - slope));
    }
    X = at_X;
    EXPECT_LE(nearest, 2e-7 * std::max(1.0, std::abs(slope))) << name << ' ' << slope;
  };
  for (int direction = 0; direction < 3; ++direction) {
    expect_slope("Q", p.Q, g.dQ);
    expect_slope("K", p.K, g.dK);
    expect_slope("V", p.V, g.dV);
  }
}

TEST(BackwardOverRanks, ErrsNoMoreThanOneProcessWhateverThePieces) {
  const heads h{.query = 1, .kv = 1};
  const problem_of<float> p(64, 64, 16, 16, h, any_mask{causal.get()});
  const auto truth = plain_gradients(p, any_mask{causal.get()});
  const auto one = p.of_one_process(any_mask{causal.get()});
  const auto error = [](const auto& actual, const wide& expected) {
    return actual.size() == 0
               ? 0.0
               : double((actual.template cast<long double>() - expected).cwiseAbs().maxCoeff());
  };
  const mpi::partition at = mpi::partition::zigzag(64, ranks());
  const double rounding =
      8 * double(std::numeric_limits<float>::epsilon()) * double(truth.dK.cwiseAbs().maxCoeff());
  for (const index pieces : {1, 4, 16, 64}) {
    const auto g = p.on(world(), at, any_mask{causal.get()},
                        mpi::options{.method = mpi::method::ring, .pieces = pieces});
    EXPECT_LE(error(g.dK, rows_of(truth.dK, at)), 2 * error(one.dK, truth.dK) + rounding);
    EXPECT_LE(error(g.dQ, rows_of(truth.dQ, at)), 2 * error(one.dQ, truth.dQ) + rounding);
  }
}

TEST(BackwardOverRanks, MovesWhatItSays) {
  if ((ranks() & (ranks() - 1)) != 0) GTEST_SKIP() << "other ranks make more nodes";
  const index n = 16 * ranks();
  const heads h{.query = 1, .kv = 1};
  const problem_of<float> p(n, n, 8, 8, h, any_mask{causal.get()});
  mpi::traffic traffic;
  (void)p.on(world(), mpi::partition::zigzag(n, ranks()), any_mask{causal.get()},
             mpi::options{.method = mpi::method::ring, .pieces = 4 * ranks(), .traffic = &traffic});
  const int others = ranks() - 1;
  // A bundle and two sums of as many rows, for each other rank; a rank alone sums up everything.
  EXPECT_EQ(traffic.messages, 2 * others);
  EXPECT_EQ(traffic.bytes, double(others * 3 * 16 * 16 * 4));
}

TEST(BackwardOverRanks, RefusesOnAllRanksWhatIsWrongOnOne) {
  const heads h{.query = 1, .kv = 1};
  const problem_of<float> p(20, 20, 4, 4, h, any_mask{causal.get()});
  const mpi::partition at = mpi::partition::contiguous(20, ranks());
  const std::string text = thrown_by<shape_error>([&] {
    const matrix O = rows_of(p.O, at);
    const index cut = rank() == ranks() - 1 ? 1 : 0;
    (void)mpi::attention_backward(world(), rows_of(p.Q, at), rows_of(p.K, at), rows_of(p.V, at),
                                  O.topRows(O.rows() - cut), rows_of(p.L, at), rows_of(p.dO, at),
                                  at, h, any_mask{causal.get()});
  });
  EXPECT_NE(text.find("O.rows()"), std::string::npos) << text;
  expect_same_on_all(text);
}

struct weights {
  row_major<float> A;
  Eigen::RowVectorXd b;
  row_major<float> none;
  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("A", p.A...);
    f("b", p.b...);
    f("none", p.none...);
  }
};
weights gradients_of(int rank) {
  auto random = softlook_test::seed(std::uint64_t(rank + 1));
  return {softlook_test::random_matrix<matrix>(5, 7, random),
          softlook_test::random_matrix<Eigen::RowVectorXd>(1, 3, random), matrix(0, 4)};
}

TEST(SumGradients, HasTheBracketsOfATreeOnEveryRank) {
  std::vector<weights> all;
  for (int r = 0; r < ranks(); ++r) all.push_back(gradients_of(r));
  while (all.size() > 1) {
    std::vector<weights> pairs;
    for (std::size_t k = 0; k < all.size(); k += 2) {
      pairs.push_back(all[k]);
      if (k + 1 == all.size()) continue;
      pairs.back().A += all[k + 1].A;
      pairs.back().b += all[k + 1].b;
    }
    all = pairs;
  }
  for (const index message_rows : {index{3}, index{1000}}) {
    weights mine = gradients_of(rank());
    mpi::sum_gradients(world(), mine, message_rows);
    EXPECT_TRUE(bitwise_equal(mine.A, all[0].A));
    EXPECT_TRUE(bitwise_equal(mine.b, all[0].b));
  }
}

TEST(SumGradients, RefusesOtherShapesOnAllRanks) {
  if (ranks() == 1) GTEST_SKIP() << "nobody to differ";
  const std::string text = thrown_by<shape_error>([&] {
    weights mine = gradients_of(rank());
    if (rank() == 1) mine.A.resize(6, 7);
    mpi::sum_gradients(world(), mine);
  });
  EXPECT_NE(text.find("the number of weights is 45 on rank 1 but 38 on rank 0"), std::string::npos)
      << text;
  expect_same_on_all(text);
}

}  // namespace
}  // namespace softlook::backward_test
