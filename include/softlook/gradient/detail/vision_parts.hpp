#pragma once

#include "softlook/gradient/detail/activation.hpp"
#include "softlook/gradient/detail/vision_passes.hpp"
#include "softlook/vision/context.hpp"
#include "softlook/vision/gates.hpp"

// Gates and context of feature maps, forward and back, of checked calls.

SOFTLOOK_NAMESPACE_BEGIN

template <class T>
struct saved_gate;
template <class T>
struct saved_global_context;

namespace detail {

template <class T>
void channel_forward(const channel_attention_parameters<T>& p, saved_gate<T>& s,
                     const channel_attention_options& o, const layer_call& call) {
  matrix_products<T> products(call);
  const bool deep = p.W1.size() > 0;
  shape_as(s.pooled, planes_of(o.pooled), s.X.rows());
  pool_rows(view_of(s.X), o.pooled, writable_view(s.pooled), s.largest);
  shape_as(s.dsums, s.pooled.rows(), p.W2.cols());
  if (deep) {
    shape_as(s.hidden, s.pooled.rows(), p.W1.cols());
    products.multiply(view_of(s.pooled), view_of(p.W1), writable_view(s.hidden), view_of(p.b1));
    s.dhidden = s.hidden.cwiseMax(T(0));
  }
  products.multiply(view_of(deep ? s.dhidden : s.pooled), view_of(p.W2), writable_view(s.dsums),
                    view_of(p.b2));
  shape_as(s.gates, 1, s.X.rows());
  for (index c = 0; c < s.gates.cols(); ++c) {
    T sum = 0;
    for (index r = 0; r < s.dsums.rows(); ++r) sum += s.dsums(r, c);
    s.gates(0, c) = gate_of(o.gate, sum);
  }
  shape_as(s.Y, s.X.rows(), s.X.cols());
  gate_rows(view_of(s.X), view_of(s.gates), writable_view(s.Y));
}

template <class T>
void channel_backward(const channel_attention_parameters<T>& p, saved_gate<T>& s,
                      const matrix_view<T>& dY, channel_attention_parameters<T>& g,
                      const channel_attention_options& o, const layer_call& call) {
  matrix_products<T> products(call);
  const bool deep = p.W1.size() > 0;
  shape_as(s.dX, s.X.rows(), s.X.cols());
  gate_rows_back(o.gate, view_of(s.X), dY, view_of(s.gates), writable_view(s.dX),
                 writable_view(s.dsums).rows_from(0, 1));
  // Every pooled row adds to the one sum of a gate.
  for (index r = 1; r < s.dsums.rows(); ++r) s.dsums.row(r) = s.dsums.row(0);
  const auto dsums = view_of(s.dsums);
  products.add_column_sums(dsums, writable_view(g.b2));
  shape_as(s.dpooled, s.pooled.rows(), s.pooled.cols());
  if (deep) {
    s.dhidden = s.hidden.cwiseMax(T(0));
    products.add(view_of(s.dhidden).transpose(), dsums, writable_view(g.W2));
    products.multiply(dsums, view_of(p.W2).transpose(), writable_view(s.dhidden));
    activation_backward(activation::relu, s.hidden.data(), s.dhidden.data(), s.dhidden.data(),
                        s.dhidden.size());
    const auto dhidden = view_of(s.dhidden);
    products.add(view_of(s.pooled).transpose(), dhidden, writable_view(g.W1));
    products.add_column_sums(dhidden, writable_view(g.b1));
    products.multiply(dhidden, view_of(p.W1).transpose(), writable_view(s.dpooled));
  } else {
    products.add(view_of(s.pooled).transpose(), dsums, writable_view(g.W2));
    products.multiply(dsums, view_of(p.W2).transpose(), writable_view(s.dpooled));
  }
  pool_rows_back(view_of(s.dpooled), o.pooled, s.largest, writable_view(s.dX));
}

/// f(channel, tap, neighbour) for the taps of efficient channel attention.
template <class F>
void for_each_neighbour(index channels, index taps, channel_ends ends, const F& f) {
  for (index c = 0; c < channels; ++c)
    for (index t = 0; t < taps; ++t) {
      const index at = c + t - taps / 2;
      if (ends == channel_ends::circular)
        f(c, t, (at % channels + channels) % channels);
      else if (at >= 0 && at < channels)
        f(c, t, at);
    }
}

template <class T>
void spatial_forward(const spatial_attention_parameters<T>& p, saved_gate<T>& s,
                     const spatial_attention_options& o) {
  const index pixels = s.X.cols(), planes = planes_of(o.pooled);
  s.pooled.setZero(planes, pixels);
  if (s.X.rows() > 0)
    pool_rows(view_of(s.X).transpose(), o.pooled, writable_view(s.pooled), s.largest);
  s.hidden.setZero(1, pixels);
  for_each_tap(s.size, p.kernels.cols(), planes,
               [&](index at, index row, index column, index under, index plane) {
                 s.hidden(0, at) += p.kernels(row, column) * s.pooled(plane, under);
               });
  shape_as(s.gates, 1, pixels);
  for (index j = 0; j < pixels; ++j)
    s.gates(0, j) = gate_of(o.gate, p.gain * s.hidden(0, j) + p.shift);
  shape_as(s.Y, s.X.rows(), pixels);
  gate_rows(view_of(s.X).transpose(), view_of(s.gates), writable_view(s.Y).transpose());
}

template <class T>
void spatial_backward(const spatial_attention_parameters<T>& p, saved_gate<T>& s,
                      const matrix_view<T>& dY, spatial_attention_parameters<T>& g,
                      const spatial_attention_options& o) {
  const index pixels = s.X.cols(), planes = planes_of(o.pooled);
  shape_as(s.dX, s.X.rows(), pixels);
  shape_as(s.dsums, 1, pixels);
  gate_rows_back(o.gate, view_of(s.X).transpose(), dY.transpose(), view_of(s.gates),
                 writable_view(s.dX).transpose(), writable_view(s.dsums));
  for (index j = 0; j < pixels; ++j) {
    g.gain += s.dsums(0, j) * s.hidden(0, j);
    g.shift += s.dsums(0, j);
  }
  s.dpooled.setZero(planes, pixels);
  for_each_tap(s.size, p.kernels.cols(), planes,
               [&](index at, index row, index column, index under, index plane) {
                 const T d = p.gain * s.dsums(0, at);
                 g.kernels(row, column) += d * s.pooled(plane, under);
                 s.dpooled(plane, under) += d * p.kernels(row, column);
               });
  if (s.X.rows() > 0)
    pool_rows_back(view_of(s.dpooled), o.pooled, s.largest, writable_view(s.dX).transpose());
}

template <class T>
void context_forward(const global_context_parameters<T>& p, saved_global_context<T>& s,
                     const global_context_options& o, const layer_call& call) {
  matrix_products<T> products(call);
  const auto X = view_of(s.X);
  shape_as(s.weights, 1, X.cols);
  products.multiply(view_of(p.key), X, writable_view(s.weights));
  const T most = X.cols > 0 ? s.weights.maxCoeff() : T(0);
  T sum = 0;
  for (index j = 0; j < X.cols; ++j) sum += s.weights(0, j) = math::exp(s.weights(0, j) - most);
  if (X.cols > 0) s.weights /= sum;
  shape_as(s.context, 1, X.rows);
  products.multiply(view_of(s.weights), X.transpose(), writable_view(s.context));
  shape_as(s.hidden, 1, p.W1.cols());
  products.multiply(view_of(s.context), view_of(p.W1), writable_view(s.hidden), view_of(p.b1));
  shape_as(s.unit, 1, p.W1.cols());
  s.norm.forward(view_of(s.hidden), writable_view(s.unit), o.epsilon);
  shape_as(s.positive, 1, p.W1.cols());
  for (index c = 0; c < s.unit.cols(); ++c)
    s.positive(0, c) =
        std::max(s.unit(0, c) * p.gain[c] + (p.bias.size() > 0 ? p.bias[c] : T(0)), T(0));
  shape_as(s.gates, 1, X.rows);
  products.multiply(view_of(s.positive), view_of(p.W2), writable_view(s.gates), view_of(p.b2));
  s.Y = s.X;
  if (o.fusion == context_fusion::scale) {
    for (index c = 0; c < X.rows; ++c) s.gates(0, c) = gate_of(o.gate, s.gates(0, c));
    gate_rows(X, view_of(s.gates), writable_view(s.Y));
  } else {
    for (index c = 0; c < X.rows; ++c) s.Y.row(c).array() += s.gates(0, c);
  }
}

template <class T>
void context_backward(const global_context_parameters<T>& p, saved_global_context<T>& s,
                      const matrix_view<T>& dY, global_context_parameters<T>& g,
                      const global_context_options& o, const layer_call& call) {
  matrix_products<T> products(call);
  const auto X = view_of(s.X);
  shape_as(s.dX, X.rows, X.cols);
  shape_as(s.dsums, 1, X.rows);
  const auto dX = writable_view(s.dX), dsums = writable_view(s.dsums);
  if (o.fusion == context_fusion::scale) {
    gate_rows_back(o.gate, X, dY, view_of(s.gates), dX, dsums);
  } else {
    s.dsums.setZero();
    for (index c = 0; c < X.rows; ++c)
      for (index j = 0; j < X.cols; ++j) dsums(0, c) += dX(c, j) = dY(c, j);
  }
  products.add(view_of(s.positive).transpose(), as_input(dsums), writable_view(g.W2));
  products.add_column_sums(as_input(dsums), writable_view(g.b2));
  shape_as(s.dpositive, 1, p.W1.cols());
  products.multiply(as_input(dsums), view_of(p.W2).transpose(), writable_view(s.dpositive));
  for (index c = 0; c < s.dpositive.cols(); ++c) {
    const T d = s.positive(0, c) > T(0) ? s.dpositive(0, c) : T(0);
    g.gain[c] += d * s.unit(0, c);
    if (g.bias.size() > 0) g.bias[c] += d;
    s.dpositive(0, c) = d * p.gain[c];
  }
  s.norm.backward(view_of(s.unit), writable_view(s.dpositive));
  const auto dhidden = view_of(s.dpositive);
  products.add(view_of(s.context).transpose(), dhidden, writable_view(g.W1));
  products.add_column_sums(dhidden, writable_view(g.b1));
  shape_as(s.dcontext, 1, X.rows);
  products.multiply(dhidden, view_of(p.W1).transpose(), writable_view(s.dcontext));
  products.add(view_of(s.dcontext).transpose(), view_of(s.weights), dX);
  shape_as(s.dweights, 1, X.cols);
  products.multiply(view_of(s.dcontext), X, writable_view(s.dweights));
  const T along = X.cols > 0 ? s.dweights.cwiseProduct(s.weights).sum() : T(0);
  for (index j = 0; j < X.cols; ++j)
    s.dweights(0, j) = s.weights(0, j) * (s.dweights(0, j) - along);
  products.add(view_of(s.dweights), X.transpose(), writable_view(g.key));
  products.add(view_of(p.key).transpose(), view_of(s.dweights), dX);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
