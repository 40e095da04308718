#include "softlook/onnx/rotary_embedding.hpp"

#include <gtest/gtest.h>

#include "tests/support/bounds.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/onnx.hpp"

namespace softlook::rotary_embedding_test {
namespace {

using namespace softlook_test;
using onnx::rotary_embedding_attributes;
using onnx::rotary_embedding_inputs;
using onnx::rotary_embedding_outputs;

constexpr index batch = 2, heads = 3, n = 4, f = 8, positions = 9;

template <class T>
class OnnxRotaryEmbedding : public ::testing::Test {
 protected:
  generator random = seed(41);
  owned<T> X = random_tensor<T>({batch, heads, n, f}, random);

  owned<T> caches(const onnx::extents& shape) { return random_tensor<T>(shape, random); }
  /// `row` gives the row of the caches of a token.
  template <class Row>
  std::vector<long double> truth(const owned<T>& cos, const owned<T>& sin, bool interleaved,
                                 const Row& row) const {
    const index pairs = cos.shape[cos.shape.rank() - 1];
    std::vector<long double> Y;
    for (const T x : X.copy()) Y.push_back(static_cast<double>(x));
    for (index b = 0; b < batch; ++b)
      for (index h = 0; h < heads; ++h)
        for (index i = 0; i < n; ++i)
          for (index k = 0; k < pairs; ++k) {
            long double* const head = &Y[std::size_t(((b * heads + h) * n + i) * f)];
            long double& x = head[interleaved ? 2 * k : k];
            long double& y = head[interleaved ? 2 * k + 1 : k + pairs];
            const long double c = static_cast<double>(cos[row(b, i) * pairs + k]);
            const long double s = static_cast<double>(sin[row(b, i) * pairs + k]);
            const long double turned = x * c - y * s;
            y = y * c + x * s;
            x = turned;
          }
    return Y;
  }
  static double bound() {
    constexpr double largest = 32;  // of two products here
    return dot_product_bound<detail::arithmetic<T>>(2, largest) + rounding_to<T>() * largest;
  }
};
using element_types = ::testing::Types<float, double, Eigen::half, Eigen::bfloat16>;
TYPED_TEST_SUITE(OnnxRotaryEmbedding, element_types);

TYPED_TEST(OnnxRotaryEmbedding, TurnsPairsByTheRowsOfTheCaches) {
  using T = TypeParam;
  for (const bool interleaved : {false, true})
    for (const index width : {f, index{4}, index{2}}) {
      const auto cos = this->caches({batch, n, width / 2}),
                 sin = this->caches({batch, n, width / 2});
      const auto truth =
          this->truth(cos, sin, interleaved, [](index b, index i) { return b * n + i; });
      owned<T> Y({batch, heads, n, f});
      const rotary_embedding_attributes a{.interleaved = interleaved,
                                          .rotary_embedding_dim = width == f ? 0 : width};
      onnx::rotary_embedding(rotary_embedding_inputs<T>{this->X, cos, sin, {}}, a,
                             rotary_embedding_outputs<T>{Y});
      EXPECT_LE(largest_difference(Y, truth), this->bound());
    }
}

TYPED_TEST(OnnxRotaryEmbedding, LooksPositionsUp) {
  using T = TypeParam;
  const auto cos = this->caches({positions, f / 2}), sin = this->caches({positions, f / 2});
  owned<std::int64_t> ids({batch, n});
  for (index k = 0; k < ids.size(); ++k) ids[k] = this->random.integer(0, positions - 1);
  owned<T> Y({batch, heads, n, f});
  onnx::rotary_embedding(rotary_embedding_inputs<T>{this->X, cos, sin, ids}, {},
                         rotary_embedding_outputs<T>{Y});
  EXPECT_LE(largest_difference(
                Y, this->truth(cos, sin, false, [&](index b, index i) { return ids[b * n + i]; })),
            this->bound());
  const onnx::tensor<const std::int64_t> shared{ids.numbers.get(), {1, n}};
  onnx::rotary_embedding(rotary_embedding_inputs<T>{this->X, cos, sin, shared}, {},
                         rotary_embedding_outputs<T>{Y});
  EXPECT_LE(
      largest_difference(Y, this->truth(cos, sin, false, [&](index, index i) { return ids[i]; })),
      this->bound());
}

TYPED_TEST(OnnxRotaryEmbedding, HeadsSideBySideAndItsOwnMemoryGiveTheSameBits) {
  using T = TypeParam;
  const auto cos = this->caches({batch, n, 3}), sin = this->caches({batch, n, 3});
  const rotary_embedding_attributes a{.num_heads = heads, .rotary_embedding_dim = 6};
  owned<T> Y({batch, heads, n, f});
  onnx::rotary_embedding(rotary_embedding_inputs<T>{this->X, cos, sin, {}}, a,
                         rotary_embedding_outputs<T>{Y});
  const owned<T> packed = side_by_side(this->X);
  onnx::rotary_embedding(rotary_embedding_inputs<T>{packed, cos, sin, {}}, a,
                         rotary_embedding_outputs<T>{packed});
  EXPECT_EQ(packed.copy(), side_by_side(Y).copy());
}

TEST(OnnxRotaryEmbeddingErrors, NothingIsWritten) {
  const owned<float> X({1, 2, 3, 8}, 1.0f), cos({5, 4}), sin({5, 4});
  owned<std::int64_t> ids({1, 3}, 4);
  owned<float> Y({1, 2, 3, 8}, 7.0f);
  const auto refused = [&](const auto& spoil, std::initializer_list<const char*> pieces,
                           auto kind) {
    rotary_embedding_inputs<float> in{X, cos, sin, ids};
    rotary_embedding_attributes a;
    rotary_embedding_outputs<float> out{Y};
    spoil(in, a, out);
    expect_error<decltype(kind)>([&] { onnx::rotary_embedding(in, a, out); }, pieces);
    EXPECT_EQ(Y.copy(), std::vector<float>(48, 7.0f));
  };
  const shape_error shape("");
  const argument_error argument("");
  refused([](auto& in, auto&, auto&) { in.X.shape = {1, 3, 16}; }, {"num_heads is 0"}, argument);
  refused([](auto& in, auto& a, auto&) { in.X.shape = {1, 3, 16}, a.num_heads = 3; },
          {"X.shape[2] is 16", "num_heads is 3"}, shape);
  refused([](auto&, auto& a, auto&) { a.num_heads = 3; }, {"X.shape[1] is 2", "num_heads is 3"},
          shape);
  refused([](auto&, auto& a, auto&) { a.rotary_embedding_dim = 3; }, {"rotary_embedding_dim is 3"},
          argument);
  refused([](auto&, auto& a, auto&) { a.rotary_embedding_dim = 10; },
          {"rotary_embedding_dim is 10", "8"}, argument);
  refused([](auto&, auto& a, auto&) { a.rotary_embedding_dim = 4; },
          {"cos_cache.shape[1] is 4", "2"}, shape);
  refused([](auto& in, auto&, auto&) { in.position_ids = {}; }, {"the rank of cos_cache is 2"},
          shape);
  refused([](auto& in, auto&, auto&) { in.sin_cache.shape = {4, 4}; },
          {"sin_cache.shape[0] is 4", "5"}, shape);
  refused([](auto&, auto&, auto& out) { out.Y.shape = {1, 3, 2, 8}; }, {"Y.shape[1] is 3", "2"},
          shape);
  refused([](auto& in, auto&, auto& out) { in.cos_cache.data = out.Y.data + 1; },
          {"Y overlaps cos_cache"}, argument);
  refused([](auto& in, auto&, auto& out) { in.X.data = out.Y.data + 1; }, {"Y overlaps X"},
          argument);
  ids[1] = 5;
  refused([](auto&, auto&, auto&) {}, {"position_ids[1] is 5", "5"}, argument);
  ids[1] = -1;
  refused([](auto&, auto&, auto&) {}, {"position_ids[1] is -1"}, argument);
}

}  // namespace
}  // namespace softlook::rotary_embedding_test
