#include "softlook/seq2seq/bahdanau_attention.hpp"

#include <gtest/gtest.h>

#include "softlook/attention.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/random.hpp"

namespace softlook::bahdanau_attention_test {
namespace {

using namespace softlook_test;

template <class T>
class BahdanauAttention : public ::testing::Test {
 protected:
  static constexpr index n = 6, m = 11, dq = 4, dk = 5, a = 7, e = 3;
  generator random = seed(221);
  row_major<T> Q = random_matrix<row_major<T>>(n, dq, random);
  row_major<T> K = random_matrix<row_major<T>>(m, dk, random);
  row_major<T> V = random_matrix<row_major<T>>(m, e, random);
  row_major<T> Wq = random_matrix<row_major<T>>(dq, a, random);
  row_major<T> Wk = random_matrix<row_major<T>>(dk, a, random);
  column<T> v = random_matrix<column<T>>(a, 1, random);
  column<T> b = random_matrix<column<T>>(a, 1, random);
  double tolerance = attention_bound<T>(m, dq + dk, max_magnitude(v) * a, 4);

  [[nodiscard]] bahdanau_attention<T> plain() const {
    return bahdanau_attention<T>(scores::additive{Wq, Wk, v});
  }
  [[nodiscard]] bahdanau_attention<T> biased() const {
    return bahdanau_attention<T>(scores::additive{Wq, Wk, v, b});
  }
};
TYPED_TEST_SUITE(BahdanauAttention, scalars, scalar_names);

TYPED_TEST(BahdanauAttention, StepsAreTheRowsOfTheFullAttention) {
  auto decoder = this->plain();
  decoder.set_memory(this->K, this->V);
  const auto truth =
      oracle::attention(this->Q, this->K, this->V, scores::additive{this->Wq, this->Wk, this->v});
  for (index i = 0; i < this->n; ++i) {
    const auto step = decoder.step(this->Q.row(i));
    EXPECT_LE(max_error(step.context, truth.output.row(i)), this->tolerance);
    EXPECT_LE(max_error(step.weights, truth.weights.row(i)), this->tolerance);
  }
}

TYPED_TEST(BahdanauAttention, StepsIntoTheCallersMatricesAreThoseThatItReturns) {
  using T = TypeParam;
  auto decoder = this->biased();
  decoder.set_memory(this->K, this->V, 8);
  const auto all = decoder.step(this->Q);
  row_major<T> weights = row_major<T>::Constant(this->n + 1, this->m, T(7));
  col_major<T> context = col_major<T>::Constant(this->n, this->e + 2, T(7));
  workspace space;
  options how;
  how.workspace = &space;
  decoder.step_into(this->Q, context.middleCols(1, this->e), weights.topRows(this->n), how);
  EXPECT_TRUE(bitwise_equal(context.middleCols(1, this->e), all.context));
  EXPECT_TRUE(bitwise_equal(weights.topRows(this->n), all.weights));
  EXPECT_TRUE((weights.row(this->n).array() == T(7)).all());
  EXPECT_TRUE((context.col(0).array() == T(7)).all());
  row_major<T> one(1, this->e);
  decoder.step_into(this->Q.row(2), one, weights.row(3));
  EXPECT_TRUE(bitwise_equal(one, decoder.step(this->Q.row(2)).context));
  EXPECT_TRUE(bitwise_equal(weights.row(3), decoder.step(this->Q.row(2)).weights));
  expect_error<shape_error>(
      [&] { decoder.step_into(this->Q, one, weights.topRows(this->n)); },
      {"bahdanau_attention::step_into: context.rows() is 1 but query.rows() is 6"});
  expect_error<shape_error>(
      [&] { decoder.step_into(this->Q.row(0), one, weights.block(0, 0, 1, 8)); },
      {"weights.cols() is 8 but memory_size() is 11"});
  expect_error<argument_error>(
      [&] { decoder.step_into(this->Q.row(0), this->Q.block(0, 0, 1, this->e), weights.row(0)); },
      {"the context overlaps the query"});
}

TYPED_TEST(BahdanauAttention, SeveralQueryRowsAreSeveralSteps) {
  auto decoder = this->plain();
  decoder.set_memory(this->K, this->V);
  const auto all = decoder.step(this->Q);
  ASSERT_EQ(all.context.rows(), this->n);
  ASSERT_EQ(all.weights.cols(), this->m);
  for (index i = 0; i < this->n; ++i)
    EXPECT_LE(max_error(decoder.step(this->Q.row(i)).context, all.context.row(i)), this->tolerance);
}

TYPED_TEST(BahdanauAttention, AddsTheBias) {
  auto decoder = this->biased();
  decoder.set_memory(this->K, this->V);
  const auto truth = oracle::attention(this->Q, this->K, this->V,
                                       scores::additive{this->Wq, this->Wk, this->v, this->b});
  EXPECT_LE(max_error(decoder.step(this->Q).context, truth.output), this->tolerance);
}

/// The weights of attention() with the same score.
TYPED_TEST(BahdanauAttention, TakesTheScoresOfAttention) {
  using T = TypeParam;
  const auto expect_same = [&](const auto& score) {
    bahdanau_attention<T> decoder(score);
    decoder.set_memory(this->K, this->V);
    const auto step = decoder.step(this->Q);
    EXPECT_LE(max_error(step.weights, attention_weights(this->Q, this->K, score)), this->tolerance);
    EXPECT_LE(max_error(step.context, attention(this->Q, this->K, this->V, score)),
              this->tolerance);
  };
  expect_same(scores::additive{this->Wq, this->Wk, this->v});
  expect_same(scores::additive{this->Wq, this->Wk, this->v, this->b});
}

TYPED_TEST(BahdanauAttention, LeavesRowsThatAreProjectedAlreadyAsTheyAre) {
  using T = TypeParam;
  const row_major<T> queries = random_matrix<row_major<T>>(this->n, this->a, this->random);
  const row_major<T> keys = random_matrix<row_major<T>>(this->m, this->a, this->random);
  bahdanau_attention<T> decoder(scores::additive_projected{this->v});
  decoder.set_memory(keys, this->V);
  // The formula, with the identity for both projections.
  const row_major<T> one = row_major<T>::Identity(this->a, this->a);
  const auto truth = oracle::attention(queries, keys, this->V, scores::additive{one, one, this->v});
  const auto step = decoder.step(queries);
  EXPECT_LE(max_error(step.weights, truth.weights), this->tolerance);
  EXPECT_LE(max_error(step.context, truth.output), this->tolerance);
  expect_error<shape_error>([&] { decoder.set_memory(this->K, this->V); },
                            {"keys.cols() is 5", "v.size() is 7"});
  expect_error<shape_error>([&] { (void)decoder.step(this->Q); },
                            {"query.cols() is 4", "keys.cols() is 7"});
}

TYPED_TEST(BahdanauAttention, TakesParametersInAnyStorage) {
  using T = TypeParam;
  const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> by_columns = this->Wq;
  row_major<T> padded(this->dk + 2, this->a + 3);
  const auto inner = padded.block(1, 2, this->dk, this->a);
  padded.block(1, 2, this->dk, this->a) = this->Wk;
  const Eigen::Matrix<T, 1, Eigen::Dynamic> row = this->v.transpose();
  bahdanau_attention<T> strided(scores::additive{by_columns, inner, row, this->b});
  auto packed = this->biased();
  strided.set_memory(this->K, this->V);
  packed.set_memory(this->K, this->V);
  EXPECT_TRUE(bitwise_equal(strided.step(this->Q).weights, packed.step(this->Q).weights));
}

TYPED_TEST(BahdanauAttention, ParametersGiveTheirScore) {
  using T = TypeParam;
  additive_parameters<T> p{this->Wq, this->Wk, this->v, {}};
  bahdanau_attention<T> without(p.score());
  p.b = this->b;
  bahdanau_attention<T> with(p.score());
  auto one = this->plain(), other = this->biased();
  for (auto* decoder : {&without, &with, &one, &other}) decoder->set_memory(this->K, this->V);
  EXPECT_TRUE(bitwise_equal(without.step(this->Q).weights, one.step(this->Q).weights));
  EXPECT_TRUE(bitwise_equal(with.step(this->Q).weights, other.step(this->Q).weights));
}

TYPED_TEST(BahdanauAttention, OneMemoryServesAsKeysAndValues) {
  auto one = this->plain(), two = one;
  one.set_memory(this->K);
  two.set_memory(this->K, this->K);
  EXPECT_TRUE(bitwise_equal(one.step(this->Q).context, two.step(this->Q).context));
}

TYPED_TEST(BahdanauAttention, LengthHidesThePaddingWhateverItHolds) {
  auto decoder = this->plain();
  this->K.bottomRows(4).setConstant(std::numeric_limits<TypeParam>::quiet_NaN());
  this->V.bottomRows(4).setConstant(std::numeric_limits<TypeParam>::infinity());
  decoder.set_memory(this->K, this->V, 7);
  const row_major<TypeParam> live = this->K.topRows(7), values = this->V.topRows(7);
  const auto truth =
      oracle::attention(this->Q, live, values, scores::additive{this->Wq, this->Wk, this->v});
  const auto step = decoder.step(this->Q);
  ASSERT_EQ(step.weights.cols(), this->m);
  EXPECT_LE(max_error(step.context, truth.output), this->tolerance);
  EXPECT_LE(max_error(step.weights.leftCols(7), truth.weights), this->tolerance);
  EXPECT_TRUE(bitwise_equal(step.weights.rightCols(4), row_major<TypeParam>::Zero(this->n, 4)));
}

TYPED_TEST(BahdanauAttention, LengthZeroGivesZeros) {
  auto decoder = this->plain();
  decoder.set_memory(this->K, this->V, 0);
  const auto step = decoder.step(this->Q);
  EXPECT_TRUE(bitwise_equal(step.context, row_major<TypeParam>::Zero(this->n, this->e)));
  EXPECT_TRUE(bitwise_equal(step.weights, row_major<TypeParam>::Zero(this->n, this->m)));
}

TYPED_TEST(BahdanauAttention, TakesPoliciesInAStep) {
  auto decoder = this->plain();
  decoder.set_memory(this->K, this->V);
  const masks::window mask{.left = 2, .right = 3};
  const transforms::soft_cap cap{1.5};
  const auto truth = oracle::attention(this->Q, this->K, this->V, mask, cap,
                                       scores::additive{this->Wq, this->Wk, this->v});
  EXPECT_LE(max_error(decoder.step(this->Q, mask, cap).context, truth.output), this->tolerance);
}

TYPED_TEST(BahdanauAttention, OwnsItsParametersAndItsMemory) {
  using T = TypeParam;
  auto decoder = this->biased();
  const auto truth = oracle::attention(this->Q, this->K, this->V,
                                       scores::additive{this->Wq, this->Wk, this->v, this->b});
  for (auto* parameter : {&this->Wq, &this->Wk}) parameter->setConstant(T(9));
  for (auto* parameter : {&this->v, &this->b}) parameter->setConstant(T(9));
  decoder.set_memory(this->K, this->V);
  for (auto* memory : {&this->K, &this->V}) memory->setConstant(T(9));
  EXPECT_LE(max_error(decoder.step(this->Q).context, truth.output), this->tolerance);
}

TYPED_TEST(BahdanauAttention, ASecondMemoryReplacesTheFirst) {
  auto decoder = this->plain(), fresh = decoder;
  decoder.set_memory(this->K, this->V);
  (void)decoder.step(this->Q);
  const row_major<TypeParam> few = this->K.topRows(3), values = this->V.topRows(3);
  decoder.set_memory(few, values);
  fresh.set_memory(few, values);
  EXPECT_TRUE(bitwise_equal(decoder.step(this->Q).weights, fresh.step(this->Q).weights));
}

TYPED_TEST(BahdanauAttention, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const auto make = [](const auto&... parts) {
    return bahdanau_attention<T>(scores::additive{parts...});
  };
  const row_major<T> narrow = this->Wk.leftCols(3);
  const column<T> shorter = this->v.head(2);
  const char* name = "bahdanau_attention: scores::additive ";
  expect_error<shape_error>([&] { make(this->Wq, narrow, this->v); },
                            {name, "Wk.cols() is 3", "Wq.cols() is 7"});
  expect_error<shape_error>([&] { make(this->Wq, this->Wk, shorter); },
                            {name, "v.size() is 2", "Wq.cols() is 7"});
  expect_error<shape_error>([&] { make(this->Wq, this->Wk, this->v, shorter); },
                            {name, "b.size() is 2", "Wq.cols() is 7"});
  auto decoder = this->plain();
  expect_error<argument_error>([&] { (void)decoder.step(this->Q); }, {"set_memory"});
  expect_error<shape_error>([&] { decoder.set_memory(this->K, row_major<T>(this->V.topRows(4))); },
                            {"4", "11"});
  expect_error<shape_error>([&] { decoder.set_memory(this->Q); },
                            {"keys.cols() is 4", "Wk.rows() is 5"});
  expect_error<argument_error>([&] { decoder.set_memory(this->K, this->V, 12); }, {"12", "11"});
  expect_error<argument_error>([&] { decoder.set_memory(this->K, this->V, -1); }, {"-1"});
  decoder.set_memory(this->K, this->V);
  expect_error<shape_error>([&] { (void)decoder.step(this->K); },
                            {"bahdanau_attention::step: query.cols() is 5", "Wq.rows() is 4"});
}

TYPED_TEST(BahdanauAttention, AFailedSetMemoryKeepsTheOldOne) {
  auto decoder = this->plain();
  decoder.set_memory(this->K, this->V);
  const auto before = decoder.step(this->Q);
  EXPECT_THROW(decoder.set_memory(this->Q), shape_error);
  EXPECT_TRUE(bitwise_equal(decoder.step(this->Q).context, before.context));
}

TYPED_TEST(BahdanauAttention, StepsAgreeWithTheNaiveKernelWhateverTheMagnitudes) {
  using T = TypeParam;
  options naive;
  naive.kernel = kernel::naive;
  const column<T> small = this->v / T(this->a);
  for (const double magnitude : {1e-3, 0.1, 1.0, 10.0, 200.0})
    for (const index keys : {1, 47, 300, 1300}) {
      const auto memory = random_matrix<row_major<T>>(keys, this->dk, this->random);
      const auto values = random_matrix<row_major<T>>(keys, this->e, this->random);
      const row_major<T> larger = this->Wq * T(magnitude);
      bahdanau_attention<T> decoder(scores::additive{larger, this->Wk, small, this->b});
      decoder.set_memory(memory, values);
      const auto step = decoder.step(this->Q), truth = decoder.step(this->Q, naive);
      const double bound = attention_bound<T>(double(keys), double(this->a), 8, 2);
      EXPECT_LE(max_error(step.context, truth.context), bound) << magnitude << " " << keys;
      EXPECT_LE(max_error(step.weights, truth.weights), bound) << magnitude << " " << keys;
    }
}

TYPED_TEST(BahdanauAttention, ARowHasTheSameBitsAloneAndAmongOthers) {
  using T = TypeParam;
  const auto queries = random_matrix<row_major<T>>(20, this->dq, this->random);
  const auto memory = random_matrix<row_major<T>>(700, this->dk, this->random);
  auto decoder = this->biased();
  decoder.set_memory(memory);
  const auto all = decoder.step(queries);
  for (index i = 0; i < queries.rows(); ++i) {
    const auto one = decoder.step(queries.row(i));
    EXPECT_TRUE(bitwise_equal(one.context, all.context.row(i)));
    EXPECT_TRUE(bitwise_equal(one.weights, all.weights.row(i)));
  }
}

TYPED_TEST(BahdanauAttention, AnExecutorChangesNoBit) {
  using T = TypeParam;
  const auto memory = random_matrix<row_major<T>>(1900, this->dk, this->random);
  auto decoder = this->plain();
  decoder.set_memory(memory);
  const auto alone = decoder.step(this->Q);
  const auto expect_same = [&](const auto& executor) {
    const auto step = decoder.step(this->Q, executor);
    EXPECT_TRUE(bitwise_equal(step.context, alone.context));
    EXPECT_TRUE(bitwise_equal(step.weights, alone.weights));
  };
  expect_same(last_task_first{});
  expect_same(round_robin{});
  expect_same(thread_per_worker{});
}

TYPED_TEST(BahdanauAttention, StepsOnEveryInstructionSet) {
  auto decoder = this->plain();
  decoder.set_memory(this->K, this->V);
  const auto truth =
      oracle::attention(this->Q, this->K, this->V, scores::additive{this->Wq, this->Wk, this->v});
  for (const instruction_set isa : available_instruction_sets()) {
    options o;
    o.isa = isa;
    const auto step = decoder.step(this->Q, o);
    EXPECT_LE(max_error(step.context, truth.output), this->tolerance) << name_of(isa);
    EXPECT_LE(max_error(step.weights, truth.weights), this->tolerance) << name_of(isa);
  }
}

TYPED_TEST(BahdanauAttention, KeysBeyondAMaskHaveNoWeightHoweverManyTheyAre) {
  using T = TypeParam;
  const auto memory = random_matrix<row_major<T>>(3000, this->dk, this->random);
  auto decoder = this->plain(), fewer = decoder;
  decoder.set_memory(memory);
  for (const index length : {0, 40, 700}) {
    fewer.set_memory(memory, length);
    const auto masked = decoder.step(this->Q, masks::padding{length});
    const auto truth = fewer.step(this->Q);
    EXPECT_LE(max_error(masked.weights, truth.weights), this->tolerance);
    EXPECT_LE(max_error(masked.context, truth.context), this->tolerance);
    EXPECT_TRUE(masked.weights.rightCols(3000 - length).isZero(0));
  }
}

TYPED_TEST(BahdanauAttention, AQueryWithoutAKeyHasZerosAndTheOthersTheirWeights) {
  auto decoder = this->plain();
  decoder.set_memory(this->K, this->V);
  const auto odd = masks::where([](std::int32_t i, std::int32_t) { return i % 2 != 0; });
  const auto step = decoder.step(this->Q, odd), full = decoder.step(this->Q);
  for (index i = 0; i < this->n; ++i) {
    const row_major<TypeParam> expected = full.weights.row(i) * TypeParam(i % 2);
    EXPECT_LE(max_error(step.weights.row(i), expected), this->tolerance);
    if (i % 2 == 0) {
      EXPECT_TRUE(step.context.row(i).isZero(0));
    }
  }
}

TYPED_TEST(BahdanauAttention, ANaNQueryReachesItsRowOnly) {
  auto decoder = this->plain();
  decoder.set_memory(this->K, this->V);
  const auto clean = decoder.step(this->Q);
  this->Q(2, 1) = std::numeric_limits<TypeParam>::quiet_NaN();
  const auto step = decoder.step(this->Q);
  for (index i = 0; i < this->n; ++i) {
    if (i == 2) {
      EXPECT_TRUE(step.weights.row(i).array().isNaN().all());
      EXPECT_TRUE(step.context.row(i).array().isNaN().all());
    } else {
      EXPECT_TRUE(bitwise_equal(step.weights.row(i), clean.weights.row(i)));
      EXPECT_TRUE(bitwise_equal(step.context.row(i), clean.context.row(i)));
    }
  }
}

TYPED_TEST(BahdanauAttention, WeightNormSetsTheLengthOfTheVector) {
  using T = TypeParam;
  const auto w = weight_norm(this->v, T(2.5));
  long double squares = 0;
  for (index u = 0; u < this->a; ++u)
    squares += static_cast<long double>(w(u)) * static_cast<long double>(w(u));
  EXPECT_NEAR(static_cast<double>(std::sqrt(squares)), 2.5, dot_product_bound<T>(this->a, 2.5));
  EXPECT_LE(max_error(w / T(2.5) * this->v.norm(), this->v), dot_product_bound<T>(this->a, 4));
  const auto zero = weight_norm(column<T>(column<T>::Zero(3)), T(2));
  EXPECT_TRUE(bitwise_equal(zero, column<T>::Zero(3)));
}

}  // namespace
}  // namespace softlook::bahdanau_attention_test
