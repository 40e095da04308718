#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "report.hpp"

namespace {

namespace fs = std::filesystem;

constexpr const char* usage =
    "usage: softlook_conformance DIR [--expected FILE] [--record FILE] [--model FOLDER]\n"
    "  runs every .case file below DIR on every path and instruction set\n"
    "  --expected FILE  fails unless every file has the status that FILE lists\n"
    "  --record FILE    writes such a list\n"
    "  --model FOLDER   where the weights of the sentence encoder are; without it its cases are\n"
    "                   skipped, and if they are not there the exit status is 3\n";

constexpr int no_model = 3;

struct arguments {
  fs::path folder, expected, record, model;
};

bool parse(int argc, char** argv, arguments& a) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    fs::path* const option = word == "--expected" ? &a.expected
                             : word == "--record" ? &a.record
                             : word == "--model"  ? &a.model
                                                  : nullptr;
    if (option != nullptr && i + 1 < argc)
      *option = argv[++i];
    else if (option != nullptr || word.rfind("-", 0) == 0 || !a.folder.empty())
      return false;
    else
      a.folder = word;
  }
  return !a.folder.empty();
}

/// The files by family, which is their folder; both in alphabetical order.
std::map<std::string, std::vector<fs::path>> case_files(const fs::path& root) {
  std::map<std::string, std::vector<fs::path>> families;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".case" || !entry.is_regular_file()) continue;
    const fs::path below = entry.path().lexically_relative(root);
    const std::string family = below.parent_path().generic_string();
    families[family.empty() ? "." : family].push_back(below);
  }
  for (auto& [family, files] : families) std::sort(files.begin(), files.end());
  return families;
}

int run(const arguments& a) {
  using namespace conformance;
  const adapter_table table = all_adapters(a.model);
  const std::vector<mode> modes = all_modes();
  std::vector<verdict> all;
  for (const auto& [family, files] : case_files(a.folder)) {
    std::vector<verdict> verdicts;
    for (const fs::path& file : files)
      verdicts.push_back(run_file(a.folder / file, file.generic_string(), table, modes));
    print_family(family, verdicts);
    all.insert(all.end(), verdicts.begin(), verdicts.end());
  }
  bool fine = true;
  if (!a.record.empty() && !record(a.record, all)) {
    std::printf("%s:1: the file cannot be written\n", a.record.string().c_str());
    fine = false;
  }
  if (!a.expected.empty()) fine = matches_expectation(a.expected, all) && fine;
  print_summary(all);
  return fine ? exit_code(all) : 1;
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::fputs(usage, stderr);
    return 2;
  }
  try {
    if (!a.model.empty() && !fs::exists(a.model / "model.safetensors")) {
      std::fprintf(stderr,
                   "softlook_conformance: %s: the model's weights are not here: "
                   "sh examples/run.sh fetches them\n",
                   a.model.string().c_str());
      return no_model;
    }
    return run(a);
  } catch (const fs::filesystem_error& e) {
    std::fprintf(stderr, "softlook_conformance: %s\n", e.what());
    return 2;
  }
}
