#include <softlook/positional.hpp>

#include "adapters.hpp"

/// Position encodings: sinusoids, T5's buckets, RoPE and its scaled frequencies.
namespace conformance {
namespace {

/// Rounding of cos, sin, two products and a sum to the scalar of the run.
double rounding(const mode& m, double magnitude) {
  constexpr double steps = 4;
  const double epsilon = m.single_precision ? std::numeric_limits<float>::epsilon()
                                            : std::numeric_limits<double>::epsilon();
  return steps * epsilon * magnitude;
}

index size_of(const case_file& c, const char* name) {
  const index size = c.integer(name, 0);
  require(c, size >= 0 && size <= 65536, std::string(name) + " is out of range");
  return size;
}

template <class T>
produced sinusoids(const mode& m, index positions, index features,
                   const softlook::sinusoidal_options& o) {
  const auto PE = softlook::sinusoidal<T>(positions, features, o);
  const std::vector<double> values(PE.data(), PE.data() + PE.size());
  return {{positions, features}, values, rounding(m, 1)};
}

outputs sinusoidal(const case_file& c, const mode& m, softlook::sinusoidal_layout layout) {
  const softlook::sinusoidal_options o{.layout = layout,
                                       .min_timescale = c.number("min_timescale", 1),
                                       .max_timescale = c.number("max_timescale", 10000)};
  const index positions = size_of(c, "positions"), features = size_of(c, "dim");
  return {{"encoding", m.single_precision ? sinusoids<float>(m, positions, features, o)
                                          : sinusoids<double>(m, positions, features, o)}};
}
outputs sinusoidal_interleaved(const case_file& c, const mode& m) {
  return sinusoidal(c, m, softlook::sinusoidal_layout::interleaved);
}
outputs sinusoidal_concat(const case_file& c, const mode& m) {
  return sinusoidal(c, m, softlook::sinusoidal_layout::concatenated);
}

outputs t5_buckets(const case_file& c, const mode&) {
  const softlook::t5_buckets buckets{.count = size_of(c, "num_buckets"),
                                     .max_distance = size_of(c, "max_distance"),
                                     .bidirectional = c.flag("bidirectional")};
  const tensor& relative = c.input("relative_position", 1);
  std::vector<double> values;
  for (const index r : integers_of(c, relative))
    values.push_back(static_cast<double>(softlook::t5_bucket(r, buckets)));
  return {{"bucket", {relative.shape, values, 0}}};
}

softlook::yarn_scaling yarn_of(const case_file& c) {
  const char* trained = c.has("original_max_position_embeddings")
                            ? "original_max_position_embeddings"
                            : "max_position_embeddings";
  return {.factor = c.number("factor", 1),
          .fast_turns = c.number("beta_fast", 32),
          .slow_turns = c.number("beta_slow", 1),
          .trained_positions = size_of(c, trained),
          .whole_pairs = c.number("truncate", 1) != 0};
}

/// What cos and sin are multiplied with. Only YaRN changes it.
double magnitude_of(const case_file& c) {
  if (c.text("rope_type", "default") != "yarn") return softlook::rotary_options{}.magnitude;
  if (c.has("attention_factor")) return c.number("attention_factor", 1);
  const softlook::yarn_scaling yarn = yarn_of(c);
  const double scale = c.number("mscale", 0), of_all = c.number("mscale_all_dim", 0);
  return scale != 0 && of_all != 0 ? yarn.magnitude(scale) / yarn.magnitude(of_all)
                                   : yarn.magnitude();
}

Eigen::VectorXd frequencies(const case_file& c) {
  const index width = size_of(c, "head_dim");
  const double theta = c.number("theta", 10000), factor = c.number("factor", 1);
  const std::string type = c.text("rope_type", "default");
  if (type == "default") return softlook::rotary_frequencies(width, theta);
  if (type == "linear")
    return softlook::rotary_frequencies(width, theta, softlook::linear_scaling{.factor = factor});
  if (type == "dynamic")
    return softlook::rotary_frequencies(
        width, theta,
        softlook::dynamic_ntk_scaling{.factor = factor,
                                      .trained_positions = size_of(c, "max_position_embeddings"),
                                      .length = size_of(c, "seq_len")});
  if (type == "yarn") return softlook::rotary_frequencies(width, theta, yarn_of(c));
  if (type != "llama3") throw unsupported("rope_type " + type);
  return softlook::rotary_frequencies(
      width, theta,
      softlook::llama3_scaling{
          .factor = factor,
          .low_frequency_factor = c.number("low_freq_factor", 1),
          .high_frequency_factor = c.number("high_freq_factor", 4),
          .trained_positions = size_of(c, "original_max_position_embeddings")});
}

outputs rope_frequencies(const case_file& c, const mode&) {
  const Eigen::VectorXd f = frequencies(c);
  return {{"inv_freq", {{f.size()}, {f.data(), f.data() + f.size()}, 0}},
          {"attention_factor", {{}, {magnitude_of(c)}, 0}}};
}

/// (B, L), or one row for all batches.
std::vector<index> positions_of(const case_file& c, const tensor& t, index batch, index rows) {
  require(c, t.rank() == 2 && t.shape[1] == rows && (t.shape[0] == 1 || batch < t.shape[0]),
          "position_ids do not fit");
  const std::vector<index> all = integers_of(c, t);
  const auto first = all.begin() + (t.shape[0] == 1 ? 0 : batch * rows);
  return {first, first + rows};
}

template <class T>
grid turned(const case_file& c, const grid& X, softlook::rotary_pairs pairs) {
  const softlook::rotary_embedding<T> rope(frequencies(c),
                                           {.pairs = pairs, .head_features = X.cols});
  grid Y = X;
  for (index b = 0; b < X.batches; ++b) {
    matrix<T> packed = X.packed<T>(b);
    agree(c, "head_dim", static_cast<double>(X.cols));
    rope.in_place(packed, positions_of(c, c.input("position_ids", 2), b, X.rows));
    Y.set_packed<T>(b, packed);
  }
  return Y;
}

outputs rope(const case_file& c, const mode& m, layout how, softlook::rotary_pairs pairs) {
  outputs out;
  for (const char* name : {"q", "k"}) {
    const grid X = grid_of(c, c.input(name, 4), how);
    const grid Y = m.single_precision ? turned<float>(c, X, pairs) : turned<double>(c, X, pairs);
    const double bound = rounding(m, finite_magnitude(Eigen::Map<const matrix<double>>(
                                         X.values.data(), 1, static_cast<index>(X.values.size()))));
    out[std::string(name) + "_embed"] =
        how == layout::heads_first ? heads_first(Y, bound) : tokens_first(Y, bound);
  }
  return out;
}
outputs rope_half(const case_file& c, const mode& m) {
  return rope(c, m, layout::heads_first, softlook::rotary_pairs::half_split);
}
outputs rope_interleaved(const case_file& c, const mode& m) {
  return rope(c, m, layout::tokens_first, softlook::rotary_pairs::interleaved);
}

}  // namespace

void add_positional_adapters(adapter_table& table) {
  table["sinusoidal_interleaved"] = sinusoidal_interleaved;
  table["sinusoidal_concat"] = sinusoidal_concat;
  table["t5_relative_position_bucket"] = t5_buckets;
  table["rope_inv_freq"] = rope_frequencies;
  table["rope_half"] = rope_half;
  table["rope_interleaved"] = rope_interleaved;
}

}  // namespace conformance
