#pragma once

#include <stdexcept>

namespace translator {

/// A file of the model that cannot be read or is not what it should be; the text starts with the
/// name of the file.
struct model_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace translator
