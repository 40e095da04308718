# Eigen as it is on this machine, so that a test fetches nothing; CMake finds it by Eigen3_DIR.
set(VCPKG_POLICY_EMPTY_PACKAGE enabled)
