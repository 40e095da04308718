#pragma once

#include <optional>

#include "softlook/attention/attention.hpp"
#include "softlook/attention/detail/nystrom_parts.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup nystromformer Nyströmformer
/// Softmax attention approximated through a few landmarks: time and memory linear in the number of
/// tokens.
/// \cases tests/unit/attention/nystrom_test.cpp
/// \{

/// How attention is approximated.
struct nystrom {
  index landmarks = 64;  ///< means of segments of queries and of keys
  index iterations = 6;  ///< of the pseudo-inverse
};

namespace detail {

template <class... Ps>
constexpr bool check_nystrom_policies() {
  constexpr bool plain = (!(mask_policy<Ps> || transform_policy<Ps> || score_policy<Ps> ||
                            is_frame<Ps> || is_sequences<Ps> || is_of_softmax<Ps>) &&
                          ...);
  static_assert(plain,
                "softlook: nystrom_attention takes heads, an executor and options only: its "
                "weights are three softmaxes of scaled dot products; leave padding out of K and V");
  return plain;
}

/// Matrices of a call: L landmarks, everything for query heads side by side.
template <class T>
class nystrom_scratch {
 public:
  nystrom_scratch(const attention_call<T>& c, index landmarks, index width, index workers)
      : landmarks_(landmarks),
        features_(c.Q.cols),
        values_(c.O.cols),
        square_(landmarks * c.query_heads),
        inverse_(pseudo_inverse<T>(landmarks).scratch() + input_product_scratch<T>(c.values())),
        worker_(std::max(inverse_, value_convolution<T>(width, c.values()).scratch())),
        workers_(workers) {}

  [[nodiscard]] index total() const {
    return 2 * room(features_) + 2 * room(values_) + 2 * room(square_) + workers_ * worker_;
  }
  void place(T* space) {
    const auto take = [&](index columns) {
      const mutable_matrix_view<T> X{space, landmarks_, columns, columns, 1};
      space += room(columns);
      return X;
    };
    Q = take(features_);
    K = take(features_);
    mixed = take(values_);
    weighted = take(values_);
    A = take(square_);
    identity = take(square_);
    scratch_ = space;
  }
  [[nodiscard]] T* of_worker(index worker) const { return scratch_ + worker * worker_; }

  mutable_matrix_view<T> Q, K;      ///< landmarks
  mutable_matrix_view<T> mixed;     ///< softmax(Q~ Kᵀ) V
  mutable_matrix_view<T> weighted;  ///< A⁺ softmax(Q~ Kᵀ) V
  mutable_matrix_view<T> A;         ///< softmax(Q~ K~ᵀ)
  mutable_matrix_view<T> identity;  ///< values that make an attention return its weights

 private:
  [[nodiscard]] index room(index columns) const { return round_up(landmarks_ * columns, 16); }

  index landmarks_, features_, values_, square_, inverse_, worker_, workers_;
  T* scratch_ = nullptr;
};

/// A checked call, done in six steps.
template <class T>
class nystrom_call {
 public:
  nystrom_call(const attention_call<T>& checked, const nystrom& how, const matrix_view<T>& filter)
      : whole_(checked),
        filter_(filter),
        kernels_(products_of<T>(checked.isa)),
        landmarks_(std::min({how.landmarks, checked.Q.rows, checked.K.rows})),
        iterations_(how.iterations) {}

  void run() {
    call_scratch arena(whole_.opts.workspace);
    const index tasks = std::max(whole_.query_heads, convolution_tasks());
    at_.emplace(whole_, landmarks_, filter_.cols, std::min(whole_.exec.concurrency, tasks));
    at_->place(arena.template take<T>(at_->total()));
    take_landmarks();
    const index heads = whole_.query_heads;
    attend(as_input(at_->Q), as_input(at_->K), heads, as_input(at_->identity), at_->A, arena);
    attend(as_input(at_->Q), whole_.K, whole_.kv_heads, whole_.V, at_->mixed, arena);
    invert();
    attend(whole_.Q, as_input(at_->K), heads, as_input(at_->weighted), whole_.O, arena);
    convolve();
  }

 private:
  /// Means of segments; keys are repeated for the query heads that share them.
  void take_landmarks() {
    const index d = whole_.query_features(), heads = whole_.query_heads;
    run_tasks(whole_.exec, landmarks_, [&](index s, index) {
      const range queries = segment_of(s, landmarks_, whole_.Q.rows);
      const range keys = segment_of(s, landmarks_, whole_.K.rows);
      segment_mean(whole_.Q, queries, &at_->Q(s, 0));
      for (index head = 0; head < heads; ++head)
        segment_mean(whole_.K.columns(head / whole_.group() * d, d), keys, &at_->K(s, head * d));
      for (index x = 0; x < heads * landmarks_; ++x)
        at_->identity(s, x) = x % landmarks_ == s ? T(1) : T(0);
    });
  }

  void attend(const matrix_view<T>& Q, const matrix_view<T>& K, index kv_heads,
              const matrix_view<T>& V, const mutable_matrix_view<T>& O, call_scratch& arena) {
    const call_policies<T>& policies = whole_;
    attention_call<T> part(policies);
    part.Q = Q;
    part.K = K;
    part.V = V;
    part.O = O;
    part.kv_heads = kv_heads;
    part.score = whole_.score;
    part.opts.workspace = arena.inner();
    read_in_place(part);
    check_call(part);
    detail::run(part);
  }

  void invert() {
    const pseudo_inverse<T> inverse(landmarks_);
    const index e = whole_.values();
    run_tasks(whole_.exec, whole_.query_heads, [&](index head, index worker) {
      T* const space = at_->of_worker(worker);
      const matrix_view<T> A = as_input(at_->A).columns(head * landmarks_, landmarks_);
      const matrix_view<T> Z = inverse(kernels_, A, iterations_, space);
      small_product(kernels_, Z, as_input(at_->mixed).columns(head * e, e),
                    at_->weighted.columns(head * e, e), space + inverse.scratch());
    });
  }

  [[nodiscard]] index blocks() const {
    return filter_.cols > 0 ? ceil_div(whole_.Q.rows, value_convolution<T>::block) : 0;
  }
  [[nodiscard]] index convolution_tasks() const { return blocks() * whole_.query_heads; }

  void convolve() {
    const index e = whole_.values(), step = value_convolution<T>::block;
    const value_convolution<T> convolution(filter_.cols, e);
    run_tasks(whole_.exec, convolution_tasks(), [&](index task, index worker) {
      const index head = task / blocks(), first = task % blocks() * step;
      const range rows{first, std::min(first + step, whole_.Q.rows)};
      convolution.run(kernels_, filter_.rows_from(filter_.rows == 1 ? 0 : head, 1),
                      whole_.V.columns(head / whole_.group() * e, e), whole_.O.columns(head * e, e),
                      rows, at_->of_worker(worker));
    });
  }

  attention_call<T> whole_;
  matrix_view<T> filter_;
  const product_kernels<T>& kernels_;
  index landmarks_;
  index iterations_;
  std::optional<nystrom_scratch<T>> at_;
};

template <class T>
void check_nystrom(const attention_call<T>& c, const nystrom& how, const matrix_view<T>& filter) {
  const char* where = c.where;
  if (how.landmarks < 1)
    raise_argument(where, "nystrom.landmarks", double(how.landmarks), "there is at least 1");
  if (how.iterations < 0)
    raise_argument(where, "nystrom.iterations", double(how.iterations),
                   "a number of iterations is at least 0");
  if (filter.rows == 0 && filter.cols == 0) return;
  if (filter.cols % 2 != 1)
    raise_argument(where, "C.cols()", double(filter.cols),
                   "a convolution is centred on its token, so its width is odd");
  if (filter.rows != 1)
    check_sizes(where, "C.rows()", filter.rows, "heads.query", c.query_heads,
                "there is a row of weights for each head, or one for all");
  check_sizes(where, "V.rows()", c.V.rows, "Q.rows()", c.Q.rows,
              "a convolution adds values to the token at their place");
  check_overlap(where, "C", c.O, filter);
}

template <class Q, class K, class V, class O, class... Ps>
void nystrom_attend(const char* where, const Q& q, const K& k, const V& v, O& o, const nystrom& how,
                    const matrix_view<scalar_of<Q>>& filter, const Ps&... policies) {
  auto bound = bind(where, q, k, v, policies...);
  bound.set_kernels();
  auto& call = bound.call();
  call.O = writable_view(o);
  check_output(call);
  check_nystrom(call, how, filter);
  if (q.rows() == 0) return;
  if (k.rows() == 0)
    o.setZero();
  else
    nystrom_call<scalar_of<Q>>(call, how, filter).run();
}

template <class Q, class K, class V, class... Ps>
constexpr bool check_nystrom_types() {
  if constexpr (check_types<Q, K, V, Ps...>())
    return check_nystrom_policies<Ps...>();
  else
    return false;
}

}  // namespace detail

/// Nyström attention, an approximation of softmax attention through L landmarks Q̃, K̃, the means of
/// L segments of queries and of keys:
///   O = softmax(s·Q K̃ᵀ) A⁺ (softmax(s·Q̃ Kᵀ) V),  A = softmax(s·Q̃ K̃ᵀ),  s = scale,
/// where A⁺ is what some iterations make of the pseudo-inverse:
///   Z ← ¼ Z (13 I − A Z (15 I − A Z (7 I − A Z))),  Z₀ = Aᵀ / (‖A‖₁ ‖A‖_∞).
///
/// \see Xiong et al., "Nyströmformer: A Nyström-Based Algorithm for Approximating Self-Attention",
///      2021, section 3, Eq. (11).
/// Q: n×(query·d), K: m×(kv·d), V: m×(kv·e) -> O: n×(query·e) in Q's storage order; one head unless
/// heads{…} says so. Segments differ by at most one row where L does not divide n or m, and
/// there are no more landmarks than queries or keys. Weights may be negative and rows need not sum
/// to one. Without keys rows are zeros.
/// \param policies  heads, an executor and options. Padding is left out by the caller:
/// K.topRows(m).
/// \throws shape_error  as attention(); argument_error for a number out of range.
/// Cost: O((n + m)·L·(d + e) + L³·iterations) time, O(L·(L + d + e)) scratch for each head. Never
/// stores n×m.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
  requires(!dense_expression<Ps> && ...)
[[nodiscard]] auto nystrom_attention(const Q& q, const K& k, const V& v, const nystrom& how,
                                     const Ps&... policies) {
  if constexpr (detail::check_nystrom_types<Q, K, V, Ps...>()) {
    plain_matrix_like<Q> o(q.rows(), detail::output_columns(v.cols(), policies...));
    detail::nystrom_attend("nystrom_attention", q, k, v, o, how, {}, policies...);
    return o;
  }
}

/// nystrom_attention() and a skip connection, a convolution of the values along the sequence:
///   O_i += Σ_t C_t · V_{i + t − (width − 1)/2},  values outside are zero.
///
/// \see Xiong et al., 2021, section 3.3 (width 33 in the authors' code).
/// C: heads×width (or 1×width for all heads), width odd; n = m.
/// \throws shape_error, argument_error  unless C fits.
/// Cost: O(n·(width + 64)·e) besides.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression C,
          class... Ps>
[[nodiscard]] auto nystrom_attention(const Q& q, const K& k, const V& v, const nystrom& how,
                                     const C& c, const Ps&... policies) {
  if constexpr (detail::check_nystrom_types<Q, K, V, Ps...>() && detail::check_scalars<Q, C>()) {
    plain_matrix_like<Q> o(q.rows(), detail::output_columns(v.cols(), policies...));
    const detail::readable<C> filter(c);
    detail::nystrom_attend("nystrom_attention", q, k, v, o, how, filter.view(), policies...);
    return o;
  }
}

/// nystrom_attention() into the caller's matrix, block or map, which is never resized.
/// \throws argument_error  if O overlaps an input; nothing has been written then.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
  requires(!dense_expression<Ps> && ...)
void nystrom_attention_into(const Q& q, const K& k, const V& v, O&& o, const nystrom& how,
                            const Ps&... policies) {
  if constexpr (detail::check_nystrom_types<Q, K, V, Ps...>() && detail::check_scalars<Q, O>())
    detail::nystrom_attend("nystrom_attention_into", q, k, v, o, how, {}, policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          dense_expression C, class... Ps>
void nystrom_attention_into(const Q& q, const K& k, const V& v, O&& o, const nystrom& how,
                            const C& c, const Ps&... policies) {
  if constexpr (detail::check_nystrom_types<Q, K, V, Ps...>() && detail::check_scalars<Q, O, C>()) {
    const detail::readable<C> filter(c);
    detail::nystrom_attend("nystrom_attention_into", q, k, v, o, how, filter.view(), policies...);
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
