// A training that is stopped and resumed ends with the bits of one that was not.
#include "examples/training/checkpoint.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "examples/support/files.hpp"
#include "examples/training/random.hpp"
#include "tests/support/errors.hpp"
#include "tests/training/weights.hpp"

namespace checkpoint_test {
namespace {

using examples::adamw;
using examples::model_error;
using examples::safetensors;
using examples::settings;
using examples::training_point;
using softlook_test::expect_error;
using softlook_test::kit_weights;
using softlook_test::random_kit_weights;
using softlook_test::same_numbers;

/// A training whose gradients are chance alone.
template <class T>
struct course {
  kit_weights<T> weights = random_kit_weights<T>(1);
  adamw<kit_weights<T>> optimiser{weights};
  examples::generator random{7};
  std::int64_t step = 0;

  void run(std::int64_t until) {
    for (; step < until; ++step) {
      auto g = random_kit_weights<T>(random.bits());
      examples::clip_by_global_norm(g, 1.0);
      optimiser.step(weights, g, examples::cosine_schedule{.warmup = 3, .steps = 20}(step));
    }
  }
};

class Checkpoint : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("softlook_checkpoint_") + info->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "c.safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  template <class T>
  void save(const course<T>& c, const settings& made_with = {}) const {
    examples::save_checkpoint(path_, c.weights, c.optimiser, {c.step, c.random.state()}, made_with);
  }
  template <class T>
  void load(course<T>& c, const settings& wanted = {}) const {
    const training_point at = examples::load_checkpoint(path_, c.weights, c.optimiser, wanted);
    c.step = at.step;
    c.random = examples::generator(at.generator);
  }
  std::string bytes() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  std::filesystem::path folder_, path_;
};

template <class T>
void expect_same_course(const course<T>& a, const course<T>& b) {
  EXPECT_TRUE(same_numbers(a.weights, b.weights));
  EXPECT_TRUE(same_numbers(a.optimiser.first_moments(), b.optimiser.first_moments()));
  EXPECT_TRUE(same_numbers(a.optimiser.second_moments(), b.optimiser.second_moments()));
  EXPECT_EQ(a.optimiser.steps(), b.optimiser.steps());
  EXPECT_EQ(a.random.state(), b.random.state());
  EXPECT_EQ(a.step, b.step);
}

TEST_F(Checkpoint, ResumedTrainingHasTheBitsOfAnUninterruptedOne) {
  const auto of = [this](auto whole) {
    whole.run(20);
    for (const std::int64_t stop : {0, 1, 7, 20}) {
      decltype(whole) first, second;
      first.run(stop);
      save(first);
      second.random = examples::generator(99);
      second.weights.E.setConstant(42);
      load(second);
      expect_same_course(first, second);
      second.run(20);
      expect_same_course(whole, second);
    }
  };
  of(course<float>{});
  of(course<double>{});
}

TEST_F(Checkpoint, IsASafetensorsFileWithTheNamesOfTheWeights) {
  course<double> c;
  c.run(2);
  save(c, {{"hidden", "64"}});
  const safetensors file(path_);
  EXPECT_EQ(file.tensors().size(), 3u * 6u);
  EXPECT_EQ(file.tensor("weights.parts.1.W").dtype, "F64");
  EXPECT_EQ(file.tensor("weights.parts.1.W").shape, (std::vector<std::uint64_t>{4, 2}));
  EXPECT_EQ(file.tensor("adamw.second.none").shape, (std::vector<std::uint64_t>{0, 1}));
  EXPECT_EQ(file.metadata().at("step"), "2");
  EXPECT_EQ(file.metadata().at("setting.hidden"), "64");
  // Row by row, however the matrix lies.
  const std::byte* const second = file.tensor("weights.parts.1.W").bytes.data() + 8;
  EXPECT_EQ(examples::number_at<double>(second), c.weights.parts[1].W(0, 1));
}

TEST_F(Checkpoint, GivesWeightsAlone) {
  course<float> c;
  c.run(5);
  save(c);
  auto weights = softlook::zeros_like(c.weights);
  examples::load_weights(path_, weights);
  EXPECT_TRUE(same_numbers(weights, c.weights));
}

TEST_F(Checkpoint, OfOtherSettingsShapesOrTypesIsRefused) {
  course<float> c;
  c.run(5);
  save(c, {{"hidden", "64"}});
  const auto refused = [&](const settings& wanted, auto other, const char* why) {
    const auto before = other;
    expect_error<model_error>([&] { load(other, wanted); }, {path_.c_str(), why});
    expect_same_course(other, before);
  };
  refused({{"hidden", "32"}}, course<float>{}, "hidden is 64 in the file but 32 in the program");
  refused({{"layers", "2"}}, course<float>{}, "layers is not set in the file but 2 in the program");
  refused({}, course<double>{}, "tensor \"weights.E\": it is F32 but the program needs F64");
  course<float> larger;
  larger.weights.parts[1].b.setZero(3);
  larger.optimiser = adamw<kit_weights<float>>(larger.weights);
  refused({}, larger,
          "tensor \"weights.parts.1.b\": its shape is [1,2] but the program needs [1,3]");
  course<float> longer;
  longer.weights.parts.push_back(longer.weights.parts[0]);
  longer.optimiser = adamw<kit_weights<float>>(longer.weights);
  refused({}, longer, "tensor \"weights.parts.2.W\": it is not in the file");
}

TEST_F(Checkpoint, DamagedIsRefusedWithAMessage) {
  course<float> c;
  c.run(5);
  save(c);
  const std::string good = bytes();
  course<float> other;
  const auto before = other;
  for (std::size_t length = 0; length < good.size(); length += 13) {
    write(good.substr(0, length));
    expect_error<model_error>([&] { load(other); }, {path_.c_str()});
  }
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = good;
    changed.replace(changed.find(from), from.size(), to);
    write(changed);
  };
  with("\"step\":\"5\"", "\"step\":\"x\"");
  expect_error<model_error>([&] { load(other); }, {"\"step\" is \"x\", not a number from 0 on"});
  with("\"step\":\"5\"", "\"stop\":\"5\"");
  expect_error<model_error>([&] { load(other); }, {"\"step\" is not in the file"});
  with("adamw.first.E", "adamw.first.F");
  expect_error<model_error>([&] { load(other); },
                            {"tensor \"adamw.first.E\": it is not in the file"});
  with("\"adamw.steps\":\"5\"", "\"adamw.steps\":\"-\"");
  expect_error<model_error>([&] { load(other); }, {"adamw.steps"});
  std::filesystem::remove(path_);
  expect_error<model_error>([&] { load(other); }, {path_.c_str(), "cannot be opened"});
  expect_same_course(other, before);
}

TEST_F(Checkpoint, ThatCannotBeWrittenLeavesTheOneBefore) {
  course<float> c;
  save(c);
  const std::string good = bytes();
  std::filesystem::create_directory(path_.string() + ".part");
  c.run(5);
  expect_error<model_error>([&] { save(c); }, {path_.c_str(), "cannot be written"});
  EXPECT_EQ(bytes(), good);
  path_ = folder_ / "no" / "such" / "folder";
  expect_error<model_error>([&] { save(c); }, {"cannot be written"});
}

TEST_F(Checkpoint, HoldsNumbersThatAreNotFinite) {
  course<float> c;
  c.weights.E(0, 0) = std::numeric_limits<float>::infinity();
  c.weights.E(0, 1) = -0.0f;
  save(c);
  course<float> other;
  load(other);
  EXPECT_EQ(other.weights.E(0, 0), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::signbit(other.weights.E(0, 1)));
}

TEST_F(Checkpoint, TensorsHaveNamesOfTheirOwn) {
  examples::safetensors_writer file;
  file.add("x", Eigen::MatrixXf::Zero(1, 1).eval());
  expect_error<model_error>([&] { file.add("x", Eigen::MatrixXf::Zero(2, 1).eval()); },
                            {"\"x\"", "twice"});
}

}  // namespace
}  // namespace checkpoint_test
