// Lists of the kernels, whose tables units that use softlook::compiled only declare.
#pragma once

#define SOFTLOOK_COMPILING_KERNELS
#include "softlook/engine/kernels/dispatch_backward.hpp"

#include "same_flags.hpp"

/// Attention.
#define SOFTLOOK_COMPILE_ATTENTION(T, additive)                                          \
  template tiled_kernel<T, additive> tiled_kernel_of<T, additive>(instruction_set);      \
  template const few_kernels<T, additive>& few_kernels_of<T, additive>(instruction_set); \
  template const weight_kernels<T, additive>& weights_of<T, additive>(instruction_set);  \
  template scores_kernel<T, additive> tiled_scores_of<T, additive>(instruction_set);

/// What additive scores need besides.
#define SOFTLOOK_COMPILE_ADDITIVE(T)                                               \
  SOFTLOOK_COMPILE_ATTENTION(T, true)                                              \
  template score_vector_kernel<T> score_vector_preparation_of<T>(instruction_set); \
  template key_packing_kernel<T> key_packing_of<T>(instruction_set);

/// Rows as they are stored, whole scores, dropout.
#define SOFTLOOK_COMPILE_ROWS(T)                                       \
  SOFTLOOK_COMPILE_STORED(T, T)                                        \
  template whole_scores_kernel<T> whole_scores_of<T>(instruction_set); \
  template softmax_kernel<T> softmax_of_rows<T>(instruction_set);      \
  template void set_edits<T>(weight_calls<T>&, instruction_set);

#define SOFTLOOK_COMPILE_STORED(T, Stored)                                            \
  template const row_functions<T>& stored_rows_of<T, Stored, false>(instruction_set); \
  template const row_functions<T>& stored_rows_of<T, Stored, true>(instruction_set);

/// What layers and linear attention need.
#define SOFTLOOK_COMPILE_LAYERS(T)                                    \
  template const register_shape& registers_of<T>(instruction_set);    \
  template const product_kernels<T>& products_of<T>(instruction_set); \
  template const layer_kernels<T>& layers_of<T>(instruction_set);

#define SOFTLOOK_COMPILE_LINEAR(T) \
  template const recurrent_kernels<T>& recurrents_of<T>(instruction_set);

/// The way back.
#define SOFTLOOK_COMPILE_BACKWARD(T)                                                \
  template backward_kernel<T, false> backward_kernel_of<T, false>(instruction_set); \
  template backward_kernel<T, true> backward_kernel_of<T, true>(instruction_set);
