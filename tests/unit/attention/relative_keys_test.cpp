#include "softlook/attention/relative_keys.hpp"

#include <algorithm>
#include <type_traits>

#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::relative_keys_test {
namespace {

using namespace softlook_test;
using real = long double;

template <class T>
class RelativeKeys : public ::testing::Test {
 protected:
  static constexpr index n = 19, m = 23, d = 7, clip = 4;
  generator random = seed(811);
  row_major<T> Q = random_matrix<row_major<T>>(n, d, random);
  row_major<T> K = random_matrix<row_major<T>>(m, d, random);
  row_major<T> V = random_matrix<row_major<T>>(m, 5, random);
  row_major<T> A = random_matrix<row_major<T>>(2 * clip + 1, d, random);

  /// Shaw et al., Eq. (4): q_i·(k_j + a_{clip(j − i)}) / √d, query 0 at position `first`.
  real formula(index i, index j, index first) const {
    const index r = std::clamp<index>(j - (first + i), -clip, clip) + clip;
    real sum = 0;
    for (index f = 0; f < d; ++f) sum += real(Q(i, f)) * (real(K(j, f)) + real(A(r, f)));
    return sum / std::sqrt(real(d));
  }
  double bound() const {
    return dot_product_bound<T>(2 * d + 2,
                                d * max_magnitude(Q) * (max_magnitude(K) + max_magnitude(A)));
  }
};
TYPED_TEST_SUITE(RelativeKeys, scalars, scalar_names);

TYPED_TEST(RelativeKeys, AddTheProductOfAQueryAndItsDistance) {
  const relative_keys<TypeParam> R(this->Q, this->A);
  EXPECT_EQ(R.clip(), this->clip);
  const auto aligned =
      attention_scores(this->Q, this->K, stage::biased, transforms::relative_keys{R});
  const auto from_two =
      attention_scores(this->Q, this->K, stage::biased, transforms::relative_keys{R, index{2}});
  for (index i = 0; i < this->n; ++i)
    for (index j = 0; j < this->m; ++j) {
      EXPECT_NEAR(double(aligned(i, j)), double(this->formula(i, j, this->m - this->n)),
                  this->bound());
      EXPECT_NEAR(double(from_two(i, j)), double(this->formula(i, j, 2)), this->bound());
    }
}

TYPED_TEST(RelativeKeys, AgreeWithTheOracleEveryWay) {
  const relative_keys R(this->Q, this->A);
  const transforms::relative_keys add{R};
  expect_every_way_agrees(this->Q, this->K, this->V, std::nullopt, add);
  expect_every_way_agrees(this->Q, this->K, this->V, std::nullopt, add,
                          masks::causal_bottom_right{}, transforms::soft_cap{3});
}

TYPED_TEST(RelativeKeys, AreSharedByHeadsOrTheirOwn) {
  using T = TypeParam;
  const auto two_Q = random_matrix<row_major<T>>(this->n, 2 * this->d, this->random);
  const auto own = random_matrix<col_major<T>>(5, 2 * this->d, this->random);
  const relative_keys shared(two_Q, this->A, 2), each(two_Q, own, 2, 0.5);
  for (index h = 0; h < 2; ++h) {
    const row_major<T> q = head_columns(two_Q, h, 2), a = head_columns(own, h, 2);
    const relative_keys alone(q, this->A), alone_own(q, a, 1, 0.5);
    for (index i = 0; i < this->n; ++i)
      for (index r = -6; r <= 6; ++r) {
        EXPECT_EQ(shared(i, h, r), alone(i, 0, r));
        EXPECT_EQ(each(i, h, r), alone_own(i, 0, r));
      }
  }
  const auto two_K = random_matrix<row_major<T>>(this->m, 2 * this->d, this->random);
  const auto two_V = random_matrix<row_major<T>>(this->m, 6, this->random);
  const auto O =
      attention(two_Q, two_K, two_V, heads{.query = 2}, transforms::relative_keys{shared});
  for (index h = 0; h < 2; ++h) {
    const row_major<T> q = head_columns(two_Q, h, 2);
    const relative_keys alone(q, this->A);
    EXPECT_TRUE(bitwise_equal(head_columns(O, h, 2),
                              attention(q, head_columns(two_K, h, 2), head_columns(two_V, h, 2),
                                        transforms::relative_keys{alone})));
  }
}

TYPED_TEST(RelativeKeys, OfAPieceOfTheQueriesAreThoseOfAll) {
  const relative_keys R(this->Q, this->A);
  const transforms::relative_keys add{R};
  const options tiled{.kernel = kernel::tiled};
  const auto whole = attention(this->Q, this->K, this->V, add, tiled);
  const auto piece = attention(this->Q.middleRows(5, 9), this->K, this->V, add, tiled,
                               frame{.first_query = 5, .queries = this->n});
  EXPECT_TRUE(bitwise_equal(piece, whole.middleRows(5, 9)));
}

TYPED_TEST(RelativeKeys, RejectWhatDoesNotFit) {
  const row_major<TypeParam> even = this->A.topRows(4), narrow = this->A.leftCols(3);
  const auto make = [&](const auto& rows, index count = 1, double scale = 1) {
    return [this, &rows, count, scale] { (void)relative_keys(this->Q, rows, count, scale); };
  };
  expect_error<argument_error>(make(even), {"relative_keys: A.rows() is 4", "2 · clip + 1"});
  expect_error<shape_error>(make(narrow), {"A.cols() is 3", "Q.cols() / heads is 7"});
  expect_error<shape_error>(make(this->A, 2), {"Q.cols() is 7", "heads is 2"});
  expect_error<argument_error>(make(this->A, 0), {"heads is 0"});
  expect_error<argument_error>(make(this->A, 1, std::numeric_limits<double>::infinity()),
                               {"scale is inf"});
  const relative_keys R(this->Q, this->A);
  expect_error<shape_error>(
      [&] { (void)attention_weights(this->Q.topRows(3), this->K, transforms::relative_keys{R}); },
      {"transforms::relative_keys queries is 19 but Q.rows() is 3"});
  expect_error<argument_error>(
      [&] { (void)attention_weights(this->Q, this->K, transforms::relative_keys{R, index{-1}}); },
      {"transforms::relative_keys first_query is -1"});
  expect_error<argument_error>([&] { (void)R(0, 1, 0); }, {"head is 1", "there are 1"});
  EXPECT_FALSE((std::is_constructible_v<transforms::relative_keys<TypeParam>,
                                        softlook::relative_keys<TypeParam>>));
}

}  // namespace
}  // namespace softlook::relative_keys_test
