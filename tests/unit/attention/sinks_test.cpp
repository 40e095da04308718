// A logit for each head that joins the softmax without a value.
#include "softlook/core/sinks.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "softlook/attention.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "softlook/layer/multi_head.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"
#include "tests/support/random.hpp"

namespace softlook::sinks_test {
namespace {

using namespace softlook_test;

constexpr double none = -std::numeric_limits<double>::infinity();

Eigen::VectorXd logits_of(std::initializer_list<double> given) {
  Eigen::VectorXd v(static_cast<index>(given.size()));
  std::copy(given.begin(), given.end(), v.data());
  return v;
}

template <class T>
class Sinks : public ::testing::Test {
 protected:
  static constexpr index n = 37, m = 53;
  problem_inputs<T> p =
      random_problem<T>({.queries = n, .keys = m, .features = 8, .values = 6}, seed(971));
};
TYPED_TEST_SUITE(Sinks, scalars, scalar_names);

TYPED_TEST(Sinks, JoinTheSoftmaxEveryWay) {
  for (const double s : {-3.0, 0.0, 2.5, 40.0}) {
    const Eigen::VectorXd logits = logits_of({s});
    const sinks sink(logits);
    expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt, sink);
    expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, 2.0, sink, transforms::soft_cap{5},
                            masks::causal_bottom_right{});
  }
}

TYPED_TEST(Sinks, AreOneForEachHead) {
  const Eigen::RowVectorXd logits = logits_of({1.5, -0.5}).transpose();
  const heads two{.query = 2};
  const auto all = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, two, sinks(logits));
  const auto weights = attention_weights(this->p.Q, this->p.K, two, sinks(logits));
  const auto stored = naive_attention(this->p.Q, this->p.K, this->p.V, two, sinks(logits));
  for (index h = 0; h < 2; ++h) {
    const Eigen::VectorXd own = logits.segment(h, 1).transpose();
    const auto Q = head_columns(this->p.Q, h, 2), K = head_columns(this->p.K, h, 2);
    const auto V = head_columns(this->p.V, h, 2);
    const auto alone = attention_with_log_sum_exp(Q, K, V, sinks(own));
    EXPECT_TRUE(bitwise_equal(head_columns(all.output, h, 2), alone.output));
    EXPECT_TRUE(bitwise_equal(all.log_sum_exp.col(h), alone.log_sum_exp.col(0)));
    const auto at = static_cast<std::size_t>(h);
    EXPECT_TRUE(bitwise_equal(weights[at], attention_weights(Q, K, sinks(own))));
    EXPECT_TRUE(bitwise_equal(stored.weights[at], naive_attention(Q, K, V, sinks(own)).weights));
  }
}

TYPED_TEST(Sinks, AreMergedLikeAStateWithoutOutput) {
  using T = TypeParam;
  const Eigen::VectorXd logits = logits_of({0.8});
  for (const way& which : every_way()) {
    const auto with =
        attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, sinks(logits), which.opts);
    auto sink = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, which.opts);
    const auto without = sink;
    sink.output.setZero();
    sink.log_sum_exp.setConstant(T(0.8));
    const auto merged = merge(without, sink);
    EXPECT_LE(max_error(with.output, merged.output), rounding_of<T>(8, max_magnitude(this->p.V)));
    EXPECT_LE(max_error(with.log_sum_exp, merged.log_sum_exp), log_sum_exp_rounding<T>(8));
  }
}

TYPED_TEST(Sinks, LeaveARowWithoutAKeyEmptyAndAreItsLogSumExp) {
  using T = TypeParam;
  const Eigen::VectorXd logits = logits_of({-1.25}), no_sink = logits_of({none});
  const masks::causal three{.offset = -3};
  for (const way& which : every_way()) {
    const auto state = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, three,
                                                  sinks(logits), which.opts);
    EXPECT_TRUE((state.output.topRows(3).array() == 0).all()) << which.name;
    EXPECT_TRUE((state.log_sum_exp.head(3).array() == T(-1.25)).all()) << which.name;
    const auto nothing = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, three,
                                                    sinks(no_sink), which.opts);
    EXPECT_TRUE((nothing.log_sum_exp.head(3).array() == T(none)).all()) << which.name;
  }
  const auto weights = attention_weights(this->p.Q, this->p.K, three, sinks(logits));
  EXPECT_TRUE((weights.topRows(3).array() == 0).all());
}

TYPED_TEST(Sinks, OfMinusInfinityChangeNoBit) {
  const Eigen::VectorXd logits = logits_of({none});
  for (const way& which : every_way()) {
    const auto with =
        attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, sinks(logits), which.opts);
    const auto without = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, which.opts);
    EXPECT_TRUE(bitwise_equal(with.output, without.output)) << which.name;
    EXPECT_TRUE(bitwise_equal(with.log_sum_exp, without.log_sum_exp)) << which.name;
  }
  EXPECT_TRUE(bitwise_equal(attention_weights(this->p.Q, this->p.K, sinks(logits)),
                            attention_weights(this->p.Q, this->p.K)));
}

TYPED_TEST(Sinks, FarFromTheScoresTakeAllOrNothing) {
  using T = TypeParam;
  const auto plain = attention(this->p.Q, this->p.K, this->p.V);
  for (const double far : {1e4, 1e30}) {
    const Eigen::VectorXd high = logits_of({far}), low = logits_of({-far});
    const auto taken = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, sinks(high));
    EXPECT_TRUE((taken.output.array() == 0).all());
    EXPECT_TRUE((taken.log_sum_exp.array() == T(far)).all());
    EXPECT_TRUE(bitwise_equal(attention(this->p.Q, this->p.K, this->p.V, sinks(low)), plain));
  }
}

TYPED_TEST(Sinks, DependNeitherOnThreadsNorOnAskedForLogSumExpNorOnAWorkspace) {
  const Eigen::VectorXd logits = logits_of({1.5, -0.5});
  const heads two{.query = 2};
  const exec::thread_pool pool(3);
  const auto alone = attention(this->p.Q, this->p.K, this->p.V, two, sinks(logits));
  EXPECT_TRUE(
      bitwise_equal(attention(this->p.Q, this->p.K, this->p.V, two, sinks(logits), pool), alone));
  EXPECT_TRUE(bitwise_equal(
      attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, two, sinks(logits)).output,
      alone));
  workspace kept;
  for (int round = 0; round < 2; ++round)
    EXPECT_TRUE(bitwise_equal(
        attention(this->p.Q, this->p.K, this->p.V, two, sinks(logits), options{.workspace = &kept}),
        alone));
}

TYPED_TEST(Sinks, ReachTheAttentionInsideALayer) {
  using T = TypeParam;
  generator random = seed(972);
  const multi_head_shape shape{.query_heads = 2, .kv_heads = 2};
  const auto parameters = random_multi_head<T>(shape, random);
  const multi_head<T> layer(parameters, shape.heads());
  const auto X = random_matrix<row_major<T>>(9, shape.features, random);
  const Eigen::VectorXd no_sink = logits_of({none, none}), high = logits_of({none, 1e4});
  EXPECT_TRUE(bitwise_equal(layer(X, sinks(no_sink)), layer(X)));
  const auto seen = layer.with_weights(X, sinks(high));
  EXPECT_TRUE((seen.weights[1].array() == 0).all());
  EXPECT_TRUE(bitwise_equal(seen.weights[0], layer.with_weights(X).weights[0]));
  EXPECT_TRUE(bitwise_equal(seen.output, layer(X, sinks(high))));
}

TYPED_TEST(Sinks, RejectAnotherNumberOfThemAndNumbersThatAreNone) {
  using T = TypeParam;
  const auto call = [&](const Eigen::VectorXd& logits) {
    return [this, logits] { (void)attention(this->p.Q, this->p.K, this->p.V, sinks(logits)); };
  };
  expect_error<shape_error>(call(logits_of({1, 2})),
                            {"attention: sinks.size() is 2 but the number of query heads is 1"});
  expect_error<argument_error>(call(logits_of({std::numeric_limits<double>::quiet_NaN()})),
                               {"attention: sinks of a head is"});
  expect_error<argument_error>(call(logits_of({-none})), {"sinks of a head is inf"});
  if constexpr (std::is_same_v<T, float>) {
    expect_error<argument_error>(call(logits_of({1e39})), {"sinks of a head is 1e+39"});
  }
}

}  // namespace
}  // namespace softlook::sinks_test
