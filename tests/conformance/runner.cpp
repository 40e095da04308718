#include "runner.hpp"

#include <algorithm>
#include <exception>
#include <optional>

#include "compare.hpp"

namespace conformance {
namespace {

/// One run of an adapter that has read everything of the case.
outputs solved(const case_file& c, const adapter& solve, const mode& m) {
  c.forget_what_was_read();
  outputs result = solve(c, m);
  require_all_read(c);
  return result;
}

/// Passed when all modes agree with the case.
void check_case(const case_file& c, const adapter& solve, const std::vector<mode>& modes,
                verdict& v) {
  bool ran = false;
  for (const mode& m : modes) {
    try {
      const comparison result = compare(c, solved(c, solve, m), m);
      v.unchecked_gradients = ran ? std::min(v.unchecked_gradients, result.unchecked_gradients)
                                  : result.unchecked_gradients;
      ran = true;
      if (result.difference.empty()) continue;
      v.outcome = status::failed;
      v.reason = name_of(m) + ": " + result.difference;
      return;
    } catch (const beyond_float&) {
      ++v.left_out_float_runs;
    } catch (const not_in_this_mode&) {
    }
  }
  v.outcome = ran ? status::passed : status::failed;
  if (!ran) v.reason = "it was computed in no mode";
}

/// A case that each library may answer in its own way never passes: it differs, by a convention
/// with a name, or ours happens to agree. Our paths must still agree with each other;
/// in double, because what is left open is often what rounding decides.
void check_own_convention(const case_file& c, const adapter& solve, const std::vector<mode>& modes,
                          verdict& v) {
  std::optional<outputs> first;
  bool differs = false;
  for (const mode& m : modes) {
    if (m.single_precision) continue;
    const outputs now = solved(c, solve, m);
    differs = differs || !compare(c, now, m).difference.empty();
    const std::string split = first ? compare_runs(c, *first, now) : "";
    if (!first) first = now;
    if (split.empty()) continue;
    v.outcome = status::failed;
    v.reason = name_of(m) + ": " + split;
    return;
  }
  v.outcome = differs ? status::differs : status::agrees;
  v.reason = convention_of(c);
}

void judge(const case_file& c, const adapter_table& table, const std::vector<mode>& modes,
           verdict& v) {
  const auto found = table.find(c.op);
  if (found == table.end()) throw unsupported("no adapter for " + c.op);
  if (has_convention(c))
    check_own_convention(c, found->second, modes, v);
  else
    check_case(c, found->second, modes, v);
}

}  // namespace

const char* name_of(status s) {
  switch (s) {
    case status::passed:
      return "passed";
    case status::failed:
      return "failed";
    case status::skipped:
      return "skipped";
    case status::agrees:
      return "agrees";
    case status::differs:
      break;
  }
  return "differs";
}

std::vector<mode> all_modes() {
  std::vector<mode> modes;
  for (const bool single : {false, true})
    for (const softlook::instruction_set isa : softlook::available_instruction_sets())
      for (const mode::path how : {mode::path::naive, mode::path::tiled, mode::path::smallest_tiles,
                                   mode::path::few_queries, mode::path::automatic})
        modes.push_back({how, isa, single});
  return modes;
}

verdict run_file(const std::filesystem::path& file, const std::string& name,
                 const adapter_table& table, const std::vector<mode>& modes) {
  verdict v;
  v.file = name;
  try {
    judge(read_case(file), table, modes, v);
  } catch (const unsupported& e) {
    v.outcome = status::skipped;
    v.reason = e.what();
  } catch (const case_error& e) {
    v.outcome = status::failed;
    v.reason = e.what();
  } catch (const std::exception& e) {
    v.outcome = status::failed;
    v.reason = file.string() + ":1: " + e.what();
  }
  // It may quote the file, which comes from elsewhere, and goes to a terminal.
  v.reason = softlook::inspect::printable(v.reason);
  return v;
}

}  // namespace conformance
