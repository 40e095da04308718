#include "softlook/transform/t5_bias.hpp"

#include <type_traits>

#include "softlook/layer/multi_head.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/ways.hpp"

namespace softlook::t5_bias_test {
namespace {

using namespace softlook_test;

/// The farther half of a direction's buckets in whole numbers: bucket e + s begins at the smallest
/// distance r with (r/e)^(c−e) ≥ (max/e)^s. long double is enough for the sizes below, but for
/// exact borders, which the shift towards the farther bucket keeps.
index reference_bucket(index relative, const t5_buckets& b) {
  const index count = b.bidirectional ? b.count / 2 : b.count, exact = count / 2;
  index first = 0, distance = relative < 0 ? -relative : relative;
  if (relative > 0) {
    if (!b.bidirectional) return 0;
    first = count;
  }
  if (distance < exact) return first + distance;
  index bucket = exact;
  for (index s = 1; s < count - exact; ++s) {
    using real = long double;
    const real border =
        real(exact) * std::pow(real(b.max_distance) / real(exact), real(s) / real(count - exact));
    const real nearest_whole = std::round(border);
    const bool is_whole = std::fabs(border - nearest_whole) < real(epsilon_of<double>()) * border;
    if (real(distance) >= (is_whole ? nearest_whole : border)) bucket = exact + s;
  }
  return first + bucket;
}

constexpr t5_buckets of_t5{};
constexpr t5_buckets of_decoder{.bidirectional = false};
constexpr t5_buckets some_buckets[] = {of_t5,
                                       of_decoder,
                                       {.count = 8, .max_distance = 20},
                                       {.count = 16, .max_distance = 64, .bidirectional = false},
                                       {.count = 4, .max_distance = 2},
                                       {.count = 2, .max_distance = 9, .bidirectional = false},
                                       {.count = 7, .max_distance = 1000, .bidirectional = false},
                                       {.count = 64, .max_distance = 256}};

TEST(T5Bucket, IsExactNearAndLogarithmicFar) {
  for (const t5_buckets& b : some_buckets)
    for (index r = -b.max_distance - 50; r <= b.max_distance + 50; ++r)
      ASSERT_EQ(t5_bucket(r, b), reference_bucket(r, b))
          << r << " of " << b.count << ", " << b.max_distance;
}

TEST(T5Bucket, StaysInRangeHoweverFar) {
  for (const t5_buckets& b : some_buckets) {
    const index count = b.bidirectional ? b.count / 2 : b.count;
    EXPECT_EQ(t5_bucket(std::numeric_limits<index>::min(), b), count - 1);
    EXPECT_EQ(t5_bucket(std::numeric_limits<index>::max(), b),
              b.bidirectional ? b.count - 1 : index(0));
  }
}

// Borders that logarithms hit exactly: 8·(128/8)^(s/8) is 16, 32, 64 for s = 2, 4, 6.
TEST(T5Bucket, PutsADistanceOnABorderIntoTheFartherBucket) {
  EXPECT_EQ(t5_bucket(-15), 9);
  EXPECT_EQ(t5_bucket(-16), 10);
  EXPECT_EQ(t5_bucket(-32), 12);
  EXPECT_EQ(t5_bucket(-64), 14);
  EXPECT_EQ(t5_bucket(64), 30);
}

TEST(T5Bucket, RejectsBucketsThatMakeNoSense) {
  expect_error<argument_error>([] { (void)t5_bucket(1, {.count = 31}); },
                               {"t5_bucket", "buckets.count is 31", "half"});
  expect_error<argument_error>([] { (void)t5_bucket(1, {.count = 2}); },
                               {"buckets.count is 2", "at least 2"});
  expect_error<argument_error>([] { (void)t5_bucket(1, {.count = 32, .max_distance = 8}); },
                               {"buckets.max_distance is 8", "own, 8"});
}

template <class T>
class T5Bias : public ::testing::Test {
 protected:
  generator random = seed(71);
  col_major<T> table = random_matrix<col_major<T>>(8, 3, random);
  t5_buckets buckets{.count = 8, .max_distance = 20};
  t5_relative_bias<T> bias{table, buckets};
};
TYPED_TEST_SUITE(T5Bias, scalars, scalar_names);

TYPED_TEST(T5Bias, LooksUpTheBucketOfARelativePosition) {
  EXPECT_EQ(this->bias.heads(), 3);
  EXPECT_EQ(this->bias.reach(), 20);
  for (index h = 0; h < 3; ++h)
    for (index r = -60; r <= 60; ++r)
      ASSERT_EQ(this->bias(r, h), this->table(reference_bucket(r, this->buckets), h)) << r;
}

TYPED_TEST(T5Bias, IsAMatrixOnRequest) {
  const auto B = this->bias.matrix(5, 40, 1, 3);
  ASSERT_EQ(B.rows(), 5);
  ASSERT_EQ(B.cols(), 40);
  for (index i = 0; i < 5; ++i)
    for (index j = 0; j < 40; ++j)
      ASSERT_EQ(B(i, j), this->table(reference_bucket(j - (i + 3), this->buckets), 1));
  EXPECT_EQ(this->bias.matrix(0, 4, 0).size(), 0);
}

TYPED_TEST(T5Bias, IsTheSameAsItsMatrixOnEveryWay) {
  using T = TypeParam;
  const auto p =
      random_problem<T>({.queries = 37, .keys = 53, .features = 9, .values = 4}, seed(72));
  const double scores = 9 * max_magnitude(p.Q) * max_magnitude(p.K) + max_magnitude(this->table);
  const double bound = 2 * attention_bound<T>(53, 9, scores, max_magnitude(p.V));
  for (const std::optional<index> first : {std::optional<index>{}, std::optional<index>{0}}) {
    const auto B = this->bias.matrix(37, 53, 0, first.value_or(53 - 37));
    const transforms::t5_bias transform(this->bias, first);
    for (const way& w : every_way()) {
      const auto with_matrix = attention(p.Q, p.K, p.V, scores::dot{}, transforms::bias{B}, w.opts);
      const auto without = attention(p.Q, p.K, p.V, scores::dot{}, transform, w.opts);
      ASSERT_TRUE(all_finite(without));
      EXPECT_LE(max_error(without, with_matrix), bound) << w;
    }
  }
}

TYPED_TEST(T5Bias, TakesTheColumnOfTheHead) {
  using T = TypeParam;
  const auto p =
      random_problem<T>({.queries = 6, .keys = 6, .features = 12, .values = 3}, seed(73));
  const auto weights = attention_weights(p.Q, p.K, heads{.query = 3}, scores::dot{},
                                         transforms::t5_bias(this->bias));
  for (index h = 0; h < 3; ++h) {
    const auto B = this->bias.matrix(6, 6, h);
    const auto expected = attention_weights(head_columns(p.Q, h, 3), head_columns(p.K, h, 3),
                                            scores::dot{}, transforms::bias{B});
    EXPECT_TRUE(bitwise_equal(weights[static_cast<std::size_t>(h)], expected));
  }
}

TYPED_TEST(T5Bias, PutsTheLastQueryBesideTheLastKeyUnlessToldOtherwise) {
  const problem more_keys{.queries = 3, .keys = 5, .head = 1};
  const problem more_queries{.queries = 5, .keys = 3, .head = 1};
  const transforms::t5_bias aligned(this->bias);
  EXPECT_EQ(aligned(TypeParam(0), 2, 4, more_keys), this->bias(0, 1));
  EXPECT_EQ(aligned(TypeParam(0), 0, 0, more_keys), this->bias(-2, 1));
  EXPECT_EQ(aligned(TypeParam(0), 0, 2, more_queries), this->bias(4, 1));
  const transforms::t5_bias from_seven(this->bias, 7);
  EXPECT_EQ(from_seven(TypeParam(0), 1, 4, more_keys), this->bias(-4, 1));
}

TYPED_TEST(T5Bias, RejectsAWrongTableTooFewHeadsAndPositions) {
  using T = TypeParam;
  const row_major<T> short_table = row_major<T>::Zero(7, 2);
  expect_error<shape_error>([&] { t5_relative_bias(short_table, this->buckets); },
                            {"t5_relative_bias", "table.rows() is 7", "buckets.count is 8"});
  expect_error<argument_error>([&] { (void)this->bias(0, 3); }, {"head is 3", "3 heads"});
  expect_error<argument_error>([&] { (void)this->bias.matrix(2, 2, -1); }, {"head is -1"});
  expect_error<argument_error>([&] { (void)this->bias.matrix(-2, 2, 0); }, {"queries is -2"});
  const row_major<T> X = row_major<T>::Ones(3, 8);
  expect_error<shape_error>(
      [&] { (void)attention(X, X, X, heads{.query = 4}, transforms::t5_bias(this->bias)); },
      {"attention", "transforms::t5_bias heads is 3", "4"});
  expect_error<argument_error>(
      [&] { (void)attention(X, X, X, transforms::t5_bias(this->bias, -1)); },
      {"transforms::t5_bias first_query is -1"});
  expect_error<argument_error>(
      [&] { (void)attention(X, X, X, transforms::t5_bias(this->bias, index(1) << 31)); },
      {"first_query"});
}

TYPED_TEST(T5Bias, RejectsATemporary) {
  using temporary = t5_relative_bias<TypeParam>;
  static_assert(!std::is_constructible_v<transforms::t5_bias<TypeParam>, temporary>);
  static_assert(std::is_constructible_v<transforms::t5_bias<TypeParam>, const temporary&>);
}

}  // namespace
}  // namespace softlook::t5_bias_test
