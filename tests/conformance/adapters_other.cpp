#include <limits>

#include "adapters.hpp"

/// JAX, FlashAttention's reference, Hugging Face, flash-linear-attention's softmax attention, and
/// AllenNLP's masked softmax, ALiBi's slopes.
namespace conformance {
namespace {

namespace masks = softlook::masks;
namespace transforms = softlook::transforms;

attention_call read_call(const case_file& c, const char* q, const char* k, const char* v,
                         layout how) {
  attention_call call;
  call.Q = grid_of(c, c.input(q, 4), how);
  call.K = grid_of(c, c.input(k, 4), how);
  call.V = grid_of(c, c.input(v, 4), how);
  return call;
}

/// Two whole numbers, as "3 0".
std::pair<index, index> number_pair(const case_file& c, const char* name) {
  const std::string text = c.text(name);
  const std::size_t blank = text.find(' ');
  double first = 0, second = 0;
  const bool fine = blank != std::string::npos && parse_number(text.substr(0, blank), first) &&
                    parse_number(text.substr(blank + 1), second) && std::abs(first) < 1e9 &&
                    std::abs(second) < 1e9;
  require(c, fine, std::string(name) + " is two numbers");
  return {static_cast<index>(first), static_cast<index>(second)};
}

/// The gradients of Q, K and V, where they have been computed.
void add_gradients(const attention_answer& a, const char* q, const char* k, const char* v,
                   outputs& out) {
  if (a.dQ.values.empty()) return;
  out[q] = tokens_first(a.dQ, 0);
  out[k] = tokens_first(a.dK, 0);
  out[v] = tokens_first(a.dV, 0);
}

grid without_last_row(const grid& g) {
  grid out = grid::zeros(g.batches, g.heads, g.rows - 1, g.cols);
  for_each_head(out, [&](index b, index h) {
    out.set_head<double>(b, h, g.head<double>(b, h).topRows(out.rows));
  });
  return out;
}

/// A sink is a last key that is not the case's; returns the gradients of its logits.
std::vector<double> take_sink_off(attention_answer& a) {
  std::vector<double> sinks(static_cast<std::size_t>(a.dbias.heads), 0);
  if (a.dK.values.empty()) return sinks;
  for_each_head(a.dbias, [&](index b, index h) {
    sinks[static_cast<std::size_t>(h)] += a.dbias.head<double>(b, h).rightCols(1).sum();
  });
  a.dK = without_last_row(a.dK);
  a.dV = without_last_row(a.dV);
  return sinks;
}

void clear_padded_queries(grid& g, const std::vector<index>& lengths) {
  for_each_head(g, [&](index b, index h) {
    const index real = lengths[static_cast<std::size_t>(b)];
    std::fill_n(g.slice(b, h) + real * g.cols, (g.rows - real) * g.cols, 0.0);
  });
}

outputs jax(const case_file& c, const mode& m) {
  attention_call call = read_call(c, "query", "key", "value", layout::tokens_first);
  const index batches = call.Q.batches, heads = call.Q.heads;
  if (c.has("scale")) call.scale = c.number("scale", 0);
  if (c.has_input("mask"))
    call.allowed = aligned(c, c.input("mask"), batches, heads, call.Q.rows, call.K.rows);
  if (c.has_input("bias"))
    call.bias = aligned(c, c.input("bias"), batches, heads, call.Q.rows, call.K.rows);
  mask_parts parts;
  if (c.flag("is_causal")) parts.causal = mask_parts::diagonal::top_left;
  if (c.has("local_window_size")) {
    const auto [left, right] = number_pair(c, "local_window_size");
    parts.window = masks::window{.left = left, .right = right};
  }
  if (!c.has_input("key_value_seq_lengths")) {
    call.masks = {parts};
  } else {
    for (const index n : lengths_of(c, c.input("key_value_seq_lengths"), batches, call.K.rows)) {
      parts.length = n;
      call.masks.push_back(parts);
    }
  }
  if (c.has_input("grad_output"))
    call.dO = grid_of(c, c.input("grad_output", 4), layout::tokens_first);
  std::vector<index> queries(static_cast<std::size_t>(batches), call.Q.rows);
  if (c.has_input("query_seq_lengths"))
    queries = lengths_of(c, c.input("query_seq_lengths"), batches, call.Q.rows);
  if (call.dO) clear_padded_queries(*call.dO, queries);
  attention_answer a = run(m, call);
  clear_padded_queries(a.output, queries);
  outputs out = {{"output", tokens_first(a.output, a.bounds.output)}};
  add_gradients(a, "grad_query", "grad_key", "grad_value", out);
  return out;
}

/// Per batch the number of real positions of a padding mask, which has them in front.
std::vector<index> real_lengths(const case_file& c, const char* name, index batches, index limit) {
  if (!c.has_input(name)) return std::vector<index>(static_cast<std::size_t>(batches), limit);
  const tensor& t = c.input(name, 2);
  require(c, t.shape[0] == batches && t.shape[1] == limit, std::string(name) + " does not fit");
  std::vector<index> lengths;
  for (index b = 0; b < batches; ++b) {
    index length = 0;
    for (index j = 0; j < limit; ++j) {
      if (t.values[static_cast<std::size_t>(b * limit + j)] == 0) continue;
      if (length != j) throw unsupported(std::string(name) + " with gaps");
      ++length;
    }
    lengths.push_back(length);
  }
  return lengths;
}

/// What the reference says of a case in numbers.
struct flash_rules {
  index left = -1, right = -1;  // −1: unbounded
  index sink_tokens = 0;        // these keys are always inside the left bound
  index chunk = 0;              // a query sees the chunk of keys that its position lies in
  bool causal = false;
  bool padded = false;

  explicit flash_rules(const case_file& c)
      : left(c.integer("window_left", -1)),
        right(c.integer("window_right", -1)),
        sink_tokens(c.integer("sink_token_length", 0)),
        chunk(c.integer("attention_chunk", 0)),
        causal(c.flag("causal")),
        padded(c.has_input("key_padding_mask") || c.has_input("query_padding_mask")) {}

  /// Whether masks have the words for it: for sink tokens and chunks the cases are computed from a
  /// matrix.
  bool plain() const { return chunk <= 0 && (sink_tokens <= 0 || left < 0); }

  mask_parts parts(index offset) const {
    mask_parts parts;
    if (left >= 0 || right >= 0) {
      masks::window w;
      if (left >= 0) w.left = left;
      if (right >= 0) w.right = right;
      w.offset = offset;
      parts.window = w;
    }
    if (causal && padded) parts.causal_offset = offset;
    if (causal && !padded) parts.causal = mask_parts::diagonal::bottom_right;
    return parts;
  }
  bool allows(index position, index j) const {
    const index last = causal ? position : position + right;
    if ((causal || right >= 0) && j > last) return false;
    if (left >= 0 && j < position - left && j >= sink_tokens) return false;
    return chunk <= 0 || (position >= 0 && position / chunk == j / chunk);
  }
};

struct flash_lengths {
  std::vector<index> queries, keys;  // real ones of each batch

  index offset(index b) const {
    const auto at = static_cast<std::size_t>(b);
    return keys[at] - queries[at];
  }
};

/// All rules as a matrix; more than `keys` keys are visible to every query.
grid flash_matrix(const flash_rules& rules, const flash_lengths& real, index queries, index keys,
                  index more) {
  grid g = grid::zeros(static_cast<index>(real.keys.size()), 1, queries, keys + more);
  for_each_head(g, [&](index b, index) {
    const index length = real.keys[static_cast<std::size_t>(b)];
    for (index i = 0; i < queries; ++i)
      for (index j = 0; j < keys + more; ++j) {
        const bool seen = j >= keys || (j < length && rules.allows(i + real.offset(b), j));
        g.slice(b, 0)[i * g.cols + j] = seen ? 1 : 0;
      }
  });
  return g;
}

/// ALiBi as this reference writes it: −slope·|i + m − n − j| with the real lengths m and n, and
/// with causal slope·(j − (m − 1)), which only the log-sum-exp tells from the former.
grid flash_alibi(const case_file& c, const attention_call& call, const flash_lengths& real) {
  const tensor& t = c.input("alibi_slopes", 2);
  const index heads = call.Q.heads, keys = call.K.rows;
  require(c, t.shape[0] == call.Q.batches && t.shape[1] == heads,
          "alibi_slopes are (batch, heads)");
  const bool causal = c.flag("causal");
  grid bias = grid::zeros(call.Q.batches, heads, call.Q.rows, keys);
  for_each_head(bias, [&](index b, index h) {
    const double slope = t.values[static_cast<std::size_t>(b * heads + h)];
    for (index i = 0; i < call.Q.rows; ++i)
      for (index j = 0; j < keys; ++j) {
        const index distance = causal ? keys - 1 - j : std::abs(i + real.offset(b) - j);
        bias.slice(b, h)[i * keys + j] = -slope * static_cast<double>(distance);
      }
  });
  return bias;
}

/// Output and weights by the library's own ALiBi.
template <class T>
attention_answer own_alibi(const case_file& c, const mode& m, const attention_call& call) {
  const tensor& t = c.input("alibi_slopes", 2);
  const index heads = call.Q.heads;
  const double reach = static_cast<double>(std::max(call.Q.rows, call.K.rows));
  attention_call without_bias = call;
  without_bias.bias.reset();
  return for_each_problem<T>(m, without_bias, [&](head_problem<T>& p, index b, index) {
    const Eigen::VectorXd slopes =
        Eigen::Map<const Eigen::VectorXd>(t.values.data() + b * heads, heads);
    p.added = reach * finite_magnitude(slopes);
    const transforms::alibi_per_head alibi(slopes);
    if (c.flag("causal")) return attend(m, p, alibi, masks::causal_bottom_right{});
    return attend(m, p, alibi);
  });
}

/// A learned logit per head that joins the softmax without a value: one more key that every query
/// sees, whose score is only its bias and whose value is zero.
void add_sink(const case_file& c, attention_call& call, const tensor& sinks) {
  const index heads = call.Q.heads, n = call.Q.rows, keys = call.K.rows;
  require(c, sinks.rank() == 1 && sinks.shape[0] == heads, "there is one sink for each head");
  const grid given = call.bias.value_or(grid{1, 1, 1, 1, {0.0}});
  grid bias = grid::zeros(given.batches, heads, n, keys + 1);
  for_each_head(bias, [&](index b, index h) {
    for (index i = 0; i < n; ++i) {
      double* row = bias.slice(b, h) + i * (keys + 1);
      const double* before = given.slice(b, h) + (given.rows == 1 ? 0 : i) * given.cols;
      for (index j = 0; j < keys; ++j) row[j] = before[given.cols == 1 ? 0 : j];
      row[keys] = sinks.values[static_cast<std::size_t>(h)];
    }
  });
  call.bias = bias;
  call.K = stacked(call.K, grid::zeros(1, 1, 1, call.K.cols));
  call.V = stacked(call.V, grid::zeros(1, 1, 1, call.V.cols));
}

grid without_last_key(const grid& weights) {
  grid g = grid::zeros(weights.batches, weights.heads, weights.rows, weights.cols - 1);
  for_each_head(g, [&](index b, index h) {
    g.set_head<double>(b, h, weights.head<double>(b, h).leftCols(g.cols));
  });
  return g;
}

outputs flash_reference(const case_file& c, const mode& m) {
  attention_call call = read_call(c, "q", "k", "v", layout::tokens_first);
  if (c.number("softcap", 0) != 0) call.soft_cap = c.number("softcap", 0);
  call.wants_weights = true;
  const index batches = call.Q.batches, n = call.Q.rows, keys = call.K.rows;
  const flash_lengths real = {real_lengths(c, "query_padding_mask", batches, n),
                              real_lengths(c, "key_padding_mask", batches, keys)};
  const flash_rules rules(c);
  const bool sink = c.has_input("learnable_sink"), alibi = c.has_input("alibi_slopes");
  if (alibi) call.bias = flash_alibi(c, call, real);
  if (rules.plain() && !sink) {
    for (index b = 0; b < batches; ++b) {
      call.masks.push_back(rules.parts(real.offset(b)));
      if (c.has_input("key_padding_mask"))
        call.masks.back().length = real.keys[static_cast<std::size_t>(b)];
    }
  } else {
    call.allowed = flash_matrix(rules, real, n, keys, sink ? 1 : 0);
  }
  if (sink) add_sink(c, call, c.input("learnable_sink"));
  if (c.has_input("grad_output"))
    call.dO = grid_of(c, c.input("grad_output", 4), layout::tokens_first);
  if (call.dO) clear_padded_queries(*call.dO, real.queries);
  attention_answer a = run(m, call);
  if (alibi && rules.plain() && !sink && !rules.padded && !call.soft_cap && rules.left < 0 &&
      rules.right < 0) {
    const attention_answer own =
        m.single_precision ? own_alibi<float>(c, m, call) : own_alibi<double>(c, m, call);
    a.output = own.output;
    a.weights = own.weights;
  }
  if (sink) a.weights = without_last_key(a.weights);
  if (sink) take_sink_off(a);
  clear_padded_queries(a.output, real.queries);
  clear_padded_queries(a.weights, real.queries);
  const std::vector<index> per_query = {batches, call.Q.heads, n};
  outputs out = {{"output", tokens_first(a.output, a.bounds.output)},
                 {"attention", heads_first(a.weights, a.bounds.weights)},
                 {"lse", reshaped(heads_first(a.log_sum_exp, a.bounds.log_sum_exp), per_query)}};
  add_gradients(a, "grad_q", "grad_k", "grad_v", out);
  return out;
}

/// eager_attention_forward of transformers: scaling, soft cap, an additive mask, sinks.
outputs hugging_face(const case_file& c, const mode& m) {
  attention_call call = read_call(c, "query", "key", "value", layout::heads_first);
  call.scale = c.number("scaling", 1);
  if (c.number("softcap", 0) != 0) call.soft_cap = c.number("softcap", 0);
  call.wants_weights = true;
  const bool sink = c.has_input("sinks");
  if (c.has_input("attention_mask"))
    call.bias = aligned(c, c.input("attention_mask"), call.Q.batches, call.Q.heads, call.Q.rows,
                        call.K.rows);
  if (sink) add_sink(c, call, c.input("sinks"));
  attention_answer a = run(m, call);
  if (sink) a.weights = without_last_key(a.weights);
  return {{"output", tokens_first(a.output, a.bounds.output)},
          {"attn_weights", heads_first(a.weights, a.bounds.weights)}};
}

/// A gate on scores:  Σ_{t ≤ i} g_t − Σ_{t ≤ j} g_t  for each head.
grid decay_between(const case_file& c, const attention_call& call) {
  const tensor& g = c.input("g", 3);
  const index batches = call.Q.batches, n = call.Q.rows, heads = call.Q.heads;
  const bool fits = g.shape[0] == batches && g.shape[1] == n && g.shape[2] == heads;
  require(c, fits && call.K.rows == n, "g does not fit the queries");
  grid bias = grid::zeros(batches, heads, n, n);
  for_each_head(bias, [&](index b, index h) {
    Eigen::VectorXd sums(n);
    double sum = 0;
    for (index i = 0; i < n; ++i)
      sums[i] = sum += g.values[static_cast<std::size_t>((b * n + i) * heads + h)];
    const matrix<double> B = sums.replicate(1, n) - sums.transpose().replicate(n, 1);
    bias.set_head<double>(b, h, B);
  });
  return bias;
}

/// Of dB: each g_t is in the sums of the positions from t on, which queries add and keys take off.
produced decay_gradient(const grid& dB, index tokens) {
  grid g = grid::zeros(dB.batches, dB.heads, tokens, 1);
  for_each_head(dB, [&](index b, index h) {
    const matrix<double> B = dB.head<double>(b, h).leftCols(tokens);
    double sum = 0;
    for (index t = tokens - 1; t >= 0; --t)
      g.slice(b, h)[t] = sum += B.row(t).sum() - B.col(t).sum();
  });
  return reshaped(tokens_first(g, 0), {g.batches, tokens, g.heads});
}

/// max_logits are the largest masked scores of each query, a sink's logit included.
outputs fla_softmax(const case_file& c, const mode& m) {
  attention_call call = read_call(c, "q", "k", "v", layout::tokens_first);
  if (c.has("scale")) call.scale = c.number("scale", 1);
  const index n = call.Q.rows, width = c.integer("window_size", 0);
  require(c, call.K.rows == n, "queries and keys are the same tokens");
  const bool causal = c.flag("causal");
  require(c, causal || width <= 0, "a window of attention that is not causal");
  if (c.has_input("g")) call.bias = decay_between(c, call);
  if (c.has_input("sink_bias")) {
    add_sink(c, call, c.input("sink_bias"));
    if (causal) {
      grid seen = grid::zeros(1, 1, n, n + 1);
      for (index i = 0; i < n; ++i)
        for (index j = 0; j <= n; ++j)
          seen.values[static_cast<std::size_t>(i * (n + 1) + j)] =
              j == n || (j <= i && (width <= 0 || i - j < width)) ? 1 : 0;
      call.allowed = seen;
    }
  } else if (causal) {
    mask_parts parts{.causal = mask_parts::diagonal::top_left};
    if (width > 0) parts.window = masks::window_of(width);
    call.masks = {parts};
  }
  call.wants_scores = softlook::stage::masked;
  require(c, call.K.rows > 0, "max_logits need a key");
  if (c.has_input("grad_o")) call.dO = grid_of(c, c.input("grad_o", 4), layout::tokens_first);
  attention_answer a = run(m, call);
  grid largest = grid::zeros(a.scores.batches, a.scores.heads, a.scores.rows, 1);
  for_each_head(largest, [&](index b, index h) {
    largest.set_head<double>(b, h, a.scores.head<double>(b, h).rowwise().maxCoeff());
  });
  const std::vector<index> shape = {largest.batches, largest.rows, largest.heads};
  outputs out = {{"o", tokens_first(a.output, a.bounds.output)},
                 {"max_logits", reshaped(tokens_first(largest, a.bounds.scores), shape)}};
  if (a.dQ.values.empty()) return out;
  if (c.has_input("g")) out["grad_g"] = decay_gradient(a.dbias, n);
  if (c.has_input("sink_bias")) {
    const std::vector<double> sinks = take_sink_off(a);
    out["grad_sink_bias"] = {{static_cast<index>(sinks.size())}, sinks, 0};
  }
  add_gradients(a, "grad_q", "grad_k", "grad_v", out);
  return out;
}

/// Forgetting attention: a causal softmax with such a gate.
outputs fla_forgetting(const case_file& c, const mode& m) {
  attention_call call = read_call(c, "q", "k", "v", layout::tokens_first);
  if (c.has("scale")) call.scale = c.number("scale", 1);
  call.bias = decay_between(c, call);
  mask_parts parts{.causal = mask_parts::diagonal::top_left};
  if (const index width = c.integer("window_size", 0); width > 0)
    parts.window = masks::window_of(width);
  call.masks = {parts};
  if (c.has_input("grad_o")) call.dO = grid_of(c, c.input("grad_o", 4), layout::tokens_first);
  const attention_answer a = run(m, call);
  outputs out = {{"o", tokens_first(a.output, a.bounds.output)}};
  add_gradients(a, "grad_q", "grad_k", "grad_v", out);
  if (!a.dbias.values.empty()) out["grad_g"] = decay_gradient(a.dbias, call.Q.rows);
  return out;
}

/// Softmax of given scores: queries and keys without features score 0, the scores are the bias, and
/// the identity as values makes the output the weights.
outputs masked_softmax(const case_file& c, const mode& m) {
  const tensor& x = c.input("vector", 2);
  const index batches = x.shape[0], entries = x.shape[1];
  attention_call call;
  call.Q = grid::zeros(batches, 1, 1, 0);
  call.K = grid::zeros(1, 1, entries, 0);
  call.V = grid::zeros(1, 1, entries, entries);
  call.V.set_head<double>(0, 0, matrix<double>::Identity(entries, entries));
  call.scale = 1;
  call.bias = grid{batches, 1, 1, entries, x.values};
  if (c.has_input("mask")) call.allowed = key_mask(c, c.input("mask"), batches, entries);
  const attention_answer a = run(m, call);
  return {{"output", {{batches, entries}, a.output.values, a.bounds.output}}};
}

outputs alibi_slopes(const case_file& c, const mode&) {
  const index heads = c.integer("num_heads", 0);
  require(c, heads <= 4096, "num_heads is too large");
  const Eigen::VectorXd slopes = transforms::alibi_slopes(heads);
  return {{"slopes", {{slopes.size()}, {slopes.data(), slopes.data() + slopes.size()}, 0}}};
}

}  // namespace

void add_other_adapters(adapter_table& table) {
  table["jax.dot_product_attention"] = jax;
  table["flash_attn.attention_ref"] = flash_reference;
  table["gemma2.eager_attention_forward"] = hugging_face;
  table["gpt_oss.eager_attention_forward"] = hugging_face;
  table["fla.naive_parallel_attn"] = fla_softmax;
  table["fla.naive_forgetting_attn"] = fla_forgetting;
  table["allennlp.masked_softmax"] = masked_softmax;
  table["alibi_slopes"] = alibi_slopes;
}

}  // namespace conformance
