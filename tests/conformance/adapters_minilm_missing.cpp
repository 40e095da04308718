#include "adapters.hpp"

/// In place of adapters_minilm.cpp where the libraries that read the model's files are missing.
namespace conformance {

void add_minilm_adapter(adapter_table& table, const std::filesystem::path&) {
  table["minilm.encode"] = [](const case_file&, const mode&) -> outputs {
    throw unsupported(
        "this runner was built without the sentence encoder, which needs "
        "nlohmann-json and utf8proc");
  };
}

}  // namespace conformance
