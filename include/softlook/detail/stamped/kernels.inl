// The room of one instruction set, in the order of use.

// clang-format off
#include "softlook/detail/stamped/vector.inl"
#include "softlook/detail/stamped/math.inl"
#include "softlook/detail/stamped/pack.inl"
#include "softlook/detail/stamped/rows.inl"
#include "softlook/detail/stamped/micro_kernel.inl"
#include "softlook/detail/stamped/scores.inl"
#include "softlook/detail/stamped/softmax_state.inl"
#include "softlook/detail/stamped/online_softmax.inl"
#include "softlook/detail/stamped/edit.inl"
#include "softlook/detail/stamped/tiles.inl"
#include "softlook/detail/stamped/tile_walk.inl"
#include "softlook/detail/stamped/tiled_forward.inl"
#include "softlook/detail/stamped/few_scores.inl"
#include "softlook/detail/stamped/few_queries.inl"
#include "softlook/detail/stamped/packed_product.inl"
#include "softlook/detail/stamped/activation.inl"
#include "softlook/detail/stamped/layer_norm.inl"
#include "softlook/detail/stamped/recurrent.inl"
#include "softlook/detail/stamped/recurrent_panels.inl"
#include "softlook/detail/stamped/recurrent_chunk.inl"
// clang-format on

template <class T>
inline constexpr register_shape registers{lanes<T>, tile_vectors, tile_rows};

template <class T, bool Additive>
inline constexpr kernel_table<T, Additive> kernels{
    registers<T>, &tiled_forward<T, Additive>, &few_queries<T, Additive>,
    &merge_chunks<T, Additive>, &prepare_score_vector<T>};

template <class T>
inline constexpr product_kernels<T> products{registers<T>, &pack_weights<T>, &linear<T>};

template <class T>
inline constexpr layer_kernels<T> layers{&activate<T, activation::relu>,
                                         &activate<T, activation::gelu>,
                                         &activate<T, activation::gelu_tanh>, &layer_norm_rows<T>};

template <class T>
inline constexpr recurrent_kernels<T> recurrents{&recurrent_tokens<T>, &exchange_state<T, true>,
                                                 &recurrent_chunks<T>, &exchange_state<T, false>,
                                                 &random_features<T>};
