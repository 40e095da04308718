// Calls of softlook/attention.hpp: scores, transforms, masks, kernels, storages.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "bits.hpp"

namespace bits {

using softlook::stage;
namespace masks = softlook::masks;
namespace scores = softlook::scores;
namespace transforms = softlook::transforms;

/// The inputs of a call in the storage of its way.
template <class T>
struct placed {
  std::string name;
  const way& how;
  held<T> q, k, v;
};

template <class T>
void place_everywhere(const std::string& name, const tokens<T>& x, const options& base,
                      const std::function<void(const placed<T>&)>& call) {
  const std::string of = scalar_name<T> + name + "/" + x.name;
  for (const way& w : every_way(of, base))
    call({of + w.name, w, {x.Q, w.stored}, {x.K, w.stored}, {x.V, w.stored}});
}

/// The same policies in every way.
template <class T, class... Ps>
void call_everywhere(const std::string& name, const tokens<T>& x, const options& base,
                     const Ps&... ps) {
  place_everywhere<T>(name, x, base, [&](const placed<T>& c) {
    line(c.name,
         softlook::attention_with_log_sum_exp(c.q(), c.k(), c.v(), ps..., c.how.exec, c.how.opts));
  });
}

/// With everything stored.
template <class T, class... Ps>
void call_stored(const std::string& name, const tokens<T>& x, const Ps&... ps) {
  const std::string of = scalar_name<T> + ("stored/" + name) + "/" + x.name;
  for (const way& w : set_ways(of)) {
    const held<T> q(x.Q, w.stored), k(x.K, w.stored), v(x.V, w.stored);
    line(of + w.name, softlook::naive_attention(q(), k(), v(), ps..., w.exec, w.opts),
         softlook::attention_weights(q(), k(), ps..., w.exec, w.opts));
  }
}

template <class T>
void plain_calls() {
  const std::vector<shape> shapes{{1, 1, 8, 8},        {1, 513, 64, 64},   {3, 700, 64, 64},
                                  {64, 64, 64, 64},    {129, 257, 48, 40}, {385, 200, 64, 64},
                                  {5, 2100, 128, 128}, {2, 31, 7, 5},      {300, 300, 16, 1},
                                  {9, 40, 200, 150},   {4, 0, 6, 3},       {0, 4, 6, 3}};
  for (const shape& s : shapes) {
    call_everywhere("attention/plain", tokens_of<T>(s), {});
    call_stored("plain", tokens_of<T>(s));
  }
  // Scores so far apart that weights underflow, and none at all.
  for (const double scale : {40.0, -0.3, 0.0})
    call_everywhere("attention/scale" + std::to_string(scale), tokens_of<T>({70, 130, 32, 32}),
                    {.scale = scale});
  call_everywhere("attention/plain", poisoned(tokens_of<T>({40, 90, 24, 24})), {});

  // Each storage with each executor; the functions that force a kernel, and those that write into a
  // matrix of the caller.
  const tokens<T> x = tokens_of<T>({129, 257, 48, 40});
  const std::string of = scalar_name<T> + std::string("attention/");
  for (const auto isa : softlook::available_instruction_sets())
    for (std::uint64_t turn = 0; turn < 12; ++turn) {
      const way w = make_way({.isa = isa}, "cross/" + std::string(softlook::name_of(isa)), turn);
      const held<T> q(x.Q, w.stored), k(x.K, w.stored), v(x.V, w.stored);
      held<T> o(x.n(), x.V.cols(), storage((turn + 1) % 4));
      held<T> flash(x.n(), x.V.cols(), storage((turn + 2) % 4));
      softlook::attention_into(q(), k(), v(), o.out(), w.exec, w.opts);
      softlook::flash_attention_into(q(), k(), v(), flash.out(), w.exec, w.opts);
      line(of + w.name, softlook::attention(q(), k(), v(), w.exec, w.opts), o(), flash(),
           softlook::flash_attention(q(), k(), v(), w.exec, w.opts),
           softlook::flash_attention_with_log_sum_exp(q(), k(), v(), w.exec, w.opts));
    }
  for (const index keys : {8, 100})
    for (const index tiles : {1, 3}) {
      const options o{.tile = softlook::tile_shape{.keys = keys, .query_tiles = tiles}};
      line(of + "tile" + std::to_string(keys) + "x" + std::to_string(tiles),
           softlook::flash_attention(x.Q, x.K, x.V, any_executor(pool_of(2)), o));
    }
}

/// What would be done. The memory is a line of its own: it may change where no bit of a result
/// does.
template <class T>
void plan_calls() {
  const std::string of = scalar_name<T> + std::string("plan/");
  for (const shape& s : {shape{1, 513, 64, 64},
                         {5, 2100, 128, 128},
                         {385, 200, 64, 64},
                         {129, 257, 48, 40},
                         {2000, 3000, 64, 64}}) {
    const tokens<T> x = tokens_of<T>(s);
    for (const way& w : every_way(of + x.name)) {
      const softlook::attention_plan p =
          softlook::plan_attention(x.Q, x.K, x.V, masks::causal_bottom_right{}, w.exec, w.opts);
      line(of + x.name + w.name, p.kernel, p.isa, p.tile.keys, p.tile.query_tiles, p.keys_in_chunk,
           p.tasks, p.workers);
      line(of + x.name + w.name + "/memory", p.scratch_bytes, p.projected_bytes);
    }
  }
}

/// Matrices as users have them: both storage orders, blocks, expressions, fixed sizes, few
/// policies.
template <class T>
void native_calls() {
  const tokens<T> x = tokens_of<T>({37, 61, 24, 20});
  const std::string of = scalar_name<T> + std::string("native/");
  const columns_of<T> Q = x.Q, K = x.K, V = x.V;
  line(of + "rows", softlook::attention(x.Q, x.K, x.V));
  line(of + "columns", softlook::attention(Q, K, V));
  line(of + "mixed", softlook::attention(x.Q, K, x.V, masks::causal_top_left{}));
  line(of + "expressions",
       softlook::attention(x.Q * T(0.5), K, x.V + x.V, transforms::soft_cap{3}));
  const rows_of<T> Qt = x.Q.transpose(), Kt = x.K.transpose();
  line(of + "transposed", softlook::attention(Qt.transpose(), Kt.transpose(), V));
  line(of + "one_row", softlook::attention(x.Q.row(3), x.K, x.V),
       softlook::attention_with_log_sum_exp(x.Q.row(4), x.K, x.V));
  Eigen::Matrix<T, 3, 3> small;
  small << 4, 0, T(0.3), T(0.5), T(0.5), 4, 0, 4, T(0.3);
  line(of + "fixed", softlook::attention(small, small, small),
       softlook::attention_weights(small, small));
  line(of + "sequential", softlook::attention(Q, x.K, V, softlook::exec::sequential{}));
  line(of + "thread_pool", softlook::attention(x.Q, x.K, x.V, pool_of(3), masks::padding{40}),
       softlook::naive_attention(x.Q, x.K, x.V, pool_of(2)));
  columns_of<T> around = columns_of<T>::Constant(40, 31, T(7));
  softlook::attention_into(Q, K, V, around.block(2, 5, 37, 20));
  line(of + "into_block", around);
}

template <class T>
void mask_calls() {
  const std::vector<tokens<T>> inputs{
      tokens_of<T>({129, 257, 48, 40}), tokens_of<T>({64, 64, 64, 64}),
      tokens_of<T>({5, 700, 32, 32}), poisoned(tokens_of<T>({70, 90, 24, 24}))};
  for (const tokens<T>& x : inputs) {
    const index n = x.n(), m = x.m(), side = std::max(n, m);
    const auto call = [&](const std::string& name, const auto& mask) {
      call_everywhere("mask/" + name, x, {}, mask);
    };
    const auto more = [&](const std::string& name, const auto&... ps) {
      if constexpr (everything<T>) call(name, ps...);
    };
    more("causal_top_left", masks::causal_top_left{});
    call("causal_bottom_right", masks::causal_bottom_right{});
    more("causal_before", masks::causal{.offset = -5});
    more("causal_behind", masks::causal{.offset = 9});
    call("window", masks::window{.left = 20, .right = 3});
    call("window_left", masks::window{.left = 7, .offset = m - n});
    call("window_of", masks::window_of(30));
    call("padding", masks::padding{m * 3 / 5});
    call("no_key", masks::padding{0});
    const auto dense = [](std::string_view name, index rows, index cols) {
      return (filled<rows_of<double>>(name, rows, cols).array() > -0.5).eval();
    };
    const Eigen::Array<bool, -1, -1, Eigen::RowMajor> full = dense("dense", n, m);
    const Eigen::Array<bool, -1, -1, Eigen::RowMajor> row = dense("dense row", 1, m);
    const Eigen::Array<bool, -1, -1, Eigen::RowMajor> column = dense("dense column", n, 1);
    call("dense", masks::dense{full});
    call("dense_row", masks::dense_ignoring(row));
    call("dense_column", masks::dense{column});
    call("where", masks::where([](std::int32_t i, std::int32_t j) { return (i + 3 * j) % 7 < 4; }));
    const Eigen::Array<bool, -1, -1, Eigen::RowMajor> layout =
        dense("layout", side / 24 + 1, side / 24 + 1);
    call("block_sparse", masks::block_sparse(layout, 24));
    more("same_segment", masks::same_segment{50});
    more("segment_ends", masks::segment_ends{40, 3});
    more("dilated_window", masks::dilated_window{.left = 4, .right = 3, .dilation = 6});
    more("global_tokens", masks::global_tokens{0, 17, 60});
    more("of_heads", masks::of_heads{.every = 1});
    more("strided", masks::strided(16));
    more("fixed", masks::fixed(32, 4));
    more("longformer", masks::longformer({.window = 12, .dilation = 2, .global = {0, 33}}));
    more("big_bird", masks::big_bird({.block = 16, .random = 2, .seed = 5}, side));
    more("both", masks::causal_bottom_right{} & masks::window_of(40));
    call("three", masks::causal_bottom_right{} & masks::padding{m * 2 / 3} & masks::dense{full});
    more("either", masks::window{.left = 5, .right = 5} | masks::global_tokens{0, 40});
    more("complement", !masks::window{.left = 9, .right = 2});
    more("where_and_causal", masks::where([](std::int32_t i, std::int32_t j) {
                               return (i ^ j) % 3 != 0;
                             }) & masks::causal_top_left{});
  }
  const tokens<T> lost = lost_from<T>(54, tokens_of<T>({70, 90, 24, 24}));
  call_everywhere("mask/padding", lost, {}, masks::padding{54});
  call_everywhere("mask/causal_bottom_right", lost, {}, masks::causal_bottom_right{});
  call_everywhere("mask/window", lost, {}, masks::window{.left = 20, .right = 3});
}

template <class T>
void transform_calls() {
  for (const tokens<T>& x : {tokens_of<T>({129, 257, 48, 40}), tokens_of<T>({3, 700, 64, 64}),
                             poisoned(tokens_of<T>({70, 90, 24, 24}))}) {
    const index n = x.n(), m = x.m();
    const auto call = [&](const std::string& name, const auto&... ps) {
      call_everywhere("transform/" + name, x, {}, ps...);
    };
    const auto more = [&](const std::string& name, const auto&... ps) {
      if constexpr (everything<T>) call(name, ps...);
    };
    const rows_of<T> B = filled<rows_of<T>>("bias", n, m), row = B.topRows(1);
    const columns_of<T> column = B.leftCols(1);
    rows_of<T> forbids = B;
    for (index i = 0; i < n; ++i)
      for (index j = 0; j < m; ++j)
        if (B(i, j) > 1) forbids(i, j) = -std::numeric_limits<T>::infinity();
    const Eigen::VectorXd slopes = transforms::alibi_slopes(1);
    const softlook::t5_relative_bias<T> learned(filled<columns_of<T>>("t5", 32, 1));
    const auto wave = transforms::map([](auto s, std::int32_t i, std::int32_t j) {
      using S = decltype(s);
      return softlook::math::select((i + j) % 5 == 0, s * S(0.5), softlook::math::tanh(s) - S(j));
    });
    const masks::causal_bottom_right causal;
    call("soft_cap", transforms::soft_cap{2.5});
    more("alibi", transforms::alibi{0.125});
    more("alibi_per_head", transforms::alibi_per_head{slopes});
    call("bias", transforms::bias{B});
    call("bias_row", transforms::bias{row});
    call("bias_column", transforms::bias{column});
    call("bias_forbids", transforms::bias{forbids});
    more("map", wave);
    more("map_of_head",
         transforms::map([](auto s, std::int32_t i, std::int32_t j, std::int32_t head) {
           using S = decltype(s);
           return s * softlook::math::sigmoid(S(i - j) * S(0.1)) + S(head);
         }));
    more("t5_bias", transforms::t5_bias{learned});
    more("t5_bias_first", transforms::t5_bias{learned, 11});
    more("chain", transforms::soft_cap{4}, transforms::bias{B}, wave);
    call("chain_masked", transforms::bias{row}, causal, transforms::soft_cap{3},
         transforms::alibi{0.05});
    more("alibi_window", transforms::alibi{0.25}, causal & masks::window_of(50));
    more("bias_padding", masks::padding{m / 2}, transforms::bias{forbids});
    more("map_causal", wave, causal);
  }
  // All stages of the scores, and everything stored.
  const tokens<T> x = tokens_of<T>({21, 33, 16, 8});
  const rows_of<T> B = filled<rows_of<T>>("bias", 21, 33);
  for (const way& w : set_ways("stages", {.scale = 0.5})) {
    const held<T> q(x.Q, w.stored), k(x.K, w.stored);
    for (const stage at : {stage::raw, stage::capped, stage::biased, stage::masked})
      line(scalar_name<T> + std::string("stage/") + std::to_string(int(at)) + w.name,
           softlook::attention_scores(q(), k(), at, transforms::soft_cap{2}, transforms::bias{B},
                                      masks::causal_top_left{}, w.exec, w.opts));
  }
  call_stored("policies", x, transforms::bias{B}, masks::causal_bottom_right{});
  call_stored("policies", poisoned(x), masks::padding{20}, transforms::soft_cap{2});
}

template <class T>
void score_calls() {
  constexpr index a = 33;
  for (const shape& s : {shape{129, 257, 48, 40}, {3, 700, 64, 64}, {64, 64, 24, 24}}) {
    const tokens<T> x = tokens_of<T>(s);
    const auto call = [](const std::string& name, const tokens<T>& given, const auto&... ps) {
      call_everywhere("score/" + name, given, {}, ps...);
    };
    const auto more = [&](const std::string& name, const tokens<T>& given, const auto&... ps) {
      if constexpr (everything<T>) call(name, given, ps...);
    };
    const columns_of<T> W = parameter<columns_of<T>>("W", s.d, s.d + 5);
    const rows_of<T> Wq = parameter<rows_of<T>>("Wq", s.d, a);
    const columns_of<T> Wk = parameter<columns_of<T>>("Wk", s.d + 5, a);
    const rows_of<T> Wqk = parameter<rows_of<T>>("Wqk", 2 * s.d + 5, a);
    const row_vector<T> v = filled_vector<row_vector<T>>("v", a);
    const column_vector<T> b = filled_vector<column_vector<T>>("b", a);
    const column_vector<T> w3 = filled_vector<column_vector<T>>("w", 3 * s.d, 0.2);
    const row_vector<T> w2 = w3.head(2 * s.d).transpose(),
                        vd = filled_vector<row_vector<T>>("v", s.d);
    tokens<T> other = x;  // keys of another size
    other.K = filled<rows_of<T>>("K", s.m, s.d + 5);
    const masks::causal_bottom_right causal;

    call("dot", x, scores::dot{});
    call_everywhere("score/dot_scaled", x, {.scale = 0.07}, scores::dot{});
    more("scaled_dot", x, scores::scaled_dot{}, causal);
    call_everywhere("score/cosine", x, {.scale = 6}, scores::cosine{});
    more("cosine_masked", x, scores::cosine{}, causal, transforms::soft_cap{0.5});
    more("general", other, scores::general{W});
    call("general_masked", other, scores::general{W}, masks::padding{s.m - 9},
         transforms::alibi{0.1});
    call("additive", other, scores::additive{Wq, Wk, v});
    call("additive_bias", other, scores::additive{Wq, Wk, v, b});
    call("additive_masked", other, scores::additive{Wq, Wk, v, b}, causal, transforms::soft_cap{2});
    call("concat", other, scores::concat{Wqk, v});
    call("trilinear", x, scores::trilinear{w3});
    call("bilinear", x, scores::trilinear{w2});
    more("trilinear_masked", x, scores::trilinear{w3}, causal & masks::window_of(60));
    // An additive score has another form for small, moderate and large sums.
    for (const double size : {0.02, 1.0, 30.0, 2000.0}) {
      tokens<T> sized = x;
      sized.Q *= T(size);
      sized.K *= T(size);
      call("additive_projected" + std::to_string(size), sized, scores::additive_projected{vd});
    }
    tokens<T> uneven = x;
    for (index i = 0; i < s.n; ++i) uneven.Q.row(i) *= T(std::pow(10.0, double(i % 5 - 2)));
    for (index j = 0; j < s.m; ++j) uneven.K.row(j) *= T(std::pow(10.0, double(j % 7 - 3)));
    call("additive_uneven", uneven, scores::additive_projected{vd});
    more("additive_uneven_masked", uneven, scores::additive_projected{vd}, causal);
    if (s.n == s.m)
      more("additive_lost", lost_from<T>(40, uneven), scores::additive_projected{vd}, causal);
  }
}

/// Attention over parts of the keys, merged.
template <class T>
void state_calls() {
  const tokens<T> x = tokens_of<T>({65, 300, 32, 48});
  for (const way& w : set_ways("merge")) {
    const auto part = [&](index first, index count) {
      return softlook::attention_with_log_sum_exp(x.Q, x.K.middleRows(first, count),
                                                  x.V.middleRows(first, count), w.exec, w.opts);
    };
    const auto left = part(0, 130), right = part(130, 170), none = part(0, 0);
    const auto empty = softlook::empty_state<rows_of<T>>(x.n(), x.V.cols());
    line(scalar_name<T> + std::string("merge") + w.name, softlook::merge(left, right),
         softlook::merge(right, left), softlook::merge(none, left), softlook::merge(empty, none),
         softlook::merge(softlook::merge(empty, left), right));
  }
}

template <class T>
void attention_calls() {
  plain_calls<T>();
  plan_calls<T>();
  if constexpr (everything<T>) native_calls<T>();
  mask_calls<T>();
  transform_calls<T>();
  score_calls<T>();
  state_calls<T>();
}

}  // namespace bits
