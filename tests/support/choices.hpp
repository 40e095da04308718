// The decisions of a randomised test. A test builds its case from numbers below bounds that it asks
// for, so a case is the list of its decisions: drawn from a seed, given by the bytes of a fuzzer,
// or kept from a case that failed (tests/soak), which then can be made smaller without knowing what
// it is. 0 is the plainest answer to every question.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/random.hpp"

namespace softlook_test {

/// What a case found wrong, where no test of GoogleTest runs.
struct finding : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class choices {
 public:
  /// One decision: a number in [0, count).
  struct decision {
    std::uint64_t value = 0, count = 1;
  };

  static choices drawn(std::uint64_t seed) {
    choices c;
    c.from_ = source::seed;
    c.random_ = generator(seed);
    return c;
  }
  /// Behind the end of the list every answer is 0.
  static choices kept(std::vector<std::uint64_t> values) {
    choices c;
    c.from_ = source::list;
    c.list_ = std::move(values);
    return c;
  }
  /// As many bytes as a bound needs, the highest first; behind the end zeros.
  static choices of_bytes(std::span<const std::uint8_t> bytes) {
    choices c;
    c.from_ = source::bytes;
    c.bytes_ = bytes;
    return c;
  }

  std::uint64_t below(std::uint64_t count) {
    const std::uint64_t value = next(count) % count;
    taken_.push_back({value, count});
    return value;
  }
  /// What was decided so far.
  [[nodiscard]] const std::vector<decision>& taken() const { return taken_; }
  /// Whether the list or the bytes are used up.
  [[nodiscard]] bool done() const {
    return from_ == source::list    ? at_ >= list_.size()
           : from_ == source::bytes ? at_ >= bytes_.size()
                                    : false;
  }

  /// One of first … last.
  Eigen::Index integer(Eigen::Index first, Eigen::Index last) {
    return first + static_cast<Eigen::Index>(below(static_cast<std::uint64_t>(last - first + 1)));
  }
  /// One of 1 … most, or of 1 … 4: small ones as often as large ones, and the neighbours of up to
  /// so many whole registers of eight.
  Eigen::Index size(Eigen::Index most, Eigen::Index registers) {
    switch (integer(0, 3)) {
      case 0:
        return integer(1, 4);
      case 1: {
        const Eigen::Index whole = 8 * integer(1, registers);
        return std::min(most, whole + integer(-1, 1));
      }
      default:
        return integer(1, most);
    }
  }
  unsigned byte() { return static_cast<unsigned>(below(256)); }
  unsigned word() { return static_cast<unsigned>(below(65536)); }
  bool one_in(std::uint64_t count) { return below(count) == count - 1; }
  bool chance(double probability) { return double(below(1024)) >= 1024 * (1 - probability); }
  template <class Value>
  Value one_of(std::initializer_list<Value> values) {
    return *(values.begin() + below(values.size()));
  }
  template <class Value, std::size_t N>
  Value one_of(const Value (&values)[N]) {
    return values[below(N)];
  }
  /// For the numbers of a matrix, which are not worth a decision each.
  generator numbers() { return generator(below(65536)); }

 private:
  enum class source { seed, list, bytes };
  choices() : random_(0) {}

  std::uint64_t next(std::uint64_t count) {
    if (from_ == source::seed) return random_.bits();
    if (from_ == source::list) return at_ < list_.size() ? list_[at_++] : 0;
    std::uint64_t value = 0, reach = 1;
    do {
      value = 256 * value + (at_ < bytes_.size() ? bytes_[at_++] : 0U);
      reach *= 256;
    } while (reach < count);
    return value;
  }

  source from_ = source::seed;
  generator random_;
  std::vector<std::uint64_t> list_;
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  std::vector<decision> taken_;
};

/// The bytes that of_bytes() reads these decisions from.
inline std::vector<std::uint8_t> bytes_of(const std::vector<choices::decision>& decisions) {
  std::vector<std::uint8_t> bytes;
  for (const auto& d : decisions) {
    int width = 1;
    for (std::uint64_t reach = 256; reach < d.count; reach *= 256) ++width;
    for (int k = width; k-- > 0;) bytes.push_back(static_cast<std::uint8_t>(d.value >> (8 * k)));
  }
  return bytes;
}

/// What the cases of a run compared with their truth: calls, for each instruction set.
struct tally {
  std::uint64_t compared[3] = {};
  std::uint64_t refused = 0;  ///< calls that must throw, and did
};
inline tally& tallied() {
  static tally it;
  return it;
}
template <class Set>
void count_compared(Set isa) {
  ++tallied().compared[static_cast<std::size_t>(isa)];
}

}  // namespace softlook_test
