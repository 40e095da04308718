#pragma once

#include <utility>

#include "softlook/attention/attention.hpp"
#include "softlook/engine/call/layer_policies.hpp"
#include "softlook/layer/matrix_layer.hpp"
#include "softlook/vision/detail/passes.hpp"

// Attention between the pixels, or between the channels, of a feature map. X is channels ×
// (height·width); results have X's shape and storage order. `into` writes to the caller's matrix,
// block or map, which may be X itself, and must not overlap it otherwise.

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup vision_non_local Non-local blocks and dual attention
/// Pixels, or channels, that attend to each other.
/// \cases tests/unit/vision/vision_test.cpp
/// \{

/// The weights of non_local_block, inputs × outputs: of a 1×1 convolution (out, in, 1, 1) the
/// transpose. In Wang et al. they are called θ, φ, g and W_z, in Fu et al. B, C, D.
template <class T>
struct non_local_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix Wq{}, Wk{};           ///< channels × features; both empty: pixels as they are (Gaussian)
  matrix Wv{};                 ///< channels × values; empty: pixels as they are
  matrix Wo{};                 ///< values × channels; empty: none
  row bq{}, bk{}, bv{}, bo{};  ///< empty: none
  T gain = 1;                  ///< times what is added; DANet learns it, starting from 0

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("Wq", p.Wq...);
    f("Wk", p.Wk...);
    f("Wv", p.Wv...);
    f("Wo", p.Wo...);
    f("bq", p.bq...);
    f("bk", p.bk...);
    f("bv", p.bv...);
    f("bo", p.bo...);
    const auto number = [&](const char* name, auto... m) { f(name, m...); };
    number("gain", detail::as_matrix(p.gain)...);
  }
};

namespace detail {

/// The number of channels that the matrices agree on; 0: any.
template <class T>
[[nodiscard]] index check_non_local(const char* where, const non_local_parameters<T>& p) {
  const bool values = p.Wv.size() > 0, outputs = p.Wo.size() > 0;
  check_sizes(where, "Wk.rows()", p.Wk.rows(), "Wq.rows()", p.Wq.rows(),
              "queries and keys are made of the same pixels");
  check_sizes(where, "Wk.cols()", p.Wk.cols(), "Wq.cols()", p.Wq.cols(),
              "queries and keys share one feature size");
  const index channels = p.Wq.size() > 0 ? p.Wq.rows() : (values ? p.Wv.rows() : p.Wo.cols());
  if (values)
    check_sizes(where, "Wv.rows()", p.Wv.rows(), "channels", channels,
                "values are made of the same pixels");
  const index mixed = values ? p.Wv.cols() : channels;
  if (outputs)
    check_sizes(where, "Wo.rows()", p.Wo.rows(), values ? "Wv.cols()" : "channels", mixed,
                "the mixed values are projected");
  check_sizes(where, outputs ? "Wo.cols()" : "Wv.cols()", outputs ? p.Wo.cols() : mixed, "channels",
              channels, "what is added has a number for each channel");
  const auto bias = [&](const char* name, const auto& b, const char* of, const auto& W) {
    (void)checked_row(where, name, view_of(b), of, W.cols());
  };
  bias("bq.size()", p.bq, "Wq.cols()", p.Wq);
  bias("bk.size()", p.bk, "Wk.cols()", p.Wk);
  bias("bv.size()", p.bv, "Wv.cols()", p.Wv);
  bias("bo.size()", p.bo, "Wo.cols()", p.Wo);
  check_factor<T>(where, "gain", p.gain);
  return channels;
}

}  // namespace detail

/// Non-local block: every pixel takes up what similar pixels hold, wherever they are,
///   Y = X + gain·(Wo·softmax((Wq x)·(Wk x)) Wv x + bo),
/// the dot product not scaled: options{.scale = …} does that.
///
/// \see Wang et al., "Non-local Neural Networks", 2018, Eq. (3) and (6), and (2) without Wq and Wk;
///      Fu et al., "Dual Attention Network for Scene Segmentation", 2019, Eq. (1) and (2): its
///      position attention is the block without Wo.
/// X: channels × pixels -> Y of that shape, which may be X itself. A call takes the policies of
/// attention() but a score: a mask, transforms, an executor, options.
/// Cost: attention() with n = m = pixels, which stores no n×m matrix, and four products.
template <class T>
class non_local_block : public matrix_layer<non_local_block<T>, T> {
 public:
  /// \throws shape_error  unless the matrices fit each other; argument_error  unless the gain is
  /// finite.
  explicit non_local_block(const non_local_parameters<T>& p)
      : channels_(detail::check_non_local(name_, p)),
        features_(p.Wq.cols()),
        projects_(p.Wo.size() > 0),
        out_(detail::view_of(p.Wo),
             detail::checked_row(name_, "bo.size()", detail::view_of(p.bo), "Wo.cols()",
                                 p.Wo.cols()),
             activation::none),
        gain_(p.gain) {
    const auto bias = [](const auto& b, index count) {
      return b.size() == 0 ? detail::row_vector<T>::Zero(count).eval() : b;
    };
    typename non_local_parameters<T>::matrix W(channels_, 2 * features_ + p.Wv.cols());
    if (features_ > 0) W.leftCols(2 * features_) << p.Wq, p.Wk;
    if (p.Wv.cols() > 0) W.rightCols(p.Wv.cols()) = p.Wv;
    detail::row_vector<T> b(W.cols());
    b.head(features_) = bias(p.bq, features_);
    b.segment(features_, features_) = bias(p.bk, features_);
    b.tail(p.Wv.cols()) = bias(p.bv, p.Wv.cols());
    embed_ = {detail::view_of(W), detail::view_of(b), activation::none};
  }

  /// 0: any number, where no matrix says one.
  [[nodiscard]] index channels() const { return channels_; }

  /// pixels × pixels, for looking at them: row p says what pixel p looks at.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto weights(const X& x, const Ps&... policies) const {
    using entry = detail::layer_entry;
    plain_matrix_like<X> found;
    if constexpr (entry::accepts<non_local_block, Ps...>(detail::matrices<X>{})) {
      const detail::readable<X> in(x);
      entry::show(
          *this, in.view(),
          [&](const auto&, const detail::call_policies<T>& call) {
            const embedded e = embed(call, in.view());
            found = detail::run_weights<false>(among_pixels(e, call)).front();
          },
          policies...);
    }
    return found;
  }

 private:
  friend detail::layer_entry;
  template <class>
  friend class dual_attention;
  using policy_rule = detail::dot_policies;
  static constexpr const char* name_ = "non_local_block";

  void check(const matrix_view<T>& X) const {
    if (channels_ > 0) detail::check_channels(name_, X, channels_);
  }
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>&, const detail::call_policies<T>& call) const {
    const embedded e = embed(call, X);
    detail::row_major<T> mixed = detail::run_inner(among_pixels(e, call));
    if (projects_) {
      detail::row_major<T> projected(mixed.rows(), out_.outputs());
      out_.run(call.isa, call.exec, detail::view_of(mixed), detail::writable_view(projected));
      mixed.swap(projected);
    }
    detail::add_to_map(X, Y, gain_, mixed.transpose());
  }

  /// What the pixels of a map become: rows are pixels.
  struct embedded {
    detail::row_major<T> products;
    matrix_view<T> Q, K, V;
  };
  [[nodiscard]] embedded embed(const detail::layer_call& call, const matrix_view<T>& X) const {
    const matrix_view<T> pixels = X.transpose();
    embedded e{detail::row_major<T>(pixels.rows, embed_.outputs()), pixels, pixels, pixels};
    if (embed_.outputs() == 0) return e;
    embed_.run(call.isa, call.exec, pixels, detail::writable_view(e.products));
    const matrix_view<T> all = detail::view_of(e.products);
    if (features_ > 0) {
      e.Q = all.columns(0, features_);
      e.K = all.columns(features_, features_);
    }
    if (embed_.outputs() > 2 * features_)
      e.V = all.columns(2 * features_, embed_.outputs() - 2 * features_);
    return e;
  }

  [[nodiscard]] static detail::attention_call<T> among_pixels(
      const embedded& e, const detail::call_policies<T>& policies) {
    const auto score = scores::dot{}.recipe<T>(name_, e.Q.cols, e.K.cols);
    return detail::inner_call(policies, score, e.Q, e.K, e.V);
  }

  index channels_ = 0;
  index features_ = 0;
  bool projects_ = false;
  detail::packed_linear<T> embed_;  // [Wq Wk Wv], so that X is read once
  detail::packed_linear<T> out_;
  T gain_ = 1;
};

namespace detail {

/// Y = X + gain·softmax(X·Xᵀ) X
template <class T>
void add_channel_attention(const matrix_view<T>& X, const mutable_matrix_view<T>& Y, T gain,
                           const call_policies<T>& policies) {
  const auto score = scores::dot{}.recipe<T>(policies.where, X.cols, X.cols);
  add_to_map(X, Y, gain, run_inner(inner_call(policies, score, X, X, X)));
}

}  // namespace detail

/// DANet's channel attention: channels that respond to the same pixels strengthen each other,
///   Y = X + gain·softmax(X·Xᵀ) X.
///
/// \see Fu et al., "Dual Attention Network for Scene Segmentation", 2019, Eq. (3) and (4).
/// X: channels × pixels -> Y of that shape. The dot products run over all pixels and are not
/// scaled: options{.scale = …} does that.
/// \param policies  those of attention() but a score.
/// Cost: attention() with n = m = channels and d = e = pixels.
template <dense_expression X, dense_expression Y, class... Ps>
void channel_self_attention_into(const X& x, Y&& y, detail::scalar_of<X> gain,
                                 const Ps&... policies) {
  using T = detail::scalar_of<X>;
  const char* where = "channel_self_attention";
  if constexpr (detail::check_scalars<X, Y>() && detail::dot_policies::check<T, Ps...>()) {
    const detail::readable<X> in(x);
    const auto out = detail::writable_view(y);
    detail::check_map_output(where, in.view(), out);
    detail::check_factor<T>(where, "gain", gain);
    detail::dot_policies::resolve<T>(
        where,
        [&](const detail::call_policies<T>& call) {
          detail::add_channel_attention(in.view(), out, gain, call);
        },
        policies...);
  }
}

template <dense_expression X, class... Ps>
[[nodiscard]] auto channel_self_attention(const X& x, detail::scalar_of<X> gain,
                                          const Ps&... policies) {
  plain_matrix_like<X> y(x.rows(), x.cols());
  channel_self_attention_into(x, y, gain, policies...);
  return y;
}

/// Dual attention: position attention and channel attention of one map, summed.
///
/// \see Fu et al., "Dual Attention Network for Scene Segmentation", 2019, section 3.4, without the
///      convolutions around the two.
/// `position` is a block without Wo; `channel_gain` is the paper's β.
/// X: channels × pixels -> Y of that shape, which may be X itself. A call takes an executor and
/// options; indices of a mask would mean pixels in one half and channels in the other.
template <class T>
class dual_attention : public matrix_layer<dual_attention<T>, T> {
 public:
  dual_attention(non_local_block<T> position, T channel_gain)
      : position_(std::move(position)), channel_gain_(channel_gain) {
    detail::check_factor<T>("dual_attention", "channel_gain", channel_gain);
  }

 private:
  friend detail::layer_entry;
  using policy_rule = detail::unmasked_policies;
  static constexpr const char* name_ = "dual_attention";

  void check(const matrix_view<T>& X) const { position_.check(X); }
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch, const detail::call_policies<T>& call) const {
    detail::row_major<T> of_positions(X.rows, X.cols), of_channels(X.rows, X.cols);
    position_.run(X, detail::writable_view(of_positions), scratch, call);
    detail::add_channel_attention(X, detail::writable_view(of_channels), channel_gain_, call);
    for (index i = 0; i < Y.rows; ++i)
      for (index j = 0; j < Y.cols; ++j) Y(i, j) = of_positions(i, j) + of_channels(i, j);
  }

  non_local_block<T> position_;
  T channel_gain_;
};

/// \}

SOFTLOOK_NAMESPACE_END
