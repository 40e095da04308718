// What the tests of layers share: sets, executors, storage orders, random parameters.
#pragma once

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/layers.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"
#include "tests/support/storage.hpp"

namespace softlook_test {

template <class T>
using row_vector = Eigen::Matrix<T, 1, Eigen::Dynamic>;

/// f(options) for every instruction set of this machine.
template <class F>
void on_every_set(const F& f) {
  for (const auto isa : softlook::available_instruction_sets()) {
    SCOPED_TRACE(softlook::name_of(isa));
    softlook::options opts;
    opts.isa = isa;
    f(opts);
  }
}

/// f(executor, name) for executors of many kinds.
template <class F>
void on_other_executors(const F& f) {
  const softlook::exec::thread_pool two(2), five(5);
  f(two, "pool of 2");
  f(five, "pool of 5");
  f(round_robin{}, "round robin");
  f(round_robin{70}, "round robin of 70");
  f(last_task_first{}, "last task first");
  f(thread_per_worker{}, "thread per worker");
}

/// into(x, y) for the numbers of X and an output in every kind of storage gives the bits of
/// `expected`, and writes nothing beside them.
template <class Matrix, class Into>
void expect_bits_in_any_storage(const Matrix& X, const Matrix& expected, const Into& into) {
  using T = typename Matrix::Scalar;
  const row_major<T> by_rows = X;
  const col_major<T> by_columns = X;
  const framed_copy<T> framed(X);
  strided_copy<T> strided(X);
  const row_major<T> half = X / T(2);
  const auto into_each = [&](const auto& x, const char* name) {
    SCOPED_TRACE(name);
    row_major<T> rows(expected.rows(), expected.cols());
    col_major<T> columns(expected.rows(), expected.cols());
    into(x, rows);
    into(x, columns);
    EXPECT_TRUE(bitwise_equal(rows, expected));
    EXPECT_TRUE(bitwise_equal(columns, expected)) << "column-major output";
    row_major<T> around = row_major<T>::Constant(expected.rows() + 3, expected.cols() + 2, T(7));
    into(x, around.block(1, 1, expected.rows(), expected.cols()));
    row_major<T> frame = row_major<T>::Constant(around.rows(), around.cols(), T(7));
    frame.block(1, 1, expected.rows(), expected.cols()) = expected;
    EXPECT_TRUE(bitwise_equal(around, frame)) << "block";
    strided_copy<T> spread(row_major<T>::Zero(expected.rows(), expected.cols()).eval());
    into(x, spread.map());
    EXPECT_TRUE(bitwise_equal(spread.map(), expected)) << "strided output";
    EXPECT_TRUE(spread.gaps_are_nan()) << "strided output";
  };
  into_each(by_rows, "row-major input");
  into_each(by_columns, "column-major input");
  into_each(framed.block(), "block as input");
  into_each(strided.map(), "strided input");
  into_each(half + half, "expression as input");
}

struct multi_head_shape {
  Eigen::Index features = 12, key_features = 12, value_features = 12;
  Eigen::Index query_heads = 4, kv_heads = 4;
  Eigen::Index head_features = 3, head_values = 3, outputs = 12;
  softlook::heads heads() const { return {.query = query_heads, .kv = kv_heads}; }
};

/// Weights whose products have the magnitude of the inputs, and biases.
template <class T>
softlook::multi_head_parameters<T> random_multi_head(const multi_head_shape& s, generator& random) {
  softlook::multi_head_parameters<T> p;
  const auto weight = [&](Eigen::Index rows, Eigen::Index cols) {
    return random_matrix<col_major<T>>(
        rows, cols, random, 1 / std::sqrt(static_cast<double>(std::max<Eigen::Index>(rows, 1))));
  };
  p.Wq = weight(s.features, s.query_heads * s.head_features);
  p.Wk = weight(s.key_features, s.kv_heads * s.head_features);
  p.Wv = weight(s.value_features, s.kv_heads * s.head_values);
  p.Wo = weight(s.query_heads * s.head_values, s.outputs);
  p.bq = random_matrix<row_vector<T>>(1, p.Wq.cols(), random, 0.5);
  p.bk = random_matrix<row_vector<T>>(1, p.Wk.cols(), random, 0.5);
  p.bv = random_matrix<row_vector<T>>(1, p.Wv.cols(), random, 0.5);
  p.bo = random_matrix<row_vector<T>>(1, p.Wo.cols(), random, 0.5);
  return p;
}

template <class T>
softlook::transformer_encoder_layer_parameters<T> random_encoder_layer(Eigen::Index heads,
                                                                       Eigen::Index head_features,
                                                                       Eigen::Index hidden,
                                                                       generator& random) {
  const Eigen::Index features = heads * head_features;
  softlook::transformer_encoder_layer_parameters<T> p;
  p.self_attention = random_multi_head<T>({.features = features,
                                           .key_features = features,
                                           .value_features = features,
                                           .query_heads = heads,
                                           .kv_heads = heads,
                                           .head_features = head_features,
                                           .head_values = head_features,
                                           .outputs = features},
                                          random);
  const auto root = [](Eigen::Index n) {
    return 1 / std::sqrt(static_cast<double>(std::max<Eigen::Index>(n, 1)));
  };
  p.W1 = random_matrix<col_major<T>>(features, hidden, random, root(features));
  p.W2 = random_matrix<col_major<T>>(hidden, features, random, root(hidden));
  p.b1 = random_matrix<row_vector<T>>(1, hidden, random, 0.5);
  p.b2 = random_matrix<row_vector<T>>(1, features, random, 0.5);
  const auto gain = [&] {
    return row_vector<T>(random_matrix<row_vector<T>>(1, features, random, 0.25).array() + T(1));
  };
  p.gain1 = gain();
  p.bias1 = random_matrix<row_vector<T>>(1, features, random, 0.5);
  p.gain2 = gain();
  p.bias2 = random_matrix<row_vector<T>>(1, features, random, 0.5);
  return p;
}

template <class Matrix>
void set_rows(Matrix& W, Eigen::Index count) {
  W.conservativeResize(count, W.cols());
}
template <class Matrix>
void set_columns(Matrix& W, Eigen::Index count) {
  W.conservativeResize(W.rows(), count);
}

/// rejects(change, pieces): a Layer of these parameters after change(parameters) is a shape_error.
template <class Layer, class Parameters, class Options>
auto rejects_of(const Parameters& good, const Options& how) {
  return [good, how](const auto& change, std::initializer_list<const char*> pieces) {
    Parameters p = good;
    change(p);
    expect_error<softlook::shape_error>([&] { (void)Layer(p, how); }, pieces);
  };
}

}  // namespace softlook_test
