// Misuse throws in the same cases on every path and in both scalars, names both values, and leaves
// outputs untouched.
#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::errors_test {
namespace {

using namespace softlook_test;

template <class T>
class AttentionErrors : public ::testing::Test {
 protected:
  static constexpr index n = 6, m = 8, d = 5, e = 3;
  problem_inputs<T> p =
      random_problem<T>({.queries = n, .keys = m, .features = d, .values = e}, seed(171));
  const row_major<T> untouched = row_major<T>::Constant(n, e, T(42));

  /// Every function that takes Q, K, V and these policies throws, on every path.
  template <class Error, class... Policies>
  void expect_error_everywhere(std::initializer_list<const char*> pieces, const row_major<T>& Q,
                               const row_major<T>& K, const row_major<T>& V,
                               const Policies&... policies) const {
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      expect_error<Error>([&] { (void)attention(Q, K, V, policies..., which.opts); }, pieces);
      expect_error<Error>(
          [&] { (void)attention_with_log_sum_exp(Q, K, V, policies..., which.opts); }, pieces);
      row_major<T> O = untouched;
      expect_error<Error>([&] { attention_into(Q, K, V, O, policies..., which.opts); }, pieces);
      EXPECT_TRUE(bitwise_equal(O, untouched));
    }
    expect_error<Error>([&] { (void)flash_attention(Q, K, V, policies...); }, pieces);
    expect_error<Error>([&] { (void)flash_attention_with_log_sum_exp(Q, K, V, policies...); },
                        pieces);
    expect_error<Error>([&] { (void)naive_attention(Q, K, V, policies...); }, pieces);
    row_major<T> O = untouched;
    expect_error<Error>([&] { flash_attention_into(Q, K, V, O, policies...); }, pieces);
    EXPECT_TRUE(bitwise_equal(O, untouched));
  }

  /// The functions of Q and K alone.
  template <class Error, class... Policies>
  void expect_error_of_scores(std::initializer_list<const char*> pieces, const row_major<T>& Q,
                              const row_major<T>& K, const Policies&... policies) const {
    expect_error<Error>([&] { (void)attention_weights(Q, K, policies...); }, pieces);
    for (const stage s : {stage::raw, stage::capped, stage::biased, stage::masked})
      expect_error<Error>([&] { (void)attention_scores(Q, K, s, policies...); }, pieces);
  }

  template <class Error, class... Policies>
  void expect_policy_error(std::initializer_list<const char*> pieces,
                           const Policies&... policies) const {
    expect_error_everywhere<Error>(pieces, p.Q, p.K, p.V, policies...);
    expect_error_of_scores<Error>(pieces, p.Q, p.K, policies...);
  }
};
TYPED_TEST_SUITE(AttentionErrors, scalars, scalar_names);

TYPED_TEST(AttentionErrors, KeysOfAnotherFeatureSize) {
  using T = TypeParam;
  const row_major<T> K = row_major<T>::Zero(this->m, 4);
  this->template expect_error_everywhere<shape_error>({"K.cols() is 4", "Q.cols() is 5"}, this->p.Q,
                                                      K, this->p.V);
  this->template expect_error_of_scores<shape_error>({"K.cols() is 4", "Q.cols() is 5"}, this->p.Q,
                                                     K);
}

TYPED_TEST(AttentionErrors, ValuesOfAnotherNumber) {
  using T = TypeParam;
  const row_major<T> V = row_major<T>::Zero(7, this->e);
  this->template expect_error_everywhere<shape_error>({"V.rows() is 7", "K.rows() is 8"}, this->p.Q,
                                                      this->p.K, V);
}

TYPED_TEST(AttentionErrors, OfEmptyMatrices) {
  using T = TypeParam;
  const row_major<T> no_values(0, this->e), no_features(this->m, 0);
  this->template expect_error_everywhere<shape_error>({"V.rows() is 0", "K.rows() is 8"}, this->p.Q,
                                                      this->p.K, no_values);
  this->template expect_error_everywhere<shape_error>({"K.cols() is 0", "Q.cols() is 5"}, this->p.Q,
                                                      no_features, this->p.V);
}

TYPED_TEST(AttentionErrors, OutputOfAnotherShape) {
  using T = TypeParam;
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    const auto into = [&](row_major<T>& O) {
      attention_into(this->p.Q, this->p.K, this->p.V, O, which.opts);
    };
    row_major<T> rows = row_major<T>::Constant(5, 3, T(42)),
                 cols = row_major<T>::Constant(6, 4, T(42));
    expect_error<shape_error>([&] { into(rows); }, {"O.rows() is 5", "Q.rows() is 6"});
    expect_error<shape_error>([&] { into(cols); }, {"O.cols() is 4", "V.cols() is 3"});
    EXPECT_TRUE(bitwise_equal(rows, row_major<T>::Constant(5, 3, T(42))));
    EXPECT_TRUE(bitwise_equal(cols, row_major<T>::Constant(6, 4, T(42))));
  }
}

TYPED_TEST(AttentionErrors, OutputThatOverlapsAnInput) {
  using T = TypeParam;
  const row_major<T> X =
      random_problem<T>({.queries = 6, .keys = 6, .features = 5, .values = 5}, seed(172)).Q;
  const row_major<T> Y = X + X;
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    row_major<T> O = X;
    expect_error<argument_error>([&] { attention_into(O, Y, Y, O, which.opts); }, {"O overlaps Q"});
    expect_error<argument_error>([&] { attention_into(Y, O, Y, O, which.opts); }, {"O overlaps K"});
    expect_error<argument_error>([&] { attention_into(Y, Y, O, O, which.opts); }, {"O overlaps V"});
    EXPECT_TRUE(bitwise_equal(O, X));
    row_major<T> shared = row_major<T>::Ones(9, 5);
    expect_error<argument_error>(
        [&] { attention_into(shared.topRows(6), Y, Y, shared.bottomRows(6), which.opts); },
        {"overlaps"});
    EXPECT_TRUE(bitwise_equal(shared, row_major<T>::Ones(9, 5)));
  }
}

TYPED_TEST(AttentionErrors, OutputBesideAnInputInOneBufferIsNoOverlap) {
  using T = TypeParam;
  row_major<T> buffer = row_major<T>::Ones(8, 20);
  buffer.leftCols(5) = row_major<T>(this->p.K);
  const auto K = buffer.leftCols(5);
  row_major<T> O(this->n, this->e);
  attention_into(this->p.Q, K, this->p.V, buffer.block(0, 5, this->n, this->e));
  attention_into(this->p.Q, this->p.K, this->p.V, O);
  EXPECT_TRUE(bitwise_equal(buffer.block(0, 5, this->n, this->e), O));
  row_major<T> stacked = row_major<T>::Ones(14, 5);
  stacked.topRows(8) = this->p.K;
  attention_into(this->p.Q, stacked.topRows(8), this->p.K, stacked.bottomRows(6));
}

TYPED_TEST(AttentionErrors, PaddingOutsideTheKeys) {
  this->template expect_policy_error<argument_error>({"length is 9", "8"},
                                                     masks::padding{.length = 9});
  this->template expect_policy_error<argument_error>({"length is -1"},
                                                     masks::padding{.length = -1});
}

TYPED_TEST(AttentionErrors, WindowOfNegativeSize) {
  this->template expect_policy_error<argument_error>({"left is -1"}, masks::window{.left = -1});
  this->template expect_policy_error<argument_error>({"right is -2"}, masks::window{.right = -2});
}

TYPED_TEST(AttentionErrors, DenseMaskOfAnotherShape) {
  const row_major<bool> rows = row_major<bool>::Constant(5, 8, true);
  const row_major<bool> cols = row_major<bool>::Constant(6, 9, true);
  this->template expect_policy_error<shape_error>({"5", "6"}, masks::dense{rows});
  this->template expect_policy_error<shape_error>({"9", "8"}, masks::dense{cols});
}

TYPED_TEST(AttentionErrors, ErrorsInsideCombinedMasks) {
  this->template expect_policy_error<argument_error>(
      {"length is 9"}, masks::causal_top_left{} & masks::padding{.length = 9});
  this->template expect_policy_error<argument_error>({"length is 9"},
                                                     masks::padding{.length = 9} | masks::none{});
  this->template expect_policy_error<argument_error>({"left is -1"}, !masks::window{.left = -1});
}

TYPED_TEST(AttentionErrors, BiasOfAnotherShape) {
  using T = TypeParam;
  const row_major<T> rows = row_major<T>::Zero(5, 8), cols = row_major<T>::Zero(6, 9);
  this->template expect_policy_error<shape_error>({"5", "6"}, transforms::bias{rows});
  this->template expect_policy_error<shape_error>({"9", "8"}, transforms::bias{cols});
}

TYPED_TEST(AttentionErrors, SoftCapThatIsNotPositive) {
  this->template expect_policy_error<argument_error>({"cap is 0"}, transforms::soft_cap{0.0});
  this->template expect_policy_error<argument_error>({"cap is -3"}, transforms::soft_cap{-3.0});
  this->template expect_policy_error<argument_error>(
      {"cap is nan"}, transforms::soft_cap{std::numeric_limits<double>::quiet_NaN()});
}

TYPED_TEST(AttentionErrors, SecondTransformOfAChain) {
  this->template expect_policy_error<argument_error>({"cap is 0"}, transforms::alibi{1.0},
                                                     transforms::soft_cap{0.0});
}

TYPED_TEST(AttentionErrors, ScaleThatIsNotFinite) {
  for (const double scale :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    options opts;
    opts.scale = scale;
    expect_error<argument_error>([&] { (void)attention(this->p.Q, this->p.K, this->p.V, opts); },
                                 {"scale"});
    expect_error<argument_error>(
        [&] { (void)naive_attention(this->p.Q, this->p.K, this->p.V, opts); }, {"scale"});
    expect_error<argument_error>(
        [&] { (void)attention_scores(this->p.Q, this->p.K, stage::raw, opts); }, {"scale"});
  }
}

TYPED_TEST(AttentionErrors, TilesThatHoldNothing) {
  for (const tile_shape tile :
       {tile_shape{0, 1}, tile_shape{1, 0}, tile_shape{-8, 1}, tile_shape{8, -1},
        tile_shape{1 << 30, 1}, tile_shape{8, 1 << 30}}) {
    options opts;
    opts.tile = tile;
    row_major<TypeParam> O = this->untouched;
    expect_error<argument_error>([&] { attention_into(this->p.Q, this->p.K, this->p.V, O, opts); },
                                 {"tile"});
    EXPECT_TRUE(bitwise_equal(O, this->untouched));
  }
}

TYPED_TEST(AttentionErrors, ArePassedOverForNoQueriesOnlyWhereShapesAgree) {
  using T = TypeParam;
  const row_major<T> none(0, this->d), other(0, 4);
  EXPECT_EQ(attention(none, this->p.K, this->p.V).rows(), 0);
  this->template expect_error_everywhere<shape_error>({"K.cols() is 5", "Q.cols() is 4"}, other,
                                                      this->p.K, this->p.V);
}

}  // namespace
}  // namespace softlook::errors_test
