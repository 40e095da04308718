// The language model of examples/characters, trained over the ranks of an MPI program: groups of
// ranks share the pieces of a batch, the ranks of a group the rows of their sequence. The loss is
// that of one rank, which rank 0 computes again by itself for the first steps.
//
// Jacobs et al., "DeepSpeed Ulysses", 2023; Liu et al., "Ring Attention", 2023 (the sequence over
// ranks).
//
// Run: mpirun -np 4 characters_over_ranks [STEPS [RANKS_FOR_A_SEQUENCE]]   300 steps, all ranks
//
// expect: ^2 ranks: 1 group of 2 for a sequence
// expect: ^step 100: loss 2\.[0-9]
// expect: ^one rank by itself: losses of the first [0-9]+ steps differ by at most [0-9.]+e-0[5-9]
// expect: ^all ranks have the same weights

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "examples/characters/training.hpp"
#include "examples/mpi/rank_training.hpp"
#include "examples/training/optimiser.hpp"

namespace {

namespace mpi = softlook::mpi;
constexpr std::uint64_t seed = 1;

characters::sizes sizes_of(const characters::corpus& c) {
  return {.known = softlook::index(c.known.size()),
          .features = 48,
          .heads = 3,
          .hidden = 192,
          .layers = 3};
}

/// The losses of the first steps of a training: batches are the same for every kind of it.
template <class Training, class F>
void train(Training& model, const characters::corpus& text, examples::generator random, int steps,
           int all, const F& show) {
  const examples::cosine_schedule rate{
      .highest = 8e-3, .lowest = 8e-5, .warmup = all / 20 + 1, .steps = all};
  characters::batch b;
  for (int k = 0; k < steps; ++k) {
    b.draw(text, random);
    show(k + 1, model.step(b, rate(k)));
  }
}

/// Whether all ranks have the weights of rank 0, to the bit.
bool same_weights(const mpi::communicator& world, const characters::parameters<float>& p) {
  bool same = true;
  softlook::for_each_parameter(
      [&](const std::string&, const auto& m) {
        auto first = m.eval();
        MPI_Bcast(first.data(), int(first.size()), MPI_FLOAT, 0, world.handle());
        same = same && first == m;
      },
      p);
  int mine = same, all = 0;
  MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, world.handle());
  return all != 0;
}

void run(const mpi::communicator& world, int steps, int sequence) {
  const bool first = world.rank() == 0;
  const characters::corpus text = characters::read_corpus(CHARACTERS_TEXT);
  examples::generator random(seed), again(seed);
  characters::rank_training model(world, sequence, sizes_of(text), random);
  const int groups = world.size() / sequence;
  if (first)
    std::printf("%d rank%s: %d group%s of %d for a sequence\n", world.size(),
                world.size() > 1 ? "s" : "", groups, groups > 1 ? "s" : "", sequence);
  std::vector<double> losses;
  const double begun = MPI_Wtime();
  train(model, text, random, steps, steps, [&](int k, double loss) {
    losses.push_back(loss);
    if (first && (k % 50 == 0 || k == 1)) std::printf("step %d: loss %.4f\n", k, loss);
    if (first) std::fflush(stdout);
  });
  const double seconds = MPI_Wtime() - begun;
  const bool same = same_weights(world, model.now());
  if (!first) return;
  std::printf("%.1f ms a step\n", 1e3 * seconds / steps);
  std::printf("%s\n", same ? "all ranks have the same weights" : "ranks have other weights");
  characters::training alone(sizes_of(text), again);
  double difference = 0;
  const int compared = std::min(steps, 20);
  train(alone, text, again, compared, steps, [&](int k, double loss) {
    difference = std::max(difference, std::abs(loss - losses[std::size_t(k - 1)]));
  });
  std::printf("one rank by itself: losses of the first %d steps differ by at most %.1e\n", compared,
              difference);
}

}  // namespace

int main(int argc, char** argv) {
  int provided = 0, failed = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  try {
    const mpi::communicator world(MPI_COMM_WORLD);
    const int steps = argc > 1 ? std::atoi(argv[1]) : 300;
    const int sequence = argc > 2 ? std::atoi(argv[2]) : world.size();
    if (argc > 3 || steps < 1 || sequence < 1 || world.size() % sequence != 0) {
      if (world.rank() == 0)
        std::fprintf(stderr,
                     "usage: characters_over_ranks [STEPS [RANKS_FOR_A_SEQUENCE]], which divide "
                     "the number of ranks\n");
      failed = 2;
    } else {
      run(world, steps, sequence);
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "characters_over_ranks: %s\n", e.what());
    MPI_Abort(MPI_COMM_WORLD, 1);  // other ranks may wait for this one
  }
  MPI_Finalize();
  return failed;
}
