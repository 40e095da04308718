#include "tests/support/kernels.hpp"
// kernels.hpp first: it keeps the kernels from being compiled here.
#include "softlook/attention/linformer.hpp"

#include <gtest/gtest.h>

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/attention.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"
#include "tests/support/storage.hpp"

namespace softlook::linformer_test {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::col_major;
using softlook_test::expect_error;
using softlook_test::max_error;
using softlook_test::max_magnitude;
using softlook_test::row_major;

template <class T>
struct inputs {
  row_major<T> Q, K, V, E, F;
};

struct sizes {
  index n = 1, m = 1, k = 1, d = 1, e = 1;
};

template <class T>
inputs<T> make(const sizes& s, std::uint64_t seed) {
  auto random = softlook_test::seed(seed);
  const auto matrix = [&](index rows, index cols, double magnitude) {
    return softlook_test::random_matrix<row_major<T>>(rows, cols, random, magnitude);
  };
  // 1/√m keeps projected keys as large as keys.
  const double mixed = 1 / std::sqrt(double(s.m));
  return {matrix(s.n, s.d, 1), matrix(s.m, s.d, 1), matrix(s.m, s.e, 1), matrix(s.k, s.m, mixed),
          matrix(s.k, s.m, mixed)};
}

/// Eq. (7) by its words: project, then attend.
template <class T, class... Policies>
oracle::result linformer_truth(const inputs<T>& in, const Policies&... policies) {
  const oracle::matrix E = oracle::widen(in.E), F = oracle::widen(in.F);
  oracle::matrix K = oracle::matrix::Zero(E.rows(), in.K.cols());
  oracle::matrix V = oracle::matrix::Zero(F.rows(), in.V.cols());
  for (index r = 0; r < E.rows(); ++r)
    for (index j = 0; j < E.cols(); ++j) {
      for (index c = 0; c < K.cols(); ++c) K(r, c) += E(r, j) * oracle::real(in.K(j, c));
      for (index c = 0; c < V.cols(); ++c) V(r, c) += F(r, j) * oracle::real(in.V(j, c));
    }
  return oracle::attention(oracle::widen(in.Q), K, V, policies...);
}

/// Projections are off like sums of m products of magnitude 1/√m, and pass that on to scores.
template <class T>
double linformer_bound(const sizes& s, const oracle::result& truth) {
  const double scores = max_magnitude(truth.raw), values = max_magnitude(truth.output) + 1;
  const double projected = softlook_test::linear_bound<T>(double(s.m), 16);
  return (1 + scores) * std::sqrt(double(s.d)) * projected * values +
         softlook_test::attention_bound<T>(double(s.k), double(2 * s.d), scores, values);
}

template <class T>
class Linformer : public ::testing::Test {};
using softlook_test::scalars;
TYPED_TEST_SUITE(Linformer, scalars);

TYPED_TEST(Linformer, AgreesWithThePaperForEveryInstructionSet) {
  using T = TypeParam;
  for (const sizes& s : {sizes{1, 1, 1, 1, 1}, sizes{5, 7, 3, 4, 2}, sizes{67, 257, 17, 8, 5},
                         sizes{3, 600, 31, 16, 16}, sizes{130, 256, 101, 7, 9}}) {
    const auto in = make<T>(s, 1);
    const auto truth = linformer_truth(in);
    for (const instruction_set isa : available_instruction_sets()) {
      const auto O = linformer_attention(in.Q, in.K, in.V, in.E, in.F, options{.isa = isa});
      EXPECT_LE(max_error(O, truth.output), linformer_bound<T>(s, truth))
          << name_of(isa) << " n " << s.n << " m " << s.m << " k " << s.k;
    }
  }
}

TYPED_TEST(Linformer, TakesScoresTransformsAndAScale) {
  using T = TypeParam;
  const sizes s{20, 90, 11, 6, 4};
  const auto in = make<T>(s, 2);
  const auto cap = transforms::soft_cap{2};
  const options scaled{.scale = 0.7};
  const auto truth = linformer_truth(in, cap, scaled);
  EXPECT_LE(max_error(linformer_attention(in.Q, in.K, in.V, in.E, in.F, cap, scaled), truth.output),
            linformer_bound<T>(s, truth));
}

TEST(LinformerHeads, AreSingleHeadsSideBySide) {
  const auto in = make<float>({33, 70, 9, 12, 8}, 3);
  const auto grouped = make<float>({33, 70, 9, 6, 4}, 4);
  const auto O =
      linformer_attention(in.Q, grouped.K, grouped.V, in.E, in.F, heads{.query = 4, .kv = 2});
  for (index h = 0; h < 4; ++h) {
    const auto alone =
        linformer_attention(head_columns(in.Q, h, 4), head_columns(grouped.K, h / 2, 2),
                            head_columns(grouped.V, h / 2, 2), in.E, in.F);
    EXPECT_TRUE(bitwise_equal(O.middleCols(h * 2, 2), alone)) << h;
  }
}

TEST(LinformerBits, DoNotDependOnExecutorStorageOrWorkspace) {
  const auto in = make<float>({61, 530, 33, 16, 12}, 5);
  const auto expected = linformer_attention(in.Q, in.K, in.V, in.E, in.F);
  workspace kept;
  exec::thread_pool pool(2);
  const softlook_test::round_robin dealt;
  const auto call = [&](const auto&... policies) {
    return linformer_attention(in.Q, in.K, in.V, in.E, in.F, policies...);
  };
  EXPECT_TRUE(bitwise_equal(expected, call(pool)));
  EXPECT_TRUE(bitwise_equal(expected, call(dealt)));
  EXPECT_TRUE(bitwise_equal(expected, call(options{.workspace = &kept})));
  EXPECT_TRUE(bitwise_equal(expected, call(options{.workspace = &kept})));
  const col_major<float> Q = in.Q, K = in.K, V = in.V, E = in.E, F = in.F;
  EXPECT_TRUE(bitwise_equal(expected, linformer_attention(Q, K, V, E, F)));
  softlook_test::strided_copy<float> k(in.K), e(in.E);
  EXPECT_TRUE(bitwise_equal(expected, linformer_attention(in.Q, k.map(), in.V, e.map(), F * 1)));
}

TEST(LinformerInto, WritesABlockAndNothingAroundIt) {
  const auto in = make<float>({9, 40, 5, 4, 3}, 6);
  softlook_test::strided_copy<float> out(row_major<float>::Zero(9, 3));
  linformer_attention_into(in.Q, in.K, in.V, in.E, in.F, out.map());
  EXPECT_TRUE(bitwise_equal(out.map(), linformer_attention(in.Q, in.K, in.V, in.E, in.F)));
  EXPECT_TRUE(out.gaps_are_nan());
}

TEST(Linformer, OfNothingIsDefined) {
  const auto in = make<float>({4, 6, 3, 2, 2}, 7);
  const row_major<float> none(0, 2), no_columns(3, 0), no_rows(0, 6);
  EXPECT_EQ(linformer_attention(none, in.K, in.V, in.E, in.F).rows(), 0);
  EXPECT_TRUE(linformer_attention(in.Q, none, none, no_columns, no_columns).isZero(0));
  EXPECT_TRUE(linformer_attention(in.Q, in.K, in.V, no_rows, no_rows).isZero(0));
}

TEST(Linformer, NaNOfAKeyReachesEveryRowAndOfAValueItsColumn) {
  auto in = make<float>({4, 6, 3, 2, 2}, 8);
  in.V(5, 1) = std::numeric_limits<float>::quiet_NaN();
  auto O = linformer_attention(in.Q, in.K, in.V, in.E, in.F);
  EXPECT_TRUE(all_finite(O.col(0)));
  EXPECT_TRUE(O.col(1).array().isNaN().all());
  in.K(0, 0) = std::numeric_limits<float>::quiet_NaN();
  O = linformer_attention(in.Q, in.K, in.V, in.E, in.F);
  EXPECT_TRUE(O.array().isNaN().all());
}

TEST(Linformer, NamesTheSizesThatDoNotFit) {
  const auto in = make<float>({4, 6, 3, 2, 2}, 9);
  const row_major<float> narrow(3, 5), tall(4, 6), wide(6, 3), five(5, 2);
  const auto call = [&](const auto& K, const auto& V, const auto& E, const auto& F) {
    return [&] { (void)linformer_attention(in.Q, K, V, E, F); };
  };
  expect_error<shape_error>(call(in.K, in.V, narrow, in.F),
                            {"linformer_attention: E.cols() is 5 but K.rows() is 6"});
  expect_error<shape_error>(call(in.K, in.V, in.E, narrow), {"F.cols() is 5 but V.rows() is 6"});
  expect_error<shape_error>(call(in.K, in.V, in.E, tall), {"F.rows() is 4 but E.rows() is 3"});
  expect_error<shape_error>(call(in.K, five, in.E, in.F), {"V.rows() is 5 but K.rows() is 6"});
  expect_error<shape_error>(call(wide, in.V, in.E, in.F), {"K.cols() is 3 but Q.cols() is 2"});
}

TEST(Linformer, RejectsAnOutputThatOverlapsAnInputOrDoesNotFit) {
  auto in = make<float>({3, 3, 3, 3, 3}, 10);
  const auto kept = in;
  const auto into = [&](row_major<float>& O) {
    return [&] { linformer_attention_into(in.Q, in.K, in.V, in.E, in.F, O); };
  };
  expect_error<argument_error>(into(in.Q), {"linformer_attention_into: O overlaps Q"});
  expect_error<argument_error>(into(in.K), {"O overlaps K"});
  expect_error<argument_error>(into(in.V), {"O overlaps V"});
  expect_error<argument_error>(into(in.E), {"O overlaps E"});
  expect_error<argument_error>(into(in.F), {"O overlaps F"});
  EXPECT_TRUE(bitwise_equal(in.E, kept.E));
  row_major<float> small(2, 3);
  expect_error<shape_error>(into(small), {"O.rows() is 2 but Q.rows() is 3"});
}

}  // namespace
}  // namespace softlook::linformer_test
