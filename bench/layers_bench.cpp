// Layers: a packed product with bias and activation against Eigen's, and a whole encoder.

#include <softlook/exec/thread_pool.hpp>
#include <softlook/layer/linear_layer.hpp>
#include <softlook/transformer.hpp>

#include "support/fair_naive.hpp"
#include "support/inputs.hpp"
#include "support/row.hpp"

namespace {

using bench::index;
using softlook::activation;

struct product_shape {
  index n = 0;
  index inputs = 0;
  index outputs = 0;
  activation f = activation::none;
};

template <class T>
struct product_inputs {
  bench::matrix<T> X, W;
  Eigen::Matrix<T, 1, Eigen::Dynamic> b;

  explicit product_inputs(const product_shape& s)
      : X(bench::random_matrix<T>(s.n, s.inputs, 1)),
        W(bench::random_matrix<T>(s.inputs, s.outputs, 2) / std::sqrt(T(s.inputs))),
        b(bench::random_matrix<T>(1, s.outputs, 3)) {}
};

double activated(double x, activation f) {
  switch (f) {
    case activation::relu:
      return x > 0 ? x : 0;
    case activation::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    case activation::none:
      break;
  }
  return x;
}

template <class T, class Output>
double product_error(const product_inputs<T>& in, const Output& Y, activation f) {
  if (!Y.allFinite()) return std::numeric_limits<double>::quiet_NaN();
  double worst = 0;
  for (const index i : bench::sampled_rows(Y.rows())) {
    Eigen::RowVectorXd truth = in.b.template cast<double>();
    for (index k = 0; k < in.X.cols(); ++k)
      truth += double(in.X(i, k)) * in.W.row(k).template cast<double>();
    for (double& x : truth) x = activated(x, f);
    worst = std::max(worst, (truth - Y.row(i).template cast<double>()).cwiseAbs().maxCoeff());
  }
  return worst;
}

template <class T>
bench::row product_row(const char* path, const product_shape& s) {
  const auto number = [](index x) { return std::to_string(x); };
  return {.name = std::string("layer/") + path + "/product/" + name_of(s.f) + "/" +
                  (sizeof(T) == 4 ? "float" : "double") + "/" + number(s.inputs) + "x" +
                  number(s.outputs) + "/n:" + number(s.n),
          .flops = 2.0 * double(s.n) * double(s.inputs) * double(s.outputs),
          .scalar = bench::precision_of<T>,
          .prepare = {}};
}

template <class T, int Order>
bench::row packed_row(const product_shape& s) {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Order>;
  bench::row r = product_row<T>("auto", s);
  if (Order == Eigen::ColMajor) r.name += "/column-major";
  r.prepare = [s] {
    const auto in = std::make_shared<const product_inputs<T>>(s);
    const auto X = std::make_shared<const matrix>(in->X);
    const auto Y = std::make_shared<matrix>(s.n, s.outputs);
    bench::prepared_row work;
    const softlook::linear_layer<T> layer(in->W, in->b, s.f);
    work.call = [X, Y, layer] { layer.into(*X, *Y); };
    work.error = [in, Y, s] { return product_error(*in, *Y, s.f); };
    work.tolerance = bench::tolerance<T>();
    return work;
  };
  return r;
}

template <class T>
bench::row naive_row(const product_shape& s) {
  bench::row r = product_row<T>("naive", s);
  r.prepare = [s] {
    const auto in = std::make_shared<const product_inputs<T>>(s);
    const auto Y = std::make_shared<bench::matrix<T>>(s.n, s.outputs);
    bench::prepared_row work;
    work.call = [in, Y, s] {
      using fair_naive::matrix;
      fair_naive::linear(matrix<const T>{in->X.data(), s.n, s.inputs, s.inputs},
                         matrix<const T>{in->W.data(), s.inputs, s.outputs, s.outputs},
                         in->b.data(), matrix<T>{Y->data(), s.n, s.outputs, s.outputs},
                         s.f == activation::relu);
    };
    work.error = [in, Y, s] { return product_error(*in, *Y, s.f); };
    work.tolerance = bench::tolerance<T>();
    return work;
  };
  return r;
}

/// The shape of the sentence encoder all-MiniLM-L6-v2.
struct encoder_shape {
  index features = 384, hidden = 1536, heads = 12, layers = 6;
  [[nodiscard]] double flops(index n) const {
    const double f = double(features), products = 4 * f * f + 2 * f * double(hidden);
    return double(layers) * double(n) * (2 * products + 4 * double(n) * f);
  }
};

template <class T>
softlook::transformer_encoder<T> encoder_of(const encoder_shape& s) {
  const auto weights = [](index rows, index cols, std::uint64_t seed) -> bench::matrix<T> {
    return bench::random_matrix<float>(rows, cols, seed).template cast<T>() /
           T(std::sqrt(double(rows)));
  };
  const index f = s.features, h = s.hidden;
  std::vector<softlook::transformer_encoder_layer<T>> layers;
  for (std::uint64_t l = 0; l < std::uint64_t(s.layers); ++l) {
    softlook::transformer_encoder_layer_parameters<T> p;
    auto& a = p.self_attention;
    a.Wq = weights(f, f, 10 * l + 1);
    a.Wk = weights(f, f, 10 * l + 2);
    a.Wv = weights(f, f, 10 * l + 3);
    a.Wo = weights(f, f, 10 * l + 4);
    a.bq = a.bk = a.bv = a.bo = weights(1, f, 10 * l + 5);
    p.W1 = weights(f, h, 10 * l + 6);
    p.W2 = weights(h, f, 10 * l + 7);
    p.b1 = weights(1, h, 10 * l + 8);
    p.b2 = p.bias1 = p.bias2 = a.bq;
    p.gain1 = p.gain2 = Eigen::Matrix<T, 1, Eigen::Dynamic>::Ones(f);
    layers.emplace_back(p, softlook::transformer_encoder_layer_options{
                               .heads = {.query = s.heads}, .activation = activation::gelu});
  }
  return softlook::transformer_encoder<T>(std::move(layers));
}

bench::row encoder_row(index n, int threads) {
  const encoder_shape s;
  bench::row r{.name = "layer/auto/encoder/6 layers/n:" + std::to_string(n) +
                       "/threads:" + std::to_string(threads),
               .flops = s.flops(n),
               .threads = threads,
               .prepare = {}};
  r.prepare = [s, n, threads] {
    const auto encoder =
        std::make_shared<const softlook::transformer_encoder<float>>(encoder_of<float>(s));
    const auto pool = std::make_shared<const softlook::exec::thread_pool>(threads);
    const auto X =
        std::make_shared<const bench::matrix<float>>(bench::random_matrix<float>(n, s.features, 1));
    const auto Y = std::make_shared<bench::matrix<float>>(n, s.features);
    bench::prepared_row work;
    work.call = [encoder, pool, X, Y, threads] {
      if (threads > 1)
        encoder->into(*X, *Y, *pool);
      else
        encoder->into(*X, *Y);
    };
    work.error = [s, X, Y] {
      const bench::matrix<double> truth = encoder_of<double>(s)(X->cast<double>());
      return Y->allFinite() ? (truth - Y->cast<double>()).cwiseAbs().maxCoeff()
                            : std::numeric_limits<double>::quiet_NaN();
    };
    work.tolerance = double(s.layers) * bench::tolerance<float>();
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  const std::vector<product_shape> shapes = {
      {128, 384, 384}, {128, 384, 1536}, {128, 1536, 384}, {512, 384, 384}, {1024, 1024, 1024}};
  for (const product_shape& s : shapes) {
    rows.push_back(naive_row<float>(s));
    rows.push_back(packed_row<float, Eigen::RowMajor>(s));
    rows.push_back(packed_row<float, Eigen::ColMajor>(s));
  }
  for (const product_shape& s : shapes) {
    rows.push_back(naive_row<double>(s));
    rows.push_back(packed_row<double, Eigen::RowMajor>(s));
  }
  for (const activation f : {activation::relu, activation::gelu, activation::gelu_tanh})
    rows.push_back(packed_row<float, Eigen::RowMajor>({128, 384, 1536, f}));
  for (const bench::index n : {16, 128, 512}) rows.push_back(encoder_row(n, 1));
  rows.push_back(encoder_row(128, 2));
  return bench::run_rows(argc, argv, std::move(rows));
}
