#pragma once

#include <cmath>
#include <limits>

#include "softlook/core/heads.hpp"
#include "softlook/core/workspace.hpp"
#include "softlook/engine/kernels/dispatch.hpp"
#include "softlook/engine/run/tasks.hpp"
#include "softlook/score/recipe.hpp"

// A call: what its policies say, and the matrices that it is about.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The executor and the options of a call of any kind.
struct layer_call {
  const char* where = "attention";
  executor_ref exec{};
  options opts;
  instruction_set isa = instruction_set::baseline;
};

/// No distance is given: heads lie beside each other, sequences behind each other.
inline constexpr index adjacent = std::numeric_limits<index>::min();

/// Columns of one head of a matrix: heads lie beside each other, or `apart` scalars from one to the
/// next.
template <class Element>
[[nodiscard]] strided_view<Element> columns_of_head(const strided_view<Element>& X, index head,
                                                    index count, index apart) {
  if (apart == adjacent) return X.columns(head * count, count);
  const bool empty = X.rows == 0 || count == 0 || !X.data;
  return {empty ? X.data : X.data + head * apart, X.rows, count, X.row_stride, X.col_stride};
}
template <class T>
[[nodiscard]] row_source<T> columns_of_head(const row_source<T>& X, index head, index count,
                                            index apart) {
  if (apart == adjacent) return X.columns(head * count, count);
  return X.columns(0, count).moved_by(head * apart);
}

/// Scalars from one head, or one sequence, to the next.
struct call_distances {
  index Q = adjacent;
  index K = adjacent;
  index V = adjacent;
  index O = adjacent;
  index log_sum_exp = adjacent;
};

/// The sequences of a call: rows between offsets, or the first of the same number of rows each, of
/// those that the caller gave.
struct call_sequences {
  index count = 0;  // none: the call is one problem
  const std::int32_t* query_offsets = nullptr;
  const std::int32_t* key_offsets = nullptr;
  const std::int32_t* query_lengths = nullptr;
  const std::int32_t* key_lengths = nullptr;
  index queries = 0;  // rows of each, if there are no offsets
  index keys = 0;
  call_distances apart;

  [[nodiscard]] range queries_of(index s) const {
    return rows_of(s, query_offsets, query_lengths, queries);
  }
  [[nodiscard]] range keys_of(index s) const { return rows_of(s, key_offsets, key_lengths, keys); }

 private:
  [[nodiscard]] static range rows_of(index s, const std::int32_t* offsets,
                                     const std::int32_t* lengths, index rows) {
    if (offsets) return {offsets[s], offsets[s + 1]};
    return {s * rows, s * rows + (lengths ? index{lengths[s]} : rows)};
  }
};

/// Q and K as the kernels see them: their scores are dot products or additive.
template <class T>
struct score_inputs {
  matrix_view<T> Q;
  matrix_view<T> K;
  row_source<T> key_rows;
  index query_heads_apart = adjacent;
  index key_heads_apart = adjacent;
};

template <class T>
struct attention_call;

/// The sinks of a call, and what runs and checks one that has them; or none, and nothing of it is
/// compiled. See sinks.hpp.
template <class T>
struct sink_calls {
  matrix_view<double> logits;  // one for each query head
  void (*run)(const attention_call<T>&) = nullptr;
  void (*check)(const attention_call<T>&) = nullptr;
};

/// What the policies of a call say, whatever their types; a layer hands it to the attentions inside
/// it. The functions are those of the kind of score.
template <class T>
struct call_policies : layer_call {
  index query_heads = 1;
  index kv_heads = 1;
  softlook::frame place;
  segments packed_rows;
  std::optional<padded_batch> padded_rows;
  /// Finds the sequences of a call's rows, or none: it is one problem.
  void (*place_sequences)(attention_call<T>&) = nullptr;
  policy_calls<T> policy;
  sink_calls<T> sinks;
  // Of low precision, or none: the tiled kernel, and what changes how rows are read.
  rounded_tiled<T> rounded;
  void (*round_rows)(attention_call<T>&) = nullptr;
  void (*forward)(const attention_call<T>&) = nullptr;
  /// None where no policy can ask for the naive kernel: such a call does not compile it.
  void (*naive)(const attention_call<T>&) = nullptr;
  /// make_inputs(), or none where the score's type says that it leaves Q and K as they are: such a
  /// call does not compile the product.
  score_inputs<T> (*inputs)(const attention_call<T>&, T* scratch) = nullptr;
};

/// A call with its matrices. Heads lie side by side in the columns of Q, K, V and O.
template <class T>
struct attention_call : call_policies<T> {
  matrix_view<T> Q;
  matrix_view<T> K;
  matrix_view<T> V;
  row_source<T> key_rows;  // K and V as the kernels read them, whatever they are stored as
  row_source<T> value_rows;
  mutable_matrix_view<T> O;
  mutable_matrix_view<T> log_sum_exp;  // n×heads, or no data
  score_recipe<T> score;
  call_frame frame;
  call_distances heads_apart;
  call_sequences sequences;
  const T* packed = nullptr;  // keys of an additive score packed for `isa`, or none
  packed_keys_layout packed_at;
  mutable_matrix_view<T> weights;  // n×m: of one head, by the naive and the few-query kernel

  attention_call() = default;
  explicit attention_call(const call_policies<T>& policies) : call_policies<T>(policies) {}

  [[nodiscard]] index query_features() const { return shared(Q.cols, this->query_heads); }
  [[nodiscard]] index key_features() const { return shared(K.cols, this->kv_heads); }
  [[nodiscard]] index values() const { return shared(V.cols, this->kv_heads); }
  [[nodiscard]] index group() const { return shared(this->query_heads, this->kv_heads); }
  /// One head is the rule, and a division is not free in a tiny call.
  [[nodiscard]] static constexpr index shared(index count, index heads) {
    return heads == 1 ? count : count / heads;
  }
  /// Keys of a sequence: those that were given, and the layer's own behind them.
  [[nodiscard]] range keys_of_sequence(index s) const {
    const range given = sequences.keys_of(s);
    return {given.begin + s * frame.private_keys, given.end + (s + 1) * frame.private_keys};
  }
  /// What policies are told.
  [[nodiscard]] problem problem_of(index head) const {
    return frame.whole(Q.rows, K.rows, head, this->query_heads);
  }
  [[nodiscard]] double scale() const {
    const std::optional<double>& given = this->opts.scale;
    if (given || !score.scale_by_root) return given.value_or(1.0);
    // Not a choice between 1 and 1/√d: clang divides first, and 1/0 would raise FE_DIVBYZERO.
    return 1 / std::sqrt(double(std::max<index>(query_features(), 1)));
  }
};

template <class View>
[[nodiscard]] View rows_of_sequence(const View& X, index s, range rows, index apart) {
  if (apart == adjacent) return X.rows_from(rows.begin, rows.count());
  View part = X.rows_from(0, rows.count());
  if (part.data && part.rows > 0 && part.cols > 0) part.data += s * apart;
  return part;
}
template <class T>
[[nodiscard]] row_source<T> rows_of_sequence(const row_source<T>& X, index s, range rows,
                                             index apart) {
  if (apart == adjacent) return X.rows_from(rows.begin, rows.count());
  return X.rows_from(0, rows.count()).moved_by(s * apart);
}

/// One sequence of a call, as a call.
template <class T>
[[nodiscard]] attention_call<T> sequence_of(const attention_call<T>& c, index s) {
  attention_call<T> part = c;
  const call_sequences& in = c.sequences;
  const range queries = in.queries_of(s), keys = c.keys_of_sequence(s);
  part.Q = rows_of_sequence(c.Q, s, queries, in.apart.Q);
  part.K = rows_of_sequence(c.K, s, keys, in.apart.K);
  part.V = rows_of_sequence(c.V, s, keys, in.apart.V);
  part.key_rows = rows_of_sequence(c.key_rows, s, keys, in.apart.K);
  part.value_rows = rows_of_sequence(c.value_rows, s, keys, in.apart.V);
  if (c.O.data) part.O = rows_of_sequence(c.O, s, queries, in.apart.O);
  if (c.log_sum_exp.data)
    part.log_sum_exp = rows_of_sequence(c.log_sum_exp, s, queries, in.apart.log_sum_exp);
  part.frame.sequence = s;
  part.sequences = {};
  return part;
}

/// Scratch of one call: the caller's workspace, or a block that is freed at the end; tiny calls
/// stay off the heap.
class call_scratch {
 public:
  explicit call_scratch(softlook::workspace* given) : workspace_(given ? given : &own_) {}
  template <class T>
  [[nodiscard]] T* take(index count) {
    const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
    std::byte* const block =
        workspace_ == &own_ && bytes <= sizeof small_ ? small_ : workspace_->reserve(bytes);
    return reinterpret_cast<T*>(block);
  }
  /// For a call inside this one.
  [[nodiscard]] softlook::workspace* inner() { return &workspace_->inner(); }

 private:
  workspace own_;
  workspace* workspace_;
  alignas(64) std::byte small_[16384];
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
