// Each property of the family finds a variant that breaks it.
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "softlook/transform/transforms.hpp"
#include "tests/property/family_properties.hpp"

namespace softlook_test::family {
namespace {

struct whole : attention_by<[](const auto& call) { return call(); }> {};
struct whole_on_itself : whole {
  static constexpr bool self_attention = true;
};

/// Failures of a property; the test that asks goes on.
template <class V>
int failures_of(void (*property)(const subject&)) {
  ::testing::TestPartResultArray results;
  {
    const ::testing::ScopedFakeTestPartResultReporter quiet(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    property(subject_of<V>());
  }
  int failures = 0;
  for (int k = 0; k < results.size(); ++k) failures += results.GetTestPartResult(k).failed();
  return failures;
}

/// `Broken` breaks the property, and what it was made of does not.
template <class Broken, class Sound = whole>
void expect_to_be_found(void (*property)(const subject&)) {
  EXPECT_GT(failures_of<Broken>(property), 0);
  EXPECT_EQ(failures_of<Sound>(property), 0);
}

struct first_query_is_louder : whole {
  static matrix output(const inputs& in, const how& h) {
    inputs louder = in;
    louder.Q.row(0) *= 1.001f;
    return whole::output(louder, h);
  }
};
TEST(AProperty, FindsAQueryThatKnowsItsPosition) {
  expect_to_be_found<first_query_is_louder>(expect_permuted_queries_permute_outputs);
}

struct nearest_keys_count_more : attention_by<[](const auto& call) {
  return call(softlook::transforms::alibi{.slope = 1e-3});
}> {};
TEST(AProperty, FindsKeysThatAreNotEqual) {
  expect_to_be_found<nearest_keys_count_more>(expect_permuted_keys_change_nothing);
}

struct tokens_know_their_positions : nearest_keys_count_more {
  static constexpr bool self_attention = true;
};
TEST(AProperty, FindsTokensThatAreNotEqual) {
  expect_to_be_found<tokens_know_their_positions, whole_on_itself>(
      expect_permuted_tokens_permute_outputs);
}

/// The largest of all queries decides how steep every row is.
struct rows_share_a_scale : whole {
  static matrix output(const inputs& in, const how& h) {
    inputs scaled = in;
    scaled.Q /= in.Q.cwiseAbs().maxCoeff();
    return whole::output(scaled, h);
  }
};
struct masked_values_are_added_as_zeros : whole {
  static matrix output(const inputs& in, const how& h) {
    const matrix nothing = 0 * in.V.colwise().sum().replicate(in.Q.rows(), 1);
    return whole::output(in, h) + nothing;
  }
};
TEST(AProperty, FindsARowThatSeesTheFuture) {
  expect_to_be_found<rows_share_a_scale>(expect_rows_to_ignore_what_is_later);
  expect_to_be_found<masked_values_are_added_as_zeros>(expect_rows_to_ignore_what_is_later);
}

struct slightly_too_large : whole {
  static matrix output(const inputs& in, const how& h) { return whole::output(in, h) * 1.0001f; }
  static matrix weights(const inputs& in, const how& h) { return whole::weights(in, h) * 1.0001f; }
};
struct slightly_too_small : whole {
  static matrix weights(const inputs& in, const how& h) { return whole::weights(in, h) * 0.9999f; }
};
struct partly_negative : whole {
  static matrix weights(const inputs& in, const how& h) {
    matrix W = whole::weights(in, h);
    if (W.cols() > 1) W.col(0).array() -= 1, W.col(1).array() += 1;
    return W;
  }
};
TEST(AProperty, FindsOutputsBeyondTheValues) {
  expect_to_be_found<slightly_too_large>(expect_outputs_within_values);
}
TEST(AProperty, FindsWeightsThatAreNoDistribution) {
  expect_to_be_found<slightly_too_large>(expect_rows_of_weights_to_sum_to_one);
  expect_to_be_found<slightly_too_small>(expect_rows_of_weights_to_sum_to_one);
  expect_to_be_found<partly_negative>(expect_rows_of_weights_to_sum_to_one);
}

struct weights_of_other_scores : whole {
  static matrix weights(const inputs& in, const how& h) {
    return weigh{in, h}(softlook::transforms::alibi{.slope = 1e-3});
  }
};
TEST(AProperty, FindsWeightsThatAreNotThoseOfTheOutput) {
  expect_to_be_found<weights_of_other_scores>(expect_outputs_to_be_weighted_values);
}

struct values_are_squashed : whole {
  static matrix output(const inputs& in, const how& h) {
    return whole::output(in, h).array().cube() * 1e-4f + whole::output(in, h).array();
  }
};
TEST(AProperty, FindsOutputsThatAreNotLinearInTheValues) {
  expect_to_be_found<values_are_squashed>(expect_outputs_to_be_linear_in_values);
}

struct tiles_lose_their_last_key : whole {
  static matrix output(const inputs& in, const how& h) {
    if (h.opts.kernel != softlook::kernel::tiled || in.K.rows() < 2) return whole::output(in, h);
    const index m = in.K.rows() - 1;
    return whole::output({in.Q, in.K.topRows(m), in.V.topRows(m)}, h);
  }
};
TEST(AProperty, FindsATiledPathThatDiffersFromTheNaiveOne) {
  expect_to_be_found<tiles_lose_their_last_key>(expect_tiled_to_equal_naive);
}

}  // namespace
}  // namespace softlook_test::family
