#pragma once

#include <Eigen/Core>

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup seq2seq
/// \{

/// One step of a decoder: a context row and a row of weights for each query row given.
template <class T>
struct decoder_step {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix context;
  matrix weights;
};

/// \}

SOFTLOOK_NAMESPACE_END
