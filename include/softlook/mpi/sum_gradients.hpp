#pragma once

#include <climits>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>

#include "softlook/core/parameters.hpp"
#include "softlook/mpi/agreement.hpp"
#include "softlook/mpi/detail/packed_rows.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// f(matrix) for those of scalar S.
template <class S, class F, class P>
void for_each_of_scalar(const F& f, P& p) {
  for_each_parameter(
      [&](const std::string&, auto& m) {
        using matrix = std::remove_cvref_t<decltype(m)>;
        if constexpr (std::is_same_v<scalar_of<matrix>, S>) f(m);
      },
      p);
}

/// Numbers of scalar S on their way: each rank adds up a part of them, which all ranks get.
template <class S>
class summed_numbers {
 public:
  template <class P>
  summed_numbers(transfer& messages, const P& p)
      : ranks_(messages.comm().size()), rank_(messages.comm().rank()) {
    for_each_of_scalar<S>([&](const auto& m) { count_ += m.size(); }, p);
    all_ = hold_rows<S>(messages, count_, 1);
    parts_ = hold_rows<S>(messages, own().count() * ranks_, 1);
  }

  template <class P>
  void begin(transfer& messages, const P& p) {
    S* to = numbers(all_);
    for_each_of_scalar<S>(
        [&](const auto& m) {
          if (m.size() > 0) std::memcpy(to, m.data(), std::size_t(m.size()) * sizeof(S));
          to += m.size();
        },
        p);
    for_each_peer(
        messages.comm(), [&](int from) { messages.receive(part(from), from, tag_values); },
        [&](int rank) { messages.send(of_rank(rank), rank, tag_values); });
    if (own().count() > 0)
      std::memcpy(part(rank_).data, of_rank(rank_).data, std::size_t(own().count()) * sizeof(S));
  }
  /// Behind a wait.
  void share(transfer& messages) {
    S* const x = numbers(parts_);
    const index n = own().count();
    for (int apart = 1; apart < ranks_; apart *= 2)  // of 2k and 2k + 1 first
      for (int left = 0; left + apart < ranks_; left += 2 * apart)
        for (index k = 0; k < n; ++k) x[left * n + k] += x[(left + apart) * n + k];
    if (n > 0) std::memcpy(of_rank(rank_).data, x, std::size_t(n) * sizeof(S));
    for_each_peer(
        messages.comm(), [&](int from) { messages.receive(of_rank(from), from, tag_values); },
        [&](int rank) { messages.send(of_rank(rank_), rank, tag_values); });
  }
  template <class P>
  void write(P& p) const {
    const S* from = numbers(all_);
    for_each_of_scalar<S>(
        [&](auto& m) {
          if (m.size() > 0) std::memcpy(m.data(), from, std::size_t(m.size()) * sizeof(S));
          from += m.size();
        },
        p);
  }

 private:
  [[nodiscard]] static S* numbers(const row_buffer<S>& of) { return of.writable().data; }
  [[nodiscard]] range own() const { return cut_evenly(count_, ranks_, rank_); }
  [[nodiscard]] byte_rows of_rank(int rank) const {
    const range r = cut_evenly(count_, ranks_, rank);
    return all_.all().from(r.begin, r.count());
  }
  [[nodiscard]] byte_rows part(int from) const {
    return parts_.all().from(from * own().count(), own().count());
  }

  int ranks_;
  int rank_;
  index count_ = 0;
  row_buffer<S> all_, parts_;  // parts: of this rank's numbers, those of every rank
};

}  // namespace detail
namespace mpi {

/// \addtogroup mpi
/// \{

/// The sums over ranks of all matrices of a struct of weights, gradients = Σ_r gradients of rank r,
/// on every rank: what a step of data-parallel training takes, behind the way back. Collective.
///
/// Numbers travel packed, those of all matrices together; each rank adds up one part of them, and
/// sends it to the others. Brackets are those of a binary tree over ranks, ((0 + 1) + (2 + 3)) + …,
/// so that every rank has the same bits, the same in every run; an MPI_Op promises neither. Other
/// numbers of ranks add otherwise. Gradients are sums, not means: divide the loss by what all ranks
/// have.
/// \param gradients  a struct with visit() (core/parameters.hpp), of float and double matrices.
/// \throws shape_error, argument_error  on all ranks, unless all give the same struct of the same
///         shapes. mpi_error.
/// Cost: 2·(P − 1)/P of the numbers sent and received by each rank, in 2·(P − 1) messages.
template <parameter_struct P>
void sum_gradients(const communicator& comm, P& gradients, index message_rows = INT_MAX) {
  using softlook::detail::summed_numbers;
  constexpr const char* where = "mpi::sum_gradients";
  softlook::detail::transfer messages(comm, message_rows);
  std::optional<summed_numbers<float>> floats;
  std::optional<summed_numbers<double>> doubles;
  softlook::detail::agree(comm, where, [&](softlook::detail::call_facts& f) {
    if (message_rows < 1)
      softlook::detail::raise_argument(where, "message_rows", double(message_rows),
                                       "a message has at least 1 row");
    std::uint64_t shapes = softlook::detail::hash_of("");
    for_each_parameter(
        [&](const std::string& name, const auto& m) {
          using S = typename std::remove_cvref_t<decltype(m)>::Scalar;
          static_assert(std::is_same_v<S, float> || std::is_same_v<S, double>,
                        "softlook: mpi::sum_gradients() adds matrices of float and double");
          shapes = softlook::detail::hash_of(name, shapes);
          for (const auto x : {m.rows(), m.cols(), index(sizeof(S))})
            shapes = softlook::detail::hash_of(std::uint64_t(x), shapes);
        },
        gradients);
    f.same("the number of weights", parameter_count(gradients), "gradients of one model are added");
    f.same_hash("a name or shape of a matrix", shapes, "gradients of one model are added");
    floats.emplace(messages, gradients);
    doubles.emplace(messages, gradients);
  });
  if (comm.size() == 1) return;
  floats->begin(messages, gradients);
  doubles->begin(messages, gradients);
  messages.wait();
  floats->share(messages);
  doubles->share(messages);
  messages.wait();
  floats->write(gradients);
  doubles->write(gradients);
}

/// \}

}  // namespace mpi
SOFTLOOK_NAMESPACE_END
