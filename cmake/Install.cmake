include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Headers alone serve every machine; a library serves one.
if(SOFTLOOK_BUILD_COMPILED)
  set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/softlook")
  set(any_machine "")
else()
  set(config_dir "${CMAKE_INSTALL_DATADIR}/cmake/softlook")
  set(any_machine ARCH_INDEPENDENT)
endif()

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/softlook"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.inl")
install(TARGETS softlook EXPORT softlookTargets INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
if(SOFTLOOK_BUILD_COMPILED)
  install(TARGETS softlook_compiled EXPORT softlookTargets
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()
install(EXPORT softlookTargets NAMESPACE softlook:: DESTINATION "${config_dir}")

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/softlookConfig.cmake.in" "${PROJECT_BINARY_DIR}/softlookConfig.cmake"
  INSTALL_DESTINATION "${config_dir}")
# Before 1.0 a minor version may break.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/softlookConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion ${any_machine})
install(FILES
  "${PROJECT_BINARY_DIR}/softlookConfig.cmake" "${PROJECT_BINARY_DIR}/softlookConfigVersion.cmake"
  DESTINATION "${config_dir}")

# Relative to the .pc file, so that an installed tree can be moved as a whole.
function(install_pkg_config name folder)
  file(RELATIVE_PATH pc_prefix "/${folder}" "/")
  string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
  configure_file("${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in" "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION "${folder}")
endfunction()
install_pkg_config(softlook "${CMAKE_INSTALL_DATADIR}/pkgconfig")
if(SOFTLOOK_BUILD_COMPILED)
  install_pkg_config(softlook-compiled "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()

install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" "${PROJECT_SOURCE_DIR}/cmake/packaging/CITATION.cff"
  DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/softlook")
if(PROJECT_IS_TOP_LEVEL)
  include("${PROJECT_SOURCE_DIR}/cmake/packaging/Debian.cmake")
endif()
