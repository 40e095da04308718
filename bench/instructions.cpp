// Runs each case of bench/instructions.sh under callgrind, which counts the instructions between a
// start and a stop and writes them down under the case's name. Prints name, multiply-adds (or what
// else the case counts) for each.

#include <valgrind/callgrind.h>

#include <cstdio>
#include <functional>
#include <string>

#include "softlook/attention.hpp"
#include "softlook/gradient/attention.hpp"
#include "softlook/layers.hpp"
#include "support/alibi.hpp"

namespace {

using softlook::index;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct set {
  const char* name;
  softlook::instruction_set isa;
  index lanes;
};

/// Counts one call after one that warms up, and prints what it is divided by.
void count(const std::string& name, double units, const std::function<void()>& call) {
  call();
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
  call();
  CALLGRIND_DUMP_STATS_AT(name.c_str());
  CALLGRIND_STOP_INSTRUMENTATION;
  std::printf("%s\t%.0f\n", name.c_str(), units);
}

template <class... Policies>
void count_attention(const set& s, const std::string& name, index n, index m, index d, double share,
                     const Policies&... policies) {
  softlook::workspace scratch;
  const softlook::options o{.isa = s.isa, .workspace = &scratch};
  const matrix Q = matrix::Random(n, d), K = matrix::Random(m, d), V = matrix::Random(m, d);
  matrix O(n, d);
  const double fmas = share * 2.0 * double(n) * double(m) * double(d) / double(s.lanes);
  count(s.name + ("/" + name), fmas, [&] { softlook::attention_into(Q, K, V, O, policies..., o); });
}

/// The five products of the way back.
template <class... Policies>
void count_backward(const set& s, const std::string& name, index n, index d, double share,
                    const Policies&... policies) {
  softlook::workspace scratch;
  const softlook::options o{.isa = s.isa, .workspace = &scratch};
  const matrix Q = matrix::Random(n, d), K = matrix::Random(n, d), V = matrix::Random(n, d),
               dO = matrix::Random(n, d);
  const auto state = softlook::attention_with_log_sum_exp(Q, K, V, policies..., o);
  softlook::attention_gradients<matrix> gradients;
  const double fmas = share * 5.0 * double(n) * double(n) * double(d) / double(s.lanes);
  count(s.name + ("/" + name), fmas, [&] {
    softlook::attention_backward_into(Q, K, V, state.output, state.log_sum_exp, dO, gradients,
                                      policies..., o);
  });
}

void count_product(const set& s, index n, index inputs, index outputs) {
  softlook::workspace scratch;
  const softlook::options o{.isa = s.isa, .workspace = &scratch};
  const matrix X = matrix::Random(n, inputs), W = matrix::Random(inputs, outputs);
  const Eigen::RowVectorXf b = Eigen::RowVectorXf::Random(outputs);
  matrix Y(n, outputs);
  const softlook::linear_layer<float> layer(W, b);
  const double fmas = double(n) * double(inputs) * double(outputs) / double(s.lanes);
  char name[64];
  std::snprintf(name, sizeof name, "%s/packed product %dx%dx%d", s.name, int(n), int(inputs),
                int(outputs));
  count(name, fmas, [&] { Y = layer(X, o); });
}

/// Bahdanau scores: instructions of a vector of pairs, for each feature.
void count_additive(const set& s, index n, index a) {
  softlook::workspace scratch;
  const softlook::options o{.isa = s.isa, .workspace = &scratch};
  const matrix Q = matrix::Random(n, a), K = matrix::Random(n, a), V = matrix::Random(n, a);
  const Eigen::RowVectorXf v = Eigen::RowVectorXf::Random(a);
  matrix O(n, a);
  const softlook::scores::additive_projected score(v);
  count(s.name + std::string("/additive, for a pair and feature"),
        double(n) * double(n) * double(a) / double(s.lanes),
        [&] { softlook::attention_into(Q, K, V, O, score, o); });
}

/// Their way back: a vector of pairs and a feature cost a tanh for the score, and one for its
/// slopes.
void count_additive_backward(const set& s, index n, index a) {
  softlook::workspace scratch;
  const softlook::options o{.isa = s.isa, .workspace = &scratch};
  const matrix Q = matrix::Random(n, a), K = matrix::Random(n, a), V = matrix::Random(n, a),
               dO = matrix::Random(n, a);
  const Eigen::RowVectorXf v = Eigen::RowVectorXf::Random(a);
  Eigen::RowVectorXf dv = Eigen::RowVectorXf::Zero(a);
  const softlook::scores::additive_projected score(v);
  const auto state = softlook::attention_with_log_sum_exp(Q, K, V, score, o);
  softlook::attention_gradients<matrix> gradients;
  softlook::backward_extras<float> extras;
  extras.weights.v = dv;
  count(s.name + std::string("/additive backward, for a pair and feature"),
        double(n) * double(n) * double(a) / double(s.lanes), [&] {
          softlook::attention_backward_into(Q, K, V, state.output, state.log_sum_exp, dO, gradients,
                                            extras, score, o);
        });
}

void count_all(const set& s) {
  count_attention(s, "tiled d=64", 1024, 1024, 64, 1);
  count_attention(s, "tiled d=128", 1024, 1024, 128, 1);
  count_attention(s, "causal d=64", 1024, 1024, 64, 0.5, softlook::masks::causal_top_left{});
  count_attention(s, "functor d=64", 1024, 1024, 64, 1, softlook::transforms::map(bench::alibi{}));
  count_attention(s, "ALiBi d=64", 1024, 1024, 64, 1, softlook::transforms::alibi{.slope = 0.125});
  count_attention(s, "a head of 64x64", 64, 64, 64, 1);
  count_attention(s, "one query, m=4096 d=128", 1, 4096, 128, 1);
  count_backward(s, "backward d=64", 1024, 64, 1);
  if (s.isa == softlook::instruction_set::avx2) {
    count_backward(s, "backward d=128", 1024, 128, 1);
    count_backward(s, "backward, causal d=64", 1024, 64, 0.5, softlook::masks::causal_top_left{});
  }
  count_product(s, 128, 384, 384);
  count_product(s, 128, 1536, 384);
  count_additive(s, 256, 128);
  count_additive_backward(s, 256, 128);
}

}  // namespace

int main() {
  // Of a plain core of today, whatever this one or valgrind has: tiles depend on it.
  Eigen::setCpuCacheSizes(32 << 10, 512 << 10, 16 << 20);
  count_all({"avx2", softlook::instruction_set::avx2, 8});
  count_all({"baseline", softlook::instruction_set::baseline, 4});
}
