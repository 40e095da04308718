#pragma once

#include "softlook/core/config.hpp"

// What softlook::compiled holds: lists of explicit instantiations, each used twice. With `extern`
// they close the header that defines the templates, in units that use the library; with nothing in
// place of it they are the library (cmake/compiled/). The kernels do not depend on policies, so a
// short list serves every call; of the policies the common masks are compiled. Where units that use
// the library do not read the definitions at all (kernels, entmax, linear attention, threads,
// pictures), nothing is declared extern; some lists are here only for tests without the library.

/// The tables of kernels of what layers and linear attention need besides attention.
#define SOFTLOOK_INSTANTIATE_TABLES(prefix, T)                                   \
  prefix template const register_shape& registers_of<T>(instruction_set);        \
  prefix template const product_kernels<T>& products_of<T>(instruction_set);     \
  prefix template const row_functions<T>& stored_rows_of<T, T>(instruction_set); \
  prefix template const layer_kernels<T>& layers_of<T>(instruction_set);         \
  prefix template const recurrent_kernels<T>& recurrents_of<T>(instruction_set);

/// Attention from a checked call on; additive scores, like the naive kernel, in lists of their own.
#define SOFTLOOK_INSTANTIATE_FORWARD(prefix, T)                                                   \
  prefix template score_inputs<T> make_inputs<T>(const attention_call<T>&, T*);                   \
  prefix template planned_run plan_run<reach::any, T>(const attention_call<T>&,                   \
                                                      const register_shape&);                     \
  prefix template input_sizes sizes_of_inputs<T>(const attention_call<T>&);                       \
  prefix template void run_small<T>(const attention_call<T>&);                                    \
  prefix template void small_weights<T>(const attention_call<T>&, const mutable_matrix_view<T>&); \
  SOFTLOOK_INSTANTIATE_RUNS(prefix, T, false)

#define SOFTLOOK_INSTANTIATE_ADDITIVE(prefix, T) SOFTLOOK_INSTANTIATE_RUNS(prefix, T, true)

#define SOFTLOOK_INSTANTIATE_RUNS(prefix, T, additive)                                             \
  prefix template void run_forward<additive, reach::any, T>(const attention_call<T>&);             \
  prefix template void run_forward<additive, reach::tiled, T>(const attention_call<T>&);           \
  prefix template void run_forward<additive, reach::few_queries, T>(const attention_call<T>&);     \
  prefix template std::vector<row_major<T>> run_raw_scores<additive, T>(const attention_call<T>&); \
  prefix template std::vector<row_major<T>> run_weights<additive, T>(const attention_call<T>&);

/// Several sequences in one call.
#define SOFTLOOK_INSTANTIATE_SEQUENCES(prefix, T)                                     \
  prefix template void run_sequences<false, reach::any, T>(const attention_call<T>&); \
  prefix template void run_sequences<true, reach::any, T>(const attention_call<T>&);

#define SOFTLOOK_INSTANTIATE_NAIVE(prefix, T)                                               \
  prefix template void run_naive<false, T>(const attention_call<T>&);                       \
  prefix template void run_naive<true, T>(const attention_call<T>&);                        \
  prefix template std::vector<row_major<T>> run_stored<false, T>(const attention_call<T>&); \
  prefix template std::vector<row_major<T>> run_stored<true, T>(const attention_call<T>&);

/// The way back of attention.
#define SOFTLOOK_INSTANTIATE_BACKWARD(prefix, T, additive)                 \
  prefix template void run_backward<additive, T>(const attention_call<T>&, \
                                                 const backward_matrices<T>&);

/// The checks of a call, its masks and transforms.
#define SOFTLOOK_INSTANTIATE_CHECKS(prefix, T)                   \
  prefix template void check_heads<T>(const attention_call<T>&); \
  prefix template void check_call<T>(attention_call<T>&);        \
  prefix template void check_output<T>(const attention_call<T>&);

#define SOFTLOOK_INSTANTIATE_MASK(prefix, T, mask) \
  prefix template mask_calls<T> calls_of_mask<T, mask>(const mask&, instruction_set);

#define SOFTLOOK_INSTANTIATE_MASKS(prefix, T)                      \
  SOFTLOOK_INSTANTIATE_MASK(prefix, T, masks::none)                \
  SOFTLOOK_INSTANTIATE_MASK(prefix, T, masks::causal)              \
  SOFTLOOK_INSTANTIATE_MASK(prefix, T, masks::causal_top_left)     \
  SOFTLOOK_INSTANTIATE_MASK(prefix, T, masks::causal_bottom_right) \
  SOFTLOOK_INSTANTIATE_MASK(prefix, T, masks::window)              \
  SOFTLOOK_INSTANTIATE_MASK(prefix, T, masks::padding)             \
  SOFTLOOK_INSTANTIATE_MASK(prefix, T, masks::dense)

#define SOFTLOOK_INSTANTIATE_TRANSFORM(prefix, T, ...)                                    \
  prefix template transform_calls<T> calls_of_transform<T, transform_chain<__VA_ARGS__>>( \
      const transform_chain<__VA_ARGS__>&, instruction_set);

#define SOFTLOOK_INSTANTIATE_TRANSFORMS(prefix, T)                \
  SOFTLOOK_INSTANTIATE_TRANSFORM(prefix, T, transforms::soft_cap) \
  SOFTLOOK_INSTANTIATE_TRANSFORM(prefix, T, transforms::alibi)    \
  SOFTLOOK_INSTANTIATE_TRANSFORM(prefix, T, transforms::bias<T>)

/// Whole rows of scores: attention with sparse weights, hard attention.
#define SOFTLOOK_INSTANTIATE_SCORE_ROWS(prefix, T) \
  SOFTLOOK_INSTANTIATE_FILL(prefix, T, false)      \
  SOFTLOOK_INSTANTIATE_FILL(prefix, T, true)

#define SOFTLOOK_INSTANTIATE_FILL(prefix, T, additive)                                            \
  prefix template range fill_score_rows<additive, T>(const running_call<T>&, const tiled_layout&, \
                                                     index, range, const mutable_matrix_view<T>&, \
                                                     T*);

/// Attention with sparse weights.
#define SOFTLOOK_INSTANTIATE_ENTMAX(prefix, T)  \
  SOFTLOOK_INSTANTIATE_SPARSE(prefix, T, false) \
  SOFTLOOK_INSTANTIATE_SPARSE(prefix, T, true)

#define SOFTLOOK_INSTANTIATE_SPARSE(prefix, T, additive)                          \
  prefix template void run_entmax<additive, T>(const attention_call<T>&, double); \
  prefix template std::vector<row_major<T>> run_entmax_weights<additive, T>(      \
      const attention_call<T>&, double);

/// Linear attention.
#define SOFTLOOK_INSTANTIATE_LINEAR(prefix, T) \
  prefix template void run_linear<T>(const linear_call<T>&);

/// Names of rows and columns of weights, in inspect::detail.
#define SOFTLOOK_INSTANTIATE_NAMES(prefix)                        \
  prefix template void make_printable<std::string>(std::string&); \
  prefix template void check_names<labels>(const char*, const char*, index, labels&);
