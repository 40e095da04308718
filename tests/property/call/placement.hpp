// Sizes of a random call and where its rows stand: in a frame, in segments, in a padded batch.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "tests/property/call/truth.hpp"

namespace softlook_test::call_case {

struct sizes {
  index n, m, heads, kv, d, e, q_cols, k_cols, v_cols, v_rows;
  std::optional<index> kv_given;
  bool valid;
};

inline sizes sizes_of(choices& in) {
  sizes s{};
  s.n = in.one_in(2) ? in.integer(0, 80) : in.integer(0, 9);
  s.m = in.one_in(2) ? in.integer(0, 200) : in.integer(0, 20);
  s.kv = in.integer(1, 3);
  s.heads = s.kv * in.integer(1, 3);
  s.d = in.one_in(40) ? 0 : in.integer(1, 40);
  s.e = in.one_in(40) ? 0 : in.integer(1, 40);
  s.q_cols = s.heads * s.d;
  s.k_cols = s.kv * s.d;
  s.v_cols = s.kv * s.e;
  s.v_rows = s.m;
  s.valid = true;
  if (in.one_in(16)) {  // one size that is off
    index* const sizes[] = {&s.q_cols, &s.k_cols, &s.v_cols, &s.v_rows, &s.heads, &s.kv};
    index& size = *in.one_of(sizes);
    size = std::max<index>(size + in.integer(-2, 2), &size == &s.heads || &size == &s.kv ? -1 : 0);
    s.valid = s.heads >= 1 && s.kv >= 1 && s.heads % s.kv == 0 && s.q_cols % s.heads == 0 &&
              s.k_cols % s.kv == 0 && s.v_cols % s.kv == 0 &&
              s.q_cols / s.heads == s.k_cols / s.kv && s.v_rows == s.m;
  }
  s.kv_given = s.kv == s.heads && in.one_in(2) ? std::nullopt : std::optional(s.kv);
  return s;
}

/// Where the rows of a call stand; the lists outlive it.
struct placement {
  enum { in_frame, in_segments, in_batch } kind = in_frame;
  softlook::frame frame{};
  std::vector<std::int32_t> queries, keys;
  index sequences = 1;
  bool same_keys = false;
  bool valid = true;
  std::vector<part> parts;
};

inline void place_in_frame(choices& in, placement& p, index n, index m) {
  softlook::frame& f = p.frame;
  part one{.q = {0, n}, .k = {0, m}, .size = {}, .positions = nullptr};
  constexpr index most = std::numeric_limits<std::int32_t>::max();
  if (in.one_in(2)) {
    f.first_query = or_wild(in, in.integer(0, 30));
    f.first_key = or_wild(in, in.integer(0, 30));
    if (in.one_in(3)) f.queries = or_wild(in, n + in.integer(-1, 40));
    if (in.one_in(3)) f.keys = or_wild(in, m + in.integer(-1, 40));
    if (in.one_in(4)) {
      generator random(in.byte());
      const index count = in.one_in(16) ? n + 1 : n;
      for (index i = 0; i < count; ++i) p.queries.push_back(std::int32_t(random.bits() % 50));
      if (count > 0 && in.one_in(16)) p.queries[0] = in.one_of<std::int32_t>({-1, 2147483647});
      f.query_positions = p.queries;
    }
  }
  const auto fits = [](index first, index rows, std::optional<index> all) {
    if (first < 0 || first > most || first + rows > most) return false;
    return !all || (*all >= first + rows && *all <= most);
  };
  index end = f.first_query + (f.first_query > most ? 0 : n);
  p.valid = fits(f.first_key, m, f.keys);
  if (p.queries.empty()) {
    p.valid = p.valid && fits(f.first_query, n, f.queries);
  } else {
    end = 0;
    for (const std::int32_t at : p.queries) {
      p.valid = p.valid && at >= 0;
      end = std::max(end, index{at} + 1);
    }
    p.valid = p.valid && index(p.queries.size()) == n && fits(0, end, f.queries);
    one.positions = p.queries.data();
  }
  if (!p.valid) return;
  one.first_query = f.first_query;
  one.first_key = f.first_key;
  one.size.queries = std::int32_t(f.queries.value_or(end));
  one.size.keys = std::int32_t(f.keys.value_or(f.first_key + m));
  p.parts = {one};
}

inline void add_sequence(placement& p, softlook::range q, softlook::range k) {
  problem size{.queries = std::int32_t(q.count()), .keys = std::int32_t(k.count())};
  size.sequence = std::int32_t(p.parts.size());
  p.parts.push_back({.q = q, .k = k, .size = size, .positions = nullptr});
}

inline void place_in_segments(choices& in, placement& p, index n, index m) {
  p.kind = placement::in_segments;
  const index count = in.integer(0, 6);
  const auto offsets = [&](index rows) {
    std::vector<std::int32_t> list;
    for (index s = 0; s < count; ++s) list.push_back(std::int32_t(in.byte() * rows / 255));
    list.push_back(0);
    list.push_back(std::int32_t(rows));
    std::sort(list.begin(), list.end());
    if (in.one_in(24))
      list[std::size_t(in.byte()) % list.size()] = std::int32_t(in.integer(-1, 90));
    if (in.one_in(48)) list.pop_back();
    if (in.one_in(48)) list.clear();
    return list;
  };
  p.queries = offsets(n);
  p.same_keys = in.one_in(4);
  if (!p.same_keys) p.keys = offsets(m);
  const auto& keys = p.keys.empty() ? p.queries : p.keys;
  const auto fit = [](const std::vector<std::int32_t>& list, index rows) {
    return !list.empty() && list.front() == 0 && list.back() == rows &&
           std::is_sorted(list.begin(), list.end());
  };
  p.valid = fit(p.queries, n) && fit(keys, m) && keys.size() == p.queries.size();
  for (std::size_t s = 0; p.valid && s + 1 < keys.size(); ++s)
    add_sequence(p, {p.queries[s], p.queries[s + 1]}, {keys[s], keys[s + 1]});
}

inline void place_in_batch(choices& in, placement& p, index n, index m) {
  p.kind = placement::in_batch;
  p.sequences = or_wild(in, in.integer(1, 6));
  if (n == 0 && m == 0) p.sequences = std::min<index>(p.sequences, 6);  // any number of empty ones
  const index count = std::clamp<index>(p.sequences, 0, 8);
  const auto lengths = [&](index rows) {
    std::vector<std::int32_t> list;
    for (index s = 0; s < count; ++s)
      list.push_back(std::int32_t(in.byte() * (rows / std::max<index>(count, 1)) / 255));
    if (in.one_in(24)) list.push_back(0);
    if (!list.empty() && in.one_in(24)) list[0] = std::int32_t(in.integer(-1, 90));
    if (in.one_in(3)) list.clear();
    return list;
  };
  p.queries = lengths(n);
  p.keys = lengths(m);
  p.valid = p.sequences >= 1 && n % p.sequences == 0 && m % p.sequences == 0;
  if (!p.valid) return;
  const auto fit = [&](const std::vector<std::int32_t>& list, index rows) {
    if (list.empty()) return true;
    return index(list.size()) == p.sequences &&
           std::all_of(list.begin(), list.end(), [&](index x) { return x >= 0 && x <= rows; });
  };
  const index queries = n / p.sequences, keys = m / p.sequences;
  p.valid = fit(p.queries, queries) && fit(p.keys, keys);
  for (index s = 0; p.valid && s < p.sequences; ++s) {
    const index q = p.queries.empty() ? queries : p.queries[std::size_t(s)];
    const index k = p.keys.empty() ? keys : p.keys[std::size_t(s)];
    add_sequence(p, {s * queries, s * queries + q}, {s * keys, s * keys + k});
  }
}

}  // namespace softlook_test::call_case
