#include <softlook/attention/entmax.hpp>
#include <softlook/gradient/decoder_attention.hpp>

#include "decoder_cases.hpp"
#include "projection.hpp"

/// Attention of the encoder-decoder models: TensorFlow Addons, OpenNMT-py, AllenNLP.
namespace conformance {
namespace {

namespace masks = softlook::masks;
namespace scores = softlook::scores;

/// A decoder that holds its parameters, as a model uses it: the automatic mode of these adapters.
template <class T, class Decoder>
head_answer<T> decode(const mode& m, const head_problem<T>& p, Decoder decoder, index length) {
  if (m.single_precision && !says_something(p.bounds())) throw beyond_float();
  decoder.set_memory(p.K, p.V, length);
  head_answer<T> answer{matrix<T>(p.Q.rows(), p.V.cols()),
                        matrix<T>::Zero(p.Q.rows(), 1),
                        {matrix<T>(p.Q.rows(), p.K.rows())}};
  for (index i = 0; i < p.Q.rows(); ++i) {
    const auto step = decoder.step(p.Q.row(i), m.options(p.scale));
    answer.output.row(i) = step.context;
    answer.weights[0].row(i) = step.weights;
  }
  return answer;
}

template <class T>
head_answer<T> attend_additive(const mode& m, head_problem<T>& p, const additive_parameters<T>& w,
                               std::optional<index> length) {
  p.size = w.size(p);
  if (m.how == mode::path::automatic) return decode(m, p, w.decoder(), length.value_or(p.K.rows()));
  const auto masked = [&](const auto& score) {
    return length ? attend(m, p, score, masks::padding{.length = *length}) : attend(m, p, score);
  };
  if (w.b.size() == 0) return masked(scores::additive(w.Wq, w.Wk, w.v));
  return masked(scores::additive(w.Wq, w.Wk, w.v, w.b));
}

/// Scores with the weights of sparsemax; `bounds` becomes at least theirs.
template <class T, class Score>
head_answer<T> attend_sparse(const mode& m, const head_problem<T>& p, const score_size& size,
                             const Score& score, std::optional<index> length,
                             error_bounds& bounds) {
  constexpr double alpha = 2, epsilon = std::numeric_limits<T>::epsilon();
  const error_bounds mine = entmax_attention_error(epsilon, alpha, p.K.rows(),
                                                   score_error(epsilon, size.steps, size.magnitude),
                                                   finite_magnitude(p.V));
  if (m.single_precision && !says_something(mine)) throw beyond_float();
  bounds = worst(bounds, mine);
  const masks::padding mask{.length = length.value_or(p.K.rows())};
  const softlook::options o = m.options(p.scale);
  return {softlook::entmax_attention(p.Q, p.K, p.V, alpha, score, mask, o),
          matrix<T>::Zero(p.Q.rows(), 1),
          {softlook::entmax_attention_weights(p.Q, p.K, alpha, score, mask, o)}};
}

template <class T>
head_answer<T> attend_general(const mode& m, head_problem<T>& p, const matrix<T>& W,
                              std::optional<index> length) {
  const double norm = W.template cast<double>().norm() * std::abs(p.scale.value_or(1));
  p.size = {norm * dot_magnitude(p.Q, p.K), W.rows() + W.cols()};
  if (m.how == mode::path::automatic)
    return decode(m, p, softlook::luong_attention<T>(scores::general{W}),
                  length.value_or(p.K.rows()));
  const scores::general score(W);
  return length ? attend(m, p, score, masks::padding{.length = *length}) : attend(m, p, score);
}

/// TensorFlow Addons' hardmax: one key for each query, by some scores.
template <class T, class Score>
head_answer<T> choose(const mode& m, const head_problem<T>& p, const Score& score,
                      std::optional<index> length) {
  const masks::padding mask{.length = length.value_or(p.K.rows())};
  const softlook::options o = m.options(p.scale);
  const auto S = softlook::attention_scores(p.Q, p.K, softlook::stage::masked, score, mask, o);
  const auto chosen =
      softlook::hard_attention(p.Q, p.K, p.V, softlook::selections::argmax{}, score, mask, o);
  return {chosen.output, chosen.log_probability, {softlook::hardmax(S)}};
}

template <class T>
head_answer<T> attend_dot(const mode& m, head_problem<T>& p, std::optional<index> length) {
  p.size = {dot_magnitude(p.Q, p.K), p.Q.cols()};
  if (m.how == mode::path::automatic)
    return decode(m, p, softlook::luong_attention<T>(scores::dot{}), length.value_or(p.K.rows()));
  return length ? attend(m, p, scores::dot{}, masks::padding{.length = *length})
                : attend(m, p, scores::dot{});
}

template <class T>
attention_answer tfa_answer(const case_file& c, const mode& m, const attention_call& call,
                            const std::vector<std::optional<index>>& lengths) {
  const matrix<T> Wk = weight_matrix<T>(c, "memory_layer_kernel");
  const bool bahdanau = c.has_weight("attention_v");
  const std::string choice = c.text("probability_fn", "softmax");
  const bool hard = choice == "hardmax";
  if (choice != "softmax" && !hard) throw unsupported("probability_fn " + choice);
  agree(c, "units", static_cast<double>(Wk.cols()));
  agree(c, "steps", static_cast<double>(call.Q.rows));
  agree(c, "normalize", c.has_weight("attention_g") ? 1 : 0);
  agree(c, "scale", c.has_weight("scale_weight") ? 1 : 0);
  additive_parameters<T> w;
  const matrix<T> W = Wk.transpose();
  if (bahdanau) {
    w.Wq = weight_matrix<T>(c, "query_layer_kernel");
    w.Wk = Wk;
    w.v = weight_row<T>(c, "attention_v");
    if (c.has_weight("attention_g"))
      w.v = softlook::weight_norm(w.v, static_cast<T>(c.weight("attention_g", 0).values[0]));
    if (c.has_weight("attention_b")) w.b = weight_row<T>(c, "attention_b");
  }
  return for_each_problem<T>(m, call, [&](head_problem<T>& p, index b, index) {
    const auto length = lengths[static_cast<std::size_t>(b)];
    if (hard && !bahdanau) {
      const double norm = W.template cast<double>().norm() * std::abs(p.scale.value_or(1));
      p.size = {norm * dot_magnitude(p.Q, p.K), W.rows() + W.cols()};
      return choose(m, p, scores::general(W), length);
    }
    if (hard) {
      p.size = w.size(p);
      if (w.b.size() == 0) return choose(m, p, scores::additive(w.Wq, w.Wk, w.v), length);
      return choose(m, p, scores::additive(w.Wq, w.Wk, w.v, w.b), length);
    }
    return bahdanau ? attend_additive(m, p, w, length) : attend_general(m, p, W, length);
  });
}

outputs tfa_scored(const case_file& c, const mode& m) {
  const bool step = c.has_input("cell_output");
  const grid queries = swapped(grid_of_batch(c, c.input(step ? "cell_output" : "queries", 3)));
  const grid memory = grid_of_batch(c, c.input(step ? "memory_masked" : "memory", 3));
  const auto lengths = memory_lengths(c, "memory_sequence_length", memory);
  attention_call call;
  call.Q = queries;
  call.K = call.V = memory;
  call.wants_weights = true;
  if (c.has_weight("scale_weight")) call.scale = c.weight("scale_weight", 0).values[0];
  const attention_answer a = m.single_precision ? tfa_answer<float>(c, m, call, lengths)
                                                : tfa_answer<double>(c, m, call, lengths);
  outputs out;
  const projection keys = {weight_matrix<double>(c, "memory_layer_kernel"),
                           Eigen::RowVectorXd::Zero(c.weight("memory_layer_kernel", 2).shape[1])};
  out["keys"] = three_dimensional(project(c, zeroed(memory, lengths), keys), 0);
  out["alignments"] = three_dimensional(swapped(a.weights), a.bounds.weights);
  if (!step) {
    out["context"] = three_dimensional(swapped(a.output), a.bounds.output);
  } else if (!c.has_weight("attention_layer_kernel")) {
    out["attention"] = three_dimensional(swapped(a.output), a.bounds.output);
  } else {
    const matrix<double> W = weight_matrix<double>(c, "attention_layer_kernel");
    const projection layer = {W, Eigen::RowVectorXd::Zero(W.cols())};
    out["attention"] = three_dimensional(swapped(project(c, beside(queries, a.output), layer)),
                                         projected_error(a.bounds.output, W));
  }
  return out;
}

template <class T>
attention_answer onmt_answer(const case_file& c, const mode& m, const attention_call& call,
                             const std::vector<std::optional<index>>& lengths) {
  const std::string type = c.text("attn_type");
  additive_parameters<T> w;
  matrix<T> W;
  if (type == "general") {
    W = weight_matrix<T>(c, "linear_in.weight").transpose();
  } else if (type == "mlp") {
    w.Wq = weight_matrix<T>(c, "linear_query.weight").transpose();
    w.Wk = weight_matrix<T>(c, "linear_context.weight").transpose();
    w.v = weight_row<T>(c, "v.weight");
    w.b = weight_row<T>(c, "linear_query.bias");
  } else if (type != "dot") {
    throw unsupported("unknown attn_type " + type);
  }
  const bool sparse = c.text("attn_func") == "sparsemax";
  error_bounds sparse_bounds;
  attention_answer a = for_each_problem<T>(m, call, [&](head_problem<T>& p, index b, index) {
    const auto length = lengths[static_cast<std::size_t>(b)];
    if (sparse && type == "mlp")
      return attend_sparse(m, p, w.size(p), scores::additive(w.Wq, w.Wk, w.v, w.b), length,
                           sparse_bounds);
    if (sparse && type == "general") {
      const double norm = W.template cast<double>().norm();
      return attend_sparse(m, p, {norm * dot_magnitude(p.Q, p.K), W.rows() + W.cols()},
                           scores::general(W), length, sparse_bounds);
    }
    if (sparse)
      return attend_sparse(m, p, {dot_magnitude(p.Q, p.K), p.Q.cols()}, scores::dot{}, length,
                           sparse_bounds);
    if (type == "general") return attend_general(m, p, W, length);
    if (type == "mlp") return attend_additive(m, p, w, length);
    return attend_dot(m, p, length);
  });
  if (sparse) a.bounds = sparse_bounds;
  return a;
}

/// A gradient of weights that are outputs × inputs.
produced transposed_weight(const Eigen::MatrixXd& g) {
  return {{g.cols(), g.rows()}, {g.data(), g.data() + g.size()}, 0};
}
produced row_weight(const Eigen::MatrixXd& g, std::vector<index> shape) {
  return {std::move(shape), {g.data(), g.data() + g.size()}, 0};
}

/// Of all batches: the score's weights get p's gradients, W_out those of `seen`.
template <class P>
void onmt_gradients(const case_file& c, const mode& m, const attention_call& call,
                    const std::vector<std::optional<index>>& lengths, const P& p, P& dp,
                    const softlook::linear_parameters<double>& seen,
                    softlook::linear_parameters<double>& dseen, bool squash, outputs& out) {
  tensor given = c.input("grad_attn_h");
  if (given.rank() == 2) given.shape = {given.shape[0], 1, given.shape[1]};
  const grid dH = grid_of_batch(c, given);
  grid dQ = call.Q, dK = call.K;
  const softlook::options how{.isa = m.isa};
  for (index b = 0; b < call.Q.batches; ++b) {
    const matrix<double> Q = call.Q.head<double>(b, 0), K = call.K.head<double>(b, 0);
    const auto length = lengths[static_cast<std::size_t>(b)];
    const softlook::masks::padding real{length.value_or(K.rows())};
    softlook::saved_memory<double> memory;
    softlook::saved_step<double> step;
    softlook::saved_attentional<double> state;
    softlook::memory_forward(p, K, K, memory, how);
    softlook::step_forward(p, memory, Q, step, real, how);
    softlook::attentional_forward(seen, step.context, Q, state, squash, how);
    const matrix<double> both =
        softlook::attentional_backward(seen, state, dH.head<double>(b, 0), dseen, how);
    softlook::step_backward(p, memory, step, both.leftCols(K.cols()), matrix<double>(), dp, how);
    softlook::memory_backward(p, memory, dp, how);
    dQ.set_head<double>(b, 0, step.dQ + both.rightCols(Q.cols()));
    dK.set_head<double>(b, 0, memory.dkeys + memory.dvalues);
  }
  out["grad_query"] = three_dimensional(dQ, 0);
  out["grad_memory"] = three_dimensional(dK, 0);
}

void add_onmt_gradients(const case_file& c, const mode& m, const attention_call& call,
                        const std::vector<std::optional<index>>& lengths, outputs& out) {
  const std::string type = c.text("attn_type");
  softlook::linear_parameters<double> seen;
  seen.W = weight_matrix<double>(c, "linear_out.weight").transpose();
  if (type == "mlp") {
    seen.b = weight_row<double>(c, "linear_out.bias");
    softlook::additive_parameters<double> p;
    p.Wq = weight_matrix<double>(c, "linear_query.weight").transpose();
    p.Wk = weight_matrix<double>(c, "linear_context.weight").transpose();
    p.v = weight_row<double>(c, "v.weight").transpose();
    p.b = weight_row<double>(c, "linear_query.bias").transpose();
    auto dp = softlook::zeros_like(p);
    auto dseen = softlook::zeros_like(seen);
    onmt_gradients(c, m, call, lengths, p, dp, seen, dseen, false, out);
    const index a = p.v.size();
    out["grad_linear_query.weight"] = transposed_weight(dp.Wq);
    out["grad_linear_context.weight"] = transposed_weight(dp.Wk);
    out["grad_linear_query.bias"] = row_weight(dp.b, {a});
    out["grad_v.weight"] = row_weight(dp.v, {1, a});
    out["grad_linear_out.weight"] = transposed_weight(dseen.W);
    out["grad_linear_out.bias"] = row_weight(dseen.b, {dseen.b.size()});
    return;
  }
  softlook::multiplicative_parameters<double> p;
  if (type == "general") p.W = weight_matrix<double>(c, "linear_in.weight").transpose();
  auto dp = softlook::zeros_like(p);
  auto dseen = softlook::zeros_like(seen);
  onmt_gradients(c, m, call, lengths, p, dp, seen, dseen, true, out);
  if (type == "general") out["grad_linear_in.weight"] = transposed_weight(dp.W);
  out["grad_linear_out.weight"] = transposed_weight(dseen.W);
}

/// attn_h = tanh(W_out [context; q]), for mlp W_out [context; q] + b.
outputs onmt(const case_file& c, const mode& m) {
  const std::string f = c.text("attn_func");
  if (f != "softmax" && f != "sparsemax") throw unsupported("unknown attn_func " + f);
  tensor query = c.input("query");
  const bool one_step = query.rank() == 2;
  agree(c, "one_step", one_step ? 1 : 0);
  if (one_step) query.shape = {query.shape[0], 1, query.shape[1]};
  attention_call call;
  call.Q = grid_of_batch(c, query);
  call.K = call.V = grid_of_batch(c, c.input("memory", 3));
  call.wants_weights = true;
  const auto lengths = memory_lengths(c, "src_len", call.K);
  const attention_answer a = m.single_precision ? onmt_answer<float>(c, m, call, lengths)
                                                : onmt_answer<double>(c, m, call, lengths);
  const bool mlp = c.text("attn_type") == "mlp";
  const projection W = linear(c, "linear_out.weight", mlp ? "linear_out.bias" : "");
  grid h = project(c, beside(a.output, call.Q), W);
  if (!mlp)
    for (double& x : h.values) x = std::tanh(x);
  outputs out;
  out["attn_h"] = three_dimensional(h, projected_error(a.bounds.output, W.W));
  out["align_vectors"] = three_dimensional(a.weights, a.bounds.weights);
  if (c.has_input("grad_attn_h") && !m.single_precision)
    add_onmt_gradients(c, m, call, lengths, out);
  if (one_step) {
    out["attn_h"].shape = {h.batches, h.cols};
    out["align_vectors"].shape = {a.weights.batches, a.weights.cols};
    if (out.contains("grad_query")) out["grad_query"].shape = {h.batches, h.cols};
  }
  return out;
}

/// AllenNLP's similarity functions: scores, or weights when `normalize` is set.
template <class T>
outputs allennlp_scores(const case_file& c, const mode& m) {
  const bool vector = c.has_input("vector");
  tensor first = c.input(vector ? "vector" : "matrix_1", vector ? 2 : 3);
  if (vector) first.shape = {first.shape[0], 1, first.shape[1]};
  const bool ones = c.flag("use_input_biases");
  const auto rows_of = [&](const tensor& t) {
    const grid g = grid_of_batch(c, t);
    return ones
               ? beside(g, {g.batches, 1, g.rows, 1,
                            std::vector<double>(static_cast<std::size_t>(g.batches * g.rows), 1.0)})
               : g;
  };
  const grid Q = rows_of(first), K = rows_of(c.input(vector ? "matrix" : "matrix_2", 3));
  require(c, Q.batches == K.batches, "the two inputs differ in batches");
  grid result = grid::zeros(Q.batches, 1, Q.rows, K.rows);
  error_bounds bounds;
  for (index b = 0; b < Q.batches; ++b) {
    head_problem<T> p;
    p.Q = Q.head<T>(b, 0);
    p.K = p.V = K.head<T>(b, 0);
    const auto set = [&](const auto&... policies) {
      bounds = worst(bounds, p.bounds());
      result.set_head<T>(b, 0,
                         c.flag("normalize")
                             ? attend(m, p, policies...).weights[0]
                             : attend_scores(m, p, softlook::stage::biased, policies...)[0]);
    };
    if (c.op.rfind("allennlp.Additive", 0) == 0) {
      additive_parameters<T> w = {weight_matrix<T>(c, "w_matrix"), weight_matrix<T>(c, "u_matrix"),
                                  weight_row<T>(c, "v_vector"), row<T>()};
      p.size = w.size(p);
      set(scores::additive(w.Wq, w.Wk, w.v));
    } else if (c.op.rfind("allennlp.Bilinear", 0) == 0) {
      const matrix<T> W = weight_matrix<T>(c, "weight_matrix");
      const matrix<T> bias =
          matrix<T>::Constant(1, p.K.rows(), static_cast<T>(c.weight("bias", 1).values.at(0)));
      p.size = {W.template cast<double>().norm() * dot_magnitude(p.Q, p.K), W.rows() + W.cols()};
      p.added = finite_magnitude(bias);
      set(scores::general(W), softlook::transforms::bias(bias));
    } else if (c.op.rfind("allennlp.Linear", 0) == 0) {
      const row<T> w = weight_row<T>(c, "weight_vector");
      const matrix<T> bias =
          matrix<T>::Constant(1, 1, static_cast<T>(c.weight("bias", 1).values.at(0)));
      const double rows = std::max(dot_magnitude(p.Q, matrix<T>::Ones(1, 1)),
                                   dot_magnitude(p.K, matrix<T>::Ones(1, 1)));
      p.size = {w.template cast<double>().norm() * rows * (2 + rows), w.cols()};
      p.added = finite_magnitude(bias);
      set(scores::trilinear(w), softlook::transforms::bias(bias));
    } else if (c.op.rfind("allennlp.Cosine", 0) == 0) {
      p.size = {1, p.Q.cols()};
      set(scores::cosine{});
    } else if (c.op.rfind("allennlp.DotProduct", 0) == 0) {
      p.scale = 1;
      set(scores::scaled_dot{});
    } else {
      const auto features = static_cast<double>(p.Q.cols());
      p.scale = 1 / std::sqrt(c.number("scaling_factor", features));
      set(scores::scaled_dot{});
    }
  }
  const double bound = c.flag("normalize") ? bounds.weights : bounds.scores;
  produced output = three_dimensional(result, bound);
  if (vector) output.shape = {result.batches, result.cols};
  return {{"output", output}};
}

outputs allennlp(const case_file& c, const mode& m) {
  if (c.flag("use_input_biases") && c.op.rfind("allennlp.Bilinear", 0) != 0)
    throw unsupported("input biases of " + c.op);
  const std::string joined = c.text("combination", "x,y");
  if (joined != "x,y" && joined != "x,y,x*y") throw unsupported("combination " + joined);
  return m.single_precision ? allennlp_scores<float>(c, m) : allennlp_scores<double>(c, m);
}

}  // namespace

void add_seq2seq_adapters(adapter_table& table) {
  table["tfa.BahdanauAttention"] = tfa_scored;
  table["tfa.LuongAttention"] = tfa_scored;
  table["tfa.AttentionStep.BahdanauAttention"] = tfa_scored;
  table["tfa.AttentionStep.LuongAttention"] = tfa_scored;
  table["onmt.GlobalAttention"] = onmt;
  for (const char* op : {"AdditiveAttention", "BilinearAttention", "BilinearMatrixAttention",
                         "CosineAttention", "CosineMatrixAttention", "DotProductAttention",
                         "DotProductMatrixAttention", "LinearAttention", "LinearMatrixAttention",
                         "ScaledDotProductAttention", "ScaledDotProductMatrixAttention"})
    table[std::string("allennlp.") + op] = allennlp;
}

}  // namespace conformance
