#pragma once

// Gradients: the way back of attention and of layers.
//
//   gradient/linear.hpp        linear maps; the shape that all of them have
//   gradient/attention.hpp     attention
//   gradient/norm.hpp          layer norm and RMS norm
//   gradient/feed_forward.hpp  feed-forward, with a gate too
//   gradient/multi_head.hpp    multi-head attention
//   gradient/transformer.hpp   encoder, decoder, causal transformer: layers and stacks
//   gradient/embedding.hpp     embeddings of tokens and of patches

#include "softlook/gradient/attention.hpp"
#include "softlook/gradient/embedding.hpp"
#include "softlook/gradient/feed_forward.hpp"
#include "softlook/gradient/linear.hpp"
#include "softlook/gradient/multi_head.hpp"
#include "softlook/gradient/norm.hpp"
#include "softlook/gradient/transformer.hpp"
