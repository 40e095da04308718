#pragma once

#include <optional>
#include <string>
#include <utility>

#include "softlook/engine/call/bound_call.hpp"
#include "softlook/engine/run/packed_linear.hpp"
#include "softlook/seq2seq/decoder_step.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class T, class V>
[[nodiscard]] Eigen::Matrix<T, Eigen::Dynamic, 1> as_column(const V& v) {
  static_assert(V::IsVectorAtCompileTime, "softlook: v and b of an additive score are vectors");
  if constexpr (int(V::RowsAtCompileTime) == 1)
    return v.matrix().transpose();
  else
    return v.matrix();
}

/// Whether P is one of a kind of policies with a scalar type.
template <class P, template <class> class Policy>
inline constexpr bool is_made_from = false;
template <class T, template <class> class Policy>
inline constexpr bool is_made_from<Policy<T>, Policy> = true;

/// Keys of additive scores as the few-query kernel of one instruction set reads them: packed, with
/// their exponentials and tangents. Three times the memory of the keys.
template <class T>
class packed_keys {
 public:
  packed_keys() = default;
  packed_keys(const matrix_view<T>& K, instruction_set isa)
      : isa_(isa),
        at_(packed_keys_layout_for(K.rows, K.cols, registers_of<T>(isa), index(sizeof(T)))),
        memory_(std::size_t(at_.total)) {
    if (at_.total > 0) key_packing_of<T>(isa)(K, at_, memory_.data());
  }

  /// Gives them to a call, unless it runs on another instruction set.
  void lend(attention_call<T>& call) const {
    if (memory_.empty() || call.isa != isa_) return;
    call.packed = memory_.data();
    call.packed_at = at_;
  }

 private:
  instruction_set isa_ = instruction_set::baseline;
  packed_keys_layout at_;
  aligned_vector<T> memory_;
};

/// A matrix whose memory begins at a cache line: where rows are whole lines, no vector of them
/// crosses two, which costs a fifth of the speed of reading them.
template <class T>
class aligned_rows {
 public:
  aligned_rows() = default;
  explicit aligned_rows(const row_major<T>& X)
      : memory_(std::size_t(X.size())), rows_(X.rows()), cols_(X.cols()) {
    std::copy(X.data(), X.data() + X.size(), memory_.begin());
  }
  [[nodiscard]] index rows() const { return rows_; }
  [[nodiscard]] index cols() const { return cols_; }
  [[nodiscard]] matrix_view<T> view() const { return {memory_.data(), rows_, cols_, cols_, 1}; }

 private:
  aligned_vector<T> memory_;
  index rows_ = 0;
  index cols_ = 0;
};

/// X·W + bias; a row's bits do not depend on the other rows.
template <class T>
void project_into(const packed_linear<T>& W, const matrix_view<T>& X, instruction_set isa,
                  const mutable_matrix_view<T>& out) {
  static constexpr exec::sequential sequential{};
  W.run(isa, ref_to(sequential), X, out);
}
template <class T>
[[nodiscard]] row_major<T> projected(const packed_linear<T>& W, const matrix_view<T>& X,
                                     instruction_set isa) {
  row_major<T> out(X.rows, W.outputs());
  project_into(W, X, isa, writable_view(out));
  return out;
}

/// What rows of queries, or of keys, are multiplied by, and the words of a message about their
/// size.
template <class T>
struct decoder_projection {
  std::optional<packed_linear<T>> W{};  // none: rows stay as they are
  const char* size = "";
  const char* rule = "";
};

/// A score policy with matrices of its own: keys are projected once and queries in each step, which
/// leaves q · k or v · tanh(q + k).
template <class T>
struct decoder_score {
  using vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;

  decoder_projection<T> queries{}, keys{};
  std::optional<row_major<T>> joint{};  // both below each other, until the keys say where to cut
  vector v{};                           // of additive scores
  bool additive = false;
  bool scale_by_root = false;  // over √d, of dot products
  bool keys_stay = true;       // steps score the projected keys, not keys made of them

  /// \throws shape_error  unless keys may have so many features.
  void fit_keys(const char* where, index features) {
    if (joint)
      cut(where, features);
    else if (keys.W || additive)
      check_sizes(where, "keys.cols()", features, keys.size, keys.W ? keys.W->inputs() : v.size(),
                  keys.rule);
  }
  /// `unprojected` is what a query must have where it stays as it is.
  void check_query(const char* where, index features, index unprojected) const {
    check_sizes(where, "query.cols()", features, queries.size,
                queries.W ? queries.W->inputs() : unprojected, queries.rule);
  }

 private:
  void cut(const char* where, index key_features) {
    if (key_features > joint->rows())
      raise_sizes(where, "keys.cols()", key_features, "W.rows()", joint->rows(),
                  "W maps a query beside a key, so it has more rows than a key features");
    const matrix_view<T> W = view_of(*joint);
    const index of_query = W.rows - key_features;
    queries.W.emplace(W.rows_from(0, of_query), matrix_view<T>{}, activation::none);
    keys.W.emplace(W.rows_from(of_query, key_features), matrix_view<T>{}, activation::none);
  }
};

/// The score of a step, whose queries and keys are projected.
template <class T, bool Additive>
struct step_score {
  using policy_kind = score_kind;
  static constexpr bool is_additive = Additive;
  static constexpr bool projects = false;
  using scalar = T;
  const decoder_score<T>& whole;

  template <real_scalar>
  [[nodiscard]] score_recipe<T> recipe(const char*, index, index) const {
    return {
        .additive = Additive, .scale_by_root = whole.scale_by_root, .v = as_row(view_of(whole.v))};
  }
};

/// What attentions of a decoder have in common: a score, and a memory of keys, projected once, and
/// values. set_memory() computes on the best instruction set; additive keys are packed for it too,
/// so a step that is forced to another one packs them anew.
template <class T>
class decoder_memory {
 public:
  using matrix = typename decoder_step<T>::matrix;

  /// Keys and values of the encoder, m rows each; only the first `length` are attended to.
  /// \throws shape_error  unless both have m rows and the keys fit the score.
  template <dense_expression K, dense_expression V>
  void set_memory(const K& keys, const V& values, std::optional<index> length = {}) {
    static_assert(check_scalars<K, V, matrix>());
    const char* where = "set_memory";
    check_sizes(where, "values.rows()", values.rows(), "keys.rows()", keys.rows(),
                "each key has one value");
    const index used = length.value_or(keys.rows());
    if (used < 0 || used > keys.rows())
      raise_argument(
          where, "length", double(used),
          "it must lie between 0 and the number of keys, " + std::to_string(keys.rows()));
    score_.fit_keys(where, keys.cols());
    const instruction_set isa = best_instruction_set();
    const matrix real = keys.matrix().topRows(used);
    const auto& W = score_.keys.W;
    keys_ = aligned_rows<T>(W ? projected(*W, view_of(real), isa) : real);
    packed_ =
        score_.additive && score_.keys_stay ? packed_keys<T>(keys_.view(), isa) : packed_keys<T>();
    values_ = aligned_rows<T>(values.matrix().topRows(used));
    rows_ = keys.rows();
    ready_ = true;
  }
  /// The same rows as keys and as values (Bahdanau's annotations).
  template <dense_expression M>
  void set_memory(const M& memory, std::optional<index> length = {}) {
    set_memory(memory, memory, length);
  }

  /// Rows of the memory, padding included.
  [[nodiscard]] index memory_size() const { return rows_; }

 protected:
  explicit decoder_memory(decoder_score<T> score) : score_(std::move(score)) {}
  decoder_memory(const decoder_memory&) = default;
  decoder_memory(decoder_memory&&) = default;
  decoder_memory& operator=(const decoder_memory&) = default;
  decoder_memory& operator=(decoder_memory&&) = default;
  ~decoder_memory() = default;

  [[nodiscard]] const decoder_score<T>& score() const { return score_; }
  /// A row for each key that is attended to.
  [[nodiscard]] matrix_view<T> projected_keys() const { return keys_.view(); }

  /// \throws argument_error before set_memory(); shape_error unless the query fits the score.
  void check_query(const char* where, index features) const {
    if (!ready_)
      raise<argument_error>(std::string(where) +
                            ": there is no memory (call set_memory before the first step)");
    score_.check_query(where, features, keys_.cols());
  }

  /// Context and weights of each query over projected_keys(), or over keys made of them.
  /// `Additive` is score().additive, which most attentions know when they are compiled.
  template <bool Additive, class Q, class... Ps>
  [[nodiscard]] decoder_step<T> attend(const char* where, const Q& query,
                                       const matrix_view<T>& keys, const Ps&... policies) const {
    check_query(where, query.cols());
    decoder_step<T> out{matrix(query.rows(), values_.cols()), matrix(query.rows(), rows_)};
    attend_into<Additive>(where, query, keys, out.context, out.weights, policies...);
    return out;
  }
  /// The same into the caller's matrices; projected queries are scratch.
  template <bool Additive, class Q, class C, class P, class... Ps>
  void attend_into(const char* where, const Q& query, const matrix_view<T>& keys, C& context,
                   P& weights, const Ps&... policies) const {
    using score_type = step_score<T, Additive>;
    static_assert(check_scalars<Q, C, P, matrix>());
    static_assert(
        (int(P::Flags) & int(Eigen::RowMajorBit)) != 0 && P::InnerStrideAtCompileTime == 1,
        "softlook: a row of weights lies in one piece: give a row-major matrix, or rows "
        "of one");
    static_cast<void>(check_policies<T, score_type, Ps...>() && check_single_head<Ps...>());
    check_query(where, query.cols());
    const readable<Q> given(query);
    const mutable_matrix_view<T> O = writable_view(context), A = writable_view(weights);
    check_into(where, given.view(), O, A);
    using stated = stated_policies<T, score_type, Ps...>;
    const stated sorted(where, score_type{score_}, policies...);
    softlook::workspace* const space = (*sorted).opts.workspace;
    call_scratch scratch(space);
    const auto& W = score_.queries.W;
    matrix_view<T> queries = given.view();
    if (W) {
      const index features = W->outputs();
      T* const made = scratch.template take<T>(queries.rows * features);
      project_into(*W, queries, (*sorted).isa, {made, queries.rows, features, features, 1});
      queries = {made, queries.rows, features, features, 1};
    }
    attention_call<T> call = sorted.bind(queries, keys, values_.view());
    if (W && space) call.opts.workspace = &space->inner();
    call.O = O;
    call.weights = A.columns(0, keys.rows);
    if (call.opts.kernel != kernel::naive) call.opts.kernel = kernel::few_queries;
    stated::template set_kernels<reach::few_queries, stated::has_options>(call);
    packed_.lend(call);
    run(call);
    for (index i = 0; i < A.rows; ++i)
      for (index j = keys.rows; j < A.cols; ++j) A(i, j) = T(0);
  }

 private:
  void check_into(const char* where, const matrix_view<T>& query,
                  const mutable_matrix_view<T>& context,
                  const mutable_matrix_view<T>& weights) const {
    check_sizes(where, "context.rows()", context.rows, "query.rows()", query.rows,
                "a context row for each query");
    check_sizes(where, "context.cols()", context.cols, "values.cols()", values_.cols(),
                "a context is as long as a value");
    check_sizes(where, "weights.rows()", weights.rows, "query.rows()", query.rows,
                "a row of weights for each query");
    check_sizes(where, "weights.cols()", weights.cols, "memory_size()", rows_,
                "a weight for each row of the memory");
    check_overlap(where, "the query", context, query, "the context");
    check_overlap(where, "the query", weights, query, "the weights");
  }

  decoder_score<T> score_;
  aligned_rows<T> keys_;  // projected
  packed_keys<T> packed_;
  aligned_rows<T> values_;
  index rows_ = 0;
  bool ready_ = false;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
