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
  if (c.has_input("grad_output")) call.dO = grid_of(c, c.input("grad_output", 4));
  require(c, c.flag("enable_gqa") || call.K.heads == call.Q.heads || call.K.heads == 1,
          "groups of query heads without enable_gqa");
  return call;
}

/// dense_mask is mask_mod evaluated, (B or 1, H or 1, L, S): whether it says what a mask of ours
/// says. True where a case has none.
template <class Mask>
bool same_as_dense(const case_file& c, const attention_call& call, const Mask& mask, index batch) {
  if (!c.has_input("dense_mask")) return true;
  const index n = call.Q.rows, keys = call.K.rows;
  const grid g = aligned(c, c.input("dense_mask"), call.Q.batches, call.Q.heads, n, keys);
  for (index h = 0; h < g.heads; ++h)
    for (index i = 0; i < n; ++i)
      for (index j = 0; j < keys; ++j) {
        const softlook::problem p{.queries = static_cast<std::int32_t>(n),
                                  .keys = static_cast<std::int32_t>(keys),
                                  .head = static_cast<std::int32_t>(h),
                                  .heads = static_cast<std::int32_t>(call.Q.heads)};
        const bool seen =
            g.slice(batch, h)[(g.rows == 1 ? 0 : i) * g.cols + (g.cols == 1 ? 0 : j)] != 0;
        if (mask.allows(static_cast<std::int32_t>(i), static_cast<std::int32_t>(j), p) != seen)
          return false;
      }
  return true;
}

template <class Mask>
void require_dense(const case_file& c, const attention_call& call, const Mask& mask,
                   index batch = 0) {
  require(c, same_as_dense(c, call, mask, batch),
          "dense_mask is not what mask_mod says: " + c.text("mask_mod"));
}

outputs results(const attention_answer& a) {
  const std::vector<index> per_query = {a.output.batches, a.output.heads, a.output.rows};
  outputs out = {{"output", heads_first(a.output, a.bounds.output)},
                 {"lse", reshaped(heads_first(a.log_sum_exp, a.bounds.log_sum_exp), per_query)}};
  if (!a.dQ.values.empty()) {
    out["grad_query"] = heads_first(a.dQ, 0);
    out["grad_key"] = heads_first(a.dK, 0);
    out["grad_value"] = heads_first(a.dV, 0);
  }
  return out;
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
  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, std::int32_t head) const {
    return s + slopes[head] * static_cast<T>(j - i);
  }
};

template <class T>
struct alibi_both_ways {
  const T* slopes;
  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, std::int32_t head) const {
    return s - slopes[head] * static_cast<T>(i < j ? j - i : i - j);
  }
};

template <class T>
struct capped_alibi {
  const T* slopes;
  T cap;
  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, std::int32_t head) const {
    return cap * softlook::math::tanh((s + slopes[head] * static_cast<T>(j - i)) / cap);
  }
};

template <class T>
struct relative_position {
  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j) const {
    return s + static_cast<T>(i - j);
  }
};

template <class T>
struct learned_relative_bias {
  const T* table;
  std::int32_t width;
  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, std::int32_t head) const {
    return s + table[head * width + std::clamp(j - i + width / 2, 0, width - 1)];
  }
};

template <class T>
struct head_temperature {
  const T* temperature;
  template <class S>
  S operator()(S s, std::int32_t, std::int32_t, std::int32_t head) const {
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

struct prefix_or_earlier {
  std::int32_t prefix;
  bool operator()(std::int32_t i, std::int32_t j) const { return j < prefix || j <= i; }
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
  if (causal) require_dense(c, call, masks::causal_top_left{});
  const auto after = [&](const char* head) { return score_mod.rfind(head, 0) == 0; };
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
  if (after("alibi symmetric: s - slopes[h]*|j-i|")) {
    const matrix<T> slopes = of_heads(c, "alibi_slopes", heads).packed<T>(0);
    return run_with<T>(m, call, reach * finite_magnitude(slopes),
                       transforms::map(alibi_both_ways<T>{slopes.data()}));
  }
  if (after("softcap of alibi: ")) {
    const matrix<T> slopes = of_heads(c, "alibi_slopes", heads).packed<T>(0);
    require(c, c.number("softcap", 0) > 0, "softcap is positive");
    const auto cap = static_cast<T>(c.number("softcap", 0));
    return run_with<T>(m, call, reach * finite_magnitude(slopes),
                       transforms::map(capped_alibi<T>{slopes.data(), cap}));
  }
  if (score_mod == "relative bias: s + rel_bias[h][j-i+6]") {
    const grid table = of_heads(c, "rel_bias", heads);
    require(c, table.cols > 0, "rel_bias is empty");
    const matrix<T> values = table.packed<T>(0);
    const auto width = static_cast<std::int32_t>(table.cols);
    grid dtable = grid::zeros(1, heads, 1, table.cols);
    outputs out = results(for_each_problem<T>(m, call, [&](head_problem<T>& p, index, index) {
      p.added = finite_magnitude(values);
      const head_answer<T> r =
          attend(m, p, transforms::map(learned_relative_bias<T>{values.data(), width}));
      for (std::size_t h = 0; h < r.dS.size(); ++h)
        for (index i = 0; i < r.dS[h].rows(); ++i)
          for (index j = 0; j < r.dS[h].cols(); ++j)
            dtable.slice(
                0, static_cast<index>(h))[std::clamp<index>(j - i + width / 2, 0, width - 1)] +=
                double(r.dS[h](i, j));
      return r;
    }));
    if (out.count("grad_query")) out["grad_rel_bias"] = {{heads, table.cols}, dtable.values, 0};
    return out;
  }
  if (score_mod == "per-head temperature: s*temp[h]") {
    const matrix<T> values = of_heads(c, "temp", heads).packed<T>(0);
    std::vector<double> dvalues(static_cast<std::size_t>(heads), 0);
    outputs out = results(for_each_problem<T>(m, call, [&](head_problem<T>& p, index, index) {
      p.added = p.scores().magnitude * finite_magnitude(values);
      const head_answer<T> r = attend(m, p, transforms::map(head_temperature<T>{values.data()}));
      for (std::size_t h = 0; h < r.dS_S.size(); ++h) dvalues[h] += r.dS_S[h];
      return r;
    }));
    if (out.count("grad_query")) out["grad_temp"] = {{heads}, dvalues, 0};
    return out;
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

/// One mask for every batch and head, which dense_mask must agree with.
template <class T, class Mask>
outputs masked(const case_file& c, const mode& m, const attention_call& call, const Mask& mask) {
  require_dense(c, call, mask);
  return run_with<T>(m, call, 0, mask);
}

/// Per batch the tokens in front that all others see.
template <class T>
outputs prefix_lm(const case_file& c, const mode& m, const attention_call& call) {
  const auto prefix = integers(c, "prefix_len", call.Q.batches);
  return results(for_each_problem<T>(m, call, [&](head_problem<T>& p, index b, index) {
    const masks::where mask(prefix_or_earlier{prefix[static_cast<std::size_t>(b)]});
    require_dense(c, call, mask, b);
    return attend(m, p, mask);
  }));
}

/// The matrix that mask_mod becomes, for masks whose words do not say all.
outputs with_dense_mask(const case_file& c, const mode& m, attention_call call) {
  call.allowed =
      aligned(c, c.input("dense_mask"), call.Q.batches, call.Q.heads, call.Q.rows, call.K.rows);
  return results(run(m, call));
}

/// Child et al.'s patterns are named, not written out: where a case means another set of keys than
/// the paper, its matrix counts.
template <class T, class Mask>
outputs named_pattern(const case_file& c, const mode& m, const attention_call& call,
                      const Mask& mask) {
  return same_as_dense(c, call, mask, 0) ? run_with<T>(m, call, 0, mask)
                                         : with_dense_mask(c, m, call);
}

/// Masks that are no list of numbers: combinations and predicates.
template <class T>
outputs with_mask_mod(const case_file& c, const mode& m, const attention_call& call,
                      const std::string& mask_mod) {
  const masks::causal_top_left causal;
  const auto says = [&](const char* what) { return mask_mod.find(what) != std::string::npos; };
  if (mask_mod == "strictly future: j>i") return masked<T>(c, m, call, !causal);
  if (mask_mod == "StreamingLLM: j<=i and (i-j<3 or j<2)")
    return masked<T>(c, m, call, causal & (masks::window_of(3) | masks::padding{.length = 2}));
  if (mask_mod == "Longformer-like: |i-j|<=1 or i<2 or j<2") {
    const masks::window near{.left = 1, .right = 1};
    return masked<T>(c, m, call,
                     near | masks::padding{.length = 2} | masks::where(first_queries{2}));
  }
  if (mask_mod == "block local: i/4==j/4")
    return masked<T>(c, m, call, masks::where(same_block{4}));
  if (mask_mod == "2-D neighbourhood 4x4 grid radius 1")
    return masked<T>(c, m, call, masks::where(grid_neighbour{4, 1}));
  if (says("doc[i]==doc[j]")) {
    const auto document = integers(c, "document_id", call.K.rows);
    require(c, call.Q.rows == call.K.rows, "a document mask is square");
    const masks::where same(same_document{document.data()});
    return says("j<=i") ? masked<T>(c, m, call, same & causal) : masked<T>(c, m, call, same);
  }
  if (says("j<prefix_len[b] or j<=i")) return prefix_lm<T>(c, m, call);
  if (says("(i-j)%2==0") && says("causal"))
    return masked<T>(c, m, call, masks::dilated_window{.left = {}, .right = 0, .dilation = 2});
  if (says("strided(4)")) return named_pattern<T>(c, m, call, masks::strided(4));
  if (says("fixed(l=4,c=1)")) return named_pattern<T>(c, m, call, masks::fixed(4, 1));
  if (mask_mod == "per-head window: 0<=i-j<=w[h]") {
    const auto width = integers(c, "head_window", call.Q.heads);
    return masked<T>(c, m, call, masks::where(head_window{width.data()}));
  }
  if (c.has_input("dense_mask")) return with_dense_mask(c, m, call);
  throw unsupported("unknown mask_mod " + mask_mod);
}

/// True for "…: 0<=i-j<=W" and "…: 0<=i-j<W": `left` keys before the query.
bool window_in_words(const std::string& mask_mod, index& left) {
  const std::size_t at = mask_mod.find("0<=i-j<");
  if (at == std::string::npos) return false;
  const std::string rest = mask_mod.substr(at + 7);
  const bool inclusive = rest.rfind("=", 0) == 0;
  double value = 0;
  if (!parse_number(rest.substr(inclusive ? 1 : 0), value)) return false;
  left = static_cast<index>(std::clamp(value, 0.0, 1e6)) - (inclusive ? 0 : 1);
  return left >= 0;
}

/// The matrix of the standard masks, against the case's.
void require_dense(const case_file& c, const attention_call& call) {
  if (!c.has_input("dense_mask")) return;
  const index n = call.Q.rows, keys = call.K.rows;
  for (index b = 0; b < call.Q.batches; ++b) {
    const mask_parts& parts = call.mask(b);
    index offset = keys;
    if (parts.causal == mask_parts::diagonal::top_left) offset = 0;
    if (parts.causal == mask_parts::diagonal::bottom_right) offset = keys - n;
    require_dense(c, call,
                  masks::causal{.offset = offset} & parts.window.value_or(masks::window{}) &
                      masks::padding{.length = parts.length.value_or(keys)},
                  b);
  }
}

/// The mask_mods that the standard policies say by numbers.
bool standard_mask(const case_file& c, attention_call& call) {
  const std::string mask_mod = c.text("mask_mod");
  mask_parts parts;
  index left = 0;
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
  } else if (window_in_words(mask_mod, left)) {
    agree(c, "window_left", static_cast<double>(left));
    agree(c, "window_right", 0);
    parts.window = masks::window_of(left + 1);
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
  if (standard_mask(c, call)) {
    require_dense(c, call);
    return results(run(m, call));
  }
  if (capped) throw unsupported("softcap with " + c.text("mask_mod"));
  return with_mask_mod<T>(c, m, call, c.text("mask_mod"));
}

outputs flex_attention(const case_file& c, const mode& m) {
  return m.single_precision ? flex<float>(c, m) : flex<double>(c, m);
}

}  // namespace

void add_flex_adapters(adapter_table& table) { table["torch.flex_attention"] = flex_attention; }

}  // namespace conformance
