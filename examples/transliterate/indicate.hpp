#pragma once

#include <filesystem>
#include <string_view>

#include <softlook/seq2seq.hpp>

#include "letters.hpp"
#include "weights_file.hpp"

namespace transliterate {

/// Devanagari to Latin letters, by Luong's general attention with input feeding, as trained in
/// TensorFlow: luong_model of one layer whose decoder begins at zero and whose h̃ has no tanh.
class indicate {
 public:
  /// Reads indicate.encoder.data and indicate.decoder.data of a folder. \throws model_error
  explicit indicate(const std::filesystem::path& folder);

  /// As netra::tokens_of().
  std::vector<softlook::index> tokens_of(std::string_view word) const;
  softlook::search_options search() const;
  const letters& written() const { return latin_; }
  const softlook::luong_model<float>& model() const { return model_; }

 private:
  letters devanagari_, latin_;
  softlook::luong_model<float> model_;
};

}  // namespace transliterate
