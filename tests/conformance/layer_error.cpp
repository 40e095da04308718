#include "layer_error.hpp"

#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <limits>

namespace conformance {
namespace {

constexpr double float_epsilon = std::numeric_limits<float>::epsilon();
constexpr double infinity = std::numeric_limits<double>::infinity();

using dense_matrix = matrix<double>;
using dense_row = Eigen::RowVectorXd;

/// A matrix, and how far each row of its float twin may lie from it in Euclidean norm.
struct tracked {
  dense_matrix value;
  Eigen::VectorXd error;
};

Eigen::VectorXd lengths(const dense_matrix& X) { return X.rowwise().norm(); }

tracked rounded(const dense_matrix& X) { return {X, float_epsilon * lengths(X)}; }

tracked sum_of(const tracked& a, const tracked& b) {
  tracked y = {a.value + b.value, a.error + b.error};
  y.error += float_epsilon * lengths(y.value);
  return y;
}

/// X·W + b, where b may be empty.
tracked linear_map(const tracked& X, const dense_matrix& W, const dense_row& b) {
  const double largest = Eigen::JacobiSVD<Eigen::MatrixXd>(W).singularValues()(0);
  const dense_row bias = b.size() > 0 ? b : dense_row::Zero(W.cols());
  tracked y = X;
  y.value = (X.value * W).rowwise() + bias;
  const Eigen::VectorXd magnitudes =
      lengths((X.value.cwiseAbs() * W.cwiseAbs()).rowwise() + bias.cwiseAbs());
  for (index i = 0; i < y.value.rows(); ++i)
    y.error[i] = product_error(float_epsilon, X.error[i], largest, W.rows(), magnitudes[i]);
  return y;
}

tracked activated(const tracked& x, softlook::activation f) {
  if (f == softlook::activation::none) return x;
  const auto relu = [](double t) { return std::max(t, 0.0); };
  const auto gelu = [](double t) { return t / 2 * (1 + std::erf(t / std::sqrt(2.0))); };
  if (f == softlook::activation::relu) return {x.value.unaryExpr(relu), x.error};
  tracked y = {x.value.unaryExpr(gelu), x.error};
  for (index i = 0; i < y.value.rows(); ++i)
    y.error[i] = gelu_error(float_epsilon, x.error[i], x.value.row(i).norm());
  return y;
}

tracked normed(const tracked& x, const dense_row& gain, const dense_row& bias, double inside) {
  tracked y = x;
  norm_row row;
  row.features = x.value.cols();
  row.gain = finite_magnitude(gain);
  row.bias = bias.norm();
  for (index i = 0; i < x.value.rows(); ++i) {
    const dense_row centred = x.value.row(i).array() - x.value.row(i).mean();
    const double variance = centred.squaredNorm() / static_cast<double>(row.features);
    row.deviation = std::sqrt(variance + inside);
    row.magnitude = finite_magnitude(x.value.row(i));
    y.value.row(i) = centred.cwiseProduct(gain) / row.deviation;
    if (bias.size() > 0) y.value.row(i) += bias;
    y.error[i] = norm_error(float_epsilon, x.error[i], row);
  }
  return y;
}

/// Which scores of a batch count and what is added to them; keys beyond the given ones are the
/// layer's own, which every query sees.
class plain_masks {
 public:
  plain_masks(const layer_masks& given, index batch, index given_keys)
      : given_(given), batch_(batch), keys_(given_keys) {}

  bool allows(index h, index i, index j) const {
    if (j >= keys_) return true;
    const auto& w = given_.window;
    if (w && w->left && j < i - *w->left) return false;
    if (w && w->right && j > i + *w->right) return false;
    if (given_.padded && at(*given_.padded, h, i, j) != 0) return false;
    return !given_.mask || (at(*given_.mask, h, i, j) != 0) == given_.ones_attend;
  }
  double bias(index h, index i, index j) const {
    return given_.bias && j < keys_ ? at(*given_.bias, h, i, j) : 0;
  }

 private:
  double at(const grid& g, index h, index i, index j) const {
    return g.slice(batch_, h)[(g.rows == 1 ? 0 : i) * g.cols + (g.cols == 1 ? 0 : j)];
  }
  const layer_masks& given_;
  index batch_, keys_;
};

struct tracked_attention {
  tracked output;
  double weight_error = 0;
};

/// The softmax of each row over what is allowed; rows without keys are zero.
dense_matrix weights_of(dense_matrix S, const plain_masks& masks, index h) {
  for (index i = 0; i < S.rows(); ++i) {
    double top = -infinity, sum = 0;
    for (index j = 0; j < S.cols(); ++j) {
      if (!masks.allows(h, i, j)) S(i, j) = -infinity;
      top = std::max(top, S(i, j));
    }
    for (index j = 0; j < S.cols(); ++j) {
      S(i, j) = top == -infinity ? 0 : std::exp(S(i, j) - top);
      sum += S(i, j);
    }
    if (sum > 0) S.row(i) /= sum;
  }
  return S;
}

/// What the scores of query i may be off by, for each key.
Eigen::VectorXd pair_errors(const tracked& q, const tracked& k, index i, const dense_row& centre,
                            const Eigen::VectorXd& biases) {
  const double scale = 1 / std::sqrt(static_cast<double>(q.value.cols()));
  Eigen::VectorXd errors(k.value.rows());
  for (index j = 0; j < errors.size(); ++j) {
    const double magnitude = q.value.row(i).cwiseAbs().dot(k.value.row(j).cwiseAbs());
    errors[j] = float_epsilon * std::abs(biases[j]) +
                scale * pair_error(float_epsilon, q.error[i], (k.value.row(j) - centre).norm(),
                                   q.value.row(i).norm(), k.error[j], q.value.cols(), magnitude);
  }
  return errors;
}

/// One head; weight_bound becomes at least what its weights may be off by.
tracked attended(const tracked& q, const tracked& k, const tracked& v, index h,
                 const plain_masks& masks, double& weight_bound) {
  const index keys = k.value.rows();
  const double rounding = (static_cast<double>(keys) + 8) * float_epsilon;
  dense_matrix B = dense_matrix::Zero(q.value.rows(), keys);
  for (index i = 0; i < B.rows(); ++i)
    for (index j = 0; j < keys; ++j) B(i, j) = masks.bias(h, i, j);
  const dense_matrix S =
      q.value * k.value.transpose() / std::sqrt(static_cast<double>(q.value.cols())) + B;
  const dense_matrix P = weights_of(S, masks, h);
  tracked o = {P * v.value, Eigen::VectorXd(S.rows())};
  for (index i = 0; i < S.rows(); ++i) {
    // A key of weight zero, masked or not, moves nothing.
    const auto seen = P.row(i).transpose().array() > 0;
    const Eigen::VectorXd biases = seen.select(B.row(i).transpose().array(), 0).matrix();
    const Eigen::VectorXd all = pair_errors(q, k, i, P.row(i) * k.value, biases);
    const Eigen::VectorXd errors = seen.select(all.array(), 0).matrix();
    const Eigen::VectorXd moved = errors.cwiseProduct(lengths(v.value.rowwise() - o.value.row(i))) +
                                  v.error + rounding * lengths(v.value);
    weight_bound = std::max(weight_bound, weight_error(float_epsilon, keys, errors.maxCoeff()));
    o.error[i] = mixture_error(errors.maxCoeff(), P.row(i).dot(moved));
  }
  return o;
}

/// Keys or values with the layer's own ones below them: a learned row, and a row of zeros.
tracked extended(const tracked& X, const dense_row& learned, bool zeros) {
  tracked y = X;
  const auto append = [&](const dense_row& row) {
    const index rows = y.value.rows();
    y.value.conservativeResize(rows + 1, Eigen::NoChange);
    y.value.row(rows) = row;
    y.error.conservativeResize(rows + 1);
    y.error[rows] = float_epsilon * row.norm();
  };
  if (learned.size() > 0) append(learned);
  if (zeros) append(dense_row::Zero(X.value.cols()));
  return y;
}

tracked_attention multi_head(const tracked& Q, const tracked& K, const tracked& V,
                             const softlook::multi_head_parameters<double>& p,
                             const softlook::heads& heads, const plain_masks& masks) {
  const index kv = heads.kv.value_or(heads.query), group = heads.query / kv;
  const auto of_head = [](const auto& W, index h, index count) -> Eigen::MatrixXd {
    const index width = W.cols() / count;
    return W.middleCols(h * width, width);
  };
  const auto projected = [&](const tracked& X, const auto& W, const auto& b, index h, index count) {
    return linear_map(X, of_head(W, h, count), of_head(b, h, count));
  };
  tracked_attention a;
  tracked all = {dense_matrix(Q.value.rows(), p.Wo.rows()), Eigen::VectorXd::Zero(Q.value.rows())};
  const index width = p.Wo.rows() / heads.query;
  for (index h = 0; h < heads.query; ++h) {
    const index g = h / group;
    const tracked o = attended(
        projected(Q, p.Wq, p.bq, h, heads.query),
        extended(projected(K, p.Wk, p.bk, g, kv), of_head(p.bias_k, g, kv), p.add_zero_attn),
        extended(projected(V, p.Wv, p.bv, g, kv), of_head(p.bias_v, g, kv), p.add_zero_attn), h,
        masks, a.weight_error);
    all.value.middleCols(h * width, width) = o.value;
    all.error = all.error.cwiseProduct(all.error) + o.error.cwiseProduct(o.error);
    all.error = all.error.cwiseSqrt();  // the heads' errors lie beside each other
  }
  a.output = linear_map(all, p.Wo, p.bo);
  return a;
}

/// A part of a layer with its norm and its residual connection.
template <class Norm, class Part>
tracked around(const tracked& x, bool norm_first, const Norm& norm, const Part& part) {
  return norm_first ? sum_of(x, part(norm(x))) : norm(sum_of(x, part(x)));
}

template <class Parameters>
tracked feed_forward(const tracked& x, const Parameters& p, softlook::activation f) {
  return linear_map(activated(linear_map(x, p.W1, p.b1), f), p.W2, p.b2);
}

tracked encoded(const tracked& x, const softlook::transformer_encoder_layer_parameters<double>& p,
                const softlook::transformer_layer_options& o, const plain_masks& masks) {
  const auto norm_of = [&](const dense_row& gain, const dense_row& bias) {
    return [&, gain, bias](const tracked& t) { return normed(t, gain, bias, o.epsilon); };
  };
  const tracked y = around(x, o.norm_first, norm_of(p.gain1, p.bias1), [&](const tracked& t) {
    return multi_head(t, t, t, p.self_attention, o.heads, masks).output;
  });
  return around(y, o.norm_first, norm_of(p.gain2, p.bias2),
                [&](const tracked& t) { return feed_forward(t, p, o.activation); });
}

tracked decoded(const tracked& x, const tracked& memory,
                const softlook::transformer_decoder_layer_parameters<double>& p,
                const softlook::transformer_layer_options& o, const plain_masks& target_masks,
                const plain_masks& memory_masks) {
  const auto norm_of = [&](const dense_row& gain, const dense_row& bias) {
    return [&, gain, bias](const tracked& t) { return normed(t, gain, bias, o.epsilon); };
  };
  const tracked y = around(x, o.norm_first, norm_of(p.gain1, p.bias1), [&](const tracked& t) {
    return multi_head(t, t, t, p.self_attention, o.heads, target_masks).output;
  });
  const tracked z = around(y, o.norm_first, norm_of(p.gain2, p.bias2), [&](const tracked& t) {
    return multi_head(t, memory, memory, p.cross_attention, o.heads, memory_masks).output;
  });
  return around(z, o.norm_first, norm_of(p.gain3, p.bias3),
                [&](const tracked& t) { return feed_forward(t, p, o.activation); });
}

/// The final norm of a stack, and what is left to say about its errors.
template <class Call>
double output_bound(const Call& call, tracked x) {
  if (call.final_norm)
    x = normed(x, call.final_norm->gain, call.final_norm->bias, call.options.epsilon);
  // A bound as large as half of what it is about says nothing either.
  const double error = x.error.maxCoeff();
  if (!(error < finite_magnitude(x.value) / 2)) throw beyond_float();
  return error;
}

}  // namespace

layer_bounds float_bounds(const multi_head_call& call) {
  layer_bounds bounds;
  for (index b = 0; b < call.Q.batches; ++b) {
    const tracked_attention a =
        multi_head(rounded(call.Q.head<double>(b, 0)), rounded(call.K.head<double>(b, 0)),
                   rounded(call.V.head<double>(b, 0)), call.parameters, call.heads,
                   {call.masks, b, call.K.rows});
    bounds.output = std::max(bounds.output, a.output.error.maxCoeff());
    bounds.weights = std::max(bounds.weights, a.weight_error);
    if (!says_something({.weights = bounds.weights})) throw beyond_float();
  }
  return bounds;
}

layer_bounds float_bounds(const encoder_call& call) {
  layer_bounds bounds;
  for (index b = 0; b < call.X.batches; ++b) {
    tracked x = rounded(call.X.head<double>(b, 0));
    for (const auto& p : call.layers) x = encoded(x, p, call.options, {call.masks, b, call.X.rows});
    bounds.output = std::max(bounds.output, output_bound(call, x));
  }
  return bounds;
}

layer_bounds float_bounds(const decoder_call& call) {
  layer_bounds bounds;
  for (index b = 0; b < call.X.batches; ++b) {
    tracked x = rounded(call.X.head<double>(b, 0));
    const tracked memory = rounded(call.memory.head<double>(b, 0));
    for (const auto& p : call.layers)
      x = decoded(x, memory, p, call.options, {call.target_masks, b, call.X.rows},
                  {call.memory_masks, b, call.memory.rows});
    bounds.output = std::max(bounds.output, output_bound(call, x));
  }
  return bounds;
}

}  // namespace conformance
