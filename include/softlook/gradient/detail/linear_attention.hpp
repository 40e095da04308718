#pragma once

#include <algorithm>
#include <cmath>

#include "softlook/gradient/detail/linear_slopes.hpp"
#include "softlook/gradient/detail/products.hpp"

// The way back of linear attention: of a token, with S the state after it,
//   y = Sᵀq,  o = y / divisor;  S = S̃ + k·uᵀ,  u = v or β(v − S̃ᵀk),  S̃ = diag(a)·S of before.
//   dy = do / divisor,  dq = S·dy + dx·z,  dS += q·dyᵀ,  dz += dx·q   (x = q·z, of the divisor)
//   dk = dS·u + dz,  du = dSᵀk;  dβ = du·(v − S̃ᵀk),  dv = β·du,  dk −= S̃·dv,  dS̃ = dS − k·dvᵀ
//   da = rows of dS̃ ∘ S of before, + dz ∘ z of before;  dS of before = diag(a)·dS̃
// States are kept at the first token of each chunk, and inside a chunk while it is gone through.
//
// Traffic of a token: five passes over d·e numbers forward again and back; √n + √n states are kept.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Where the gradients go; all are written.
template <class T>
struct linear_results {
  mutable_matrix_view<T> dQ, dK, dV;
  mutable_matrix_view<T> dgate;      // of the gate's own form
  mutable_matrix_view<T> dstrength;  // n×heads
};

template <class T>
class linear_backward_run {
 public:
  linear_backward_run(const linear_call<T>& c, const feature_slopes<T>& slopes,
                      const matrix_view<T>& dO, const linear_results<T>& to, const layer_call& call)
      : c_(c), slopes_(slopes), dO_(dO), to_(to), call_(call) {
    features_ = c.features();
    scale_ = T(c.opts.scale.value_or(1));
  }

  /// `first` is the state before the first token, if any; `dstate` is the gradient of the last
  /// state, and becomes that of the first.
  void run_in_order(const linear_state<T>* first, linear_state<T>* dstate) const {
    const index kv = c_.kv(), workers = std::min(c_.exec.concurrency, kv);
    call_scratch arena(c_.opts.workspace);
    T* const start = arena.template take<T>(workers * scratch_size());
    run_tasks(c_.exec, kv, [&](index head, index worker) {
      in_order(head, first, dstate, start + worker * scratch_size());
    });
  }

  void run_without_order() const {
    for (index head = 0; head < c_.kv(); ++head) without_order(head);
  }

 private:
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  /// S (features × values), z and the sum of decays, behind each other.
  [[nodiscard]] index values() const { return c_.values(); }
  [[nodiscard]] index key_sum() const { return features_ * values(); }
  [[nodiscard]] index decay_sum() const { return key_sum() + features_; }
  [[nodiscard]] index state_size() const { return decay_sum() + 1; }
  [[nodiscard]] index tokens() const { return c_.K.rows; }
  /// Tokens between two states that are kept.
  [[nodiscard]] index chunk() const {
    return std::max<index>(index(std::ceil(std::sqrt(double(tokens())))), 1);
  }
  [[nodiscard]] index chunks() const { return ceil_div(tokens(), chunk()); }
  [[nodiscard]] index scratch_size() const {
    const index rows = 2 * tokens() * (1 + c_.group()) * features_;
    return rows + (chunks() + chunk() + 2) * state_size() + (chunk() + 3) * values() +
           2 * features_;
  }

  void map_rows(const matrix_view<T>& X, bool keys, T scale,
                const mutable_matrix_view<T>& out) const {
    if (c_.map.apply) {
      // Whole vectors, which a map may write.
      const index stride = round_up(out.cols, state_step);
      aligned_vector<T> rows(std::size_t(X.rows * stride)), numbers(std::size_t(X.rows + 1));
      const mutable_matrix_view<T> mapped{rows.data(), X.rows, out.cols, stride, 1};
      c_.map.apply(c_.map.self, c_.where, call_.isa, X, keys, mapped, numbers.data());
      copy_rows(as_input(mapped), out);
    } else {
      for (index i = 0; i < out.rows; ++i)
        for (index f = 0; f < out.cols; ++f) out(i, f) = feature_of(c_.map.kind, X(i, f));
    }
    for (index i = 0; i < out.rows && scale != T(1); ++i)
      for (index f = 0; f < out.cols; ++f) out(i, f) *= scale;
  }
  /// dX of X's features' gradient, which it may change.
  void map_rows_back(const matrix_view<T>& X, bool keys, T scale, const mutable_matrix_view<T>& dY,
                     const mutable_matrix_view<T>& dX) const {
    for (index i = 0; i < dY.rows && scale != T(1); ++i)
      for (index f = 0; f < dY.cols; ++f) dY(i, f) *= scale;
    if (slopes_.back) {
      slopes_.back(slopes_.self, c_.where, X, keys, as_input(dY), dX);
      return;
    }
    for (index i = 0; i < dX.rows; ++i)
      for (index f = 0; f < dX.cols; ++f)
        dX(i, f) = dY(i, f) * feature_slope_of(c_.map.kind, X(i, f));
  }

  /// Some columns of a matrix with heads side by side.
  template <class View>
  [[nodiscard]] static View head_of(const View& X, index head, index width) {
    return X.columns(head * width, width);
  }

  /// The decay of a feature at a token.
  [[nodiscard]] T decay(index head, index t, index f) const {
    if (!c_.gate.data) return T(1);
    const index width = c_.gate.cols / c_.kv(), column = head * width + (width == 1 ? 0 : f);
    return c_.log_gate ? math::exp(c_.gate(t, column)) : c_.gate(0, column);
  }
  [[nodiscard]] T strength(index head, index t) const {
    return c_.strength(t, c_.strength.cols == 1 ? 0 : head);
  }

  /// What a head's loop works with.
  struct head_rows {
    index head;
    T *keys, *queries, *dkeys, *dqueries;  // features
    matrix_view<T> V;

    [[nodiscard]] const T* key(index t, index features) const { return keys + t * features; }
  };

  /// sums = Sᵀ·w
  void read(const T* S, const T* w, T* sums) const {
    const index e = values();
    std::fill_n(sums, e, T(0));
    for (index f = 0; f < features_; ++f, S += e)
      for (index j = 0; j < e; ++j) sums[j] += w[f] * S[j];
  }

  /// The state after token t from the one before, and u.
  void advance(const head_rows& x, index t, const T* before, T* after, T* u) const {
    const index e = values();
    const T* const k = x.key(t, features_);
    for (index f = 0; f < features_; ++f) {
      const T a = decay(x.head, t, f);
      for (index j = 0; j < e; ++j) after[f * e + j] = a * before[f * e + j];
      after[key_sum() + f] = a * before[key_sum() + f] + k[f];
      if (f == 0) after[decay_sum()] = a * before[decay_sum()] + T(1);
    }
    if (features_ == 0) after[decay_sum()] = before[decay_sum()] + T(1);
    if (c_.strength.data) {
      read(after, k, u);
      for (index j = 0; j < e; ++j) u[j] = strength(x.head, t) * (x.V(t, j) - u[j]);
    } else {
      for (index j = 0; j < e; ++j) u[j] = x.V(t, j);
    }
    for (index f = 0; f < features_; ++f)
      for (index j = 0; j < e; ++j) after[f * e + j] += k[f] * u[j];
  }

  /// dq of the group's queries; what they read joins `d`, the gradient of the state.
  void queries_back(const head_rows& x, index t, const T* state, T* d, T* y) const {
    const index e = values(), group = c_.group();
    const T *const z = state + key_sum(), epsilon = T(c_.epsilon);
    for (index g = 0; g < group; ++g) {
      const index at = (g * tokens() + t) * features_;
      const T* const q = x.queries + at;
      T *const dq = x.dqueries + at, *const dz = d + key_sum();
      const matrix_view<T> given = head_of(dO_, x.head * group + g, e);
      read(state, q, y);
      T sum = 0;
      for (index f = 0; f < features_; ++f) sum += q[f] * z[f];
      const output_slope<T> by = output_slope_of(c_.divisor, sum, epsilon, state[decay_sum()]);
      T ddivisor = 0;
      for (index j = 0; j < e; ++j) {
        ddivisor -= by.factor * by.factor * given(t, j) * y[j];
        y[j] = by.factor * given(t, j);
      }
      const T dsum = by.by_sum == T(0) ? T(0) : by.by_sum * ddivisor;
      for (index f = 0; f < features_; ++f) {
        const T* const S = state + f * e;
        T* const dS = d + f * e;
        T along = 0;
        for (index j = 0; j < e; ++j) {
          along += S[j] * y[j];
          dS[j] += q[f] * y[j];
        }
        dq[f] = along + dsum * z[f];
        dz[f] += dsum * q[f];
      }
      if (by.by_decay != T(0)) d[decay_sum()] += by.by_decay * ddivisor;
    }
  }

  /// dk, dv, and the gradients of strength and gate; `d` becomes that of the state before.
  void key_back(const head_rows& x, index t, const T* before, const T* u, T* d, T* dv) const {
    const index e = values(), head = x.head;
    const T *const k = x.key(t, features_), *const dz = d + key_sum();
    T* const dk = x.dkeys + t * features_;
    const mutable_matrix_view<T> dV = head_of(to_.dV, head, e);
    read(d, k, dv);
    for (index f = 0; f < features_; ++f) {
      T along = dz[f];
      for (index j = 0; j < e; ++j) along += d[f * e + j] * u[j];
      dk[f] = along;
    }
    if (c_.strength.data) strength_back(x, t, before, u, d, dv);
    for (index j = 0; j < e; ++j) dV(t, j) = dv[j];
    const index width = c_.gate.data ? c_.gate.cols / c_.kv() : 0;
    for (index f = 0; f < features_; ++f) {
      const T a = decay(head, t, f);
      T slope = dz[f] * before[key_sum() + f];
      for (index j = 0; j < e; ++j) {
        slope += d[f * e + j] * before[f * e + j];
        d[f * e + j] *= a;
      }
      d[key_sum() + f] *= a;
      if (width > 0) add_gate(head, t, width == 1 ? 0 : f, width, slope, a);
    }
    if (width == 1) {
      const T a = decay(head, t, 0);
      add_gate(head, t, 0, width, d[decay_sum()] * before[decay_sum()], a);
      d[decay_sum()] *= a;
    }
  }
  void add_gate(index head, index t, index f, index width, T slope, T a) const {
    to_.dgate(c_.log_gate ? t : 0, head * width + f) += c_.log_gate ? a * slope : slope;
  }
  /// dv is du on the way in.
  void strength_back(const head_rows& x, index t, const T* before, const T* u, T* d, T* dv) const {
    const index e = values();
    const T beta = strength(x.head, t), *const k = x.key(t, features_);
    T* const dk = x.dkeys + t * features_;
    T slope = 0;
    for (index j = 0; j < e; ++j) {
      T miss = x.V(t, j);  // v − S̃ᵀk, which is u / β where β is not 0
      if (beta == T(0))
        for (index f = 0; f < features_; ++f)
          miss -= decay(x.head, t, f) * before[f * e + j] * k[f];
      else
        miss = u[j] / beta;
      slope += dv[j] * miss;
      dv[j] *= beta;
    }
    to_.dstrength(t, x.head) = slope;
    for (index f = 0; f < features_; ++f) {
      const T a = decay(x.head, t, f);
      T along = 0;
      for (index j = 0; j < e; ++j) {
        along += a * before[f * e + j] * dv[j];
        d[f * e + j] -= k[f] * dv[j];
      }
      dk[f] -= along;
    }
  }

  void load(const linear_state<T>* from, index head, T* state) const {
    std::fill_n(state, state_size(), T(0));
    if (!from) return;
    const auto S = from->weights(head);
    const auto z = from->key_sum(head);
    for (index f = 0; f < features_; ++f) {
      for (index j = 0; j < values(); ++j) state[f * values() + j] = S(f, j);
      state[key_sum() + f] = z[f];
    }
    state[decay_sum()] = from->decay_sum(head);
  }
  void store(const T* state, index head, linear_state<T>* to) const {
    if (!to) return;
    auto S = to->weights(head);
    auto z = to->key_sum(head);
    for (index f = 0; f < features_; ++f) {
      for (index j = 0; j < values(); ++j) S(f, j) = state[f * values() + j];
      z[f] = state[key_sum() + f];
    }
    to->decay_sum(head) = state[decay_sum()];
  }

  void in_order(index head, const linear_state<T>* first, linear_state<T>* dstate,
                T* scratch) const {
    const index n = tokens(), each = chunk(), size = state_size(), group = c_.group();
    const auto take = [&](index count) {
      T* const at = scratch;
      scratch += count;
      return at;
    };
    head_rows x{head,
                take(n * features_),
                take(n * group * features_),
                take(n * features_),
                take(n * group * features_),
                head_of(c_.V, head, values())};
    T *const kept = take(chunks() * size), *const states = take((each + 1) * size);
    T *const d = take(size), *const u = take((each + 1) * values()), *const row = take(values());
    const auto features_of = [&](T* rows) {
      return mutable_matrix_view<T>{rows, n, features_, features_, 1};
    };
    const index inputs = c_.inputs();
    map_rows(head_of(c_.K, head, inputs), true, T(1), features_of(x.keys));
    for (index g = 0; g < group; ++g)
      map_rows(head_of(c_.Q, head * group + g, inputs), false, scale_,
               features_of(x.queries + g * n * features_));

    load(first, head, states);
    for (index t = 0; t < n; ++t) {
      if (t % each == 0) std::copy_n(states, size, kept + t / each * size);
      advance(x, t, states, states, u);
    }
    load(dstate, head, d);
    for (index part = chunks() - 1; part >= 0; --part) {
      const index begin = part * each, count = std::min(each, n - begin);
      std::copy_n(kept + part * size, size, states);
      for (index t = 0; t < count; ++t)
        advance(x, begin + t, states + t * size, states + (t + 1) * size, u + t * values());
      for (index t = count - 1; t >= 0; --t) {
        queries_back(x, begin + t, states + (t + 1) * size, d, row);
        key_back(x, begin + t, states + t * size, u + t * values(), d, row);
      }
    }
    store(d, head, dstate);

    map_rows_back(head_of(c_.K, head, inputs), true, T(1), features_of(x.dkeys),
                  head_of(to_.dK, head, inputs));
    for (index g = 0; g < group; ++g)
      map_rows_back(head_of(c_.Q, head * group + g, inputs), false, scale_,
                    features_of(x.dqueries + g * n * features_),
                    head_of(to_.dQ, head * group + g, inputs));
  }

  /// Every query reads one state, the sum over all keys.
  void without_order(index head) const {
    matrix_products<T> products(call_);
    const index m = tokens(), n = c_.Q.rows, e = values(), inputs = c_.inputs();
    matrix keys(m, features_), S(features_, e), dS(features_, e), dkeys(m, features_);
    matrix queries(n, features_), dqueries(n, features_), Y(n, e), z(1, features_);
    matrix dz = matrix::Zero(1, features_);
    const matrix_view<T> K = head_of(c_.K, head, inputs), V = head_of(c_.V, head, e);
    map_rows(K, true, T(1), writable_view(keys));
    products.multiply(view_of(keys).transpose(), V, writable_view(S));
    z.setZero();
    products.add_column_sums(view_of(keys), writable_view(z));
    dS.setZero();
    for (index g = 0; g < c_.group(); ++g) {
      const index of_query = head * c_.group() + g;
      const matrix_view<T> Q = head_of(c_.Q, of_query, inputs);
      map_rows(Q, false, scale_, writable_view(queries));
      products.multiply(view_of(queries), view_of(S), writable_view(Y));
      const matrix_view<T> given = head_of(dO_, of_query, e);
      dqueries.setZero();
      for (index i = 0; i < n; ++i) divisor_back(given, i, z, queries, Y, dqueries, dz);
      products.add(view_of(Y), view_of(S).transpose(), writable_view(dqueries));
      products.add(view_of(queries).transpose(), view_of(Y), writable_view(dS));
      map_rows_back(Q, false, scale_, writable_view(dqueries), head_of(to_.dQ, of_query, inputs));
    }
    for (index j = 0; j < m; ++j)
      for (index f = 0; f < features_; ++f) dkeys(j, f) = dz(0, f);
    products.add(V, view_of(dS).transpose(), writable_view(dkeys));
    products.multiply(view_of(keys), view_of(dS), head_of(to_.dV, head, e));
    map_rows_back(K, true, T(1), writable_view(dkeys), head_of(to_.dK, head, inputs));
  }
  /// Row i of Y becomes its gradient; what goes through the divisor joins dqueries and dz.
  void divisor_back(const matrix_view<T>& given, index i, const matrix& z, const matrix& queries,
                    matrix& Y, matrix& dqueries, matrix& dz) const {
    T sum = 0, ddivisor = 0;
    for (index f = 0; f < features_; ++f) sum += queries(i, f) * z(0, f);
    const output_slope<T> by = output_slope_of(c_.divisor, sum, T(c_.epsilon), T(tokens()));
    for (index j = 0; j < Y.cols(); ++j) {
      ddivisor -= by.factor * by.factor * given(i, j) * Y(i, j);
      Y(i, j) = by.factor * given(i, j);
    }
    if (by.by_sum == T(0)) return;
    for (index f = 0; f < features_; ++f) {
      dqueries(i, f) += by.by_sum * ddivisor * z(0, f);
      dz(0, f) += by.by_sum * ddivisor * queries(i, f);
    }
  }

  const linear_call<T>& c_;
  feature_slopes<T> slopes_;
  matrix_view<T> dO_;
  linear_results<T> to_;
  const layer_call& call_;
  index features_ = 0;
  T scale_ = 1;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
