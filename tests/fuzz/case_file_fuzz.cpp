// The input is a whole .case file named fuzz.case. It is refused with a case_error, or what it
// holds can be asked for.

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/conformance/case_file.hpp"

namespace {

/// A folder of this process, in memory where the system has such a place: a file is written for
/// every input.
class scratch_folder {
 public:
  scratch_folder() {
    const std::filesystem::path shared = "/dev/shm";
    const bool usable = ::access(shared.c_str(), W_OK) == 0;
    folder_ = (usable ? shared : std::filesystem::temp_directory_path()) /
              ("softlook_fuzz_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  ~scratch_folder() { std::filesystem::remove_all(folder_); }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;

  std::filesystem::path file() const { return folder_ / "fuzz.case"; }

 private:
  std::filesystem::path folder_;
};

void use(const conformance::case_file& c) {
  for (const auto& [name, tensor] : c.inputs) {
    Eigen::Index count = 1;
    for (const Eigen::Index extent : tensor.shape) count *= extent;
    if (static_cast<std::size_t>(count) != tensor.values.size()) std::abort();
    (void)c.input(name, tensor.rank());
  }
  for (const auto& [name, value] : c.attributes) {
    (void)c.text(name);
    (void)c.integer(name, 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const scratch_folder scratch;
  std::ofstream(scratch.file(), std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    use(conformance::read_case(scratch.file()));
  } catch (const conformance::case_error&) {
  }
  return 0;
}
