#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "softlook/core/error.hpp"
#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Part number `part` of n rows that are cut into `parts`: from ⌊part·n/parts⌋ up to
/// ⌊(part + 1)·n/parts⌋.
/// Every cut into a multiple of parts has these ends too.
[[nodiscard]] constexpr range cut_evenly(index n, index parts, index part) {
  // n = q·parts + r: no product exceeds n + parts².
  const index q = n / parts, r = n % parts;
  return {part * q + part * r / parts, (part + 1) * q + (part + 1) * r / parts};
}

/// The part that holds a row.
[[nodiscard]] constexpr index part_of_row(index n, index parts, index row) {
  return ((row + 1) * parts - 1) / n;
}

}  // namespace detail
namespace mpi {

/// \addtogroup mpi
/// \{

/// Rows of a rank that follow one another in equal steps.
struct row_run {
  index local = 0;   ///< the first, of the rank's matrix
  index global = 0;  ///< the first, of the sequence
  index stride = 1;  ///< between rows of the sequence
  index count = 0;

  /// The positions that they span.
  [[nodiscard]] constexpr range hull() const {
    return count > 0 ? range{global, global + (count - 1) * stride + 1} : range{global, global};
  }
  friend constexpr bool operator==(const row_run&, const row_run&) = default;
};

/// Where a row of the sequence lies.
struct row_place {
  int rank = 0;
  index row = 0;
  friend constexpr bool operator==(const row_place&, const row_place&) = default;
};

enum class partition_kind { contiguous, zigzag, striped, of_counts };

/// Which rows of a sequence each rank holds, in which order: a value, the same on every rank.
///   contiguous  rank r of P has the rows from ⌊r·n/P⌋ up to ⌊(r + 1)·n/P⌋
///   zigzag      chunks r and 2P − 1 − r of 2P: the same work for each rank under a causal mask
///   striped     rows r, r + P, r + 2P, …: the same, finer
///   of_counts   as many as are said, rank after rank
/// Every row lies on one rank; n need not be a multiple of anything, and ranks may have none.
/// \see Liu et al., "Ring Attention", 2023; Brandon et al., "Striped Attention", 2023.
class partition {
 public:
  /// \throws argument_error unless n ≥ 0, below 2³¹, and ranks ≥ 1.
  [[nodiscard]] static partition contiguous(index n, int ranks) {
    return partition(partition_kind::contiguous, n, ranks);
  }
  [[nodiscard]] static partition zigzag(index n, int ranks) {
    return partition(partition_kind::zigzag, n, ranks);
  }
  [[nodiscard]] static partition striped(index n, int ranks) {
    return partition(partition_kind::striped, n, ranks);
  }
  /// \throws argument_error unless there is a count and none is negative.
  [[nodiscard]] static partition of_counts(const std::vector<index>& counts) {
    index n = 0;
    for (const index count : counts) {
      if (count < 0)
        softlook::detail::raise_argument("mpi::partition::of_counts", "a count", double(count),
                                         "a rank has at least 0 rows");
      n += count;
    }
    partition p(partition_kind::of_counts, n, int(counts.size()));
    p.ends_.reserve(counts.size());
    index end = 0;
    for (const index count : counts) p.ends_.push_back(end += count);
    return p;
  }

  [[nodiscard]] partition_kind kind() const { return kind_; }
  /// Of the sequence; of one rank.
  [[nodiscard]] index rows() const { return n_; }
  [[nodiscard]] index rows(int rank) const {
    index count = 0;
    for (const row_run& run : runs(rank)) count += run.count;
    return count;
  }
  [[nodiscard]] int ranks() const { return ranks_; }

  /// The rows of a rank, at most two runs; none is empty.
  [[nodiscard]] std::vector<row_run> runs(int rank) const {
    check_rank(rank);
    std::vector<row_run> all;
    const auto add = [&](index global, index stride, index count) {
      if (count < 1) return;
      const index local = all.empty() ? 0 : all.back().local + all.back().count;
      all.push_back({local, global, stride, count});
    };
    const auto add_range = [&](range r) { add(r.begin, 1, r.count()); };
    const index P = ranks_;
    switch (kind_) {
      case partition_kind::contiguous:
        add_range(softlook::detail::cut_evenly(n_, P, rank));
        break;
      case partition_kind::zigzag:
        add_range(softlook::detail::cut_evenly(n_, 2 * P, rank));
        add_range(softlook::detail::cut_evenly(n_, 2 * P, 2 * P - 1 - rank));
        break;
      case partition_kind::striped:
        add(rank, P, (n_ - rank + P - 1) / P);
        break;
      case partition_kind::of_counts:
        add_range({rank > 0 ? ends_[std::size_t(rank - 1)] : 0, ends_[std::size_t(rank)]});
        break;
    }
    return all;
  }

  /// The position of row i of a rank.
  /// \throws argument_error for a row that the rank does not have.
  [[nodiscard]] index global(int rank, index i) const {
    for (const row_run& run : runs(rank))
      if (i >= run.local && i < run.local + run.count)
        return run.global + (i - run.local) * run.stride;
    softlook::detail::raise_argument(
        "mpi::partition::global", "i", double(i),
        softlook::detail::formatted("rank %d has %td rows", rank, rows(rank)).text);
  }
  /// The inverse of global().
  /// \throws argument_error for a position outside the sequence.
  [[nodiscard]] row_place place_of(index position) const {
    if (position < 0 || position >= n_)
      softlook::detail::raise_argument(
          "mpi::partition::place_of", "position", double(position),
          softlook::detail::formatted("the sequence has %td rows", n_).text);
    if (kind_ == partition_kind::striped) return {int(position % ranks_), position / ranks_};
    int rank = 0;
    if (kind_ == partition_kind::of_counts) {
      rank = int(std::upper_bound(ends_.begin(), ends_.end(), position) - ends_.begin());
    } else {
      const index parts = kind_ == partition_kind::zigzag ? 2 * ranks_ : ranks_;
      const index part = softlook::detail::part_of_row(n_, parts, position);
      rank = int(part < ranks_ ? part : parts - 1 - part);
    }
    for (const row_run& run : runs(rank))
      if (position >= run.global && position < run.global + run.count)
        return {rank, run.local + position - run.global};
    return {rank, 0};  // never: the runs of all ranks cover the sequence
  }

  friend bool operator==(const partition&, const partition&) = default;

 private:
  partition(partition_kind kind, index n, int ranks) : kind_(kind), n_(n), ranks_(ranks) {
    if (n < 0 || n > std::numeric_limits<std::int32_t>::max())
      softlook::detail::raise_argument("mpi::partition", "n", double(n),
                                       "a sequence has between 0 and 2147483647 rows");
    if (ranks < 1)
      softlook::detail::raise_argument("mpi::partition", "ranks", double(ranks),
                                       "there is at least 1 rank");
  }
  void check_rank(int rank) const {
    if (rank < 0 || rank >= ranks_)
      softlook::detail::raise_argument(
          "mpi::partition", "rank", double(rank),
          softlook::detail::formatted("there are %d ranks", ranks_).text);
  }

  partition_kind kind_;
  index n_;
  int ranks_;
  std::vector<index> ends_;
};

/// \}

}  // namespace mpi
SOFTLOOK_NAMESPACE_END
