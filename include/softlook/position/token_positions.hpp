#pragma once

#include <concepts>
#include <span>
#include <string>

#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup positional
/// \{

/// Positions of the rows of a matrix: first, first + 1, …, or one for each row (a view).
class token_positions {
 public:
  token_positions(index first = 0) : first_(first) {}
  template <class Each>
    requires std::convertible_to<const Each&, std::span<const index>>
  token_positions(const Each& each) : each_(each), given_(true) {}

  [[nodiscard]] index operator[](index row) const {
    return given_ ? each_[static_cast<std::size_t>(row)] : first_ + row;
  }

  /// \throws shape_error  unless a position is given for each row.
  void check_rows(const char* where, index rows) const {
    if (given_)
      detail::check_sizes(where, "positions.size()", static_cast<long long>(each_.size()),
                          "X.rows()", rows, "every row has a position");
  }
  /// \throws argument_error  unless the positions of all rows lie in a table of `size` rows.
  void check_within(const char* where, index rows, index size) const {
    const auto check = [&](index position) {
      if (position < 0 || position >= size)
        detail::raise_argument(where, "position", double(position),
                               "the table has " + std::to_string(size) + " positions, from 0 on");
    };
    if (rows == 0) return;
    if (given_) {
      for (const index position : each_) check(position);
    } else {
      check(first_);
      if (rows > size - first_) check(size);
    }
  }

 private:
  index first_ = 0;
  std::span<const index> each_{};
  bool given_ = false;
};

/// \}

SOFTLOOK_NAMESPACE_END
