#include "softlook/onnx/tensor_scatter.hpp"

#include <gtest/gtest.h>

#include "tests/support/errors.hpp"
#include "tests/support/onnx.hpp"

namespace softlook::tensor_scatter_test {
namespace {

using namespace softlook_test;
using onnx::scatter_mode;
using onnx::tensor_scatter_inputs;
using onnx::tensor_scatter_outputs;

/// present[s, a, (first_s + r) mod rows, c] = update[s, a, r, c]
TEST(OnnxTensorScatter, WritesTheRowsOfEachSequence) {
  generator random(51);
  for (int k = 0; k < 200; ++k) {
    const index batch = random.integer(0, 3), outer = random.integer(0, 2),
                inner = random.integer(0, 3);
    const index rows = random.integer(1, 6), fresh = random.integer(0, rows);
    const bool circular = random.chance(0.5);
    const auto past = random_tensor<float>({batch, outer, rows, inner}, random);
    const auto update = random_tensor<float>({batch, outer, fresh, inner}, random);
    owned<std::int64_t> first({batch});
    for (index b = 0; b < batch; ++b)
      first[b] = random.integer(0, circular ? rows - 1 : rows - fresh);
    std::vector<float> truth = past.copy();
    for (index b = 0; b < batch; ++b)
      for (index o = 0; o < outer; ++o)
        for (index r = 0; r < fresh; ++r)
          for (index c = 0; c < inner; ++c)
            truth[std::size_t(((b * outer + o) * rows + (first[b] + r) % rows) * inner + c)] =
                update[((b * outer + o) * fresh + r) * inner + c];
    owned<float> present({batch, outer, rows, inner}, 7.0f);
    const onnx::tensor_scatter_attributes a{.mode = circular ? scatter_mode::circular
                                                             : scatter_mode::linear};
    const tensor_scatter_inputs<float> in{past, update, first};
    onnx::tensor_scatter(in, a, tensor_scatter_outputs<float>{present});
    EXPECT_EQ(present.copy(), truth);
    onnx::tensor_scatter(in, a, tensor_scatter_outputs<float>{past});
    EXPECT_EQ(past.copy(), truth);
  }
}

TEST(OnnxTensorScatter, OnAnyAxisAndFromTheFirstRow) {
  owned<int> cache({2, 3, 2}, 1);
  const owned<int> update({2, 1, 2}, 5);
  onnx::tensor_scatter(tensor_scatter_inputs<int>{cache, update, {}}, {.axis = 1},
                       tensor_scatter_outputs<int>{cache});
  EXPECT_EQ(cache.copy(), (std::vector<int>{5, 5, 1, 1, 1, 1, 5, 5, 1, 1, 1, 1}));
  const owned<int> column({2, 3, 1}, 8);
  onnx::tensor_scatter(tensor_scatter_inputs<int>{cache, column, {}}, {.axis = -1},
                       tensor_scatter_outputs<int>{cache});
  EXPECT_EQ(cache.copy(), (std::vector<int>{8, 5, 8, 1, 8, 1, 8, 5, 8, 1, 8, 1}));
}

TEST(OnnxTensorScatterErrors, NothingIsWritten) {
  const owned<float> past({2, 1, 4, 3}, 1.0f), update({2, 1, 2, 3}, 2.0f);
  owned<std::int64_t> first({2}, 1);
  owned<float> present({2, 1, 4, 3}, 7.0f);
  const auto refused = [&](const auto& spoil, std::initializer_list<const char*> pieces,
                           auto kind) {
    tensor_scatter_inputs<float> in{past, update, first};
    onnx::tensor_scatter_attributes a;
    tensor_scatter_outputs<float> out{present};
    spoil(in, a, out);
    expect_error<decltype(kind)>([&] { onnx::tensor_scatter(in, a, out); }, pieces);
    EXPECT_EQ(present.copy(), std::vector<float>(24, 7.0f));
  };
  const shape_error shape("");
  const argument_error argument("");
  refused([](auto&, auto& a, auto&) { a.axis = 0; }, {"axis is 0", "batch"}, argument);
  refused([](auto&, auto& a, auto&) { a.axis = 4; }, {"axis is 4"}, argument);
  refused([](auto& in, auto&, auto&) { in.update.shape = {2, 2, 3}; },
          {"the rank of update is 3", "4"}, shape);
  refused([](auto& in, auto&, auto&) { in.update.shape = {2, 1, 3, 2}; },
          {"update.shape[3] is 2", "3"}, shape);
  refused([](auto& in, auto&, auto&) { in.past_cache.shape = {2, 1, 1, 3}; },
          {"update.shape[2] is 2", "1"}, shape);
  refused([](auto&, auto&, auto& out) { out.present_cache.shape = {2, 1, 3, 4}; },
          {"present_cache.shape[2] is 3", "4"}, shape);
  refused([](auto& in, auto&, auto& out) { in.past_cache.data = out.present_cache.data + 1; },
          {"present_cache overlaps past_cache"}, argument);
  refused([](auto& in, auto&, auto& out) { in.update.data = out.present_cache.data; },
          {"present_cache overlaps update"}, argument);
  first[1] = 3;
  refused([](auto&, auto&, auto&) {}, {"write_indices[1] is 3", "2"}, argument);
  first[1] = 4;
  refused([](auto&, auto& a, auto&) { a.mode = scatter_mode::circular; },
          {"write_indices[1] is 4", "3"}, argument);
  first[1] = -1;
  refused([](auto&, auto&, auto&) {}, {"write_indices[1] is -1"}, argument);
}

}  // namespace
}  // namespace softlook::tensor_scatter_test
