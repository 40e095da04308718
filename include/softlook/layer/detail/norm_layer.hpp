#pragma once

#include "softlook/layer/matrix_layer.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What layers that normalise rows have in common.
template <class Layer, class T>
class norm_layer : public matrix_layer<Layer, T> {
 public:
  [[nodiscard]] index features() const { return norm_.features(); }

  [[nodiscard]] const row_norm<T>& rows() const { return norm_; }

 protected:
  /// \throws shape_error  unless bias has an entry for each of gain's, or none at all;
  ///         argument_error  unless ε is finite and not negative.
  void set(const char* where, const matrix_view<T>& gain, const matrix_view<T>& bias,
           double epsilon, bool centred) {
    check_epsilon<T>(where, epsilon);
    const index size = gain.rows * gain.cols;
    norm_ = {checked_row(where, "gain.size()", gain, "gain.size()", size),
             checked_row(where, "bias.size()", bias, "gain.size()", size), epsilon, centred};
  }

 private:
  friend layer_entry;
  static constexpr const char* columns_name_ = "features()";

  template <class... Xs>
  static constexpr bool check_matrices() {
    constexpr bool same = (std::is_same_v<scalar_of<Xs>, T> && ...);
    static_assert(same, "softlook: a layer_norm<T> or rms_norm<T> is applied to matrices of T");
    return same;
  }
  void check(const matrix_view<T>& X) const {
    check_sizes(Layer::name_, "X.cols()", X.cols, "features()", features(),
                "a row of X has an entry for each of gain's");
  }
  [[nodiscard]] index scratch_size(const matrix_view<T>& X, const layer_call& call) const {
    return norm_.workers(X.rows, call.exec) * norm_.scratch_size();
  }
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const scratch_space<T>& scratch, const layer_call& call) const {
    norm_.run(call.isa, call.exec, X, Y, scratch.start);
  }

  row_norm<T> norm_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
