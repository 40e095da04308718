#pragma once

// Transformer layers, encoder, decoder.

#include "softlook/transformer/causal.hpp"
#include "softlook/transformer/decoder.hpp"
#include "softlook/transformer/decoder_layer.hpp"
#include "softlook/transformer/encoder.hpp"
#include "softlook/transformer/policies.hpp"
#include "softlook/transformer/transformer.hpp"
