#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "softlook/position/detail/rotation.hpp"
#include "softlook/position/rotary_frequencies.hpp"
#include "softlook/position/token_positions.hpp"
#include "softlook/transform/t5_bias.hpp"

// What tells attention where a token stands: added to the features (sinusoidal, learned), turned
// into queries and keys (RoPE), or added to scores (transform/t5_bias.hpp; ALiBi in
// transform/transforms.hpp).

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup positional Positional encodings
/// Where a token stands, added to it or turned into it.
/// \cases tests/conformance/data/other/positional,
///        tests/conformance/data/onnx_attention/rotary_embedding
/// \{

/// Where sines and cosines go: side by side (Vaswani), or all sines before all cosines
/// (tensor2tensor).
enum class sinusoidal_layout { interleaved, concatenated };

struct sinusoidal_options {
  index first = 0;  ///< position of the first row
  sinusoidal_layout layout = sinusoidal_layout::interleaved;
  double min_timescale = 1;
  double max_timescale = 10000;
};

namespace detail {

/// Above every position.
inline constexpr double largest_position = 9.3e18;

/// One frequency for each pair of a sine and a cosine.
[[nodiscard]] inline Eigen::VectorXd sinusoid_frequencies(const char* where, index features,
                                                          const sinusoidal_options& o) {
  check_positive(where, "options.min_timescale", o.min_timescale);
  check_positive(where, "options.max_timescale", o.max_timescale);
  constexpr double most = std::numeric_limits<double>::max(), least = largest_position / most;
  if (o.min_timescale < least)
    raise_outside(where, "options.min_timescale", o.min_timescale, least, most,
                  "the angle of every position is finite");
  if (!(o.max_timescale / o.min_timescale <= most))
    raise_argument(where, "options.max_timescale", o.max_timescale,
                   "it is a finite number of times options.min_timescale");
  const bool interleaved = o.layout == sinusoidal_layout::interleaved;
  Eigen::VectorXd frequencies(interleaved ? (features + 1) / 2 : features / 2);
  const double steps =
      interleaved ? double(features) / 2 : double(std::max<index>(frequencies.size() - 1, 1));
  for (index k = 0; k < frequencies.size(); ++k)
    frequencies[k] =
        std::pow(o.max_timescale / o.min_timescale, -double(k) / steps) / o.min_timescale;
  return frequencies;
}

template <class T>
void write_sinusoids(const char* where, const mutable_matrix_view<T>& O,
                     const sinusoidal_options& o) {
  const Eigen::VectorXd frequencies = sinusoid_frequencies(where, O.cols, o);
  const bool interleaved = o.layout == sinusoidal_layout::interleaved;
  const index pairs = frequencies.size();
  for (index i = 0; i < O.rows; ++i) {
    for (index k = 0; k < pairs; ++k) {
      const double angle = double(o.first + i) * frequencies[k];
      const index sine = interleaved ? 2 * k : k, cosine = interleaved ? 2 * k + 1 : pairs + k;
      O(i, sine) = static_cast<T>(std::sin(angle));
      if (cosine < O.cols) O(i, cosine) = static_cast<T>(std::cos(angle));
    }
    if (!interleaved && O.cols % 2 != 0) O(i, O.cols - 1) = T(0);
  }
}

}  // namespace detail

/// Sinusoidal position encodings into the caller's matrix, a row for each position: O: n×d.
/// \throws argument_error  unless both timescales are positive and finite; nothing is written then.
/// \see sinusoidal
template <dense_expression O>
void sinusoidal_into(O&& o, const sinusoidal_options& options = {}) {
  static_assert(real_scalar<detail::scalar_of<O>>,
                "softlook: position encodings are computed in float or double");
  detail::write_sinusoids("sinusoidal_into", detail::writable_view(o), options);
}

/// Sinusoidal position encodings of positions p = first, first + 1, …:
///   interleaved   PE(p, 2k) = sin(p·f_k),  PE(p, 2k + 1) = cos(p·f_k),   f_k = 10000^(−2k/d)
///   concatenated  PE(p, k)  = sin(p·f_k),  PE(p, c + k)  = cos(p·f_k),   f_k = 10000^(−k/(c − 1)),
/// c = ⌊d/2⌋. An odd d ends with a sine when interleaved and with a column of zeros when
/// concatenated. Other timescales t < T: f_k = (1/t)·(T/t)^(−…) for the same exponents.
///
/// \see Vaswani et al., "Attention Is All You Need", 2017, section 3.5; the concatenated form is
///      that of the authors' tensor2tensor.
/// Angles are computed in double, so large positions keep their accuracy: the error of an entry is
/// about ε_T + |p·f_k|·10·ε_double.
/// \throws argument_error  unless positions and features are at least 0 and both timescales are
///                         positive and finite.
/// Cost: n·d sines and cosines.
template <real_scalar T>
[[nodiscard]] Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> sinusoidal(
    index positions, index features, const sinusoidal_options& options = {}) {
  detail::check_count("sinusoidal", "positions", positions);
  detail::check_count("sinusoidal", "features", features);
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> O(positions, features);
  detail::write_sinusoids("sinusoidal", detail::writable_view(O), options);
  return O;
}

/// Learned position embeddings: row i of X gets table row position(i) added.
///
/// \see Gehring et al., "Convolutional Sequence to Sequence Learning", 2017, section 3.1;
///      Devlin et al., "BERT", 2019, Fig. 2.
/// table: P×d, copied. X: n×d. Positions are first, first + 1, …, or given for each row.
/// \throws shape_error     unless X has d columns and, if given, there is a position for each row.
/// \throws argument_error  for a position outside [0, P). Nothing is written then.
template <real_scalar T>
class learned_positions {
 public:
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  template <dense_expression M>
  explicit learned_positions(const M& table) : table_(table.matrix()) {
    static_assert(std::is_same_v<detail::scalar_of<M>, T>,
                  "softlook: the table and the positions share one scalar type");
  }

  [[nodiscard]] index positions() const { return table_.rows(); }
  [[nodiscard]] index features() const { return table_.cols(); }

  /// X + encoding, in X's storage order.
  template <dense_expression X>
  [[nodiscard]] plain_matrix_like<X> operator()(const X& x, const token_positions& at = 0) const {
    plain_matrix_like<X> y = x.matrix();
    add("learned_positions", y, at);
    return y;
  }
  /// X += encoding.
  template <dense_expression X>
  void add_into(X&& x, const token_positions& at = 0) const {
    add("learned_positions::add_into", x, at);
  }

 private:
  template <class X>
  void add(const char* where, X& x, const token_positions& at) const {
    static_assert(std::is_same_v<detail::scalar_of<X>, T>,
                  "softlook: X and its position encoding share one scalar type");
    detail::check_sizes(where, "X.cols()", x.cols(), "table.cols()", features(),
                        "a token and its position share one feature size");
    at.check_rows(where, x.rows());
    at.check_within(where, x.rows(), table_.rows());
    detail::add_positions(detail::writable_view(x), table_, at);
  }

  matrix table_;
};

template <class M>
learned_positions(const M&) -> learned_positions<detail::scalar_of<M>>;

/// Which two features of a head turn together: k and k + w/2 (GPT-NeoX, Llama in Hugging Face's
/// layout), or 2k and 2k + 1 (Su et al., GPT-J). A permutation of the features apart.
enum class rotary_pairs { half_split, interleaved };

struct rotary_options {
  rotary_pairs pairs = rotary_pairs::half_split;
  std::optional<index> head_features{};  ///< of which the first w turn; unset: w
  double magnitude = 1;                  ///< multiplies cos and sin (YaRN's attention factor)
};

/// Rotary position embeddings: in each head of a token at position p the pair k of features turns
/// by p·f_k,
///   (a, b) → (a cos p·f_k − b sin p·f_k,  b cos p·f_k + a sin p·f_k),
/// so that q·k depends on the distance of two tokens only.
///
/// \see Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, Eq. (15)
///      and (34).
/// X: n×(h·head_features), any number of heads h side by side, so one object serves queries and the
/// fewer key heads of grouped attention. The first w = 2·frequencies.size() features of a head turn
/// (partial RoPE when w < head_features), the others are copied. Positions are first, first + 1, …,
/// or given for each row; they may be negative unless looked up.
///
/// Either from frequencies: angles are computed in double, precompute(P) keeps those of positions
/// below P. Or from given cos and sin, P×w/2 (ONNX RotaryEmbedding's caches): a position is a row.
/// \throws shape_error     unless head_features divides X.cols(), into()'s O has X's shape and, if
///                         given, there is a position for each row.
/// \throws argument_error  for a position beyond given cos and sin, or if O overlaps X. Nothing is
///                         written then.
/// Cost: O(n·h·w), and n·w/2 sines and cosines that are not precomputed. Allocates no scratch.
template <real_scalar T>
class rotary_embedding {
 public:
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  /// \throws argument_error  unless head_features ≥ max(1, w) and the magnitude is positive and
  /// finite.
  explicit rotary_embedding(const Eigen::VectorXd& frequencies, const rotary_options& options = {})
      : frequencies_(frequencies), options_(options) {
    check_options(frequencies.size());
  }
  /// \throws shape_error  unless cos and sin have one shape; argument_error as above.
  template <dense_expression C, dense_expression S>
  rotary_embedding(const C& cos, const S& sin, const rotary_options& options = {})
      : options_(options), given_(true) {
    const char* where = "rotary_embedding";
    detail::check_sizes(where, "sin.rows()", sin.rows(), "cos.rows()", cos.rows(),
                        "both have a row for each position");
    detail::check_sizes(where, "sin.cols()", sin.cols(), "cos.cols()", cos.cols(),
                        "both have a column for each pair of features");
    check_options(cos.cols());
    cos_ = cos.matrix() * T(options.magnitude);
    sin_ = sin.matrix() * T(options.magnitude);
  }

  /// Features of a head that turn, w.
  [[nodiscard]] index width() const { return 2 * (given_ ? cos_.cols() : frequencies_.size()); }
  [[nodiscard]] index head_features() const { return options_.head_features.value_or(width()); }
  /// How many positions there are, from 0 on, where cos and sin were given.
  [[nodiscard]] std::optional<index> positions() const {
    return given_ ? std::optional<index>(cos_.rows()) : std::nullopt;
  }

  /// Keeps cos and sin of positions 0 … count − 1, for use by many calls. No bit of a result
  /// changes.
  void precompute(index count) {
    detail::check_count("rotary_embedding::precompute", "count", count);
    if (given_) return;
    matrix cos(count, frequencies_.size()), sin(count, frequencies_.size());
    for (index p = 0; p < count; ++p)
      for (index k = 0; k < frequencies_.size(); ++k) angle(p, k, cos(p, k), sin(p, k));
    cos_.swap(cos);
    sin_.swap(sin);
  }

  /// X with every head turned, in X's storage order.
  template <dense_expression X>
  [[nodiscard]] plain_matrix_like<X> operator()(const X& x, const token_positions& at = 0) const {
    check_input("rotary_embedding", x, at);
    plain_matrix_like<X> o(x.rows(), x.cols());
    const detail::readable<X> input(x);
    turn(input.view(), detail::writable_view(o), at);
    return o;
  }
  /// The same into O, which may not overlap X.
  template <dense_expression X, dense_expression O>
  void into(const X& x, O&& o, const token_positions& at = 0) const {
    const char* where = "rotary_embedding::into";
    static_assert(std::is_same_v<detail::scalar_of<O>, T>,
                  "softlook: O and its rotary embedding share one scalar type");
    check_input(where, x, at);
    detail::check_sizes(where, "O.rows()", o.rows(), "X.rows()", x.rows(), "O has X's shape");
    detail::check_sizes(where, "O.cols()", o.cols(), "X.cols()", x.cols(), "O has X's shape");
    const detail::readable<X> input(x);
    const mutable_matrix_view<T> output = detail::writable_view(o);
    detail::check_overlap(where, "X", output, input.view());
    turn(input.view(), output, at);
  }
  /// The same in X's own memory.
  template <dense_expression X>
  void in_place(X&& x, const token_positions& at = 0) const {
    check_input("rotary_embedding::in_place", x, at);
    const mutable_matrix_view<T> view = detail::writable_view(x);
    turn(detail::as_input(view), view, at);
  }
  /// The gradient of turned rows becomes that of the rows, in its own memory: the transposed map,
  /// which turns by the opposite angle.
  template <dense_expression G>
  void gradient_in_place(G&& dO, const token_positions& at = 0) const {
    check_input("rotary_embedding::gradient_in_place", dO, at);
    const mutable_matrix_view<T> view = detail::writable_view(dO);
    turn(detail::as_input(view), view, at, T(-1));
  }

 private:
  void check_options(index pairs) const {
    const char* where = "rotary_embedding";
    const index features = options_.head_features.value_or(2 * pairs);
    if (features < 1 || features < 2 * pairs)
      detail::raise_argument(
          where, "options.head_features", double(features),
          "a head has at least 1 feature and those that turn, " + std::to_string(2 * pairs));
    detail::check_parameter<T>(where, "options.magnitude", options_.magnitude,
                               detail::parameter::positive, "it is positive and finite");
    constexpr double most = std::numeric_limits<double>::max() / detail::largest_position;
    for (const double f : frequencies_)
      if (!(std::abs(f) <= most))
        detail::raise_outside(where, "a frequency", f, -most, most,
                              "the angle of every position is finite");
  }
  template <class X>
  void check_input(const char* where, const X& x, const token_positions& at) const {
    static_assert(std::is_same_v<detail::scalar_of<X>, T>,
                  "softlook: X and its rotary embedding share one scalar type");
    if (x.cols() % head_features() != 0)
      detail::raise_sizes(where, "X.cols()", x.cols(), "options.head_features", head_features(),
                          "the heads of X lie side by side");
    at.check_rows(where, x.rows());
    if (given_) at.check_within(where, x.rows(), cos_.rows());
  }

  void angle(index position, index pair, T& cos, T& sin) const {
    const double angle = double(position) * frequencies_[pair];
    cos = static_cast<T>(options_.magnitude * std::cos(angle));
    sin = static_cast<T>(options_.magnitude * std::sin(angle));
  }
  /// Angles are multiplied by `sense`, 1 or −1.
  void turn(const matrix_view<T>& X, const mutable_matrix_view<T>& O, const token_positions& at,
            T sense = 1) const {
    const index pairs = width() / 2;
    const bool halves = options_.pairs == rotary_pairs::half_split;
    const detail::rotation how{pairs, halves ? 1 : 2, halves ? pairs : 1, head_features()};
    detail::turn_heads(X, O, how, [&](index row, index pair, T& cos, T& sin) {
      const index position = at[row];
      if (position >= 0 && position < cos_.rows()) {
        cos = cos_(position, pair);
        sin = sin_(position, pair);
      } else {
        angle(position, pair, cos, sin);
      }
      sin *= sense;
    });
  }

  Eigen::VectorXd frequencies_;
  rotary_options options_;
  matrix cos_, sin_;  // of positions 0, 1, …, as far as they are kept
  bool given_ = false;
};

/// \}

SOFTLOOK_NAMESPACE_END
