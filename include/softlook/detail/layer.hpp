#pragma once

#include "softlook/detail/checks.hpp"
#include "softlook/detail/packed_linear.hpp"
#include "softlook/detail/readable.hpp"

// What calls of layers share.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Scratch of a call, and what the attention inside it may use.
template <class T>
struct scratch_space {
  T* start;
  softlook::workspace* inner;
};

/// A call of a layer whose inputs are checked: f(memory) with scalars(executor) of scratch.
template <class T, class Scalars, class F>
void run_layer(const layer_call& call, const Scalars& scalars, const F& f) {
  call_scratch scratch(call.opts.workspace);
  T* const start = scratch.template take<T>(scalars(call.exec));
  f(scratch_space<T>{start, scratch.inner()});
}

/// False after a message, so that callers can leave out the code that would only add noise to it.
template <class T, class... Ps>
constexpr bool check_layer_policies() {
  constexpr bool known = ((executor<Ps> || is_options<Ps>) && ...);
  static_assert(known, "softlook: this layer takes an executor and options{…}, nothing else");
  return known && check_policies<T, Ps...>();
}

template <class T>
void check_layer_output(const char* where, const mutable_matrix_view<T>& Y, const char* rows_name,
                        index rows, const char* columns_name, index columns) {
  check_sizes(where, "Y.rows()", Y.rows, rows_name, rows, "one output row for each input row");
  check_sizes(where, "Y.cols()", Y.cols, columns_name, columns,
              "an output row has an entry for each of them");
}

/// The output may be the input itself.
template <class T>
void check_in_place(const char* where, const mutable_matrix_view<T>& Y, const matrix_view<T>& X) {
  const bool same =
      Y.data == X.data && Y.row_stride == X.row_stride && Y.col_stride == X.col_stride;
  if (!same) check_overlap(where, "X", Y, X, "Y");
}

inline void check_epsilon(const char* where, double epsilon) {
  if (!(epsilon >= 0 && std::isfinite(epsilon)))
    raise_argument(where, "epsilon", epsilon, "it is finite and not negative");
}

/// Cuts the memory of a call into matrices, row by row.
template <class T>
class matrix_cursor {
 public:
  explicit matrix_cursor(T* memory) : next_(memory) {}
  [[nodiscard]] static index size(index rows, index cols) { return round_up(rows * cols, 16); }
  [[nodiscard]] mutable_matrix_view<T> take(index rows, index cols) {
    T* const at = next_;
    next_ += size(rows, cols);
    return {at, rows, cols, cols, 1};
  }
  [[nodiscard]] T* rest() const { return next_; }

 private:
  T* next_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
