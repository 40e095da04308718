#include <softlook/attention/decomposable.hpp>

#include "adapters.hpp"

/// AllenNLP's decomposable attention: the two sentences after the attend network.
namespace conformance {
namespace {

/// Per batch the number of tokens of a mask that has them in front.
index tokens_of(const case_file& c, const char* name, index batch, index rows) {
  const tensor& mask = c.input(name, 2);
  require(c, batch < mask.shape[0] && mask.shape[1] == rows, std::string(name) + " does not fit");
  const auto first = mask.values.begin() + batch * rows;
  index tokens = 0;
  while (tokens < rows && first[tokens] != 0) ++tokens;
  for (index j = tokens; j < rows; ++j)
    if (first[j] != 0) throw unsupported(std::string(name) + " with gaps");
  return tokens;
}

struct sentences {
  grid premise, hypothesis, projected_premise, projected_hypothesis;
};

struct answers {
  grid similarity, to_hypothesis, to_premise, attended_hypothesis, attended_premise;
  error_bounds bounds;
};

template <class T>
error_bounds bounds_of(const matrix<T>& Q, const matrix<T>& K, const matrix<T>& V) {
  head_problem<T> p;
  p.Q = Q;
  p.K = K;
  p.V = V;
  p.scale = 1;
  return p.bounds();
}

template <class T>
answers align(const case_file& c, const mode& m, const sentences& s) {
  const index batches = s.premise.batches, n = s.premise.rows, k = s.hypothesis.rows;
  answers all{grid::zeros(batches, 1, n, k),
              grid::zeros(batches, 1, n, k),
              grid::zeros(batches, 1, k, n),
              grid::zeros(batches, 1, n, s.hypothesis.cols),
              grid::zeros(batches, 1, k, s.premise.cols),
              {}};
  for (index b = 0; b < batches; ++b) {
    const matrix<T> A = s.premise.head<T>(b, 0), B = s.hypothesis.head<T>(b, 0);
    const matrix<T> FA = s.projected_premise.head<T>(b, 0);
    const matrix<T> FB = s.projected_hypothesis.head<T>(b, 0);
    const softlook::options o = m.options(std::nullopt);
    const softlook::sentence_lengths lengths{.a = tokens_of(c, "premise_mask", b, n),
                                             .b = tokens_of(c, "hypothesis_mask", b, k)};
    const auto found = softlook::soft_align(A, B, FA, FB, lengths, o);
    const auto weights = softlook::soft_align_weights(FA, FB, lengths, o);
    all.similarity.set_head<T>(
        b, 0, softlook::attention_scores(FA, FB, softlook::stage::raw, softlook::scores::dot{}, o));
    all.to_hypothesis.set_head<T>(b, 0, weights.beta);
    all.to_premise.set_head<T>(b, 0, weights.alpha);
    all.attended_hypothesis.set_head<T>(b, 0, found.beta);
    all.attended_premise.set_head<T>(b, 0, found.alpha);
    all.bounds = worst(all.bounds, worst(bounds_of<T>(FA, FB, B), bounds_of<T>(FB, FA, A)));
  }
  return all;
}

outputs decomposable_attend(const case_file& c, const mode& m) {
  const sentences s{grid_of_batch(c, c.input("premise", 3)),
                    grid_of_batch(c, c.input("hypothesis", 3)),
                    grid_of_batch(c, c.input("projected_premise", 3)),
                    grid_of_batch(c, c.input("projected_hypothesis", 3))};
  require(c,
          s.hypothesis.batches == s.premise.batches &&
              s.projected_premise.batches == s.premise.batches &&
              s.projected_hypothesis.batches == s.premise.batches,
          "the sentences are of different batches");
  const answers a = m.single_precision ? align<float>(c, m, s) : align<double>(c, m, s);
  return {{"similarity", three_dimensional(a.similarity, a.bounds.scores)},
          {"p2h_attention", three_dimensional(a.to_hypothesis, a.bounds.weights)},
          {"h2p_attention", three_dimensional(a.to_premise, a.bounds.weights)},
          {"attended_hypothesis", three_dimensional(a.attended_hypothesis, a.bounds.output)},
          {"attended_premise", three_dimensional(a.attended_premise, a.bounds.output)}};
}

}  // namespace

void add_decomposable_adapters(adapter_table& table) {
  table["allennlp.decomposable_attend"] = decomposable_attend;
}

}  // namespace conformance
