#pragma once

// Gradients: the way back of attention and of layers.
//
//   gradient/linear.hpp             linear maps; the shape that all of them have
//   gradient/attention.hpp          attention
//   gradient/score_weights.hpp      weights of additive, concat and general scores
//   gradient/norm.hpp               layer norm and RMS norm
//   gradient/feed_forward.hpp       feed-forward, with a gate too
//   gradient/multi_head.hpp         multi-head attention
//   gradient/transformer.hpp        encoder, decoder, causal transformer: layers and stacks
//   gradient/embedding.hpp          embeddings of tokens and of patches
//   gradient/recurrent.hpp          recurrent cells: GRU, LSTM, SSRU, one step or sequences
//   gradient/linear_attention.hpp   linear attention, fast weights, gates, the delta rule
//   gradient/entmax.hpp             sparse softmax: sparsemax, 1.5-entmax, α-entmax
//   gradient/decoder_attention.hpp  steps of Bahdanau's and Luong's attention over one memory
//   gradient/maxout.hpp             the largest of each pair of columns
//   gradient/bahdanau.hpp           Bahdanau's encoder-decoder as a whole
//   gradient/decomposable.hpp       soft alignment of two sentences
//   gradient/vision.hpp             gates of channels and pixels, global context, gather-excite
//   gradient/local.hpp              local attention, monotonic and with predicted positions
//   gradient/hard.hpp               hard attention (REINFORCE), entropies of weights
//   gradient/positional.hpp         positional attention: learned logits, factors
//   gradient/transforms.hpp         what transforms hold: biases, slopes, temperatures, T5, Shaw
//   gradient/non_local.hpp          non-local blocks, dual attention, attention pooling of maps
//   gradient/nystrom.hpp            Nyström attention
//   gradient/linformer.hpp          Linformer
//   gradient/location.hpp           location-based attention
//   gradient/monotonic.hpp          monotonic attention in expectation
//   gradient/location_aware.hpp     steps of location-aware attention and of coverage; the coverage loss
//   gradient/scores.hpp             attention with trilinear, qk_norm and cosine scores

#include "softlook/gradient/attention.hpp"
#include "softlook/gradient/bahdanau.hpp"
#include "softlook/gradient/decoder_attention.hpp"
#include "softlook/gradient/decomposable.hpp"
#include "softlook/gradient/embedding.hpp"
#include "softlook/gradient/entmax.hpp"
#include "softlook/gradient/feed_forward.hpp"
#include "softlook/gradient/hard.hpp"
#include "softlook/gradient/linear.hpp"
#include "softlook/gradient/linear_attention.hpp"
#include "softlook/gradient/linformer.hpp"
#include "softlook/gradient/local.hpp"
#include "softlook/gradient/location.hpp"
#include "softlook/gradient/location_aware.hpp"
#include "softlook/gradient/maxout.hpp"
#include "softlook/gradient/monotonic.hpp"
#include "softlook/gradient/multi_head.hpp"
#include "softlook/gradient/non_local.hpp"
#include "softlook/gradient/norm.hpp"
#include "softlook/gradient/nystrom.hpp"
#include "softlook/gradient/positional.hpp"
#include "softlook/gradient/recurrent.hpp"
#include "softlook/gradient/score_weights.hpp"
#include "softlook/gradient/scores.hpp"
#include "softlook/gradient/transformer.hpp"
#include "softlook/gradient/transforms.hpp"
#include "softlook/gradient/vision.hpp"
