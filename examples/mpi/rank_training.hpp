#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <softlook/mpi.hpp>
#include <softlook/mpi/transformer_gradients.hpp>

#include "examples/characters/model.hpp"
#include "examples/characters/text.hpp"
#include "examples/training/cross_entropy.hpp"
#include "examples/training/optimiser.hpp"

namespace characters {

/// The training of characters::training over the ranks of an MPI program: groups of `sequence`
/// ranks share the pieces of a batch (data-parallel), and the ranks of a group the rows of these
/// pieces (sequence-parallel). Every rank has all weights, and draws the same batches. What a rank
/// adds to the gradients is added up over all ranks, with the loss, in one packed sum of fixed
/// order; so all ranks take the same step, bit for bit.
class rank_training {
 public:
  /// Collective. \throws softlook::argument_error  unless `sequence` divides the number of ranks.
  rank_training(const softlook::mpi::communicator& world, int sequence, const sizes& s,
                examples::generator& random)
      : world_(world),
        group_(world.rank() / checked(sequence, world)),
        groups_(world.size() / sequence),
        of_sequence_(part_of(world, group_)),
        heads_(s.heads),
        weights_(first_weights<float>(s, random)),
        optimiser_(weights_, {.beta2 = 0.99}),
        sums_{{}, softlook::zeros_like(weights_)} {}

  /// Collective: forward, back, sum over ranks, gradients clipped to length 1, AdamW.
  /// \return  the loss of the whole batch, in nats for each character, before the weights change.
  /// \throws softlook::argument_error  unless groups divide the pieces of the batch.
  double step(const batch& b, double rate) {
    namespace mpi = softlook::mpi;
    if (b.pieces % groups_ != 0)
      throw softlook::argument_error("rank_training: a batch has " + std::to_string(b.pieces) +
                                     " pieces, which " + std::to_string(groups_) +
                                     " groups of ranks must divide");
    const index rows = b.pieces / groups_ * b.length;
    const auto at = mpi::partition::zigzag(rows, of_sequence_.size());
    std::vector<std::int32_t> text, wanted;
    for (const mpi::row_run& run : at.runs(of_sequence_.rank()))
      for (index k = 0; k < run.count; ++k) {
        const auto row = std::size_t(group_ * rows + run.global + k * run.stride);
        text.push_back(b.text[row]);
        wanted.push_back(b.wanted[row]);
      }
    softlook::for_each_parameter([](const std::string&, auto& g) { g.setZero(); }, sums_);

    const softlook::options memory{.workspace = &workspace_};
    // As few pieces as keep all ranks busy: rows are few.
    const mpi::options how{.pieces = 2 * of_sequence_.size()};
    const softlook::masks::same_segment pieces{b.length};
    const auto& X = softlook::token_embedding_forward(
        weights_.embedding, std::span<const std::int32_t>(text), saved_.embedding);
    const auto& Y = mpi::causal_transformer_forward(
        of_sequence_, weights_.stack, options_of(heads_), X, saved_.stack, at, pieces, memory, how);
    const auto& logits = softlook::linear_forward(weights_.output, Y, saved_.output,
                                                  softlook::activation::none, memory);
    // Means over this rank's characters become its share of the mean over all.
    const double share = double(text.size()) / double(b.text.size());
    sums_.loss(0, 0) = examples::cross_entropy(logits, wanted, &dlogits_).loss * share;
    dlogits_ *= float(share);

    const auto& dY =
        softlook::linear_backward(weights_.output, saved_.output, dlogits_, sums_.weights.output,
                                  softlook::activation::none, memory);
    const auto& dX = mpi::causal_transformer_backward(of_sequence_, weights_.stack,
                                                      options_of(heads_), saved_.stack, dY,
                                                      sums_.weights.stack, at, pieces, memory, how);
    softlook::token_embedding_backward(weights_.embedding, saved_.embedding, dX,
                                       sums_.weights.embedding);
    mpi::sum_gradients(world_, sums_);
    examples::clip_by_global_norm(sums_.weights, 1);
    optimiser_.step(weights_, sums_.weights, rate);
    return sums_.loss(0, 0);
  }

  [[nodiscard]] const parameters<float>& now() const { return weights_; }

 private:
  /// What is added up.
  struct sums {
    Eigen::Matrix<double, 1, 1> loss;
    parameters<float> weights;

    template <class F, class... P>
    static void visit(F&& f, P&... p) {
      f("loss", p.loss...);
      f("weights", p.weights...);
    }
  };

  static int checked(int sequence, const softlook::mpi::communicator& world) {
    if (sequence < 1 || world.size() % sequence != 0)
      throw softlook::argument_error("rank_training: " + std::to_string(sequence) +
                                     " ranks for a sequence, which must divide the " +
                                     std::to_string(world.size()) + " ranks");
    return sequence;
  }
  static softlook::mpi::communicator part_of(const softlook::mpi::communicator& world, int group) {
    MPI_Comm part = MPI_COMM_NULL;
    MPI_Comm_split(world.handle(), group, world.rank(), &part);
    softlook::mpi::communicator own(part);
    MPI_Comm_free(&part);
    return own;
  }

  const softlook::mpi::communicator& world_;
  int group_;
  int groups_;
  softlook::mpi::communicator of_sequence_;
  index heads_;
  parameters<float> weights_;
  examples::adamw<parameters<float>> optimiser_;
  sums sums_;
  saved<float> saved_;
  softlook::token_embedding_parameters<float>::matrix dlogits_;
  softlook::workspace workspace_;
};

}  // namespace characters
