#pragma once

#include <cmath>
#include <numeric>
#include <span>

#include "softlook/engine/run/attention_call.hpp"
#include "softlook/engine/run/plan.hpp"

// Everything that must hold before anything is written.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// A matrix in memory as lines of elements.
struct matrix_lines {
  index lines;
  index apart;   // from line to line
  index length;  // elements of a line
  index step;    // from element to element
};

/// Whether lines of two matrices, b's first element `distance` behind a's, keep to different
/// windows of what their distances have in common: columns of one packed matrix side by side, or
/// rows that alternate.
[[nodiscard]] inline bool in_other_windows(const matrix_lines& a, const matrix_lines& b,
                                           index distance) {
  const index period = std::gcd(a.lines > 1 ? a.apart : 0, b.lines > 1 ? b.apart : 0);
  if (period == 0) return false;
  const auto width = [](const matrix_lines& m) { return (m.length - 1) * std::abs(m.step) + 1; };
  const auto first = [](const matrix_lines& m) {
    return std::min<index>((m.length - 1) * m.step, 0);
  };
  const index behind = distance + first(b) - first(a);
  const index window = (behind % period + period) % period;
  return window >= width(a) && window + width(b) <= period;
}

/// Whether i·apart + j·step = distance has a solution of lines and elements that two matrices with
/// these same distances have: a step for each element of a line.
[[nodiscard]] inline bool meet(const matrix_lines& a, const matrix_lines& b, index distance) {
  for (index j = 1 - b.length; j < a.length; ++j) {
    const index rest = distance - j * a.step;
    if (a.apart == 0 ? rest == 0
                     : rest % a.apart == 0 && rest / a.apart < a.lines && rest / a.apart > -b.lines)
      return true;
  }
  return false;
}

/// Whether two strided matrices share an element. Exact for matrices of the same strides, as those
/// in one block have, in either order; otherwise true where it cannot be told from strides.
template <class T>
[[nodiscard]] bool overlap(const mutable_matrix_view<T>& a, const matrix_view<T>& b) {
  if (a.rows == 0 || a.cols == 0 || b.rows == 0 || b.cols == 0) return false;
  if (lie_apart(as_input(a), b)) return false;
  const matrix_lines of_a[] = {{a.rows, a.row_stride, a.cols, a.col_stride},
                               {a.cols, a.col_stride, a.rows, a.row_stride}};
  const matrix_lines of_b[] = {{b.rows, b.row_stride, b.cols, b.col_stride},
                               {b.cols, b.col_stride, b.rows, b.row_stride}};
  const index distance = b.data - a.data;
  for (const matrix_lines& one : of_a)
    for (const matrix_lines& other : of_b)
      if (in_other_windows(one, other, distance)) return false;
  const bool rows_are_longer = a.cols < a.rows;
  const matrix_lines& one = of_a[rows_are_longer ? 0 : 1];
  for (const matrix_lines& other : of_b)
    if (one.apart == other.apart && one.step == other.step) return meet(one, other, distance);
  return true;
}

template <class T>
void check_overlap(const char* where, const char* input, const mutable_matrix_view<T>& O,
                   const matrix_view<T>& X, const char* output = "O") {
  if (overlap(O, X))
    raise<argument_error>(
        formatted("%s: %s overlaps %s (the output is written while the inputs are still read)",
                  where, output, input)
            .text);
}

/// Heads that share the columns of a matrix evenly.
inline void check_columns_of_heads(const char* where, const char* name, index columns,
                                   const char* heads_name, index heads) {
  if (columns % heads != 0)
    raise_sizes(where, name, columns, heads_name, heads,
                "every head has the same number of columns");
}

inline void check_heads(const char* where, index query, index kv) {
  if (query < 1) raise_argument(where, "heads.query", double(query), "there is at least 1 head");
  if (kv < 1) raise_argument(where, "heads.kv", double(kv), "there is at least 1 head");
  check_positions(where, "heads.query", query);
  if (query % kv != 0)
    raise_sizes(where, "heads.query", query, "heads.kv", kv,
                "each key and value head serves the same number of query heads");
}

/// Heads, and the columns of the inputs among them.
template <class T>
void check_heads(const attention_call<T>& c) {
  if (c.query_heads == 1 && c.kv_heads == 1) return;
  check_heads(c.where, c.query_heads, c.kv_heads);
  check_columns_of_heads(c.where, "Q.cols()", c.Q.cols, "heads.query", c.query_heads);
  check_columns_of_heads(c.where, "K.cols()", c.K.cols, "heads.kv", c.kv_heads);
  check_columns_of_heads(c.where, "V.cols()", c.V.cols, "heads.kv", c.kv_heads);
}

/// One side of a frame: `span` positions from `first` on. \return the rows of the problem behind
/// them.
inline index check_place(const char* where, const char* first_name, index first,
                         const char* count_name, std::optional<index> count, index span) {
  if (first < 0) raise_argument(where, first_name, double(first), "a position is at least 0");
  check_positions(where, first_name, first);
  const index all = count.value_or(first + span);
  if (all < first + span)
    raise_argument(where, count_name, double(all),
                   formatted("the rows of the call end at %td", first + span).text);
  check_positions(where, count_name, all);
  return all - first - span;
}
inline void check_stride(const char* where, const char* name, index stride) {
  if (stride < 1)
    raise_argument(where, name, double(stride), "each position is behind the one before it");
  check_positions(where, name, stride);
}

/// The frame that a caller gave, around rows and keys of a call.
template <class T>
void place_in_frame(attention_call<T>& c) {
  const softlook::frame& f = c.place;
  const bool given = f.first_query != 0 || f.first_key != 0 || f.queries || f.keys ||
                     !f.query_positions.empty() || c.frame.first_query != 0 ||
                     f.query_stride != 1 || f.key_stride != 1;
  if (!given) return;
  check_stride(c.where, "frame.query_stride", f.query_stride);
  check_stride(c.where, "frame.key_stride", f.key_stride);
  const index m = c.frame.shared_keys(c.K.rows);
  c.frame.first_key = f.first_key;
  c.frame.key_stride = f.key_stride;
  c.frame.later_keys = check_place(c.where, "frame.first_key", f.first_key, "frame.keys", f.keys,
                                   call_frame::span(m, f.key_stride));
  if (f.query_positions.empty()) {
    c.frame.first_query += f.first_query;
    c.frame.query_stride = f.query_stride;
    c.frame.later_queries =
        check_place(c.where, "frame.first_query", c.frame.first_query, "frame.queries", f.queries,
                    call_frame::span(c.Q.rows, f.query_stride));
    return;
  }
  const auto& list = f.query_positions;
  check_sizes(c.where, "frame.query_positions.size()", index(list.size()), "Q.rows()", c.Q.rows,
              "there is a position for each query");
  index end = 0;
  for (const std::int32_t at : list) {
    if (at < 0) raise_argument(c.where, "frame.query_positions", at, "a position is at least 0");
    end = std::max(end, index{at} + 1);
  }
  c.frame.query_positions = list.data();
  c.frame.later_queries =
      end + check_place(c.where, "frame.query_positions", 0, "frame.queries", f.queries, end);
}

/// Offsets of sequences in `rows` rows.
inline void check_offsets(const char* where, const char* name,
                          std::span<const std::int32_t> offsets, const char* rows_name,
                          index rows) {
  if (offsets.empty()) raise_argument(where, name, 0, "there is an offset for each end");
  if (offsets.front() != 0) raise_argument(where, name, offsets.front(), "the first offset is 0");
  for (std::size_t s = 1; s < offsets.size(); ++s)
    if (offsets[s] < offsets[s - 1])
      raise_sizes(where, name, offsets[s], "the offset before it", offsets[s - 1],
                  "offsets never fall");
  check_sizes(where, name, offsets.back(), rows_name, rows,
              "the last offset is the end of the rows");
}
/// Lengths of sequences of `rows` rows each.
inline void check_lengths(const char* where, const char* name,
                          std::span<const std::int32_t> lengths, index sequences, index rows) {
  if (lengths.empty()) return;
  check_sizes(where, name, index(lengths.size()), "sequences", sequences,
              "there is a length for each sequence");
  for (const std::int32_t length : lengths)
    if (length < 0 || length > rows)
      raise_argument(where, name, length,
                     formatted("a sequence has between 0 and %td rows", rows).text);
}

/// The sequences that a caller gave.
template <class T>
void place_sequences(attention_call<T>& c) {
  call_sequences& to = c.sequences;
  if (const segments& s = c.packed_rows; !s.queries.empty() || !s.keys.empty()) {
    const auto keys = s.keys.empty() ? s.queries : s.keys;
    check_offsets(c.where, "an offset of segments.queries", s.queries, "Q.rows()", c.Q.rows);
    check_offsets(c.where,
                  s.keys.empty() ? "an offset of segments.queries" : "an offset of segments.keys",
                  keys, "K.rows()", c.K.rows);
    check_sizes(c.where, "segments.keys.size()", index(keys.size()), "segments.queries.size()",
                index(s.queries.size()), "both are of the same sequences");
    to.count = index(s.queries.size()) - 1;
    to.query_offsets = s.queries.data();
    to.key_offsets = keys.data();
  } else if (c.padded_rows) {
    const padded_batch& b = *c.padded_rows;
    if (b.sequences < 1)
      raise_argument(c.where, "padded_batch.sequences", double(b.sequences), "there is at least 1");
    const auto rows_of_each = [&](const char* name, index rows) {
      if (rows % b.sequences != 0)
        raise_sizes(c.where, name, rows, "padded_batch.sequences", b.sequences,
                    "every sequence has the same number of rows");
      return rows / b.sequences;
    };
    // Without rows there is nothing to share out.
    to.count = c.Q.rows == 0 && c.K.rows == 0 ? 1 : b.sequences;
    to.queries = rows_of_each("Q.rows()", c.Q.rows);
    to.keys = rows_of_each("K.rows()", c.K.rows);
    check_lengths(c.where, "padded_batch.query_lengths", b.query_lengths, b.sequences, to.queries);
    check_lengths(c.where, "padded_batch.key_lengths", b.key_lengths, b.sequences, to.keys);
    to.query_lengths = b.query_lengths.empty() ? nullptr : b.query_lengths.data();
    to.key_lengths = b.key_lengths.empty() ? nullptr : b.key_lengths.data();
  } else {
    raise_argument(c.where, "segments.queries", 0, "there is an offset for each end");
  }
}

/// Rows of 8 bits have a scale for some columns: a head of the call lies among them.
template <class T>
void check_scales(const char* where, const char* name, const row_source<T>& rows, index features) {
  if (rows.scale_columns > 0 && features > 0 && rows.scale_columns % features != 0)
    raise_sizes(
        where, name, features, "columns that share a scale", rows.scale_columns,
        "the columns of a head of 8 bits share a scale: give the rows the heads of the call");
}

template <class T>
void check_shapes(const attention_call<T>& c) {
  const char* where = c.where;
  const bool one_size = !c.score.additive && !c.score.project_queries;
  if (one_size)
    check_sizes(where, "K.cols()", c.key_features(), "Q.cols()", c.query_features(),
                c.query_heads == 1 ? "queries and keys share one feature size"
                                   : "queries and keys share one feature size for each head");
  check_sizes(where, "V.rows()", c.V.rows, "K.rows()", c.K.rows, "each key has one value");
  check_positions(where, "Q.rows()", c.Q.rows);
  check_positions(where, "K.rows()", c.K.rows);
  check_parameter<T>(where, "options.scale", c.opts.scale.value_or(1), parameter::finite,
                     "a scale is finite");
  if (c.opts.tile) check_tile(where, *c.opts.tile);
  check_scales(where, "K.cols() of a head", c.key_rows, c.key_features());
  check_scales(where, "V.cols() of a head", c.value_rows, c.values());
}

/// How long an output row is, and why.
struct output_columns_rule {
  const char* name;
  index columns;
  const char* reason;
};

/// The output of queries, keys and values: `in` has Q, K, V and `where`.
template <class Inputs, class T>
void check_output_of(const Inputs& in, const mutable_matrix_view<T>& O,
                     const output_columns_rule& rule) {
  const char* where = in.where;
  check_sizes(where, "O.rows()", O.rows, "Q.rows()", in.Q.rows, "one output row for each query");
  check_sizes(where, "O.cols()", O.cols, rule.name, rule.columns, rule.reason);
  if (O.rows == 0 || O.cols == 0) return;
  // Apart is the rule, and a glance at their ends is a tenth of the whole check.
  const memory_ends<T> written = ends_of(as_input(O));
  const auto check = [&](const char* input, const matrix_view<T>& X) {
    if (X.rows > 0 && X.cols > 0 && !lie_apart(written, ends_of(X)))
      check_overlap(where, input, O, X);
  };
  check("Q", in.Q);
  check("K", in.K);
  check("V", in.V);
}

template <class T>
void check_output(const attention_call<T>& c) {
  check_output_of(c, c.O,
                  {"V.cols()", c.values() * c.query_heads,
                   c.query_heads == 1 ? "an output row is as long as a value"
                                      : "an output row holds a value for each query head"});
}

/// Whether masks and transforms fit a problem of n queries and m keys, in each head.
template <class T>
void check_policies_in(const attention_call<T>& c, const call_frame& f, index n, index m) {
  const policy_calls<T>& p = c.policy;
  if (!p.transform.check && !p.mask.check) return;
  for (index head = 0; head < c.query_heads; ++head) {
    const problem whole = f.whole(n, m, head, c.query_heads);
    if (p.transform.check) p.transform.check(p.transform.transform, c.where, whole);
    if (p.mask.check) p.mask.check(p.mask.mask, c.where, whole);
  }
}

/// The kernels of a call read K and V themselves.
template <class T>
void read_in_place(attention_call<T>& c) {
  c.key_rows = source_of(c.K, stored_rows_of<T, T>(c.isa));
  c.value_rows = source_of(c.V, stored_rows_of<T, T>(c.isa));
}

/// What must hold of a call whose score is known.
template <class T>
void check_call(attention_call<T>& c) {
  check_shapes(c);
  if (c.place_sequences) c.place_sequences(c);
  if (c.sinks.check) c.sinks.check(c);
  place_in_frame(c);
  if (c.sequences.count == 0) check_policies_in(c, c.frame, c.Q.rows, c.K.rows);
  for (index s = 0; s < c.sequences.count; ++s) {
    call_frame f;
    f.sequence = s;
    check_policies_in(c, f, c.sequences.queries_of(s).count(), c.sequences.keys_of(s).count());
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_INSTANTIATE_CHECKS(extern, float)
SOFTLOOK_INSTANTIATE_CHECKS(extern, double)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
#endif
