#pragma once

#include <climits>
#include <tuple>
#include <type_traits>

#include "softlook/core/concepts.hpp"
#include "softlook/mpi/partition.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace mpi {

/// \addtogroup mpi
/// \{

/// How rows of other ranks are met.
///   gather  keys and values of one head after the other come to every rank, the next ones beside
///           the work with these; the bits of one process
///   heads   every rank takes some heads of all rows (an all-to-all before and one behind), where
///           ranks divide the heads of keys; the bits of one process
///   ring    pieces of keys and values pass from rank to rank, and states are merged in a fixed
///           tree: memory O(n/P), bits that depend on the number of pieces alone
/// \see Liu et al., "Ring Attention", 2023; Jacobs et al., "DeepSpeed Ulysses", 2023; Dubey et al.,
///      "The Llama 3 Herd of Models", 2024, section 3.3.2 (gather).
enum class method { automatic, gather, heads, ring };

[[nodiscard]] constexpr const char* name_of(method m) {
  switch (m) {
    case method::gather:
      return "gather";
    case method::heads:
      return "heads";
    case method::ring:
      return "ring";
    case method::automatic:
      break;
  }
  return "automatic";
}

struct traffic;

/// What the model of costs believes of a machine: for the choice of a method, and for plans of
/// machines that are elsewhere.
struct machine {
  double flops = 5e10;            ///< of a rank, in a second
  double bytes_per_second = 1e9;  ///< of a rank's link
  double latency = 5e-6;          ///< of a message, in seconds
  double memory = 4e9;            ///< bytes of a rank for rows of others
};

/// Pieces of a ring, and of the keys in decoding, where mpi::options do not say.
inline constexpr index ring_pieces = 64;
inline constexpr index decoding_pieces = 16;

/// A policy of the calls in mpi/, beside those that the call of one process takes. The same on
/// every rank.
struct options {
  mpi::method method = method::automatic;
  index pieces = 0;                 ///< of the keys, for ring (0: 64) and decoding (0: 16)
  mpi::machine machine{};           ///< automatic: what decides
  index message_rows = INT_MAX;     ///< of a message at most; longer ones are cut
  mpi::traffic* traffic = nullptr;  ///< is told what this rank sent and waited for; a rank's own
};

/// Where the rows of queries and of keys lie: one partition of both, or one for each (cross
/// attention).
struct partitions {
  partition queries;
  partition keys;
  partitions(const partition& both) : queries(both), keys(both) {}  // NOLINT
  partitions(const partition& of_queries, const partition& of_keys)
      : queries(of_queries), keys(of_keys) {}
};

/// \}

}  // namespace mpi
namespace detail {

template <class P>
inline constexpr bool is_mpi_options = std::is_same_v<P, mpi::options>;

/// The mpi::options among policies, or the defaults.
template <class... Ps>
[[nodiscard]] mpi::options mpi_options_of(const Ps&... ps) {
  mpi::options given;
  const auto look = [&](const auto& p) {
    if constexpr (is_mpi_options<std::remove_cvref_t<decltype(p)>>) given = p;
  };
  (look(ps), ...);
  return given;
}

template <class P>
[[nodiscard]] auto unless_mpi_options(const P& p) {
  if constexpr (is_mpi_options<P>)
    return std::tuple<>();
  else
    return std::tuple<const P&>(p);
}

/// f(policies…) without the mpi::options.
template <class F, class... Ps>
decltype(auto) with_call_policies(const F& f, const Ps&... ps) {
  return std::apply(f, std::tuple_cat(unless_mpi_options(ps)...));
}

/// Whether a policy has a place where rows lie on ranks, which give them their positions.
template <class... Ps>
constexpr bool check_mpi_policies() {
  constexpr bool one_options = (int(is_mpi_options<Ps>) + ... + 0) <= 1;
  constexpr bool placed = !((std::is_same_v<Ps, frame> || std::is_same_v<Ps, segments> ||
                             std::is_same_v<Ps, padded_batch>) ||
                            ...);
  static_assert(one_options, "softlook: give at most one mpi::options{…}");
  static_assert(placed,
                "softlook: rows on several ranks have the positions that their partition gives "
                "them: leave frame{…} out, and say segments{…} and padded_batch{…} as a mask of "
                "the whole sequence, as masks::documents or masks::padding");
  return one_options && placed;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
