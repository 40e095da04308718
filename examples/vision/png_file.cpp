#include "png_file.hpp"

#include <png.h>

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string& file, png_image& image) {
  const std::string reason = image.message;
  png_image_free(&image);
  throw std::runtime_error(file + ": " + reason);
}

/// Nobody's photograph is larger; a hostile header could ask for 2⁶² bytes.
constexpr std::size_t largest_side = 16384;

}  // namespace

picture read_png(const std::string& file) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_file(&image, file.c_str()) == 0) fail(file, image);
  if (image.width > largest_side || image.height > largest_side) {
    png_image_free(&image);
    throw std::runtime_error(file + ": the picture is too large");
  }
  image.format = PNG_FORMAT_RGB;
  std::vector<png_byte> bytes(PNG_IMAGE_SIZE(image));
  if (png_image_finish_read(&image, nullptr, bytes.data(), 0, nullptr) == 0) fail(file, image);
  picture p;
  p.size = {.height = static_cast<Eigen::Index>(image.height),
            .width = static_cast<Eigen::Index>(image.width)};
  p.rgb.resize(3, p.size.pixels());
  for (Eigen::Index k = 0; k < p.size.pixels(); ++k)
    for (Eigen::Index c = 0; c < 3; ++c)
      p.rgb(c, k) = static_cast<float>(bytes[static_cast<std::size_t>(3 * k + c)]) / 255.0f;
  return p;
}

void write_png(const std::string& file, const picture& p) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.format = PNG_FORMAT_RGB;
  image.height = static_cast<png_uint_32>(p.size.height);
  image.width = static_cast<png_uint_32>(p.size.width);
  std::vector<png_byte> bytes(static_cast<std::size_t>(3 * p.size.pixels()));
  for (Eigen::Index k = 0; k < p.size.pixels(); ++k)
    for (Eigen::Index c = 0; c < 3; ++c)
      bytes[static_cast<std::size_t>(3 * k + c)] =
          static_cast<png_byte>(255.0f * std::clamp(p.rgb(c, k), 0.0f, 1.0f) + 0.5f);
  if (png_image_write_to_file(&image, file.c_str(), 0, bytes.data(), 0, nullptr) == 0)
    fail(file, image);
}

picture cropped(const picture& p, const softlook::map_size& to) {
  picture part;
  part.size = to;
  part.rgb.resize(3, to.pixels());
  for (Eigen::Index y = 0; y < to.height; ++y)
    part.rgb.middleCols(y * to.width, to.width) = p.rgb.middleCols(y * p.size.width, to.width);
  return part;
}
