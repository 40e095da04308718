# `cpack` in a build folder makes the package libsoftlook-dev: headers, CMake and pkg-config files, and the library where
# SOFTLOOK_BUILD_COMPILED is on. Configured with -DCMAKE_INSTALL_PREFIX=/usr it has Debian's folders.
# -DCPACK_PACKAGE_CONTACT="Name <address>" says who packs; without it the address is none.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_VENDOR softlook)
if(NOT CPACK_PACKAGE_CONTACT)
  set(CPACK_PACKAGE_CONTACT "softlook contributors <none@softlook.invalid>")
endif()
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "attention over Eigen matrices")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
  "A C++20 library of attention: softmax attention and its variants, linear and
sparse attention, layers, decoding with caches, gradients, and pictures of the
weights. Headers, with CMake and pkg-config files.")
set(CPACK_DEBIAN_PACKAGE_NAME libsoftlook-dev)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libeigen3-dev (>= 3.4)")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
if(NOT SOFTLOOK_BUILD_COMPILED)
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE all)
endif()
set(CPACK_STRIP_FILES OFF)  # a static library is nothing without its symbols
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_LIST_DIR}/debian_files.cmake")
include(CPack)
