# The target `softlook_docs`: a page for each family of variants, from the comments of the public headers, in
# docs/html of the build folder. Needs Doxygen and Python; the pages need no network.
find_package(Doxygen 1.9.4 REQUIRED)
find_package(Python3 REQUIRED COMPONENTS Interpreter)

set(softlook_docs "${PROJECT_BINARY_DIR}/docs")
configure_file("${PROJECT_SOURCE_DIR}/cmake/docs/Doxyfile.in" "${softlook_docs}/Doxyfile" @ONLY)
set(python "${CMAKE_COMMAND}" -E env PYTHONDONTWRITEBYTECODE=1 "${Python3_EXECUTABLE}")

add_custom_target(softlook_docs
  COMMAND ${python} -m doctest formula.py
  COMMAND ${python} check.py "${softlook_docs}/front.md"
  COMMAND "${CMAKE_COMMAND}" -E rm -rf "${softlook_docs}/html"
  COMMAND Doxygen::doxygen "${softlook_docs}/Doxyfile"
  WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}/cmake/docs"
  COMMENT "Pages: ${softlook_docs}/html/index.html"
  VERBATIM)
