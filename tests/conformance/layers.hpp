#pragma once

#include <optional>
#include <softlook/transform/t5_bias.hpp>
#include <softlook/transformer.hpp>
#include <vector>

#include "attend.hpp"

/// Layers over batches: what the adapters of torch and Keras have in common.
namespace conformance {

/// What a layer is told of masks; nothing where an origin gives nothing.
struct layer_masks {
  std::optional<grid> mask{};    // for all heads, or one for each
  bool ones_attend = false;      // torch's layers: 1 = ignore; Keras: 1 = attend
  std::optional<grid> padded{};  // (B, 1, 1, keys), 1 = ignore
  std::optional<grid> bias{};    // for all heads, or one for each
  std::optional<softlook::masks::window> window{};

  bool empty() const { return !mask && !padded && !bias && !window; }
};

/// T5's learned bias: buckets × heads.
struct relative_bias {
  Eigen::MatrixXd table{};
  softlook::t5_buckets buckets{};
};

/// A multi-head layer on queries, keys and values of one head each.
struct multi_head_call {
  softlook::multi_head_parameters<double> parameters{};
  softlook::heads heads{};
  grid Q{}, K{}, V{};
  layer_masks masks{};
  std::optional<double> scale{};            // unset: 1/√d
  std::optional<relative_bias> relative{};  // then no masks but a window
  bool wants_weights = false;
};

struct norm_parameters {
  Eigen::RowVectorXd gain, bias;
};

/// A stack of encoder layers, or a layer alone.
struct encoder_call {
  std::vector<softlook::transformer_encoder_layer_parameters<double>> layers{};
  softlook::transformer_encoder_layer_options options{};
  bool stack = false;
  std::optional<norm_parameters> final_norm{};
  grid X{};
  layer_masks masks{};
};

/// A stack of decoder layers, or a layer alone.
struct decoder_call {
  std::vector<softlook::transformer_decoder_layer_parameters<double>> layers{};
  softlook::transformer_layer_options options{};
  bool stack = false;
  std::optional<norm_parameters> final_norm{};
  grid X{}, memory{};
  layer_masks target_masks{}, memory_masks{};
};

struct layer_answer {
  grid output{};
  grid weights{};
  double output_bound = 0;  // of the float path
  double weight_bound = 0;
};

/// \throws beyond_float  when the mode is float and the bound on its errors says nothing.
layer_answer run(const mode& m, const multi_head_call& call);
layer_answer run(const mode& m, const encoder_call& call);
layer_answer run(const mode& m, const decoder_call& call);

}  // namespace conformance
