#include <algorithm>

#include "adapters.hpp"
#include "layers.hpp"

/// Keras writes masks as 1 = attend and subtracts 1e9 from masked scores. Where a query has a key
/// left that equals our masks; where it has none Keras gives the softmax of the unmasked scores,
/// which is no convention of ours.
namespace conformance {
namespace {

namespace masks = softlook::masks;
namespace scores = softlook::scores;

struct keras_inputs {
  attention_call call;
  bool causal = false;
};

bool some_key_for_each_query(const attention_call& call, bool causal) {
  if (!call.allowed) return true;
  const grid& g = *call.allowed;
  bool every = true;
  for_each_head(g, [&](index b, index h) {
    for (index i = 0; i < call.Q.rows; ++i) {
      const double* row = g.slice(b, h) + (g.rows == 1 ? 0 : i) * g.cols;
      const double* end = row + (causal ? std::min(i + 1, g.cols) : g.cols);
      every = every && std::any_of(row, end, [](double x) { return x != 0; });
    }
  });
  return every;
}

void add_mask(attention_call& call, const grid& g) {
  call.allowed = call.allowed ? intersection(*call.allowed, g) : g;
}

keras_inputs read_inputs(const case_file& c) {
  keras_inputs in;
  in.call.Q = grid_of_batch(c, c.input("query", 3));
  in.call.V = grid_of_batch(c, c.input("value", 3));
  in.call.K = c.has_input("key") ? grid_of_batch(c, c.input("key", 3)) : in.call.V;
  in.call.wants_weights = c.expects("attention_scores");
  in.causal = c.flag("use_causal_mask");
  if (c.has_input("value_mask"))
    add_mask(in.call, key_mask(c, c.input("value_mask"), in.call.Q.batches, in.call.K.rows));
  return in;
}

/// query_mask zeroes rows of the output, not of the weights.
outputs results(const case_file& c, attention_answer a) {
  if (c.has_input("query_mask")) {
    const tensor& t = c.input("query_mask", 2);
    require(c, t.shape[0] == a.output.batches && t.shape[1] == a.output.rows,
            "query_mask has an entry for each query");
    for (index i = 0; i < t.shape[0] * t.shape[1]; ++i)
      if (t.values[static_cast<std::size_t>(i)] == 0)
        std::fill_n(a.output.values.begin() + i * a.output.cols, a.output.cols, 0.0);
  }
  outputs out;
  out["output"] = packed(a.output, a.bounds.output);
  if (c.expects("attention_scores")) {
    const grid& W = a.weights;
    out["attention_scores"] = {{W.batches, W.rows, W.cols}, W.values, a.bounds.weights};
  }
  return out;
}

/// Additive scores of Keras:  Σ_d v_d tanh(x_d) with x = q + k, or x = factor·(q + k).
template <class T>
attention_answer additive(const mode& m, const keras_inputs& in, const row<T>& v,
                          std::optional<double> factor) {
  const attention_call& call = in.call;
  const index d = call.Q.cols, hidden = factor ? d : 0;
  if (hidden > 4096) throw unsupported("additive scores with a factor of so many features");
  const matrix<T> W = matrix<T>::Identity(hidden, hidden) * static_cast<T>(factor.value_or(1));
  return for_each_problem<T>(m, call, [&](head_problem<T>& p, index b, index h) {
    const double inside = factor ? std::abs(*factor) : 1;
    const double reach = inside * (finite_magnitude(p.Q) + finite_magnitude(p.K));
    p.size = {(1 + reach) * v.template cast<double>().cwiseAbs().sum(), d};
    const auto masked = [&](const auto& score) {
      if (call.allowed && in.causal) {
        const bool_matrix allowed = (call.allowed->head<double>(b, h).array() != 0).matrix();
        return attend(m, p, score, masks::dense(allowed) & masks::causal_top_left{});
      }
      if (in.causal) return attend(m, p, score, masks::causal_top_left{});
      if (!call.allowed) return attend(m, p, score);
      const bool_matrix allowed = (call.allowed->head<double>(b, h).array() != 0).matrix();
      return attend(m, p, score, masks::dense(allowed));
    };
    if (factor) return masked(scores::additive(W, W, v));
    return masked(scores::additive_projected(v));
  });
}

double scalar(const case_file& c, const char* name, double otherwise) {
  if (!c.has_weight(name)) return otherwise;
  return c.weight(name, 0).values[0];
}

template <class T>
attention_answer keras_additive(const case_file& c, const mode& m, const keras_inputs& in) {
  const index d = in.call.Q.cols;
  row<T> v = row<T>::Ones(d);
  if (c.has_weight("scale")) {
    const tensor& t = c.weight("scale", 1);
    require(c, t.shape[0] == d, "scale has an entry for each feature");
    v = Eigen::Map<const row<double>>(t.values.data(), d).template cast<T>();
  }
  return additive<T>(m, in, v, std::nullopt);
}

/// "concat" mode:  w · Σ_d tanh(scale·(q_d + k_d)).
template <class T>
attention_answer keras_concat(const case_file& c, const mode& m, const keras_inputs& in) {
  const auto w = static_cast<T>(scalar(c, "concat_score_weight", 1));
  const row<T> v = row<T>::Constant(in.call.Q.cols, w);
  std::optional<double> factor;
  if (c.has_weight("scale")) factor = scalar(c, "scale", 1);
  return additive<T>(m, in, v, factor);
}

attention_answer keras_dot(const case_file& c, const mode& m, keras_inputs in) {
  in.call.scale = scalar(c, "scale", 1);
  if (in.causal) in.call.masks = {mask_parts{.causal = mask_parts::diagonal::top_left}};
  return run(m, in.call);
}

outputs attention_layer(const case_file& c, const mode& m) {
  const keras_inputs in = read_inputs(c);
  require(c, in.call.Q.cols == in.call.K.cols, "query and key differ in features");
  agree(c, "use_scale", c.has_weight("scale") ? 1 : 0);
  if (!c.implementation_defined() && !some_key_for_each_query(in.call, in.causal))
    throw unsupported("Keras gives a fully masked row the softmax of its raw scores");
  const bool additive = c.op == "keras.AdditiveAttention";
  if (additive && m.single_precision) return results(c, keras_additive<float>(c, m, in));
  if (additive) return results(c, keras_additive<double>(c, m, in));
  const std::string score = c.text("score_mode", "dot");
  if (score == "dot") return results(c, keras_dot(c, m, in));
  if (score != "concat") throw unsupported("unknown score_mode " + score);
  if (m.single_precision) return results(c, keras_concat<float>(c, m, in));
  return results(c, keras_concat<double>(c, m, in));
}

/// Kernels are (in, heads, features): a matrix in × heads·features.
Eigen::MatrixXd head_kernel(const case_file& c, const char* name, index heads) {
  const tensor& W = c.weight(std::string(name) + "_kernel", 3);
  require(c, heads > 0 && W.shape[1] == heads, "a kernel does not fit its number of heads");
  return Eigen::Map<const matrix<double>>(W.values.data(), W.shape[0], heads * W.shape[2]);
}

/// Biases have one dimension less than kernels; their values already lie side by side.
Eigen::RowVectorXd bias_row(const case_file& c, const std::string& name) {
  if (!c.has_weight(name)) return {};
  const std::vector<double>& values = c.weight(name).values;
  return Eigen::Map<const Eigen::RowVectorXd>(values.data(), static_cast<index>(values.size()));
}

multi_head_call read_multi_head(const case_file& c) {
  multi_head_call call;
  call.heads.query = c.integer("num_heads", 0);
  call.heads.kv = c.integer("num_kv_heads", call.heads.query);
  auto& p = call.parameters;
  p.Wq = head_kernel(c, "query", call.heads.query);
  p.Wk = head_kernel(c, "key", *call.heads.kv);
  p.Wv = head_kernel(c, "value", *call.heads.kv);
  const tensor& Wo = c.weight("output_kernel", 3);  // (heads, features, out)
  p.Wo = Eigen::Map<const matrix<double>>(Wo.values.data(), Wo.shape[0] * Wo.shape[1], Wo.shape[2]);
  p.bq = bias_row(c, "query_bias");
  p.bk = bias_row(c, "key_bias");
  p.bv = bias_row(c, "value_bias");
  p.bo = bias_row(c, "output_bias");
  call.Q = grid_of_batch(c, c.input("query", 3));
  call.V = grid_of_batch(c, c.input("value", 3));
  call.K = c.has_input("key") ? grid_of_batch(c, c.input("key", 3)) : call.V;
  call.wants_weights = c.expects("attention_scores");
  agree(c, "key_dim", static_cast<double>(c.weight("query_kernel", 3).shape[2]));
  agree(c, "value_dim", static_cast<double>(c.weight("value_kernel", 3).shape[2]));
  agree(c, "use_bias", c.has_weight("query_bias") ? 1 : 0);
  return call;
}

/// 1 = attend. The call's query_mask is not used: this version of Keras ignores it.
layer_masks read_masks(const case_file& c, const multi_head_call& call) {
  const index batches = call.Q.batches, queries = call.Q.rows, keys = call.K.rows;
  layer_masks masks;
  masks.ones_attend = true;
  if (c.has_input("value_mask")) masks.mask = key_mask(c, c.input("value_mask"), batches, keys);
  if (c.has_input("attention_mask")) {
    tensor t = c.input("attention_mask", 3);
    t.shape = {t.shape[0], 1, t.shape[1], t.shape[2]};
    const grid g = aligned(c, t, batches, 1, queries, keys);
    masks.mask = masks.mask ? intersection(*masks.mask, g) : g;
  }
  if (c.has("sliding_window")) {  // w means |i − j| < w
    const index reach = c.integer("sliding_window", 1) - 1;
    masks.window = softlook::masks::window{.left = reach, .right = reach};
  }
  if (c.flag("use_causal_mask")) {  // top-left
    if (!masks.window) masks.window = softlook::masks::window{};
    masks.window->right = 0;
  }
  return masks;
}

outputs multi_head_attention(const case_file& c, const mode& m) {
  multi_head_call call = read_multi_head(c);
  call.masks = read_masks(c, call);
  const layer_answer a = run(m, call);
  outputs out;
  out["output"] = packed(a.output, a.output_bound);
  if (call.wants_weights) out["attention_scores"] = heads_first(a.weights, a.weight_bound);
  if (c.expects("output_noscores_path")) out["output_noscores_path"] = out["output"];
  return out;
}

}  // namespace

void add_keras_adapters(adapter_table& table) {
  table["keras.Attention"] = attention_layer;
  table["keras.AdditiveAttention"] = attention_layer;
  table["keras.MultiHeadAttention"] = multi_head_attention;
  table["keras.GroupedQueryAttention"] = multi_head_attention;
}

}  // namespace conformance
