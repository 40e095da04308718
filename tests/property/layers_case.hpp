// Randomised differential test of layers: multi-head attention, encoder and decoder layers, of any
// sizes, heads, norms, activations, gates, biases, storages of weights, masks and transforms, on
// every instruction set and kernel, against the oracle; and the same bits whatever the executor and
// the order of storage.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
#include <sstream>
#include <string>

#include "softlook/transformer.hpp"
#include "tests/oracle/decoder.hpp"
#include "tests/support/cases.hpp"
#include "tests/support/decoders.hpp"
#include "tests/support/erased.hpp"
#include "tests/support/ways.hpp"

namespace softlook_test {

/// The weights that a layer computes with, as numbers of T.
template <class Matrix>
Matrix as_kept(const Matrix& W, softlook::weight_storage kept) {
  if constexpr (std::is_same_v<typename Matrix::Scalar, float>) {
    Matrix R = W;
    for (Eigen::Index c = 0; c < W.cols(); ++c) {
      const float step = W.rows() > 0 ? W.col(c).cwiseAbs().maxCoeff() / 127 : 0.0F;
      for (Eigen::Index k = 0; k < W.rows(); ++k) {
        if (kept == softlook::weight_storage::bfloat16) R(k, c) = float(Eigen::bfloat16(W(k, c)));
        if (kept == softlook::weight_storage::int8)
          R(k, c) = step > 0 ? std::nearbyint(W(k, c) / step) * step : 0.0F;
      }
    }
    return R;
  }
  return W;
}

/// Weights that are not nearly half-way between two numbers of 8 bits: which of them is nearer then
/// hangs on rounding.
template <class Matrix>
void leave_ties(Matrix& W) {
  using T = typename Matrix::Scalar;
  for (Eigen::Index c = 0; c < W.cols(); ++c) {
    const T step = W.rows() > 0 ? W.col(c).cwiseAbs().maxCoeff() / 127 : T(0);
    for (Eigen::Index k = 0; k < W.rows() && step > 0; ++k) {
      const T steps = std::floor(W(k, c) / step);
      if (std::fabs(W(k, c) / step - steps - T(0.5)) < T(0.01)) W(k, c) = steps * step;
    }
  }
}

template <class T>
class layers_case {
 public:
  explicit layers_case(choices& random, Eigen::Index part = 1) : random_(random) {
    which_ = random_.one_of({kind::multi_head, kind::encoder, kind::decoder});
    rows_ = size(100 / part);
    others_ = size(140 / part);
    heads_.kv = random_.integer(1, 2);
    heads_.query = *heads_.kv * random_.integer(1, 3);
    head_features_ = random_.integer(2, 9);
    hidden_ = random_.integer(1, 60);
    about_ << name() << ", " << rows_ << " rows, " << others_ << " others, heads " << heads_.query
           << "/" << *heads_.kv << " of " << head_features_ << ", hidden " << hidden_;
    options_.heads = heads_;
    options_.activation = random_.one_of(
        {softlook::activation::none, softlook::activation::relu, softlook::activation::gelu,
         softlook::activation::gelu_tanh, softlook::activation::silu});
    options_.norm_first = random_.chance(0.5);
    // The decoder's oracle has no RMS norm.
    if (which_ == kind::encoder && random_.chance(0.3)) options_.norm = softlook::norm_kind::rms;
    if (std::is_same_v<T, float> && which_ != kind::decoder)
      kept_ = random_.one_of({softlook::weight_storage::exact, softlook::weight_storage::bfloat16,
                              softlook::weight_storage::int8});
    about_ << ", " << name_of(options_.activation)
           << (options_.norm_first ? ", pre-norm" : ", post-norm")
           << (options_.norm == softlook::norm_kind::rms ? ", rms" : "") << ", " << name_of(kept_);
    choose_policies();
  }

  std::string description() const { return about_.str(); }

  void check() {
    const any_mask mask{mask_.get()};
    const any_transform transform{transform_.get()};
    if (which_ == kind::multi_head) check_multi_head(transform, mask);
    if (which_ == kind::encoder) check_encoder(transform, mask);
    if (which_ == kind::decoder) check_decoder(transform, mask);
  }

 private:
  enum class kind { multi_head, encoder, decoder };
  using matrix = row_major<T>;

  const char* name() const {
    return which_ == kind::multi_head ? "multi_head"
           : which_ == kind::encoder  ? "encoder layer"
                                      : "decoder layer";
  }
  Eigen::Index size(Eigen::Index most) {
    return random_.chance(0.5) ? random_.integer(1, most) : random_.integer(1, 9);
  }
  Eigen::Index features() const { return heads_.query * head_features_; }

  void choose_policies() {
    namespace masks = softlook::masks;
    const masks::window window{.left = random_.integer(0, 20),
                               .right = random_.integer(0, 9),
                               .offset = random_.integer(-3, 20)};
    const masks::padding padding{.length = random_.integer(0, others_)};
    const auto scattered = masks::where([](std::int32_t i, std::int32_t j, std::int32_t head) {
      return (i * 7 + j * 3 + head) % 5 != 0;
    });
    const Eigen::Index mask = random_.integer(0, 5);
    mask_ = mask == 1   ? hold_mask(masks::causal_top_left{})
            : mask == 2 ? hold_mask(window)
            : mask == 3 ? hold_mask(padding)
            : mask == 4 ? hold_mask(scattered)
            : mask == 5 ? hold_mask(window | padding)
                        : hold_mask(masks::none{});
    const Eigen::Index transform = random_.integer(0, 3);
    namespace transforms = softlook::transforms;
    transform_ =
        transform == 1 ? hold_transform(transforms::soft_cap{2.0})
        : transform == 2
            ? hold_transform(transforms::alibi{0.25})
            : hold_transform(transforms::map([](auto s, std::int32_t, std::int32_t) { return s; }));
    about_ << ", mask " << mask << ", transform " << transform;
  }

  matrix input(Eigen::Index rows) {
    generator numbers = random_.numbers();
    return random_matrix<matrix>(rows, features(), numbers);
  }

  template <class Parameters>
  void leave_out_biases(Parameters& p) {
    using row = row_vector<T>;
    if (random_.chance(0.25)) p.b1 = row();
    if (random_.chance(0.25)) p.b2 = row();
    if (random_.chance(0.25)) p.bias1 = row();
    if (random_.chance(0.25)) p.bias2 = row();
  }
  void keep_attention(softlook::multi_head_parameters<T>& p) {
    if (random_.chance(0.25)) p.bq = p.bk = p.bv = p.bo = row_vector<T>();
  }
  void leave_ties_of(softlook::multi_head_parameters<T>& p) const {
    for (auto* W : {&p.Wq, &p.Wk, &p.Wv, &p.Wo}) leave_ties(*W);
  }
  void round_attention(softlook::multi_head_parameters<T>& p) const {
    p.Wq = as_kept(p.Wq, kept_);
    p.Wk = as_kept(p.Wk, kept_);
    p.Wv = as_kept(p.Wv, kept_);
    p.Wo = as_kept(p.Wo, kept_);
  }

  softlook::multi_head_parameters<T> multi_head_weights(generator& numbers) const {
    return random_multi_head<T>({.features = features(),
                                 .key_features = features(),
                                 .value_features = features(),
                                 .query_heads = heads_.query,
                                 .kv_heads = *heads_.kv,
                                 .head_features = head_features_,
                                 .head_values = head_features_,
                                 .outputs = features()},
                                numbers);
  }

  /// run(matrix order, options, executor) on every set and kernel is near the truth, and the first
  /// of them has the same bits with column-major input and other workers.
  template <class Run>
  void compare(const oracle::matrix& truth, double terms, double magnitude, const Run& run) {
    // A norm divides errors by the deviation of its input, about 1 here.
    const double bound = 4 * (16 + terms) * epsilon_of<T>() * std::max(1.0, magnitude);
    for (const way& which : every_way()) {
      const auto Y = run(std::true_type{}, which.opts, round_robin{1});
      EXPECT_LE(max_error(Y, truth), bound) << which.name;
      count_compared(which.opts.isa.value_or(softlook::detail::best_instruction_set()));
    }
    for (const auto isa : softlook::available_instruction_sets()) {
      softlook::options opts;
      opts.isa = isa;
      EXPECT_TRUE(bitwise_equal(run(std::true_type{}, opts, round_robin{1}),
                                run(std::false_type{}, opts, round_robin{3})))
          << "other bits with three workers and columns on " << softlook::name_of(isa);
    }
  }

  void check_multi_head(const any_transform& transform, const any_mask& mask) {
    const matrix Q = input(rows_), K = input(others_), V = input(others_);
    generator numbers = random_.numbers();
    auto p = multi_head_weights(numbers);
    leave_ties_of(p);
    keep_attention(p);
    if (kept_ != softlook::weight_storage::exact) p.weights = kept_;
    const softlook::multi_head<T> layer(p, heads_);
    round_attention(p);
    const auto truth = oracle::multi_head(oracle::widen(Q), oracle::widen(K), oracle::widen(V), p,
                                          heads_, transform, mask);
    const double steep = 1 + static_cast<double>(truth.largest_score);
    compare(truth.output, 4.0 * double(features()) + double(others_),
            steep * (1 + max_magnitude(truth.output)) * 4,
            [&](auto rows, const softlook::options& o, const auto& exec) -> matrix {
              if constexpr (decltype(rows)::value) return layer(Q, K, V, transform, mask, o, exec);
              return layer(col_major<T>(Q), col_major<T>(K), col_major<T>(V), transform, mask, o,
                           exec);
            });
  }

  void check_encoder(const any_transform& transform, const any_mask& mask) {
    const matrix X = input(rows_);
    generator numbers = random_.numbers();
    auto p = random_encoder_layer<T>(heads_.query, head_features_, hidden_, numbers);
    p.self_attention = multi_head_weights(numbers);
    keep_attention(p.self_attention);
    leave_out_biases(p);
    if (random_.chance(0.4)) {
      p.W3 = random_matrix<col_major<T>>(features(), hidden_, numbers,
                                         1 / std::sqrt(double(features())));
      if (random_.chance(0.5)) p.b3 = random_matrix<row_vector<T>>(1, hidden_, numbers, 0.5);
    }
    leave_ties_of(p.self_attention);
    for (auto* W : {&p.W1, &p.W2, &p.W3}) leave_ties(*W);
    if (kept_ != softlook::weight_storage::exact) p.weights = p.self_attention.weights = kept_;
    const softlook::transformer_encoder_layer<T> layer(p, options_);
    round_attention(p.self_attention);
    p.W1 = as_kept(p.W1, kept_);
    p.W2 = as_kept(p.W2, kept_);
    p.W3 = as_kept(p.W3, kept_);
    const oracle::matrix truth =
        oracle::encoder_layer(oracle::widen(X), p, options_, transform, mask);
    compare(truth, double(4 * features() + hidden_ + rows_), 4 * max_magnitude(truth),
            [&](auto rows, const softlook::options& o, const auto& exec) -> matrix {
              if constexpr (decltype(rows)::value) return layer(X, transform, mask, o, exec);
              return layer(col_major<T>(X), transform, mask, o, exec);
            });
  }

  void check_decoder(const any_transform& transform, const any_mask& mask) {
    const matrix X = input(rows_), M = input(others_);
    generator numbers = random_.numbers();
    auto p = random_decoder_layer<T>(
        {.features = features(), .memory_features = features(), .hidden = hidden_, .heads = heads_},
        numbers);
    leave_out_biases(p);
    const softlook::transformer_decoder_layer<T> layer(p, options_);
    const softlook::masks::causal_top_left causal;
    const auto truth = oracle::decoder_layer(oracle::widen(X), oracle::widen(M), p, options_,
                                             std::tuple{causal}, std::tuple{transform, mask});
    const auto target = softlook::for_target(causal);
    const auto memory = softlook::for_memory(transform, mask);
    compare(truth.output, double(6 * features() + hidden_ + rows_ + others_),
            4 * max_magnitude(truth.output),
            [&](auto rows, const softlook::options& o, const auto& exec) -> matrix {
              if constexpr (decltype(rows)::value) return layer(X, M, target, memory, o, exec);
              return layer(col_major<T>(X), col_major<T>(M), target, memory, o, exec);
            });
  }

  choices& random_;
  std::ostringstream about_;
  kind which_ = kind::multi_head;
  Eigen::Index rows_ = 1, others_ = 1, head_features_ = 2, hidden_ = 1;
  softlook::heads heads_{};
  softlook::transformer_layer_options options_{};
  softlook::weight_storage kept_ = softlook::weight_storage::exact;
  std::shared_ptr<const mask_interface> mask_;
  std::shared_ptr<const transform_interface> transform_;
};

}  // namespace softlook_test
