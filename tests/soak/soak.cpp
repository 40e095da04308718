// soak [--seconds S] [--until N] [--first SEED] [--kind KIND] [--out FOLDER]: random cases one
// after the other, each from a seed of its own, until the time is over, N calls have been compared
// on each instruction set, or for ever. soak --replay KIND FILE: one case from its list of
// decisions.
//
// Cases run in a process of their own, so that a crash and a loop without an end are findings too.
// What fails is made small, printed as a test and kept in the folder.

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <string>
#include <thread>

#include "softlook/attention.hpp"
#include "tests/soak/kinds.hpp"
#include "tests/soak/shrink.hpp"

namespace softlook_soak {
namespace {

using softlook_test::choices;
using softlook_test::tally;
using clock = std::chrono::steady_clock;

struct kind {
  const char* name;
  unsigned share;  // of all cases
  case_function run;
  const char* test;  // what a test is written with
};

constexpr const char* of_call =
    "auto from = softlook_test::choices::kept({%s});\n"
    "  softlook_test::call_case::on_all_sets() = true;\n"
    "  softlook_test::call_case::run_any(from);";
constexpr kind kinds[] = {
    {"call", 40, call, of_call},
    {"forward_float", 16, forward_float,
     "softlook_test::replay<softlook_test::random_case<float>>({%s});"},
    {"forward_double", 10, forward_double,
     "softlook_test::replay<softlook_test::random_case<double>>({%s});"},
    {"extreme_float", 4, extreme_float,
     "softlook_test::replay<softlook_test::extreme_case<float>>({%s});"},
    {"extreme_double", 4, extreme_double,
     "softlook_test::replay<softlook_test::extreme_case<double>>({%s});"},
    {"backward_float", 10, backward_float,
     "softlook_test::replay<softlook_test::backward_case<float>>({%s});"},
    {"backward_double", 6, backward_double,
     "softlook_test::replay<softlook_test::backward_case<double>>({%s});"},
    {"layers_float", 7, layers_float,
     "softlook_test::replay<softlook_test::layers_case<float>>({%s});"},
    {"layers_double", 3, layers_double,
     "softlook_test::replay<softlook_test::layers_case<double>>({%s});"},
};
constexpr std::size_t kind_count = std::size(kinds);

struct arguments {
  double seconds = 1e18;
  std::uint64_t until = ~std::uint64_t{0};
  std::uint64_t first = 0;
  const char* kind = nullptr;
  std::string out = ".";
};

/// The kind of a seed's case.
std::size_t kind_of(std::uint64_t seed, const char* wanted) {
  unsigned all = 0;
  for (const kind& k : kinds) all += k.share;
  auto at = unsigned(softlook_test::generator(seed ^ 0x5eed).bits() % all);
  for (std::size_t k = 0; k < kind_count; ++k) {
    if (wanted ? std::strcmp(kinds[k].name, wanted) == 0 : at < kinds[k].share) return k;
    at -= wanted ? 0 : kinds[k].share;
  }
  std::fprintf(stderr, "soak: there is no kind %s\n", wanted);
  std::exit(2);
}

/// What the process that runs cases tells the one that watches it.
struct board {
  std::uint64_t seed = 0;  // that runs
  std::int64_t begun = 0;  // clock ticks
  tally sum{};
  std::uint64_t cases[kind_count] = {};
  char message[4000] = {};
  std::size_t taken_count = 0;
  choices::decision taken[100000];
};

board& shared() {
  static board* const it = [] {
    void* const memory =
        mmap(nullptr, sizeof(board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      std::perror("soak: mmap");
      std::exit(2);
    }
    return new (memory) board;
  }();
  return *it;
}

/// Whether the case passed; what it found and its decisions go to the board.
bool passes(std::size_t which, choices from) {
  board& b = shared();
  const auto tell = [&](const char* what) {
    std::snprintf(b.message, sizeof b.message, "%s", what);
    b.taken_count = std::min(from.taken().size(), std::size(b.taken));
    std::copy_n(from.taken().begin(), b.taken_count, b.taken);
    return false;
  };
  try {
    kinds[which].run(from);
  } catch (const softlook_test::finding& f) {
    return tell(f.what());
  } catch (const std::exception& e) {
    return tell((std::string("an exception: ") + e.what()).c_str());
  }
  return true;
}

/// f() in a process of its own, which ends with this one; its status, or the signal that ended it
/// below 0.
template <class F>
int in_child(double most_seconds, const F& f) {
  board& b = shared();
  b.message[0] = 0;
  b.taken_count = 0;
  b.begun = clock::now().time_since_epoch().count();
  std::fflush(stdout);
  const pid_t parent = getpid(), child = fork();
  if (child < 0) {
    std::perror("soak: fork");
    std::exit(2);
  }
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(3);
    _exit(f());
  }
  int status = 0;
  auto pause = std::chrono::microseconds(100);
  while (waitpid(child, &status, WNOHANG) == 0) {
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::microseconds(100000));
    const auto begun = clock::time_point(clock::duration(static_cast<volatile board&>(b).begun));
    if (clock::now() - begun > std::chrono::duration<double>(most_seconds)) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      std::snprintf(b.message, sizeof b.message, "no end within %g s", most_seconds);
      return -SIGKILL;
    }
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  std::snprintf(b.message, sizeof b.message, "ended by signal %d (%s)", WTERMSIG(status),
                strsignal(WTERMSIG(status)));
  return -WTERMSIG(status);
}

constexpr double longest_case = 60;

std::optional<decisions> fails(std::size_t which, const decisions& given) {
  if (in_child(longest_case, [&] { return passes(which, choices::kept(given)) ? 0 : 1; }) == 0)
    return std::nullopt;
  const board& b = shared();
  if (b.taken_count == 0) return given;
  decisions taken;
  for (std::size_t k = 0; k < b.taken_count; ++k) taken.push_back(b.taken[k].value);
  return taken;
}

std::string joined(const decisions& list, const char* between) {
  std::string text;
  for (const auto x : list) text += (text.empty() ? "" : between) + std::to_string(x);
  return text;
}

void print_test(std::size_t which, std::uint64_t seed, const decisions& list) {
  const std::string numbers = joined(list, ", ");
  std::printf("TEST(Soak, %s%llu) {\n  ", kinds[which].name, static_cast<unsigned long long>(seed));
  std::printf(kinds[which].test, numbers.c_str());  // NOLINT: the formats are those above
  std::printf("\n}\n");
}

/// Makes the case of a seed small and prints and keeps it.
void report(std::uint64_t seed, const arguments& a) {
  const std::size_t which = kind_of(seed, a.kind);
  const std::string found = shared().message;
  std::printf("soak: FAILED, %s, seed %llu: %s\n", kinds[which].name,
              static_cast<unsigned long long>(seed), found.c_str());
  // What choices of a seed draw is a list of decisions as well.
  softlook_test::generator random(seed);
  decisions drawn(4096);
  for (auto& x : drawn) x = random.bits();
  const auto start = fails(which, drawn);
  if (!start) {
    std::printf("soak: it passes alone\n");
    return;
  }
  const decisions small =
      shrinker([&](const decisions& d) { return fails(which, d); }, 3000)(*start);
  fails(which, small);  // once more, for what it says
  const board& b = shared();
  std::printf("soak: made small, %zu decisions: %s\n", small.size(), b.message);
  print_test(which, seed, small);
  const std::string path = a.out + "/" + kinds[which].name + "-" + std::to_string(seed);
  std::ofstream(path + ".txt") << joined(small, " ") << '\n';
  if (which == 0 && b.taken_count > 0) {  // for the corpus of tests/fuzz
    const auto bytes = softlook_test::bytes_of({b.taken, b.taken + b.taken_count});
    std::ofstream(path + ".bytes", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
  }
  std::printf("soak: kept in %s.txt\n", path.c_str());
}

void print_figures(double seconds, std::uint64_t next) {
  const board& b = shared();
  std::uint64_t cases = 0;
  for (const auto c : b.cases) cases += c;
  std::printf("soak: %.0f s, %llu cases, compared", seconds,
              static_cast<unsigned long long>(cases));
  for (const auto isa : softlook::available_instruction_sets())
    std::printf(" %llu on %s,", static_cast<unsigned long long>(b.sum.compared[std::size_t(isa)]),
                softlook::name_of(isa));
  std::printf(" %llu refused; of", static_cast<unsigned long long>(b.sum.refused));
  for (std::size_t k = 0; k < kind_count; ++k)
    std::printf(" %s %llu", kinds[k].name, static_cast<unsigned long long>(b.cases[k]));
  std::printf("; next seed %llu\n", static_cast<unsigned long long>(next));
  std::fflush(stdout);
}

bool enough(std::uint64_t until) {
  for (const auto isa : softlook::available_instruction_sets())
    if (shared().sum.compared[std::size_t(isa)] < until) return false;
  return true;
}

int soak(const arguments& a) {
  const auto start = clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(clock::now() - start).count(); };
  board& b = shared();
  constexpr double between_figures = 60;
  int failed = 0;
  std::uint64_t next = a.first;
  while (elapsed() < a.seconds && !enough(a.until)) {
    const double stop = std::min(a.seconds, elapsed() + between_figures);
    const int status = in_child(longest_case, [&] {
      for (; elapsed() < stop && !enough(a.until); ++next) {
        b.seed = next;
        b.begun = clock::now().time_since_epoch().count();
        const std::size_t which = kind_of(next, a.kind);
        const tally before = softlook_test::tallied();
        if (!passes(which, choices::drawn(next))) return 1;
        const tally& now = softlook_test::tallied();
        for (std::size_t s = 0; s < 3; ++s)
          b.sum.compared[s] += now.compared[s] - before.compared[s];
        b.sum.refused += now.refused - before.refused;
        ++b.cases[which];
      }
      b.seed = next;
      return 0;
    });
    next = b.seed + (status == 0 ? 0 : 1);
    if (status != 0) {
      ++failed;
      report(b.seed, a);
    }
    print_figures(elapsed(), next);
  }
  std::printf("soak: %s, %d failed\n", failed == 0 ? "PASSED" : "FAILED", failed);
  return failed == 0 ? 0 : 1;
}

int replay(const char* name, const char* path) {
  std::ifstream in(path);
  decisions list;
  for (std::uint64_t x = 0; in >> x;) list.push_back(x);
  if (!in.eof() || list.empty()) {
    std::fprintf(stderr, "soak: %s is no list of numbers\n", path);
    return 2;
  }
  const bool good = passes(kind_of(0, name), choices::kept(list));
  std::printf("soak: %s: %s\n", path, good ? "passes" : shared().message);
  return good ? 0 : 1;
}

int run(int argc, char** argv) {
  arguments a;
  const auto is = [&](int k, const char* name) { return std::strcmp(argv[k], name) == 0; };
  if (argc == 4 && is(1, "--replay")) return replay(argv[2], argv[3]);
  for (int k = 1; k < argc; k += 2) {
    const char* const value = k + 1 < argc ? argv[k + 1] : nullptr;
    if (value && is(k, "--seconds"))
      a.seconds = std::atof(value);
    else if (value && is(k, "--until"))
      a.until = std::strtoull(value, nullptr, 10);
    else if (value && is(k, "--first"))
      a.first = std::strtoull(value, nullptr, 10);
    else if (value && is(k, "--kind"))
      a.kind = value;
    else if (value && is(k, "--out"))
      a.out = value;
    else {
      std::fprintf(stderr, "soak: what is %s?\n", argv[k]);
      return 2;
    }
  }
  std::printf("soak: first seed %llu\n", static_cast<unsigned long long>(a.first));
  return soak(a);
}

}  // namespace
}  // namespace softlook_soak

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  return softlook_soak::run(argc, argv);
}
