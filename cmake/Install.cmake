include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(config_dir "${CMAKE_INSTALL_DATADIR}/cmake/softlook")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/softlook"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.inl")
install(TARGETS softlook EXPORT softlookTargets INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT softlookTargets NAMESPACE softlook:: DESTINATION "${config_dir}")

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/softlookConfig.cmake.in" "${PROJECT_BINARY_DIR}/softlookConfig.cmake"
  INSTALL_DESTINATION "${config_dir}")
# ARCH_INDEPENDENT: headers alone fit every pointer size. Before 1.0 a minor version may break.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/softlookConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
  "${PROJECT_BINARY_DIR}/softlookConfig.cmake" "${PROJECT_BINARY_DIR}/softlookConfigVersion.cmake"
  DESTINATION "${config_dir}")

# Relative to the .pc file, so that an installed tree can be moved as a whole.
file(RELATIVE_PATH pc_prefix "/${CMAKE_INSTALL_DATADIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/softlook.pc.in" "${PROJECT_BINARY_DIR}/softlook.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/softlook.pc" DESTINATION "${CMAKE_INSTALL_DATADIR}/pkgconfig")
