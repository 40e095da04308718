// Randomised cases as tests: drawn from seeds, or from lists of decisions that once failed. A Case
// is made of choices and a part of the usual sizes, describes itself, and check() expects.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/choices.hpp"

namespace softlook_test {

/// Of the sizes of a test, in cases that are run by the million.
inline constexpr Eigen::Index soak_part = 4;

inline int failures_so_far() {
  return ::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
}

/// Runs the cases [first, first + count); the seed in a failure's description is its number.
template <class Case>
void run_cases(std::uint64_t first, std::uint64_t count) {
  constexpr int enough = 5;
  int failed = 0;
  for (std::uint64_t number = first; number < first + count && failed < enough; ++number) {
    choices from = choices::drawn(number);
    Case one(from);
    SCOPED_TRACE("seed " + std::to_string(number) + ", " + one.description());
    const int before = failures_so_far();
    one.check();
    if (failures_so_far() > before) ++failed;
  }
}

/// A case that tests/soak found and made small.
template <class Case>
void replay(std::vector<std::uint64_t> decisions) {
  choices from = choices::kept(std::move(decisions));
  Case one(from, soak_part);
  SCOPED_TRACE(one.description());
  one.check();
}

/// The lists in tests/soak/cases/KIND-*.txt; no folder, no lists.
template <class Case>
void run_kept_cases(const std::string& kind) {
  namespace files = std::filesystem;
  std::vector<files::path> kept;
  std::error_code none;
  for (const auto& entry : files::directory_iterator(SOFTLOOK_SOAK_CASES, none))
    if (entry.path().filename().string().starts_with(kind + "-")) kept.push_back(entry.path());
  std::sort(kept.begin(), kept.end());
  for (const auto& path : kept) {
    SCOPED_TRACE(path.string());
    std::ifstream in(path);
    std::vector<std::uint64_t> decisions;
    for (std::uint64_t value = 0; in >> value;) decisions.push_back(value);
    ASSERT_TRUE(in.eof() && !decisions.empty()) << "not a list of numbers";
    replay<Case>(std::move(decisions));
  }
}

}  // namespace softlook_test
