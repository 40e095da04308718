// The room of one instruction set, in the order of use.

// clang-format off
#include "softlook/engine/stamped/edits.inl"
#include "softlook/engine/stamped/simd/vector.inl"
#include "softlook/engine/stamped/simd/steps.inl"
#include "softlook/engine/stamped/simd/math.inl"
#include "softlook/engine/stamped/simd/stored.inl"
#if defined(SOFTLOOK_STAMP_COPIES)
using SOFTLOOK_STAMP_COPIES::pack_panel;
using SOFTLOOK_STAMP_COPIES::pack_panels;
using SOFTLOOK_STAMP_COPIES::unpack_panel;
using SOFTLOOK_STAMP_COPIES::row_of;
#else
#include "softlook/engine/stamped/gemm/pack.inl"
#endif
#include "softlook/engine/stamped/gemm/rows.inl"
#include "softlook/engine/stamped/gemm/finite.inl"
#include "softlook/engine/stamped/gemm/micro_kernel.inl"
#include "softlook/engine/stamped/softmax/additive_scores.inl"
#include "softlook/engine/stamped/softmax/softmax_state.inl"
#include "softlook/engine/stamped/softmax/online_softmax.inl"
#include "softlook/engine/stamped/softmax/dropout.inl"
#include "softlook/engine/stamped/softmax/tiles.inl"
#include "softlook/engine/stamped/softmax/tile_walk.inl"
#include "softlook/engine/stamped/softmax/tiled_forward.inl"
#include "softlook/engine/stamped/softmax/tiled_weights.inl"
#include "softlook/engine/stamped/softmax/tiled_scores.inl"
#include "softlook/engine/stamped/softmax/whole_scores.inl"
#include "softlook/engine/stamped/softmax/few_scores.inl"
#include "softlook/engine/stamped/softmax/few_stored.inl"
#include "softlook/engine/stamped/softmax/few_queries.inl"
#include "softlook/engine/stamped/softmax/single_query.inl"
#include "softlook/engine/stamped/gemm/packed_product.inl"
#include "softlook/engine/stamped/gemm/stored_product.inl"
#include "softlook/engine/stamped/layers/activation.inl"
#include "softlook/engine/stamped/layers/layer_norm.inl"
#include "softlook/engine/stamped/recurrent/recurrent.inl"
#include "softlook/engine/stamped/recurrent/panels.inl"
#include "softlook/engine/stamped/recurrent/chunk.inl"
// clang-format on

template <class T>
inline constexpr register_shape registers{lanes<T>, tile_vectors, tile_rows};

template <class T, bool Additive>
inline constexpr few_kernels<T, Additive> few{&few_queries<T, Additive>, &merge_chunks<T, Additive>,
                                              single_query_or_none<T, Additive>()};

template <class T, bool Additive>
inline constexpr weight_kernels<T, Additive> weights{&tiled_weights<T, Additive>,
                                                     &add_weight_sums<T>, &next_weight_above<T>};

template <class T>
inline constexpr product_kernels<T> products{registers<T>, &pack_weights<T>, &linear<T>};

template <class T>
inline constexpr layer_kernels<T> layers{&activate<T, activation::relu>,
                                         &activate<T, activation::gelu>,
                                         &activate<T, activation::gelu_tanh>,
                                         &activate<T, activation::silu>, &layer_norm_rows<T>};

template <class T>
inline constexpr recurrent_kernels<T> recurrents{&recurrent_tokens<T>, &exchange_state<T, true>,
                                                 &recurrent_chunks<T>, &exchange_state<T, false>,
                                                 &random_features<T>};
