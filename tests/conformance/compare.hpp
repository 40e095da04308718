#pragma once

#include <string>

#include "adapters.hpp"

namespace conformance {

struct tolerance {
  double relative = 0;
  double absolute = 0;
};

/// |got − want| ≤ absolute + relative·|want|; NaN agrees with NaN only, ±inf with the same only.
bool agrees(double got, double want, tolerance t);

/// What one run says about a case.
struct comparison {
  std::string difference;  // the first one; empty when every output agrees
  int unchecked_gradients = 0;
};

/// Every expected output against what a run produced. Gradients (grad_…) that the run does not
/// produce are counted; any other missing output is a difference.
comparison compare(const case_file& c, const outputs& got, const mode& m);

/// Two runs of the library against each other, with the case's tolerance.
std::string compare_runs(const case_file& c, const outputs& first, const outputs& other);

}  // namespace conformance
