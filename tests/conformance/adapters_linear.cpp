#include <cmath>
#include <limits>
#include <softlook/gradient/linear_attention.hpp>
#include <softlook/linear.hpp>
#include <softlook/linear/random_features.hpp>

#include "adapters.hpp"

/// Linear attention and fast weights: flash-linear-attention's naive references, fast-transformers,
/// performer-pytorch, ONNX LinearAttention. Each case runs in one call, in two with the state
/// carried over, and one token at a time.
namespace conformance {
namespace {

namespace features = softlook::features;
namespace gates = softlook::gates;
namespace normalizations = softlook::normalizations;
namespace updates = softlook::updates;

struct linear_problem {
  grid Q, K, V;
  std::optional<grid> log_decay;  // a column, or one for each feature
  std::optional<grid> strength;   // a column
  std::optional<grid> state;      // features × values
  std::optional<grid> key_sum;    // 1 × features
  std::optional<grid> dO;         // the output's gradient: those of the inputs are asked for
  std::vector<double> gamma;      // one for each head; or none
  double scale = 1;
  std::optional<double> epsilon;  // divided by the sum of weights + ε; unset: not divided
  index features = 0;
};

/// Gradients, or how large sums on the way to them are.
template <class X>
struct gradients_of {
  X Q{}, K{}, V{}, log_decay{}, strength{}, state{};
};

struct linear_answer {
  grid output, state, key_sum;
  double output_bound = 0, state_bound = 0, key_sum_bound = 0;
  gradients_of<grid> gradients{};  // where the problem has dO
  gradients_of<double> gradient_bounds{};
};

/// Sums of magnitudes along the recurrence of one head, from which bounds follow: every number is a
/// sum of rounded terms, none of which exceeds the same sum of magnitudes.
struct magnitudes {
  double output = 0, state = 0, key_sum = 0;
};

/// φ(q), φ(k), v of one head in double.
struct head_rows {
  matrix<double> q, k, v;
};

double decay_of(const linear_problem& p, index b, index h, index t, index f) {
  if (!p.gamma.empty()) return p.gamma[static_cast<std::size_t>(h)];
  if (!p.log_decay) return 1;
  const grid& g = *p.log_decay;
  return std::exp(g.slice(b, h)[t * g.cols + (g.cols == 1 ? 0 : f)]);
}

magnitudes magnitudes_of(const linear_problem& p, const head_rows& x, index b, index h) {
  matrix<double> S = matrix<double>::Zero(x.k.cols(), x.v.cols());
  if (p.state) S = p.state->head<double>(b, h).cwiseAbs();
  Eigen::VectorXd z = Eigen::VectorXd::Zero(x.k.cols()), signed_sum = z;
  if (p.key_sum) {
    signed_sum = p.key_sum->head<double>(b, h).transpose();
    z = signed_sum.cwiseAbs();
  }
  magnitudes most;
  for (index t = 0; t < x.k.rows(); ++t) {
    const Eigen::VectorXd k = x.k.row(t).cwiseAbs().transpose();
    Eigen::RowVectorXd u = x.v.row(t).cwiseAbs();
    for (index f = 0; f < x.k.cols(); ++f) {
      const double a = decay_of(p, b, h, t, f);
      S.row(f) *= a;
      z[f] *= a;
      signed_sum[f] *= a;
    }
    if (p.strength) u = std::abs(p.strength->slice(b, h)[t]) * (u + k.transpose() * S);
    S += k * u;
    z += k;
    signed_sum += x.k.row(t).transpose();
    const Eigen::VectorXd q = p.scale * x.q.row(t).cwiseAbs().transpose();
    double output = (q.transpose() * S).maxCoeff();
    if (p.epsilon) {  // the divisor is as wrong as the sum that it divides
      const double divisor = std::abs(p.scale * x.q.row(t).dot(signed_sum) + *p.epsilon);
      output = 2 * output * q.dot(z) / (divisor * divisor);
    }
    most.output = std::max(most.output, output);
  }
  most.state = S.size() > 0 ? S.maxCoeff() : 0;
  most.key_sum = z.size() > 0 ? z.maxCoeff() : 0;
  return most;
}

/// The same of gradients, along the recurrence run backward. `slope` is what a feature map has at
/// most; `causal` whether queries read the state at their token, or the last one.
gradients_of<double> gradient_magnitudes_of(const linear_problem& p, const head_rows& x,
                                            const matrix<double>& dO, index b, index h, bool causal,
                                            double slope) {
  const index n = x.k.rows();
  const matrix<double> k = x.k.cwiseAbs(), q = p.scale * x.q.cwiseAbs();
  std::vector<matrix<double>> faded, after;
  matrix<double> S = matrix<double>::Zero(k.cols(), x.v.cols()), u = x.v.cwiseAbs();
  if (p.state) S = p.state->head<double>(b, h).cwiseAbs();
  matrix<double> z(n, k.cols()), signed_sum(n, k.cols());
  Eigen::RowVectorXd sum = Eigen::RowVectorXd::Zero(k.cols()), with_sign = sum;
  if (p.key_sum) {
    with_sign = p.key_sum->head<double>(b, h);
    sum = with_sign.cwiseAbs();
  }
  const auto strength = [&](index t) { return std::abs(p.strength->slice(b, h)[t]); };
  for (index t = 0; t < n; ++t) {
    for (index f = 0; f < k.cols(); ++f) {
      const double a = decay_of(p, b, h, t, f);
      S.row(f) *= a;
      sum[f] *= a;
      with_sign[f] *= a;
    }
    faded.push_back(S);
    if (p.strength) u.row(t) = strength(t) * (u.row(t) + k.row(t) * S).eval();
    S += k.row(t).transpose() * u.row(t);
    z.row(t) = sum += k.row(t);
    signed_sum.row(t) = with_sign += x.k.row(t);
    after.push_back(S);
  }
  matrix<double> D = matrix<double>::Zero(k.cols(), x.v.cols());
  Eigen::RowVectorXd dz = Eigen::RowVectorXd::Zero(k.cols());
  gradients_of<double> most;
  const auto raise_to = [](double& largest, double value) { largest = std::max(largest, value); };
  const auto read = [&](index t, index at) {
    Eigen::RowVectorXd dy = dO.row(t).cwiseAbs();
    double dsum = 0;
    if (p.epsilon) {  // the divisor is as wrong as the sum that it divides
      const double divisor = std::abs(p.scale * x.q.row(t).dot(signed_sum.row(at)) + *p.epsilon);
      const double wrong = 1 + 2 * (q.row(t).dot(z.row(at)) + *p.epsilon) / divisor;
      dsum = dy.dot(q.row(t) * after[std::size_t(at)]) * wrong / (divisor * divisor);
      dy *= wrong / divisor;
    }
    raise_to(most.Q, slope * p.scale *
                         (dy * after[std::size_t(at)].transpose() + dsum * z.row(at)).maxCoeff());
    D += q.row(t).transpose() * dy;
    dz += dsum * q.row(t);
  };
  const auto write = [&](index t) {
    const matrix<double>& before = faded[std::size_t(t)];
    Eigen::RowVectorXd dv = k.row(t) * D, dk = u.row(t) * D.transpose() + dz;
    if (p.strength) {
      raise_to(most.strength, dv.dot(x.v.row(t).cwiseAbs() + k.row(t) * before));
      dv *= strength(t);
      dk += dv * before.transpose();
      D += k.row(t).transpose() * dv;
    }
    raise_to(most.V, dv.maxCoeff());
    raise_to(most.K, slope * dk.maxCoeff());
    const Eigen::RowVectorXd slopes =
        D.cwiseProduct(before).rowwise().sum().transpose() + dz.cwiseProduct(z.row(t));
    if (p.log_decay)
      raise_to(most.log_decay, p.log_decay->cols == 1 ? slopes.sum() : slopes.maxCoeff());
    for (index f = 0; f < k.cols(); ++f) {
      D.row(f) *= decay_of(p, b, h, t, f);
      dz[f] *= decay_of(p, b, h, t, f);
    }
  };
  for (index t = x.q.rows() - 1; t >= 0; --t) {
    if (n > 0) read(t, causal ? t : n - 1);
    if (causal) write(t);
  }
  for (index t = 0; t < n && !causal; ++t) write(t);
  if (D.size() > 0) most.state = D.maxCoeff();
  return most;
}

/// Roundings on the way to an output: inputs, decays, features and tokens, twice where the delta
/// rule reads the state first.
template <class T>
double roundings(const linear_problem& p, double magnitude) {
  const double steps = static_cast<double>(p.features) + 3 * static_cast<double>(p.K.rows) + 16;
  return (p.strength ? 2 : 1) * steps * std::numeric_limits<T>::epsilon() * magnitude;
}

void require_shapes(const case_file& c, const linear_problem& p) {
  const grid &Q = p.Q, &K = p.K, &V = p.V;
  require(c, Q.batches == K.batches && V.batches == K.batches, "batches differ");
  require(c, Q.cols == K.cols && Q.rows == K.rows && V.rows == K.rows, "Q, K, V do not fit");
  require(c, V.heads == K.heads && Q.heads % K.heads == 0, "heads do not fit");
  const auto fits = [&](const grid& g, index rows) {
    return g.batches == K.batches && (g.heads == K.heads || g.heads == 1) && g.rows == rows;
  };
  if (p.log_decay)
    require(c,
            fits(*p.log_decay, K.rows) && p.log_decay->heads == K.heads &&
                (p.log_decay->cols == 1 || p.log_decay->cols == K.cols),
            "the decays do not fit");
  if (p.strength)
    require(c, fits(*p.strength, K.rows) && p.strength->cols == 1, "beta does not fit");
  if (p.state)
    require(c, fits(*p.state, p.features) && p.state->cols == V.cols, "the state does not fit");
  if (p.key_sum)
    require(c, fits(*p.key_sum, 1) && p.key_sum->cols == p.features, "initial_z does not fit");
}

/// The policies of a problem for some tokens of one batch.
template <class T>
struct policies_of {
  matrix<T> gate, strength, gamma;
  softlook::heads heads;
  softlook::options options;

  /// call(whether the sums of weights are divided by, policies…)
  template <class Map, class Call>
  auto with(const linear_problem& p, const Map& map, const Call& call) const {
    const auto divided = [&](const auto&... more) {
      if (p.epsilon)
        return call(std::true_type(), map, heads, options,
                    normalizations::sum{.epsilon = *p.epsilon}, more...);
      return call(std::false_type(), map, heads, options, more...);
    };
    const auto gated = [&](const auto&... more) {
      if (p.log_decay) return divided(gates::log_decay{gate}, more...);
      if (!p.gamma.empty()) return divided(gates::decay{gamma}, more...);
      return divided(more...);
    };
    return p.strength ? gated(updates::delta{strength}) : gated();
  }

  template <class Map>
  matrix<T> run(const linear_problem& p, const matrix<T>& Q, const matrix<T>& K, const matrix<T>& V,
                softlook::linear_state<T>& state, const Map& map) const {
    return with(p, map, [&](auto is_divided, const auto&... policies) -> matrix<T> {
      if constexpr (decltype(is_divided)::value)
        return softlook::causal_linear_attention(Q, K, V, state, policies...);
      else
        return softlook::fast_weights(Q, K, V, state, policies...);
    });
  }
  template <class Map>
  softlook::linear_attention_gradients<T> back(const linear_problem& p, const matrix<T>& Q,
                                               const matrix<T>& K, const matrix<T>& V,
                                               const matrix<T>& dO,
                                               const softlook::linear_state<T>& first,
                                               softlook::linear_state<T>& dstate,
                                               const Map& map) const {
    return with(p, map, [&](auto is_divided, const auto&... policies) {
      if constexpr (decltype(is_divided)::value)
        return softlook::causal_linear_attention_backward(Q, K, V, dO, first, dstate, policies...);
      else
        return softlook::fast_weights_backward(Q, K, V, dO, first, dstate, policies...);
    });
  }
  /// Those of some tokens.
  void set_tokens(const linear_problem& p, index b, index first, index count) {
    if (p.log_decay) gate = p.log_decay->template packed<T>(b).middleRows(first, count);
    if (p.strength) strength = p.strength->template packed<T>(b).middleRows(first, count);
  }
};

/// Lengths of the calls: all tokens, two parts, or single tokens.
index call_length(const mode& m, index tokens) {
  if (m.how == mode::path::tiled) return tokens;
  if (m.how == mode::path::automatic) return tokens / 2 + 1;
  if (m.how == mode::path::few_queries) return 1;
  throw not_in_this_mode();
}

template <class T>
matrix<T> rows_of(const matrix<T>& X, index first, index count) {
  return X.middleRows(first, count);
}

/// The gradients of one batch, the calls one after another from the last: the state before each of
/// them is given.
template <class T, class Map>
void causal_gradients(const linear_problem& p, index b, index length, policies_of<T>& policies,
                      const std::vector<softlook::linear_state<T>>& states, const Map& map,
                      gradients_of<grid>& to) {
  const index n = p.Q.rows, kv = p.K.heads;
  const matrix<T> Q = p.Q.packed<T>(b), K = p.K.packed<T>(b), V = p.V.packed<T>(b);
  const matrix<T> dO = p.dO->packed<T>(b);
  matrix<T> dQ(n, Q.cols()), dK(n, K.cols()), dV(n, V.cols()), dgate, dstrength;
  if (p.log_decay) dgate.resize(n, kv * p.log_decay->cols);
  if (p.strength) dstrength.resize(n, p.strength->heads);
  softlook::linear_state<T> dstate(p.features, p.V.cols, kv);
  for (index call = static_cast<index>(states.size()) - 1; call >= 0; --call) {
    const index t = call * length, count = std::min(length, n - t);
    policies.set_tokens(p, b, t, count);
    const auto g =
        policies.back(p, rows_of(Q, t, count), rows_of(K, t, count), rows_of(V, t, count),
                      rows_of(dO, t, count), states[static_cast<std::size_t>(call)], dstate, map);
    dQ.middleRows(t, count) = g.dQ;
    dK.middleRows(t, count) = g.dK;
    dV.middleRows(t, count) = g.dV;
    if (p.log_decay) dgate.middleRows(t, count) = g.dgate;
    if (p.strength) dstrength.middleRows(t, count) = g.dstrength;
  }
  to.Q.set_packed<T>(b, dQ);
  to.K.set_packed<T>(b, dK);
  to.V.set_packed<T>(b, dV);
  if (p.log_decay) to.log_decay.set_packed<T>(b, dgate);
  if (p.strength) to.strength.set_packed<T>(b, dstrength);
  for (index h = 0; h < kv; ++h) to.state.set_head<T>(b, h, dstate.weights(h));
}

template <class T, class Map>
linear_answer causal(const case_file& c, const mode& m, const linear_problem& p, const Map& map) {
  require_shapes(c, p);
  const index n = p.Q.rows, f = p.features, e = p.V.cols, kv = p.K.heads;
  const index length = std::max<index>(call_length(m, n), 1);
  linear_answer a{grid::zeros(p.Q.batches, p.Q.heads, n, e), grid::zeros(p.Q.batches, kv, f, e),
                  grid::zeros(p.Q.batches, kv, 1, f)};
  a.gradients = {p.Q, p.K, p.V, p.log_decay.value_or(grid()), p.strength.value_or(grid()), a.state};
  policies_of<T> policies;
  policies.heads = {.query = p.Q.heads, .kv = kv};
  policies.options = {.scale = p.scale, .isa = m.isa};
  if (!p.gamma.empty())
    policies.gamma = Eigen::Map<const matrix<double>>(p.gamma.data(), 1, kv).template cast<T>();
  for (index b = 0; b < p.Q.batches; ++b) {
    softlook::linear_state<T> state(f, e, kv);
    for (index h = 0; p.state && h < kv; ++h) state.weights(h) = p.state->head<T>(b, h);
    for (index h = 0; p.key_sum && h < kv; ++h) state.key_sum(h) = p.key_sum->head<T>(b, h);
    const matrix<T> Q = p.Q.packed<T>(b), K = p.K.packed<T>(b), V = p.V.packed<T>(b);
    matrix<T> O(n, p.Q.heads * e);
    std::vector<softlook::linear_state<T>> states;
    for (index t = 0; t < n; t += length) {
      const index count = std::min(length, n - t);
      states.push_back(state);
      policies.set_tokens(p, b, t, count);
      O.middleRows(t, count) = policies.run(p, Q.middleRows(t, count), K.middleRows(t, count),
                                            V.middleRows(t, count), state, map);
    }
    a.output.set_packed<T>(b, O);
    for (index h = 0; h < kv; ++h) {
      a.state.set_head<T>(b, h, state.weights(h));
      a.key_sum.set_head<T>(b, h, state.key_sum(h));
    }
    if (p.dO) causal_gradients(p, b, length, policies, states, map, a.gradients);
  }
  return a;
}

/// φ in double, for the bounds.
struct no_map {
  matrix<double> operator()(const matrix<double>& X) const { return X; }
  /// What dX may be of a gradient of ones.
  static double slope(const matrix<double>&) { return 1; }
};
struct elu_map {
  matrix<double> operator()(const matrix<double>& X) const {
    return X.unaryExpr([](double x) { return x > 0 ? x + 1 : std::exp(x); });
  }
  static double slope(const matrix<double>&) { return 1; }
};

void raise_gradient_bounds(const linear_problem& p, const gradients_of<double>& most, index group,
                           gradients_of<double>& bounds) {
  // The way forward is gone through again, and its states are as wrong as they are.
  const auto raise_to = [&](double& bound, double magnitude) {
    bound = std::max(bound, 2 * roundings<float>(p, magnitude));
  };
  const auto times = static_cast<double>(group);
  raise_to(bounds.Q, most.Q);
  raise_to(bounds.K, times * most.K);
  raise_to(bounds.V, times * most.V);
  raise_to(bounds.log_decay, times * most.log_decay);
  raise_to(bounds.strength, times * most.strength);
  raise_to(bounds.state, times * most.state);
}

template <class Rows>
void set_bounds(const mode& m, const linear_problem& p, const Rows& rows, linear_answer& a) {
  if (!m.single_precision) return;
  const index group = p.Q.heads / p.K.heads;
  for_each_head(p.Q, [&](index b, index h) {
    const head_rows x{rows(p.Q.head<double>(b, h)), rows(p.K.head<double>(b, h / group)),
                      p.V.head<double>(b, h / group)};
    const magnitudes most = magnitudes_of(p, x, b, h / group);
    a.output_bound = std::max(a.output_bound, roundings<float>(p, most.output));
    a.state_bound = std::max(a.state_bound, roundings<float>(p, most.state));
    a.key_sum_bound = std::max(a.key_sum_bound, roundings<float>(p, most.key_sum));
    if (!p.dO) return;
    const double slope = std::max(rows.slope(p.Q.head<double>(b, h).cwiseAbs()),
                                  rows.slope(p.K.head<double>(b, h / group).cwiseAbs()));
    raise_gradient_bounds(
        p, gradient_magnitudes_of(p, x, p.dO->head<double>(b, h), b, h / group, true, slope), group,
        a.gradient_bounds);
  });
}

template <class Map, class Rows>
linear_answer solve(const case_file& c, const mode& m, linear_problem p, const Map& map,
                    const Rows& rows) {
  if (p.features == 0) p.features = p.K.cols;
  linear_answer a = m.single_precision ? causal<float>(c, m, p, map) : causal<double>(c, m, p, map);
  set_bounds(m, p, rows, a);
  return a;
}
linear_answer solve(const case_file& c, const mode& m, const linear_problem& p) {
  return solve(c, m, p, features::identity{}, no_map{});
}

linear_problem read_problem(const case_file& c, layout how) {
  linear_problem p;
  p.Q = grid_of(c, c.input("q", 4), how);
  p.K = grid_of(c, c.input("k", 4), how);
  p.V = grid_of(c, c.input("v", 4), how);
  p.scale = c.number("scale", 1);
  if (c.has_input("initial_state")) p.state = grid_of(c, c.input("initial_state", 4));
  if (c.has_input("grad_o")) p.dO = grid_of(c, c.input("grad_o", 4), how);
  return p;
}

/// (B, T, H) or (B, H, T) as one column for each head.
grid column_of(const case_file& c, const char* name, layout how) {
  tensor t = c.input(name, 3);
  t.shape.push_back(1);
  return grid_of(c, t, how);
}

produced in_layout(const grid& g, double bound, layout how) {
  return how == layout::tokens_first ? tokens_first(g, bound) : heads_first(g, bound);
}
/// One column for each head, without its dimension.
produced column_in_layout(const grid& g, double bound, layout how) {
  produced out = in_layout(g, bound, how);
  out.shape.pop_back();
  return out;
}

outputs with_state(const linear_problem& p, const linear_answer& a, layout how) {
  outputs out;
  out["o"] = in_layout(a.output, a.output_bound, how);
  out["final_state"] = heads_first(a.state, a.state_bound);
  if (!p.dO) return out;
  const gradients_of<grid>& g = a.gradients;
  const gradients_of<double>& bounds = a.gradient_bounds;
  out["grad_q"] = in_layout(g.Q, bounds.Q, how);
  out["grad_k"] = in_layout(g.K, bounds.K, how);
  out["grad_v"] = in_layout(g.V, bounds.V, how);
  if (p.log_decay && p.log_decay->cols == 1)
    out["grad_g"] = column_in_layout(g.log_decay, bounds.log_decay, how);
  else if (p.log_decay)
    out["grad_g"] = out["grad_gk"] = in_layout(g.log_decay, bounds.log_decay, how);
  if (p.strength) out["grad_beta"] = column_in_layout(g.strength, bounds.strength, how);
  if (p.state) out["grad_initial_state"] = heads_first(g.state, bounds.state);
  return out;
}

/// The sum of earlier keys: (B, H, K), or with a token's dimension before or behind H.
grid initial_key_sum(const case_file& c, index heads) {
  tensor z = c.input("initial_z");
  if (z.rank() == 3) z.shape.insert(z.shape.begin() + 1, 1);
  require(c, z.rank() == 4, "initial_z has 3 or 4 dimensions");
  const bool tokens = z.shape[1] == 1 && z.shape[2] == heads;
  return grid_of(c, z, tokens ? layout::tokens_first : layout::heads_first);
}

outputs fla_linear(const case_file& c, const mode& m) {
  linear_problem p = read_problem(c, layout::tokens_first);
  if (c.has_input("initial_z")) p.key_sum = initial_key_sum(c, p.K.heads);
  if (c.flag("normalize")) p.epsilon = 1e-10;
  const linear_answer a = solve(c, m, p);
  outputs out = with_state(p, a, layout::tokens_first);
  out["final_state_0"] = out["final_state"];
  out["final_state_1"] = tokens_first(a.key_sum, a.key_sum_bound);
  return out;
}

outputs fla_delta(const case_file& c, const mode& m) {
  linear_problem p = read_problem(c, layout::heads_first);
  p.strength = column_of(c, "beta", layout::heads_first);
  return with_state(p, solve(c, m, p), layout::heads_first);
}

outputs fla_gated_delta(const case_file& c, const mode& m) {
  linear_problem p = read_problem(c, layout::tokens_first);
  p.strength = column_of(c, "beta", layout::tokens_first);
  p.log_decay = column_of(c, "g", layout::tokens_first);
  return with_state(p, solve(c, m, p), layout::tokens_first);
}

outputs fla_simple_gla(const case_file& c, const mode& m) {
  linear_problem p = read_problem(c, layout::tokens_first);
  p.log_decay = column_of(c, "g", layout::tokens_first);
  return with_state(p, solve(c, m, p), layout::tokens_first);
}

outputs fla_gla(const case_file& c, const mode& m) {
  linear_problem p = read_problem(c, layout::tokens_first);
  p.log_decay = grid_of(c, c.input("gk", 4), layout::tokens_first);
  return with_state(p, solve(c, m, p), layout::tokens_first);
}

/// Each head `times` in a row.
grid repeated(const grid& g, index times) {
  grid r = grid::zeros(g.batches, g.heads * times, g.rows, g.cols);
  for_each_head(r,
                [&](index b, index h) { r.set_head<double>(b, h, g.head<double>(b, h / times)); });
  return r;
}

/// The sum over `times` heads in a row.
grid gathered(const grid& g, index times) {
  grid r = grid::zeros(g.batches, g.heads / times, g.rows, g.cols);
  for_each_head(g, [&](index b, index h) {
    r.set_head<double>(b, h / times, r.head<double>(b, h / times) + g.head<double>(b, h));
  });
  return r;
}

/// Kimi delta attention: groups of value heads share queries and keys.
outputs fla_kda(const case_file& c, const mode& m) {
  linear_problem p = read_problem(c, layout::tokens_first);
  require(c, p.K.heads > 0 && p.V.heads % p.K.heads == 0, "value heads do not fit");
  const index times = p.V.heads / p.K.heads;
  p.Q = repeated(p.Q, times);
  p.K = repeated(p.K, times);
  p.strength = column_of(c, "beta", layout::tokens_first);
  p.log_decay = grid_of(c, c.input("g", 4), layout::tokens_first);
  linear_answer a = solve(c, m, p);
  const auto sums = static_cast<double>(times);
  a.gradients.Q = gathered(a.gradients.Q, times);
  a.gradients.K = gathered(a.gradients.K, times);
  a.gradient_bounds.Q *= sums;
  a.gradient_bounds.K *= sums;
  return with_state(p, a, layout::tokens_first);
}

outputs fla_retention(const case_file& c, const mode& m) {
  linear_problem p = read_problem(c, layout::heads_first);
  const auto gamma = softlook::retention_decays<double>(p.K.heads);
  p.gamma.assign(gamma.data(), gamma.data() + gamma.size());
  return with_state(p, solve(c, m, p), layout::heads_first);
}

/// All products x_a·x_b of a row, behind 1 and the row itself if `series`.
struct quadratic {
  double factor;
  bool series;
  [[nodiscard]] index count(index d) const { return d * d + (series ? d + 1 : 0); }
  template <class Rows>
  auto operator()(const Rows& X) const {
    using T = typename Rows::Scalar;
    const index d = X.cols(), behind = series ? d + 1 : 0;
    matrix<T> Y(X.rows(), count(d));
    if (series) {
      Y.col(0).setOnes();
      Y.middleCols(1, d) = T(std::sqrt(factor)) * X;
    }
    const T weight = T(factor * (series ? std::sqrt(0.5) : 1));
    for (index a = 0; a < d; ++a)
      for (index b = 0; b < d; ++b)
        Y.col(behind + a * d + b) = weight * X.col(a).cwiseProduct(X.col(b));
    return Y;
  }
  template <class Rows, class Gradient>
  auto backward(const Rows& X, const Gradient& dY) const {
    using T = typename Rows::Scalar;
    const index d = X.cols(), behind = series ? d + 1 : 0;
    const T weight = T(factor * (series ? std::sqrt(0.5) : 1));
    matrix<T> dX = matrix<T>::Zero(X.rows(), d);
    if (series) dX = T(std::sqrt(factor)) * dY.middleCols(1, d);
    for (index a = 0; a < d; ++a)
      for (index b = 0; b < d; ++b) {
        const matrix<T> of = weight * dY.col(behind + a * d + b);
        dX.col(a) += of.cwiseProduct(X.col(b));
        dX.col(b) += of.cwiseProduct(X.col(a));
      }
    return dX;
  }
  double slope(const matrix<double>& X) const {
    return backward(X, matrix<double>(matrix<double>::Ones(X.rows(), count(X.cols())))).maxCoeff();
  }
};

/// Based: 1 + s + s²/2; Rebased: s². A user's feature map; the scale is in it.
outputs fla_quadratic(const case_file& c, const mode& m, bool series) {
  linear_problem p = read_problem(c, layout::heads_first);
  const quadratic map{p.scale, series};
  p.scale = 1;
  p.epsilon = 1e-6;
  p.features = map.count(p.K.cols);
  return with_state(p, solve(c, m, p, features::map(p.features, map), map), layout::heads_first);
}
outputs fla_based(const case_file& c, const mode& m) { return fla_quadratic(c, m, true); }
outputs fla_rebased(const case_file& c, const mode& m) { return fla_quadratic(c, m, false); }

outputs ft_gradients(const linear_problem& p, const gradients_of<grid>& g,
                     const gradients_of<double>& bounds) {
  if (!p.dO) return {};
  return {{"grad_queries", tokens_first(g.Q, bounds.Q)},
          {"grad_keys", tokens_first(g.K, bounds.K)},
          {"grad_values", tokens_first(g.V, bounds.V)}};
}

outputs ft_causal(const case_file& c, const mode& m) {
  agree(c, "causal", 1);
  linear_problem p;
  p.Q = grid_of(c, c.input("queries", 4), layout::tokens_first);
  p.K = grid_of(c, c.input("keys", 4), layout::tokens_first);
  p.V = grid_of(c, c.input("values", 4), layout::tokens_first);
  p.epsilon = c.number("eps", 0);
  if (c.has_input("grad_output"))
    p.dO = grid_of(c, c.input("grad_output", 4), layout::tokens_first);
  const linear_answer a = solve(c, m, p, features::elu_plus_one{}, elu_map{});
  const index batches = p.K.batches, heads = p.K.heads;
  outputs out = ft_gradients(p, a.gradients, a.gradient_bounds);
  out["output"] = tokens_first(a.output, a.output_bound);
  out["state_S"] = heads_first(a.state, a.state_bound);
  out["state_Z"] = reshaped(heads_first(a.key_sum, a.key_sum_bound), {batches, heads, p.K.cols});
  return out;
}

/// The error of a mean of values with positive weights: terms of one sign do not cancel, so every
/// sum is relatively off by its length, and the weights by `feature_error` besides.
double mixture_bound(index features, index keys, double feature_error, double value_magnitude) {
  const double sums = static_cast<double>(features) + 2 * static_cast<double>(keys) + 16;
  return 4 * (sums * std::numeric_limits<float>::epsilon() + feature_error) * value_magnitude;
}

/// Gradients where each batch has its own number of keys; the others have none.
template <class T>
gradients_of<grid> full_gradients(const mode& m, const linear_problem& p,
                                  const std::vector<index>& real) {
  gradients_of<grid> g;
  g.Q = grid::zeros(p.Q.batches, p.Q.heads, p.Q.rows, p.Q.cols);
  g.K = grid::zeros(p.K.batches, p.K.heads, p.K.rows, p.K.cols);
  g.V = grid::zeros(p.V.batches, p.V.heads, p.V.rows, p.V.cols);
  for (index b = 0; b < p.Q.batches; ++b) {
    const index keys = real[static_cast<std::size_t>(b)];
    const auto of_batch = softlook::linear_attention_backward(
        p.Q.packed<T>(b), rows_of(p.K.packed<T>(b), 0, keys), rows_of(p.V.packed<T>(b), 0, keys),
        p.dO->packed<T>(b), features::elu_plus_one{},
        softlook::heads{.query = p.Q.heads, .kv = p.K.heads},
        normalizations::sum{.epsilon = p.epsilon.value_or(0)}, softlook::options{.isa = m.isa});
    matrix<T> dK = matrix<T>::Zero(p.K.rows, p.K.heads * p.K.cols);
    matrix<T> dV = matrix<T>::Zero(p.V.rows, p.V.heads * p.V.cols);
    dK.topRows(keys) = of_batch.dK;
    dV.topRows(keys) = of_batch.dV;
    g.Q.set_packed<T>(b, of_batch.dQ);
    g.K.set_packed<T>(b, dK);
    g.V.set_packed<T>(b, dV);
  }
  return g;
}

gradients_of<double> full_gradient_bounds(const linear_problem& p, const std::vector<index>& real) {
  gradients_of<double> bounds;
  const elu_map rows;
  const index group = p.Q.heads / p.K.heads;
  for_each_head(p.Q, [&](index b, index h) {
    const index keys = real[static_cast<std::size_t>(b)];
    const head_rows x{rows(p.Q.head<double>(b, h)),
                      rows(p.K.head<double>(b, h / group)).topRows(keys),
                      p.V.head<double>(b, h / group).topRows(keys)};
    raise_gradient_bounds(
        p, gradient_magnitudes_of(p, x, p.dO->head<double>(b, h), b, h / group, false, 1), group,
        bounds);
  });
  return bounds;
}

template <class T, class Map>
grid full(const mode& m, const grid& Q, const grid& K, const grid& V,
          const std::vector<index>& real, double epsilon, const Map& map) {
  call_length(m, 1);
  grid O = grid::zeros(Q.batches, Q.heads, Q.rows, V.cols);
  for (index b = 0; b < Q.batches; ++b) {
    const index keys = real[static_cast<std::size_t>(b)];
    O.set_packed<T>(
        b, softlook::linear_attention(Q.packed<T>(b), matrix<T>(K.packed<T>(b).topRows(keys)),
                                      matrix<T>(V.packed<T>(b).topRows(keys)), map,
                                      softlook::heads{.query = Q.heads, .kv = K.heads},
                                      normalizations::sum{.epsilon = epsilon},
                                      softlook::options{.isa = m.isa}));
  }
  return O;
}

outputs ft_full(const case_file& c, const mode& m) {
  agree(c, "causal", 0);
  const grid Q = grid_of(c, c.input("queries", 4), layout::tokens_first);
  const grid K = grid_of(c, c.input("keys", 4), layout::tokens_first);
  const grid V = grid_of(c, c.input("values", 4), layout::tokens_first);
  require(c, Q.batches == K.batches && K.rows == V.rows, "queries, keys, values do not fit");
  std::vector<index> real(static_cast<std::size_t>(K.batches), K.rows);
  if (c.has_input("key_lengths")) real = lengths_of(c, c.input("key_lengths"), K.batches, K.rows);
  const double eps = c.number("eps", 0);
  const features::elu_plus_one map;
  const grid O = m.single_precision ? full<float>(m, Q, K, V, real, eps, map)
                                    : full<double>(m, Q, K, V, real, eps, map);
  const double exponential = 8 * std::numeric_limits<float>::epsilon();
  const Eigen::Map<const matrix<double>> values(V.values.data(), 1,
                                                static_cast<index>(V.values.size()));
  outputs out;
  if (c.has_input("grad_output")) {
    linear_problem p;
    p.Q = Q;
    p.K = K;
    p.V = V;
    p.epsilon = eps;
    p.features = K.cols;
    p.dO = grid_of(c, c.input("grad_output", 4), layout::tokens_first);
    out = m.single_precision
              ? ft_gradients(p, full_gradients<float>(m, p, real), full_gradient_bounds(p, real))
              : ft_gradients(p, full_gradients<double>(m, p, real), {});
  }
  out["output"] =
      tokens_first(O, mixture_bound(K.cols, K.rows, exponential, finite_magnitude(values)));
  return out;
}

/// Queries, keys and values of performer-pytorch, and what its feature maps give.
struct performer_case {
  grid Q, K, V, q_prime, k_prime, output;
  matrix<double> W;
  double feature_error = 0;

  explicit performer_case(const case_file& c)
      : Q(grid_of(c, c.input("q", 4))),
        K(grid_of(c, c.input("k", 4))),
        V(grid_of(c, c.input("v", 4))) {
    const tensor& t = c.input("projection_matrix", 2);
    require(c, t.shape[1] == Q.cols && K.cols == Q.cols, "projection_matrix does not fit");
    W = Eigen::Map<const matrix<double>>(t.values.data(), t.shape[0], t.shape[1]);
    q_prime = grid::zeros(Q.batches, Q.heads, Q.rows, W.rows());
    k_prime = grid::zeros(K.batches, K.heads, K.rows, W.rows());
    output = grid::zeros(Q.batches, Q.heads, Q.rows, V.cols);
  }
  [[nodiscard]] outputs result(const mode& m) const {
    const auto all = [](const grid& g) {
      return Eigen::Map<const matrix<double>>(g.values.data(), 1,
                                              static_cast<index>(g.values.size()));
    };
    const double error = m.single_precision ? feature_error : 0;
    const double bound =
        m.single_precision ? mixture_bound(W.rows(), K.rows, error, finite_magnitude(all(V))) : 0;
    return {{"q_prime", heads_first(q_prime, error * finite_magnitude(all(q_prime)))},
            {"k_prime", heads_first(k_prime, error * finite_magnitude(all(k_prime)))},
            {"output", heads_first(output, bound)}};
  }
};

/// Causal attention of performer-pytorch divides by φ(q)·(z + 1e-6): a sum of earlier keys that
/// starts there.
template <class T>
matrix<T> causal_favor(const mode& m, const matrix<T>& Q, const matrix<T>& K, const matrix<T>& V,
                       const softlook::random_features<T>& map) {
  constexpr double start = 1e-6;
  softlook::linear_state<T> state(map.count(), V.cols());
  state.key_sum().setConstant(static_cast<T>(start));
  matrix<T> O(Q.rows(), V.cols());
  const index length = std::max<index>(call_length(m, Q.rows()), 1);
  for (index t = 0; t < Q.rows(); t += length) {
    const index count = std::min(length, Q.rows() - t);
    O.middleRows(t, count) = softlook::causal_linear_attention(
        Q.middleRows(t, count), K.middleRows(t, count), V.middleRows(t, count), state, map,
        softlook::options{.isa = m.isa});
  }
  return O;
}

/// The largest exponents are taken of each head's keys, as performer-pytorch does.
template <class T>
void favor(const mode& m, performer_case& p, bool is_causal) {
  constexpr double epsilon = 1e-4;
  const matrix<T> W = p.W.template cast<T>();
  for_each_head(p.Q, [&](index b, index h) {
    const matrix<T> Q = p.Q.head<T>(b, h), K = p.K.head<T>(b, h), V = p.V.head<T>(b, h);
    const double shift = softlook::random_features<T>(W).largest_exponent(K);
    const softlook::random_features<T> map(W, {.epsilon = epsilon, .key_shift = shift});
    p.q_prime.set_head<T>(b, h, map.queries(Q));
    p.k_prime.set_head<T>(b, h, map.keys(K));
    p.output.set_head<T>(b, h,
                         is_causal ? causal_favor(m, Q, K, V, map)
                                   : matrix<T>(softlook::linear_attention(
                                         Q, K, V, map, softlook::options{.isa = m.isa})));
    // Exponents are sums of d rounded products; e^x turns their error into a relative one.
    const double root = std::sqrt(static_cast<double>(Q.cols()));
    const double exponents =
        std::max(dot_magnitude(W, Q) / std::sqrt(root), dot_magnitude(W, K) / std::sqrt(root)) +
        std::max(dot_magnitude(Q, Q), dot_magnitude(K, K)) / root;
    p.feature_error =
        std::max(p.feature_error, (static_cast<double>(Q.cols()) + 8) *
                                      std::numeric_limits<float>::epsilon() * (1 + exponents));
  });
}

outputs performer_favor(const case_file& c, const mode& m) {
  call_length(m, 1);
  performer_case p(c);
  const bool is_causal = c.flag("causal");
  if (m.single_precision)
    favor<float>(m, p, is_causal);
  else
    favor<double>(m, p, is_causal);
  return p.result(m);
}

/// relu(x·Pᵀ) + 0.001 as a user's feature map.
struct relu_of_projection {
  matrix<double> W;
  double root;
  template <class Rows>
  auto operator()(const Rows& X) const {
    using T = typename Rows::Scalar;
    const matrix<T> Y = T(root) * X * W.template cast<T>().transpose();
    return matrix<T>(Y.array().max(T(0)) + T(1e-3));
  }
};

template <class T>
void performer_relu_in(const mode& m, performer_case& p) {
  const relu_of_projection f{p.W, 1 / std::sqrt(std::sqrt(static_cast<double>(p.Q.cols)))};
  for_each_head(p.Q, [&](index b, index h) {
    const matrix<T> Q = p.Q.head<T>(b, h), K = p.K.head<T>(b, h);
    p.q_prime.set_head<T>(b, h, f(Q));
    p.k_prime.set_head<T>(b, h, f(K));
    p.output.set_head<T>(
        b, h,
        softlook::linear_attention(Q, K, p.V.head<T>(b, h), features::map(p.W.rows(), f),
                                   softlook::options{.isa = m.isa}));
    // A feature is a sum that may cancel, but not below 0.001.
    const double sums = f.root * std::max(dot_magnitude(p.W, Q), dot_magnitude(p.W, K));
    p.feature_error =
        std::max(p.feature_error, (static_cast<double>(Q.cols()) + 4) *
                                      std::numeric_limits<float>::epsilon() * sums / 1e-3);
  });
}

outputs performer_relu(const case_file& c, const mode& m) {
  agree(c, "causal", 0);
  call_length(m, 1);
  performer_case p(c);
  if (m.single_precision)
    performer_relu_in<float>(m, p);
  else
    performer_relu_in<double>(m, p);
  return p.result(m);
}

outputs onnx_linear(const case_file& c, const mode& m) {
  linear_problem p;
  const index kv = c.integer("kv_num_heads", 0);
  p.Q = grid_of_packed(c, c.input("query", 3), c.integer("q_num_heads", 0));
  p.K = grid_of_packed(c, c.input("key", 3), kv);
  p.V = grid_of_packed(c, c.input("value", 3), kv);
  p.scale = c.number("scale", 1 / std::sqrt(static_cast<double>(p.K.cols)));
  const std::string rule = c.text("update_rule", "gated_delta");
  const bool gated = rule == "gated" || rule == "gated_delta";
  const bool delta = rule == "delta" || rule == "gated_delta";
  if (!gated && !delta && rule != "linear") throw unsupported("update_rule " + rule);
  if (gated) p.log_decay = grid_of_packed(c, c.input("decay", 3), kv);
  if (delta) {
    const tensor& beta = c.input("beta", 3);
    p.strength = grid_of_packed(c, beta, beta.shape[2] == 1 ? 1 : kv);
  }
  if (c.has_input("past_state")) p.state = grid_of(c, c.input("past_state", 4));
  const linear_answer a = solve(c, m, p);
  return {{"output", packed(a.output, a.output_bound)},
          {"present_state", heads_first(a.state, a.state_bound)}};
}

}  // namespace

void add_linear_adapters(adapter_table& table) {
  table["fla.naive_recurrent_linear_attn"] = fla_linear;
  table["fla.delta_rule_recurrence"] = fla_delta;
  table["fla.naive_recurrent_gated_delta_rule"] = fla_gated_delta;
  table["fla.naive_recurrent_simple_gla"] = fla_simple_gla;
  table["fla.naive_recurrent_gla"] = fla_gla;
  table["fla.naive_recurrent_kda"] = fla_kda;
  table["fla.naive_retention"] = fla_retention;
  table["fla.naive_parallel_based"] = fla_based;
  table["fla.naive_parallel_rebased"] = fla_rebased;
  table["ft.CausalLinearAttention"] = ft_causal;
  table["ft.LinearAttention"] = ft_full;
  table["performer.favor_softmax"] = performer_favor;
  table["performer.favor_relu"] = performer_relu;
  table["onnx.LinearAttention"] = onnx_linear;
}

}  // namespace conformance
