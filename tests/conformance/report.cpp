#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <numeric>

namespace conformance {
namespace {

int count(const std::vector<verdict>& verdicts, status s) {
  return static_cast<int>(std::count_if(verdicts.begin(), verdicts.end(),
                                        [&](const verdict& v) { return v.outcome == s; }));
}

int total(const std::vector<verdict>& verdicts, int verdict::* member) {
  return std::accumulate(verdicts.begin(), verdicts.end(), 0,
                         [&](int sum, const verdict& v) { return sum + v.*member; });
}

std::string said(const verdict& v) {
  std::string text = name_of(v.outcome);
  if (!v.reason.empty()) text += " " + v.reason;
  return text;
}

struct expectation {
  std::string text;
  int line = 0;
};

}  // namespace

void print_family(const std::string& family, const std::vector<verdict>& verdicts) {
  std::printf("%-34s %4d passed %4d failed %4d skipped %4d differs %4d agrees\n", family.c_str(),
              count(verdicts, status::passed), count(verdicts, status::failed),
              count(verdicts, status::skipped), count(verdicts, status::differs),
              count(verdicts, status::agrees));
  std::map<std::string, int> skipped;
  for (const verdict& v : verdicts) {
    if (v.outcome == status::skipped) ++skipped[v.reason];
    if (v.outcome == status::failed || v.outcome == status::differs || v.outcome == status::agrees)
      std::printf("    %s %s: %s\n", name_of(v.outcome), v.file.c_str(), v.reason.c_str());
  }
  for (const auto& [reason, files] : skipped)
    std::printf("    skipped %d: %s\n", files, reason.c_str());
  if (const int gradients = total(verdicts, &verdict::unchecked_gradients); gradients > 0)
    std::printf("    %d gradient tensors left unchecked\n", gradients);
  std::fflush(stdout);
}

void print_summary(const std::vector<verdict>& verdicts) {
  std::printf("\n%d gradient tensors left unchecked\n",
              total(verdicts, &verdict::unchecked_gradients));
  std::printf("%d float runs left out, their scores are too large for float\n",
              total(verdicts, &verdict::left_out_float_runs));
  std::printf("%d differs by a convention\n", count(verdicts, status::differs));
  std::printf("%d agrees where each library may differ\n", count(verdicts, status::agrees));
  std::printf("%d passed, %d failed, %d skipped\n", count(verdicts, status::passed),
              count(verdicts, status::failed), count(verdicts, status::skipped));
}

bool matches_expectation(const std::filesystem::path& expected,
                         const std::vector<verdict>& verdicts) {
  std::ifstream file(expected);
  if (!file) {
    std::printf("%s:1: the file cannot be opened\n", expected.string().c_str());
    return false;
  }
  bool matches = true;
  const auto complain = [&](int line, const std::string& what) {
    std::printf("%s:%d: %s\n", expected.string().c_str(), line, what.c_str());
    matches = false;
  };
  std::map<std::string, expectation> wanted;
  std::string line;
  int number = 0;
  while (std::getline(file, line)) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    const std::size_t blank = line.find(' ');
    if (blank == std::string::npos)
      complain(number, "a line is \"file status [reason]\"");
    else if (!wanted.emplace(line.substr(0, blank), expectation{line.substr(blank + 1), number})
                  .second)
      complain(number, line.substr(0, blank) + " is listed twice");
  }
  for (const verdict& v : verdicts) {
    const auto found = wanted.find(v.file);
    if (found == wanted.end()) {
      complain(number, v.file + " is not listed, it " + said(v));
      continue;
    }
    if (found->second.text != said(v))
      complain(found->second.line,
               v.file + ": expected " + found->second.text + ", got " + said(v));
    wanted.erase(found);
  }
  for (const auto& [name, e] : wanted) complain(e.line, name + " was not found");
  return matches;
}

bool record(const std::filesystem::path& target, const std::vector<verdict>& verdicts) {
  std::ofstream file(target);
  file << "# file status [reason]; written by softlook_conformance --record, compared by "
          "--expected\n";
  for (const verdict& v : verdicts) file << v.file << ' ' << said(v) << '\n';
  file.flush();
  return static_cast<bool>(file);
}

int exit_code(const std::vector<verdict>& verdicts) {
  if (count(verdicts, status::failed) > 0) return 1;
  return count(verdicts, status::passed) > 0 ? 0 : 2;
}

}  // namespace conformance
