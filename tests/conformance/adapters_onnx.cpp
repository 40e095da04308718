#include <softlook/onnx.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>

#include "adapters.hpp"

/// The operators of onnx.hpp: a case's tensors, attributes and outputs under their own names.
namespace conformance {
namespace {

namespace onnx = softlook::onnx;

/// An input as T, or one that is left out.
template <class T>
class given {
 public:
  given(const case_file& c, const char* name) {
    if (!c.has_input(name)) return;
    const tensor& t = c.input(name);
    shape_ = onnx::extents(t.shape.data(), t.rank());
    values_ = std::make_unique<T[]>(t.values.size() + 1);
    std::transform(t.values.begin(), t.values.end(), values_.get(),
                   [](double x) { return static_cast<T>(x); });
  }
  operator onnx::tensor<const T>() const { return {values_.get(), shape_}; }

 private:
  std::unique_ptr<T[]> values_;
  onnx::extents shape_{};
};

/// An output of the shape that the case expects, or one that is left out.
template <class T>
class wanted {
 public:
  wanted(const case_file& c, const char* name) : name_(name) {
    if (const auto found = c.outputs.find(name); found != c.outputs.end())
      shape_ = found->second.shape;
    else if (const auto sampled = c.samples.find(name); sampled != c.samples.end())
      shape_ = sampled->second.shape;
    else
      return;
    const onnx::tensor<T> all{nullptr, {shape_.data(), static_cast<index>(shape_.size())}};
    values_ = std::vector<T>(static_cast<std::size_t>(all.shape.numbers()) + 1);
  }
  operator onnx::tensor<T>() {
    if (values_.empty()) return {};
    return {values_.data(), {shape_.data(), static_cast<index>(shape_.size())}};
  }
  void add_to(outputs& out, double bound) const {
    if (values_.empty()) return;
    produced& to = out[name_];
    to = {shape_, {}, bound};
    for (std::size_t k = 0; k + 1 < values_.size(); ++k)
      to.values.push_back(static_cast<double>(values_[k]));
  }

 private:
  const char* name_;
  std::vector<index> shape_;
  std::vector<T> values_;  // and one more
};

template <class T>
struct type_tag {
  using type = T;
};

/// f(type) with the type of a run: double, float, or that of the case where it is of 16 bits.
template <class F>
outputs in_type_of(const case_file& c, const mode& m, const char* name, const F& f) {
  const std::string& dtype = c.input(name).dtype;
  if (!m.single_precision) return f(type_tag<double>{});
  if (m.how == mode::path::naive) return f(type_tag<float>{});  // it does not read 16 bits
  if (dtype == "float16") return f(type_tag<Eigen::half>{});
  if (dtype == "bfloat16") return f(type_tag<Eigen::bfloat16>{});
  return f(type_tag<float>{});
}

softlook::options options_of(const mode& m) { return m.options(std::nullopt); }

double longest_row(const tensor& t, index features) {
  double longest = 0;
  for (std::size_t k = 0; features > 0 && k < t.values.size(); k += std::size_t(features))
    longest = std::max(
        longest, Eigen::Map<const Eigen::VectorXd>(t.values.data() + k, features).stableNorm());
  return longest;
}
double largest(const tensor& t) {
  return finite_magnitude(
      Eigen::Map<const matrix<double>>(t.values.data(), 1, static_cast<index>(t.values.size())));
}

/// What a call in float may be off by, and whether that says anything.
error_bounds bounds_of(const case_file& c, const mode& m, index query_heads, double added) {
  if (!m.single_precision) return {};
  const tensor &Q = c.input("Q"), &K = c.input("K"), &V = c.input("V");
  const index features =
      Q.rank() == 3 ? Q.shape.back() / std::max<index>(query_heads, 1) : Q.shape.back();
  index keys = K.shape[std::size_t(K.rank() == 3 ? 1 : 2)];
  double longest_key = longest_row(K, features), largest_value = largest(V);
  if (c.has_input("past_key")) {
    keys += c.input("past_key", 4).shape[2];
    longest_key = std::max(longest_key, longest_row(c.input("past_key"), features));
    largest_value = std::max(largest_value, largest(c.input("past_value")));
  }
  const double scale =
      c.has("scale") ? c.number("scale", 0) : 1 / std::sqrt(double(std::max<index>(features, 1)));
  double magnitude = std::abs(scale) * longest_row(Q, features) * longest_key + added;
  if (c.has_input("attn_mask") && !c.input("attn_mask").is_bool()) {
    const tensor& mask = c.input("attn_mask");
    const index cols = mask.shape.empty() ? 0 : mask.shape.back();
    const index rows = cols == 0 ? 0 : static_cast<index>(mask.values.size()) / cols;
    magnitude += live_bias_magnitude(
        Eigen::Map<const matrix<double>>(mask.values.data(), rows, cols), magnitude);
  }
  const double epsilon = std::numeric_limits<float>::epsilon();
  const error_bounds bounds = attention_error(
      epsilon, keys, score_error(epsilon, features, magnitude), magnitude, largest_value);
  if (!says_something(bounds)) throw beyond_float();
  return bounds;
}

onnx::attention_attributes attributes_of(const case_file& c) {
  onnx::attention_attributes a;
  a.is_causal = c.flag("is_causal");
  a.q_num_heads = c.integer("q_num_heads", 0);
  a.kv_num_heads = c.integer("kv_num_heads", 0);
  if (c.has("scale")) a.scale = c.number("scale", 0);
  a.softcap = c.number("softcap", 0);
  a.softmax_precision = static_cast<int>(c.integer("softmax_precision", 0));
  a.qk_matmul_output_mode = static_cast<int>(c.integer("qk_matmul_output_mode", 0));
  a.left_window_size = c.integer("left_window_size", -1);
  a.right_window_size = c.integer("right_window_size", -1);
  return a;
}

template <class T>
outputs attention_in(const case_file& c, const mode& m) {
  using scalar = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const onnx::attention_attributes a = attributes_of(c);
  const error_bounds bounds = bounds_of(c, m, a.q_num_heads, a.softcap);
  const given<T> Q(c, "Q"), K(c, "K"), V(c, "V");
  const given<T> past_key(c, "past_key"), past_value(c, "past_value");
  const given<std::int64_t> lengths(c, "nonpad_kv_seqlen");
  wanted<T> Y(c, "Y"), present_key(c, "present_key"), present_value(c, "present_value");
  wanted<T> qk(c, "qk_matmul_output");
  const auto with = [&](const auto& mask) {
    onnx::attention(onnx::attention_inputs<T>{Q, K, V, mask, past_key, past_value, lengths}, a,
                    onnx::attention_outputs<T>{Y, present_key, present_value, qk}, options_of(m));
  };
  if (!c.has_input("attn_mask"))
    with(onnx::mask_tensor<scalar>());
  else if (c.input("attn_mask").is_bool())
    with(onnx::tensor<const bool>(given<bool>(c, "attn_mask")));
  else if (c.input("attn_mask").is_half())
    with(onnx::tensor<const T>(given<T>(c, "attn_mask")));
  else
    with(onnx::tensor<const scalar>(given<scalar>(c, "attn_mask")));
  outputs out;
  Y.add_to(out, bounds.output);
  present_key.add_to(out, 0);
  present_value.add_to(out, 0);
  qk.add_to(out, a.qk_matmul_output_mode == 3 ? bounds.weights : bounds.scores);
  return out;
}

outputs attention_operator(const case_file& c, const mode& m) {
  return in_type_of(c, m, "Q", [&](const auto& type) {
    return attention_in<typename std::remove_cvref_t<decltype(type)>::type>(c, m);
  });
}

/// score_mod as a function of a case; `added` is the largest term that it adds to a score.
template <class T>
struct named_score_mod {
  enum class kind { add, distance, cap, causal };
  kind of = kind::add;
  T number = 0;

  T operator()(T s, std::int32_t, std::int32_t, std::int32_t i, std::int32_t j) const {
    switch (of) {
      case kind::add:
        return s + number;
      case kind::distance:
        return s + static_cast<T>(i - j);
      case kind::cap:
        return number * softlook::math::tanh(s / number);
      case kind::causal:
        break;
    }
    return j <= i ? s : number;
  }
};

template <class T>
named_score_mod<T> score_mod_of(const case_file& c, double& added) {
  using mod = named_score_mod<T>;
  const std::string name = c.text("score_mod");
  const auto with = [&](typename mod::kind kind, double number) -> mod {
    return {kind, static_cast<T>(number)};
  };
  if (name.empty()) return with(mod::kind::add, 0);
  if (name == "score_mod_bias") {
    added = std::abs(c.number("score_mod.bias", 0));
    return with(mod::kind::add, c.number("score_mod.bias", 0));
  }
  if (name == "score_mod_relative_positional") {
    added = static_cast<double>(std::max(c.input("Q", 4).shape[2], c.input("K", 4).shape[2]));
    return with(mod::kind::distance, 0);
  }
  if (name == "score_mod_soft_cap") {
    require(c, c.has("score_mod.cap"), "score_mod_soft_cap has a cap");
    added = c.number("score_mod.cap", 0);
    return with(mod::kind::cap, added);
  }
  if (name != "score_mod_causal_mask") throw unsupported("unknown score_mod " + name);
  const double number = c.number("score_mod.neg_inf", -std::numeric_limits<double>::infinity());
  // Far below all scores it forbids, and adds nothing to what is left.
  constexpr double far = -1000;
  if (number > far) added = std::abs(number);
  return with(mod::kind::causal, number);
}

template <class T>
outputs flex_attention_in(const case_file& c, const mode& m) {
  using scalar = std::conditional_t<std::is_same_v<T, double>, double, float>;
  double added = 0;
  const auto score_mod = score_mod_of<scalar>(c, added);
  const error_bounds bounds = bounds_of(c, m, 1, added);
  const given<T> Q(c, "Q"), K(c, "K"), V(c, "V");
  wanted<T> Y(c, "Y");
  onnx::flex_attention_attributes a;
  if (c.has("scale")) a.scale = c.number("scale", 0);
  a.softmax_precision = static_cast<int>(c.integer("softmax_precision", 0));
  const auto with = [&](const auto&... mods) {
    onnx::flex_attention(onnx::flex_attention_inputs<T>{Q, K, V}, a,
                         onnx::flex_attention_outputs<T>{Y}, mods..., options_of(m));
  };
  const std::string prob_mod = c.text("prob_mod");
  const bool changed = !c.text("score_mod").empty();
  double factor = 1;
  if (prob_mod == "prob_mod_scale") {
    factor = c.number("prob_mod.scale", 1);
    with(onnx::score_mod(score_mod),
         onnx::prob_mod([factor](scalar p, auto...) { return p * static_cast<scalar>(factor); }));
  } else if (!prob_mod.empty()) {
    throw unsupported("unknown prob_mod " + prob_mod);
  } else if (changed) {
    with(onnx::score_mod(score_mod));
  } else {
    with();
  }
  outputs out;
  Y.add_to(out, bounds.output * std::max(1.0, std::abs(factor)));
  return out;
}

outputs flex_attention_operator(const case_file& c, const mode& m) {
  return in_type_of(c, m, "Q", [&](const auto& type) {
    return flex_attention_in<typename std::remove_cvref_t<decltype(type)>::type>(c, m);
  });
}

outputs tensor_scatter(const case_file& c, const mode&) {
  const given<double> past_cache(c, "past_cache"), update(c, "update");
  const given<std::int64_t> write_indices(c, "write_indices");
  wanted<double> present_cache(c, "present_cache");
  const std::string how = c.text("mode", "linear");
  if (how != "linear" && how != "circular") throw unsupported("mode " + how);
  onnx::tensor_scatter(
      onnx::tensor_scatter_inputs<double>{past_cache, update, write_indices},
      {.axis = c.integer("axis", -2),
       .mode = how == "linear" ? onnx::scatter_mode::linear : onnx::scatter_mode::circular},
      onnx::tensor_scatter_outputs<double>{present_cache});
  outputs out;
  present_cache.add_to(out, 0);
  return out;
}

outputs rotary_embedding(const case_file& c, const mode& m) {
  return in_type_of(c, m, "X", [&](const auto& type) {
    using T = typename std::remove_cvref_t<decltype(type)>::type;
    const given<T> X(c, "X"), cos_cache(c, "cos_cache"), sin_cache(c, "sin_cache");
    const given<std::int64_t> position_ids(c, "position_ids");
    wanted<T> Y(c, "Y");
    onnx::rotary_embedding(onnx::rotary_embedding_inputs<T>{X, cos_cache, sin_cache, position_ids},
                           {.interleaved = c.flag("interleaved"),
                            .num_heads = c.integer("num_heads", 0),
                            .rotary_embedding_dim = c.integer("rotary_embedding_dim", 0)},
                           onnx::rotary_embedding_outputs<T>{Y});
    outputs out;
    constexpr double steps = 4;  // two products and a sum, of rounded inputs
    Y.add_to(out, steps * std::numeric_limits<float>::epsilon() * largest(c.input("X")));
    return out;
  });
}

}  // namespace

void add_onnx_adapters(adapter_table& table) {
  table["onnx.Attention"] = attention_operator;
  table["onnx.FlexAttention"] = flex_attention_operator;
  table["onnx.TensorScatter"] = tensor_scatter;
  table["onnx.RotaryEmbedding"] = rotary_embedding;
}

}  // namespace conformance
