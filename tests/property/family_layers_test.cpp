// The properties of layers and of what is made of several attentions: multi-head, the
// Transformer's, vision's, and two sentences that attend to each other.
#include <gtest/gtest.h>

#include "softlook/attention/decomposable.hpp"
#include "softlook/layer/multi_head.hpp"
#include "softlook/transformer.hpp"
#include "softlook/vision.hpp"
#include "tests/property/family.hpp"
#include "tests/support/decoders.hpp"
#include "tests/support/layers.hpp"

namespace softlook_test::family {
namespace {

/// Layers project, add residuals and normalise: of the values only rows remain.
struct layer : variant {
  static constexpr bool averages = false;
  static constexpr bool linear_in_values = false;
  static constexpr double steepness = 4;  // of a sum that goes through further products
};
struct layer_on_itself : layer {
  static constexpr bool self_attention = true;
};

const softlook::multi_head<float>& multi_head_layer() {
  static const softlook::multi_head<float> it = [] {
    generator random = seed(5);
    const multi_head_shape shape{.features = features,
                                 .key_features = features,
                                 .value_features = features,
                                 .query_heads = 4,
                                 .kv_heads = 2,
                                 .head_features = 3,
                                 .head_values = 2,
                                 .outputs = features};
    return softlook::multi_head<float>(random_multi_head<float>(shape, random), shape.heads());
  }();
  return it;
}

struct multi_head : layer {
  static constexpr auto name = "multi_head";
  static matrix output(const inputs& in, const how& h) {
    return multi_head_layer()(in.Q, in.K, in.V, h.mask, h.opts);
  }
  static matrix weights(const inputs& in, const how& h) {
    return softlook::mean_of_heads(
        multi_head_layer().with_weights(in.Q, in.K, in.V, h.mask, h.opts).weights);
  }
};
struct multi_head_on_itself : layer_on_itself {
  static constexpr auto name = "multi_head_on_itself";
  static matrix output(const inputs& in, const how& h) {
    return multi_head_layer()(in.Q, h.mask, h.opts);
  }
};

template <bool PreNorm>
struct encoder : layer_on_itself {
  static constexpr double steepness = 16;  // two layers
  static matrix output(const inputs& in, const how& h) {
    static const softlook::transformer_encoder<float> it = [] {
      generator random = seed(6);
      const softlook::transformer_encoder_layer_options options{.heads = {.query = 2},
                                                                .norm_first = PreNorm};
      std::vector<softlook::transformer_encoder_layer<float>> layers;
      for (int k = 0; k < 2; ++k)
        layers.emplace_back(random_encoder_layer<float>(2, features / 2, 20, random), options);
      return softlook::transformer_encoder<float>(std::move(layers));
    }();
    return it(in.Q, h.mask, h.opts);
  }
};
struct encoder_post_norm : encoder<false> {
  static constexpr auto name = "encoder_post_norm";
};
struct encoder_pre_norm : encoder<true> {
  static constexpr auto name = "encoder_pre_norm";
};

const softlook::transformer_decoder_layer<float>& decoder_layer() {
  static const softlook::transformer_decoder_layer<float> it = [] {
    generator random = seed(7);
    const decoder_shape shape{
        .features = features, .memory_features = features, .hidden = 20, .heads = {.query = 2}};
    return softlook::transformer_decoder_layer<float>(random_decoder_layer<float>(shape, random),
                                                      {.heads = shape.heads});
  }();
  return it;
}

/// A target (Q) and its memory (K).
struct decoder : layer {
  static constexpr auto name = "decoder";
  static constexpr bool takes_masks = false;  // every target row sees the whole memory
  static constexpr double steepness = 16;
  static matrix output(const inputs& in, const how& h) {
    return decoder_layer()(in.Q, in.K, h.opts);
  }
};
struct decoder_on_itself : layer_on_itself {
  static constexpr auto name = "decoder_on_itself";
  static constexpr double steepness = 16;
  static matrix output(const inputs& in, const how& h) {
    return decoder_layer()(in.Q, learned(9, features), softlook::for_target(h.mask), h.opts);
  }
};

/// Pixels are tokens: a feature map is the transpose.
struct non_local : layer_on_itself {
  static constexpr auto name = "non_local";
  static const softlook::non_local_block<float>& block() {
    static const softlook::non_local_block<float> it(softlook::non_local_parameters<float>{
        .Wq = learned(8, 5), .Wk = learned(8, 5, 1), .Wv = learned(8, 4), .Wo = learned(4, 8)});
    return it;
  }
  static matrix output(const inputs& in, const how& h) {
    return block()(in.Q.transpose(), h.mask, h.opts).transpose();
  }
  static matrix weights(const inputs& in, const how& h) {
    return block().weights(in.Q.transpose(), h.mask, h.opts);
  }
};
/// Channels are tokens.
struct of_channels : layer_on_itself {
  static constexpr auto name = "of_channels";
  static matrix output(const inputs& in, const how& h) {
    return softlook::channel_self_attention(in.Q, 0.7f, h.mask, h.opts);
  }
};
/// Pixels (V) pooled by queries (Q).
struct pooled : variant {
  static constexpr auto name = "pooled";
  static constexpr bool linear_in_values = false;  // pixels are keys too
  static matrix output(const inputs& in, const how& h) {
    return softlook::attention_pool(in.V.transpose(), in.Q, h.mask, h.opts);
  }
};
/// Pixels (V) pooled by their mean: one row.
struct pooled_by_mean : layer {
  static constexpr auto name = "pooled_by_mean";
  static constexpr bool queries_are_equal = false;
  static constexpr bool takes_masks = false;
  static matrix output(const inputs& in, const how& h) {
    static const softlook::attention_pooling<float> pool = [] {
      generator random = seed(8);
      const multi_head_shape shape{.features = features,
                                   .key_features = features,
                                   .value_features = features,
                                   .query_heads = 2,
                                   .kv_heads = 2,
                                   .head_features = 4,
                                   .head_values = 4,
                                   .outputs = features};
      return softlook::attention_pooling<float>(random_multi_head<float>(shape, random),
                                                shape.heads());
    }();
    return pool(in.V.transpose(), h.opts);
  }
};
/// The tokens of the first sentence, and what each finds in the second.
struct decomposable : variant {
  static constexpr auto name = "decomposable";
  static constexpr bool takes_masks = false;
  static matrix output(const inputs& in, const how& h) {
    return softlook::soft_align(in.Q, in.V, in.Q, in.K, {}, h.opts).beta;
  }
  static matrix weights(const inputs& in, const how& h) {
    return softlook::soft_align_weights(in.Q, in.K, {}, h.opts).beta;
  }
};

using variants = ::testing::Types<multi_head, multi_head_on_itself, encoder_post_norm,
                                  encoder_pre_norm, decoder, decoder_on_itself, non_local,
                                  of_channels, pooled, pooled_by_mean, decomposable>;

}  // namespace
}  // namespace softlook_test::family

#include "tests/property/family.inl"
