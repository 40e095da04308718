// The properties of softmax attention with its scores, transforms and masks.
#include <gtest/gtest.h>

#include "softlook/attention/relative_keys.hpp"
#include "softlook/layer/multi_head.hpp"
#include "softlook/mask/documents.hpp"
#include "softlook/mask/neighborhood.hpp"
#include "softlook/mask/patterns.hpp"
#include "softlook/mask/prefix_lm.hpp"
#include "softlook/positional.hpp"
#include "softlook/score/qk_norm.hpp"
#include "softlook/score/trilinear.hpp"
#include "softlook/transform/t5_bias.hpp"
#include "softlook/transform/temperature.hpp"
#include "tests/property/family.hpp"

namespace softlook_test::family {
namespace {

namespace scores = softlook::scores;
namespace transforms = softlook::transforms;
namespace masks = softlook::masks;

struct scaled_dot : attention_by<[](const auto& call) { return call(); }> {
  static constexpr auto name = "scaled_dot";
};
struct dot : attention_by<[](const auto& call) { return call(scores::dot{}); }> {
  static constexpr auto name = "dot";
};
struct cosine : attention_by<[](const auto& call) { return call(scores::cosine{}); }> {
  static constexpr auto name = "cosine";
};
struct general
    : attention_by<[](const auto& call) { return call(scores::general{learned(8, 8)}); }> {
  static constexpr auto name = "general";
};
struct additive : attention_by<[](const auto& call) {
  return call(scores::additive{learned(8, 6), learned(8, 6, 1), learned(6, 1).col(0)});
}> {
  static constexpr auto name = "additive";
};
struct concat : attention_by<[](const auto& call) {
  return call(scores::concat{learned(16, 6), learned(6, 1).col(0)});
}> {
  static constexpr auto name = "concat";
};
struct trilinear : attention_by<[](const auto& call) {
  return call(scores::trilinear{learned(24, 1).col(0)});
}> {
  static constexpr auto name = "trilinear";
};

struct qk_norm : attention_by<[](const auto& call) {
  return call(scores::qk_norm{learned(8, 1).col(0), learned(8, 1, 1).col(0)});
}> {
  static constexpr auto name = "qk_norm";
};

struct sinks : attention_by<[](const auto& call) {
  const Eigen::VectorXd logits = Eigen::VectorXd::Constant(1, 0.7);
  return call(softlook::sinks(logits));
}> {
  static constexpr auto name = "sinks";
  static constexpr bool whole_rows = false;
};

struct temperature : attention_by<[](const auto& call) {
  const Eigen::VectorXd of_head = Eigen::VectorXd::Constant(1, 1.5);
  return call(transforms::temperature(of_head));
}> {
  static constexpr auto name = "temperature";
};
struct relative_keys : attention_by_position<[](const auto& call) {
  const softlook::relative_keys<float> R(call.in.Q, learned(9, 8));
  return call(transforms::relative_keys{R});
}> {
  static constexpr auto name = "relative_keys";
  static constexpr double steepness = 2;
};
struct soft_cap
    : attention_by<[](const auto& call) { return call(transforms::soft_cap{.cap = 2}); }> {
  static constexpr auto name = "soft_cap";
};
struct alibi : attention_by_position<[](const auto& call) {
  return call(transforms::alibi{.slope = 0.3});
}> {
  static constexpr auto name = "alibi";
};
struct t5_bias : attention_by_position<[](const auto& call) {
  const softlook::t5_relative_bias<float> bias(learned(32, 1));
  return call(transforms::t5_bias{bias});
}> {
  static constexpr auto name = "t5_bias";
};

struct windowed : attention_by_position<[](const auto& call) {
  return call.under(masks::window{.left = 5, .right = 2});
}> {
  static constexpr auto name = "windowed";
  static constexpr bool as_many_keys = true;  // no window is empty
};
struct strided
    : attention_by_position<[](const auto& call) { return call.under(masks::strided(7)); }> {
  static constexpr auto name = "strided";
  static constexpr bool as_many_keys = true;
};
struct fixed
    : attention_by_position<[](const auto& call) { return call.under(masks::fixed(8, 2)); }> {
  static constexpr auto name = "fixed";
  static constexpr bool as_many_keys = true;
};
struct longformer : attention_by_position<[](const auto& call) {
  return call.under(masks::longformer({.window = 6}));
}> {
  static constexpr auto name = "longformer";
  static constexpr bool as_many_keys = true;
};
struct big_bird : attention_by_position<[](const auto& call) {
  return call.under(masks::big_bird({.block = 4}, call.in.K.rows()));
}> {
  static constexpr auto name = "big_bird";
  static constexpr bool as_many_keys = true;
};

struct prefix_lm : attention_by_position<[](const auto& call) {
  return call.under(masks::prefix_lm{.prefix = 4});
}> {
  static constexpr auto name = "prefix_lm";
  static constexpr bool as_many_keys = true;
};
struct documents : attention_by_position<[](const auto& call) {
  std::vector<std::int32_t> ids;
  for (index i = 0; i < call.in.K.rows(); ++i) ids.push_back(std::int32_t(i * i / 40));
  return call.under(masks::documents(ids));
}> {
  static constexpr auto name = "documents";
  static constexpr bool as_many_keys = true;
};
struct neighborhood : attention_by_position<[](const auto& call) {
  const index n = call.in.K.rows(), height = n % 3 == 0 ? 3 : 1;
  return call.under(masks::neighborhood_2d{height, n / height, 1, 2});
}> {
  static constexpr auto name = "neighborhood";
  static constexpr bool as_many_keys = true;
};

struct rotary : variant {
  static constexpr auto name = "rotary";
  static constexpr bool queries_are_equal = false;
  static constexpr bool keys_are_equal = false;
  static inputs turned(const inputs& in) {
    static const softlook::rotary_embedding<float> turn(softlook::rotary_frequencies(features),
                                                        {.head_features = features});
    return {turn(in.Q), turn(in.K), in.V};
  }
  static matrix output(const inputs& in, const how& h) { return attend{turned(in), h}(); }
  static matrix weights(const inputs& in, const how& h) { return weigh{turned(in), h}(); }
};

struct multi_head : variant {
  static constexpr auto name = "multi_head";
  static matrix output(const inputs& in, const how& h) {
    return softlook::attention(in.Q, in.K, in.V, softlook::heads{.query = 4}, h.mask, h.opts);
  }
};
struct grouped_query : variant {
  static constexpr auto name = "grouped_query";
  static constexpr bool averages = false;  // two heads share columns of the values
  static matrix output(const inputs& in, const how& h) {
    return softlook::attention(in.Q, in.K.leftCols(4), in.V.leftCols(4),
                               softlook::heads{.query = 4, .kv = 2}, h.mask, h.opts);
  }
};
struct multi_head_on_itself : variant {
  static constexpr auto name = "multi_head_on_itself";
  static constexpr bool self_attention = true;
  static constexpr bool linear_in_values = false;
  static matrix output(const inputs& in, const how& h) {
    return softlook::attention(in.Q, in.K, in.V, softlook::heads{.query = 2}, h.mask, h.opts);
  }
};

using variants =
    ::testing::Types<scaled_dot, dot, cosine, qk_norm, general, additive, concat, trilinear, sinks,
                     temperature, relative_keys, soft_cap, alibi, t5_bias, windowed, strided, fixed,
                     longformer, big_bird, prefix_lm, documents, neighborhood, rotary, multi_head,
                     grouped_query, multi_head_on_itself>;

}  // namespace
}  // namespace softlook_test::family

#include "tests/property/family.inl"
