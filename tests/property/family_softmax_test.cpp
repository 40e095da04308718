// The properties of softmax attention with its scores, transforms and masks.
#include <gtest/gtest.h>

#include "softlook/layer/multi_head.hpp"
#include "softlook/mask/patterns.hpp"
#include "softlook/positional.hpp"
#include "softlook/score/trilinear.hpp"
#include "softlook/transform/t5_bias.hpp"
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
    ::testing::Types<scaled_dot, dot, cosine, general, additive, concat, trilinear, soft_cap, alibi,
                     t5_bias, windowed, strided, fixed, longformer, big_bird, rotary, multi_head,
                     grouped_query, multi_head_on_itself>;

}  // namespace
}  // namespace softlook_test::family

#include "tests/property/family.inl"
