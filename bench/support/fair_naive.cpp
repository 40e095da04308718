#include "support/fair_naive.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

namespace fair_naive {

template <class T>
using row_major = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct buffers {
  row_major<float> S_single;
  row_major<double> S_double;
  row_major<float> projected_queries;
  row_major<float> projected_keys;
};

std::shared_ptr<buffers> make_buffers() { return std::make_shared<buffers>(); }

namespace {

template <class T>
auto as_map(matrix<const T> x) {
  return Eigen::Map<const row_major<T>, 0, Eigen::OuterStride<>>(x.data, x.rows, x.cols,
                                                                 Eigen::OuterStride<>(x.stride));
}
template <class T>
auto as_map(matrix<T> x) {
  return Eigen::Map<row_major<T>, 0, Eigen::OuterStride<>>(x.data, x.rows, x.cols,
                                                           Eigen::OuterStride<>(x.stride));
}

// Row by row, while the row is in a near cache; faster than whole-matrix expressions.
template <class T>
void softmax_rows(row_major<T>& S, bool causal) {
  for (Eigen::Index i = 0; i < S.rows(); ++i) {
    auto row = S.row(i).head(causal ? std::min(i + 1, S.cols()) : S.cols()).array();
    row = (row - row.maxCoeff()).exp();
    row *= T(1) / row.sum();
  }
}

// Half of a causal S is never needed, and neither written nor read here: blocks of queries against
// the keys up to their last. (Eigen's own S.triangularView<Lower>() = Q * K.transpose() takes three
// to six times as long as the whole product; its product with a triangular P below is the fast
// one.)
template <class T, class Queries, class Keys>
void score(const Queries& Q, const Keys& K, row_major<T>& S, bool causal) {
  const T scale = T(1) / std::sqrt(T(Q.cols()));
  S.resize(Q.rows(), K.rows());
  const Eigen::Index most = causal ? 256 : Q.rows();
  for (Eigen::Index first = 0; first < Q.rows(); first += most) {
    const Eigen::Index rows = std::min(most, Q.rows() - first);
    const Eigen::Index live = causal ? first + rows : K.rows();
    S.block(first, 0, rows, live).noalias() =
        scale * Q.middleRows(first, rows) * K.topRows(live).transpose();
  }
}

template <class T, class Values, class Output>
void weigh(const row_major<T>& P, const Values& V, Output O, bool causal) {
  if (causal)
    O.noalias() = P.template triangularView<Eigen::Lower>() * V;
  else
    O.noalias() = P * V;
}

template <class T>
void dot_into(matrix<const T> Q, matrix<const T> K, matrix<const T> V, matrix<T> O, bool causal,
              row_major<T>& S) {
  score(as_map(Q), as_map(K), S, causal);
  softmax_rows(S, causal);
  weigh(S, as_map(V), as_map(O), causal);
}

template <class T>
void linear_into(matrix<const T> X, matrix<const T> W, const T* b, matrix<T> Y, bool relu) {
  auto out = as_map(Y);
  out.noalias() = as_map(X) * as_map(W);
  out.rowwise() += Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>(b, Y.cols);
  if (relu) out = out.cwiseMax(T(0));
}

}  // namespace

void dot(matrix<const float> Q, matrix<const float> K, matrix<const float> V, matrix<float> O,
         bool causal, buffers& kept) {
  dot_into(Q, K, V, O, causal, kept.S_single);
}

void dot(matrix<const double> Q, matrix<const double> K, matrix<const double> V, matrix<double> O,
         bool causal, buffers& kept) {
  dot_into(Q, K, V, O, causal, kept.S_double);
}

void additive(matrix<const float> Q, matrix<const float> K, matrix<const float> V, matrix<float> O,
              const additive_parameters& parameters, bool causal, buffers& kept) {
  if (parameters.Wq.data != nullptr) {
    kept.projected_queries.noalias() = as_map(Q) * as_map(parameters.Wq);
    kept.projected_keys.noalias() = as_map(K) * as_map(parameters.Wk);
  } else {
    kept.projected_queries = as_map(Q);
    kept.projected_keys = as_map(K);
  }
  const Eigen::Map<const Eigen::RowVectorXf> v(parameters.v, kept.projected_keys.cols());
  row_major<float>& S = kept.S_single;
  S.resize(Q.rows, K.rows);
  // A pair at a time, one vectorised reduction without a temporary: as fast as keys in lanes, and
  // faster than m×a hidden features and a product (rowwise() + row would not vectorise at all).
  for (Eigen::Index i = 0; i < S.rows(); ++i)
    for (Eigen::Index j = 0; j < (causal ? std::min(i + 1, S.cols()) : S.cols()); ++j)
      S(i, j) =
          ((kept.projected_keys.row(j) + kept.projected_queries.row(i)).array().tanh() * v.array())
              .sum();
  softmax_rows(S, causal);
  weigh(S, as_map(V), as_map(O), causal);
}

void linear(matrix<const float> X, matrix<const float> W, const float* b, matrix<float> Y,
            bool relu) {
  linear_into(X, W, b, Y, relu);
}

void linear(matrix<const double> X, matrix<const double> W, const double* b, matrix<double> Y,
            bool relu) {
  linear_into(X, W, b, Y, relu);
}

const char* instruction_sets() { return Eigen::SimdInstructionSetsInUse(); }

}  // namespace fair_naive
