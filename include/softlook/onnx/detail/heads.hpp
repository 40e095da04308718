#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <type_traits>
#include <vector>

#include "softlook/attention/tensors.hpp"
#include "softlook/engine/run/shown_weights.hpp"
#include "softlook/onnx/detail/checks.hpp"

// Heads of tensors as the kernels take them.

SOFTLOOK_NAMESPACE_BEGIN
namespace onnx::detail {

using softlook::detail::arithmetic;
using softlook::detail::row_major;

/// What can be given beside the tensors of an operator.
template <class P>
inline constexpr bool runs_a_call = executor<P> || std::is_same_v<P, options>;

template <class... Ps>
constexpr bool check_policies() {
  constexpr bool known = (runs_a_call<Ps> && ...);
  constexpr bool single = softlook::detail::at_most_one<executor<Ps>...> &&
                          softlook::detail::at_most_one<std::is_same_v<Ps, options>...>;
  static_assert(known,
                "softlook: an operator takes an executor and options{…}; all else it is told "
                "by its inputs and attributes");
  static_assert(single, "softlook: give at most one executor and one options{…}");
  return known && single;
}

/// f(executor) where one is given, else f().
template <class F>
decltype(auto) with_executor(const F& f) {
  return f();
}
template <class F, class P, class... Ps>
decltype(auto) with_executor(const F& f, [[maybe_unused]] const P& p, const Ps&... ps) {
  if constexpr (executor<P>)
    return f(p);
  else
    return with_executor(f, ps...);
}

/// The options of a call with the operator's own scale, checked against its sizes.
template <class T>
[[nodiscard]] options options_with(const char* where, const options& given,
                                   std::optional<double> scale, index features) {
  if (given.scale)
    raise_argument(where, "options.scale", *given.scale, "the scale is an attribute");
  if (scale)
    softlook::detail::check_parameter<arithmetic<T>>(
        where, "scale", *scale, softlook::detail::parameter::finite, "a scale is finite");
  if (given.tile) softlook::detail::check_tile(where, *given.tile);
  if (!std::is_same_v<T, arithmetic<T>> && given.kernel == kernel::naive)
    softlook::detail::raise<argument_error>(
        formatted("%s: options.kernel is naive, which does not read numbers of 16 bits", where)
            .text);
  options o = given;
  o.isa = softlook::detail::chosen_instruction_set(where, given);
  o.scale = scale ? *scale : 1 / std::sqrt(double(std::max<index>(features, 1)));
  return o;
}

/// Batch, heads, rows and features of a tensor of rank 4; or, of rank 3, heads side by side.
template <class Element>
[[nodiscard]] tensor_view<Element> heads_of(const tensor<Element>& X, index heads) {
  const extents& s = X.shape;
  return s.rank() == 4 ? sequence_head_row(X.data, s[0], s[1], s[2], s[3])
                       : sequence_row_head(X.data, s[0], s[1], heads, s[2] / heads);
}

/// The numbers of a tensor as T: where they lie, or converted.
template <class T, class Element>
class numbers_as {
 public:
  explicit numbers_as(const tensor<const Element>& X) : of_(X) {
    if constexpr (!std::is_same_v<T, Element>) {
      converted_.resize(std::size_t(X.shape.numbers()));
      std::transform(X.data, X.data + converted_.size(), converted_.data(),
                     [](Element x) { return static_cast<T>(x); });
    }
  }
  [[nodiscard]] tensor<const T> read() const {
    if constexpr (std::is_same_v<T, Element>)
      return of_;
    else
      return {converted_.data(), of_.shape};
  }

 private:
  tensor<const Element> of_;
  std::vector<T> converted_;
};

/// A tensor to be written as T: where it lies, or beside it until store().
template <class T, class Element>
class numbers_from {
 public:
  explicit numbers_from(const tensor<Element>& X) : of_(X) {
    if constexpr (!std::is_same_v<T, Element>) computed_.resize(std::size_t(X.shape.numbers()));
  }
  [[nodiscard]] tensor<T> write() {
    if constexpr (std::is_same_v<T, Element>)
      return of_;
    else
      return {computed_.data(), of_.shape};
  }
  void store() const {
    std::transform(computed_.begin(), computed_.end(), of_.data,
                   [](T x) { return static_cast<Element>(x); });
  }

 private:
  tensor<Element> of_;
  std::vector<T> computed_;
};

template <class Element>
[[nodiscard]] softlook::strided_view<Element> matrix_of(const tensor_view<Element>& X,
                                                        index sequence, index head) {
  const bool empty = X.rows == 0 || X.features == 0;
  return {empty ? X.data : X.data + sequence * X.sequence_stride + head * X.head_stride, X.rows,
          X.features, X.row_stride, X.feature_stride};
}

/// The same as T.
template <class T, class Element>
class matrix_as {
 public:
  matrix_as(const tensor_view<const Element>& X, index sequence, index head)
      : view_(matrix_of(X, sequence, head)) {
    if constexpr (!std::is_same_v<T, Element>) {
      converted_.resize(view_.rows, view_.cols);
      for (index i = 0; i < view_.rows; ++i)
        for (index c = 0; c < view_.cols; ++c) converted_(i, c) = static_cast<T>(view_(i, c));
    }
  }
  [[nodiscard]] matrix_view<T> view() const {
    if constexpr (std::is_same_v<T, Element>)
      return view_;
    else
      return {converted_.data(), converted_.rows(), converted_.cols(), converted_.cols(), 1};
  }

 private:
  matrix_view<Element> view_;
  row_major<T> converted_;
};

/// A call whose scores are to be seen.
template <class T>
struct shown_call {
  instruction_set isa;
  T scale;
  softlook::detail::policy_calls<T> policy;
};

/// What becomes of the scores of a head of a batch.
enum class shown { raw, masked, weights };

template <class T, class Key>
[[nodiscard]] row_major<T> scores_of(const shown_call<T>& call, const tensor_view<const T>& Q,
                                     const tensor_view<const Key>& K, const problem& p, shown as) {
  const matrix_as<T, Key> keys(K, p.sequence, p.head / (p.heads / std::int32_t(K.heads)));
  row_major<T> S = softlook::detail::shown_dots(matrix_of(Q, p.sequence, p.head), keys.view(),
                                                call.scale, call.isa);
  if (as == shown::raw) return S;
  const softlook::mutable_matrix_view<T> view{S.data(), S.rows(), S.cols(), S.cols(), 1};
  softlook::detail::transform_matrix(call.policy, {}, p, view);
  softlook::detail::mask_matrix(call.policy, {}, p, view);
  if (as == shown::weights) {
    const auto soften = softlook::detail::softmax_of_rows<T>(call.isa);
    for (index i = 0; i < S.rows(); ++i)
      soften(S.data() + i * S.cols(), S.cols(), -std::numeric_limits<T>::infinity());
  }
  return S;
}

/// f(problem) for each sequence and head of Q.
template <class T, class F>
void for_each_head(const softlook::detail::executor_ref& exec, const tensor_view<const T>& Q,
                   index keys, const F& f) {
  softlook::detail::run_tasks(exec, Q.sequences * Q.heads, [&](index task, index) {
    f(problem{.queries = std::int32_t(Q.rows),
              .keys = std::int32_t(keys),
              .head = std::int32_t(task % Q.heads),
              .heads = std::int32_t(Q.heads),
              .sequence = std::int32_t(task / Q.heads)});
  });
}

}  // namespace onnx::detail
SOFTLOOK_NAMESPACE_END
