// Attention that is not a softmax over all keys, and decoders: hard, local, monotonic, by location,
// sparse, decomposable, Bahdanau's and Luong's steps.
#pragma once

#include <string>
#include <vector>

#include "attention.hpp"
#include "compat.hpp"

namespace bits {

template <class T>
void hard_calls() {
  const std::string of = scalar_name<T> + std::string("hard/");
  for (const shape& s : {shape{1, 1, 8, 8}, {300, 129, 32, 24}, {64, 64, 64, 64}}) {
    const tokens<T> x = s.n == 64 ? poisoned(tokens_of<T>(s)) : tokens_of<T>(s);
    for (const way& w : set_ways(of + x.name)) {
      const held<T> q(x.Q, w.stored), k(x.K, w.stored), v(x.V, w.stored);
      const masks::causal_bottom_right causal;
      line(of + "argmax/" + x.name + w.name,
           softlook::hard_attention(q(), k(), v(), softlook::selections::argmax{}, causal,
                                    transforms::soft_cap{2}, w.exec, w.opts));
      line(of + "sample/" + x.name + w.name,
           softlook::hard_attention(
               q(), k(), v(), softlook::selections::sample{.seed = 77, .head = 3}, w.exec, w.opts));
    }
  }
  line(of + "hardmax", softlook::hardmax(filled<rows_of<T>>("S", 30, 41)),
       softlook::hardmax(filled<columns_of<T>>("S", 30, 41)));
}

template <class T>
void local_calls() {
  namespace alignments = softlook::alignments;
  const std::string of = scalar_name<T> + std::string("local/");
  for (const shape& s : {shape{1, 1, 8, 8}, {129, 257, 48, 40}, {3, 700, 64, 64}}) {
    const tokens<T> x = tokens_of<T>(s);
    const rows_of<T> W = parameter<rows_of<T>>("W of positions", s.d, 12);
    const column_vector<T> v = filled_vector<column_vector<T>>("v of positions", 12);
    const alignments::predictive predicted(W, v, 7);
    tokens<T> lost = x;
    lost.Q.row(s.n / 2)[0] = std::numeric_limits<T>::quiet_NaN();
    for (const way& w : every_way(of + x.name)) {
      const held<T> q(x.Q, w.stored), k(x.K, w.stored), values(x.V, w.stored);
      line(of + "monotonic/" + x.name + w.name,
           softlook::local_attention(
               q(), k(), values(), alignments::monotonic{.window = 6, .first = 3}, w.exec, w.opts));
      line(of + "predictive/" + x.name + w.name,
           softlook::local_attention(q(), k(), values(), predicted, w.exec, w.opts));
    }
    if constexpr (everything<T>)
      for (const way& w : set_ways(of + "more")) {
        const held<T> q(lost.Q, w.stored), k(x.K, w.stored), values(x.V, w.stored);
        const masks::padding padding{s.m - s.m / 4};
        line(of + "masked/" + x.name + w.name,
             softlook::local_attention(q(), k(), values(), alignments::monotonic{.window = 9},
                                       padding, transforms::soft_cap{2}, w.exec, w.opts),
             softlook::local_attention(q(), k(), values(), predicted, padding, w.exec, w.opts));
        line(of + "weights/" + x.name + w.name,
             softlook::local_attention_weights(q(), k(), alignments::monotonic{.window = 2}, w.exec,
                                               w.opts),
             softlook::local_attention_weights(q(), k(), predicted, w.exec, w.opts));
      }
  }
}

template <class T>
void monotonic_calls() {
  using softlook::monotonic_form;
  const std::string of = scalar_name<T> + std::string("monotonic/");
  for (const shape& s : {shape{1, 1, 8, 8}, {40, 300, 32, 24}, {64, 64, 16, 16}}) {
    const tokens<T> x = tokens_of<T>(s);
    const row_vector<T> start = softlook::monotonic_start<T>(s.m);
    const row_vector<T> previous = filled<row_vector<T>>("previous", 1, s.m).cwiseAbs() / T(s.m);
    const columns_of<T> Wq = parameter<columns_of<T>>("Wq", s.d, 20);
    const columns_of<T> Wk = parameter<columns_of<T>>("Wk", s.d, 20);
    const auto v = softlook::weight_norm(filled_vector<row_vector<T>>("v", 20), T(1.5));
    rows_of<T> E = filled<rows_of<T>>("E", s.n, s.m, 2);
    for (index i = 0; i < s.n; ++i) {
      E(i, (7 * i) % s.m) = -std::numeric_limits<T>::infinity();
      if (i % 5 == 4) E(i, s.m - 1) = std::numeric_limits<T>::infinity();
    }
    for (const way& w : set_ways(of + x.name))
      for (const auto form :
           {monotonic_form::recursive, monotonic_form::parallel, monotonic_form::hard}) {
        const held<T> q(x.Q, w.stored), k(x.K, w.stored), values(x.V, w.stored), e(E, w.stored);
        const std::string name = std::to_string(int(form)) + "/" + x.name + w.name;
        line(of + name, softlook::monotonic_attention(q(), k(), values(), {form, -0.5}, start,
                                                      w.exec, w.opts));
        line(of + "additive/" + name,
             softlook::monotonic_attention(q(), k(), values(), {form}, previous,
                                           scores::additive{Wq, Wk, v},
                                           masks::padding{s.m - s.m / 5}, w.exec, w.opts));
        line(of + "weights/" + name, softlook::monotonic_weights(e(), previous, form, w.exec));
      }
  }
}

template <class T>
void location_calls() {
  const std::string of = scalar_name<T> + std::string("location/");
  for (const shape& s : {shape{1, 1, 8, 8}, {30, 200, 24, 40}, {3, 700, 64, 64}}) {
    const tokens<T> x = tokens_of<T>(s);
    const rows_of<T> W = parameter<rows_of<T>>("W of locations", s.d, s.m + 3);
    for (const way& w : set_ways(of + x.name)) {
      const held<T> q(x.Q, w.stored), weights(W, w.stored), v(x.V, w.stored);
      line(of + "attention/" + x.name + w.name,
           softlook::location_attention(q(), weights(), v(), masks::window_of(90), w.exec, w.opts),
           softlook::location_attention_weights(q(), weights(), s.m, w.exec, w.opts));
    }
    constexpr index a = 18;
    softlook::location_aware_parameters<T> p;
    p.Wq = parameter<rows_of<T>>("Wq", s.d, a);
    p.Wk = parameter<rows_of<T>>("Wk", s.d, a);
    p.filters = filled<rows_of<T>>("filters", 4, 9);
    p.U = parameter<rows_of<T>>("U", 4, a);
    p.v = filled_vector<column_vector<T>>("v", a);
    const column_vector<T> b = filled_vector<column_vector<T>>("b", a);
    softlook::coverage_parameters<T> c{p.Wq, p.Wk, filled_vector<column_vector<T>>("w_c", a), p.v,
                                       b};
    softlook::location_aware_attention<T> aware(p);
    softlook::coverage_attention<T> covering(c);
    aware.set_memory(x.K, x.V, s.m - s.m / 6);
    covering.set_memory(x.K, x.V);
    for (const way& w : every_way(of + "step")) {
      row_vector<T> previous = row_vector<T>::Zero(s.m), coverage = previous;
      rows_of<T> all(s.n, s.m);
      for (index i = 0; i < std::min<index>(s.n, 4); ++i) {
        const std::string name = x.name + "/" + std::to_string(i) + w.name;
        const auto one = aware.step(x.Q.row(i), previous, transforms::soft_cap{3}, w.exec, w.opts);
        const auto other = covering.step(x.Q.row(i), coverage, w.exec, w.opts);
        previous = one.weights.row(0);
        coverage += other.weights.row(0);
        line(of + "aware/" + name, one);
        line(of + "coverage/" + name, other);
      }
    }
    line(of + "features/" + x.name, softlook::location_features(p.filters, x.V.col(0)),
         softlook::coverage_loss(softlook::attention_weights(x.Q, x.K)));
  }
}

template <class T>
void sparse_calls() {
  const std::string of = scalar_name<T> + std::string("entmax/");
  rows_of<T> S = filled<rows_of<T>>("S", 40, 130);
  S.row(3).setConstant(-std::numeric_limits<T>::infinity());
  S(5, 7) = -std::numeric_limits<T>::infinity();
  const columns_of<T> by_columns = S;
  for (const double alpha : {1.0, 1.2, 1.5, 2.0, 3.5}) {
    const std::string name = std::to_string(alpha) + "/";
    line(of + "rows/" + name, softlook::entmax(S, alpha), softlook::entmax(by_columns, alpha));
    for (const shape& s :
         {shape{1, 1, 8, 8}, {129, 257, 48, 40}, {3, 700, 64, 64}, {64, 64, 24, 24}}) {
      const tokens<T> x = s.n == 64 ? poisoned(tokens_of<T>(s)) : tokens_of<T>(s);
      const columns_of<T> Wq = parameter<columns_of<T>>("Wq", s.d, 20);
      const row_vector<T> v = filled_vector<row_vector<T>>("v", 20);
      for (const way& w : set_ways(of + name + x.name)) {
        const held<T> q(x.Q, w.stored), k(x.K, w.stored), values(x.V, w.stored);
        held<T> o(s.n, s.e, w.stored);
        const masks::causal_bottom_right causal;
        softlook::entmax_attention_into(q(), k(), values(), o.out(), alpha, causal,
                                        transforms::soft_cap{4}, w.exec, w.opts);
        line(of + name + x.name + w.name, o(),
             softlook::entmax_attention(q(), k(), values(), alpha, w.exec, w.opts));
        line(of + "weights/" + name + x.name + w.name,
             softlook::entmax_attention_weights(q(), k(), alpha, causal, w.exec, w.opts));
        if (alpha == 1.5)
          line(of + "additive/" + x.name + w.name,
               softlook::entmax_attention(q(), k(), values(), alpha, scores::additive{Wq, Wq, v},
                                          w.exec, w.opts));
      }
    }
  }
  line(of + "sparsemax", softlook::sparsemax(S));
}

template <class T>
void decomposable_calls() {
  const std::string of = scalar_name<T> + std::string("decomposable/");
  for (const shape& s : {shape{1, 2, 8, 8}, {30, 45, 24, 24}, {200, 120, 64, 64}}) {
    const rows_of<T> A = filled<rows_of<T>>("A", s.n, s.d), B = filled<rows_of<T>>("B", s.m, s.d);
    const softlook::activation relu = softlook::activation::relu;
    const compat::linear_layer<T> F(parameter<columns_of<T>>("F", s.d, 16), relu);
    const compat::linear_layer<T> G(parameter<columns_of<T>>("G", 2 * s.d, 20), relu);
    const compat::linear_layer<T> H(parameter<columns_of<T>>("H", 40, 3));
    const softlook::decomposable_attention model(F, G, H);
    const rows_of<T> FA = F(A), FB = F(B);
    const softlook::sentence_lengths lengths{.a = s.n, .b = s.m - 1};
    const std::string name = std::to_string(s.n) + "x" + std::to_string(s.m);
    for (const way& w : set_ways(of + name)) {
      const held<T> a(A, w.stored), b(B, w.stored), fa(FA, w.stored), fb(FB, w.stored);
      line(of + name + w.name, softlook::soft_align(a(), b(), fa(), fb(), lengths, w.exec, w.opts),
           softlook::soft_align_weights(fa(), fb(), lengths, w.exec, w.opts),
           model(a(), b(), lengths, w.exec, w.opts));
    }
  }
}

/// Steps of decoders: a memory, then rows one by one and several at once.
template <class T>
void decoder_calls() {
  const std::string of = scalar_name<T> + std::string("decoder/");
  constexpr index a = 34;
  for (const shape& s : {shape{6, 1, 8, 8}, {6, 129, 48, 40}, {6, 700, 64, 64}}) {
    const tokens<T> x = tokens_of<T>(s);
    const rows_of<T> keys = filled<rows_of<T>>("keys", s.m, s.d + 3);
    const columns_of<T> Wq = parameter<columns_of<T>>("Wq", s.d, a);
    const columns_of<T> Wk = parameter<columns_of<T>>("Wk", s.d + 3, a);
    const rows_of<T> W = parameter<rows_of<T>>("W", s.d, s.d + 3);
    const rows_of<T> Wc = parameter<rows_of<T>>("Wc", 2 * s.d + 3, a);
    const row_vector<T> v = filled_vector<row_vector<T>>("v", a);
    const column_vector<T> b = filled_vector<column_vector<T>>("b", a);
    auto additive = compat::bahdanau_additive<T>(Wq, Wk, v);
    auto biased = compat::bahdanau_additive<T>(Wq, Wk, v, b);
    additive.set_memory(keys, x.V);
    biased.set_memory(keys, x.V, s.m - s.m / 3);
    auto dot = compat::luong_dot<T>();
    auto scaled = compat::luong_scaled_dot<T>();
    auto general = compat::luong_general<T>(W);
    auto concat = compat::luong_concat<T>(Wc, v);
    dot.set_memory(x.K, x.V);
    scaled.set_memory(x.K, x.V, s.m - s.m / 3);
    general.set_memory(keys, x.V);
    concat.set_memory(keys, x.V);
    for (const way& w : every_way(of + x.name)) {
      const held<T> all(x.Q, w.stored), one(x.Q.row(2), w.stored);
      const auto steps = [&](const std::string& name, const auto& decoder) {
        line(of + name + "/" + x.name + w.name, decoder.step(one(), w.exec, w.opts),
             decoder.step(all(), w.exec, w.opts));
      };
      steps("bahdanau", additive);
      steps("bahdanau_biased", biased);
      steps("dot", dot);
      steps("scaled_dot", scaled);
      steps("general", general);
      steps("concat", concat);
      line(of + "bahdanau_masked/" + x.name + w.name,
           additive.step(all(), masks::window{.left = 40, .right = 40}, transforms::soft_cap{2},
                         w.exec, w.opts));
      line(of + "dot_masked/" + x.name + w.name,
           dot.step(one(), masks::padding{s.m - s.m / 4}, transforms::alibi{0.1}, w.exec, w.opts));
    }
    line(of + "plain/" + x.name, additive.step(x.Q.row(0)), dot.step(x.Q));
  }
}

template <class T>
void variant_calls() {
  hard_calls<T>();
  local_calls<T>();
  monotonic_calls<T>();
  sparse_calls<T>();
  decoder_calls<T>();
  if constexpr (everything<T>) {
    location_calls<T>();
    decomposable_calls<T>();
  }
}

}  // namespace bits
