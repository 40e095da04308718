#pragma once

#include <softlook/vision.hpp>
#include <string>

/// A picture as a feature map: three channels (red, green, blue) between 0 and 1.
struct picture {
  Eigen::Matrix<float, 3, Eigen::Dynamic, Eigen::RowMajor> rgb;
  softlook::map_size size;
};

/// \throws std::runtime_error  with the file's name and what libpng says.
picture read_png(const std::string& file);
void write_png(const std::string& file, const picture& p);

/// The upper left part of a picture.
picture cropped(const picture& p, const softlook::map_size& to);
