// Batches over pointers and strides, and Eigen's tensors: each sequence and head as its own call.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <limits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>

#include "softlook/attention.hpp"
#include "softlook/eigen_tensor.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::tensors_test {
namespace {

using softlook_test::bitwise_equal;
using softlook_test::expect_error;
using matrix = softlook_test::row_major<float>;

std::vector<float> numbers(index count, std::uint64_t seed) {
  softlook_test::generator random(seed);
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& a : x) a = float(random.normal());
  return x;
}

template <class Element>
matrix head_of(const tensor_view<Element>& X, index s, index h, index rows) {
  matrix out(rows, X.features);
  for (index i = 0; i < rows; ++i)
    for (index c = 0; c < X.features; ++c)
      out(i, c) = X.data[s * X.sequence_stride + h * X.head_stride + i * X.row_stride +
                         c * X.feature_stride];
  return out;
}

class Tensors : public ::testing::TestWithParam<bool> {
 protected:
  template <class Element>
  tensor_view<Element> view(Element* data, index sequences, index heads, index rows,
                            index features) const {
    return GetParam() ? sequence_head_row(data, sequences, heads, rows, features)
                      : sequence_row_head(data, sequences, rows, heads, features);
  }
};

TEST_P(Tensors, GiveEachHeadItsOwnBits) {
  const exec::thread_pool pool(3);
  for (const index n : {1, 3, 70})
    for (const index m : {5, 600}) {
      const index B = 3, H = 4, G = 2, d = 16, e = 24;
      const auto q = numbers(B * H * n * d, 1), k = numbers(B * G * m * d, 2),
                 v = numbers(B * G * m * e, 3);
      std::vector<float> o(std::size_t(B * H * n * e), 7.0F), l(std::size_t(B * H * n), 7.0F);
      const auto Q = view(q.data(), B, H, n, d), K = view(k.data(), B, G, m, d),
                 V = view(v.data(), B, G, m, e);
      const auto O = view(o.data(), B, H, n, e), L = view(l.data(), B, H, n, 1);
      const std::vector<std::int32_t> lengths{std::int32_t(m), std::int32_t(m / 2), 0};
      const std::vector<std::int32_t> used{std::int32_t(n), 0, std::int32_t(n)};
      const options tiled{.kernel = kernel::tiled};
      attention_with_log_sum_exp_into(Q, K, V, O, L, masks::causal_bottom_right{},
                                      padded_batch{B, used, lengths}, pool, tiled);
      for (index s = 0; s < B; ++s)
        for (index h = 0; h < H; ++h) {
          const index rows = used[std::size_t(s)], keys = lengths[std::size_t(s)];
          const auto one = attention_with_log_sum_exp(
              head_of(Q, s, h, rows), head_of(K, s, h / 2, keys), head_of(V, s, h / 2, keys),
              masks::causal_bottom_right{}, tiled);
          const matrix is = head_of(O, s, h, n);
          EXPECT_TRUE(bitwise_equal(is.topRows(rows), one.output));
          EXPECT_TRUE((is.bottomRows(n - rows).array() == 0).all());
          EXPECT_TRUE(bitwise_equal(head_of(L, s, h, rows), one.log_sum_exp));
        }
      const Eigen::VectorXd logits = Eigen::VectorXd::LinSpaced(H, -1, 2);
      attention_into(Q, K, V, O, sinks(logits), tiled);
      for (index h = 0; h < H; ++h) {
        const Eigen::VectorXd own = logits.segment(h, 1);
        EXPECT_TRUE(bitwise_equal(head_of(O, 2, h, n),
                                  attention(head_of(Q, 2, h, n), head_of(K, 2, h / 2, m),
                                            head_of(V, 2, h / 2, m), sinks(own), tiled)));
      }
      attention_into(Q, K, V, O);  // as the plan chooses, grouped heads together
      for (index s = 0; s < B; ++s)
        for (index h = 0; h < H; ++h) {
          const matrix one =
              attention(head_of(Q, s, h, n), head_of(K, s, h / 2, m), head_of(V, s, h / 2, m));
          EXPECT_LE((head_of(O, s, h, n) - one).cwiseAbs().maxCoeff(), 2e-6F);
        }
    }
}

TEST_P(Tensors, ReadKeysAndValuesOfSixteenBits) {
  const auto q = numbers(2 * 2 * 30 * 8, 4), kv = numbers(2 * 2 * 50 * 8, 5);
  std::vector<Eigen::half> half(kv.size());
  std::vector<float> held(kv.size()), o(q.size()), wanted(q.size());
  for (std::size_t x = 0; x < kv.size(); ++x) held[x] = float(half[x] = Eigen::half(kv[x]));
  const auto Q = view(q.data(), 2, 2, 30, 8);
  const Eigen::half* const data = half.data();
  const float* const of_floats = held.data();
  attention_into(Q, view(data, 2, 2, 50, 8), view(data, 2, 2, 50, 8), view(o.data(), 2, 2, 30, 8));
  attention_into(Q, view(of_floats, 2, 2, 50, 8), view(of_floats, 2, 2, 50, 8),
                 view(wanted.data(), 2, 2, 30, 8));
  EXPECT_EQ(o, wanted);
}

INSTANTIATE_TEST_SUITE_P(Orders, Tensors, ::testing::Bool());

TEST(Tensors, OfEigenInBothLayouts) {
  const auto q = numbers(2 * 5 * 4 * 16, 6), k = numbers(2 * 9 * 2 * 16, 7);
  using rows = Eigen::Tensor<float, 4, Eigen::RowMajor>;
  using columns = Eigen::Tensor<float, 4, Eigen::ColMajor>;
  const auto order = tensor_order::sequence_row_head_feature;
  rows Q(2, 5, 4, 16), K(2, 9, 2, 16), O(2, 5, 4, 16);
  std::copy(q.begin(), q.end(), Q.data());
  std::copy(k.begin(), k.end(), K.data());
  columns Qc(2, 5, 4, 16), Kc(2, 9, 2, 16), Oc(2, 5, 4, 16);
  for (int a = 0; a < 2; ++a)
    for (int c = 0; c < 16; ++c) {
      for (int i = 0; i < 5; ++i)
        for (int h = 0; h < 4; ++h) Qc(a, i, h, c) = Q(a, i, h, c);
      for (int i = 0; i < 9; ++i)
        for (int h = 0; h < 2; ++h) Kc(a, i, h, c) = K(a, i, h, c);
    }
  const rows &cQ = Q, &cK = K;
  const columns &cQc = Qc, &cKc = Kc;
  attention_into(view_of(cQ, order), view_of(cK, order), view_of(cK, order), view_of(O, order));
  attention_into(view_of(cQc, order), view_of(cKc, order), view_of(cKc, order), view_of(Oc, order));
  for (int a = 0; a < 2; ++a)
    for (int i = 0; i < 5; ++i)
      for (int h = 0; h < 4; ++h)
        for (int c = 0; c < 16; ++c) ASSERT_EQ(O(a, i, h, c), Oc(a, i, h, c));
  Eigen::TensorMap<Eigen::Tensor<const float, 4, Eigen::RowMajor>> map(q.data(), 2, 5, 4, 16);
  rows again(2, 5, 4, 16);
  attention_into(view_of(std::as_const(map), order), view_of(cK, order), view_of(cK, order),
                 view_of(again, order));
  EXPECT_TRUE(std::equal(O.data(), O.data() + O.size(), again.data()));
}

TEST(Tensors, RefuseWhatDoesNotFitAndWriteNothing) {
  const auto q = numbers(2 * 4 * 5 * 8, 8);
  std::vector<float> o(q.size(), 7.0F);
  const float* const in = q.data();
  const auto Q = sequence_head_row(in, 2, 4, 5, 8), K = sequence_head_row(in, 2, 2, 5, 8);
  const auto O = sequence_head_row(o.data(), 2, 4, 5, 8);
  auto X = K;
  const auto with = [&](auto change) {
    X = K;
    change(X);
    return X;
  };
  expect_error<shape_error>(
      [&] { attention_into(Q, with([](auto& x) { x.sequences = 1; }), K, O); }, {"1", "2"});
  expect_error<shape_error>([&] { attention_into(Q, with([](auto& x) { x.heads = 3; }), K, O); },
                            {"4", "3"});
  expect_error<shape_error>([&] { attention_into(Q, with([](auto& x) { x.features = 7; }), K, O); },
                            {"7", "8"});
  expect_error<shape_error>([&] { attention_into(Q, K, with([](auto& x) { x.rows = 4; }), O); },
                            {"4", "5"});
  expect_error<argument_error>(
      [&] { attention_into(Q, with([](auto& x) { x.data = nullptr; }), K, O); },
      {"K.data", "null"});
  expect_error<argument_error>([&] { attention_into(Q, with([](auto& x) { x.rows = -1; }), K, O); },
                               {"K.rows", "-1"});
  const std::vector<std::int32_t> lengths{6, 1};
  expect_error<argument_error>([&] { attention_into(Q, K, K, O, padded_batch{2, {}, lengths}); },
                               {"6", "5"});
  expect_error<shape_error>([&] { attention_into(Q, K, K, O, padded_batch{3}); }, {"3", "2"});
  const tensor_view<const float> of_output = O;
  expect_error<argument_error>([&] { attention_into(of_output, K, K, O); }, {"O", "Q"});
  for (const float x : o) EXPECT_EQ(x, 7.0F);
}

}  // namespace
}  // namespace softlook::tensors_test
