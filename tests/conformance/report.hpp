#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runner.hpp"

namespace conformance {

/// The files of one folder: counts, then failures, differences, and skipped files by reason.
void print_family(const std::string& family, const std::vector<verdict>& verdicts);

/// What is left unchecked, and the closing line.
void print_summary(const std::vector<verdict>& verdicts);

/// Lines "file status [reason]"; empty ones and those that start with # are ignored.
/// Prints every difference from the verdicts with its file and line. \returns whether there is
/// none.
bool matches_expectation(const std::filesystem::path& expected,
                         const std::vector<verdict>& verdicts);

/// Writes what matches_expectation reads. \returns whether it could.
bool record(const std::filesystem::path& target, const std::vector<verdict>& verdicts);

/// 0, or 1 on any failure, or 2 if nothing passed.
int exit_code(const std::vector<verdict>& verdicts);

}  // namespace conformance
