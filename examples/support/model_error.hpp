#pragma once

#include <stdexcept>

namespace examples {

/// A file of a model that cannot be read or is not what it should be; the text starts with the
/// name of the file.
struct model_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace examples
