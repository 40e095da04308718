#include "softlook/attention/positional.hpp"

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/numbers.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/storage.hpp"
#include "tests/support/ways.hpp"

namespace softlook::positional_test {
namespace {

using namespace softlook_test;
using oracle::real;

/// softmax of each row, over the columns [0, allowed(i)).
template <class Allowed>
oracle::matrix softmax(const oracle::matrix& S, const Allowed& allowed) {
  oracle::matrix P = oracle::matrix::Zero(S.rows(), S.cols());
  for (index i = 0; i < S.rows(); ++i) {
    real top = -oracle::infinity, sum = 0;
    for (index j = 0; j < allowed(i); ++j) top = std::max(top, S(i, j));
    if (top == -oracle::infinity) continue;
    for (index j = 0; j < allowed(i); ++j) sum += P(i, j) = std::exp(S(i, j) - top);
    for (index j = 0; j < allowed(i); ++j) P(i, j) /= sum;
  }
  return P;
}

oracle::matrix softmax(const oracle::matrix& S) {
  return softmax(S, [&](index) { return S.cols(); });
}

template <class T>
class PositionalAttention : public ::testing::Test {
 protected:
  generator random = seed(41);

  row_major<T> matrix(index rows, index cols, double magnitude = 1) {
    return random_matrix<row_major<T>>(rows, cols, random, magnitude);
  }
  static double bound(index n, index rank, double logits) {
    return attention_bound<T>(double(n), double(rank), logits, 1);
  }
  /// Output and weights without a mask and causal, in every way, against the truth.
  template <class Learned>
  void expect_softmax(const Learned& learned, const oracle::matrix& S, index rank) {
    const index n = S.rows();
    const row_major<T> V = matrix(n, 5);
    const double logits = max_magnitude(S), values = 1 + max_magnitude(V);
    const auto until = [](index i) { return i + 1; };
    const oracle::matrix full = softmax(S), causal = softmax(S, until);
    const masks::causal_top_left mask;
    for (const way& which : every_way()) {
      SCOPED_TRACE(::testing::Message() << which.name << ", n " << n);
      EXPECT_LE(max_error(positional_attention(learned, V, which.opts),
                          oracle::product(full, oracle::widen(V))),
                bound(n, rank, logits) * values);
      EXPECT_LE(max_error(positional_attention(learned, V, mask, which.opts),
                          oracle::product(causal, oracle::widen(V))),
                bound(n, rank, logits) * values);
    }
    EXPECT_LE(max_error(positional_attention_weights(learned, n), full), bound(n, rank, logits));
    EXPECT_LE(max_error(positional_attention_weights(learned, n, mask), causal),
              bound(n, rank, logits));
  }
};
TYPED_TEST_SUITE(PositionalAttention, scalars, scalar_names);

struct sizes {
  index n, learned;
};

TYPED_TEST(PositionalAttention, IsTheSoftmaxOfTheFirstLearnedLogits) {
  using T = TypeParam;
  for (const sizes s : {sizes{0, 0}, {0, 3}, {1, 1}, {2, 7}, {13, 13}, {131, 150}}) {
    const row_major<T> S = this->matrix(s.learned, s.learned, 3);
    this->expect_softmax(position_logits{S}, oracle::widen(S.topLeftCorner(s.n, s.n)), 0);
    const col_major<T> by_columns = S;
    this->expect_softmax(position_logits{by_columns}, oracle::widen(S.topLeftCorner(s.n, s.n)), 0);
  }
}

TYPED_TEST(PositionalAttention, OfFactorsIsThatOfTheirProduct) {
  using T = TypeParam;
  for (const sizes s : {sizes{0, 2}, {1, 1}, {7, 9}, {101, 128}})
    for (const index rank : {1, 3, 8}) {
      const row_major<T> P1 = this->matrix(s.learned, rank), P2 = this->matrix(s.learned, rank);
      const oracle::matrix S = oracle::product(oracle::widen(P1.topRows(s.n)),
                                               oracle::widen(P2.topRows(s.n)).transpose());
      this->expect_softmax(position_factors{P1, P2}, S, rank);
    }
}

TYPED_TEST(PositionalAttention, HasLogitsForEachQueryHead) {
  using T = TypeParam;
  constexpr index n = 19, learned = 23, e = 3, rank = 2;
  const heads h{.query = 4, .kv = 2};
  const row_major<T> S = this->matrix(h.query * learned, learned, 2);
  const row_major<T> P1 = this->matrix(learned, h.query * rank);
  const row_major<T> P2 = this->matrix(learned, *h.kv * rank), V = this->matrix(n, *h.kv * e);
  const auto of_logits = positional_attention(position_logits{S}, V, h);
  const auto of_factors = positional_attention(position_factors{P1, P2}, V, h);
  const auto weights = positional_attention_weights(position_logits{S}, n, h);
  const auto low_rank = positional_attention_weights(position_factors{P1, P2}, n, h);
  ASSERT_EQ(weights.size(), 4u);
  ASSERT_EQ(low_rank.size(), 4u);
  for (index q = 0; q < h.query; ++q) {
    const index shared = q / 2;
    const auto v = oracle::widen(V.middleCols(shared * e, e));
    const auto logits = oracle::widen(S.block(q * learned, 0, n, n));
    const auto product =
        oracle::product(oracle::widen(P1.block(0, q * rank, n, rank)),
                        oracle::widen(P2.block(0, shared * rank, n, rank)).transpose());
    const double values = 1 + max_magnitude(V);
    const double bound = this->bound(n, rank, max_magnitude(S) + max_magnitude(product));
    EXPECT_LE(max_error(weights[std::size_t(q)], softmax(logits)), bound);
    EXPECT_LE(max_error(low_rank[std::size_t(q)], softmax(product)), bound);
    EXPECT_LE(max_error(head_columns(of_logits, q, 4), oracle::product(softmax(logits), v)),
              bound * values);
    EXPECT_LE(max_error(head_columns(of_factors, q, 4), oracle::product(softmax(product), v)),
              bound * values);
  }
}

TYPED_TEST(PositionalAttention, ScalesTheLogitsThenTransformsThem) {
  using T = TypeParam;
  constexpr index n = 37, rank = 3;
  const double scale = 0.37;
  const transforms::map bent([](auto s, std::int32_t i, std::int32_t j) {
    using R = decltype(s);
    return s * s - R(0.01) * R(i * j);
  });
  const row_major<T> S = this->matrix(n, n, 2), V = this->matrix(n, 4);
  const row_major<T> P1 = this->matrix(n, rank), P2 = this->matrix(n, rank);
  const auto truth = [&](oracle::matrix logits) {
    for (index i = 0; i < n; ++i)
      for (index j = 0; j < n; ++j)
        logits(i, j) =
            bent(real(scale) * logits(i, j), std::int32_t(i), std::int32_t(j), problem{});
    return logits;
  };
  const oracle::matrix full = truth(oracle::widen(S));
  const oracle::matrix low =
      truth(oracle::product(oracle::widen(P1), oracle::widen(P2).transpose()));
  const double values = 1 + max_magnitude(V);
  for (way which : every_way()) {
    which.opts.scale = scale;
    EXPECT_LE(max_error(positional_attention(position_logits{S}, V, bent, which.opts),
                        oracle::product(softmax(full), oracle::widen(V))),
              2 * this->bound(n, rank, max_magnitude(full)) * values)
        << which.name;
    EXPECT_LE(max_error(positional_attention(position_factors{P1, P2}, V, which.opts, bent),
                        oracle::product(softmax(low), oracle::widen(V))),
              2 * this->bound(n, rank, max_magnitude(low)) * values)
        << which.name;
  }
}

TYPED_TEST(PositionalAttention, WithAHiddenFutureDoesNotDependOnHowLongItIs) {
  using T = TypeParam;
  constexpr index learned = 90;
  const row_major<T> S = this->matrix(learned, learned), V = this->matrix(learned, 6);
  const options opts = with_kernel(kernel::tiled);
  const masks::causal_top_left mask;
  const auto whole = positional_attention(position_logits{S}, V, mask, opts);
  for (const index n : {1, 5, 64})
    EXPECT_TRUE(
        bitwise_equal(positional_attention(position_logits{S}, V.topRows(n), mask, opts).eval(),
                      whole.topRows(n)));
}

TYPED_TEST(PositionalAttention, GivesZerosWhereNothingMayBeAttendedTo) {
  using T = TypeParam;
  const T none = -std::numeric_limits<T>::infinity();
  const T nan = std::numeric_limits<T>::quiet_NaN();
  row_major<T> S = this->matrix(9, 9);
  const row_major<T> V = this->matrix(9, 2);
  S.row(4).setConstant(none);
  S(6, 8) = nan;  // hidden from row 6 by the mask
  S(7, 2) = nan;
  const masks::causal_top_left mask;
  for (const way& which : every_way()) {
    const auto O = positional_attention(position_logits{S}, V, mask, which.opts);
    EXPECT_TRUE(row_is_zero(O, 4)) << which.name;
    EXPECT_TRUE(row_is_nan(O, 7)) << which.name;
    EXPECT_TRUE(all_finite(O.topRows(7))) << which.name;
    EXPECT_TRUE(all_finite(O.bottomRows(1))) << which.name;
  }
  EXPECT_TRUE(row_is_zero(positional_attention_weights(position_logits{S}, 9, mask), 4));
}

TYPED_TEST(PositionalAttention, WritesTheSameBitsIntoABlockFromAnyStorageOnAnyThreads) {
  using T = TypeParam;
  constexpr index n = 70;
  const exec::thread_pool pool(2);
  const row_major<T> S = this->matrix(n + 5, n + 1), V = this->matrix(n, 12);
  const row_major<T> P1 = this->matrix(n, 8), P2 = this->matrix(n + 3, 8);
  strided_copy<T> strided(S), left(P1), right(P2);
  const auto S_view = strided.map(), P1_view = left.map(), P2_view = right.map();
  const auto check = [&](const auto& learned, const auto& other, const heads& h) {
    const row_major<T> once = positional_attention(learned, V, h);
    col_major<T> around = col_major<T>::Zero(n + 3, 16);
    positional_attention_into(other, col_major<T>(V), around.block(2, 1, n, 12), h, pool);
    EXPECT_TRUE(bitwise_equal(around.block(2, 1, n, 12), once));
    EXPECT_EQ(around.topRows(2).cwiseAbs().sum() + around.bottomRows(1).cwiseAbs().sum(), T(0));
    around.setZero();
    if (h.query > 1) return;
    positional_attention_into(other, V, around.block(2, 1, n, 12));
    EXPECT_TRUE(bitwise_equal(around.block(2, 1, n, 12), once));
  };
  check(position_logits{S}, position_logits{S_view}, {});
  check(position_factors{P1, P2}, position_factors{P1_view, P2_view}, {});
  check(position_factors{P1, P2}, position_factors{P1_view, P2_view}, softlook::heads{.query = 4});
}

TYPED_TEST(PositionalAttention, OfFactorsHoldsNoMatrixOfPairs) {
  using T = TypeParam;
  constexpr index n = 1500;
  const row_major<T> P1 = this->matrix(n, 4), P2 = this->matrix(n, 4), V = this->matrix(n, 4);
  workspace scratch;
  (void)positional_attention(position_factors{P1, P2}, V, options{.workspace = &scratch});
  EXPECT_GT(scratch.bytes(), 0u);
  EXPECT_LT(scratch.bytes(), std::size_t(n * n) * sizeof(T) / 4);
}

TYPED_TEST(PositionalAttention, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const row_major<T> S = row_major<T>::Zero(6, 5), V = row_major<T>::Zero(6, 4);
  const row_major<T> P1 = row_major<T>::Zero(7, 4), P2 = row_major<T>::Zero(5, 3);
  const row_major<T> P3 = row_major<T>::Zero(5, 4);
  row_major<T> O(6, 4), square = row_major<T>::Zero(6, 6);
  expect_error<shape_error>(
      [&] { (void)positional_attention(position_logits{S}, V); },
      {"positional_attention: position_logits cols() is 5", "the number of positions is 6"});
  expect_error<shape_error>(
      [&] { (void)positional_attention_weights(position_factors{P1, P2}, 4); },
      {"positional_attention_weights", "P2.cols() is 3", "P1.cols() is 4"});
  expect_error<shape_error>(
      [&] { (void)positional_attention(position_factors{P1, P3}, V); },
      {"positional_attention: position_factors P2.rows() is 5", "the number of positions is 6"});
  expect_error<shape_error>(
      [&] {
        (void)positional_attention(position_logits{S}, V.leftCols(4), softlook::heads{.query = 4});
      },
      {"positional_attention: position_logits rows() is 6", "heads.query is 4"});
  expect_error<shape_error>(
      [&] { (void)positional_attention(position_logits{S}, V, softlook::heads{.query = 2}); },
      {"position_logits rows() of a head is 3", "the number of positions is 6"});
  expect_error<shape_error>(
      [&] { (void)positional_attention(position_factors{P1, P3}, V, softlook::heads{.query = 3}); },
      {"V.cols() is 4", "heads"});
  expect_error<argument_error>(
      [&] { (void)positional_attention(position_logits{S}, V, softlook::heads{.query = 0}); },
      {"positional_attention", "heads.query is 0"});
  expect_error<argument_error>([&] { (void)positional_attention_weights(position_logits{S}, -1); },
                               {"positional_attention_weights", "n is -1"});
  expect_error<argument_error>(
      [&] {
        const options never{.scale = std::numeric_limits<double>::infinity()};
        (void)positional_attention(position_logits{square}, V, never);
      },
      {"positional_attention", "options.scale"});
  expect_error<shape_error>(
      [&] { positional_attention_into(position_logits{square}, V, O.topRows(5)); },
      {"positional_attention_into: O.rows() is 5", "V.rows() is 6"});
  expect_error<shape_error>(
      [&] { positional_attention_into(position_logits{square}, V, O.leftCols(3)); },
      {"positional_attention_into: O.cols() is 3", "V.cols() is 4"});
}

TYPED_TEST(PositionalAttention, RejectsAnOutputThatOverlapsWhatIsRead) {
  using T = TypeParam;
  row_major<T> S = this->matrix(6, 6), P1 = this->matrix(6, 4), P2 = this->matrix(6, 4);
  row_major<T> V = this->matrix(6, 4);
  const auto expect_overlap = [&](const auto& learned, auto&& O, const char* name) {
    expect_error<argument_error>([&] { positional_attention_into(learned, V, O); },
                                 {"positional_attention_into: O overlaps ", name});
  };
  expect_overlap(position_logits{S}, S.leftCols(4), "S");
  expect_overlap(position_logits{S}, V, "V");
  expect_overlap(position_factors{P1, P2}, P1, "P1");
  expect_overlap(position_factors{P1, P2}, P2, "P2");
}

}  // namespace
}  // namespace softlook::positional_test
