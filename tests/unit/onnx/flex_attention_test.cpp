#include "softlook/onnx/flex_attention.hpp"

#include <gtest/gtest.h>

#include "softlook/exec/thread_pool.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/onnx.hpp"

namespace softlook::flex_attention_test {
namespace {

using namespace softlook_test;
using onnx::flex_attention_inputs;
using onnx::flex_attention_outputs;

constexpr index batch = 2, heads = 4, kv_heads = 2, n = 7, m = 11, d = 8, e = 5;

/// Different for each sequence and head, and later keys are forbidden to the first.
struct slope_of_head {
  template <class T>
  T operator()(T s, std::int32_t sequence, std::int32_t head, std::int32_t i,
               std::int32_t j) const {
    const T slope = T(sequence + 1) * T(0.1) * T(head);
    return head == 0 && j > i ? -std::numeric_limits<T>::infinity() : s - slope * T(j - i);
  }
};
struct every_other {
  template <class T>
  T operator()(T p, std::int32_t, std::int32_t, std::int32_t i, std::int32_t j) const {
    return (i + j) % 2 == 0 ? p * 2 : T(0);
  }
};

template <class T>
struct flex_call {
  generator random = seed(31);
  owned<T> Q = random_tensor<T>({batch, heads, n, d}, random);
  owned<T> K = random_tensor<T>({batch, kv_heads, m, d}, random);
  owned<T> V = random_tensor<T>({batch, kv_heads, m, e}, random);
  flex_attention_inputs<T> in{Q, K, V};

  template <class ScoreMod, class ProbMod>
  std::vector<long double> truth(const ScoreMod& score_mod, const ProbMod& prob_mod) const {
    std::vector<long double> Y;
    for (int b = 0; b < batch; ++b)
      for (int h = 0; h < heads; ++h)
        for (int i = 0; i < n; ++i) {
          const index kv = b * kv_heads + h / (heads / kv_heads);
          std::vector<long double> row;
          for (int j = 0; j < m; ++j) {
            long double s = 0;
            for (index c = 0; c < d; ++c)
              s += static_cast<long double>(
                       static_cast<double>(Q[((b * heads + h) * n + i) * d + c])) *
                   static_cast<long double>(static_cast<double>(K[(kv * m + j) * d + c]));
            row.push_back(score_mod(s / std::sqrt(static_cast<long double>(d)), b, h, i, j));
          }
          soften(row);
          for (index c = 0; c < e; ++c) {
            long double y = 0;
            for (int j = 0; j < m; ++j)
              y += prob_mod(row[std::size_t(j)], b, h, i, j) *
                   static_cast<long double>(static_cast<double>(V[(kv * m + j) * e + c]));
            Y.push_back(y);
          }
        }
    return Y;
  }
  static double bound() {
    using scalar = detail::arithmetic<T>;
    constexpr double largest = 8;  // scores and values here
    return 2 * attention_bound<scalar>(m, d, largest, largest) + 2 * rounding_to<T>() * largest;
  }
};

struct as_it_is {
  template <class T>
  T operator()(T x, std::int32_t, std::int32_t, std::int32_t, std::int32_t) const {
    return x;
  }
};

template <class T>
class OnnxFlexAttention : public ::testing::Test {};
using element_types = ::testing::Types<float, double, Eigen::half>;
TYPED_TEST_SUITE(OnnxFlexAttention, element_types);

TYPED_TEST(OnnxFlexAttention, IsTheFormulaWithAnyOfTheFunctions) {
  const flex_call<TypeParam> call;
  owned<TypeParam> Y({batch, heads, n, e});
  const flex_attention_outputs<TypeParam> out{Y};
  const exec::thread_pool pool(2);
  onnx::flex_attention(call.in, {}, out);
  EXPECT_LE(largest_difference(Y, call.truth(as_it_is{}, as_it_is{})), call.bound());
  onnx::flex_attention(call.in, {}, out, pool, onnx::score_mod(slope_of_head{}));
  EXPECT_LE(largest_difference(Y, call.truth(slope_of_head{}, as_it_is{})), call.bound());
  onnx::flex_attention(call.in, {}, out, onnx::prob_mod(every_other{}), options{});
  EXPECT_LE(largest_difference(Y, call.truth(as_it_is{}, every_other{})), call.bound());
  onnx::flex_attention(call.in, {}, out, onnx::prob_mod(every_other{}), pool,
                       onnx::score_mod(slope_of_head{}));
  EXPECT_LE(largest_difference(Y, call.truth(slope_of_head{}, every_other{})), call.bound());
}

TEST(OnnxFlexAttentionErrors, NothingIsWritten) {
  const flex_call<float> call;
  owned<float> Y({batch, heads, n, e}, 7.0f);
  const auto refused = [&](const auto& spoil, std::initializer_list<const char*> pieces,
                           auto kind) {
    flex_attention_inputs<float> in = call.in;
    flex_attention_outputs<float> out{Y};
    onnx::flex_attention_attributes a;
    spoil(in, out, a);
    expect_error<decltype(kind)>([&] { onnx::flex_attention(in, a, out); }, pieces);
    EXPECT_EQ(Y.copy(), std::vector<float>(std::size_t(Y.size()), 7.0f));
  };
  const shape_error shape("");
  const argument_error argument("");
  refused([](auto& in, auto&, auto&) { in.K.shape = {batch, kv_heads, m, d + 1}; },
          {"K.shape[3] is 9", "8"}, shape);
  refused([](auto& in, auto&, auto&) { in.Q.shape = {batch, n, heads * d}; }, {"rank of Q is 3"},
          shape);
  refused([](auto&, auto& out, auto&) { out.Y.shape = {batch, heads, n, d}; },
          {"Y.shape[3] is 8", "5"}, shape);
  refused([](auto& in, auto& out, auto&) { in.V.data = out.Y.data; }, {"Y overlaps V"}, argument);
  refused([](auto&, auto&, auto& a) { a.scale = 1e40; }, {"scale"}, argument);
  refused([](auto&, auto&, auto& a) { a.softmax_precision = 7; }, {"softmax_precision is 7"},
          argument);
}

}  // namespace
}  // namespace softlook::flex_attention_test
