#include "softlook/gradient/transforms.hpp"

#include <functional>
#include <limits>
#include <vector>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/transform/temperature.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::transforms_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

struct inputs {
  heads h{.query = 4, .kv = 2};
  matrix Q, K, V, dO;

  explicit inputs(std::uint64_t with, index n = 6, index m = 8) {
    generator random = seed(with);
    Q = random_matrix<matrix>(n, 12, random);
    K = random_matrix<matrix>(m, 6, random);
    V = random_matrix<matrix>(m, 6, random);
    dO = random_matrix<matrix>(n, 12, random);
  }
  template <class... Ps>
  [[nodiscard]] double loss(const Ps&... policies) const {
    return inner_product(dO, attention(Q, K, V, h, policies...));
  }
  template <class Visitor, class... Ps>
  attention_gradients<matrix> back(Visitor& visitor, const Ps&... policies) const {
    const auto s = attention_with_log_sum_exp(Q, K, V, h, policies...);
    attention_gradients<matrix> g;
    backward_extras<double> extras;
    extras.scores = std::ref(visitor);
    attention_backward_into(Q, K, V, s.output, s.log_sum_exp, dO, g, extras, h, policies...);
    return g;
  }
};

TEST(TransformGradient, OfABiasIsThatOfDifferences) {
  const inputs in(17001);
  generator random = seed(17002);
  for (const auto& [rows, cols] :
       {std::pair<index, index>{6, 8}, {24, 8}, {1, 8}, {6, 1}, {1, 1}}) {
    matrix B = random_matrix<matrix>(rows, cols, random);
    bias_gradient<double> dB(6, 8, 4);
    const masks::causal_bottom_right mask;
    (void)in.back(dB, transforms::soft_cap{2}, transforms::bias(B), mask);
    expect_gradient("B", B, dB.gradient(rows, cols),
                    [&] { return in.loss(transforms::soft_cap{2}, transforms::bias(B), mask); });
  }
}

/// Gradients of scores by query and key of the call, a matrix for each head.
struct taken_scores {
  std::vector<matrix> dS;
  taken_scores(index n, index m) : dS(4, matrix::Zero(n, m)) {}
  void operator()(const score_gradients<double>& block, index head) {
    for (index i = 0; i < block.dS.rows; ++i)
      for (index j = 0; j < block.dS.cols; ++j)
        dS[std::size_t(head)](block.first_query + i, block.first_key + j) += block.dS(i, j);
  }
};

TEST(ScoreGradients, OfSequencesAreThoseOfEachAtItsRows) {
  const inputs in(17010);
  const std::vector<std::int32_t> queries{0, 2, 6}, keys{0, 3, 8};
  taken_scores all(6, 8), expected(6, 8);
  (void)in.back(all, segments{.queries = queries, .keys = keys});
  for (std::size_t s = 0; s < 2; ++s) {
    const index n = queries[s + 1] - queries[s], m = keys[s + 1] - keys[s];
    inputs one = in;
    one.Q = in.Q.middleRows(queries[s], n);
    one.dO = in.dO.middleRows(queries[s], n);
    one.K = in.K.middleRows(keys[s], m);
    one.V = in.V.middleRows(keys[s], m);
    taken_scores alone(n, m);
    (void)one.back(alone);
    for (std::size_t h = 0; h < 4; ++h)
      expected.dS[h].block(queries[s], keys[s], n, m) = alone.dS[h];
  }
  for (std::size_t h = 0; h < 4; ++h) EXPECT_EQ(all.dS[h], expected.dS[h]) << "head " << h;
}

TEST(TransformGradient, OfSlopesIsThatOfDifferences) {
  const inputs in(17003);
  Eigen::VectorXd slopes = transforms::alibi_slopes(4);
  alibi_gradient<double> of(6, 8, 4);
  (void)in.back(of, transforms::alibi_per_head(slopes));
  expect_gradient("slopes", slopes, of.slopes(),
                  [&] { return in.loss(transforms::alibi_per_head(slopes)); });
  Eigen::VectorXd shared = Eigen::VectorXd::Constant(1, 0.3);
  alibi_gradient<double> of_one(6, 8, 4);
  (void)in.back(of_one, transforms::alibi{shared[0]}, masks::causal_bottom_right{});
  expect_gradient("slope", shared, Eigen::VectorXd::Constant(1, of_one.slopes().sum()).eval(), [&] {
    return in.loss(transforms::alibi{shared[0]}, masks::causal_bottom_right{});
  });
}

TEST(TransformGradient, OfTemperaturesIsThatOfDifferences) {
  const inputs in(17004);
  Eigen::VectorXd t = Eigen::VectorXd::LinSpaced(4, 0.5, 2);
  temperature_gradient<double> dt(6, 8, 4);
  (void)in.back(dt, transforms::temperature(t), transforms::alibi{0.2});
  expect_gradient("t", t, dt.gradient(t),
                  [&] { return in.loss(transforms::temperature(t), transforms::alibi{0.2}); });
}

TEST(TransformGradient, OfBucketsIsThatOfDifferences) {
  const inputs in(17005, 6, 30);
  generator random = seed(17006);
  for (const bool both : {true, false}) {
    const t5_buckets buckets{.count = 8, .max_distance = 16, .bidirectional = both};
    matrix table = random_matrix<matrix>(8, 4, random);
    for (const std::optional<index> first : {std::optional<index>{}, std::optional<index>{3}}) {
      t5_bias_gradient<double> of(6, 30, 4, buckets, first);
      {
        const t5_relative_bias<double> bias(table, buckets);
        (void)in.back(of, transforms::t5_bias(bias, first));
      }
      expect_gradient("table", table, of.table(), [&] {
        const t5_relative_bias<double> bias(table, buckets);
        return in.loss(transforms::t5_bias(bias, first));
      });
    }
  }
}

TEST(TransformGradient, OfRelativeKeysIsThatOfDifferences) {
  inputs in(17007, 5, 9);
  generator random = seed(17008);
  for (const index columns : {3, 12}) {
    matrix A = random_matrix<matrix>(7, columns, random);
    const auto loss = [&] {
      const relative_keys<double> R(in.Q, A, 4);
      return in.loss(transforms::relative_keys(R));
    };
    const relative_keys<double> R(in.Q, A, 4);
    relative_keys_gradient<double> of(R, 9);
    auto g = in.back(of, transforms::relative_keys(R));
    const matrix dA = of.add_to(in.Q, A, g.dQ);
    expect_gradient("A", A, dA, loss);
    expect_gradient("Q", in.Q, g.dQ, loss);
  }
  // With a place of its own and a scale.
  matrix A = random_matrix<matrix>(3, 3, random);
  const auto loss = [&] {
    const relative_keys<double> R(in.Q, A, 4, 0.7);
    return in.loss(transforms::relative_keys(R, 2));
  };
  const relative_keys<double> R(in.Q, A, 4, 0.7);
  relative_keys_gradient<double> of(R, 9, 2);
  auto g = in.back(of, transforms::relative_keys(R, 2));
  expect_gradient("A", A, of.add_to(in.Q, A, g.dQ, 0.7), loss);
  expect_gradient("Q", in.Q, g.dQ, loss);
}

TEST(TransformGradient, DoesNotDependOnThreads) {
  const inputs in(17009, 430, 410);
  const exec::thread_pool pool(3);
  const t5_relative_bias<double> bias(matrix::Ones(32, 4));
  const auto with = [&](const auto&... more) {
    t5_bias_gradient<double> of(430, 410, 4);
    (void)in.back(of, transforms::t5_bias(bias), masks::causal_top_left{}, more...);
    return of.table();
  };
  EXPECT_EQ(with(), with(pool));
  const auto biased = [&](const auto&... more) {
    bias_gradient<double> of(430, 410, 4);
    (void)in.back(of, more...);
    return of.gradient(1, 410);
  };
  EXPECT_EQ(biased(), biased(pool));
}

TEST(TransformGradient, KeepsApartWhatIsMasked) {
  inputs in(17010);
  in.K.bottomRows(2).setConstant(std::numeric_limits<double>::quiet_NaN());
  in.V.bottomRows(2).setConstant(std::numeric_limits<double>::infinity());
  bias_gradient<double> dB(6, 8, 4);
  const masks::causal_top_left mask;
  (void)in.back(dB, mask);
  EXPECT_TRUE(dB.gradient(6, 8).allFinite());
  EXPECT_EQ(dB.gradient(6, 8).rightCols(2), matrix::Zero(6, 2));
}

TEST(TransformGradient, RefusesWhatDoesNotFit) {
  const inputs in(17011);
  bias_gradient<double> narrow(6, 7, 4), one_head(6, 8, 1);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)in.back(narrow);
            }).find("bias_gradient: keys of the call is 8 but keys is 7"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] { (void)in.back(one_head); }).find("heads is 1"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] { (void)one_head.gradient(5, 8); }).find("rows is 5"),
            std::string::npos);
  EXPECT_THROW(alibi_gradient<double>(-1, 3), argument_error);
  EXPECT_THROW(temperature_gradient<double>(2, 3, 0), argument_error);
  EXPECT_THROW(t5_bias_gradient<double>(2, 3, 1, t5_buckets{.count = 7}), argument_error);
  temperature_gradient<double> dt(6, 8, 4);
  EXPECT_THROW((void)dt.gradient(Eigen::VectorXd::Ones(3).eval()), shape_error);
  const matrix A = matrix::Ones(3, 3);
  const relative_keys<double> R(in.Q, A, 4);
  const relative_keys_gradient of(R, 8);
  matrix dQ = matrix::Constant(6, 11, 7);
  EXPECT_NE(message_of<shape_error>([&] { (void)of.add_to(in.Q, A, dQ); }).find("dQ.cols() is 11"),
            std::string::npos);
  EXPECT_EQ(dQ, matrix::Constant(6, 11, 7));
}

}  // namespace
}  // namespace softlook::transforms_test
