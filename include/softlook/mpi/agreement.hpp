#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <string_view>
#include <vector>

#include "softlook/mpi/communicator.hpp"

// What ranks agree on before anything moves: a call whose arguments differ from rank to rank, or
// are wrong on one of them, throws the same exception on all, and nothing has been sent. Without it
// a row too few on one rank is a silent wrong answer, and one too many ends some programs.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// FNV-1a, for what is compared and not shown.
[[nodiscard]] constexpr std::uint64_t hash_of(std::string_view text,
                                              std::uint64_t from = 1469598103934665603U) {
  for (const char c : text) from = (from ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return from;
}
[[nodiscard]] constexpr std::uint64_t hash_of(std::uint64_t word,
                                              std::uint64_t from = hash_of("")) {
  for (int byte = 0; byte < 8; ++byte) from = (from ^ (word >> (8 * byte) & 255)) * 1099511628211U;
  return from;
}

/// What a rank says of its call. Facts are named in the same order on every rank.
class call_facts {
 public:
  static constexpr std::size_t most = 32;
  enum class kind : std::uint8_t { size, hash, least };

  /// A number that every rank must give alike, and that a message shows.
  void same(const char* name, index value, const char* rule) { add(name, value, rule, kind::size); }
  /// The same, of what has no number that a reader would know.
  void same_hash(const char* name, std::uint64_t value, const char* rule) {
    add(name, static_cast<std::int64_t>(value), rule, kind::hash);
  }
  /// A number that may differ: agreed(i) is the smallest. \return i.
  std::size_t least(const char* name, index value) {
    add(name, value, "", kind::least);
    return count_ - 1;
  }
  /// After an agreement.
  [[nodiscard]] index agreed(std::size_t i) const { return index(values_[i]); }

 private:
  friend class agreement_round;

  void add(const char* name, std::int64_t value, const char* rule, kind k) {
    if (count_ == most) raise<argument_error>("softlook: a call has too many facts");
    names_[count_] = name;
    rules_[count_] = rule;
    kinds_[count_] = k;
    values_[count_++] = value;
  }

  std::size_t count_ = 0;
  std::array<std::int64_t, most> values_{};
  std::array<const char*, most> names_{}, rules_{};
  std::array<kind, most> kinds_{};
};

/// An exception as it travels.
struct carried_error {
  enum : std::int32_t { shape, argument, memory, mpi_failed, other } kind = other;
  std::int32_t code = 0;
  char text[1024] = "";

  /// Of the exception that is being handled.
  [[nodiscard]] static carried_error of(const std::exception_ptr& given) {
    carried_error e;
    const auto keep = [&](decltype(shape) which, const char* what) {
      e.kind = which;
      std::snprintf(e.text, sizeof e.text, "%s", what);
    };
    try {
      std::rethrow_exception(given);
    } catch (const shape_error& x) {
      keep(shape, x.what());
    } catch (const argument_error& x) {
      keep(argument, x.what());
    } catch (const std::bad_alloc& x) {
      keep(memory, x.what());
    } catch (const mpi::mpi_error& x) {
      keep(mpi_failed, x.what());
      e.code = x.code();
    } catch (const std::exception& x) {
      keep(other, x.what());
    } catch (...) {
      keep(other, "an exception that is no std::exception");
    }
    return e;
  }

  [[noreturn]] void raise_as_of(int rank) const {
    if (kind == memory) throw std::bad_alloc();
    const message m = formatted("%s [rank %d]", text, rank);
    if (kind == shape) throw shape_error(m.text);
    if (kind == argument) throw argument_error(m.text);
    if (kind == mpi_failed) throw mpi::mpi_error(m.text, code, rank);
    throw std::runtime_error(m.text);
  }
};

/// One round: an all-reduce of some hundred bytes, and more only where something is wrong.
class agreement_round {
 public:
  agreement_round(const mpi::communicator& comm, const char* where) : comm_(comm), where_(where) {}

  /// Collective. All ranks return, or all throw the same: the error of the first rank that has
  /// one, or what tells the first rank whose facts differ from those of rank 0.
  void conclude(call_facts& facts, const std::exception_ptr& error) const {
    if (comm_.size() == 1) {
      if (error) std::rethrow_exception(error);
      return;
    }
    // Largest and smallest of each word: max(~x) is ~min(x).
    constexpr std::size_t words = 2 * (call_facts::most + 1);
    std::array<std::int64_t, words + 1> said{}, of_all{};
    const auto call = static_cast<std::int64_t>(hash_of(facts.count_, hash_of(where_)));
    said[words] = error ? comm_.size() - comm_.rank() : 0;
    for (std::size_t i = 0; i <= facts.count_; ++i) {
      const std::int64_t x = i == 0 ? call : facts.values_[i - 1];
      said[2 * i] = x;
      said[2 * i + 1] = ~x;
    }
    check("MPI_Allreduce", MPI_Allreduce(said.data(), of_all.data(), int(said.size()), MPI_INT64_T,
                                         MPI_MAX, comm_.handle()));
    // First of all: a rank with an error has said nothing else.
    if (of_all[words] > 0) raise_error_of(comm_.size() - int(of_all[words]), error);
    if (of_all[0] != ~of_all[1]) raise_other_call(facts, call);
    for (std::size_t i = 0; i < facts.count_; ++i) {
      if (facts.kinds_[i] != call_facts::kind::least && of_all[2 * i + 2] != ~of_all[2 * i + 3])
        raise_difference(facts, call);
      facts.values_[i] = ~of_all[2 * i + 3];
    }
  }

 private:
  void check(const char* function, int code) const { check_mpi(code, function, comm_.rank()); }

  [[noreturn]] void raise_error_of(int rank, const std::exception_ptr& error) const {
    carried_error e;
    if (rank == comm_.rank()) e = carried_error::of(error);
    check("MPI_Bcast", MPI_Bcast(&e, int(sizeof e), MPI_BYTE, rank, comm_.handle()));
    e.raise_as_of(rank);
  }

  /// The facts of every rank, rank after rank.
  [[nodiscard]] std::vector<std::int64_t> gathered(const call_facts& facts,
                                                   std::int64_t call) const {
    constexpr std::size_t each = call_facts::most + 1;
    std::array<std::int64_t, each> mine{};
    mine[0] = call;
    for (std::size_t i = 0; i < facts.count_; ++i) mine[i + 1] = facts.values_[i];
    std::vector<std::int64_t> all(each * std::size_t(comm_.size()));
    check("MPI_Allgather", MPI_Allgather(mine.data(), int(each), MPI_INT64_T, all.data(), int(each),
                                         MPI_INT64_T, comm_.handle()));
    return all;
  }

  [[noreturn]] void raise_other_call(const call_facts& facts, std::int64_t call) const {
    const std::vector<std::int64_t> all = gathered(facts, call);
    std::size_t rank = 0;
    while (all[rank * (call_facts::most + 1)] == all[0]) ++rank;
    // Every rank knows its own function alone, so the text names none of them.
    raise<argument_error>(
        formatted("softlook::mpi: rank %zu calls another function than rank 0, or gives it other "
                  "kinds of arguments (all ranks of a communicator make the same calls)",
                  rank)
            .text);
  }

  [[noreturn]] void raise_difference(const call_facts& facts, std::int64_t call) const {
    constexpr std::size_t each = call_facts::most + 1;
    const std::vector<std::int64_t> all = gathered(facts, call);
    for (std::size_t rank = 1;; ++rank)
      for (std::size_t i = 0; i < facts.count_; ++i) {
        const std::int64_t here = all[rank * each + i + 1], first = all[i + 1];
        if (here == first || facts.kinds_[i] == call_facts::kind::least) continue;
        if (facts.kinds_[i] == call_facts::kind::hash)
          raise<argument_error>(formatted("%s: %s on rank %zu is not that on rank 0 (%s)", where_,
                                          facts.names_[i], rank, facts.rules_[i])
                                    .text);
        raise<shape_error>(formatted("%s: %s is %lld on rank %zu but %lld on rank 0 (%s)", where_,
                                     facts.names_[i], static_cast<long long>(here), rank,
                                     static_cast<long long>(first), facts.rules_[i])
                               .text);
      }
  }

  const mpi::communicator& comm_;
  const char* where_;
};

/// Collective. f(facts) checks what a rank can check alone, makes its buffers, and says its facts;
/// it may throw on some ranks only. All ranks return the facts that they agree on, or all throw the
/// same. f must not communicate.
template <class F>
call_facts agree(const mpi::communicator& comm, const char* where, const F& f) {
  call_facts facts;
  std::exception_ptr error;
  try {
    f(facts);
  } catch (...) {
    error = std::current_exception();
    facts = {};  // what was said until then is no longer of interest
  }
  const agreement_round round(comm, where);
  round.conclude(facts, error);
  return facts;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
