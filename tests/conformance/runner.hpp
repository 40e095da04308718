#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "adapters.hpp"

namespace conformance {

/// `agrees` and `differs` are for cases that each library may answer in its own way.
enum class status { passed, failed, skipped, agrees, differs };

const char* name_of(status s);

/// What became of one file.
struct verdict {
  std::string file;  // below the folder that was asked for, with forward slashes
  status outcome = status::failed;
  std::string reason;           // empty when passed
  int unchecked_gradients = 0;  // expected gradients that the library does not compute yet
  int left_out_float_runs = 0;  // float runs whose scores are too large for float
};

/// Every path on every instruction set of this machine, in double and in float.
std::vector<mode> all_modes();

/// Runs a file in all modes; it passes only if every one agrees.
verdict run_file(const std::filesystem::path& file, const std::string& name,
                 const adapter_table& table, const std::vector<mode>& modes);

}  // namespace conformance
