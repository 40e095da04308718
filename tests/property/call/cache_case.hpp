// Random operations on a kv_cache and its forks, beside the rows that it must hold.
#pragma once

#include "tests/property/call/call_case.hpp"

namespace softlook_test::call_case {

/// Row by row what a cache was given, as it keeps it.
template <class Stored>
plain kept_as(const plain& X, index heads) {
  if constexpr (std::is_same_v<Stored, std::int8_t>)
    return rounded_to_8_bits(X, heads);
  else
    return X.template cast<Stored>().template cast<float>();
}

inline void append_rows(plain& to, const plain& more, index cols) {
  const index rows = to.rows();
  to.conservativeResize(rows + more.rows(), cols);
  for (index i = 0; i < more.rows(); ++i)
    for (index j = 0; j < cols; ++j) to(rows + i, j) = more(i, j);
}

template <class Stored>
struct sequence {
  softlook::kv_cache<float, Stored> cache;
  plain K, V;
  index first = 0;
};

template <class Stored>
void append(choices& in, sequence<Stored>& s) {
  const softlook::kv_cache_shape& shape = s.cache.shape();
  const index rows = in.one_in(4) ? in.integer(0, 90) : in.integer(0, 5);
  index k_cols = shape.heads * shape.key_features, v_cols = shape.heads * shape.value_features;
  index v_rows = rows;
  if (in.one_in(16)) ++k_cols;
  if (in.one_in(16)) ++v_cols;
  if (in.one_in(16)) ++v_rows;
  const plain K = numbers_of(in, rows, k_cols), V = numbers_of(in, v_rows, v_cols);
  const auto k = place<float>(in, K), v = place<float>(in, V);
  bool valid = k_cols == shape.heads * shape.key_features &&
               v_cols == shape.heads * shape.value_features && v_rows == rows;
  if (std::is_same_v<Stored, std::int8_t>) valid = valid && K.allFinite() && V.allFinite();
  const bool no = refused([&] { s.cache.append(k.map(), v.map()); });
  require(no == !valid, "append: refused or taken against its documentation");
  if (no) return;
  append_rows(s.K, kept_as<Stored>(K, shape.heads), k_cols);
  append_rows(s.V, kept_as<Stored>(V, shape.heads), v_cols);
  const softlook::kv_cache_options& o = s.cache.options();
  if (o.window)
    s.first += std::max<index>(s.K.rows() - *o.window - s.first, 0) / o.page_rows * o.page_rows;
}

template <class Stored>
void attend(choices& in, const sequence<Stored>& s) {
  const softlook::kv_cache_shape& shape = s.cache.shape();
  const index group = in.integer(1, 3), n = in.one_in(4) ? in.integer(0, 60) : in.integer(0, 4);
  const index size = s.K.rows();
  setting all;
  call& c = all.c;
  c.heads = shape.heads * group;
  c.kv = shape.heads;
  const bool bad = in.one_in(16);
  c.Q = numbers_of(in, n, c.heads * shape.key_features + (bad ? 1 : 0));
  all.valid = !bad || shape.key_features == 1;
  if (bad && all.valid) all.valid = (c.heads + 1) % c.kv == 0;
  if (bad && all.valid) c.heads += 1;
  c.K = s.K.bottomRows(size - s.first);
  c.V = s.V.bottomRows(size - s.first);
  const mask_functions mask = mask_of(in, size);
  c.mask = {&mask};
  c.transform = transform_of(in);
  const sets given = options_of(in);
  c.scale = given.opts.scale.value_or(1 / std::sqrt(double(shape.key_features)));
  part p{.q = {0, n}, .k = {0, size - s.first}, .size = {}, .positions = nullptr};
  p.first_query = std::max<index>(size - n, 0);
  p.first_key = s.first;
  p.size.queries = std::int32_t(std::max(size, n));
  p.size.keys = std::int32_t(size);
  c.parts = {p};
  all.valid = all.valid && given.valid && policies_fit(c);
  const auto q = place<float>(in, c.Q);
  const auto o = place<float>(in, plain::Constant(n, c.heads * shape.value_features, 5));
  const std::vector<float> before = *o.memory;
  const softlook_test::round_robin exec{in.integer(1, 4)};
  std::vector<row> must;
  for (const softlook::options& opts : options_of_runs(given.opts)) {
    describe(c, opts, "attend");
    const bool no = refused([&] {
      auto O = o.map();
      s.cache.attend_into(q.map(), O, c.mask, c.transform, opts, exec);
    });
    require(no == !all.valid, "attend: refused or taken against its documentation");
    if (no) {
      require(std::equal(before.begin(), before.end(), o.memory->begin(), same_bits),
              "an attend that was refused has written");
      ++tallied().refused;
      continue;
    }
    if (must.empty()) must = rows_of_call(c);
    compare(c, must, o.map(), static_cast<const plain*>(nullptr));
    count_compared(opts.isa.value_or(softlook::detail::best_instruction_set()));
  }
}

template <class Stored>
void run_cache(choices& in) {
  softlook::kv_cache_shape shape{in.integer(1, 3), in.integer(1, 20),
                                 in.one_in(16) ? 0 : in.integer(1, 20)};
  softlook::kv_cache_options options;
  constexpr index page_sizes[] = {1, 2, 4, 8, 16, 64, 128};
  options.page_rows = in.one_in(32) ? or_wild(in, 3) : in.one_of(page_sizes);
  if (in.one_in(2)) options.window = or_wild(in, in.integer(0, 100));
  if (in.one_in(32)) shape.heads = -shape.heads;
  if (in.one_in(32)) shape.key_features = 0;
  if (in.one_in(32)) shape.value_features = -1;
  const bool valid = shape.heads >= 1 && shape.key_features >= 1 && shape.value_features >= 0 &&
                     softlook::detail::exact_log2(options.page_rows) >= 0 &&
                     options.page_rows <= (index{1} << 20) && options.window.value_or(1) >= 1;
  std::vector<sequence<Stored>> all;
  const bool no = refused([&] {
    all.push_back({softlook::kv_cache<float, Stored>(shape, options), plain(), plain()});
  });
  require(no == !valid, "kv_cache: refused or taken against its documentation");
  if (no) return;
  all[0].K.resize(0, shape.heads * shape.key_features);
  all[0].V.resize(0, shape.heads * shape.value_features);
  for (int steps = 0; steps < 40 && !in.done() && !all.empty(); ++steps) {
    const std::size_t at = in.byte() % all.size();
    sequence<Stored>& s = all[at];
    switch (in.integer(0, 9)) {
      case 0:
      case 1:
      case 2:
        append(in, s);
        break;
      case 3: {
        const index size = or_wild(in, s.K.rows() - in.integer(-1, 20));
        const bool fits = size >= s.first && size <= s.K.rows();
        require(refused([&] { s.cache.truncate(size); }) == !fits,
                "truncate: refused or taken against its documentation");
        if (!fits) break;
        s.K.conservativeResize(size, s.K.cols());
        s.V.conservativeResize(size, s.V.cols());
        break;
      }
      case 4:
        if (all.size() < 4) {
          sequence<Stored> fork{s.cache.fork(), s.K, s.V, s.first};
          all.push_back(std::move(fork));
        }
        break;
      case 5:
        if (all.size() > 1) all.erase(all.begin() + index(at));
        break;
      case 6: {  // a hypothesis takes the place of another
        const sequence<Stored>& from = all[in.byte() % all.size()];
        if (&from != &s) s = from;
        break;
      }
      default:
        attend(in, s);
    }
    for (const auto& x : all)
      require(x.cache.size() == x.K.rows() && x.cache.first() == x.first, "a cache lost count");
  }
}

/// A call or a cache, which the first decision chooses.
inline void run_any(choices& in) {
  switch (in.integer(0, 7)) {
    case 5:
      return run_cache<float>(in);
    case 6:
      return run_cache<Eigen::bfloat16>(in);
    case 7:
      return run_cache<std::int8_t>(in);
    default:
      return run_attention(in);
  }
}

}  // namespace softlook_test::call_case
