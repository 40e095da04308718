#include <cmath>
#include <limits>
#include <softlook/attention/local.hpp>

#include "decoder_cases.hpp"

/// Luong's local attention of one decoder step: local-m around a given position, local-p around a
/// predicted one. The origin's windows have whole positions, the paper's (and ours) do not: so the
/// window is our local-m at the rounded position, and the Gaussian multiplies the values.
namespace conformance {
namespace {

namespace alignments = softlook::alignments;
namespace scores = softlook::scores;

struct local_case {
  matrix<double> hidden;  // batches × features
  grid memory;            // (batch, 1, position, features)
  index half_width = 0;

  explicit local_case(const case_file& c) : half_width(c.integer("D", 0)) {
    const tensor& h = c.input("hidden", 2);
    hidden = Eigen::Map<const matrix<double>>(h.values.data(), h.shape[0], h.shape[1]);
    const tensor& e = c.input("encoder_outputs_SBH", 3);
    memory = swapped({e.shape[0], 1, e.shape[1], e.shape[2], e.values});
    require(c, memory.batches == hidden.rows() && memory.rows > 0, "the inputs differ in batches");
    require(c, half_width >= 0, "D is negative");
  }
};

/// The predicted position  S·sigmoid(v·tanh(W h + b) + b').  Our predictor has no biases: they
/// belong to one more feature of the query that is 1, and one more hidden feature whose tanh is 1.
template <class T>
double predicted_position(const case_file& c, const mode& m, const local_case& x, index batch) {
  const tensor& W = c.weight("Wp.weight", 2);
  const tensor &b = c.weight("Wp.bias", 1), &v = c.weight("vp.weight", 2);
  const index a = W.shape[0], d = x.hidden.cols();
  require(c, W.shape[1] == d && b.shape[0] == a && v.shape[0] == 1 && v.shape[1] == a,
          "Wp and vp do not fit");
  constexpr double where_tanh_is_one = 20;
  matrix<T> weights = matrix<T>::Zero(d + 1, a + 1);
  weights.topLeftCorner(d, a) =
      Eigen::Map<const matrix<double>>(W.values.data(), a, d).transpose().template cast<T>();
  weights.row(d).head(a) = Eigen::Map<const row<double>>(b.values.data(), a).template cast<T>();
  weights(d, a) = T(where_tanh_is_one);
  row<T> vector(a + 1);
  vector << Eigen::Map<const row<double>>(v.values.data(), a).template cast<T>(),
      T(c.weight("vp.bias", 1).values.at(0));
  matrix<T> query(1, d + 1);
  query << x.hidden.row(batch).template cast<T>(), T(1);
  const matrix<T> nothing = matrix<T>::Zero(x.memory.rows, d + 1);
  const softlook::options how{.isa = m.isa};
  return static_cast<double>(
      softlook::local_attention(query, nothing, nothing,
                                alignments::predictive(weights, vector, x.half_width), how)
          .position[0]);
}

/// What a float position is off by: a quarter of S times the error of the sum inside.
template <class T>
double position_error(const case_file& c, const local_case& x) {
  const auto magnitude = [](const tensor& t) {
    double sum = 0;
    for (const double w : t.values) sum += std::abs(w);
    return sum;
  };
  const double inside = magnitude(c.weight("vp.weight")) *
                        (1 + magnitude(c.weight("Wp.weight")) * finite_magnitude(x.hidden));
  return static_cast<double>(x.memory.rows) / 4 *
         score_error(std::numeric_limits<T>::epsilon(), x.hidden.cols() + 16, inside);
}

template <class T>
struct window_answer {
  row<T> weights, context;
};

/// f(score, its size) for the score of the case.
template <class T, class Use>
auto with_score(const case_file& c, const head_problem<T>& p, const Use& use) {
  const std::string name = c.text("score");
  if (name == "dot") return use(scores::dot{}, score_size{dot_magnitude(p.Q, p.K), p.Q.cols()});
  const auto norm = [](const auto& X) { return X.template cast<double>().norm(); };
  if (name == "general") {
    const matrix<T> W = weight_matrix<T>(c, "attn_score.W");
    return use(scores::general(W),
               score_size{norm(W) * dot_magnitude(p.Q, p.K), W.rows() + W.cols()});
  }
  if (name != "concat") throw unsupported("score " + name);
  // The weight is (hidden, 2·features): of the memory, then of the query.
  const matrix<T> W = weight_matrix<T>(c, "attn_score.W.weight").transpose();
  const index d = p.K.cols();
  require(c, W.rows() == d + p.Q.cols(), "attn_score.W does not fit");
  additive_parameters<T> w = {W.bottomRows(p.Q.cols()), W.topRows(d),
                              weight_row<T>(c, "attn_score.v.weight"), row<T>()};
  return use(scores::additive(w.Wq, w.Wk, w.v), w.size(p));
}

template <class T>
outputs solve(const case_file& c, const mode& m, bool predictive) {
  const local_case x(c);
  const index batches = x.memory.batches, keys = x.memory.rows, D = x.half_width;
  const index t = predictive ? 0 : c.integer("t", 0);
  produced weights, context, positions, starts;
  double moved = 0;
  if (predictive) {
    require(c, D >= 1, "D is at least 1: the Gaussian has σ = D/2");
    moved = position_error<T>(c, x) * 2 / static_cast<double>(D);
  }
  for (index b = 0; b < batches; ++b) {
    head_problem<T> p;
    p.Q = x.hidden.row(b).template cast<T>();
    p.K = x.memory.template head<T>(b, 0);
    p.V = p.K;
    double centre = static_cast<double>(t);
    if (predictive) {
      centre = predicted_position<T>(c, m, x, b);
      const double exact = predicted_position<double>(c, m, x, b);
      if (std::nearbyint(centre) != std::nearbyint(exact)) throw beyond_float();
    }
    positions.values.push_back(centre);
    const auto middle = static_cast<index>(std::nearbyint(centre));
    const index first = std::max<index>(middle - D, 0), last = std::min(middle + D, keys - 1);
    require(c, first <= last, "the window holds no position");
    starts.values.push_back(static_cast<double>(first));
    row<T> factor = row<T>::Ones(keys);
    if (predictive)
      for (index j = 0; j < keys; ++j) {
        const double away = (static_cast<double>(j) - centre) * 2 / static_cast<double>(D);
        factor[j] = static_cast<T>(std::exp(-away * away / 2));
      }
    const matrix<T> values = factor.transpose().asDiagonal() * p.V;
    const auto found = with_score(c, p, [&](const auto& score, const score_size& size) {
      p.size = size;
      if (m.single_precision && !says_something(p.bounds())) throw beyond_float();
      const alignments::monotonic at{.window = D, .first = middle};
      return window_answer<T>{softlook::local_attention_weights(p.Q, p.K, at, score, m.options(1)),
                              softlook::local_attention(p.Q, p.K, values, at, score, m.options(1))};
    });
    for (index j = first; j <= last; ++j)
      weights.values.push_back(static_cast<double>(found.weights[j] * factor[j]));
    for (const T o : found.context) context.values.push_back(static_cast<double>(o));
    if (!m.single_precision) continue;
    const double epsilon = std::numeric_limits<T>::epsilon();
    const error_bounds bounds = p.bounds();
    weights.bound = std::max(weights.bound, bounds.weights + moved + 4 * epsilon);
    context.bound =
        std::max(context.bound, bounds.output + (moved + 4 * epsilon) * finite_magnitude(p.V));
    if (predictive) positions.bound = position_error<T>(c, x);
  }
  // One number or one row for each batch, in the dimensions of the case; a number that all batches
  // share may be given once.
  outputs out;
  const auto add = [&](const char* name, produced& what) {
    if (const auto wanted = c.outputs.find(name); wanted != c.outputs.end()) {
      if (wanted->second.values.size() == 1 && !predictive) what.values.resize(1);
      if (wanted->second.values.size() == what.values.size()) what.shape = wanted->second.shape;
      out[name] = what;
    }
  };
  add("attn_weights_window", weights);
  add("context", context);
  add("p_t", positions);
  add("window_start", starts);
  return out;
}

outputs local_m(const case_file& c, const mode& m) {
  return m.single_precision ? solve<float>(c, m, false) : solve<double>(c, m, false);
}
outputs local_p(const case_file& c, const mode& m) {
  return m.single_precision ? solve<float>(c, m, true) : solve<double>(c, m, true);
}

}  // namespace

void add_luong_adapters(adapter_table& table) {
  table["luong.local_m"] = local_m;
  table["luong.local_p"] = local_p;
}

}  // namespace conformance
