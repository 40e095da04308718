#pragma once

#include <functional>

#include "softlook/onnx/tensor.hpp"

// What must hold of the tensors of an operator before anything is written.

SOFTLOOK_NAMESPACE_BEGIN
namespace onnx::detail {

using softlook::detail::formatted;
using softlook::detail::raise_argument;
using softlook::detail::raise_sizes;

template <class Element>
void check_tensor(const char* where, const char* name, const tensor<Element>& X) {
  for (index k = 0; k < X.shape.rank(); ++k)
    if (X.shape[k] < 0)
      raise_argument(where, formatted("%s.shape[%td]", name, k).text, double(X.shape[k]),
                     "an extent is not negative");
  if (!X.data && X.shape.numbers() != 0)
    softlook::detail::raise<argument_error>(
        formatted("%s: %s has no data (it holds %td numbers)", where, name, X.shape.numbers())
            .text);
}

/// The same of a tensor that the operator prescribes a rank for.
template <class Element>
void check_tensor(const char* where, const char* name, const tensor<Element>& X, index rank,
                  const char* rule) {
  if (X.shape.rank() != rank)
    raise_sizes(where, formatted("the rank of %s", name).text, X.shape.rank(), "the rank of it",
                rank, rule);
  check_tensor(where, name, X);
}

inline void check_extent(const char* where, const char* name, const extents& shape, index axis,
                         const char* other, index other_is, const char* rule) {
  if (shape[axis] != other_is)
    raise_sizes(where, formatted("%s.shape[%td]", name, axis).text, shape[axis], other, other_is,
                rule);
}

/// An output, or another tensor whose shape follows from that of the inputs.
template <class Element>
void check_shape(const char* where, const char* name, const tensor<Element>& X,
                 const extents& wanted, const char* rule) {
  if (X.shape.rank() != wanted.rank())
    raise_sizes(where, formatted("the rank of %s", name).text, X.shape.rank(),
                "the rank that it has to have", wanted.rank(), rule);
  for (index k = 0; k < wanted.rank(); ++k)
    check_extent(where, name, X.shape, k, "what follows from the inputs", wanted[k], rule);
  check_tensor(where, name, X);
}

template <class A, class B>
[[nodiscard]] bool share_memory(const tensor<A>& a, const tensor<B>& b) {
  if (a.shape.numbers() == 0 || b.shape.numbers() == 0 || !a.data || !b.data) return false;
  const std::less<const void*> before;
  return before(a.data, b.data + b.shape.numbers()) && before(b.data, a.data + a.shape.numbers());
}

template <class Out, class Other>
void check_apart(const char* where, const char* output, const tensor<Out>& O, const char* name,
                 const tensor<Other>& X) {
  if (share_memory(O, X))
    softlook::detail::raise<argument_error>(
        formatted("%s: %s overlaps %s (an output is written while the others are still in use)",
                  where, output, name)
            .text);
}

template <class Element>
void require_given(const char* where, const char* name, const tensor<Element>& X) {
  if (!X.is_given())
    softlook::detail::raise<argument_error>(formatted("%s: %s is left out", where, name).text);
}

/// TensorProto::FLOAT, FLOAT16, DOUBLE, BFLOAT16; 0: left out.
inline void check_softmax_precision(const char* where, int type) {
  if (type != 0 && type != 1 && type != 10 && type != 11 && type != 16)
    raise_argument(where, "softmax_precision", type,
                   "it is 1 (float), 10 (float16), 11 (double) or 16 (bfloat16)");
}

}  // namespace onnx::detail
SOFTLOOK_NAMESPACE_END
