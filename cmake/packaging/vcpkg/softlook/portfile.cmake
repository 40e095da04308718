# An overlay port of the tree that it lies in:
#   vcpkg install softlook --overlay-ports=<softlook>/cmake/packaging/vcpkg
# In a registry vcpkg_from_github or vcpkg_from_git stands here instead, with the tag and its hash.
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../../.." ABSOLUTE)

vcpkg_check_features(OUT_FEATURE_OPTIONS options FEATURES compiled SOFTLOOK_BUILD_COMPILED)
if(NOT SOFTLOOK_BUILD_COMPILED)
  set(VCPKG_BUILD_TYPE release)  # headers have no other
endif()

vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS ${options} -DSOFTLOOK_BUILD_TESTS=OFF -DSOFTLOOK_BUILD_EXAMPLES=OFF -DSOFTLOOK_BUILD_BENCHMARKS=OFF)
vcpkg_cmake_install()
if(SOFTLOOK_BUILD_COMPILED)
  vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/softlook)
else()
  vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/softlook)
endif()
# vcpkg looks for .pc files in one folder; what they say is relative to it, and both lie two deep.
foreach(tree IN ITEMS "" "/debug")
  set(pc "${CURRENT_PACKAGES_DIR}${tree}/share/pkgconfig/softlook.pc")
  if(EXISTS "${pc}")
    file(INSTALL "${pc}" DESTINATION "${CURRENT_PACKAGES_DIR}${tree}/lib/pkgconfig")
  endif()
endforeach()
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug/include" "${CURRENT_PACKAGES_DIR}/debug/share"
  "${CURRENT_PACKAGES_DIR}/share/cmake" "${CURRENT_PACKAGES_DIR}/share/doc" "${CURRENT_PACKAGES_DIR}/share/pkgconfig")
file(INSTALL "${CURRENT_PORT_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
