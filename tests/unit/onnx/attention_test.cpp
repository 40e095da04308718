#include "softlook/onnx/attention.hpp"

#include <gtest/gtest.h>

#include "softlook/exec/thread_pool.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/onnx.hpp"

namespace softlook::attention_test {
namespace {

using namespace softlook_test;
using onnx::attention_attributes;
using onnx::attention_inputs;
using onnx::attention_outputs;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Rows of the past and those behind them, in long double.
template <class T>
std::vector<long double> joined(const owned<T>& past, const owned<T>& now) {
  const auto& s = now.shape;
  const index held = past.numbers ? past.shape[2] : 0;
  std::vector<long double> all;
  for (index head = 0; head < s[0] * s[1]; ++head) {
    for (index k = 0; k < held * s[3]; ++k)
      all.push_back(static_cast<double>(past[head * held * s[3] + k]));
    for (index k = 0; k < s[2] * s[3]; ++k)
      all.push_back(static_cast<double>(now[head * s[2] * s[3] + k]));
  }
  return all;
}

/// A call of rank 4, with what it is made of.
template <class T, class U = T>
struct random_call {
  using scalar = detail::arithmetic<T>;
  onnx_problem p;
  attention_attributes a;
  owned<T> Q, K, past_key;
  owned<U> V, past_value;
  owned<std::int64_t> lengths;
  owned<bool> allowed;
  owned<scalar> added;
  owned<Eigen::half> added_half;

  explicit random_call(generator& random) {
    p.batch = random.integer(1, 3);
    p.kv_heads = random.integer(1, 2);
    p.heads = p.kv_heads * random.integer(1, 2);
    p.queries = random.one_of<index>({1, 2, 5, 17, 33});
    const index fresh = random.one_of<index>({1, 4, 19, 40, 150});
    p.features = random.one_of<index>({1, 8, 19});
    p.values = random.one_of<index>({1, 8, 21});
    Q = random_tensor<T>({p.batch, p.heads, p.queries, p.features}, random);
    K = random_tensor<T>({p.batch, p.kv_heads, fresh, p.features}, random);
    V = random_tensor<U>({p.batch, p.kv_heads, fresh, p.values}, random);
    const index kind = random.integer(0, 2);
    if (kind == 1) {
      p.past = random.one_of<index>({0, 1, 23});
      past_key = random_tensor<T>({p.batch, p.kv_heads, p.past, p.features}, random);
      past_value = random_tensor<U>({p.batch, p.kv_heads, p.past, p.values}, random);
    }
    p.keys = p.past + fresh;
    if (kind == 2) {
      lengths = owned<std::int64_t>({p.batch});
      for (index b = 0; b < p.batch; ++b) {
        p.lengths.push_back(random.integer(0, p.keys));
        lengths[b] = p.lengths.back();
      }
    }
    for (index k = 0; k < Q.size(); ++k) p.Q.push_back(static_cast<double>(Q[k]));
    p.K = joined(past_key, K);
    p.V = joined(past_value, V);
    a.is_causal = random.chance(0.5);
    if (random.chance(0.3)) a.left_window_size = random.integer(0, 9);
    if (random.chance(0.2)) a.right_window_size = random.integer(0, 9);
    if (random.chance(0.3)) a.softcap = 1.5;
    if (random.chance(0.3)) a.scale = 0.4;
    a.qk_matmul_output_mode = int(random.integer(0, 3));
    if (random.chance(0.7)) make_mask(random);
  }

  /// Of every rank and type, repeated and short.
  void make_mask(generator& random) {
    const index rank = random.integer(1, 4);
    const index full[] = {p.batch, p.heads, p.queries, p.keys};
    index all[4] = {1, 1, 1, random.chance(0.3) ? random.integer(0, p.keys) : p.keys};
    for (index k = 4 - rank; k < 3; ++k) all[k] = random.chance(0.4) ? 1 : full[k];
    const onnx::extents shape(all + 4 - rank, rank);
    const index type = random.integer(0, 2);
    if (type == 0) allowed = owned<bool>(shape);
    if (type == 1) added = owned<scalar>(shape);
    if (type == 2 && std::is_same_v<scalar, float>) added_half = owned<Eigen::half>(shape);
    std::vector<long double> values;
    for (index k = 0; k < shape.numbers(); ++k) {
      const bool left = random.chance(0.7);
      const Eigen::half some(static_cast<float>(random.normal()));
      if (allowed.numbers) allowed[k] = left;
      if (added.numbers) added[k] = left ? scalar(some) : scalar(-infinity);
      if (added_half.numbers) added_half[k] = left ? some : Eigen::half(-infinity);
      values.push_back(!left ? -infinity : allowed.numbers ? 0 : double(some));
    }
    if (!allowed.numbers && !added.numbers && !added_half.numbers) return;
    for (index b = 0; b < p.batch; ++b)
      for (index h = 0; h < p.heads; ++h)
        for (index i = 0; i < p.queries; ++i)
          for (index j = 0; j < p.keys; ++j) {
            const auto of = [](index x, index extent) { return extent == 1 ? 0 : x; };
            const index row = (of(b, all[0]) * all[1] + of(h, all[1])) * all[2] + of(i, all[2]);
            p.mask.push_back(j < all[3] ? values[std::size_t(row * all[3] + j)] : -infinity);
          }
  }

  attention_inputs<T, U> inputs() const {
    attention_inputs<T, U> in{Q, K, V, {}, {}, {}, {}};
    if (past_key.numbers) in.past_key = past_key;
    if (past_key.numbers) in.past_value = past_value;
    if (lengths.numbers) in.nonpad_kv_seqlen = lengths;
    if (allowed.numbers) in.attn_mask = onnx::tensor<const bool>(allowed);
    if (added.numbers) in.attn_mask = onnx::tensor<const scalar>(added);
    if (added_half.numbers) {
      if constexpr (std::is_same_v<scalar, float>)
        in.attn_mask = onnx::tensor<const Eigen::half>(added_half);
    }
    return in;
  }
};

/// Random calls by every kernel against the loops.
template <class T, class U = T>
void expect_as_the_operator_says(std::uint64_t first_seed, int calls) {
  using scalar = detail::arithmetic<T>;
  constexpr double rounding = rounding_to<T>();
  generator random(first_seed);
  for (int k = 0; k < calls; ++k) {
    SCOPED_TRACE("call " + std::to_string(k));
    const random_call<T, U> call(random);
    const onnx_problem& p = call.p;
    const onnx_truth truth = onnx_attention(p, call.a);
    const auto scores = static_cast<double>(truth.largest_score);
    constexpr double largest_value = 6;  // of the normal numbers here
    options o;
    o.isa =
        random.one_of({available_instruction_sets().front(), available_instruction_sets().back()});
    o.kernel = random.one_of<std::optional<kernel>>(
        {std::nullopt, kernel::tiled, kernel::few_queries,
         std::is_same_v<T, scalar> && std::is_same_v<U, scalar> ? kernel::naive : kernel::tiled});
    owned<T> Y({p.batch, p.heads, p.queries, p.values}), qk({p.batch, p.heads, p.queries, p.keys});
    attention_outputs<T, U> out{Y, {}, {}, qk};
    owned<T> present_key;
    owned<U> present_value;
    if (p.lengths.empty() && random.chance(0.5)) {
      out.present_key = present_key = owned<T>({p.batch, p.kv_heads, p.keys, p.features});
      out.present_value = present_value = owned<U>({p.batch, p.kv_heads, p.keys, p.values});
    }
    onnx::attention(call.inputs(), call.a, out, o);
    const double bound =
        attention_bound<scalar>(double(p.keys), double(p.features), scores, largest_value);
    EXPECT_LE(largest_difference(Y, truth.Y), bound + rounding * largest_value);
    const double of_scores = dot_product_bound<scalar>(double(p.features), 1 + scores);
    const double shown = call.a.qk_matmul_output_mode == 3 ? bound : 4 * of_scores;
    const auto& stage = truth.stages[call.a.qk_matmul_output_mode];
    double largest = 1;  // raw scores may be masked, and larger
    for (const long double s : stage)
      if (std::isfinite(s)) largest = std::max(largest, static_cast<double>(std::fabs(s)));
    EXPECT_LE(largest_difference(qk, stage), (shown + rounding) * largest);
    if (present_key.numbers) {
      EXPECT_EQ(largest_difference(present_key, p.K), 0);
      EXPECT_EQ(largest_difference(present_value, p.V), 0);
    }
  }
}

TEST(OnnxAttention, IsWhatItsTextSaysInFloat) { expect_as_the_operator_says<float>(11, 80); }
TEST(OnnxAttention, IsWhatItsTextSaysInDouble) { expect_as_the_operator_says<double>(12, 40); }
TEST(OnnxAttention, IsWhatItsTextSaysInHalf) { expect_as_the_operator_says<Eigen::half>(13, 40); }
TEST(OnnxAttention, TakesValuesOfAnotherTypeThanKeys) {
  expect_as_the_operator_says<Eigen::bfloat16, Eigen::half>(14, 30);
}

TEST(OnnxAttention, RanksThreeAndFourGiveTheSameBits) {
  generator random(21);
  for (int k = 0; k < 20; ++k) {
    random_call<float> call(random);
    const onnx_problem& p = call.p;
    owned<float> Y({p.batch, p.heads, p.queries, p.values});
    onnx::attention(call.inputs(), call.a, attention_outputs<float>{.Y = Y});
    auto in = call.inputs();
    const owned<float> Q = side_by_side(call.Q), K = side_by_side(call.K), V = side_by_side(call.V);
    in.Q = Q;
    in.K = K;
    in.V = V;
    call.a.q_num_heads = p.heads;
    call.a.kv_num_heads = p.kv_heads;
    owned<float> packed({p.batch, p.queries, p.heads * p.values});
    onnx::attention(in, call.a, attention_outputs<float>{.Y = packed});
    EXPECT_EQ(side_by_side(Y).copy(), packed.copy());
  }
}

TEST(OnnxAttention, ThreadsChangeNoBit) {
  generator random(22);
  const exec::thread_pool pool(3);
  for (int k = 0; k < 8; ++k) {
    const random_call<float> call(random);
    const onnx_problem& p = call.p;
    const onnx::extents of_Y{p.batch, p.heads, p.queries, p.values};
    const onnx::extents of_qk{p.batch, p.heads, p.queries, p.keys};
    owned<float> Y(of_Y), qk(of_qk), other_Y(of_Y), other_qk(of_qk);
    const options o{.kernel = kernel::tiled};
    onnx::attention(call.inputs(), call.a, attention_outputs<float>{Y, {}, {}, qk}, o);
    onnx::attention(call.inputs(), call.a, attention_outputs<float>{other_Y, {}, {}, other_qk},
                    pool, o);
    EXPECT_EQ(Y.copy(), other_Y.copy());
    EXPECT_EQ(qk.copy(), other_qk.copy());
  }
}

TEST(OnnxAttention, RowsBeforeALengthThatIsShorterThanTheQueriesAreZero) {
  generator random(23);
  const auto Q = random_tensor<float>({2, 1, 4, 8}, random);
  const auto K = random_tensor<float>({2, 1, 6, 8}, random),
             V = random_tensor<float>({2, 1, 6, 3}, random);
  owned<std::int64_t> lengths({2});
  lengths[0] = 2;  // queries 0 and 1 stand at −2 and −1
  lengths[1] = 0;
  owned<float> Y({2, 1, 4, 3}, 7.0f), weights({2, 1, 4, 6}, 7.0f);
  attention_inputs<float> in{.Q = Q, .K = K, .V = V};
  in.nonpad_kv_seqlen = lengths;
  onnx::attention(in, {.is_causal = true, .qk_matmul_output_mode = 3},
                  attention_outputs<float>{Y, {}, {}, weights});
  for (index i = 0; i < 8; ++i) {
    const bool sees = i == 2 || i == 3;
    for (index c = 0; c < 3; ++c) EXPECT_EQ(Y[3 * i + c] == 0, !sees) << i;
    for (index j = 0; j < 6; ++j)
      EXPECT_EQ(weights[6 * i + j] != 0, (i == 2 && j < 1) || (i == 3 && j < 2)) << i << ' ' << j;
  }
  EXPECT_EQ(Y[6], V[0]);
}

TEST(OnnxAttention, WhatIsForbiddenMayHoldAnything) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              lowest = -std::numeric_limits<float>::infinity();
  generator random(24);
  const auto Q = random_tensor<float>({1, 1, 3, 4}, random);
  const auto K = random_tensor<float>({1, 1, 5, 4}, random),
             V = random_tensor<float>({1, 1, 5, 2}, random);
  owned<float> mask({5});
  owned<bool> allowed({5}, true);
  mask[1] = mask[4] = lowest;
  allowed[1] = allowed[4] = false;
  attention_inputs<float> by_numbers{Q, K, V, onnx::tensor<const float>(mask), {}, {}, {}};
  attention_inputs<float> by_bool{Q, K, V, onnx::tensor<const bool>(allowed), {}, {}, {}};
  const auto output = [](const attention_inputs<float>& in) {
    owned<float> Y({1, 1, 3, 2});
    onnx::attention(in, {}, attention_outputs<float>{.Y = Y});
    return Y.copy();
  };
  const auto clean_by_numbers = output(by_numbers), clean_by_bool = output(by_bool);
  for (index c = 0; c < 4; ++c) K[4 + c] = K[16 + c] = nan;
  for (index c = 0; c < 2; ++c) V[2 + c] = V[8 + c] = nan;
  EXPECT_EQ(output(by_numbers), clean_by_numbers);
  EXPECT_EQ(output(by_bool), clean_by_bool);
}

TEST(OnnxAttention, MasksThatFillWholeTilesAreThoseOfTheAttributes) {
  generator random(26);
  const index n = 230;
  const auto Q = random_tensor<float>({1, 2, n, 8}, random);
  const auto K = random_tensor<float>({1, 1, n, 8}, random);
  const auto V = random_tensor<float>({1, 1, n, 5}, random);
  owned<bool> allowed({n, n});
  owned<float> added({n, n});
  owned<Eigen::half> added_half({n, n});
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < n; ++j) {
      allowed[i * n + j] = j <= i;
      added[i * n + j] = j <= i ? 0.0f : -std::numeric_limits<float>::infinity();
      added_half[i * n + j] = Eigen::half(added[i * n + j]);
    }
  const auto output = [&](const onnx::mask_tensor<float>& mask, bool is_causal) {
    owned<float> Y({1, 2, n, 5});
    onnx::attention(attention_inputs<float>{Q, K, V, mask, {}, {}, {}}, {.is_causal = is_causal},
                    attention_outputs<float>{.Y = Y});
    return Y;
  };
  const owned<float> causal = output({}, true);
  EXPECT_EQ(output(onnx::tensor<const bool>(allowed), false).copy(), causal.copy());
  std::vector<long double> truth;
  for (const float y : causal.copy()) truth.push_back(y);
  constexpr double largest = 6;  // scores and values here
  const double bound = attention_bound<float>(double(n), 8, largest, largest);
  EXPECT_LE(largest_difference(output(onnx::tensor<const float>(added), false), truth), bound);
  EXPECT_LE(largest_difference(output(onnx::tensor<const Eigen::half>(added_half), false), truth),
            bound);
}

TEST(OnnxAttention, StepsOverAPastAreThoseOfTheWhole) {
  generator random(25);
  const index n = 9;
  const auto Q = random_tensor<float>({1, 2, n, 8}, random),
             K = random_tensor<float>({1, 2, n, 8}, random);
  const auto V = random_tensor<float>({1, 2, n, 5}, random);
  const options o{.kernel = kernel::tiled};
  owned<float> whole({1, 2, n, 5});
  onnx::attention(attention_inputs<float>{.Q = Q, .K = K, .V = V}, {.is_causal = true},
                  attention_outputs<float>{.Y = whole}, o);
  const auto row = [&](const owned<float>& X, index i) {
    const index width = X.shape[3];
    owned<float> part({1, 2, 1, width});
    for (index h = 0; h < 2; ++h) std::copy_n(&X[(h * n + i) * width], width, &part[h * width]);
    return part;
  };
  owned<float> key({1, 2, 0, 8}), value({1, 2, 0, 5});
  for (index i = 0; i < n; ++i) {
    const auto q = row(Q, i), k = row(K, i), v = row(V, i);
    owned<float> y({1, 2, 1, 5}), next_key({1, 2, i + 1, 8}), next_value({1, 2, i + 1, 5});
    attention_inputs<float> in{.Q = q, .K = k, .V = v};
    in.past_key = key;
    in.past_value = value;
    onnx::attention(in, {.is_causal = true}, attention_outputs<float>{y, next_key, next_value, {}},
                    o);
    EXPECT_EQ(y.copy(), row(whole, i).copy());
    key = next_key;
    value = next_value;
  }
  EXPECT_EQ(key.copy(), K.copy());
}

TEST(OnnxAttention, EmptyTensorsAreNoSpecialCase) {
  const owned<float> Q({2, 1, 3, 4}, 1.0f), none({2, 1, 0, 4});
  owned<float> Y({2, 1, 3, 4}, 7.0f), qk({2, 1, 3, 0});
  onnx::attention(attention_inputs<float>{.Q = Q, .K = none, .V = none}, {},
                  attention_outputs<float>{Y, {}, {}, qk});
  EXPECT_EQ(Y.copy(), std::vector<float>(24, 0.0f));
  const owned<float> nobody({0, 1, 3, 4});
  owned<float> nothing({0, 1, 3, 4});
  onnx::attention(attention_inputs<float>{.Q = nobody, .K = nobody, .V = nobody}, {},
                  attention_outputs<float>{.Y = nothing});
}

}  // namespace
}  // namespace softlook::attention_test
