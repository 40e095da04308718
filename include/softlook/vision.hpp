#pragma once

// Attention in vision. A feature map is a matrix channels × (height·width).
//
//   vision_gates.hpp      channel_attention (SE, effective SE, CBAM's), efficient_channel_attention
//                         (ECA, CECA), spatial_attention, cbam
//   vision_context.hpp    gather_excite, global_context (GCNet)
//   vision_non_local.hpp  non_local_block, channel_self_attention, dual_attention (DANet)
//   vision_tokens.hpp     patches_of, patch_embedding (ViT), attention_pool, attention_pooling
//   (CLIP)

#include "softlook/vision_context.hpp"
#include "softlook/vision_gates.hpp"
#include "softlook/vision_non_local.hpp"
#include "softlook/vision_tokens.hpp"
