// The properties of each variant they apply to. A file defines `variants`, a ::testing::Types of
// what family.hpp describes, in softlook_test::family, and includes this once; a property that
// applies to none of them does not compile, because gtest has no empty list.

#include <string>
#include <type_traits>

#include "tests/property/family_properties.hpp"

namespace softlook_test::family {
namespace {

template <class... Lists>
struct joined_lists;
template <class... As>
struct joined_lists<::testing::Types<As...>> {
  using type = ::testing::Types<As...>;
};
template <class... As, class... Bs, class... Rest>
struct joined_lists<::testing::Types<As...>, ::testing::Types<Bs...>, Rest...>
    : joined_lists<::testing::Types<As..., Bs...>, Rest...> {};

template <template <class> class Has, class List>
struct filtered;
template <template <class> class Has, class... Vs>
struct filtered<Has, ::testing::Types<Vs...>>
    : joined_lists<::testing::Types<>, std::conditional_t<Has<Vs>::value, ::testing::Types<Vs>,
                                                          ::testing::Types<>>...> {};

/// The variants of this file that a property applies to.
template <template <class> class Has>
using variants_that = typename filtered<Has, variants>::type;

template <class V>
using has_equal_queries = std::bool_constant<V::queries_are_equal && !V::self_attention>;
template <class V>
using has_equal_keys = std::bool_constant<V::keys_are_equal && !V::self_attention>;
template <class V>
using has_equal_tokens = std::bool_constant<V::queries_are_equal && V::self_attention>;
template <class V>
using has_masks = std::bool_constant<V::takes_masks>;
template <class V>
using has_averages = std::bool_constant<V::averages>;
template <class V>
using has_weights = std::bool_constant<shows_weights<V>>;
template <class V>
using has_weighted_values = std::bool_constant<shows_weights<V> && V::averages>;
template <class V>
using has_linear_outputs = std::bool_constant<V::linear_in_values>;
template <class V>
using has_tiles = std::bool_constant<V::tiles>;

struct variant_names {
  template <class V>
  static std::string GetName(int) {
    return V::name;
  }
};

template <class V>
class Queries : public ::testing::Test {};
TYPED_TEST_SUITE(Queries, variants_that<has_equal_queries>, variant_names);
TYPED_TEST(Queries, PermutedPermuteTheOutputs) {
  expect_permuted_queries_permute_outputs(subject_of<TypeParam>());
}

template <class V>
class KeysAndValues : public ::testing::Test {};
TYPED_TEST_SUITE(KeysAndValues, variants_that<has_equal_keys>, variant_names);
TYPED_TEST(KeysAndValues, PermutedTogetherChangeNothing) {
  expect_permuted_keys_change_nothing(subject_of<TypeParam>());
}

template <class V>
class Tokens : public ::testing::Test {};
TYPED_TEST_SUITE(Tokens, variants_that<has_equal_tokens>, variant_names);
TYPED_TEST(Tokens, PermutedPermuteTheOutputs) {
  expect_permuted_tokens_permute_outputs(subject_of<TypeParam>());
}

template <class V>
class CausalRows : public ::testing::Test {};
TYPED_TEST_SUITE(CausalRows, variants_that<has_masks>, variant_names);
TYPED_TEST(CausalRows, IgnoreWhatIsLaterToTheBit) {
  expect_rows_to_ignore_what_is_later(subject_of<TypeParam>());
}

template <class V>
class Outputs : public ::testing::Test {};
TYPED_TEST_SUITE(Outputs, variants_that<has_averages>, variant_names);
TYPED_TEST(Outputs, LieInTheConvexHullOfTheValues) {
  expect_outputs_within_values(subject_of<TypeParam>());
}

template <class V>
class RowsOfWeights : public ::testing::Test {};
TYPED_TEST_SUITE(RowsOfWeights, variants_that<has_weights>, variant_names);
TYPED_TEST(RowsOfWeights, SumToOne) {
  expect_rows_of_weights_to_sum_to_one(subject_of<TypeParam>());
}

template <class V>
class WeightedValues : public ::testing::Test {};
TYPED_TEST_SUITE(WeightedValues, variants_that<has_weighted_values>, variant_names);
TYPED_TEST(WeightedValues, AreTheOutputs) {
  expect_outputs_to_be_weighted_values(subject_of<TypeParam>());
}

template <class V>
class Values : public ::testing::Test {};
TYPED_TEST_SUITE(Values, variants_that<has_linear_outputs>, variant_names);
TYPED_TEST(Values, GoIntoTheOutputsLinearly) {
  expect_outputs_to_be_linear_in_values(subject_of<TypeParam>());
}

template <class V>
class Tiles : public ::testing::Test {};
TYPED_TEST_SUITE(Tiles, variants_that<has_tiles>, variant_names);
TYPED_TEST(Tiles, GiveWhatTheNaivePathGives) {
  expect_tiled_to_equal_naive(subject_of<TypeParam>());
}

}  // namespace
}  // namespace softlook_test::family
