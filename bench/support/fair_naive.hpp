#pragma once

#include <cstddef>
#include <memory>

/// Attention as a good user of Eigen writes it, without softlook: scores in a matrix, softmax of
/// each row, product with the values. It is compiled -O3 -march=native, in a shared library of its
/// own with hidden symbols: the program beside it is built without -march, and the linker would
/// otherwise keep one copy of each Eigen function for both.
namespace fair_naive {

#define FAIR_NAIVE_API __attribute__((visibility("default")))

/// Row-major matrices; a stride is the distance between rows.
template <class T>
struct matrix {
  T* data = nullptr;
  std::ptrdiff_t rows = 0;
  std::ptrdiff_t cols = 0;
  std::ptrdiff_t stride = 0;
};

/// The score matrix and whatever else is kept between calls, so that the naive path never pays for
/// fresh pages.
struct buffers;
FAIR_NAIVE_API std::shared_ptr<buffers> make_buffers();

/// O = softmax(Q Kᵀ/√d) V; causal: key j ≤ query i, and as many keys as queries.
FAIR_NAIVE_API void dot(matrix<const float> Q, matrix<const float> K, matrix<const float> V,
                        matrix<float> O, bool causal, buffers& kept);
FAIR_NAIVE_API void dot(matrix<const double> Q, matrix<const double> K, matrix<const double> V,
                        matrix<double> O, bool causal, buffers& kept);

/// What Bahdanau's scores need: v · tanh(q Wq + k Wk). Without Wq, Wk the inputs are projected.
struct additive_parameters {
  matrix<const float> Wq;
  matrix<const float> Wk;
  const float* v = nullptr;
};

FAIR_NAIVE_API void additive(matrix<const float> Q, matrix<const float> K, matrix<const float> V,
                             matrix<float> O, const additive_parameters& parameters, bool causal,
                             buffers& kept);

/// Y = X·W + b, then max(0, ·) where asked for.
FAIR_NAIVE_API void linear(matrix<const float> X, matrix<const float> W, const float* b,
                           matrix<float> Y, bool relu);
FAIR_NAIVE_API void linear(matrix<const double> X, matrix<const double> W, const double* b,
                           matrix<double> Y, bool relu);

/// The instruction set that Eigen was compiled for here.
FAIR_NAIVE_API const char* instruction_sets();

}  // namespace fair_naive
