// Layers and models: projections, norms, multi-head, the Transformer, recurrent cells and
// translations, vision, positions.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "attention.hpp"
#include "compat.hpp"

namespace bits {

using softlook::activation;

template <class T>
[[nodiscard]] row_vector<T> small_row(std::string_view name, index size) {
  return filled_vector<row_vector<T>>(name, size, 0.25);
}
template <class T>
[[nodiscard]] row_vector<T> gain_row(std::string_view name, index size) {
  return small_row<T>(name, size).array() + T(1);
}

/// Parameters of heads with d features each, for inputs of these sizes.
template <class T>
[[nodiscard]] softlook::multi_head_parameters<T> heads_parameters(const std::string& name,
                                                                  const heads& h, index d,
                                                                  index features, index memory) {
  using matrix = columns_of<T>;
  const index kv = h.kv.value_or(h.query);
  softlook::multi_head_parameters<T> p;
  p.Wq = parameter<matrix>(name + "Wq", features, h.query * d);
  p.Wk = parameter<matrix>(name + "Wk", memory, kv * d);
  p.Wv = parameter<matrix>(name + "Wv", memory, kv * d);
  p.Wo = parameter<matrix>(name + "Wo", h.query * d, features);
  p.bq = small_row<T>(name + "bq", p.Wq.cols());
  p.bk = small_row<T>(name + "bk", p.Wk.cols());
  p.bv = small_row<T>(name + "bv", p.Wv.cols());
  p.bo = small_row<T>(name + "bo", p.Wo.cols());
  return p;
}

template <class T, class Parameters>
void fill_feed_forward(Parameters& p, const std::string& name, index features, index hidden) {
  p.W1 = parameter<columns_of<T>>(name + "W1", features, hidden);
  p.W2 = parameter<columns_of<T>>(name + "W2", hidden, features);
  p.b1 = small_row<T>(name + "b1", hidden);
  p.b2 = small_row<T>(name + "b2", features);
  p.gain1 = gain_row<T>(name + "gain1", features);
  p.bias1 = small_row<T>(name + "bias1", features);
  p.gain2 = gain_row<T>(name + "gain2", features);
  p.bias2 = small_row<T>(name + "bias2", features);
}

template <class T>
void map_calls() {
  const std::string of = scalar_name<T> + std::string("layer/");
  for (const auto& [n, in, out] :
       {std::array<index, 3>{1, 1, 1}, {1, 48, 130}, {77, 64, 96}, {130, 33, 50}}) {
    const std::string size = std::to_string(n) + "x" + std::to_string(in);
    const rows_of<T> X = filled<rows_of<T>>("X", n, in);
    const columns_of<T> W = parameter<columns_of<T>>("W", in, out);
    const row_vector<T> b = small_row<T>("b", out), bias = small_row<T>("bias", in);
    const row_vector<T> gain = gain_row<T>("gain", in);
    const softlook::layer_norm<T> norm(gain, bias), plain(gain, row_vector<T>(), 1e-3);
    for (const way& w : set_ways(of + size)) {
      const held<T> x(X, w.stored);
      held<T> y(n, out, w.stored), z(X, w.stored);
      for (const auto f :
           {activation::none, activation::relu, activation::gelu, activation::gelu_tanh}) {
        const compat::linear_layer<T> biased(W, b, f);
        biased.into(x(), y.out(), w.exec, w.opts);
        line(of + "projection/" + softlook::name_of(f) + "/" + size + w.name, y(),
             compat::linear_layer<T>(W, f)(x(), w.exec, w.opts));
      }
      plain.into(z(), z.out(), w.exec, w.opts);
      line(of + "layer_norm/" + size + w.name, norm(x(), w.exec, w.opts), z());
    }
  }
}

template <class T>
void multi_head_calls() {
  const std::string of = scalar_name<T> + std::string("multi_head/");
  for (const bool extra : {false, true})
    for (const heads& h : {heads{.query = 4, .kv = 2}, heads{.query = 3, .kv = {}}}) {
      constexpr index features = 40, memory = 28, d = 16;
      auto p = heads_parameters<T>("multi_head", h, d, features, memory);
      auto own = heads_parameters<T>("on itself", h, d, features, features);
      if (extra) {
        p.bias_k = small_row<T>("bias_k", p.Wk.cols());
        p.bias_v = small_row<T>("bias_v", p.Wv.cols());
        own.bias_k = small_row<T>("own bias_k", own.Wk.cols());
        own.bias_v = small_row<T>("own bias_v", own.Wv.cols());
        own.add_zero_attn = true;
      }
      const softlook::multi_head<T> cross(p, h), self(own, h);
      for (const auto& [n, m] : {std::array<index, 2>{1, 1}, {33, 130}, {90, 90}}) {
        const std::string size = std::to_string(h.query) + (extra ? "_extra/" : "/") +
                                 std::to_string(n) + "x" + std::to_string(m);
        const rows_of<T> X = filled<rows_of<T>>("X", n, features);
        const rows_of<T> K = filled<rows_of<T>>("K", m, memory);
        const softlook::t5_relative_bias<T> bias(filled<columns_of<T>>("t5", 32, h.query));
        for (const way& w : every_way(of + size)) {
          const held<T> x(X, w.stored), k(K, w.stored);
          held<T> o(n, features, w.stored);
          cross.into(x(), k(), k(), o.out(), w.exec, w.opts);
          line(of + "cross/" + size + w.name, o());
          line(of + "self/" + size + w.name, self(x(), masks::causal_top_left{}, w.exec, w.opts));
        }
        for (const way& w : set_ways(of + "more" + size)) {
          const held<T> x(X, w.stored), k(K, w.stored);
          line(of + "masked/" + size + w.name,
               cross(x(), k(), k(), masks::padding{m - m / 3} & masks::window_of(25),
                     transforms::t5_bias{bias}, w.exec, w.opts));
          const auto seen = cross.with_weights(x(), k(), k(), w.exec, w.opts);
          line(of + "weights/" + size + w.name, seen, softlook::mean_of_heads(seen.weights),
               self.with_weights(x(), masks::causal_top_left{}, w.exec, w.opts));
        }
      }
    }
}

template <class T>
[[nodiscard]] softlook::transformer_encoder<T> encoder_of(
    const std::string& name, const softlook::transformer_layer_options& o, index d,
    bool final_norm) {
  const index features = o.heads.query * d;
  std::vector<softlook::transformer_encoder_layer<T>> layers;
  for (int k = 0; k < 2; ++k) {
    const std::string layer = name + std::to_string(k);
    softlook::transformer_encoder_layer_parameters<T> p;
    p.self_attention = heads_parameters<T>(layer, o.heads, d, features, features);
    fill_feed_forward<T>(p, layer, features, 2 * features + 3);
    layers.emplace_back(p, o);
  }
  if (!final_norm) return softlook::transformer_encoder<T>(std::move(layers));
  return softlook::transformer_encoder<T>(
      std::move(layers), softlook::layer_norm<T>(gain_row<T>(name + "gain", features),
                                                 small_row<T>(name + "bias", features)));
}

template <class T>
[[nodiscard]] softlook::transformer_decoder<T> decoder_of(
    const std::string& name, const softlook::transformer_layer_options& o, index d, index memory,
    bool extra) {
  const index features = o.heads.query * d;
  std::vector<softlook::transformer_decoder_layer<T>> layers;
  for (int k = 0; k < 2; ++k) {
    const std::string layer = name + std::to_string(k);
    softlook::transformer_decoder_layer_parameters<T> p;
    p.self_attention = heads_parameters<T>(layer + "self", o.heads, d, features, features);
    p.cross_attention = heads_parameters<T>(layer + "cross", o.heads, d, features, memory);
    for (auto* part : {&p.self_attention, &p.cross_attention})
      if (extra) {
        part->bias_k = small_row<T>(layer + "bias_k", part->Wk.cols());
        part->bias_v = small_row<T>(layer + "bias_v", part->Wv.cols());
        part->add_zero_attn = true;
      }
    fill_feed_forward<T>(p, layer, features, 2 * features + 3);
    p.gain3 = gain_row<T>(layer + "gain3", features);
    p.bias3 = small_row<T>(layer + "bias3", features);
    layers.emplace_back(p, o);
  }
  return softlook::transformer_decoder<T>(
      std::move(layers), softlook::layer_norm<T>(gain_row<T>(name + "gain", features),
                                                 small_row<T>(name + "bias", features)));
}

template <class T>
void encoder_calls() {
  const std::string of = scalar_name<T> + std::string("encoder/");
  struct form {
    const char* name;
    softlook::transformer_layer_options o;
    index d;
  };
  for (const form& f :
       {form{"post_relu", {.heads = {.query = 4, .kv = {}}}, 16},
        {"pre_gelu",
         {.heads = {.query = 4, .kv = 2}, .activation = activation::gelu, .norm_first = true},
         12},
        {"pre_gelu_tanh",
         {.heads = {.query = 2, .kv = 1}, .activation = activation::gelu_tanh, .norm_first = true},
         64}}) {
    const auto encoder = encoder_of<T>(f.name, f.o, f.d, f.o.norm_first);
    for (const index n : {1, 50, 130}) {
      const rows_of<T> X = filled<rows_of<T>>("X", n, encoder.features());
      const std::string name = std::string(f.name) + "/" + std::to_string(n);
      for (const way& w : every_way(of + name)) {
        held<T> x(X, w.stored);
        line(of + name + w.name, encoder(x(), masks::padding{n - n / 4}, w.exec, w.opts));
      }
      if constexpr (everything<T>)
        for (const way& w : set_ways(of + "layer" + name)) {
          held<T> x(X, w.stored);
          const auto& layer = encoder.layers().front();
          const masks::causal_top_left causal;
          const auto weights =
              layer.attention_weights(x(), causal, transforms::alibi{0.1}, w.exec, w.opts);
          layer.into(x(), x.out(), causal, transforms::alibi{0.1}, w.exec, w.opts);
          line(of + "layer/" + name + w.name, weights, x());
        }
    }
  }
}

template <class T>
void decoder_stack_calls() {
  using softlook::for_memory;
  using softlook::for_source;
  using softlook::for_target;
  const std::string of = scalar_name<T> + std::string("transformer/");
  const masks::causal_top_left causal;
  for (const bool pre : {false, true})
    for (const bool extra : {false, true}) {
      const softlook::transformer_layer_options o{
          .heads = {.query = 4, .kv = pre ? 2 : 4},
          .activation = pre ? activation::gelu : activation::relu,
          .norm_first = pre};
      const auto decoder = decoder_of<T>("decoder", o, 12, 40, extra);
      for (const auto& [n, m] : {std::array<index, 2>{1, 3}, {37, 90}}) {
        const std::string name = std::string(pre ? "pre" : "post") + (extra ? "_extra/" : "/") +
                                 std::to_string(n) + "x" + std::to_string(m);
        const rows_of<T> X = filled<rows_of<T>>("X", n, 48), M = filled<rows_of<T>>("M", m, 40);
        const masks::padding padding{m - m / 3};
        for (const way& w : every_way(of + name)) {
          const held<T> x(X, w.stored), memory(M, w.stored);
          line(of + "decoder/" + name + w.name,
               decoder(x(), memory(), for_target(causal), for_memory(padding), w.exec, w.opts));
          // One row, then some at once, then a part of them again.
          auto cache = decoder.start(memory(), w.exec, w.opts);
          rows_of<T> y(n, 48);
          for (index first = 0, count = 1; first < n; first += count, count = count % 9 + 1) {
            count = std::min(count, n - first);
            decoder.step_into(X.middleRows(first, count), cache, y.middleRows(first, count),
                              for_memory(padding), w.exec, w.opts);
          }
          auto copy = cache;
          copy.truncate(n / 2);
          line(of + "steps/" + name + w.name, y,
               decoder.step(X.middleRows(n / 2, n - n / 2), copy, for_memory(padding), w.exec,
                            w.opts));
        }
        const rows_of<T> B = filled<rows_of<T>>("bias", n, m);
        if constexpr (everything<T>)
          for (const way& w : set_ways(of + "layer" + name)) {
            const held<T> x(X, w.stored), memory(M, w.stored);
            const auto& layer = decoder.layers().front();
            const auto target = for_target(masks::window_of(8), transforms::alibi{0.2});
            line(of + "layer/" + name + w.name,
                 layer(x(), memory(), target, for_memory(transforms::bias{B}), w.exec, w.opts),
                 layer.attention_weights(x(), memory(), target, w.exec, w.opts));
            auto cache = decoder.start(M, w.exec, w.opts);
            rows_of<T> y(n, 48);
            for (index i = 0; i < n; ++i)
              y.row(i) = decoder.step(X.row(i), cache, target, w.exec, w.opts);
            line(of + "window_steps/" + name + w.name, y);
          }
      }
    }
  softlook::transformer_layer_options o{.heads = {.query = 2, .kv = {}}};
  const softlook::transformer<T> model(encoder_of<T>("whole encoder", o, 16, true),
                                       decoder_of<T>("whole decoder", o, 16, 32, false));
  const rows_of<T> source = filled<rows_of<T>>("source", 40, 32);
  const rows_of<T> target = filled<rows_of<T>>("target", 27, 32);
  for (const way& w : every_way(of + "whole")) {
    const held<T> from(source, w.stored), to(target, w.stored);
    line(of + "whole" + w.name,
         model(from(), to(), for_source(masks::padding{33}), for_target(causal),
               for_memory(masks::padding{33}), w.exec, w.opts));
  }
}

template <class T>
void recurrent_calls() {
  const std::string of = scalar_name<T> + std::string("recurrent/");
  using softlook::gru_reset;
  using matrix = columns_of<T>;
  for (const auto& [n, in, units] : {std::array<index, 3>{1, 5, 7}, {19, 24, 33}}) {
    softlook::lstm_parameters<T> l;
    l.Wx = parameter<matrix>("lstm Wx", in, 4 * units);
    l.Wh = parameter<matrix>("lstm Wh", units, 4 * units);
    l.bx = small_row<T>("lstm bx", 4 * units);
    const softlook::lstm_cell<T> lstm(l);
    const rows_of<T> X = filled<rows_of<T>>("X", n, in), H = filled<rows_of<T>>("H", n, units, 0.5);
    const std::string size = std::to_string(n) + "x" + std::to_string(units);
    for (const way& w : set_ways(of + size)) {
      const held<T> x(X, w.stored);
      for (const auto reset : {gru_reset::after_product, gru_reset::before_product}) {
        softlook::gru_parameters<T> g;
        g.Wx = parameter<matrix>("gru Wx", in, 3 * units);
        g.Wh = parameter<matrix>("gru Wh", units, 3 * units);
        g.bx = small_row<T>("gru bx", 3 * units);
        g.bh = small_row<T>("gru bh", 3 * units);
        g.reset = reset;
        const softlook::gru_cell<T> gru(g);
        rows_of<T> last = H.topRows(1);
        line(of + "gru" + std::to_string(int(reset)) + "/" + size + w.name,
             gru(x(), H, w.exec, w.opts), gru.sequence(x(), last, w.exec, w.opts), last);
      }
      softlook::lstm_state<rows_of<T>> state{H.topRows(1), H.bottomRows(1)};
      line(of + "lstm/" + size + w.name,
           lstm(x(), softlook::lstm_state<rows_of<T>>{H, H * T(0.5)}, w.exec, w.opts),
           lstm.sequence(x(), state, w.exec, w.opts), state);
    }
  }
}

template <class T>
[[nodiscard]] softlook::gru_parameters<T> gru_of(const std::string& name, index in, index units) {
  softlook::gru_parameters<T> p;
  p.Wx = parameter<columns_of<T>>(name + "Wx", in, 3 * units);
  p.Wh = parameter<columns_of<T>>(name + "Wh", units, 3 * units);
  p.bx = small_row<T>(name + "bx", 3 * units);
  p.reset = softlook::gru_reset::before_product;
  return p;
}

template <class T>
void translation_calls() {
  const std::string of = scalar_name<T> + std::string("seq2seq/");
  constexpr index vocabulary = 23, embedding = 12, units = 16;
  softlook::bahdanau_parameters<T> b;
  b.source_embedding = filled<rows_of<T>>("source embedding", 31, embedding);
  b.target_embedding = filled<rows_of<T>>("target embedding", vocabulary, embedding);
  b.forward = gru_of<T>("forward", embedding, units);
  b.backward = gru_of<T>("backward", embedding, units);
  b.Ws = parameter<rows_of<T>>("Ws", units, 20);
  compat::set_attention<T>(b, parameter<rows_of<T>>("Wa", 20, 14),
                           parameter<rows_of<T>>("Ua", 2 * units, 14),
                           filled_vector<row_vector<T>>("va", 14));
  b.decoder = gru_of<T>("decoder", embedding + 2 * units, 20);
  b.readout = parameter<rows_of<T>>("readout", 20 + embedding + 2 * units, 2 * 18);
  b.b_readout = small_row<T>("b_readout", 2 * 18);
  b.Wo = filled<rows_of<T>>("Wo", 18, vocabulary);
  const softlook::bahdanau_model<T> bahdanau(b);

  softlook::luong_parameters<T> l;
  l.source_embedding = b.source_embedding;
  l.target_embedding = b.target_embedding;
  for (int k = 0; k < 2; ++k) {
    const std::string name = "lstm" + std::to_string(k);
    softlook::lstm_parameters<T> reads, writes;
    const index read = k == 0 ? embedding : units, write = k == 0 ? embedding + 10 : units;
    reads.Wx = parameter<columns_of<T>>(name + "reads Wx", read, 4 * units);
    reads.Wh = parameter<columns_of<T>>(name + "reads Wh", units, 4 * units);
    writes.Wx = parameter<columns_of<T>>(name + "writes Wx", write, 4 * units);
    writes.Wh = parameter<columns_of<T>>(name + "writes Wh", units, 4 * units);
    writes.bh = small_row<T>(name + "writes bh", 4 * units);
    l.encoder.push_back(reads);
    l.decoder.push_back(writes);
  }
  l.attention = compat::luong_general<T>(parameter<rows_of<T>>("W", units, units));
  l.Wc = parameter<rows_of<T>>("Wc", 2 * units, 10);
  l.Wo = filled<rows_of<T>>("Wo", 10, vocabulary);
  const softlook::luong_model<T> luong(l);

  const std::vector<index> source{3, 17, 0, 30, 8, 8, 21}, target{5, 2, 22, 1};
  for (const way& w : set_ways(of)) {
    for (const index beam : {1, 5}) {
      const softlook::search_options o{.maximum_length = 12, .beam = beam, .length_exponent = 0.7};
      line(of + "bahdanau" + std::to_string(beam) + w.name,
           softlook::translate(bahdanau, source, o, w.exec, w.opts));
      line(of + "luong" + std::to_string(beam) + w.name,
           softlook::translate(luong, source, o, w.exec, w.opts));
    }
    line(of + "alignment" + w.name,
         softlook::alignment(bahdanau, source, target, 0, w.exec, w.opts),
         softlook::alignment(luong, source, target, 0, w.exec, w.opts));
    const auto read = luong.read(source, w.exec, w.opts);
    auto state = luong.start(read);
    line(of + "step" + w.name, luong.step(read, std::vector<index>{4}, state, w.exec, w.opts));
  }

  /// Logits that depend on the last tokens of a sentence.
  struct history {
    std::vector<index> seen;
    void select(std::span<const index> rows) {
      std::vector<index> kept;
      for (const index row : rows) kept.push_back(seen[std::size_t(row)]);
      seen = kept;
    }
  };
  const auto step = [](std::span<const index> last, history& h) {
    rows_of<T> logits(index(last.size()), 9);
    for (index i = 0; i < logits.rows(); ++i) {
      h.seen[std::size_t(i)] = h.seen[std::size_t(i)] * 9 + last[std::size_t(i)];
      for (index t = 0; t < 9; ++t) logits(i, t) = T(number(7, h.seen[std::size_t(i)], t));
    }
    return logits;
  };
  const softlook::search_options o{.maximum_length = 10, .beam = 4, .length_exponent = 0.5};
  line(of + "search", softlook::greedy_search(history{{0}}, step, o),
       softlook::beam_search(history{{0}}, step, o));
}

template <class T>
void gate_calls(const std::string& of, const rows_of<T>& X, const softlook::map_size& size) {
  using softlook::gate_function;
  using softlook::pooled;
  using matrix = columns_of<T>;
  const index channels = X.rows();
  softlook::channel_attention_parameters<T> deep;
  deep.W1 = parameter<matrix>("W1", channels, 4);
  deep.b1 = small_row<T>("b1", 4);
  deep.W2 = parameter<matrix>("W2", 4, channels);
  softlook::channel_attention_parameters<T> flat;
  flat.W2 = parameter<matrix>("flat", channels, channels);
  const row_vector<T> taps = filled_vector<row_vector<T>>("taps", softlook::eca_taps(channels) + 2);
  const auto [gain, shift] = softlook::gain_and_shift(T(1.25), T(0.5), T(0.25), T(2));
  const softlook::channel_attention<T> squeeze(deep, {.pooled = pooled::mean_and_max});
  const softlook::channel_attention<T> effective(
      flat, {.pooled = compat::mean_max_average, .gate = gate_function::hard_sigmoid});
  const softlook::efficient_channel_attention<T> near(taps);
  const softlook::efficient_channel_attention<T> around(
      taps, {.ends = softlook::channel_ends::circular, .gate = gate_function::hard_sigmoid});
  const softlook::spatial_attention<T> spatial(
      {.kernels = filled<matrix>("kernels", 14, 7, 0.1), .gain = gain, .shift = shift});
  const softlook::spatial_attention<T> light({.kernels = filled<matrix>("kernel", 3, 3, 0.2)},
                                             {.pooled = compat::mean_max_average});
  const softlook::cbam<T> block(squeeze, spatial);
  for (const way& w : set_ways(of)) {
    const held<T> x(X, w.stored);
    const auto gate = [&](const char* name, const auto& g) {
      line(of + name + w.name, g(x(), w.exec, w.opts), g.gates(x(), w.exec, w.opts));
    };
    gate("squeeze", squeeze);
    gate("effective", effective);
    gate("near", near);
    gate("around", around);
    held<T> y(X, w.stored);
    block.into(y(), size, y.out(), w.exec, w.opts);
    line(of + "spatial" + w.name, spatial(x(), size, w.exec, w.opts),
         light.gates(x(), size, w.exec, w.opts), y());
    line(of + "gather_excite" + w.name, softlook::gather_excite(x(), size, {}, w.exec, w.opts),
         softlook::gather_excite(x(), size, {.extent = 2, .gate = gate_function::hard_sigmoid},
                                 w.exec, w.opts));
  }
}

template <class T>
void vision_calls() {
  using matrix = columns_of<T>;
  for (const softlook::map_size& size : {softlook::map_size{4, 4}, {12, 16}}) {
    constexpr index channels = 12;
    const std::string of = scalar_name<T> + std::string("vision/") + std::to_string(size.height) +
                           "x" + std::to_string(size.width) + "/";
    const index pixels = size.pixels();
    const rows_of<T> X = filled<rows_of<T>>("X", channels, pixels);
    gate_calls(of, X, size);

    softlook::global_context_parameters<T> g;
    g.key = filled_vector<row_vector<T>>("key", channels);
    g.W1 = parameter<matrix>("context W1", channels, 5);
    g.gain = gain_row<T>("context gain", 5);
    g.bias = small_row<T>("context bias", 5);
    g.W2 = parameter<matrix>("context W2", 5, channels);
    const softlook::global_context<T> adds(g);
    const softlook::global_context<T> scales(g, {.fusion = softlook::context_fusion::scale});
    softlook::non_local_parameters<T> p;
    p.Wq = parameter<matrix>("non-local Wq", channels, 7);
    p.Wk = parameter<matrix>("non-local Wk", channels, 7);
    p.Wv = parameter<matrix>("non-local Wv", channels, channels);
    p.bv = small_row<T>("non-local bv", channels);
    p.gain = T(0.75);
    const softlook::non_local_block<T> position(p);
    p.Wo = parameter<matrix>("non-local Wo", channels, channels);
    const softlook::non_local_block<T> whole(p), gaussian(softlook::non_local_parameters<T>{});
    const softlook::dual_attention<T> dual(position, T(0.25));
    const heads h{.query = 4, .kv = {}};
    const softlook::attention_pooling<T> pooling(
        heads_parameters<T>("pooling", h, 3, channels, channels), h,
        filled<matrix>("positions", pixels + 1, channels));
    softlook::patch_embedding_parameters<T> e;
    const softlook::map_size patch{4, 2};
    e.W = parameter<matrix>("patches", channels * patch.pixels(), 20);
    e.b = small_row<T>("patch b", 20);
    e.class_token = small_row<T>("class", 20);
    e.positions = filled<matrix>("patch positions", 1 + pixels / patch.pixels(), 20);
    const softlook::patch_embedding<T> embedding(e, patch);
    const rows_of<T> queries = filled<rows_of<T>>("queries", 3, channels);
    for (const way& w : every_way(of)) {
      const held<T> x(X, w.stored);
      line(of + "context" + w.name, adds(x(), w.exec, w.opts), scales(x(), w.exec, w.opts));
      line(of + "non_local" + w.name,
           whole(x(), masks::padding{pixels - 3}, transforms::soft_cap{4}, w.exec, w.opts),
           whole.weights(x(), w.exec, w.opts), gaussian(x(), w.exec, w.opts));
      line(of + "channel_self_attention" + w.name,
           softlook::channel_self_attention(x(), T(0.5), w.exec, w.opts));
      line(of + "dual" + w.name, dual(x(), w.exec, w.opts));
      line(of + "attention_pool" + w.name,
           softlook::attention_pool(x(), queries, masks::padding{pixels - 5}, w.exec, w.opts));
      line(of + "attention_pooling" + w.name, pooling(x(), w.exec, w.opts));
    }
    for (const way& w : set_ways(of + "patches")) {
      const held<T> x(X, w.stored);
      line(of + "patches" + w.name, softlook::patches_of(x(), size, patch, w.exec, w.opts),
           embedding(x(), size, w.exec, w.opts));
    }
  }
}

template <class T>
void position_calls() {
  using softlook::rotary_pairs;
  const std::string of = scalar_name<T> + std::string("positions/");
  using layout = softlook::sinusoidal_layout;
  line(of + "sinusoidal", softlook::sinusoidal<T>(40, 33),
       softlook::sinusoidal<T>(9, 16, {.first = 5, .layout = layout::concatenated}));
  const rows_of<T> X = filled<rows_of<T>>("X", 21, 48);
  held<T> o(21, 48, storage::strided);
  softlook::sinusoidal_into(o.out(), {.max_timescale = 500});
  line(of + "sinusoidal_into", o());
  const softlook::learned_positions<T> learned(filled<columns_of<T>>("table", 60, 48));
  const std::vector<index> at{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6};
  line(of + "learned", learned(X, 7), learned(X, at));
  const std::vector<Eigen::VectorXd> frequencies{
      softlook::rotary_frequencies(16), softlook::rotary_frequencies(24, 5000),
      softlook::rotary_frequencies(16, 10000, softlook::linear_scaling{4}),
      softlook::rotary_frequencies(16, 10000, softlook::dynamic_ntk_scaling{2, 64, 200}),
      softlook::rotary_frequencies(16, 500000, softlook::llama3_scaling{})};
  for (std::size_t k = 0; k < frequencies.size(); ++k)
    for (const auto pairs : {rotary_pairs::half_split, rotary_pairs::interleaved}) {
      softlook::rotary_embedding<T> turn(frequencies[k],
                                         {.pairs = pairs, .head_features = 24, .magnitude = 1.25});
      const rows_of<T> before = turn(X, 11);
      turn.precompute(20);
      turn.into(X, o.out(), at);
      line(of + "rotary" + std::to_string(k) + "/" + std::to_string(int(pairs)), frequencies[k],
           before, turn(X, 11), o());
    }
  const softlook::t5_relative_bias<T> bias(
      filled<columns_of<T>>("t5", 20, 3),
      {.count = 20, .max_distance = 40, .bidirectional = false});
  line(of + "t5", bias.matrix(30, 40, 2, 5), bias(-7, 1), softlook::t5_bucket(33),
       transforms::alibi_slopes(12));
}

template <class T>
void layer_calls() {
  map_calls<T>();
  multi_head_calls<T>();
  encoder_calls<T>();
  decoder_stack_calls<T>();
  recurrent_calls<T>();
  position_calls<T>();
  if constexpr (everything<T>) {
    translation_calls<T>();
    vision_calls<T>();
  }
}

}  // namespace bits
