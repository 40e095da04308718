#include <algorithm>
#include <cstdint>

#include "adapters.hpp"

/// torch.flex_attention: its score_mod and mask_mod, described in words in the cases, written as a
/// user of this library would write them.
namespace conformance {
namespace {

namespace masks = softlook::masks;
namespace transforms = softlook::transforms;

grid of_heads(const case_file& c, const char* name, index heads) {
  const tensor& t = c.input(name);
  if (t.rank() < 1 || t.shape[0] != heads)
    c.fail(t.line, std::string(name) + " has a row per head");
  const index width = t.rank() == 1 ? 1 : t.shape[1];
  return {1, heads, 1, width, t.values};
}

attention_call read_call(const case_file& c) {
  attention_call call;
  call.Q = grid_of(c, c.input("query", 4));
  call.K = grid_of(c, c.input("key", 4));
  call.V = grid_of(c, c.input("value", 4));
  if (c.has("scale")) call.scale = c.number("scale", 0);
  return call;
}

outputs results(const attention_answer& a) {
  const std::vector<index> per_query = {a.output.batches, a.output.heads, a.output.rows};
  return {{"output", heads_first(a.output, a.bounds.output)},
          {"lse", reshaped(heads_first(a.log_sum_exp, a.bounds.log_sum_exp), per_query)}};
}

/// One set of policies for every batch; `added` is the largest term that they add to a score.
template <class T, class... Policies>
outputs run_with(const mode& m, const attention_call& call, double added,
                 const Policies&... policies) {
  return results(for_each_problem<T>(m, call, [&](head_problem<T>& p, index, index) {
    p.added = added;
    return attend(m, p, policies...);
  }));
}

// The functors take what they need by pointer: they are copied into the kernels.

template <class T>
struct alibi_of_flex {  // ALiBi as FlexAttention's users write it: signed, from the diagonal
  const T* slopes;
  T operator()(T s, std::int32_t i, std::int32_t j, std::int32_t head) const {
    return s + slopes[head] * static_cast<T>(j - i);
  }
};

template <class T>
struct relative_position {
  T operator()(T s, std::int32_t i, std::int32_t j) const { return s + static_cast<T>(i - j); }
};

template <class T>
struct learned_relative_bias {
  const T* table;
  std::int32_t width;
  T operator()(T s, std::int32_t i, std::int32_t j, std::int32_t head) const {
    return s + table[head * width + std::clamp(j - i + width / 2, 0, width - 1)];
  }
};

template <class T>
struct head_temperature {
  const T* temperature;
  T operator()(T s, std::int32_t, std::int32_t, std::int32_t head) const {
    return s * temperature[head];
  }
};

struct head_window {
  const std::int32_t* width;
  bool operator()(std::int32_t i, std::int32_t j, std::int32_t head) const {
    return i >= j && i - j <= width[head];
  }
};

struct same_document {
  const std::int32_t* document;
  bool operator()(std::int32_t i, std::int32_t j) const { return document[i] == document[j]; }
};

struct same_block {
  std::int32_t length;
  bool operator()(std::int32_t i, std::int32_t j) const { return i / length == j / length; }
};

struct first_queries {
  std::int32_t count;
  bool operator()(std::int32_t i, std::int32_t) const { return i < count; }
};

struct grid_neighbour {
  std::int32_t side;
  std::int32_t radius;
  bool operator()(std::int32_t i, std::int32_t j) const {
    const std::int32_t down = i / side - j / side, across = i % side - j % side;
    return std::max(down, -down) <= radius && std::max(across, -across) <= radius;
  }
};

template <class T>
outputs with_score_mod(const case_file& c, const mode& m, const attention_call& call,
                       const std::string& score_mod) {
  const index heads = call.Q.heads;
  const bool causal = c.text("mask_mod") == "causal: j<=i";
  if (c.has("mask_mod") && !causal) throw unsupported("score_mod with " + c.text("mask_mod"));
  const double reach = static_cast<double>(std::max(call.Q.rows, call.K.rows));
  if (score_mod == "relative: s + (i-j)")
    return run_with<T>(m, call, reach, transforms::map(relative_position<T>{}));
  if (score_mod == "alibi: s + slopes[h]*(j-i)") {
    const matrix<T> slopes = of_heads(c, "alibi_slopes", heads).packed<T>(0);
    const transforms::map alibi(alibi_of_flex<T>{slopes.data()});
    const double added = reach * finite_magnitude(slopes);
    if (causal) return run_with<T>(m, call, added, alibi, masks::causal_top_left{});
    return run_with<T>(m, call, added, alibi);
  }
  if (causal) throw unsupported("score_mod with " + c.text("mask_mod"));
  if (score_mod == "relative bias: s + rel_bias[h][j-i+6]") {
    const grid table = of_heads(c, "rel_bias", heads);
    require(c, table.cols > 0, "rel_bias is empty");
    const matrix<T> values = table.packed<T>(0);
    const auto width = static_cast<std::int32_t>(table.cols);
    return run_with<T>(m, call, finite_magnitude(values),
                       transforms::map(learned_relative_bias<T>{values.data(), width}));
  }
  if (score_mod == "per-head temperature: s*temp[h]") {
    const matrix<T> values = of_heads(c, "temp", heads).packed<T>(0);
    return results(for_each_problem<T>(m, call, [&](head_problem<T>& p, index, index) {
      p.added = p.scores().magnitude * finite_magnitude(values);
      return attend(m, p, transforms::map(head_temperature<T>{values.data()}));
    }));
  }
  throw unsupported("unknown score_mod " + score_mod);
}

std::vector<std::int32_t> integers(const case_file& c, const char* name, index count) {
  const tensor& t = c.input(name, 1);
  if (t.shape[0] != count) c.fail(t.line, std::string(name) + " has the wrong length");
  std::vector<std::int32_t> values;
  for (const index v : integers_of(c, t)) values.push_back(static_cast<std::int32_t>(v));
  return values;
}

/// Masks that are no list of numbers: combinations and predicates.
template <class T>
outputs with_mask_mod(const case_file& c, const mode& m, const attention_call& call,
                      const std::string& mask_mod) {
  const masks::causal_top_left causal;
  if (mask_mod == "strictly future: j>i") return run_with<T>(m, call, 0, !causal);
  if (mask_mod == "StreamingLLM: j<=i and (i-j<3 or j<2)")
    return run_with<T>(m, call, 0, causal & (masks::window_of(3) | masks::padding{.length = 2}));
  if (mask_mod == "Longformer-like: |i-j|<=1 or i<2 or j<2") {
    const masks::window near{.left = 1, .right = 1};
    return run_with<T>(m, call, 0,
                       near | masks::padding{.length = 2} | masks::where(first_queries{2}));
  }
  if (mask_mod == "block local: i/4==j/4")
    return run_with<T>(m, call, 0, masks::where(same_block{4}));
  if (mask_mod == "2-D neighbourhood 4x4 grid radius 1")
    return run_with<T>(m, call, 0, masks::where(grid_neighbour{4, 1}));
  if (mask_mod == "document causal: doc[i]==doc[j] and j<=i") {
    const auto document = integers(c, "document_id", call.K.rows);
    require(c, call.Q.rows == call.K.rows, "a document mask is square");
    return run_with<T>(m, call, 0, masks::where(same_document{document.data()}) & causal);
  }
  if (mask_mod == "per-head window: 0<=i-j<=w[h]") {
    const auto width = integers(c, "head_window", call.Q.heads);
    return run_with<T>(m, call, 0, masks::where(head_window{width.data()}));
  }
  throw unsupported("unknown mask_mod " + mask_mod);
}

/// The mask_mods that the standard policies say by numbers.
bool standard_mask(const case_file& c, attention_call& call) {
  const std::string mask_mod = c.text("mask_mod");
  mask_parts parts;
  if (mask_mod == "causal: j<=i") {
    parts.causal = mask_parts::diagonal::top_left;
  } else if (mask_mod == "causal with offset: j<=i+7 (bottom-right)") {
    parts.causal = mask_parts::diagonal::bottom_right;
  } else if (mask_mod == "padding: j<seq_len[b]") {
    for (const index n : lengths_of(c, c.input("seq_len"), call.Q.batches, call.K.rows)) {
      parts.length = n;
      call.masks.push_back(parts);
    }
    return true;
  } else if (c.has("window_left") && c.integer("window_right", 0) == 0) {
    parts.window = masks::window_of(c.integer("window_left", 0) + 1);
  } else if (c.has("window_left")) {
    parts.window =
        masks::window{.left = c.integer("window_left", 0), .right = c.integer("window_right", 0)};
  } else if (!mask_mod.empty()) {
    return false;
  }
  call.masks = {parts};
  return true;
}

template <class T>
outputs flex(const case_file& c, const mode& m) {
  attention_call call = read_call(c);
  const std::string score_mod = c.text("score_mod");
  const bool capped = score_mod == "softcap: cap*tanh(s/cap)";
  if (!score_mod.empty() && !capped) return with_score_mod<T>(c, m, call, score_mod);
  if (capped) call.soft_cap = c.number("softcap", 0);
  if (standard_mask(c, call)) return results(run(m, call));
  if (capped) throw unsupported("softcap with " + c.text("mask_mod"));
  return with_mask_mod<T>(c, m, call, c.text("mask_mod"));
}

outputs flex_attention(const case_file& c, const mode& m) {
  return m.single_precision ? flex<float>(c, m) : flex<double>(c, m);
}

}  // namespace

void add_flex_adapters(adapter_table& table) { table["torch.flex_attention"] = flex_attention; }

}  // namespace conformance
