#pragma once

#include <cstddef>

namespace bench {

/// Counts heap bytes from its construction on: those of malloc and its relatives, hence of operator
/// new too, in all threads and all libraries of the program. Memory on the stack is not seen.
class allocation_peak {
 public:
  allocation_peak();
  ~allocation_peak();
  allocation_peak(const allocation_peak&) = delete;
  allocation_peak& operator=(const allocation_peak&) = delete;

  /// The most bytes held at any one time beyond those held at the start.
  [[nodiscard]] std::size_t bytes() const;
};

}  // namespace bench
