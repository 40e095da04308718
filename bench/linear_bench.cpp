// Linear attention: chunks against softmax attention and against one token at a time; is the cost
// linear in n?

#include <softlook/attention.hpp>
#include <softlook/linear.hpp>

#include "support/inputs.hpp"
#include "support/row.hpp"

namespace {

using bench::index;
using matrix = bench::matrix<float>;

struct shape {
  index n = 0;
  index d = 64;
};

struct problem {
  matrix Q, K, V, O, beta, gate;

  explicit problem(const shape& s)
      : Q(bench::random_matrix<float>(s.n, s.d, 1)),
        K(bench::random_matrix<float>(s.n, s.d, 2)),
        V(bench::random_matrix<float>(s.n, s.d, 3)),
        O(s.n, s.d),
        beta(matrix::Constant(s.n, 1, 1.0f / float(2 * s.d))),
        gate(matrix::Constant(s.n, 1, -0.05f)) {}
};

/// What a program does to the state; the work that counts is the update and the product with a
/// query, 4·d² for each token, and d² more products where the delta rule reads the state first.
enum class form { full, causal, step, eigen_step, gated, delta, softmax };

const char* name_of(form f) {
  switch (f) {
    case form::full:
      return "auto/full";
    case form::causal:
      return "auto/causal";
    case form::step:
      return "auto/step";
    case form::eigen_step:
      return "naive/step";
    case form::gated:
      return "auto/gated";
    case form::delta:
      return "auto/delta";
    case form::softmax:
      break;
  }
  return "flash/softmax causal";
}

/// A row of the state as a good user of Eigen writes it, in the same plain build.
void eigen_steps(problem& p) {
  const index d = p.Q.cols();
  matrix S = matrix::Zero(d, d);
  Eigen::RowVectorXf z = Eigen::RowVectorXf::Zero(d), q(d), k(d);
  const auto elu = [](const auto& x) {
    return (x.array() > 0).select(x.array() + 1, x.array().exp());
  };
  for (index t = 0; t < p.Q.rows(); ++t) {
    q = elu(p.Q.row(t));
    k = elu(p.K.row(t));
    S.noalias() += k.transpose() * p.V.row(t);
    z += k;
    p.O.row(t).noalias() = q * S;
    p.O.row(t) /= q.dot(z);
  }
}

void run(form f, problem& p) {
  namespace gates = softlook::gates;
  const index d = p.Q.cols();
  switch (f) {
    case form::full:
      return softlook::linear_attention_into(p.Q, p.K, p.V, p.O);
    case form::causal:
      return softlook::causal_linear_attention_into(p.Q, p.K, p.V, p.O);
    case form::gated:
      return softlook::fast_weights_into(p.Q, p.K, p.V, p.O, gates::log_decay{p.gate});
    case form::delta:
      return softlook::fast_weights_into(p.Q, p.K, p.V, p.O, softlook::updates::delta{p.beta});
    case form::softmax:
      return softlook::flash_attention_into(p.Q, p.K, p.V, p.O, softlook::masks::causal_top_left{});
    case form::eigen_step:
      return eigen_steps(p);
    case form::step:
      break;
  }
  softlook::linear_state<float> state(d, d);
  for (index t = 0; t < p.Q.rows(); ++t)
    softlook::causal_linear_attention_into(p.Q.row(t), p.K.row(t), p.V.row(t), p.O.row(t), state);
}

/// Every token in double; compared at the sampled rows.
double error_of(form f, const problem& p) {
  if (!p.O.allFinite()) return std::numeric_limits<double>::quiet_NaN();
  if (f == form::softmax) return 0;  // forward/flash checks it
  const index d = p.Q.cols(), n = p.Q.rows();
  const bool elu = f != form::gated && f != form::delta;
  const auto feature = [elu](double x) { return !elu ? x : x > 0 ? x + 1 : std::exp(x); };
  const std::vector<index> rows = bench::sampled_rows(n);
  Eigen::MatrixXd S = Eigen::MatrixXd::Zero(d, d);
  Eigen::VectorXd z = Eigen::VectorXd::Zero(d);
  double worst = 0;
  const auto compare = [&](index t) {
    const Eigen::VectorXd q = p.Q.row(t).transpose().cast<double>().unaryExpr(feature);
    const Eigen::VectorXd o = S.transpose() * q / (elu ? q.dot(z) : 1.0);
    const double size = elu ? 1 : std::max(1.0, o.cwiseAbs().maxCoeff());
    worst =
        std::max(worst, (o - p.O.row(t).transpose().cast<double>()).cwiseAbs().maxCoeff() / size);
  };
  std::size_t next = 0;
  for (index t = 0; t < n; ++t) {
    const Eigen::VectorXd k = p.K.row(t).transpose().cast<double>().unaryExpr(feature);
    Eigen::VectorXd u = p.V.row(t).transpose().cast<double>();
    if (f == form::gated) S *= std::exp(double(p.gate(t, 0)));
    if (f == form::delta) u = double(p.beta(t, 0)) * (u - S.transpose() * k);
    S.noalias() += k * u.transpose();
    z += k;
    if (f != form::full && next < rows.size() && rows[next] == t) {
      compare(t);
      ++next;
    }
  }
  for (index i = 0; f == form::full && i < index(rows.size()); ++i) compare(rows[std::size_t(i)]);
  return worst;
}

bench::row linear_row(form f, const shape& s) {
  const double n = double(s.n), d = double(s.d);
  double flops = (f == form::delta ? 6 : 4) * n * d * d;
  if (f == form::softmax) flops = 2 * n * n * d;
  bench::row r{.name = std::string("linear/") + name_of(f) + "/n:" + std::to_string(s.n) +
                       "/d:" + std::to_string(s.d),
               .flops = flops,
               .rates = {{"tokens_per_second", n}},
               .prepare = {}};
  r.prepare = [f, s] {
    const auto p = std::make_shared<problem>(s);
    bench::prepared_row work;
    work.call = [f, p] { run(f, *p); };
    work.error = [f, p] { return error_of(f, *p); };
    work.tolerance = bench::tolerance<float>();
    if (f == form::softmax || f == form::step || f == form::eigen_step) {
      work.others.push_back({.call = [p] { run(form::causal, *p); }});
    }
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  for (const form f : {form::full, form::causal, form::step, form::eigen_step, form::gated,
                       form::delta, form::softmax})
    rows.push_back(linear_row(f, {16384}));
  for (const bench::index n : {1024, 131072, 1048576}) {
    rows.push_back(linear_row(form::full, {n}));
    rows.push_back(linear_row(form::causal, {n}));
  }
  rows.push_back(linear_row(form::causal, {16384, 128}));
  rows.push_back(linear_row(form::step, {16384, 128}));
  return bench::run_rows(argc, argv, std::move(rows));
}
