// Linear attention, fast weights and random features.
#pragma once

#include <string>
#include <vector>

#include "bits.hpp"

namespace bits {

namespace features = softlook::features;
namespace gates = softlook::gates;
namespace normalizations = softlook::normalizations;
namespace updates = softlook::updates;

/// Of all tokens at once, and of parts of them on a state; the state belongs to the result.
template <class T, class... Ps>
void call_causal(const std::string& name, const tokens<T>& x, index features, index kv,
                 const way& w, const Ps&... ps) {
  const held<T> q(x.Q, w.stored), k(x.K, w.stored), v(x.V, w.stored);
  softlook::linear_state<T> state(features, x.V.cols() / kv, kv);
  held<T> o(x.n(), x.V.cols() / kv * (x.Q.cols() / (x.K.cols() / kv)), w.stored);
  softlook::fast_weights_into(q(), k(), v(), o.out(), state, ps..., w.exec, w.opts);
  digest kept;
  for (index head = 0; head < kv; ++head) {
    kept.add(state.weights(head));
    kept.add(state.key_sum(head));
    kept.add(state.decay_sum(head));
  }
  line(name + w.name, o(), kept.value());
}

template <class T>
void fast_weight_calls() {
  const std::string of = scalar_name<T> + std::string("fast_weights/");
  const heads h{.query = 4, .kv = 2};
  for (const shape& s : {shape{1, 1, 8, 8}, {7, 7, 16, 12}, {33, 33, 24, 40}, {129, 129, 64, 64}}) {
    const tokens<T> x = tokens_of<T>(s), y = tokens_of<T>(s, h);
    const auto decays = [&](const char* name, index columns) {
      return rows_of<T>(-filled<rows_of<T>>(name, s.n, columns).cwiseAbs() / T(8));
    };
    rows_of<T> each = decays("each token", 1), both = decays("each head", 2);
    const rows_of<T> wide = decays("each feature", s.d), all = decays("features of heads", 2 * s.d);
    if (s.n > 20) each(20, 0) = -std::numeric_limits<T>::infinity();
    const rows_of<T> beta = filled<rows_of<T>>("beta", s.n, 1).cwiseAbs() / T(2);
    const rows_of<T> betas = filled<rows_of<T>>("betas", s.n, 2).cwiseAbs() / T(2);
    // Keys of about length 1 keep the delta rule stable.
    tokens<T> unit = x, units = y;
    for (tokens<T>* t : {&unit, &units}) t->K *= T(0.8 / std::sqrt(double(s.d)));
    const row_vector<T> gamma = softlook::retention_decays<T>(1);
    const row_vector<T> gammas = softlook::retention_decays<T>(2);
    for (const way& w : set_ways(of + x.name)) {
      const auto one = [&](const char* name, const auto&... ps) {
        call_causal(of + name + "/" + x.name, unit, s.d, 1, w, ps...);
      };
      const auto many = [&](const char* name, const auto&... ps) {
        call_causal(of + name + "/" + y.name, units, s.d, 2, w, h, ps...);
      };
      const auto more = [&](const char* name, const auto&... ps) {
        if constexpr (everything<T>) one(name, ps...);
      };
      one("sum", updates::sum{});
      line(of + "plain/" + x.name + w.name, softlook::fast_weights(x.Q, x.K, x.V, w.exec, w.opts),
           softlook::fast_weights(unit.Q, unit.K, unit.V, updates::delta{beta}, w.exec, w.opts));
      one("delta", updates::delta{beta});
      more("log_decay", gates::log_decay{each});
      more("log_decay_of_features", gates::log_decay{wide});
      one("gated_delta", gates::log_decay{each}, updates::delta{beta});
      more("gated_delta_of_features", gates::log_decay{wide}, updates::delta{beta});
      more("decay", gates::decay{gamma});
      one("retention", gates::decay{gamma}, normalizations::retention{});
      many("delta", updates::delta{betas});
      many("gated_delta", gates::log_decay{both}, updates::delta{beta});
      many("log_decay_of_features", gates::log_decay{all});
      many("retention", gates::decay{gammas}, normalizations::retention{});
    }
  }
}

template <class T>
void linear_attention_calls() {
  const std::string of = scalar_name<T> + std::string("linear/");
  const heads h{.query = 4, .kv = 2};
  const auto cubic = [](const auto& X) { return (X.array().cube() + X.array().abs()).matrix(); };
  for (const shape& s :
       {shape{1, 1, 8, 8}, {5, 5, 16, 12}, {40, 131, 19, 21}, {129, 129, 64, 64}}) {
    const tokens<T> x = tokens_of<T>(s), y = tokens_of<T>(s, h);
    const softlook::random_features<T> random(s.d, {.features = 70, .seed = 9, .epsilon = 1e-4});
    const features::map mapped(s.d, cubic);
    for (const way& w : set_ways(of + x.name)) {
      const held<T> q(x.Q, w.stored), k(x.K, w.stored), v(x.V, w.stored);
      held<T> o(s.n, s.e, w.stored), all(s.n, 4 * s.e, w.stored);
      const std::string name = x.name + w.name;
      softlook::linear_attention_into(q(), k(), v(), o.out(), w.exec, w.opts);
      softlook::linear_attention_into(y.Q, y.K, y.V, all.out(), h, w.exec, w.opts);
      line(of + "elu/" + name, o(), all());
      line(of + "relu/" + name,
           softlook::linear_attention(q(), k(), v(), features::relu{},
                                      normalizations::sum{.epsilon = 1e-3}, w.exec, w.opts));
      if constexpr (everything<T>) {
        line(of + "identity/" + name,
             softlook::linear_attention(q(), k(), v(), features::identity{}, normalizations::none{},
                                        w.exec, w.opts));
        line(of + "map/" + name, softlook::linear_attention(q(), k(), v(), mapped, w.exec, w.opts));
      }
      line(of + "random/" + name, softlook::linear_attention(q(), k(), v(), random, w.exec, w.opts),
           random.queries(q()), random.keys(k()), random.largest_exponent(x.K));
      if (s.n != s.m) continue;
      softlook::linear_state<T> state(s.d, s.e), other(s.d, s.e);
      rows_of<T> stepped(s.n, s.e);
      for (index first = 0, count = 1; first < s.n; first += count, count = count % 37 + 9) {
        count = std::min(count, s.n - first);
        softlook::causal_linear_attention_into(
            x.Q.middleRows(first, count), x.K.middleRows(first, count),
            x.V.middleRows(first, count), stepped.middleRows(first, count), state, w.exec, w.opts);
      }
      softlook::causal_linear_attention_into(q(), k(), v(), o.out(), w.exec, w.opts);
      line(of + "causal/" + name, o(), stepped, state.weights(), state.key_sum(), state.decay_sum(),
           softlook::causal_linear_attention(q(), k(), v(), w.exec, w.opts),
           softlook::causal_linear_attention(q(), k(), v(), other, w.exec, w.opts),
           other.weights());
      line(of + "causal_random/" + name,
           softlook::causal_linear_attention(q(), k(), v(), random, w.exec, w.opts));
      line(of + "causal_heads/" + name,
           softlook::causal_linear_attention(y.Q, y.K, y.V, h, features::relu{}, w.exec, w.opts));
    }
  }
  const softlook::random_features<T> given(filled<rows_of<T>>("W", 12, 5),
                                           {.scale = 0.4, .key_shift = 0.5});
  line(of + "given_projection", given.projection(), given.keys(filled<rows_of<T>>("X", 9, 5)));
}

template <class T>
void linear_calls() {
  fast_weight_calls<T>();
  linear_attention_calls<T>();
}

}  // namespace bits
