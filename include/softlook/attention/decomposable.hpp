#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "softlook/attention/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup decomposable Decomposable attention
/// Two sentences aligned with each other, compared token by token.
/// \cases tests/conformance/data/luong_bahdanau
/// \{

/// How many rows of two sentences are tokens; the rows behind them are padding. Unset: all.
struct sentence_lengths {
  std::optional<index> a{};
  std::optional<index> b{};
};

/// What each sentence finds in the other: a row of `beta` for each token of a, a mixture of b's
/// tokens, and a row of `alpha` for each token of b, a mixture of a's.
template <class MatrixA, class MatrixB>
struct soft_alignment {
  MatrixA beta;
  MatrixB alpha;
};

namespace detail {

template <class... Ps>
constexpr bool check_alignment_policies() {
  constexpr bool fine = ((executor<Ps> || std::same_as<Ps, options>) && ...);
  static_assert(
      fine,
      "softlook: an alignment takes an executor and options{…} only: its score is the dot "
      "product, its mask the two lengths");
  return fine;
}

inline void check_lengths(const char* where, const sentence_lengths& lengths, index rows_a,
                          index rows_b) {
  const auto check = [&](const char* name, index length, index rows) {
    if (length < 0 || length > rows)
      raise_argument(where, name, double(length),
                     "it lies between 0 and the rows of the sentence, " + std::to_string(rows));
  };
  check("lengths.a", lengths.a.value_or(rows_a), rows_a);
  check("lengths.b", lengths.b.value_or(rows_b), rows_b);
}

template <class A, class B, class FA, class FB>
void check_alignment(const A& a, const B& b, const FA& fa, const FB& fb,
                     const sentence_lengths& lengths) {
  const char* where = "soft_align";
  check_sizes(where, "FA.rows()", fa.rows(), "A.rows()", a.rows(), "every token is projected");
  check_sizes(where, "FB.rows()", fb.rows(), "B.rows()", b.rows(), "every token is projected");
  check_sizes(where, "FB.cols()", fb.cols(), "FA.cols()", fa.cols(),
              "both sentences are projected to one feature size");
  check_lengths(where, lengths, a.rows(), b.rows());
}

/// [X Y], features side by side.
template <class X, class Y>
[[nodiscard]] plain_matrix_like<X> side_by_side(const X& x, const Y& y) {
  plain_matrix_like<X> both(x.rows(), x.cols() + y.cols());
  both << x.matrix(), y.matrix();
  return both;
}

}  // namespace detail

/// The two soft alignments of one score matrix e_ij = f(a_i) · f(b_j):
///   β_i = Σ_j softmax_j(e_ij) b_j,   α_j = Σ_i softmax_i(e_ij) a_i.
///
/// \see Parikh et al., "A Decomposable Attention Model for Natural Language Inference", 2016, Eq.
///      (1) and (2).
/// A: n×d, B: m×d', FA: n×h and FB: m×h, the sentences after f -> beta: n×d', alpha: m×d. Padding
/// is looked at by no token, but has rows in the result. A sentence without tokens gives rows of
/// zeros.
/// \param policies  an executor, options (options::scale multiplies e).
/// \throws shape_error     unless every token has one projected row and both have h columns.
/// \throws argument_error  unless the lengths lie within the sentences.
/// Cost: O(n·m·(2h + d + d')); e is never stored but computed once for each direction.
template <dense_expression A, dense_expression B, dense_expression FA, dense_expression FB,
          class... Ps>
[[nodiscard]] auto soft_align(const A& a, const B& b, const FA& fa, const FB& fb,
                              const sentence_lengths& lengths = {}, const Ps&... policies) {
  if constexpr (detail::check_alignment_policies<Ps...>()) {
    detail::check_alignment(a, b, fa, fb, lengths);
    const masks::padding real_a{lengths.a.value_or(a.rows())};
    const masks::padding real_b{lengths.b.value_or(b.rows())};
    using matrix_a = plain_matrix_like<A>;
    using matrix_b = plain_matrix_like<B>;
    return soft_alignment<matrix_a, matrix_b>{
        attention(fa, fb, b, scores::dot{}, real_b, policies...),
        attention(fb, fa, a, scores::dot{}, real_a, policies...)};
  }
}

/// The weights of soft_align(), for looking at them: beta n×m, rows over b's tokens, and alpha m×n,
/// rows over a's.
template <dense_expression FA, dense_expression FB, class... Ps>
[[nodiscard]] auto soft_align_weights(const FA& fa, const FB& fb,
                                      const sentence_lengths& lengths = {}, const Ps&... policies) {
  if constexpr (detail::check_alignment_policies<Ps...>()) {
    detail::check_alignment(fa, fb, fa, fb, lengths);
    const masks::padding real_a{lengths.a.value_or(fa.rows())};
    const masks::padding real_b{lengths.b.value_or(fb.rows())};
    using matrix_a = plain_matrix_like<FA>;
    using matrix_b = plain_matrix_like<FB>;
    return soft_alignment<matrix_a, matrix_b>{
        attention_weights(fa, fb, scores::dot{}, real_b, policies...),
        attention_weights(fb, fa, scores::dot{}, real_a, policies...)};
  }
}

/// Decomposable attention of two sentences: attend, compare, aggregate.
///   attend     (β, α) = soft_align(A, B, F(A), F(B))
///   compare    V₁ = G([A β]),  V₂ = G([B α])              a row for each token
///   aggregate  y = H([Σ_i V₁ᵢ, Σ_j V₂ⱼ])                  sums over the tokens, not the padding
///
/// \see Parikh et al., 2016, section 3, Eq. (1)–(5).
/// F, G, H: the feed-forward networks, functions of a matrix that work row by row (linear_layer is
/// one). G sees n×(d + d') rows, H one row of 2 columns for each of G's.
/// \throws shape_error  as soft_align(), and if G does not give a row for each token.
///
///     const decomposable_attention model(F, G, H);
///     const auto y = model(A, B);                         // or step by step, as above:
///     const auto found = model.attend(A, B);              // found.beta, found.alpha
///     const auto compared = model.compare(A, B, found);   // compared.first, compared.second
///     const auto same = model.aggregate(compared.first, compared.second);
template <class F, class G, class H>
class decomposable_attention {
 public:
  decomposable_attention(F f, G g, H h)
      : attend_(std::move(f)), compare_(std::move(g)), aggregate_(std::move(h)) {}

  template <dense_expression A, dense_expression B, class... Ps>
  [[nodiscard]] auto attend(const A& a, const B& b, const sentence_lengths& lengths = {},
                            const Ps&... policies) const {
    const plain_matrix_like<A> fa = attend_(a);
    const plain_matrix_like<B> fb = attend_(b);
    return soft_align(a, b, fa, fb, lengths, policies...);
  }

  template <dense_expression A, dense_expression B, class MatrixA, class MatrixB>
  [[nodiscard]] auto compare(const A& a, const B& b,
                             const soft_alignment<MatrixA, MatrixB>& found) const {
    const char* where = "decomposable_attention::compare";
    detail::check_sizes(where, "beta.rows()", found.beta.rows(), "A.rows()", a.rows(),
                        "each token of A has one row of beta");
    detail::check_sizes(where, "alpha.rows()", found.alpha.rows(), "B.rows()", b.rows(),
                        "each token of B has one row of alpha");
    std::pair<plain_matrix_like<A>, plain_matrix_like<B>> v;
    v.first = compare_(detail::side_by_side(a, found.beta));
    v.second = compare_(detail::side_by_side(b, found.alpha));
    detail::check_sizes(where, "G([A beta]).rows()", v.first.rows(), "A.rows()", a.rows(),
                        "a network works row by row");
    detail::check_sizes(where, "G([B alpha]).rows()", v.second.rows(), "B.rows()", b.rows(),
                        "a network works row by row");
    return v;
  }

  template <dense_expression V1, dense_expression V2>
  [[nodiscard]] auto aggregate(const V1& v1, const V2& v2,
                               const sentence_lengths& lengths = {}) const {
    detail::check_lengths("decomposable_attention::aggregate", lengths, v1.rows(), v2.rows());
    plain_matrix_like<V1> sums(1, v1.cols() + v2.cols());
    sums.leftCols(v1.cols()) = v1.matrix().topRows(lengths.a.value_or(v1.rows())).colwise().sum();
    sums.rightCols(v2.cols()) = v2.matrix().topRows(lengths.b.value_or(v2.rows())).colwise().sum();
    const plain_matrix_like<V1> y = aggregate_(sums);
    return y;
  }

  template <dense_expression A, dense_expression B, class... Ps>
  [[nodiscard]] auto operator()(const A& a, const B& b, const sentence_lengths& lengths = {},
                                const Ps&... policies) const {
    const auto compared = compare(a, b, attend(a, b, lengths, policies...));
    return aggregate(compared.first, compared.second, lengths);
  }

 private:
  F attend_;
  G compare_;
  H aggregate_;
};

/// \}

SOFTLOOK_NAMESPACE_END
