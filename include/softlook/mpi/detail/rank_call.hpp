#pragma once

#include <bit>
#include <cmath>
#include <optional>
#include <typeinfo>

#include "softlook/engine/call/bound_call.hpp"
#include "softlook/mpi/agreement.hpp"
#include "softlook/mpi/options.hpp"

// A call whose rows lie on ranks: agreed on by all of them, and run for some local rows and heads
// with policies that are asked in positions of the whole sequence.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// f(mpi::options, the other policies…), if all of them fit.
template <class Q, class K, class V, class F, class... Ps>
decltype(auto) with_rank_policies(const F& f, const Ps&... policies) {
  if constexpr (check_mpi_policies<Ps...>()) {
    return with_call_policies(
        [&](const auto&... ps) -> decltype(auto) {
          if constexpr (check_stored_types<Q, K, V, std::remove_cvref_t<decltype(ps)>...>())
            return f(mpi_options_of(policies...), ps...);
        },
        policies...);
  }
}

/// Numbers that arithmetic made, without their last bits: libraries of other machines may round
/// otherwise.
[[nodiscard]] inline std::uint64_t rounded_bits(double x) {
  return std::bit_cast<std::uint32_t>(float(x)) >> 8;
}

/// Of numbers as they are.
template <class T>
[[nodiscard]] std::uint64_t hash_of_matrix(const matrix_view<T>& X, std::uint64_t h) {
  h = hash_of(std::uint64_t(X.rows), hash_of(std::uint64_t(X.cols), h));
  for (index i = 0; X.data && i < X.rows; ++i)
    for (index j = 0; j < X.cols; ++j)
      h = hash_of(std::bit_cast<std::uint64_t>(double(X(i, j))), h);
  return h;
}

/// What a score asks for, with its matrices.
template <class T>
[[nodiscard]] std::uint64_t hash_of_score(const score_recipe<T>& s, std::uint64_t h) {
  h = hash_of(std::uint64_t(s.additive) + 2 * s.scale_by_root + 4 * s.unit_rows, h);
  const auto add = [&](const auto& X) {
    if (X) h = hash_of_matrix(*X, h);
  };
  add(s.project_queries);
  add(s.project_keys);
  add(s.query_bias);
  if (s.norm)
    h = hash_of_matrix(s.norm->key_gain,
                       hash_of_matrix(s.norm->query_gain,
                                      hash_of(std::bit_cast<std::uint64_t>(s.norm->epsilon), h)));
  if (s.trilinear)
    h = hash_of_matrix(s.trilinear->qk,
                       hash_of_matrix(s.trilinear->k, hash_of_matrix(s.trilinear->q, h)));
  return hash_of_matrix(s.v, h);
}

/// What mask and transforms answer at some places of a call: ranks that give the same type with
/// other parameters are found out by that.
template <class T>
[[nodiscard]] std::uint64_t hash_of_answers(const attention_call<T>& c, std::uint64_t h) {
  const index n = c.Q.rows, m = c.K.rows;
  if (n == 0 || m == 0) return h;
  for (const index head : {index{0}, c.query_heads - 1}) {
    const problem whole = c.problem_of(head);
    for (const index i : {index{0}, n / 3, n / 2, n - 1}) {
      const range keys = c.policy.mask.key_range(c.policy.mask.mask, {i, i + 1}, whole);
      h = hash_of(std::uint64_t(keys.begin), hash_of(std::uint64_t(keys.end), h));
      for (const index j : {index{0}, std::min(i, m - 1), m / 2, m - 1}) {
        T s = T(0.75);
        const mutable_matrix_view<T> S{&s, 1, 1, 1, 1};
        call_frame at;
        at.first_query = i;
        at.first_key = j;
        transform_matrix(c.policy, at, whole, S);
        mask_matrix(c.policy, at, whole, S);
        h = hash_of(rounded_bits(double(s)), h);
      }
    }
  }
  return h;
}

/// Rows of keys or values as they travel: those of an expression as they are stored, those of a
/// cache as T.
template <class X, class T>
class local_rows {
  static constexpr bool converted = stored_rows<X>;

 public:
  using stored = std::conditional_t<converted, T, scalar_of<X>>;
  local_rows(const X& x, instruction_set isa) : held_(x) {
    if constexpr (converted)
      view_ = held_.matrix(isa);
    else
      view_ = held_.view();
  }
  [[nodiscard]] const matrix_view<stored>& view() const { return view_; }

 private:
  std::conditional_t<converted, rows_as<X, T>, const readable<X>> held_;
  matrix_view<stored> view_;
};

/// Keys or values of a call of T that are stored as S, for its kernels; as a matrix of T where they
/// want one.
template <class T, class S>
class kernel_rows {
 public:
  kernel_rows(const matrix_view<S>& X, instruction_set isa, bool wanted) {
    if constexpr (std::is_same_v<S, T>) {
      shape = X;
      source = source_of<T>(X, stored_rows_of<T, T>(isa));
    } else {
      using bits = bits_of<S>;
      const matrix_view<bits> as_bits{reinterpret_cast<const bits*>(X.data), X.rows, X.cols,
                                      X.row_stride, X.col_stride};
      shape = {nullptr, X.rows, X.cols, 0, 0};
      source = source_of<T>(as_bits, stored_rows_of<T, bits>(isa));
      if (!wanted) return;
      matrix_ = matrix_of_rows(source);
      shape = view_of(matrix_);
    }
  }
  matrix_view<T> shape;
  row_source<T> source;

 private:
  row_major<T> matrix_;
};

/// Sizes of the whole problem and of its heads.
struct rank_sizes {
  index queries = 0;
  index keys = 0;
  index features_q = 0;  // columns of all heads
  index features_k = 0;
  index values = 0;
};

/// The policies of a call in the whole problem.
template <class T, class... Ps>
class rank_call {
  using stated = stated_policies<T, Ps...>;

 public:
  rank_call(const char* where, const rank_sizes& s, const Ps&... ps)
      : rank_call(layer_call_of(where, ps...), s, ps...) {}
  rank_call(const layer_call& how, const rank_sizes& s, const Ps&... ps) : said_(how, ps...) {
    const row_functions<T>& read = stored_rows_of<T, T>(how.isa);
    const matrix_view<T> K{nullptr, s.keys, s.features_k, 0, 0}, V{nullptr, s.keys, s.values, 0, 0};
    whole_ = said_.bind({nullptr, s.queries, s.features_q, 0, 0}, K, V, source_of<T>(K, read),
                        source_of<T>(V, read));
    stated::template set_kernels<reach::any, stated::has_options>(whole_);
    // What one process would choose, whatever part of the rows this rank has.
    whole_.opts.kernel = kernel_for(sizes_of(whole_), whole_.opts).kernel;
  }

  [[nodiscard]] const attention_call<T>& whole() const { return whole_; }
  [[nodiscard]] index query_heads() const { return whole_.query_heads; }
  [[nodiscard]] index kv_heads() const { return whole_.kv_heads; }
  [[nodiscard]] index group() const { return whole_.group(); }

  /// Everything that policies say, as far as it can be known.
  [[nodiscard]] std::uint64_t hash() const {
    std::uint64_t h = hash_of(
        SOFTLOOK_VERSION_MAJOR * 10000 + SOFTLOOK_VERSION_MINOR * 100 + SOFTLOOK_VERSION_PATCH,
        hash_of(typeid(stated).name()));
    h = hash_of(std::bit_cast<std::uint64_t>(whole_.scale()), h);
    h = hash_of(std::uint64_t(*whole_.opts.kernel), h);
    if (whole_.opts.tile)
      h = hash_of(
          std::uint64_t(whole_.opts.tile->keys) << 8 | std::uint64_t(whole_.opts.tile->query_tiles),
          h);
    if (whole_.policy.weight)
      h = hash_of(static_cast<const dropout*>(whole_.policy.weight.state)->seed,
                  hash_of(std::bit_cast<std::uint64_t>(
                              static_cast<const dropout*>(whole_.policy.weight.state)->probability),
                          h));
    h = hash_of_matrix(whole_.sinks.logits, h);
    return hash_of_answers(whole_, hash_of_score(whole_.score, h));
  }

  /// Some of the query heads, from that of key head `first` on, of all rows.
  [[nodiscard]] attention_call<T> heads_of(index first, index kv_heads) const {
    attention_call<T> c = whole_;
    const index g = group();
    c.query_heads = kv_heads * g;
    c.kv_heads = kv_heads;
    c.frame.first_head = first * g;
    c.frame.heads = query_heads();
    if (c.sinks.logits.data) c.sinks.logits = c.sinks.logits.columns(first * g, c.query_heads);
    return c;
  }

  /// Keys and values from position `first_key` on, whose rows kernels read.
  template <class SK, class SV>
  void set_keys(attention_call<T>& c, const kernel_rows<T, SK>& K, const kernel_rows<T, SV>& V,
                index first_key, index stride = 1) const {
    c.K = K.shape;
    c.V = V.shape;
    c.key_rows = K.source;
    c.value_rows = V.source;
    c.frame.first_key = first_key;
    c.frame.key_stride = stride;
    c.frame.later_keys = whole_.K.rows - first_key - call_frame::span(K.shape.rows, stride);
  }
  /// Rows of a rank; Q, O and the log-sum-exp hold all of its rows, and columns of the call's
  /// heads.
  void set_queries(attention_call<T>& c, const mpi::row_run& run, const matrix_view<T>& Q,
                   const mutable_matrix_view<T>& O,
                   const mutable_matrix_view<T>& log_sum_exp) const {
    c.Q = Q.rows_from(run.local, run.count);
    c.O = O.rows_from(run.local, run.count);
    c.log_sum_exp = log_sum_exp.data ? log_sum_exp.rows_from(run.local, run.count) : log_sum_exp;
    c.frame.first_query = run.global;
    c.frame.query_stride = run.stride;
    c.frame.later_queries = whole_.Q.rows - run.global - call_frame::span(run.count, run.stride);
  }

  /// Whether kernels of the call want keys and values as matrices of T.
  [[nodiscard]] bool wants_matrices() const {
    return stated::projects || *whole_.opts.kernel == kernel::naive;
  }

 private:
  stated said_;
  attention_call<T> whole_;
};

/// The keys, of `rows`, that some queries of a call in the whole problem may see.
template <class T>
[[nodiscard]] bool sees_any(const attention_call<T>& whole, const mpi::row_run& queries,
                            range keys) {
  for (index head = 0; head < whole.query_heads; ++head)
    if (!intersection(whole.policy.mask.key_range(whole.policy.mask.mask, queries.hull(),
                                                  whole.problem_of(head)),
                      keys)
             .empty())
      return true;
  return false;
}

/// Q, K, V, where their rows lie, and what is said of them, before ranks have agreed.
template <class T, class... Ps>
class agreed_call {
 public:
  /// Collective; `prepare` makes buffers, and throws on this rank where it cannot.
  template <class Q, class K, class V, class F>
  agreed_call(const mpi::communicator& comm, const char* where, const Q& q, const K& k, const V& v,
              const mpi::partitions& at, const mpi::options& how, bool queries_are_whole,
              const F& prepare, const Ps&... ps) {
    std::size_t isa = 0;
    const call_facts facts = agree(comm, where, [&](call_facts& f) {
      check_rows(comm, where, "the partition of queries", "Q.rows()", q.rows(), at.queries,
                 !queries_are_whole);
      check_rows(comm, where, "the partition of keys", "K.rows()", k.rows(), at.keys, true);
      check_rows(comm, where, "the partition of keys", "V.rows()", v.rows(), at.keys, true);
      if (how.pieces < 1)
        raise_argument(where, "mpi::options.pieces", double(how.pieces), "there is at least 1");
      if (how.message_rows < 1)
        raise_argument(where, "mpi::options.message_rows", double(how.message_rows),
                       "a message has at least 1 row");
      const rank_sizes sizes{at.queries.rows(), at.keys.rows(), q.cols(), k.cols(), v.cols()};
      call_.emplace(where, sizes, ps...);
      f.same("the columns of Q", q.cols(), "ranks hold rows of one matrix");
      f.same("the columns of K", k.cols(), "ranks hold rows of one matrix");
      f.same("the columns of V", v.cols(), "ranks hold rows of one matrix");
      f.same("the number of queries", at.queries.rows(), "ranks hold rows of one matrix");
      f.same("the number of keys", at.keys.rows(), "ranks hold rows of one matrix");
      f.same("the number of query heads", call_->query_heads(), "all ranks know the same heads");
      f.same("the number of key heads", call_->kv_heads(), "all ranks know the same heads");
      f.same_hash("the scalar type of an input", hash_of_types<Q, K, V>(),
                  "rows travel as they are stored");
      f.same_hash("the partition of queries", hash_of_partition(at.queries),
                  "every rank must know where all rows lie");
      f.same_hash("the partition of keys", hash_of_partition(at.keys),
                  "every rank must know where all rows lie");
      f.same_hash("a policy", call_->hash(),
                  "masks, transforms, scores, options and the version of softlook are the same on "
                  "all ranks");
      f.same_hash("mpi::options", hash_of_options(how), "they are the same on all ranks");
      isa = f.least("instruction set", index(call_->whole().isa));
      prepare(*call_, f);
    });
    const auto lowest = static_cast<instruction_set>(facts.agreed(isa));
    if (lowest == call_->whole().isa) return;
    const rank_sizes sizes{at.queries.rows(), at.keys.rows(), q.cols(), k.cols(), v.cols()};
    layer_call of_all = layer_call_of(where, ps...);
    of_all.isa = lowest;
    call_.emplace(of_all, sizes, ps...);
  }

  [[nodiscard]] const rank_call<T, Ps...>& operator*() const { return *call_; }
  [[nodiscard]] const rank_call<T, Ps...>* operator->() const { return &*call_; }

 private:
  static void check_rows(const mpi::communicator& comm, const char* where, const char* partition,
                         const char* name, index rows, const mpi::partition& at, bool local) {
    check_sizes(where, formatted("the ranks of %s", partition).text, at.ranks(),
                "the ranks of the communicator", comm.size(), "it says where all rows lie");
    if (local)
      check_sizes(where, name, rows,
                  formatted("the rows that %s gives rank %d", partition, comm.rank()).text,
                  at.rows(comm.rank()), "each rank gives its own rows");
  }

  [[nodiscard]] static std::uint64_t hash_of_partition(const mpi::partition& p) {
    std::uint64_t h = hash_of(std::uint64_t(p.kind()), hash_of(std::uint64_t(p.rows())));
    for (int r = 0; p.kind() == mpi::partition_kind::of_counts && r < p.ranks(); ++r)
      h = hash_of(std::uint64_t(p.rows(r)), h);
    return h;
  }
  [[nodiscard]] static std::uint64_t hash_of_options(const mpi::options& o) {
    std::uint64_t h = hash_of(std::uint64_t(o.method), hash_of(std::uint64_t(o.pieces)));
    for (const double x :
         {o.machine.flops, o.machine.bytes_per_second, o.machine.latency, o.machine.memory})
      h = hash_of(std::bit_cast<std::uint64_t>(x), h);
    return hash_of(std::uint64_t(o.message_rows), h);
  }
  template <class Q, class K, class V>
  [[nodiscard]] static std::uint64_t hash_of_types() {
    return hash_of(typeid(scalar_of<V>).name(),
                   hash_of(typeid(scalar_of<K>).name(), hash_of(typeid(scalar_of<Q>).name())));
  }

  std::optional<rank_call<T, Ps...>> call_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
