#pragma once

// Everything. Programs that care about compile time include the headers they use.

#include "softlook/additive.hpp"
#include "softlook/attention.hpp"
#include "softlook/beam_search.hpp"
#include "softlook/decomposable.hpp"
#include "softlook/exec/sequential.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "softlook/hard.hpp"
#include "softlook/inspect.hpp"
#include "softlook/layer_norm.hpp"
#include "softlook/linear.hpp"
#include "softlook/multi_head.hpp"
#include "softlook/multiplicative.hpp"
#include "softlook/positional.hpp"
#include "softlook/projection.hpp"
#include "softlook/random_features.hpp"
#include "softlook/recurrent_cell.hpp"
#include "softlook/seq2seq.hpp"
#include "softlook/state.hpp"
#include "softlook/transformer.hpp"
#include "softlook/vision.hpp"
