#include "softlook/transform/temperature.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::temperature_test {
namespace {

using namespace softlook_test;

TEST(Temperature, DividesTheScoresOfItsHead) {
  const Eigen::VectorXd t = (Eigen::VectorXd(3) << 0.5, 1, 3).finished();
  const transforms::temperature soften(t);
  for (std::int32_t head = 0; head < 3; ++head)
    for (const double s : {-7.0, 0.0, 1.25})
      EXPECT_DOUBLE_EQ(soften(s, 0, 0, {.head = head, .heads = 3}), s / t[head]);
}

template <class T>
class TemperatureOfAttention : public ::testing::Test {};
TYPED_TEST_SUITE(TemperatureOfAttention, scalars, scalar_names);

TYPED_TEST(TemperatureOfAttention, AgreesWithTheOracleEveryWay) {
  const auto p =
      random_problem<TypeParam>({.queries = 33, .keys = 41, .features = 8, .values = 5}, seed(431));
  const Eigen::RowVectorXd t = Eigen::RowVectorXd::Constant(1, 0.4);
  const transforms::temperature soften(t);
  expect_every_way_agrees(p.Q, p.K, p.V, std::nullopt, soften);
  expect_every_way_agrees(p.Q, p.K, p.V, 0.3, masks::causal_bottom_right{}, soften);
}

TEST(Temperature, RejectsTooFewAndNumbersThatAreNotPositive) {
  const Eigen::VectorXd t = (Eigen::VectorXd(3) << 1, 0, 1e300).finished();
  const transforms::temperature soften(t);
  expect_error<argument_error>([&] { soften.check("attention", {.head = 1, .heads = 3}); },
                               {"attention: transforms::temperature of a head is 0"});
  EXPECT_NO_THROW(soften.check("attention", {.head = 2, .heads = 3}));
  expect_error<argument_error>([&] { soften.check<float>("attention", {.head = 2, .heads = 3}); },
                               {"transforms::temperature of a head is 1e+300"});
  const Eigen::VectorXd tiny = Eigen::VectorXd::Constant(1, 1e-40);
  expect_error<argument_error>([&] { transforms::temperature(tiny).check<float>("attention", {}); },
                               {"1 / transforms::temperature of a head is 1e+40"});
  EXPECT_NO_THROW(transforms::temperature(tiny).check("attention", {}));
  expect_error<shape_error>([&] { soften.check("attention", {.head = 3, .heads = 4}); },
                            {"temperatures.size() is 3", "number of query heads is 4"});
}

}  // namespace
}  // namespace softlook::temperature_test
