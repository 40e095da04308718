// What do products of rounded numbers bring where the machine has instructions for them?
// relative_time is the row's time over that of float. The error is that of rounding: against the
// product, or the attention, of the numbers that were given.

#include <softlook/attention.hpp>
#include <softlook/cache.hpp>
#include <softlook/layer/linear_layer.hpp>
#include <softlook/low_precision.hpp>

#include "support/inputs.hpp"
#include "support/row.hpp"

namespace {

using bench::index;
using bench::matrix;
using softlook::dot_unit;
using softlook::low_precision;
using softlook::number_format;

/// Roundings of N(0, 1) by half a step of 8 bits, in sums that spread by about 1.
constexpr double tolerance = 0.1;

[[nodiscard]] std::string text_of(const low_precision& p) {
  return std::string(name_of(p.as)) + "/" + name_of(*p.unit);
}

struct linear_map {
  matrix<float> X, W, Y;
  softlook::linear_layer<float> layer;

  linear_map(index n, index inputs, index outputs, const softlook::weight_format<float>& kept)
      : X(bench::random_matrix<float>(n, inputs, 1)),
        W(bench::random_matrix<float>(inputs, outputs, 2) / std::sqrt(float(inputs))),
        Y(n, outputs),
        layer(W, softlook::activation::none, kept) {}
  void apply() { layer.into(X, Y); }
  [[nodiscard]] double error() const {
    double worst = 0;
    for (const index i : bench::sampled_rows(Y.rows())) {
      const Eigen::RowVectorXd truth = X.row(i).cast<double>() * W.cast<double>();
      worst = std::max(worst, (truth - Y.row(i).cast<double>()).cwiseAbs().maxCoeff());
    }
    return worst;
  }
};

[[nodiscard]] bench::row linear_row(const low_precision& how, index n, index inputs,
                                    index outputs) {
  bench::row r{.name = "low_precision/" + text_of(how) + "/product/" + std::to_string(inputs) +
                       "x" + std::to_string(outputs) + "/n:" + std::to_string(n),
               .flops = 2.0 * double(n * inputs * outputs),
               .prepare = {}};
  r.prepare = [=] {
    const auto plain =
        std::make_shared<linear_map>(n, inputs, outputs, softlook::weight_format<float>());
    const auto in = std::make_shared<linear_map>(n, inputs, outputs, how);
    bench::prepared_row work;
    work.call = [in] { in->apply(); };
    work.error = [in] { return in->error(); };
    work.tolerance = tolerance;
    work.others.push_back({.call = [plain] { plain->apply(); }});
    return work;
  };
  return r;
}

struct attended {
  matrix<float> Q, K, V, O, exact;

  attended(index n, index d)
      : Q(bench::random_matrix<float>(n, d, 1)),
        K(bench::random_matrix<float>(n, d, 2)),
        V(bench::random_matrix<float>(n, d, 3)),
        O(n, d),
        exact(n, d) {}
};

[[nodiscard]] bench::row attention_row(bool causal, index n, index d) {
  bench::row r{.name = std::string("low_precision/bfloat16/amx/attention/") +
                       (causal ? "causal" : "full") + "/n:" + std::to_string(n) +
                       "/m:" + std::to_string(n) + "/d:" + std::to_string(d),
               .flops = (causal ? 2.0 * double(n + 1) : 4.0 * double(n)) * double(n * d),
               .prepare = {}};
  r.prepare = [=] {
    const auto in = std::make_shared<attended>(n, d);
    const auto attend = [in, causal](matrix<float>& O, const auto&... how) {
      if (causal)
        softlook::flash_attention_into(in->Q, in->K, in->V, O, softlook::masks::causal{}, how...);
      else
        softlook::flash_attention_into(in->Q, in->K, in->V, O, how...);
    };
    bench::prepared_row work;
    work.call = [in, attend] { attend(in->O, low_precision{}); };
    work.error = [in, causal] {
      return bench::sampled_error(in->V, in->O, causal, bench::dot_scores(in->Q, in->K));
    };
    work.tolerance = tolerance;
    work.others.push_back({.call = [in, attend] { attend(in->exact); }});
    return work;
  };
  return r;
}

/// One query over rows of 8 bits, against the same rows in the arithmetic of float.
[[nodiscard]] bench::row decode_row(const low_precision& how, const softlook::heads& h, index m,
                                    index d) {
  bench::row r{.name = "low_precision/" + text_of(how) + "/decode/n:1/m:" + std::to_string(m) +
                       "/d:" + std::to_string(d) + "/heads:" + std::to_string(h.query) +
                       "/kv:" + std::to_string(h.kv_or_query()),
               .flops = 4.0 * double(m * d * h.query),
               .prepare = {}};
  r.prepare = [=] {
    using rows = softlook::int8_rows<float>;
    const index kv = h.kv_or_query();
    const auto K = std::make_shared<rows>(bench::random_matrix<float>(m, d * kv, 1), kv);
    const auto V = std::make_shared<rows>(bench::random_matrix<float>(m, d * kv, 2), kv);
    const auto in = std::make_shared<attended>(index{1}, d * h.query);
    const auto plain = [=] { softlook::attention_into(in->Q, *K, *V, in->exact, h); };
    bench::prepared_row work;
    work.call = [=] { softlook::attention_into(in->Q, *K, *V, in->O, h, how); };
    work.error = [=] {
      plain();
      return double((in->O - in->exact).cwiseAbs().maxCoeff());
    };
    work.tolerance = tolerance;
    work.others.push_back({.call = plain});
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  for (const number_format as : {number_format::bfloat16, number_format::int8})
    for (const dot_unit unit : softlook::available_dot_units(as))
      for (const bench::index n : {1, 8, 32, 128, 512}) {
        rows.push_back(linear_row({.as = as, .unit = unit}, n, 576, 1536));
        if (n >= 128) rows.push_back(linear_row({.as = as, .unit = unit}, n, 2048, 2048));
      }
  if (softlook::available_dot_units(number_format::bfloat16).size() > 0)
    for (const bool causal : {false, true})
      for (const bench::index d : {64, 128})
        for (const bench::index n : {512, 2048}) rows.push_back(attention_row(causal, n, d));
  for (const dot_unit unit : softlook::available_dot_units(number_format::int8))
    for (const bench::index m : {512, 4096})
      if (unit != dot_unit::amx)
        for (const softlook::heads& h :
             {softlook::heads{.query = 1, .kv = 1}, softlook::heads{.query = 8, .kv = 1}})
          rows.push_back(decode_row({.as = number_format::int8, .unit = unit}, h, m, 128));
  return bench::run_rows(argc, argv, std::move(rows));
}
