#pragma once

// Recurrent encoder-decoders with attention, their parts, beam search.

#include "softlook/seq2seq/bahdanau_attention.hpp"
#include "softlook/seq2seq/beam_search.hpp"
#include "softlook/seq2seq/decoder_step.hpp"
#include "softlook/seq2seq/location_aware_attention.hpp"
#include "softlook/seq2seq/luong_attention.hpp"
#include "softlook/seq2seq/models.hpp"
#include "softlook/seq2seq/recurrent_cells.hpp"
