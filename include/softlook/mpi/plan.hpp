#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "softlook/mpi/options.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace mpi {

/// \addtogroup mpi
/// \{

/// What decides how long attention over ranks takes.
struct attention_sizes {
  index queries = 0;  ///< of the whole sequence
  index keys = 0;
  index features = 0;  ///< of a head
  index values = 0;
  index query_heads = 1;
  index kv_heads = 1;
  index scalar_bytes = 4;
  int ranks = 1;
  double live = 1;     ///< of the pairs of queries and keys, the share that a mask leaves
  double busiest = 1;  ///< work of the busiest rank / mean
  index runs = 1;      ///< of the rows of a rank: 2 for a zigzag
};

/// How a call over ranks goes, and what it costs one of them, by a model:
///   work      2·n·m·(d + e)·H·live / (P·flops), times busiest where ranks work on their own rows
///   transfer  bytes received / bytes_per_second + messages · latency
/// A gather's first head waits for its keys, the others travel beside the work with the one before;
/// pieces of a ring travel beside the work with the piece before; heads wait for all.
struct attention_plan {
  mpi::method method = method::gather;
  double messages = 0;        ///< received by a rank
  double bytes_received = 0;  ///< by a rank
  double bytes_held = 0;      ///< for rows of others, and of states
  double work_seconds = 0;    ///< of the busiest rank
  double seconds = 0;         ///< of the call
  double busiest = 1;         ///< work of the busiest rank / mean
  std::string reason{};
};

/// The cost of one method, possible or not.
[[nodiscard]] inline attention_plan cost_of(method which, const attention_sizes& s,
                                            const options& how = {}) {
  const double P = s.ranks, n = double(s.queries), m = double(s.keys);
  const double H = double(s.query_heads), G = double(s.kv_heads), b = double(s.scalar_bytes);
  const double row = double(s.features + s.values), others = (P - 1) / P;
  const machine& on = how.machine;
  attention_plan p;
  p.method = which;
  p.busiest = which == method::heads ? 1 : s.busiest;
  p.work_seconds = 2 * n * m * row * H * s.live * p.busiest / P / on.flops;
  const auto transfer = [&] {
    return p.bytes_received / on.bytes_per_second + p.messages * on.latency;
  };
  switch (which) {
    case method::heads:
      p.bytes_received = b * others * row * (n * H + m * G) / P;
      p.messages = 4 * (P - 1) * double(s.runs);
      p.bytes_held = b * row * (2 * n * H + 2 * m * G) / P;
      p.seconds = transfer() + p.work_seconds;
      break;
    case method::ring: {
      const double pieces = double(how.pieces > 0 ? how.pieces : ring_pieces);
      const double levels = 1 + std::ceil(std::log2(pieces));
      p.bytes_received = b * m * G * row * others;
      p.messages = P - 1;
      p.bytes_held = 2 * b * m / P * G * row + b * levels * n / P * H * double(s.values + 1);
      // Measured with 64 values: what merging a number of a state takes, in multiply-adds and
      // additions of the kernel.
      constexpr double merged_number = 350;
      const double merging = merged_number * pieces * n / P * H * double(s.values + 1) / on.flops;
      p.seconds = std::max(p.work_seconds, transfer()) + merging;
      break;
    }
    case method::automatic:
    case method::gather:
      p.method = method::gather;
      p.bytes_received = b * m * G * row * others;
      p.messages = 2 * G * (P - 1) * double(s.runs);
      p.bytes_held = s.ranks == 1 ? 0 : b * m * row * std::min(G, 2.0);
      p.seconds =
          transfer() / G + p.work_seconds / G + (G - 1) / G * std::max(transfer(), p.work_seconds);
      break;
  }
  return p;
}

/// Which method, and why.
/// \throws argument_error  where options ask for heads and ranks do not divide the heads of keys.
[[nodiscard]] inline attention_plan plan_attention(const attention_sizes& s,
                                                   const options& how = {}) {
  const bool divide = s.kv_heads % s.ranks == 0;
  const auto because = [](attention_plan p, const char* text) {
    p.reason = text;
    return p;
  };
  if (how.method == method::heads && !divide)
    softlook::detail::raise_argument(
        "mpi::attention", "mpi::options.method heads with the number of key heads",
        double(s.kv_heads),
        softlook::detail::formatted("the %d ranks must divide it", s.ranks).text);
  if (how.method != method::automatic)
    return because(cost_of(how.method, s, how), "mpi::options.method asks for it");
  const attention_plan gather = cost_of(method::gather, s, how);
  if (s.ranks == 1) return because(gather, "one rank: nothing moves");
  const attention_plan heads = cost_of(method::heads, s, how);
  const bool gather_fits = gather.bytes_held <= how.machine.memory;
  const bool heads_fit = divide && heads.bytes_held <= how.machine.memory;
  const auto say = [&](const attention_plan& p, const char* other, double seconds) {
    return because(p, softlook::detail::formatted(
                          "%s takes %.3g s by the model of costs, %s %.3g s: %s", name_of(p.method),
                          p.seconds, other, seconds,
                          p.method == method::heads
                              ? "it moves fewer bytes, and masks leave all heads the same work"
                              : "keys of the next head travel beside the work")
                          .text);
  };
  if (gather_fits && heads_fit)
    return heads.seconds < gather.seconds ? say(heads, "gather", gather.seconds)
                                          : say(gather, "heads", heads.seconds);
  if (gather_fits)
    return because(gather, divide ? "columns of heads of all rows do not fit into machine.memory"
                                  : "the ranks do not divide the heads of keys");
  if (heads_fit) return because(heads, "keys and values of a head do not fit into machine.memory");
  return because(
      cost_of(method::ring, s, how),
      "keys and values of a head do not fit into machine.memory: pieces of them pass by");
}

/// \}

}  // namespace mpi
SOFTLOOK_NAMESPACE_END
