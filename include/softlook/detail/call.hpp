#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>

#include "softlook/core/policy.hpp"
#include "softlook/detail/forward.hpp"
#include "softlook/exec/sequential.hpp"
#include "softlook/mask/none.hpp"
#include "softlook/score/dot.hpp"

// From Eigen expressions and policies to a checked call.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// An input as a view: the expression's own memory where it has strides, else a matrix evaluated
/// once.
template <class X>
class readable {
 public:
  using scalar = scalar_of<X>;
  explicit readable(const X& x) : held_(x) {}
  [[nodiscard]] matrix_view<scalar> view() const {
    if constexpr (has_strides<X>)
      return view_of(held_);
    else
      return {held_.data(), held_.rows(), held_.cols(), held_.rowStride(), held_.colStride()};
  }

 private:
  std::conditional_t<has_strides<X>, const X&, const plain_matrix_like<X>> held_;
};

template <class X>
[[nodiscard]] mutable_matrix_view<scalar_of<X>> writable_view(X& x) {
  static_assert(has_strides<X>,
                "softlook: the output must be a matrix, block or map whose memory can be written");
  static_assert((int(std::remove_cvref_t<X>::Flags) & int(Eigen::LvalueBit)) != 0,
                "softlook: the output must be a matrix, block or map whose memory can be written");
  return {x.derived().data(), x.rows(), x.cols(), x.derived().rowStride(), x.derived().colStride()};
}

template <class X, class... Xs>
constexpr bool check_scalars() {
  constexpr bool real = real_scalar<scalar_of<X>> && (real_scalar<scalar_of<Xs>> && ...);
  constexpr bool same = (std::is_same_v<scalar_of<Xs>, scalar_of<X>> && ...);
  static_assert(real, "softlook: attention is computed in float or double; cast the inputs first");
  static_assert(same || !real, "softlook: Q, K, V and the output must share one scalar type");
  return real && same;
}

/// Scalars of the inputs, policies of the rest.
template <class Q, class K, class V, class... Ps>
constexpr bool check_types() {
  if constexpr (check_scalars<Q, K, V>())
    return check_policies<scalar_of<Q>, Ps...>();
  else
    return false;
}

/// Transforms and mask as the kernels see them.
template <class Transform, class Mask>
struct edits {
  static constexpr bool transforms = !std::is_same_v<Transform, transform_chain<>>;
  Transform transform;
  Mask mask;
  void check(const char* where, problem p) const {
    if constexpr (requires { transform.check(where, p); }) transform.check(where, p);
    if constexpr (requires { mask.check(where, p); }) mask.check(where, p);
  }
};

template <class T, class Edits>
void edit_matrix(const void* policies, mutable_matrix_view<T> S, problem p, bool masked) {
  const Edits& e = *static_cast<const Edits*>(policies);
  for (index i = 0; i < S.rows; ++i)
    for (index j = 0; j < S.cols; ++j) {
      const auto row = static_cast<std::int32_t>(i), column = static_cast<std::int32_t>(j);
      S(i, j) = !masked || e.mask.allows(row, column, p) ? T(e.transform(S(i, j), row, column, p))
                                                         : -std::numeric_limits<T>::infinity();
    }
}

template <class T, class Edits>
[[nodiscard]] policy_calls<T> calls_of(const Edits& e, instruction_set isa) {
  policy_calls<T> calls;
  calls.policies = &e;
  calls.key_range = [](const void* self, range queries, problem p) -> range {
    return static_cast<const Edits*>(self)->mask.key_range(queries, p);
  };
  calls.coverage_of = [](const void* self, range queries, range keys, problem p) -> coverage {
    return static_cast<const Edits*>(self)->mask.coverage_of(queries, keys, p);
  };
  calls.edit_matrix = &edit_matrix<T, Edits>;
  calls.transforms = Edits::transforms;
  set_edits<T, Edits>(calls, isa);
  return calls;
}

/// Whether two strided matrices share an element, as far as it can be told without looking at each:
/// columns of one packed matrix that lie side by side do not overlap.
template <class T>
[[nodiscard]] bool overlap(const mutable_matrix_view<T>& a, const matrix_view<T>& b) {
  if (a.rows == 0 || a.cols == 0 || b.rows == 0 || b.cols == 0) return false;
  const auto span = [](const T* data, index rows, index cols, index rs, index cs) {
    const index r = (rows - 1) * rs, c = (cols - 1) * cs;
    const T* low = data + std::min<index>(r, 0) + std::min<index>(c, 0);
    return std::pair<const T*, const T*>(low, data + std::max<index>(r, 0) + std::max<index>(c, 0));
  };
  const auto [a_low, a_high] = span(a.data, a.rows, a.cols, a.row_stride, a.col_stride);
  const auto [b_low, b_high] = span(b.data, b.rows, b.cols, b.row_stride, b.col_stride);
  const std::less<const T*> before;
  if (before(a_high, b_low) || before(b_high, a_low)) return false;
  const auto beside = [](const T* p, index p_inner, const T* q, index q_inner, index outer) {
    if (outer <= 0) return false;
    const index apart = ((q - p) % outer + outer) % outer;  // of q's lines behind p's
    return apart >= p_inner && apart + q_inner <= outer;
  };
  if (a.col_stride == 1 && b.col_stride == 1 && a.row_stride == b.row_stride)
    return !beside(a.data, a.cols, b.data, b.cols, a.row_stride);
  if (a.row_stride == 1 && b.row_stride == 1 && a.col_stride == b.col_stride)
    return !beside(a.data, a.rows, b.data, b.rows, a.col_stride);
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

/// Everything that must hold before anything is written.
template <class T>
void check_shapes(const forward_call<T>& c) {
  const char* where = c.where;
  const bool one_size = !c.score.additive && !c.score.project_queries;
  if (one_size)
    check_sizes(where, "K.cols()", c.K.cols / c.kv_heads, "Q.cols()", c.Q.cols / c.query_heads,
                c.query_heads == 1 ? "queries and keys share one feature size"
                                   : "queries and keys share one feature size for each head");
  check_sizes(where, "V.rows()", c.V.rows, "K.rows()", c.K.rows, "each key has one value");
  check_positions(where, "Q.rows()", c.Q.rows);
  check_positions(where, "K.rows()", c.K.rows);
  if (!std::isfinite(c.opts.scale.value_or(1)))
    raise_argument(where, "options.scale", *c.opts.scale, "a scale is finite");
  if (c.opts.tile) check_tile(where, *c.opts.tile);
}

template <class T>
void check_output(const forward_call<T>& c) {
  const char* where = c.where;
  check_sizes(where, "O.rows()", c.O.rows, "Q.rows()", c.Q.rows, "one output row for each query");
  check_sizes(where, "O.cols()", c.O.cols, "V.cols()", c.V.cols / c.kv_heads * c.query_heads,
              c.query_heads == 1 ? "an output row is as long as a value"
                                 : "an output row holds a value for each query head");
  check_overlap(where, "Q", c.O, c.Q);
  check_overlap(where, "K", c.O, c.K);
  check_overlap(where, "V", c.O, c.V);
}

/// False for a score that promises to leave Q and K as they are.
template <class Score>
[[nodiscard]] constexpr bool may_project() {
  if constexpr (requires { Score::projects; })
    return Score::projects;
  else
    return true;
}

/// The policies of a call, sorted, and the call they belong to.
template <class T, class... Ps>
class sorted_call {
 public:
  sorted_call(const forward_call<T>& given, const Ps&... ps)
      : call(given), edits_(edits_of(ps...)), exec_(ref_to(executor_or(sequential_, ps...))) {
    call.opts = options_of(ps...);
    call.isa = chosen_instruction_set(call.where, call.opts);
    call.score = policy_or<score_kind>(scores::scaled_dot{}, ps...)
                     .template recipe<T>(call.where, call.query_features(), call.key_features());
    if constexpr (may_project<score_type>()) call.project = &apply_projections<T>;
    call.policy = calls_of<T>(edits_, call.isa);
    check_shapes(call);
    for (index head = 0; head < call.query_heads; ++head)
      edits_.check(call.where, call.shape(head));
  }
  sorted_call(const sorted_call&) = delete;
  sorted_call& operator=(const sorted_call&) = delete;

  void run() {
    // Only options ask for the naive kernel, so a call without them does not compile it.
    if constexpr ((is_options<Ps> || ...))
      if (call.opts.kernel == kernel::naive) return run_naive(call, exec_);
    run_forward<score_type::is_additive>(call, exec_);
  }
  [[nodiscard]] const executor_ref& exec() const { return exec_; }

  forward_call<T> call;

 private:
  static auto edits_of(const Ps&... ps) {
    return edits<decltype(transforms_of(ps...)),
                 decltype(policy_or<mask_kind>(masks::none{}, ps...))>{
        transforms_of(ps...), policy_or<mask_kind>(masks::none{}, ps...)};
  }

  using score_type =
      decltype(policy_or<score_kind>(scores::scaled_dot{}, std::declval<const Ps&>()...));

  inline static constexpr exec::sequential sequential_{};
  decltype(edits_of(std::declval<const Ps&>()...)) edits_;
  executor_ref exec_;
};

template <class T, class... Ps>
sorted_call(const forward_call<T>&, const Ps&...) -> sorted_call<T, Ps...>;

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
