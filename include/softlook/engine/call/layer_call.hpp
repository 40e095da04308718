#pragma once

#include "softlook/engine/call/checks.hpp"
#include "softlook/engine/call/readable.hpp"
#include "softlook/engine/run/packed_linear.hpp"

// What calls of layers share.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Scratch of a call from `start` on, and a workspace for the attention inside it.
template <class T>
struct scratch_space {
  T* start;
  call_scratch* of;
  [[nodiscard]] softlook::workspace* inner() const { return of->inner(); }
};

/// f(scratch) with so many scalars of scratch for a call whose inputs are checked.
template <class T, class F>
void run_layer(const layer_call& call, index scalars, const F& f) {
  call_scratch scratch(call.opts.workspace);
  T* const start = scratch.template take<T>(scalars);
  f(scratch_space<T>{start, &scratch});
}

/// Cuts scratch into matrices, row by row.
template <class T>
class matrix_cursor {
 public:
  explicit matrix_cursor(const scratch_space<T>& scratch) : left_(scratch) {}
  [[nodiscard]] static index size(index rows, index cols) { return round_up(rows * cols, 16); }
  [[nodiscard]] mutable_matrix_view<T> take(index rows, index cols) {
    T* const at = left_.start;
    left_.start += size(rows, cols);
    return {at, rows, cols, cols, 1};
  }
  /// The scratch behind what was taken.
  [[nodiscard]] scratch_space<T> left() const { return left_; }

 private:
  scratch_space<T> left_;
};

/// False after a message, so that callers can leave out the code that would only add noise to it.
template <class T, class... Ps>
constexpr bool check_layer_policies() {
  constexpr bool known = ((executor<Ps> || is_options<Ps>) && ...);
  static_assert(known, "softlook: this layer takes an executor and options{…}, nothing else");
  return known && check_policies<T, Ps...>();
}

template <class T, class... Xs>
constexpr bool check_layer_scalars() {
  constexpr bool same = (std::is_same_v<scalar_of<Xs>, T> && ...);
  static_assert(same, "softlook: a layer in T is applied to matrices of T");
  return same;
}

template <class T>
void check_layer_output(const char* where, const mutable_matrix_view<T>& Y, index rows,
                        const char* columns_name, index columns) {
  check_sizes(where, "Y.rows()", Y.rows, "X.rows()", rows, "one output row for each input row");
  check_sizes(where, "Y.cols()", Y.cols, columns_name, columns,
              "an output row has an entry for each of them");
}

/// `Layer` is a layer or a stack.
template <class Layer, class T>
void check_features(const char* where, const Layer& layer, const matrix_view<T>& X) {
  check_sizes(where, "X.cols()", X.cols, "features()", layer.features(),
              "a row of X has an entry for each feature");
}

/// The output may be the input itself.
template <class T>
void check_in_place(const char* where, const mutable_matrix_view<T>& Y, const matrix_view<T>& X) {
  const bool same =
      Y.data == X.data && Y.row_stride == X.row_stride && Y.col_stride == X.col_stride;
  if (!same) check_overlap(where, "X", Y, X, "Y");
}

template <class T>
void check_epsilon(const char* where, double epsilon) {
  check_parameter<T>(where, "epsilon", epsilon, parameter::not_negative,
                     "it is finite and not negative");
}
/// A number that a layer multiplies or adds.
template <class T>
void check_factor(const char* where, const char* name, T factor) {
  check_parameter<T>(where, name, double(factor), parameter::finite, "it is finite");
}

/// Policies of a layer without attention.
struct plain_policies {
  template <class T, class... Ps>
  static constexpr bool check() {
    return check_layer_policies<T, Ps...>();
  }
  /// f(what they say)
  template <class T, class F, class... Ps>
  static void resolve(const char* where, const F& f, const Ps&... ps) {
    f(layer_call_of(where, ps...));
  }
};

template <class... Xs>
struct matrices {};

/// The way into every layer. A layer states
///   scalar, name_, policy_rule  policy_rule::check<T, Ps...>(), ::resolve<T>(where, f, ps...)
///   check_matrices<Xs...>()     whether it can be applied to these types; says why not
///   input_of(views...)          its inputs as one value `in`
///   check(in)                   throws unless they fit the layer
///   check_output(in, Y)         throws unless Y fits them
///   scratch_size(in, call)      scalars of scratch; `call` is what its policies say
///   run(in, Y, scratch, call)   computes
/// and is a friend; layer_defaults states what most have in common.
struct layer_entry {
  template <class Layer, class... Ps, class... Xs>
  static constexpr bool accepts(const matrices<Xs...>&) {
    if constexpr (Layer::template check_matrices<Xs...>())
      return Layer::policy_rule::template check<typename Layer::scalar, Ps...>();
    else
      return false;
  }
  /// Views of evaluated expressions: what they look at lives as long as the call's full expression.
  template <class Layer, class... Views>
  [[nodiscard]] static auto input_of(const Layer& layer, const Views&... views) {
    return layer.input_of(views...);
  }
  template <class Layer>
  [[nodiscard]] static index output_columns(const Layer& layer, index input_columns) {
    return layer.output_columns(input_columns);
  }

  /// Y = layer(in)
  template <class Layer, class Inputs, class T, class... Ps>
  static void into(const Layer& layer, const Inputs& in, const mutable_matrix_view<T>& Y,
                   const Ps&... ps) {
    layer.check(in);
    layer.check_output(in, Y);
    run(
        layer, in, [&](const auto& scratch, const auto& call) { layer.run(in, Y, scratch, call); },
        ps...);
  }
  /// Y has a row for each of X, and is apart from it, or X itself where the layer allows that.
  template <class Layer, class T>
  static void check_rows(const Layer& layer, const matrix_view<T>& X,
                         const mutable_matrix_view<T>& Y) {
    check_layer_output(Layer::name_, Y, X.rows, Layer::columns_name_, layer.output_columns(X.cols));
    if (Layer::in_place_)
      check_in_place(Layer::name_, Y, X);
    else
      check_overlap(Layer::name_, "X", Y, X, "Y");
  }
  /// f(scratch, call) for what a layer shows of its inside.
  template <class Layer, class Inputs, class F, class... Ps>
  static void show(const Layer& layer, const Inputs& in, const F& f, const Ps&... ps) {
    layer.check(in);
    run(layer, in, f, ps...);
  }

 private:
  template <class Layer, class Inputs, class F, class... Ps>
  static void run(const Layer& layer, const Inputs& in, const F& f, const Ps&... ps) {
    using T = typename Layer::scalar;
    Layer::policy_rule::template resolve<T>(
        Layer::name_,
        [&](const auto& call) {
          run_layer<T>(call, layer.scratch_size(in, call),
                       [&](const scratch_space<T>& scratch) { f(scratch, call); });
        },
        ps...);
  }
};

/// What layers state where they state nothing else: inputs are X, or a value with an X.
template <class Layer, class T>
class layer_defaults {
 public:
  using scalar = T;

 private:
  friend layer_entry;
  using policy_rule = plain_policies;
  static constexpr const char* columns_name_ = "X.cols()";
  static constexpr bool in_place_ = true;

  template <class... Xs>
  static constexpr bool check_matrices() {
    return check_layer_scalars<T, Xs...>();
  }
  [[nodiscard]] static index output_columns(index input_columns) { return input_columns; }
  [[nodiscard]] static matrix_view<T> input_of(const matrix_view<T>& X) { return X; }
  void check_output(const matrix_view<T>& X, const mutable_matrix_view<T>& Y) const {
    layer_entry::check_rows(static_cast<const Layer&>(*this), X, Y);
  }
  template <class Inputs>
  void check_output(const Inputs& in, const mutable_matrix_view<T>& Y) const {
    check_output(in.X, Y);
  }
  template <class Inputs>
  [[nodiscard]] static index scratch_size(const Inputs&, const layer_call&) {
    return 0;
  }
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
