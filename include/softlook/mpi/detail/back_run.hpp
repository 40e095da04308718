#pragma once

#include "softlook/gradient/attention.hpp"
#include "softlook/mpi/detail/rank_run.hpp"

// The way back over ranks, in terms of one call of the engine for some queries and some keys.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What a rank is given and asked for; its own rows.
template <class T>
struct rank_gradients {
  matrix_view<T> Q, K, V, O, log_sum_exp, dO;
  mutable_matrix_view<T> dQ, dK, dV;
};

/// Columns of what travels: [Q | dO | L | −D] of the queries, D_i = Σ_c dO_ic O_ic in the place of
/// O, which is as wide as dO; [K | V] and [dK | dV] of the keys.
struct packed_columns {
  index query_heads = 1;
  index kv_heads = 1;
  index d = 0;  // of a head
  index e = 0;

  [[nodiscard]] index of_queries() const { return query_heads * (d + e + 2); }
  [[nodiscard]] index of_keys() const { return kv_heads * (d + e); }
};

/// Packed rows of queries.
template <class T>
struct packed_queries {
  matrix_view<T> Q, dO, log_sum_exp, minus_D;

  [[nodiscard]] static packed_queries of(const packed_columns& c, const matrix_view<T>& X) {
    const index H = c.query_heads, d = c.d, e = c.e;
    return {X.columns(0, H * d), X.columns(H * d, H * e), X.columns(H * (d + e), H),
            X.columns(H * (d + e + 1), H)};
  }
  [[nodiscard]] packed_queries rows_from(index first, index count) const {
    return {Q.rows_from(first, count), dO.rows_from(first, count),
            log_sum_exp.rows_from(first, count), minus_D.rows_from(first, count)};
  }
  /// Those of some query heads.
  [[nodiscard]] packed_queries heads(const packed_columns& c, index first, index count) const {
    return {Q.columns(first * c.d, count * c.d), dO.columns(first * c.e, count * c.e),
            log_sum_exp.columns(first, count), minus_D.columns(first, count)};
  }
};

/// −D of each query and head: the engine takes it for dl/dL, beside an output of zeros.
template <class T>
void make_minus_dots(const packed_columns& at, const matrix_view<T>& O, const matrix_view<T>& dO,
                     const mutable_matrix_view<T>& to) {
  for (index i = 0; i < O.rows; ++i)
    for (index head = 0; head < at.query_heads; ++head) {
      T dot = 0;
      for (index x = head * at.e; x < (head + 1) * at.e; ++x) dot += O(i, x) * dO(i, x);
      to(i, head) = -dot;
    }
}

/// A rank's rows of Q, dO, L and −D, packed.
template <class T>
void pack_queries(const packed_columns& at, const rank_gradients<T>& m, const row_buffer<T>& to) {
  const mutable_matrix_view<T> X = to.writable();
  const auto put = [&](const matrix_view<T>& from, index first) {
    copy_rows(from, X.columns(first, from.cols));
  };
  const index H = at.query_heads;
  put(m.Q, 0);
  put(m.dO, H * at.d);
  put(m.log_sum_exp, H * (at.d + at.e));
  make_minus_dots(at, m.O, m.dO, X.columns(H * (at.d + at.e + 1), H));
}

/// The gradients of a call of some queries, which stand one behind the other from `first_query` on,
/// and some keys; all that the policies say of the whole.
template <class T, class... Ps>
class way_back {
  using chain =
      std::remove_cvref_t<decltype(std::declval<const stated_policies<T, Ps...>&>().transforms())>;

 public:
  way_back(rank_run& run, const rank_call<T, Ps...>& call) : run_(run), call_(call) {}

  /// Key heads from `first_head` on; dQ, dK and dV are written.
  void operator()(range kv_heads, const packed_queries<T>& q, index first_query,
                  const matrix_view<T>& K, const matrix_view<T>& V, index first_key,
                  const mutable_matrix_view<T>& dQ, const mutable_matrix_view<T>& dK,
                  const mutable_matrix_view<T>& dV) const {
    const T zero = 0;
    attention_call<T> c = call_.heads_of(kv_heads.begin, kv_heads.count());
    const kernel_rows<T, T> keys(K, c.isa, false), values(V, c.isa, false);
    call_.set_keys(c, keys, values, first_key);
    c.Q = q.Q;
    c.frame.first_query = first_query;
    c.frame.later_queries = call_.whole().Q.rows - first_query - q.Q.rows;
    if constexpr (!only_shifts<chain>) set_derivative<T, chain>(c.policy.transform, c.isa);
    backward_matrices<T> b;
    b.O = {&zero, q.Q.rows, q.dO.cols, 0, 0};
    b.log_sum_exp = q.log_sum_exp;
    b.dO = q.dO;
    b.dL = q.minus_D;
    b.dQ = dQ;
    b.dK = dK;
    b.dV = dV;
    run_.polled(c, [&](attention_call<T>& polled) { run_backward<false>(polled, b); });
  }

 private:
  rank_run& run_;
  const rank_call<T, Ps...>& call_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
