#include "softlook/layer/multi_head.hpp"

#include <gtest/gtest.h>

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/multi_head.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/storage.hpp"
#include "tests/support/ways.hpp"

namespace softlook::heads_test {
namespace {

using namespace softlook_test;

template <class T>
class MultiHead : public ::testing::Test {
 protected:
  static constexpr index n = 26, m = 43, d = 5, e = 3;
  generator random = seed(211);

  problem_inputs<T> inputs(index query_heads, index kv_heads, index queries = n) {
    return {random_matrix<row_major<T>>(queries, query_heads * d, random),
            random_matrix<row_major<T>>(m, kv_heads * d, random),
            random_matrix<row_major<T>>(m, kv_heads * e, random)};
  }

  template <class... Policies>
  void expect_agreement(const problem_inputs<T>& p, index query_heads, index kv_heads,
                        const Policies&... policies) const {
    const heads h{.query = query_heads, .kv = kv_heads};
    const auto truth =
        oracle::multi_head_attention(p.Q, p.K, p.V, query_heads, kv_heads, policies...);
    const double scores = 12;
    const double tolerance = 2 * attention_bound<T>(m, 2 * d, scores, max_magnitude(p.V));
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      const auto state = attention_with_log_sum_exp(p.Q, p.K, p.V, h, policies..., which.opts);
      EXPECT_LE(max_error(state.output, truth.output), tolerance);
      EXPECT_LE(max_error(state.log_sum_exp, truth.log_sum_exp), tolerance);
      EXPECT_TRUE(
          bitwise_equal(attention(p.Q, p.K, p.V, h, policies..., which.opts), state.output));
    }
    const auto weights = attention_weights(p.Q, p.K, h, policies...);
    ASSERT_EQ(static_cast<index>(weights.size()), query_heads);
    for (std::size_t head = 0; head < weights.size(); ++head)
      EXPECT_LE(max_error(weights[head], truth.weights[head]), tolerance);
  }
};
TYPED_TEST_SUITE(MultiHead, scalars, scalar_names);

TYPED_TEST(MultiHead, IsOneAttentionForEachHead) {
  this->expect_agreement(this->inputs(4, 4), 4, 4);
  this->expect_agreement(this->inputs(1, 1), 1, 1);
}

TYPED_TEST(MultiHead, GroupsShareContiguousKeyHeads) {
  this->expect_agreement(this->inputs(6, 3), 6, 3);
  this->expect_agreement(this->inputs(6, 2), 6, 2);
}

TYPED_TEST(MultiHead, MultiQuerySharesOneKeyHead) {
  this->expect_agreement(this->inputs(5, 1), 5, 1);
}

TYPED_TEST(MultiHead, FewQueriesFoldTheHeadsOfAGroup) {
  for (const index queries : {1, 2, 3}) {
    this->expect_agreement(this->inputs(8, 2, queries), 8, 2);
    this->expect_agreement(this->inputs(8, 1, queries), 8, 1, masks::causal_bottom_right{});
    this->expect_agreement(this->inputs(3, 3, queries), 3, 3);
  }
}

TYPED_TEST(MultiHead, MasksApplyToEveryHead) {
  this->expect_agreement(this->inputs(4, 2), 4, 2, masks::causal_bottom_right{});
  this->expect_agreement(this->inputs(4, 2), 4, 2, masks::causal{.offset = -4});
}

TYPED_TEST(MultiHead, SlopesAreThoseOfTheQueryHead) {
  const Eigen::VectorXd slopes = transforms::alibi_slopes(6);
  this->expect_agreement(this->inputs(6, 2), 6, 2, transforms::alibi_per_head{slopes});
  this->expect_agreement(this->inputs(6, 2, 1), 6, 2, transforms::alibi_per_head{slopes});
}

TYPED_TEST(MultiHead, FunctorsAndPredicatesAreToldTheQueryHead) {
  const transforms::map f([](auto s, std::int32_t, std::int32_t j, std::int32_t head) {
    using S = decltype(s);
    return s + S(0.01) * S(head * j);
  });
  const masks::where mask(
      [](std::int32_t i, std::int32_t j, std::int32_t head) { return (i + j + head) % 3 != 0; });
  this->expect_agreement(this->inputs(4, 2), 4, 2, f);
  this->expect_agreement(this->inputs(4, 2), 4, 2, mask);
  this->expect_agreement(this->inputs(4, 2, 2), 4, 2, f, mask);
}

TYPED_TEST(MultiHead, UnsetKeyHeadsAreAsManyAsQueryHeads) {
  const auto p = this->inputs(4, 4);
  EXPECT_TRUE(bitwise_equal(attention(p.Q, p.K, p.V, heads{.query = 4}),
                            attention(p.Q, p.K, p.V, heads{.query = 4, .kv = 4})));
}

TYPED_TEST(MultiHead, HeadsAreReadInPlaceFromAnyStorage) {
  using T = TypeParam;
  const auto p = this->inputs(4, 2);
  const heads h{.query = 4, .kv = 2};
  const col_major<T> Q = p.Q, K = p.K, V = p.V;
  strided_copy<T> strided_Q(Q), strided_K(K), strided_V(V);
  const framed_copy<T> framed(V);
  for (const way& which : fast_ways()) {
    const auto plain = attention(p.Q, p.K, p.V, h, which.opts);
    EXPECT_TRUE(bitwise_equal(attention(Q, K, V, h, which.opts), plain)) << which.name;
    EXPECT_TRUE(bitwise_equal(
        attention(strided_Q.map(), strided_K.map(), strided_V.map(), h, which.opts), plain))
        << which.name;
    EXPECT_TRUE(bitwise_equal(attention(Q, p.K, framed.block(), h, which.opts), plain))
        << which.name;
  }
}

TYPED_TEST(MultiHead, EqualsAttentionOfEachHeadToTheBit) {
  const auto p = this->inputs(4, 2);
  const heads h{.query = 4, .kv = 2};
  for (const auto isa : available_instruction_sets()) {
    options opts = with_kernel(kernel::tiled);
    opts.isa = isa;
    const auto all = attention(p.Q, p.K, p.V, h, opts);
    for (index head = 0; head < 4; ++head)
      EXPECT_TRUE(
          bitwise_equal(attention(head_columns(p.Q, head, 4), head_columns(p.K, head / 2, 2),
                                  head_columns(p.V, head / 2, 2), opts),
                        all.middleCols(head * this->e, this->e)));
  }
}

TYPED_TEST(MultiHead, HasTheSameBitsForAnyNumberOfThreads) {
  for (const index queries : {this->n, index{1}}) {
    const auto p = this->inputs(6, 2, queries);
    const heads h{.query = 6, .kv = 2};
    for (const way& which : every_way()) {
      const auto alone = attention(p.Q, p.K, p.V, h, which.opts);
      for (const index threads : {2, 5}) {
        const exec::thread_pool pool(threads);
        EXPECT_TRUE(bitwise_equal(attention(p.Q, p.K, p.V, h, which.opts, pool), alone))
            << which.name << " threads " << threads;
      }
    }
  }
}

TYPED_TEST(MultiHead, WritesIntoTheCallersMatrix) {
  const auto p = this->inputs(4, 2);
  const heads h{.query = 4, .kv = 2};
  col_major<TypeParam> O(this->n, 4 * this->e);
  attention_into(p.Q, p.K, p.V, O, h);
  EXPECT_TRUE(bitwise_equal(O, attention(p.Q, p.K, p.V, h)));
}

TYPED_TEST(MultiHead, LogSumExpHasAColumnForEachHead) {
  const auto p = this->inputs(4, 2);
  const auto state = attention_with_log_sum_exp(p.Q, p.K, p.V, heads{.query = 4, .kv = 2});
  EXPECT_EQ(state.log_sum_exp.rows(), this->n);
  EXPECT_EQ(state.log_sum_exp.cols(), 4);
}

TYPED_TEST(MultiHead, OtherScoresAreSharedByTheHeads) {
  using T = TypeParam;
  const auto W = random_matrix<row_major<T>>(this->d, this->d, this->random);
  const auto v = random_matrix<column<T>>(this->d, 1, this->random);
  const auto b = random_matrix<column<T>>(this->d, 1, this->random);
  for (const index queries : {this->n, index{1}}) {
    this->expect_agreement(this->inputs(4, 2, queries), 4, 2, scores::general{W});
    this->expect_agreement(this->inputs(4, 2, queries), 4, 2, scores::cosine{});
    this->expect_agreement(this->inputs(4, 2, queries), 4, 2, scores::additive{W, W, v, b});
    this->expect_agreement(this->inputs(4, 2, queries), 4, 2, scores::additive_projected{v});
  }
}

TYPED_TEST(MultiHead, EmptyRowsAreEmptyInEveryHead) {
  const auto p = this->inputs(4, 2);
  for (const way& which : every_way()) {
    const auto state = attention_with_log_sum_exp(p.Q, p.K, p.V, heads{.query = 4, .kv = 2},
                                                  masks::causal{.offset = -3}, which.opts);
    for (index i = 0; i < 3; ++i) {
      EXPECT_TRUE(row_is_zero(state.output, i)) << which.name;
      for (index head = 0; head < 4; ++head)
        EXPECT_EQ(state.log_sum_exp(i, head), -std::numeric_limits<TypeParam>::infinity());
    }
  }
}

TYPED_TEST(MultiHead, EdgeSizes) {
  using T = TypeParam;
  const heads h{.query = 4, .kv = 2};
  const row_major<T> Q(0, 20), K(7, 10), V(7, 6), none(0, 10), no_values(0, 6);
  const row_major<T> some = row_major<T>::Ones(5, 20);
  for (const way& which : every_way()) {
    EXPECT_EQ(attention(Q, K, V, h, which.opts).cols(), 12) << which.name;
    EXPECT_TRUE(
        bitwise_equal(attention(some, none, no_values, h, which.opts), row_major<T>::Zero(5, 12)))
        << which.name;
  }
}

TYPED_TEST(MultiHead, RejectsHeadsThatDoNotDivide) {
  const auto p = this->inputs(4, 2);
  row_major<TypeParam> O = row_major<TypeParam>::Constant(this->n, 12, TypeParam(42));
  const row_major<TypeParam> untouched = O;
  const auto expect = [&]<class Error>(Error*, heads h, std::initializer_list<const char*> pieces) {
    expect_error<Error>([&] { (void)attention(p.Q, p.K, p.V, h); }, pieces);
    expect_error<Error>([&] { attention_into(p.Q, p.K, p.V, O, h); }, pieces);
    expect_error<Error>([&] { (void)attention_with_log_sum_exp(p.Q, p.K, p.V, h); }, pieces);
    expect_error<Error>([&] { (void)attention_weights(p.Q, p.K, h); }, pieces);
  };
  constexpr shape_error* shape = nullptr;
  constexpr argument_error* argument = nullptr;
  expect(shape, softlook::heads{.query = 3, .kv = 1}, {"Q.cols()", "20", "3"});
  expect(shape, softlook::heads{.query = 4, .kv = 3}, {"4", "3"});
  expect(shape, softlook::heads{.query = 2, .kv = 4}, {"2", "4"});
  expect(shape, softlook::heads{.query = 4, .kv = 4}, {"K.cols()", "10", "4"});
  expect(argument, softlook::heads{.query = 0, .kv = 1}, {"heads.query is 0"});
  expect(argument, softlook::heads{.query = 4, .kv = 0}, {"heads.kv is 0"});
  expect(argument, softlook::heads{.query = -4, .kv = 2}, {"-4"});
  EXPECT_TRUE(bitwise_equal(O, untouched));
}

TYPED_TEST(MultiHead, RejectsOtherShapesAndOverlap) {
  auto p = this->inputs(4, 2);
  const heads h{.query = 4, .kv = 2};
  row_major<TypeParam> narrow(this->n, 11);
  expect_error<shape_error>([&] { attention_into(p.Q, p.K, p.V, narrow, h); },
                            {"O.cols() is 11", "12"});
  const row_major<TypeParam> V = p.V.topRows(5);
  expect_error<shape_error>([&] { (void)attention(p.Q, p.K, V, h); },
                            {"V.rows() is 5", "K.rows() is 43"});
  const row_major<TypeParam> Q = p.Q.leftCols(12);
  expect_error<shape_error>([&] { (void)attention(Q, p.K, p.V, h); }, {"5", "3"});
  expect_error<argument_error>([&] { attention_into(p.Q, p.K, p.V, p.Q.leftCols(12), h); },
                               {"O overlaps Q"});
  const Eigen::VectorXd slopes = transforms::alibi_slopes(3);
  expect_error<shape_error>(
      [&] { (void)attention(p.Q, p.K, p.V, h, transforms::alibi_per_head{slopes}); },
      {"slopes", "3"});
}

TEST(HeadColumns, AreAViewOfTheHeadsOwnColumns) {
  row_major<float> X = row_major<float>::Random(4, 12);
  EXPECT_TRUE(bitwise_equal(head_columns(X, 1, 3), X.middleCols(4, 4)));
  head_columns(X, 2, 3).setZero();
  EXPECT_TRUE(bitwise_equal(X.rightCols(4), row_major<float>::Zero(4, 4)));
  EXPECT_EQ(head_columns(X, 1, 3).data(), X.data() + 4);
}

TEST(HeadColumns, RejectWhatDoesNotDivideOrDoesNotExist) {
  const row_major<float> X(4, 12);
  expect_error<shape_error>([&] { (void)head_columns(X, 0, 5); }, {"12", "5"});
  expect_error<argument_error>([&] { (void)head_columns(X, 3, 3); }, {"head is 3", "2"});
  expect_error<argument_error>([&] { (void)head_columns(X, -1, 3); }, {"head is -1"});
}

}  // namespace
}  // namespace softlook::heads_test
