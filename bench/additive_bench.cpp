// Additive (Bahdanau) scores v · tanh(q Wq + k Wk): the whole attention, projections included; and
// the step of a decoder (n = 1), whose memory was projected before: by attention(), which sees the
// keys for the first time, and (decoder_step) by bahdanau_attention, which packed them in
// set_memory(), projects the query and returns the weights too. In the names d is the size of
// everything: features of Q, K and V, and the hidden size a. What counts as a flop: see README.md.

#include "softlook/seq2seq/bahdanau_attention.hpp"
#include "support/forward.hpp"

namespace {

using bench::index;
using bench::matrix;
using bench::path;
using bench::shape;

struct additive_inputs : bench::dot_inputs<float> {
  matrix<float> Wq, Wk;
  Eigen::RowVectorXf v;

  explicit additive_inputs(const shape& s)
      : dot_inputs(s),
        Wq(bench::random_matrix<float>(s.d, s.d, 4) / std::sqrt(float(s.d))),
        Wk(bench::random_matrix<float>(s.d, s.d, 5) / std::sqrt(float(s.d))),
        v(bench::random_matrix<float>(1, s.d, 6) * (2 / std::sqrt(float(s.d)))) {}

  static std::shared_ptr<const additive_inputs> of(const shape& s) {
    static shape kept_shape;
    static std::shared_ptr<const additive_inputs> kept;
    if (kept == nullptr || kept_shape.n != s.n || kept_shape.m != s.m || kept_shape.d != s.d) {
      kept = std::make_shared<const additive_inputs>(s);
      kept_shape = s;
    }
    return kept;
  }
};

[[nodiscard]] bool is_decoder_step(const shape& s) { return s.n == 1; }

void naive(const additive_inputs& in, matrix<float>& O, const shape& s, fair_naive::buffers& kept) {
  fair_naive::additive_parameters parameters{.Wq = {}, .Wk = {}, .v = in.v.data()};
  if (!is_decoder_step(s)) {
    parameters.Wq = bench::naive_view(in.Wq);
    parameters.Wk = bench::naive_view(in.Wk);
  }
  fair_naive::additive(bench::naive_view(in.Q), bench::naive_view(in.K), bench::naive_view(in.V),
                       bench::naive_output(O), parameters, s.causal, kept);
}

void ours(path which, const additive_inputs& in, matrix<float>& O, const shape& s) {
  if (is_decoder_step(s)) {
    const softlook::scores::additive_projected score(in.v);
    bench::softlook_call(which, s, in.Q, in.K, in.V, O, score);
    return;
  }
  const softlook::scores::additive score(in.Wq, in.Wk, in.v);
  if (s.causal)
    bench::softlook_call(which, s, in.Q, in.K, in.V, O, score, softlook::masks::causal_top_left{});
  else
    bench::softlook_call(which, s, in.Q, in.K, in.V, O, score);
}

[[nodiscard]] double error_of(const additive_inputs& in, const matrix<float>& O, const shape& s) {
  matrix<double> q = in.Q.cast<double>(), k = in.K.cast<double>();
  if (!is_decoder_step(s)) {
    q *= in.Wq.cast<double>();
    k *= in.Wk.cast<double>();
  }
  return bench::sampled_error(in.V, O, s.causal, [&](index i, index j) {
    double score = 0;
    for (index c = 0; c < s.d; ++c) score += double(in.v(c)) * std::tanh(q(i, c) + k(j, c));
    return score;
  });
}

// For a (query, key, hidden feature): an addition, a tanh, a multiplication and an addition.
[[nodiscard]] double flops_of(const shape& s) {
  const double pairs = double(s.n) * double(s.m) * (s.causal ? 0.5 : 1), d = double(s.d);
  const double projections = is_decoder_step(s) ? 0 : 2 * double(s.n + s.m) * d * d;
  return pairs * (4 * d + 2 * d) + projections;
}

[[nodiscard]] bench::row additive_row(path which, const shape& s) {
  const double pairs = double(s.n) * double(s.m) * (s.causal ? 0.5 : 1);
  bench::row r{.name = bench::forward_name(which, "additive", s),
               .flops = flops_of(s),
               .rates = {{"pairs_per_second", pairs}},
               .prepare = {}};
  r.prepare = [which, s] {
    const auto in = additive_inputs::of(s);
    const auto O = std::make_shared<matrix<float>>(matrix<float>::Zero(s.n, s.d));
    const auto kept = fair_naive::make_buffers();
    bench::prepared_row work;
    if (which == path::naive) {
      work.call = [in, O, s, kept] { naive(*in, *O, s, *kept); };
      work.first_call = [in, O, s] { naive(*in, *O, s, *fair_naive::make_buffers()); };
    } else {
      work.call = [which, in, O, s] { ours(which, *in, *O, s); };
      work.difference = [in, O, s, kept] {
        matrix<float> expected(O->rows(), O->cols());
        naive(*in, expected, s, *kept);
        return double((expected - *O).cwiseAbs().maxCoeff());
      };
    }
    work.error = [in, O, s] { return error_of(*in, *O, s); };
    work.tolerance = bench::tolerance<float>();
    return work;
  };
  return r;
}

[[nodiscard]] bench::row decoder_step_row(const shape& s) {
  bench::row r{.name = bench::forward_name(path::automatic, "decoder_step", s),
               .flops = flops_of(s),
               .rates = {{"pairs_per_second", double(s.n) * double(s.m)}},
               .prepare = {}};
  r.prepare = [s] {
    const auto in = additive_inputs::of(s);
    const auto O = std::make_shared<matrix<float>>(matrix<float>::Zero(s.n, s.d));
    const matrix<float> unchanged = matrix<float>::Identity(s.d, s.d);
    const auto decoder = std::make_shared<softlook::bahdanau_attention<float>>(
        softlook::scores::additive{unchanged, unchanged, in->v});
    decoder->set_memory(in->K, in->V);
    bench::prepared_row work;
    work.call = [in, O, decoder] { *O = decoder->step(in->Q).context; };
    work.error = [in, O, s] { return error_of(*in, *O, s); };
    work.tolerance = bench::tolerance<float>();
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  const auto add = [&](const shape& s) {
    for (const path which : {path::naive, path::flash}) rows.push_back(additive_row(which, s));
  };
  for (const bench::index n : {128, 512, 1024, 2048}) add({.n = n, .m = n, .d = 128});
  add({.n = 1024, .m = 1024, .d = 128, .causal = true});
  for (const bench::index a : {64, 256}) add({.n = 1024, .m = 1024, .d = a});
  for (const bench::index m : {1024, 16384})
    for (const path which : {path::naive, path::automatic})
      rows.push_back(additive_row(which, {.n = 1, .m = m, .d = 128}));
  for (const bench::index m : {512, 1024, 16384})
    rows.push_back(decoder_step_row({.n = 1, .m = m, .d = 128}));
  return bench::run_rows(argc, argv, std::move(rows));
}
