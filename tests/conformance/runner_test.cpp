#include "runner.hpp"

#include <gtest/gtest.h>

#include <fstream>

namespace runner_test {
namespace {

using conformance::case_file;
using conformance::mode;
using conformance::outputs;
using conformance::status;
using conformance::verdict;

class Runner : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            (std::string("softlook_runner_") + info->name() + ".case");
    std::ofstream(path_) << "# origin: none | LITERAL | licence none\ncase "
                         << path_.stem().string()
                         << "\nop test.op\ntol 0 0\noutput y float64 1\n2\nend\n";
  }
  void TearDown() override { std::filesystem::remove(path_); }

  /// An operation that gives f(mode).
  template <class F>
  verdict run(const F& f) {
    const conformance::adapter_table table = {{"test.op", [&](const case_file&, const mode& m) {
                                                 return outputs{{"y", {{1}, {f(m)}, 0}}};
                                               }}};
    return conformance::run_file(path_, "x.case", table, conformance::all_modes());
  }

  std::filesystem::path path_;
};

TEST_F(Runner, PassesACaseOnlyIfEveryModeAgrees) {
  EXPECT_EQ(run([](const mode&) { return 2.0; }).outcome, status::passed);
  const verdict v = run([](const mode& m) { return m.single_precision ? 3.0 : 2.0; });
  EXPECT_EQ(v.outcome, status::failed);
  EXPECT_EQ(v.reason.rfind("float naive ", 0), 0u) << v.reason;
}

TEST_F(Runner, LeavesOutModesThatAnOperationDoesNotHave) {
  const verdict v = run([](const mode& m) -> double {
    if (!m.single_precision) throw conformance::not_in_this_mode();
    return 2;
  });
  EXPECT_EQ(v.outcome, status::passed) << v.reason;
}

TEST_F(Runner, FailsACaseThatNoModeComputed) {
  const verdict v = run([](const mode&) -> double { throw conformance::not_in_this_mode(); });
  EXPECT_EQ(v.outcome, status::failed);
  EXPECT_EQ(v.reason, "it was computed in no mode");
}

TEST_F(Runner, LetsACaseDifferByAConventionWithAName) {
  const std::filesystem::path usual = path_;
  path_ = usual.parent_path() / "tfa_suite_luong_monotonic_test.case";
  std::ofstream(path_) << "# origin: none | LITERAL | licence none\ncase " << path_.stem().string()
                       << "\nop test.op\ntol 0 0\noutput y float64 1\n2\nend\n";
  const verdict other = run([](const mode&) { return 3.0; });
  EXPECT_EQ(other.outcome, status::differs);
  EXPECT_NE(other.reason.find("clips"), std::string::npos) << other.reason;
  EXPECT_EQ(run([](const mode&) { return 2.0; }).outcome, status::agrees);
  const auto split = [](const mode& m) { return m.how == mode::path::naive ? 3.0 : 4.0; };
  EXPECT_EQ(run(split).outcome, status::failed);
  std::filesystem::remove(path_);
  path_ = usual;
}

/// A case with an attribute, an input and a weight, run by an adapter that reads some of them.
template <class Read>
verdict run_reading(const std::filesystem::path& path, const Read& read, const char* more = "") {
  std::ofstream(path) << "# origin: none | LITERAL | licence none\ncase " << path.stem().string()
                      << "\nop test.op\ntol 0 0\nattr causal 1\n"
                      << more << "input z float64 1\n3\nweight W float64 1\n4\n"
                      << "output y float64 1\n2\nend\n";
  const conformance::adapter_table table = {{"test.op", [&](const case_file& c, const mode& m) {
                                               read(c, m);
                                               return outputs{{"y", {{1}, {2.0}, 0}}};
                                             }}};
  return conformance::run_file(path, "x.case", table, conformance::all_modes());
}

TEST_F(Runner, FailsACaseOfWhichAnAdapterLeavesSomethingUnread) {
  const auto all = [](const case_file& c, const mode&) {
    (void)c.flag("causal");
    (void)c.input("z");
    (void)c.weight("W", 1);
  };
  EXPECT_EQ(run_reading(path_, all).outcome, status::passed);
  const auto without = [&](const char* name, const auto& read) {
    const verdict v = run_reading(path_, read);
    EXPECT_EQ(v.outcome, status::failed);
    EXPECT_NE(v.reason.find(std::string(name) + " is not read by the adapter of test.op"),
              std::string::npos)
        << v.reason;
  };
  without("attribute causal", [](const case_file& c, const mode&) {
    (void)c.has("causal");  // to ask whether it is there is not to read it
    (void)c.input("z");
    (void)c.weight("W");
  });
  without("input z", [](const case_file& c, const mode&) {
    (void)c.text("causal");
    (void)c.weight("W");
  });
  without("weight W", [](const case_file& c, const mode&) {
    (void)c.integer("causal", 0);
    (void)c.input("z", 1);
  });
  // What one mode reads another must read as well.
  without("weight W", [&](const case_file& c, const mode& m) {
    (void)c.flag("causal");
    (void)c.input("z");
    if (!m.single_precision) (void)c.weight("W");
  });
}

TEST_F(Runner, LetsAnAdapterPassOverWhatHasNoBearingOnTheOutputs) {
  const auto all = [](const case_file& c, const mode&) {
    (void)c.flag("causal");
    (void)c.input("z");
    (void)c.weight("W");
  };
  EXPECT_EQ(run_reading(path_, all, "attr has_grad 1\ninput grad_output float64 1\n1\n").outcome,
            status::passed);
  const verdict v = run_reading(path_, all, "attr opset 24\n");  // of ONNX only
  EXPECT_EQ(v.outcome, status::failed);
  EXPECT_NE(v.reason.find("x.case"), 0u);
}

TEST_F(Runner, NeutralisesWhatItQuotesOfAFile) {
  const verdict v = run_reading(path_, [](const case_file&, const mode&) {}, "\u202E\x1b[0m\n");
  EXPECT_EQ(v.outcome, status::failed);
  EXPECT_NE(v.reason.find("unknown keyword \"\uFFFD␛[0m\""), std::string::npos) << v.reason;
}

TEST_F(Runner, LetsACaseRepeatInAnAttributeWhatTheRestSays) {
  const auto agreeing = [](double rows) {
    return [rows](const case_file& c, const mode&) {
      conformance::agree(c, "causal", rows);
      conformance::agree(c, "no such attribute", 5);
      (void)c.input("z");
      (void)c.weight("W");
    };
  };
  EXPECT_EQ(run_reading(path_, agreeing(1)).outcome, status::passed);
  const verdict v = run_reading(path_, agreeing(2));
  EXPECT_EQ(v.outcome, status::failed);
  EXPECT_NE(v.reason.find("attribute causal is 1"), std::string::npos) << v.reason;
}

TEST_F(Runner, SkipsTheSentenceEncoderWithoutItsModel) {
  const auto table = conformance::all_adapters();
  EXPECT_THROW(table.at("minilm.encode")(case_file(), mode()), conformance::unsupported);
}

}  // namespace
}  // namespace runner_test
