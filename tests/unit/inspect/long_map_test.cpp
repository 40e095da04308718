#include "softlook/inspect/long_map.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tests/support/errors.hpp"

namespace long_map_test {
namespace {

using softlook::argument_error;
using softlook::index;
using softlook::shape_error;
using softlook::inspect::long_map;
using softlook_test::message_of;

/// What strongest_weights() returns.
struct strongest {
  Eigen::Matrix<std::int32_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> keys;
  Eigen::MatrixXf weights;
};

strongest two_keys_of(index n) {
  strongest s{{n, 2}, Eigen::MatrixXf::Constant(n, 2, 0.25f)};
  for (index i = 0; i < n; ++i) s.keys.row(i) << std::int32_t(i), i == 0 ? -1 : std::int32_t(i - 1);
  return s;
}

TEST(LongMap, KeepsWhatItIsGiven) {
  const strongest best = two_keys_of(40);
  const Eigen::MatrixXf pixels = Eigen::MatrixXf::Random(4, 5);
  long_map map(50, pixels, best);
  EXPECT_EQ(map.rows(), 40);
  EXPECT_EQ(map.cols(), 50);
  EXPECT_EQ(map.pixels(), pixels.cast<double>());
  EXPECT_EQ(map.strongest_weights(), best.weights.cast<double>());
  ASSERT_EQ(map.strongest_keys().size(), 80U);
  EXPECT_EQ(map.strongest_keys()[1], -1);
  EXPECT_EQ(map.strongest_keys()[78], 39);
  EXPECT_EQ(map.strongest_keys()[79], 38);
  map.zoom({10, 14}, {20, 30}, pixels);
  ASSERT_EQ(map.regions().size(), 1U);
  EXPECT_EQ(map.regions()[0].queries, (softlook::range{10, 14}));
  EXPECT_EQ(map.regions()[0].keys, (softlook::range{20, 30}));
  EXPECT_EQ(map.regions()[0].pixels, pixels.cast<double>());
  EXPECT_EQ(map.entropies().size(), 0);
  const Eigen::VectorXf nats = Eigen::VectorXf::LinSpaced(40, 0.0f, 3.5f);
  map.entropies(nats);
  EXPECT_EQ(map.entropies(), nats.cast<double>());
}

TEST(LongMap, RejectsWhatDoesNotFit) {
  strongest best = two_keys_of(40);
  const Eigen::MatrixXd pixels = Eigen::MatrixXd::Ones(4, 5);
  const auto argument = [](const auto& f) { return message_of<argument_error>(f); };
  EXPECT_EQ(argument([&] { long_map(0, pixels, best); }),
            "inspect::long_map: keys is 0 (a map has at least 1 key)");
  EXPECT_EQ(argument([&] { long_map(50, pixels, strongest{}); }),
            "inspect::long_map: strongest.weights.rows() is 0 (a map has at least 1 query)");
  EXPECT_EQ(argument([&] { long_map(50, Eigen::MatrixXd(41, 5), best); }),
            "inspect::long_map: pixels.rows() is 41 (between 1 and the number of queries, 40)");
  EXPECT_EQ(argument([&] { long_map(50, Eigen::MatrixXd(4, 0), best); }),
            "inspect::long_map: pixels.cols() is 0 (between 1 and the number of keys, 50)");
  best.keys(7, 1) = 50;
  EXPECT_EQ(argument([&] { long_map(50, pixels, best); }),
            "inspect::long_map: a key of strongest is 50 (it lies below the number of keys, 50, or "
            "is -1: none)");
  best.keys(7, 1) = -2;
  EXPECT_EQ(argument([&] { long_map(50, pixels, best); }),
            "inspect::long_map: a key of strongest is -2 (it lies below the number of keys, 50, or "
            "is -1: none)");
  best.keys.resize(40, 3);
  EXPECT_EQ(message_of<shape_error>([&] { long_map(50, pixels, best); }),
            "inspect::long_map: strongest.keys.cols() is 3 but strongest.weights.cols() is 2 (each "
            "weight has its key)");
}

TEST(LongMap, RejectsEntropiesThatAreNotOneForEachQuery) {
  long_map map(50, Eigen::MatrixXd(Eigen::MatrixXd::Ones(4, 5)), two_keys_of(40));
  const auto shape = [&](index n, index m) {
    return message_of<shape_error>([&] { map.entropies(Eigen::MatrixXd::Ones(n, m).eval()); });
  };
  EXPECT_EQ(shape(50, 1),
            "inspect::long_map: entropies.rows() is 50 but rows() is 40 (each query has its "
            "entropy)");
  EXPECT_EQ(shape(40, 2),
            "inspect::long_map: entropies.cols() is 2 but 1 is 1 (each query has its entropy)");
  EXPECT_EQ(map.entropies().size(), 0);
}

TEST(LongMap, RejectsARegionOutsideOfIt) {
  long_map map(50, Eigen::MatrixXd(Eigen::MatrixXd::Ones(4, 5)), two_keys_of(40));
  const Eigen::MatrixXd pixels = Eigen::MatrixXd::Ones(4, 5);
  const auto argument = [&](softlook::range queries, softlook::range keys, const auto& drawn) {
    return message_of<argument_error>([&] { map.zoom(queries, keys, drawn); });
  };
  EXPECT_EQ(argument({-1, 10}, {0, 10}, pixels),
            "inspect::long_map: queries.begin is -1 (a region is not empty and lies between 0 and "
            "40)");
  EXPECT_EQ(argument({0, 41}, {0, 10}, pixels),
            "inspect::long_map: queries.end is 41 (a region is not empty and lies between 0 and "
            "40)");
  EXPECT_EQ(argument({0, 10}, {5, 5}, pixels),
            "inspect::long_map: keys.end is 5 (a region is not empty and lies between 0 and 50)");
  EXPECT_EQ(argument({0, 3}, {0, 10}, pixels),
            "inspect::long_map: pixels.rows() is 4 (between 1 and the number of queries, 3)");
  EXPECT_TRUE(map.regions().empty());
}

}  // namespace
}  // namespace long_map_test
