#include <cmath>
#include <cstdint>
#include <limits>

#include "adapters.hpp"

namespace conformance {
namespace {

struct onnx_inputs {
  grid Q, K, V;
  index past = 0;
  bool packed = false;
};

onnx_inputs read_inputs(const case_file& c) {
  const tensor &q = c.input("Q"), &k = c.input("K"), &v = c.input("V");
  onnx_inputs in;
  in.packed = q.rank() == 3;
  if (in.packed) {
    const index kv = c.integer("kv_num_heads", 0);
    in.Q = grid_of_packed(c, q, c.integer("q_num_heads", 0));
    in.K = grid_of_packed(c, k, kv);
    in.V = grid_of_packed(c, v, kv);
  } else {
    in.Q = grid_of(c, c.input("Q", 4));
    in.K = grid_of(c, c.input("K", 4));
    in.V = grid_of(c, c.input("V", 4));
    agree(c, "q_num_heads", static_cast<double>(in.Q.heads));
    agree(c, "kv_num_heads", static_cast<double>(in.K.heads));
  }
  if (c.has_input("past_key")) {
    const grid past_key = grid_of(c, c.input("past_key", 4));
    const grid past_value = grid_of(c, c.input("past_value", 4));
    const auto fits = [](const grid& past, const grid& now) {
      return past.batches == now.batches && past.heads == now.heads && past.cols == now.cols;
    };
    require(c, fits(past_key, in.K) && fits(past_value, in.V), "past and present do not fit");
    in.past = past_key.rows;
    in.K = stacked(past_key, in.K);
    in.V = stacked(past_value, in.V);
  }
  return in;
}

/// A mask over fewer keys than there are is filled up with False, or −∞.
tensor filled_up(const case_file& c, const tensor& mask, index keys) {
  if (mask.rank() == 0) c.fail(mask.line, "attn_mask is a scalar");
  const index given = mask.shape.back();
  if (given >= keys || given == 0) return mask;
  const double absent = mask.is_bool() ? 0 : -std::numeric_limits<double>::infinity();
  tensor longer = mask;
  longer.shape.back() = keys;
  longer.values.clear();
  for (std::size_t at = 0; at < mask.values.size(); at += static_cast<std::size_t>(given)) {
    const auto row = mask.values.begin() + static_cast<std::ptrdiff_t>(at);
    longer.values.insert(longer.values.end(), row, row + given);
    longer.values.insert(longer.values.end(), static_cast<std::size_t>(keys - given), absent);
  }
  return longer;
}

/// Query i stands at position i + offset among the keys: past, padding and windows count from
/// there.
mask_parts parts_of(const case_file& c, std::optional<index> length, index past, index queries) {
  mask_parts parts;
  const bool shifted = past > 0 || length.has_value();
  const index offset = past > 0 ? past : length.value_or(queries) - queries;
  parts.length = length;
  if (c.flag("is_causal")) {
    if (shifted)
      parts.causal_offset = offset;
    else
      parts.causal = mask_parts::diagonal::top_left;
  }
  const index left = c.integer("left_window_size", -1), right = c.integer("right_window_size", -1);
  if (left >= 0 || right >= 0) {
    softlook::masks::window w;
    if (left >= 0) w.left = left;
    if (right >= 0) w.right = right;
    w.offset = shifted ? offset : 0;
    parts.window = w;
  }
  return parts;
}

std::optional<softlook::stage> stage_of(const case_file& c, index mode) {
  switch (mode) {
    case 0:
      return softlook::stage::raw;
    case 1:
      return softlook::stage::capped;
    case 2:
      return softlook::stage::masked;
    case 3:
      return std::nullopt;  // the weights
    default:
      c.fail(1, "qk_matmul_output_mode is 0, 1, 2 or 3");
  }
}

outputs attention(const case_file& c, const mode& m) {
  onnx_inputs in = read_inputs(c);
  attention_call call;
  if (c.has("scale")) call.scale = c.number("scale", 0);
  if (c.number("softcap", 0) != 0) call.soft_cap = c.number("softcap", 0);
  const index queries = in.Q.rows, keys = in.K.rows;
  if (c.has_input("attn_mask")) {
    const tensor mask = filled_up(c, c.input("attn_mask"), keys);
    const grid g = aligned(c, mask, in.Q.batches, in.Q.heads, queries, keys);
    (mask.is_bool() ? call.allowed : call.bias) = g;
  }
  if (c.has_input("nonpad_kv_seqlen"))
    for (const index n : lengths_of(c, c.input("nonpad_kv_seqlen"), in.Q.batches, keys))
      call.masks.push_back(parts_of(c, n, in.past, queries));
  else
    call.masks.push_back(parts_of(c, std::nullopt, in.past, queries));

  const index qk_mode = c.integer("qk_matmul_output_mode", 0);
  const bool wants_qk = c.expects("qk_matmul_output");
  if (wants_qk) call.wants_scores = stage_of(c, qk_mode);
  call.wants_weights = wants_qk && qk_mode == 3;
  call.Q = std::move(in.Q);
  call.K = std::move(in.K);
  call.V = std::move(in.V);
  const attention_answer a = run(m, call);

  outputs out;
  out["Y"] = in.packed ? packed(a.output, a.bounds.output) : heads_first(a.output, a.bounds.output);
  if (wants_qk)
    out["qk_matmul_output"] = qk_mode == 3 ? heads_first(a.weights, a.bounds.weights)
                                           : heads_first(a.scores, a.bounds.scores);
  if (c.expects("present_key")) {  // the library has no cache yet: what the adapter joined
    out["present_key"] = heads_first(call.K, 0);
    out["present_value"] = heads_first(call.V, 0);
  }
  return out;
}

/// A score of a later key becomes a number that forbids it, or nearly.
template <class T>
struct later_becomes {
  T value;
  T operator()(T s, std::int32_t i, std::int32_t j) const { return j <= i ? s : value; }
};

/// Where e^(value − score) is 0 in every precision this is the causal mask: each query has its
/// first key.
template <class T>
attention_answer with_later_scores(const mode& m, const attention_call& call, double value) {
  return for_each_problem<T>(m, call, [&](head_problem<T>& p, index, index) {
    const double reach = 2 * p.scores().magnitude - std::log(std::numeric_limits<double>::min());
    if (value < -2 * reach) return attend(m, p, softlook::masks::causal_top_left{});
    p.added = std::abs(value);
    return attend(m, p, softlook::transforms::map(later_becomes<T>{static_cast<T>(value)}));
  });
}

outputs flex_attention(const case_file& c, const mode& m) {
  attention_call call;
  call.Q = grid_of(c, c.input("Q", 4));
  call.K = grid_of(c, c.input("K", 4));
  call.V = grid_of(c, c.input("V", 4));
  if (c.has("scale")) call.scale = c.number("scale", 0);
  const std::string score_mod = c.text("score_mod"), prob_mod = c.text("prob_mod");
  const index n = call.Q.rows, keys = call.K.rows;
  if (score_mod == "score_mod_bias") {
    call.bias = grid{1, 1, 1, 1, {c.number("score_mod.bias", 0)}};
  } else if (score_mod == "score_mod_relative_positional") {
    call.bias = grid::zeros(1, 1, n, keys);
    for (index i = 0; i < n; ++i)
      for (index j = 0; j < keys; ++j)
        call.bias->values[static_cast<std::size_t>(i * keys + j)] = static_cast<double>(i - j);
  } else if (score_mod == "score_mod_soft_cap") {
    require(c, c.has("score_mod.cap"), "score_mod_soft_cap has a cap");
    call.soft_cap = c.number("score_mod.cap", 0);
  } else if (!score_mod.empty() && score_mod != "score_mod_causal_mask") {
    throw unsupported("unknown score_mod " + score_mod);
  }
  if (prob_mod == "prob_mod_scale")  // (c·P) V = P (c·V)
    for (double& v : call.V.values) v *= c.number("prob_mod.scale", 1);
  else if (!prob_mod.empty())
    throw unsupported("unknown prob_mod " + prob_mod);
  attention_answer a;
  if (score_mod == "score_mod_causal_mask") {
    const double value = c.number("score_mod.neg_inf", -std::numeric_limits<double>::infinity());
    a = m.single_precision ? with_later_scores<float>(m, call, value)
                           : with_later_scores<double>(m, call, value);
  } else {
    a = run(m, call);
  }
  return {{"Y", heads_first(a.output, a.bounds.output)}};
}

/// A cache of keys or values that the caller owns; the library reads rows where they lie and writes
/// none there, so this is Eigen's.
outputs tensor_scatter(const case_file& c, const mode&) {
  const tensor &past = c.input("past_cache"), &update = c.input("update");
  const index rank = past.rank(), given = c.integer("axis", -2);
  const index axis = given < 0 ? given + rank : given;
  require(c, update.rank() == rank && axis > 0 && axis < rank, "axis or ranks do not fit");
  const std::string how = c.text("mode", "linear");
  if (how != "linear" && how != "circular") throw unsupported("mode " + how);
  index outer = 1, inner = 1;  // between the batch and the axis, behind the axis
  for (index k = 0; k < rank; ++k) {
    const auto at = static_cast<std::size_t>(k);
    require(c, k == axis || past.shape[at] == update.shape[at], "update does not fit the cache");
    if (k > 0 && k < axis) outer *= past.shape[at];
    if (k > axis) inner *= past.shape[at];
  }
  const index batches = past.shape[0], length = past.shape[static_cast<std::size_t>(axis)];
  const index rows = update.shape[static_cast<std::size_t>(axis)];
  require(c, length > 0 || rows == 0, "the cache has no place for the update");
  std::vector<index> first(static_cast<std::size_t>(batches), 0);
  if (c.has_input("write_indices"))
    first = lengths_of(c, c.input("write_indices"), batches, length);
  produced cache{past.shape, past.values, 0};
  for (index b = 0; b < batches; ++b) {
    for (index block = b * outer; block < (b + 1) * outer; ++block) {
      Eigen::Map<matrix<double>> to(cache.values.data() + block * length * inner, length, inner);
      const Eigen::Map<const matrix<double>> from(update.values.data() + block * rows * inner, rows,
                                                  inner);
      for (index r = 0; r < rows; ++r) {
        const index at = first[static_cast<std::size_t>(b)] + r;
        require(c, how == "circular" || at < length, "the update ends behind the cache");
        to.row(at % length) = from.row(r);
      }
    }
  }
  return {{"present_cache", cache}};
}

}  // namespace

void add_onnx_adapters(adapter_table& table) {
  table["onnx.Attention"] = attention;
  table["onnx.FlexAttention"] = flex_attention;
  table["onnx.TensorScatter"] = tensor_scatter;
}

}  // namespace conformance
