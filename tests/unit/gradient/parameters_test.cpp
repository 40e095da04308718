#include "softlook/core/parameters.hpp"

#include "softlook/positional.hpp"
#include "softlook/transformer.hpp"
#include "softlook/vision/tokens.hpp"
#include "tests/support/gradients.hpp"

namespace softlook::parameters_test {
namespace {

using namespace softlook_test;

template <class P>
std::string names_of(const P& p) {
  std::string names;
  for_each_parameter([&](const std::string& name, const auto&) { names += name + " "; }, p);
  return names;
}

TEST(Parameters, OfLayersHaveTheNamesOfTheirMembers) {
  EXPECT_EQ(names_of(multi_head_parameters<double>{}), "Wq Wk Wv Wo bq bk bv bo bias_k bias_v ");
  const std::string of_attention =
      "self_attention.Wq self_attention.Wk self_attention.Wv self_attention.Wo self_attention.bq "
      "self_attention.bk self_attention.bv self_attention.bo self_attention.bias_k "
      "self_attention.bias_v ";
  const std::string of_feed_forward = "W1 W2 b1 b2 W3 b3 ";
  EXPECT_EQ(names_of(transformer_encoder_layer_parameters<double>{}),
            of_attention + of_feed_forward + "gain1 bias1 gain2 bias2 ");
  const std::string decoder = names_of(transformer_decoder_layer_parameters<double>{});
  EXPECT_EQ(decoder.find(of_attention + "cross_attention.Wq "), 0U);
  EXPECT_NE(decoder.find("cross_attention.bias_v " + of_feed_forward +
                         "gain1 bias1 gain2 bias2 "
                         "gain3 bias3 "),
            std::string::npos);
  EXPECT_EQ(names_of(patch_embedding_parameters<double>{}), "W b class_token positions ");
}

TEST(Parameters, SettingsStayWhereZerosAndCastsAreMade) {
  generator random = seed(16010);
  multi_head_parameters<double> p;
  p.Wq = random_matrix<multi_head_parameters<double>::matrix>(4, 6, random);
  p.add_zero_attn = true;
  p.rotary = rotary_embedding<double>(rotary_frequencies(2));
  const multi_head_parameters<double> zeros = zeros_like(p);
  EXPECT_TRUE(zeros.add_zero_attn);
  EXPECT_EQ(zeros.rotary.head_features(), 2);
  EXPECT_EQ(zeros.Wq.cols(), 6);
  EXPECT_EQ(zeros.Wq.cwiseAbs().maxCoeff(), 0);
  EXPECT_EQ(parameter_count(p), 24);
  const multi_head_parameters<float> narrow = cast_parameters<float>(p);
  EXPECT_TRUE(narrow.add_zero_attn);
  EXPECT_EQ(narrow.Wq(3, 5), float(p.Wq(3, 5)));
}

}  // namespace
}  // namespace softlook::parameters_test
