// Heads side by side: softmax attention, positional attention, Linformer, Nyströmformer.
#pragma once

#include <string>
#include <vector>

#include "attention.hpp"
#include "compat.hpp"

namespace bits {

template <class T, class... Ps>
void call_heads(const std::string& name, const tokens<T>& x, const heads& h, const Ps&... ps) {
  place_everywhere<T>("heads/" + name, x, {}, [&](const placed<T>& c) {
    line(c.name,
         compat::attention_with_log_sum_exp(c.q(), c.k(), c.v(), h, ps..., c.how.exec, c.how.opts));
  });
}

template <class T>
void softmax_head_calls() {
  struct packed {
    heads h;
    shape s;
  };
  const heads grouped{.query = 8, .kv = 2}, shared{.query = 4, .kv = 1}, own{.query = 4, .kv = {}};
  for (const packed& p : {packed{grouped, {129, 257, 16, 12}},
                          {shared, {64, 64, 64, 64}},
                          {own, {3, 700, 24, 8}},
                          {grouped, {1, 513, 64, 64}},
                          {shared, {1, 2100, 32, 40}}}) {
    const tokens<T> x = tokens_of<T>(p.s, p.h);
    call_heads("plain", x, p.h);
    const columns_of<T> Q = x.Q, K = x.K, V = x.V;
    for (const way& w : set_ways("heads into")) {
      held<T> o(x.n(), p.h.query * p.s.e, w.stored);
      compat::attention_into(Q, K, V, o.out(), p.h, w.exec, w.opts);
      line(scalar_name<T> + std::string("heads/into/") + x.name + w.name, o(),
           compat::attention(Q, K, V, p.h, w.exec, w.opts));
      line(scalar_name<T> + std::string("heads/weights/") + x.name + w.name,
           compat::attention_weights(Q, K, p.h, w.exec, w.opts));
    }
    const softlook::attention_plan plan = compat::plan_attention(Q, K, V, p.h, pool_of(2));
    line(scalar_name<T> + std::string("plan/heads/") + x.name, plan.kernel, plan.isa,
         plan.tile.keys, plan.tile.query_tiles, plan.keys_in_chunk, plan.tasks, plan.workers);
  }
  // Queries, keys and values as columns of one matrix.
  const rows_of<T> packed_rows = filled<rows_of<T>>("QKV", 77, 8 * 16 + 2 * 16 + 2 * 16);
  const columns_of<T> packed_columns = packed_rows;
  line(scalar_name<T> + std::string("heads/packed_rows"),
       compat::attention(packed_rows.leftCols(128), packed_rows.middleCols(128, 32),
                         packed_rows.rightCols(32), grouped));
  line(scalar_name<T> + std::string("heads/packed_columns"),
       compat::attention(packed_columns.leftCols(128), packed_columns.middleCols(128, 32),
                         packed_columns.rightCols(32), grouped, masks::causal_top_left{}));
  line(scalar_name<T> + std::string("heads/head_columns"),
       softlook::attention(softlook::head_columns(packed_rows, 3, 12),
                           softlook::head_columns(packed_columns, 1, 12),
                           softlook::head_columns(packed_rows, 11, 12)));
}

template <class T>
void policy_head_calls() {
  using mask_matrix = Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const heads h{.query = 8, .kv = 2};
  for (const shape& s : {shape{90, 130, 16, 12}, {65, 65, 8, 24}, {2, 300, 16, 16}}) {
    const index n = s.n, m = s.m, side = std::max(n, m);
    const tokens<T> plain = tokens_of<T>(s, h);
    const tokens<T> x = s.n == s.m ? poisoned(plain) : plain;
    const auto call = [&](const std::string& name, const auto&... ps) {
      call_heads(name, x, h, ps...);
    };
    const auto more = [&](const std::string& name, const auto&... ps) {
      if constexpr (everything<T>) call(name, ps...);
    };
    const Eigen::VectorXd slopes = transforms::alibi_slopes(8);
    const columns_of<T> table = filled<columns_of<T>>("t5 heads", 32, 8);
    const softlook::t5_relative_bias<T> learned(table);
    const rows_of<T> B = filled<rows_of<T>>("bias of heads", 8 * n, m);
    const mask_matrix M = (filled<rows_of<double>>("mask of heads", 8 * n, m).array() > -1).eval();
    const columns_of<T> Wq = parameter<columns_of<T>>("Wq of heads", s.d, 20);
    const columns_of<T> Wk = parameter<columns_of<T>>("Wk of heads", s.d, 20);
    const column_vector<T> v = filled_vector<column_vector<T>>("v of heads", 20);
    const masks::causal_bottom_right causal;
    call("causal", causal);
    call("alibi_per_head", transforms::alibi_per_head{slopes}, causal);
    more("t5_bias", scores::dot{}, transforms::t5_bias{learned});
    call("bias", transforms::bias{B});
    more("map", transforms::map([](auto score, std::int32_t i, std::int32_t j, std::int32_t head) {
           using S = decltype(score);
           return score - S(head) * S(0.01) * S(i < j ? j - i : i - j);
         }));
    call("dense", masks::dense{M});
    call("where", masks::where([](std::int32_t i, std::int32_t j, std::int32_t head) {
           return (i + j * (head + 1)) % 5 != 0;
         }));
    more("strided_by_head", masks::strided_by_head(12));
    more("fixed_by_head", masks::fixed_by_head(16, 2));
    more("big_bird",
         masks::big_bird({.block = 16, .window = 1, .global = 1, .random = 1}, side, 8));
    more("of_heads", (masks::window_of(20) & masks::of_heads{.every = 2}) |
                         (masks::padding{m / 2} & masks::of_heads{.every = 2, .first = 1}));
    more("additive", scores::additive{Wq, Wk, v}, masks::padding{m - 3});
    more("cosine", scores::cosine{}, transforms::soft_cap{0.7});
    line(scalar_name<T> + std::string("heads/weights/policies/") + x.name,
         compat::attention_weights(x.Q, x.K, h, transforms::alibi_per_head{slopes}, causal));
  }
}

template <class T>
void positional_calls() {
  const std::string of = scalar_name<T> + std::string("positional_attention/");
  for (const index n : {1, 64, 150}) {
    const heads h{.query = 6, .kv = 3};
    const rows_of<T> S = filled<rows_of<T>>("S", 160, 170), Sh = filled<rows_of<T>>("Sh", 960, 160);
    const columns_of<T> P1 = filled<columns_of<T>>("P1", 160, 8);
    const rows_of<T> P2 = filled<rows_of<T>>("P2", 155, 8);
    const rows_of<T> H1 = filled<rows_of<T>>("H1", 160, 48), H2 = filled<rows_of<T>>("H2", 160, 24);
    const rows_of<T> V = filled<rows_of<T>>("V", n, 24);
    const softlook::position_logits logits(S), logits_of_heads(Sh);
    const softlook::position_factors factors(P1, P2), factors_of_heads(H1, H2);
    const masks::causal_top_left causal;
    for (const way& w : every_way(of, {.scale = 0.7})) {
      const held<T> v(V, w.stored);
      held<T> a(n, 24, w.stored), b(n, 48, w.stored);
      softlook::positional_attention_into(logits, v(), a.out(), causal, w.exec, w.opts);
      compat::positional_attention_into(factors_of_heads, v(), b.out(), h, causal, w.exec, w.opts);
      const std::string name = std::to_string(n) + w.name;
      line(of + "logits/" + name, a(),
           softlook::positional_attention(logits, v(), transforms::soft_cap{1}, w.exec, w.opts));
      line(of + "factors/" + name,
           softlook::positional_attention(factors, v(), causal, w.exec, w.opts));
      line(of + "logits_of_heads/" + name,
           compat::positional_attention(logits_of_heads, v(), h, causal, w.exec, w.opts));
      line(of + "factors_of_heads/" + name, b());
    }
    line(of + "weights/" + std::to_string(n),
         softlook::positional_attention_weights(logits, n, causal),
         softlook::positional_attention_weights(factors, n, options{.scale = 0.3}),
         compat::positional_attention_weights(logits_of_heads, n, h),
         compat::positional_attention_weights(factors_of_heads, n, h, causal));
    line(of + "plain/" + std::to_string(n), softlook::positional_attention(factors, V));
  }
}

template <class T>
void linformer_calls() {
  const std::string of = scalar_name<T> + std::string("linformer/");
  for (const shape& s : {shape{1, 1, 4, 4}, {130, 257, 48, 40}, {3, 700, 64, 64}}) {
    const heads h{.query = 4, .kv = 2};
    const tokens<T> x = tokens_of<T>(s), y = tokens_of<T>(s, h);
    const rows_of<T> E = filled<rows_of<T>>("E", 40, s.m, 0.1);
    const columns_of<T> F = filled<columns_of<T>>("F", 40, s.m, 0.1);
    for (const way& w : every_way(of + x.name)) {
      const held<T> q(x.Q, w.stored), k(x.K, w.stored), v(x.V, w.stored);
      line(of + x.name + w.name,
           softlook::linformer_attention(q(), k(), v(), E, F, w.exec, w.opts));
    }
    for (const way& w : set_ways(of + "more")) {
      const held<T> q(y.Q, w.stored), k(y.K, w.stored), v(y.V, w.stored);
      held<T> one(s.n, s.e, w.stored), all(s.n, 4 * s.e, w.stored);
      softlook::linformer_attention_into(x.Q, x.K, x.V, E, F, one.out(), scores::dot{},
                                         transforms::soft_cap{2}, w.exec, w.opts);
      compat::linformer_attention_into(q(), k(), v(), E, F, all.out(), h, w.exec, w.opts);
      line(of + "into/" + x.name + w.name, one(), all(),
           compat::linformer_attention(q(), k(), v(), E, E, h, w.exec, w.opts));
    }
  }
}

template <class T>
void nystrom_calls() {
  const std::string of = scalar_name<T> + std::string("nystrom/");
  for (const shape& s : {shape{1, 1, 4, 4}, {130, 257, 32, 24}, {200, 200, 16, 20}, {5, 0, 4, 4}}) {
    const heads h{.query = 4, .kv = 2};
    const tokens<T> x = tokens_of<T>(s), y = tokens_of<T>(s, h);
    for (const way& w : set_ways(of + x.name)) {
      const held<T> q(x.Q, w.stored), k(x.K, w.stored), v(x.V, w.stored);
      held<T> o(s.n, s.e, w.stored);
      softlook::nystrom_attention_into(q(), k(), v(), o.out(), {.landmarks = 20, .iterations = 4},
                                       w.exec, w.opts);
      line(of + x.name + w.name, o(),
           softlook::nystrom_attention(q(), k(), v(), {}, w.exec, w.opts),
           compat::nystrom_attention(y.Q, y.K, y.V, {.landmarks = 16}, h, w.exec, w.opts));
      if (s.n != s.m) continue;
      const rows_of<T> one = filled<rows_of<T>>("C", 1, 9), each = filled<rows_of<T>>("Ch", 4, 33);
      held<T> all(s.n, 4 * s.e, w.stored);
      softlook::nystrom_attention_into(q(), k(), v(), o.out(), {.landmarks = 7}, one, w.exec,
                                       w.opts);
      compat::nystrom_attention_into(y.Q, y.K, y.V, all.out(), {.landmarks = 16}, each, h, w.exec,
                                     w.opts);
      line(of + "convolution/" + x.name + w.name, o(), all(),
           softlook::nystrom_attention(q(), k(), v(), {.landmarks = 64}, one, w.exec, w.opts),
           compat::nystrom_attention(y.Q, y.K, y.V, {.landmarks = 16}, one, h, w.exec, w.opts));
    }
  }
}

template <class T>
void head_calls() {
  softmax_head_calls<T>();
  policy_head_calls<T>();
  positional_calls<T>();
  linformer_calls<T>();
  nystrom_calls<T>();
}

}  // namespace bits
