#include "softlook/engine/run/product.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/compare.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::detail::product_test {
namespace {

using softlook_test::generator;

template <class T>
class PackedProduct : public ::testing::Test {
 protected:
  static constexpr index panel = packed_panel_width<T>;

  /// f(rows, inputs, outputs, workers) over shapes around every limit.
  template <class F>
  static void for_every_shape(const F& f) {
    for (const index rows : {1, 7, 8, 9, 31, 33, 128, 1000, 100000})
      for (const index inputs : {0, 1, 64, 385, 4096, 200000})
        for (const index outputs : {index{1}, panel - 1, panel, panel + 1, index{1000}})
          for (const index workers : {1, 2, 3, 16, 1000}) f(rows, inputs, outputs, workers);
  }
};
TYPED_TEST_SUITE(PackedProduct, softlook_test::scalars, softlook_test::scalar_names);

TYPED_TEST(PackedProduct, IsCutAtRegisterTilesAndPanels) {
  this->for_every_shape([](index rows, index inputs, index outputs, index workers) {
    const product_cut cut = cut_product<TypeParam>(rows, inputs, outputs, workers);
    EXPECT_GT(cut.rows, 0);
    EXPECT_EQ(cut.rows % 8, 0) << "no register tile of rows is cut in two";
    EXPECT_GT(cut.columns, 0);
    EXPECT_EQ(cut.columns % packed_panel_width<TypeParam>, 0) << "no panel is cut in two";
    EXPECT_LE(cut.columns, round_up(outputs, packed_panel_width<TypeParam>));
  });
}

TYPED_TEST(PackedProduct, KeepsTheRowsOfABlockInTheSecondLevelCache) {
  this->for_every_shape([](index rows, index inputs, index outputs, index workers) {
    const product_cut cut = cut_product<TypeParam>(rows, inputs, outputs, workers);
    constexpr index cache = 512 * 1024, least_rows = 32;
    const index bytes = cut.rows * inputs * index(sizeof(TypeParam));
    EXPECT_TRUE(bytes <= cache || cut.rows <= least_rows)
        << rows << "x" << inputs << ": blocks of " << cut.rows;
  });
}

TYPED_TEST(PackedProduct, CutsColumnsOnlyForWorkersThatWouldBeIdle) {
  this->for_every_shape([](index rows, index inputs, index outputs, index workers) {
    const product_cut cut = cut_product<TypeParam>(rows, inputs, outputs, workers);
    const index panels = ceil_div(outputs, packed_panel_width<TypeParam>);
    const index blocks = ceil_div(rows, cut.rows), groups = ceil_div(outputs, cut.columns);
    if (workers == 1) {
      EXPECT_EQ(groups, 1);
    } else {
      // Halving a group would be too much for fewer tasks than that.
      EXPECT_GE(2 * blocks * groups, std::min(4 * workers, blocks * panels));
    }
  });
}

TYPED_TEST(PackedProduct, PackedSizeIsThatOfWholePanels) {
  using T = TypeParam;
  constexpr index width = packed_panel_width<T>;
  EXPECT_EQ(packed_size<T>(0, 10), 0);
  EXPECT_EQ(packed_size<T>(10, 0), 0);
  EXPECT_EQ(packed_size<T>(3, 1), 3 * width);
  EXPECT_EQ(packed_size<T>(3, width), 3 * width);
  EXPECT_EQ(packed_size<T>(3, width + 1), 6 * width);
}

TYPED_TEST(PackedProduct, APanelIsDepthMajorAndFilledUpWithZerosOnEverySet) {
  using T = TypeParam;
  constexpr index width = packed_panel_width<T>;
  generator random(701);
  for (const index inputs : {1, 2, 7, 8, 65})
    for (const index outputs : {index{1}, index{15}, width - 1, width, width + 1, 2 * width + 17}) {
      const auto W =
          softlook_test::random_matrix<softlook_test::col_major<T>>(inputs, outputs, random);
      const softlook_test::row_major<T> by_rows = W;
      for (const auto isa : available_instruction_sets()) {
        std::vector<T> panels(std::size_t(packed_size<T>(inputs, outputs)), T(42));
        std::vector<T> from_rows = panels;
        products_of<T>(isa).pack(view_of(W), panels.data());
        products_of<T>(isa).pack(view_of(by_rows), from_rows.data());
        EXPECT_EQ(panels, from_rows) << name_of(isa);
        index wrong = 0;
        for (std::size_t at = 0; at < panels.size(); ++at) {
          const index row = index(at) / width % inputs;
          const index column = index(at) / (width * inputs) * width + index(at) % width;
          if (panels[at] != (column < outputs ? W(row, column) : T(0))) ++wrong;
        }
        EXPECT_EQ(wrong, 0) << name_of(isa) << " " << inputs << "x" << outputs;
      }
    }
}

}  // namespace
}  // namespace softlook::detail::product_test
