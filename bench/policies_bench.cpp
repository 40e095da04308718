// What does a policy cost? One policy each in full attention, n = m = 1024, d = 64: relative_time
// is the row's time over that of the same call without it, relative_time_of_share the same over the
// share of blocks of 16 queries × 8 keys that a mask leaves (`live` in the name): what a pair that
// is computed costs, more than a plain one. `none` compares that call with itself: the noise.
// Weights that are streamed are compared with it too: their scores are computed twice, and there
// are no values. Those of attention_weights are computed once and stored.

#include <array>
#include <cstdio>
#include <softlook/attention.hpp>
#include <softlook/attention/relative_keys.hpp>
#include <softlook/attention/weights.hpp>
#include <softlook/mask/dilated.hpp>
#include <softlook/mask/documents.hpp>
#include <softlook/mask/global_tokens.hpp>
#include <softlook/mask/neighborhood.hpp>
#include <softlook/mask/none.hpp>
#include <softlook/mask/prefix_lm.hpp>
#include <softlook/transform/t5_bias.hpp>
#include <softlook/transform/temperature.hpp>

#include "support/alibi.hpp"
#include "support/row.hpp"
#include "support/tiles.hpp"

namespace {

using bench::index;
using matrix = bench::matrix<float>;
namespace masks = softlook::masks;
namespace transforms = softlook::transforms;

constexpr index n = 1024, d = 64;

struct problem {
  matrix Q = bench::random_matrix<float>(n, d, 1);
  matrix K = bench::random_matrix<float>(n, d, 2);
  matrix V = bench::random_matrix<float>(n, d, 3);
  matrix O = matrix::Zero(n, d), plain = O;
};

/// What the oracle is told: pairs, scores, and a logit without a value.
struct definition {
  std::function<bool(index, index)> allows = [](index, index) { return true; };
  std::function<double(double, index, index)> score = [](double s, index, index) { return s; };
  double sink = -std::numeric_limits<double>::infinity();
};

/// One row of weights; nested loops in double. Scores of these inputs are far from overflow.
[[nodiscard]] Eigen::RowVectorXd weights_of(const problem& p, const definition& what, index i) {
  const auto raw = bench::dot_scores(p.Q, p.K);
  Eigen::RowVectorXd P = Eigen::RowVectorXd::Zero(n);
  double sum = std::exp(what.sink);
  for (index j = 0; j < n; ++j)
    if (what.allows(i, j)) sum += P[j] = std::exp(what.score(raw(i, j), i, j));
  return P / (sum > 0 ? sum : 1);
}

[[nodiscard]] double error_of(const problem& p, const definition& what) {
  if (!p.O.allFinite()) return std::numeric_limits<double>::quiet_NaN();
  double worst = 0;
  for (const index i : bench::sampled_rows(n)) {
    const Eigen::RowVectorXd P = weights_of(p, what, i);
    Eigen::RowVectorXd truth = Eigen::RowVectorXd::Zero(d);
    for (index j = 0; j < n; ++j) truth += P[j] * p.V.row(j).cast<double>();
    worst = std::max(worst, (truth - p.O.row(i).cast<double>()).cwiseAbs().maxCoeff());
  }
  return worst;
}

[[nodiscard]] std::string name_of(const std::string& what, double live) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "/live:%.4f", live);
  return "policies/flash/" + what + text.data() + "/n:1024/m:1024/d:64";
}

void compare_with_plain(bench::prepared_row& work, const std::shared_ptr<problem>& p, double live) {
  work.others.push_back(
      {.call = [p] { softlook::flash_attention_into(p->Q, p->K, p->V, p->plain); },
       .counter = "relative_time",
       .share = live});
}

/// `call` is given the problem and makes p.O.
[[nodiscard]] bench::row row_of(const std::string& what, double live, const definition& truth,
                                const std::function<void(problem&)>& call) {
  bench::row r{.name = name_of(what, live),
               .flops = 4 * live * double(n) * double(n) * double(d),
               .prepare = {}};
  r.prepare = [live, truth, call] {
    const auto p = std::make_shared<problem>();
    bench::prepared_row work;
    work.call = [p, call] { call(*p); };
    work.error = [p, truth] { return error_of(*p, truth); };
    work.tolerance = bench::tolerance<float>();
    compare_with_plain(work, p, live);
    return work;
  };
  return r;
}

template <class... Ps>
[[nodiscard]] std::function<void(problem&)> call_with(const Ps&... policies) {
  return [policies...](problem& p) {
    softlook::flash_attention_into(p.Q, p.K, p.V, p.O, policies...);
  };
}

template <class Mask>
[[nodiscard]] bench::row masked_row(const std::string& what, const Mask& mask) {
  definition truth;
  truth.allows = [mask](index i, index j) {
    return mask.allows(std::int32_t(i), std::int32_t(j), {.queries = n, .keys = n});
  };
  return row_of(what, bench::share_of_tiles(mask, n, 16, 8), truth, call_with(mask));
}

template <class F>
[[nodiscard]] bench::row transformed_row(const std::string& what,
                                         std::function<double(double, index, index)> score,
                                         const F& transform) {
  definition truth;
  truth.score = std::move(score);
  return row_of(what, 1, truth, call_with(transform));
}

// What policies look at; it lives as long as the program.
struct parameters {
  std::vector<std::int32_t> ids = std::vector<std::int32_t>(n), parts;
  matrix bias = bench::random_matrix<float>(n, n, 4);
  Eigen::VectorXd temperatures = Eigen::VectorXd::Constant(1, 2.0);
  Eigen::VectorXd sinks = Eigen::VectorXd::Constant(1, 3.0);
  matrix positions = bench::random_matrix<float>(2 * 64 + 1, d, 5);
  matrix table = bench::random_matrix<float>(32, 1, 6);
  softlook::relative_keys<float> relative{problem().Q, positions};
  softlook::t5_relative_bias<float> t5{table};

  parameters() {
    for (index i = 0; i < n; ++i) ids[std::size_t(i)] = std::int32_t(i / part);
    for (index i = 0; i <= n; i += part) parts.push_back(std::int32_t(i));
  }
  static constexpr index part = n / 8;
};

void add_masks(std::vector<bench::row>& rows, const parameters& with) {
  rows.push_back(masked_row("none", masks::none{}));
  rows.push_back(masked_row("causal", masks::causal_top_left{}));
  rows.push_back(masked_row("window of 257", masks::window_of(257)));
  rows.push_back(masked_row("padding of 900", masks::padding{900}));
  rows.push_back(masked_row("prefix_lm of 256", masks::prefix_lm{.prefix = 256}));
  rows.push_back(masked_row("documents of 128", masks::documents(with.ids)));
  rows.push_back(
      masked_row("neighborhood_2d of 7x7",
                 masks::neighborhood_2d{.height = 32, .width = 32, .radius_y = 3, .radius_x = 3}));
  rows.push_back(masked_row(
      "dilated by 64 or global",
      masks::dilated_window{.left = 8, .right = 8, .dilation = 64} | masks::global_tokens{0}));
  definition within;
  within.allows = [](index i, index j) { return i / parameters::part == j / parameters::part; };
  // Each part is a call of its own, whose tiles begin with it: its pairs are the share.
  rows.push_back(row_of("segments of 128", double(parameters::part) / double(n), within,
                        call_with(softlook::segments{with.parts})));
}

void add_transforms(std::vector<bench::row>& rows, const parameters& with) {
  rows.push_back(transformed_row(
      "soft_cap", [](double s, index, index) { return 4 * std::tanh(s / 4); },
      transforms::soft_cap{4}));
  const auto alibi = [](double s, index i, index j) {
    return bench::alibi{}(s, std::int32_t(i), std::int32_t(j));
  };
  rows.push_back(transformed_row("alibi", alibi, transforms::alibi{0.0625}));
  rows.push_back(transformed_row("functor", alibi, transforms::map(bench::alibi{})));
  rows.push_back(transformed_row(
      "bias", [&](double s, index i, index j) { return s + double(with.bias(i, j)); },
      transforms::bias(with.bias)));
  const problem p;
  const index clip = with.relative.clip();
  rows.push_back(transformed_row(
      "relative_keys",
      [scores = std::make_shared<Eigen::MatrixXd>(
           p.Q.cast<double>() * with.positions.cast<double>().transpose() / std::sqrt(double(d))),
       clip](double s, index i, index j) {
        return s + (*scores)(i, std::clamp(j - i, -clip, clip) + clip);
      },
      transforms::relative_keys(with.relative)));
  rows.push_back(transformed_row(
      "t5_bias", [&](double s, index i, index j) { return s + double(with.t5(j - i, 0)); },
      transforms::t5_bias(with.t5)));
  rows.push_back(transformed_row(
      "temperature", [](double s, index, index) { return s / 2; },
      transforms::temperature(with.temperatures)));
  definition sink;
  sink.sink = with.sinks[0];
  rows.push_back(row_of("sinks", 1, sink, call_with(softlook::sinks(with.sinks))));
}

/// What stays is what the naive kernel keeps.
[[nodiscard]] bench::row dropout_row() {
  const softlook::dropout half{.probability = 0.5, .seed = 7};
  bench::row r{.name = name_of("dropout", 1), .flops = 4 * double(n * n * d), .prepare = {}};
  r.prepare = [half] {
    const auto p = std::make_shared<problem>();
    bench::prepared_row work;
    work.call = [p, half] { softlook::flash_attention_into(p->Q, p->K, p->V, p->O, half); };
    work.error = [p, half] {
      const matrix naive = softlook::naive_attention(p->Q, p->K, p->V, half).output;
      return double((p->O - naive).cwiseAbs().maxCoeff());
    };
    work.tolerance = bench::tolerance<float>();
    compare_with_plain(work, p, 1);
    return work;
  };
  return r;
}

/// call(p) is what is streamed, error(result, P) the largest difference from what the weights say.
template <class Call, class Error>
[[nodiscard]] bench::row weights_row(const std::string& what, const Call& call,
                                     const Error& error) {
  bench::row r{.name = name_of(what, 1), .flops = 4 * double(n * n * d), .prepare = {}};
  r.prepare = [call, error] {
    const auto p = std::make_shared<problem>();
    const auto result = std::make_shared<decltype(call(*p))>();
    bench::prepared_row work;
    work.call = [p, result, call] { *result = call(*p); };
    work.error = [p, result, error] {
      Eigen::MatrixXd P(n, n);
      for (index i = 0; i < n; ++i) P.row(i) = weights_of(*p, {}, i);
      return error(*result, P);
    };
    work.tolerance = bench::tolerance<float>();
    compare_with_plain(work, p, 1);
    return work;
  };
  return r;
}

void add_streamed_weights(std::vector<bench::row>& rows) {
  constexpr index pixels = 32, side = n / pixels, count = 8;
  rows.push_back(weights_row(
      "weight_pixels 32x32",
      [](const problem& p) { return matrix(softlook::weight_pixels(p.Q, p.K, pixels, pixels)); },
      [](const matrix& is, const Eigen::MatrixXd& P) {
        double worst = 0;
        for (index r = 0; r < pixels; ++r)
          for (index c = 0; c < pixels; ++c)
            worst = std::max(
                worst, std::abs(double(is(r, c)) - P.block(r * side, c * side, side, side).mean()));
        return is.allFinite() ? worst * double(n) : std::numeric_limits<double>::quiet_NaN();
      }));
  rows.push_back(weights_row(
      "strongest_weights 8",
      [](const problem& p) { return softlook::strongest_weights(p.Q, p.K, count); },
      [](const softlook::strongest<float>& is, const Eigen::MatrixXd& P) {
        double worst = 0;
        for (index i = 0; i < n; ++i) {
          const Eigen::VectorXd all = P.row(i);
          std::vector<double> most(count);
          std::partial_sort_copy(all.begin(), all.end(), most.begin(), most.end(),
                                 std::greater<>());
          for (index k = 0; k < count; ++k) {
            const double own = P(i, is.keys(i, k)), weight = double(is.weights(i, k));
            worst =
                std::max({worst, std::abs(weight - own), std::abs(weight - most[std::size_t(k)])});
          }
        }
        return is.weights.allFinite() ? worst : std::numeric_limits<double>::quiet_NaN();
      }));
  rows.push_back(weights_row(
      "attention_weights",
      [](const problem& p) { return matrix(softlook::attention_weights(p.Q, p.K)); },
      [](const matrix& is, const Eigen::MatrixXd& P) {
        return is.allFinite() ? (is.cast<double>() - P).cwiseAbs().maxCoeff()
                              : std::numeric_limits<double>::quiet_NaN();
      }));
  rows.push_back(weights_row(
      "key_weight_sums",
      [](const problem& p) { return Eigen::MatrixXf(softlook::key_weight_sums(p.Q, p.K)); },
      [](const Eigen::MatrixXf& is, const Eigen::MatrixXd& P) {
        return is.allFinite()
                   ? (is.cast<double>() - P.colwise().sum().transpose()).cwiseAbs().maxCoeff()
                   : std::numeric_limits<double>::quiet_NaN();
      }));
}

}  // namespace

int main(int argc, char** argv) {
  const parameters with;
  std::vector<bench::row> rows;
  add_masks(rows, with);
  add_transforms(rows, with);
  rows.push_back(dropout_row());
  add_streamed_weights(rows);
  return bench::run_rows(argc, argv, std::move(rows));
}
