#include "softlook/core/workspace.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace softlook::workspace_test {
namespace {

TEST(Workspace, GrowsAndNeverShrinks) {
  workspace space;
  EXPECT_EQ(space.bytes(), 0u);
  (void)space.reserve(1000);
  EXPECT_GE(space.bytes(), 1000u);
  const std::byte* const memory = space.reserve(10);
  EXPECT_GE(space.bytes(), 1000u);
  EXPECT_EQ(space.reserve(500), memory);
}

TEST(Workspace, IsAlignedToACacheLine) {
  workspace space;
  for (const std::size_t bytes : {1u, 100u, 5000u})
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(space.reserve(bytes)) % 64, 0u);
}

}  // namespace
}  // namespace softlook::workspace_test
