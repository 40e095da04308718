#include <cmath>
#include <limits>

#include "decoder_cases.hpp"
#include "projection.hpp"

/// Monotonic attention of TensorFlow Addons.
namespace conformance {
namespace {

namespace masks = softlook::masks;
namespace scores = softlook::scores;

/// Both expected forms are run: they are the same numbers.
softlook::monotonic_form form_of(const case_file& c, const mode& m) {
  const std::string wanted = c.text("mode");
  if (wanted == "hard") return softlook::monotonic_form::hard;
  if (wanted != "recursive" && wanted != "parallel") throw unsupported("mode " + wanted);
  return m.how == mode::path::naive ? softlook::monotonic_form::recursive
                                    : softlook::monotonic_form::parallel;
}

/// A weight is a sum of products of up to `decisions` probabilities, each relatively off by the
/// error of its energy at most.
double decisions_error(double epsilon, index decisions, double energy_error) {
  return std::expm1(static_cast<double>(decisions) * energy_error) + 8 * epsilon;
}

/// The parameters of Bahdanau's or of Luong's scores.
template <class T>
struct energies {
  additive_parameters<T> additive;
  matrix<T> W;
  std::optional<double> scale;
  double bias;

  explicit energies(const case_file& c) : bias(c.weight("attention_score_bias", 0).values[0]) {
    const matrix<T> Wk = weight_matrix<T>(c, "memory_layer_kernel");
    const auto factor = [&] { return c.weight("attention_g", 0).values[0]; };
    if (!c.has_weight("attention_v")) {
      W = Wk.transpose();
      if (c.has_weight("attention_g")) scale = factor();
      return;
    }
    additive.Wq = weight_matrix<T>(c, "query_layer_kernel");
    additive.Wk = Wk;
    additive.v = weight_row<T>(c, "attention_v");
    if (c.has_weight("attention_g"))
      additive.v = softlook::weight_norm(additive.v, static_cast<T>(factor()));
    if (c.has_weight("attention_b")) additive.b = weight_row<T>(c, "attention_b");
  }
  score_size size(const head_problem<T>& p) const {
    if (W.size() == 0) return additive.size(p);
    const double norm = W.template cast<double>().norm() * std::abs(scale.value_or(1));
    return {norm * dot_magnitude(p.Q, p.K), W.rows() + W.cols()};
  }
  template <class Previous>
  softlook::monotonic_result<matrix<T>> attend(const mode& m, softlook::monotonic_form form,
                                               const head_problem<T>& p, index length,
                                               const Previous& previous) const {
    const auto with = [&](const auto& score) {
      return softlook::monotonic_attention(p.Q, p.K, p.V, {.form = form, .score_bias = bias},
                                           previous, score, masks::padding{.length = length},
                                           m.options(scale));
    };
    if (W.size() != 0) return with(scores::general(W));
    const additive_parameters<T>& a = additive;
    if (a.b.size() == 0) return with(scores::additive(a.Wq, a.Wk, a.v));
    return with(scores::additive(a.Wq, a.Wk, a.v, a.b));
  }
};

/// All steps from the first alignments, or each from the alignments recorded before it.
template <class T>
attention_answer tfa_answer(const case_file& c, const mode& m, const attention_call& call) {
  const bool step = c.has_input("previous_alignments");
  const tensor& given = step ? c.input("previous_alignments", 3) : c.input("initial_alignments", 2);
  const index keys = call.K.rows;
  const index rows = static_cast<index>(given.values.size()) / std::max<index>(keys, 1);
  require(c, given.shape.back() == keys && rows == (step ? call.Q.rows : 1) * call.K.batches,
          "the earlier alignments do not fit the memory");
  const matrix<T> before =
      Eigen::Map<const matrix<double>>(given.values.data(), rows, keys).template cast<T>();
  const auto lengths = memory_lengths(c, "memory_sequence_length", call.K);
  const energies<T> from(c);
  agree(c, "units", static_cast<double>(c.weight("memory_layer_kernel", 2).shape[1]));
  agree(c, "steps", static_cast<double>(call.Q.rows));
  for (const char* with_factor : {"normalize", "scale"})
    agree(c, with_factor, c.has_weight("attention_g") ? 1 : 0);
  const softlook::monotonic_form form = form_of(c, m);
  attention_answer answer;
  error_bounds bounds;
  answer = for_each_problem<T>(m, call, [&](head_problem<T>& p, index b, index) {
    p.size = from.size(p);
    const double epsilon = std::numeric_limits<T>::epsilon();
    const double of_energy =
        score_error(epsilon, p.size->steps, p.size->magnitude + std::abs(from.bias));
    const double of_weight = decisions_error(epsilon, keys + p.Q.rows(), of_energy);
    bounds = worst(bounds, {.weights = of_weight,
                            .output = (of_weight + static_cast<double>(keys) * epsilon) *
                                      finite_magnitude(p.V)});
    const index length = lengths[static_cast<std::size_t>(b)].value_or(keys);
    head_answer<T> r{matrix<T>(p.Q.rows(), p.V.cols()),
                     matrix<T>::Zero(p.Q.rows(), 1),
                     {matrix<T>(p.Q.rows(), keys)}};
    if (!step) {
      const auto all = from.attend(m, form, p, length, before.row(b));
      return head_answer<T>{all.output, r.log_sum_exp, {all.weights}};
    }
    for (index i = 0; i < p.Q.rows(); ++i) {
      head_problem<T> one = p;
      one.Q = p.Q.row(i);
      const auto now = from.attend(m, form, one, length, before.row(i * call.K.batches + b));
      r.output.row(i) = now.output.row(0);
      r.weights[0].row(i) = now.weights.row(0);
    }
    return r;
  });
  if (m.single_precision) answer.bounds = bounds;
  return answer;
}

outputs tfa_monotonic(const case_file& c, const mode& m) {
  const bool step = c.has_input("cell_output");
  attention_call call;
  call.Q = swapped(grid_of_batch(c, c.input(step ? "cell_output" : "queries", 3)));
  call.K = call.V = grid_of_batch(c, c.input(step ? "memory_masked" : "memory", 3));
  call.wants_weights = true;
  const attention_answer a =
      m.single_precision ? tfa_answer<float>(c, m, call) : tfa_answer<double>(c, m, call);
  outputs out;
  const matrix<double> Wk = weight_matrix<double>(c, "memory_layer_kernel");
  const grid memory = zeroed(call.K, memory_lengths(c, "memory_sequence_length", call.K));
  out["keys"] = three_dimensional(project(c, memory, {Wk, Eigen::RowVectorXd::Zero(Wk.cols())}), 0);
  out["alignments"] = three_dimensional(swapped(a.weights), a.bounds.weights);
  if (!c.has_weight("attention_layer_kernel")) {
    out[step ? "attention" : "context"] = three_dimensional(swapped(a.output), a.bounds.output);
    return out;
  }
  const matrix<double> W = weight_matrix<double>(c, "attention_layer_kernel");
  const projection layer = {W, Eigen::RowVectorXd::Zero(W.cols())};
  out["attention"] = three_dimensional(swapped(project(c, beside(call.Q, a.output), layer)),
                                       projected_error(a.bounds.output, W));
  return out;
}

/// The same from probabilities: energies are ln(p / (1 − p)).
template <class T>
outputs tfa_weights(const case_file& c, const mode& m) {
  const tensor& p = c.input("p_choose_i", 2);
  const tensor& previous = c.input("previous_attention", 2);
  require(c, p.shape == previous.shape, "there is a probability for each earlier weight");
  const index rows = p.shape[0], keys = p.shape[1];
  const Eigen::Map<const matrix<double>> chances(p.values.data(), rows, keys);
  const matrix<T> E = (chances.array().log() - (-chances.array()).log1p()).matrix().cast<T>();
  const matrix<T> before =
      Eigen::Map<const matrix<double>>(previous.values.data(), rows, keys).template cast<T>();
  matrix<double> A(rows, keys);
  for (index i = 0; i < rows; ++i)
    A.row(i) =
        softlook::monotonic_weights(E.row(i), before.row(i), form_of(c, m)).template cast<double>();
  produced attention{p.shape, std::vector<double>(A.data(), A.data() + A.size())};
  const double epsilon = std::numeric_limits<T>::epsilon();
  if (m.single_precision)
    attention.bound = decisions_error(epsilon, keys + 1, epsilon * (1 + finite_magnitude(E)));
  return {{"attention", attention}};
}

outputs tfa_monotonic_weights(const case_file& c, const mode& m) {
  return m.single_precision ? tfa_weights<float>(c, m) : tfa_weights<double>(c, m);
}

}  // namespace

void add_local_adapters(adapter_table& table) {
  for (const char* op : {"BahdanauMonotonicAttention", "LuongMonotonicAttention"}) {
    table[std::string("tfa.") + op] = tfa_monotonic;
    table[std::string("tfa.AttentionStep.") + op] = tfa_monotonic;
  }
  table["tfa.monotonic_attention"] = tfa_monotonic_weights;
}

}  // namespace conformance
