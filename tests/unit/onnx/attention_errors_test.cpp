// What ONNX Attention refuses, and that it has written nothing then.
#include <gtest/gtest.h>

#include <functional>

#include "softlook/onnx/attention.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/onnx.hpp"

namespace softlook::attention_errors_test {
namespace {

using namespace softlook_test;
using onnx::attention_attributes;
using onnx::attention_inputs;
using onnx::attention_outputs;

/// A call that is right, with everything that can be given, for a test to spoil.
struct right_call {
  owned<float> Q{{2, 4, 3, 8}, 1.0f}, K{{2, 2, 5, 8}, 1.0f}, V{{2, 2, 5, 6}, 1.0f};
  owned<float> mask{{4, 1, 9}};
  owned<float> past_key{{2, 2, 4, 8}, 1.0f}, past_value{{2, 2, 4, 6}, 1.0f};
  owned<std::int64_t> lengths{{2}, 3};
  owned<float> Y{{2, 4, 3, 6}, 7.0f}, present_key{{2, 2, 9, 8}, 7.0f};
  owned<float> present_value{{2, 2, 9, 6}, 7.0f}, qk{{2, 4, 3, 9}, 7.0f};
  attention_inputs<float> in{Q, K, V, onnx::tensor<const float>(mask), past_key, past_value, {}};
  attention_attributes a{.softcap = 2, .qk_matmul_output_mode = 3};
  attention_outputs<float> out{Y, present_key, present_value, qk};
  options o{};

  void run() const { onnx::attention(in, a, out, o); }
  bool untouched() const {
    const auto is = [](const owned<float>& X) {
      return X.copy() == std::vector<float>(X.copy().size(), 7.0f);
    };
    return is(Y) && is(present_key) && is(present_value) && is(qk);
  }
};

template <class Error>
void expect_refused(const std::function<void(right_call&)>& spoil,
                    std::initializer_list<const char*> pieces) {
  right_call call;
  spoil(call);
  expect_error<Error>([&] { call.run(); }, pieces);
  EXPECT_TRUE(call.untouched());
}

TEST(OnnxAttentionErrors, TheCallThatTheTestsSpoilIsRight) {
  const right_call call;
  call.run();
  EXPECT_FALSE(call.untouched());
}

TEST(OnnxAttentionErrors, ShapesThatDoNotFitAreToldWithBothValues) {
  const auto refused = [](const std::function<void(right_call&)>& spoil,
                          std::initializer_list<const char*> pieces) {
    expect_refused<shape_error>(spoil, pieces);
  };
  refused([](right_call& c) { c.in.Q.shape = {4, 3, 2, 8, 1}; }, {"the rank of Q is 5"});
  refused([](right_call& c) { c.in.K.shape = {2, 5, 16}; }, {"the rank of K is 3", "4"});
  refused([](right_call& c) { c.in.K.shape = {1, 2, 5, 8}; },
          {"K.shape[0] is 1", "Q.shape[0] is 2"});
  refused([](right_call& c) { c.in.V.shape = {2, 1, 5, 6}; }, {"heads of V is 1", "is 2"});
  refused([](right_call& c) { c.in.K.shape = {2, 3, 5, 8}, c.in.V.shape = {2, 3, 5, 6}; },
          {"heads.query is 4", "heads.kv is 3"});
  refused([](right_call& c) { c.in.V.shape = {2, 2, 4, 6}; }, {"V.shape[2] is 4", "is 5"});
  refused([](right_call& c) { c.in.K.shape = {2, 2, 5, 7}; }, {"head of K is 7", "Q is 8"});
  refused([](right_call& c) { c.a.q_num_heads = 2; }, {"Q.shape[1] is 4", "q_num_heads is 2"});
  refused([](right_call& c) { c.in.past_key.shape = {2, 2, 4, 7}; },
          {"past_key.shape[3] is 7", "is 8"});
  refused([](right_call& c) { c.in.past_value.shape = {2, 2, 3, 6}; },
          {"past_value.shape[2] is 3", "is 4"});
  refused(
      [](right_call& c) {
        c.in.attn_mask = onnx::tensor<const float>{c.mask.numbers.get(), {3, 3, 9}};
      },
      {"attn_mask.shape[0] is 3", "q_num_heads is 4"});
  refused(
      [](right_call& c) { c.in.attn_mask = onnx::tensor<const float>{c.mask.numbers.get(), {10}}; },
      {"attn_mask.shape[0] is 10", "the keys is 9"});
  refused([](right_call& c) { c.out.Y.shape = {2, 3, 24}; }, {"the rank of Y is 3", "is 4"});
  refused([](right_call& c) { c.out.Y.shape = {2, 4, 3, 5}; }, {"Y.shape[3] is 5", "is 6"});
  refused([](right_call& c) { c.out.present_key.shape = {2, 2, 5, 8}; },
          {"present_key.shape[2] is 5", "is 9"});
  refused([](right_call& c) { c.out.present_value.shape = {2, 2, 9, 8}; },
          {"present_value.shape[3] is 8", "is 6"});
  refused([](right_call& c) { c.out.qk_matmul_output.shape = {2, 4, 3, 5}; },
          {"qk_matmul_output.shape[3] is 5", "is 9"});
}

TEST(OnnxAttentionErrors, HeadsSideBySideAreCounted) {
  expect_refused<argument_error>(
      [](right_call& c) { c.in.Q.shape = c.in.K.shape = c.in.V.shape = {2, 3, 8}; },
      {"q_num_heads is 0", "at least 1"});
  expect_refused<shape_error>(
      [](right_call& c) {
        c.in.Q.shape = c.in.K.shape = c.in.V.shape = {2, 3, 8};
        c.a.q_num_heads = 3;
      },
      {"Q.shape[2] is 8", "q_num_heads is 3"});
}

TEST(OnnxAttentionErrors, ArgumentsOutOfRangeAreRefused) {
  const auto refused = [](const std::function<void(right_call&)>& spoil,
                          std::initializer_list<const char*> pieces) {
    expect_refused<argument_error>(spoil, pieces);
  };
  refused([](right_call& c) { c.in.Q = {}; }, {"Q is left out"});
  refused([](right_call& c) { c.out.Y = {}; }, {"Y is left out"});
  refused([](right_call& c) { c.in.V.data = nullptr; }, {"V has no data", "120"});
  refused([](right_call& c) { c.in.past_value = {}; }, {"past_value", "left out"});
  refused([](right_call& c) { c.in.K.shape = {2, -2, 5, 8}; }, {"K.shape[1] is -2"});
  refused(
      [](right_call& c) { c.in.attn_mask = onnx::tensor<const float>{c.mask.numbers.get(), {}}; },
      {"rank of attn_mask is 0"});
  refused([](right_call& c) { c.a.qk_matmul_output_mode = 4; }, {"qk_matmul_output_mode is 4"});
  refused([](right_call& c) { c.a.left_window_size = -2; }, {"left_window_size is -2"});
  refused([](right_call& c) { c.a.right_window_size = -3; }, {"right_window_size is -3"});
  refused([](right_call& c) { c.a.softcap = -1; }, {"softcap", "-1"});
  refused([](right_call& c) { c.a.scale = 1e39; }, {"scale is 1", "finite"});
  refused([](right_call& c) { c.a.softmax_precision = 2; }, {"softmax_precision is 2"});
  refused([](right_call& c) { c.o.scale = 1; }, {"options.scale is 1", "attribute"});
  refused([](right_call& c) { c.o.tile = tile_shape{.keys = 0, .query_tiles = 1}; },
          {"options.tile.keys is 0"});
  refused([](right_call& c) { c.in.nonpad_kv_seqlen = c.lengths; }, {"nonpad_kv_seqlen", "past"});
}

TEST(OnnxAttentionErrors, LengthsLieWithinTheKeys) {
  for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{6}}) {
    right_call call;
    call.lengths[1] = wrong;
    attention_inputs<float> in{.Q = call.Q, .K = call.K, .V = call.V};
    in.nonpad_kv_seqlen = call.lengths;
    expect_error<argument_error>(
        [&] { onnx::attention(in, {}, attention_outputs<float>{.Y = call.Y}); },
        {"nonpad_kv_seqlen[1] is", "5"});
    EXPECT_TRUE(call.untouched());
  }
}

TEST(OnnxAttentionErrors, AnOutputOverlapsNothing) {
  const auto refused = [](const std::function<void(right_call&)>& spoil,
                          std::initializer_list<const char*> pieces) {
    expect_refused<argument_error>(spoil, pieces);
  };
  refused([](right_call& c) { c.out.Y.data = c.Q.numbers.get(); }, {"Y overlaps Q"});
  refused([](right_call& c) { c.out.present_key.data = c.past_key.numbers.get(); },
          {"present_key overlaps past_key"});
  refused([](right_call& c) { c.out.present_value.data = c.present_key.numbers.get(); },
          {"present_key overlaps present_value"});
  refused(
      [](right_call& c) { c.in.attn_mask = onnx::tensor<const float>{c.qk.numbers.get(), {9}}; },
      {"qk_matmul_output overlaps attn_mask"});
}

TEST(OnnxAttentionErrors, TheNaiveKernelDoesNotReadHalves) {
  const owned<Eigen::half> X({1, 1, 2, 4}, Eigen::half(1.0f));
  owned<Eigen::half> Y({1, 1, 2, 4}, Eigen::half(7.0f));
  expect_error<argument_error>(
      [&] {
        onnx::attention(attention_inputs<Eigen::half>{.Q = X, .K = X, .V = X}, {},
                        attention_outputs<Eigen::half>{.Y = Y}, options{.kernel = kernel::naive});
      },
      {"naive", "16 bits"});
  EXPECT_EQ(float(Y[0]), 7.0f);
}

}  // namespace
}  // namespace softlook::attention_errors_test
