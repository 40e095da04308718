#pragma once

// Attention in vision. A feature map is a matrix channels × (height·width).
//
//   vision/gates.hpp      channel_attention (SE, effective SE, CBAM's),
//                         efficient_channel_attention (ECA, CECA), spatial_attention, cbam
//   vision/context.hpp    gather_excite, global_context (GCNet)
//   vision/non_local.hpp  non_local_block, channel_self_attention, dual_attention (DANet)
//   vision/tokens.hpp     patches_of, patch_embedding (ViT), attention_pool,
//                         attention_pooling (CLIP)

#include "softlook/vision/context.hpp"
#include "softlook/vision/feature_map.hpp"
#include "softlook/vision/gates.hpp"
#include "softlook/vision/non_local.hpp"
#include "softlook/vision/tokens.hpp"
