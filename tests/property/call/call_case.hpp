// A random call of attention: sizes, storage, policies, numbers and where the output lies. One that
// the documentation allows agrees with loops in double and gives the same bits again with other
// workers; any other throws shape_error or argument_error and leaves the output as it was. What was
// allowed is gone back through.
#pragma once

#include <cstdio>
#include <set>
#include <tuple>

#include "softlook/gradient/attention.hpp"
#include "tests/property/call/placement.hpp"
#include "tests/property/call/storage.hpp"
#include "tests/support/executors.hpp"

namespace softlook_test::call_case {

/// Whether masks, transforms and sinks fit; what the checks of policies say is asked of them.
inline bool policies_fit(const call& c) {
  return !refused([&] {
    for (const part& p : c.parts) {
      c.mask.check("fuzz", p.size);
      c.transform.check<float>("fuzz", p.size);
    }
  });
}

/// All policies of one call and whatever else it needs.
struct setting {
  call c;
  placement at;
  softlook::options opts;
  softlook::heads heads;
  Eigen::VectorXd sinks;
  index workers = 1;
  bool valid = true;
  bool maybe = false;  // an overlap that strides do not tell
};

/// The output inside the memory of an input, or beside it.
inline placed<float> output_of(choices& in, setting& s, placed<float>& v, index rows, index cols,
                               std::initializer_list<const placed<float>*> inputs) {
  const unsigned choice = in.byte();
  if (choice < 200 || inputs.size() == 0) return place<float>(in, plain::Constant(rows, cols, 5));
  placed<float> o;
  o.rows = rows;
  o.cols = cols;
  if (choice < 225) {  // V and O are columns of one matrix
    const index back = in.one_in(3) ? in.integer(1, 3) : 0;
    const index stride = std::max<index>(v.cols + cols, 1);
    auto memory =
        std::make_shared<std::vector<float>>(std::size_t(stride * std::max(v.rows, rows)), 7.0F);
    placed<float> moved{memory, 0, v.rows, v.cols, stride, 1};
    for (index i = 0; i < v.rows; ++i)
      for (index j = 0; j < v.cols; ++j) (*memory)[std::size_t(moved.at(i, j))] = v.map()(i, j);
    v = moved;
    o.memory = memory;
    o.first = std::max<index>(v.cols - back, 0);
    if (memory->empty()) o.first = v.first = 0;
    o.row_stride = stride;
  } else {
    const placed<float>& x = **(inputs.begin() + in.byte() % inputs.size());
    const index length = rows > 0 ? (rows - 1) * std::max<index>(cols, 1) + cols : 0;
    if (length > index(x.memory->size())) return place<float>(in, plain::Constant(rows, cols, 5));
    o.memory = x.memory;
    o.first = (index(x.memory->size()) - length) * index(in.byte()) / 255;
    o.row_stride = std::max<index>(cols, 1);
  }
  for (const placed<float>* x : inputs) {
    if (x->memory != o.memory || rows * cols == 0) continue;
    std::set<index> taken;
    for (index i = 0; i < x->rows; ++i)
      for (index j = 0; j < x->cols; ++j) taken.insert(x->at(i, j));
    bool meets = false;
    for (index i = 0; i < rows; ++i)
      for (index j = 0; j < cols; ++j) meets = meets || taken.count(o.at(i, j)) > 0;
    if (meets)
      s.valid = false;
    else if (x->row_stride != o.row_stride || x->col_stride != o.col_stride)
      s.maybe = true;
  }
  return o;
}

inline void describe(const call& c, const softlook::options& opts, const char* where) {
  const softlook::tile_shape tile = opts.tile.value_or(softlook::tile_shape{});
  char text[512];
  std::snprintf(text, sizeof text,
                "%s: %td queries, %td keys, %td heads of %td, %td and %td columns, kernel %d, isa "
                "%d, tile %td %td, scale %g, transform %d %g, %td sinks, %td parts, dropped %g",
                where, c.Q.rows(), c.K.rows(), c.heads, c.kv, c.Q.cols(), c.V.cols(),
                opts.kernel ? int(*opts.kernel) : -1, opts.isa ? int(*opts.isa) : -1, tile.keys,
                tile.query_tiles, c.scale, int(c.transform.kind), c.transform.number,
                index(c.sinks.size()), index(c.parts.size()), c.drop.probability);
  running() = text;
}

/// Whether some query of the call sees a key.
inline bool is_seen(const call& c, index key) {
  for (const part& p : c.parts) {
    if (key < p.k.begin || key >= p.k.end) continue;
    for (index head = 0; head < c.heads; ++head) {
      problem size = p.size;
      size.head = std::int32_t(head);
      for (index i = 0; i < p.q.count(); ++i)
        if (c.mask.allows(p.query(i), std::int32_t(p.first_key + key - p.k.begin), size))
          return true;
    }
  }
  return false;
}

/// The way back of a call that was taken: no shape is refused that fits, and none taken that does
/// not; the same bits with other workers; what is not seen gets zeros, whatever it holds.
template <class K, class V, class State, class... Ps>
void run_back(const setting& s, const placed<float>& q, const K& k, const V& v, const State& state,
              const Ps&... policies) {
  using softlook::attention_backward;
  generator random(std::uint64_t(state.output.size()));
  plain dO(state.output.rows(), state.output.cols());
  for (index x = 0; x < dO.size(); ++x) dO.data()[x] = float(random.uniform(-1, 1));
  const softlook_test::round_robin exec{s.workers}, other{s.workers % 3 + 1};
  const auto g = attention_backward(q.map(), k, v, state.output, state.log_sum_exp, dO, s.opts,
                                    exec, policies...);
  const auto again = attention_backward(q.map(), k, v, state.output, state.log_sum_exp, dO, s.opts,
                                        other, policies...);
  const auto same = [](const plain& a, const plain& b) {
    require(a.rows() == b.rows() && a.cols() == b.cols() &&
                std::equal(a.data(), a.data() + a.size(), b.data(), same_bits),
            "other bits of a gradient with other workers");
  };
  same(g.dQ, again.dQ);
  same(g.dK, again.dK);
  same(g.dV, again.dV);
  require(g.dQ.rows() == q.rows && g.dK.rows() == k.rows() && g.dV.cols() == v.cols(),
          "a gradient has another shape than what it belongs to");
  for (index j = 0; j < k.rows(); ++j) {
    if ((g.dK.row(j).array() == 0).all() && (g.dV.row(j).array() == 0).all()) continue;
    require(is_seen(s.c, j), "a key that no query sees has a gradient");
  }
  const plain wrong = plain::Zero(dO.rows() + 1, dO.cols());
  require(refused([&] {
            (void)attention_backward(q.map(), k, v, state.output, state.log_sum_exp, wrong, s.opts,
                                     policies...);
          }),
          "a gradient of another shape was taken");
}

/// Whether calls run on every instruction set, and not only on the one that the case names.
inline bool& on_all_sets() {
  static bool it = false;
  return it;
}

inline std::vector<softlook::options> options_of_runs(const softlook::options& o) {
  std::vector<softlook::options> all{o};
  if (!on_all_sets() || (o.isa && !softlook::detail::can_run(*o.isa))) return all;
  all.clear();
  for (const auto isa : softlook::available_instruction_sets()) {
    all.push_back(o);
    all.back().isa = isa;
  }
  return all;
}

/// One run; nothing if it was refused as it must be.
template <class K, class V, class... Ps>
void run_once(const setting& s, const placed<float>& q, const K& k, const V& v,
              const placed<float>& o, std::vector<row>& must, const Ps&... policies) {
  const std::vector<float> before = *o.memory;
  describe(s.c, s.opts, softlook::stored_rows<K> ? "stored rows" : "matrices");
  const softlook_test::round_robin exec{s.workers}, other{s.workers % 3 + 1};
  const bool no = refused([&] {
    auto O = o.map();
    softlook::attention_into(q.map(), k, v, O, s.opts, exec, policies...);
  });
  if (no) {
    require(!s.valid || s.maybe, "a valid call was refused");
    require(before.size() == o.memory->size() &&
                std::equal(before.begin(), before.end(), o.memory->begin(), same_bits),
            "a call that was refused has written");
    ++tallied().refused;
    return;
  }
  require(s.valid, "an invalid call was taken");
  std::vector<char> inside(before.size(), 0);
  for (index i = 0; i < o.rows; ++i)
    for (index j = 0; j < o.cols; ++j) inside[std::size_t(o.at(i, j))] = 1;
  for (std::size_t x = 0; x < before.size(); ++x)
    require(inside[x] || same_bits(before[x], (*o.memory)[x]), "written outside the output");
  const auto state =
      softlook::attention_with_log_sum_exp(q.map(), k, v, s.opts, other, policies...);
  const auto O = o.map();
  for (index i = 0; i < o.rows; ++i)
    for (index j = 0; j < o.cols; ++j)
      require(same_bits(O(i, j), state.output(i, j)), "other bits with other workers");
  if (must.empty()) must = rows_of_call(s.c);
  compare(s.c, must, O, &state.log_sum_exp);
  count_compared(s.opts.isa.value_or(softlook::detail::best_instruction_set()));
  if constexpr (std::is_same_v<K, strided<float>>) run_back(s, q, k, v, state, policies...);
}

template <class K, class V, class... Ps>
void run_call(setting& s, const placed<float>& q, const K& k, const V& v, const placed<float>& o,
              const Ps&... policies) {
  std::vector<row> must;
  for (const softlook::options& opts : options_of_runs(s.opts)) {
    s.opts = opts;
    run_once(s, q, k, v, o, must, policies...);
  }
}

/// The instantiations of calls: a few of all combinations, each of which is compiled.
template <class K, class V>
void run_placed(setting& s, const placed<float>& q, const K& k, const V& v, const placed<float>& o,
                bool sinks) {
  const auto& [mask, transform] = std::tie(s.c.mask, s.c.transform);
  constexpr bool matrices = !softlook::stored_rows<K>;
  if (s.at.kind == placement::in_segments) {
    const softlook::segments at{s.at.queries, s.at.keys};
    if constexpr (matrices)
      run_call(s, q, k, v, o, s.heads, mask, transform, at);
    else
      run_call(s, q, k, v, o, s.heads, mask, transform, at, softlook::sinks(s.sinks));
  } else if (s.at.kind == placement::in_batch) {
    const softlook::padded_batch at{s.at.sequences, s.at.queries, s.at.keys};
    if constexpr (matrices)
      run_call(s, q, k, v, o, s.heads, mask, transform, at, softlook::sinks(s.sinks));
    else
      run_call(s, q, k, v, o, s.heads, mask, transform, at);
  } else if (sinks) {
    if constexpr (matrices)
      run_call(s, q, k, v, o, s.heads, mask, transform, s.at.frame, softlook::sinks(s.sinks),
               s.c.drop);
  } else {
    run_call(s, q, k, v, o, s.heads, mask, transform, s.at.frame);
  }
}

/// Sinks of a call, if its instantiation takes them.
inline void give_sinks(choices& in, setting& s, bool wanted) {
  if (!wanted) return;
  const index count =
      in.one_in(32) ? std::max<index>(s.c.heads + 1, 0) : std::max<index>(s.c.heads, 0);
  s.sinks.resize(count);
  constexpr double odd[] = {NAN, infinity, 1e39};
  generator random(in.byte());
  for (index h = 0; h < count; ++h)
    s.sinks[h] = random.bits() % 3 == 0 ? -infinity : 4 * double(float(random.uniform(-1, 1)));
  const bool bad = count > 0 && in.one_in(32);
  if (bad) s.sinks[0] = in.one_of(odd);
  if (count != s.c.heads || bad) s.valid = false;
  s.c.sinks.assign(s.sinks.data(), s.sinks.data() + count);
}

/// Dropout of a call, rarely of a probability that none may have.
inline void give_dropout(choices& in, setting& s) {
  if (!in.one_in(2)) return;
  constexpr double odd[] = {1, -0.125, NAN, infinity};
  const bool bad = in.one_in(24);
  s.c.drop = {.probability = bad ? in.one_of(odd) : double(in.integer(0, 15)) / 16,
              .seed = in.word()};
  if (bad) s.valid = false;
}

/// What a call is told besides its matrices; `m` rows of keys.
inline void settle(choices& in, setting& s, const sizes& z, index m) {
  switch (in.integer(0, 3)) {
    case 0:
      place_in_segments(in, s.at, z.n, m);
      break;
    case 1:
      place_in_batch(in, s.at, z.n, m);
      break;
    default:
      place_in_frame(in, s.at, z.n, m);
  }
  const sets given = options_of(in);
  s.opts = given.opts;
  s.workers = in.integer(1, 5);
  s.c.heads = z.heads;
  s.c.kv = z.kv;
  s.heads = {.query = z.heads, .kv = z.kv_given};
  s.c.transform = transform_of(in);
  s.c.scale = s.opts.scale.value_or(1 / std::sqrt(double(std::max<index>(z.d, 1))));
  s.c.parts = s.at.parts;
  s.valid = s.valid && z.valid && s.at.valid && given.valid;
  if (s.valid && z.q_cols != z.heads * z.d)
    s.c.scale =
        s.opts.scale.value_or(1 / std::sqrt(double(std::max<index>(z.q_cols / z.heads, 1))));
}

inline void run_attention(choices& in) {
  const sizes z = sizes_of(in);
  setting s;
  s.c.Q = numbers_of(in, z.n, z.q_cols);
  plain K = numbers_of(in, z.m, z.k_cols), V = numbers_of(in, z.v_rows, z.v_cols);
  const index storage = in.integer(0, 4);
  settle(in, s, z, z.m);
  const mask_functions mask = mask_of(in, z.m);
  s.c.mask = {&mask};
  const bool matrices = storage < 2;
  const bool wants = in.one_in(2);
  const bool sinks = s.at.kind == placement::in_segments ? !matrices && storage < 4
                     : s.at.kind == placement::in_batch  ? matrices
                                                         : matrices && wants;
  if (storage == 4) {
    if (s.at.kind != placement::in_frame) return;
    K = K.cast<Eigen::half>().cast<float>();
    V = V.cast<Eigen::bfloat16>().cast<float>();
  }
  any_rows K_rows, V_rows;
  if (storage == 2 || storage == 3) {
    bool k_valid = true, v_valid = true;
    K_rows = stored(in, K, k_valid);
    V_rows = stored(in, V, v_valid);
    if (!k_valid || !v_valid) return;
    for (const any_rows* rows : {&K_rows, &V_rows})  // a scale belongs to whole heads
      if (rows->cols() > 0 && z.kv % rows->scales != 0) s.valid = false;
    K = K_rows.wide;
    V = V_rows.wide;
    if (K.rows() != z.m || V.rows() != z.v_rows) return;
  }
  s.c.K = K;
  s.c.V = V;
  give_sinks(in, s, sinks);
  if (s.valid) s.valid = policies_fit(s.c);
  const placed<float> q = place<float>(in, s.c.Q);
  const bool whole = z.heads >= 1 && z.kv >= 1;
  const index columns = whole ? z.v_cols / z.kv * z.heads : 4;
  if (matrices) {
    const placed<float> k = place<float>(in, K);
    placed<float> v = place<float>(in, V);
    placed<float> o = output_of(in, s, v, z.n, columns, {&q, &k, &v});
    if (in.one_in(48)) {  // an output of another shape
      o = place<float>(in, plain::Constant(z.n, columns + 1, 5));
      s.valid = false;
    }
    if (sinks && s.at.kind == placement::in_frame) give_dropout(in, s);
    run_placed(s, q, k.map(), v.map(), o, sinks);
    return;
  }
  placed<float> none;
  const placed<float> o = output_of(in, s, none, z.n, columns, {});
  if (storage == 4) {
    const auto k = place<Eigen::half>(in, K);
    const auto v = place<Eigen::bfloat16>(in, V);
    run_call(s, q, k.map(), v.map(), o, s.heads, s.c.mask, s.c.transform, s.at.frame);
  } else {
    run_placed(s, q, K_rows, V_rows, o, sinks);
  }
}

}  // namespace softlook_test::call_case
