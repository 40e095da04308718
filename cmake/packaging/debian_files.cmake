# Run by CPack over what it is about to pack: the licence and the changelog are where Debian's policy wants them.
get_filename_component(tree "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
set(docs "${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/share/doc")
set(own "${docs}/${CPACK_DEBIAN_PACKAGE_NAME}")
file(RENAME "${docs}/softlook" "${own}")
file(RENAME "${own}/LICENSE" "${own}/copyright")
configure_file("${tree}/CHANGELOG.md" "${own}/changelog" COPYONLY)
file(STRINGS "${own}/changelog" released LIMIT_COUNT 1 REGEX "^## \\[${CPACK_PACKAGE_VERSION}\\] - [0-9-]+$")
string(REGEX REPLACE ".* " "" released "${released}")
execute_process(COMMAND date -u -R -d "${released}" OUTPUT_VARIABLE released
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
file(WRITE "${own}/changelog.Debian"
  "softlook (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium\n\n"
  "  * changelog.gz says what is new.\n\n"
  " -- ${CPACK_PACKAGE_CONTACT}  ${released}\n")
execute_process(COMMAND gzip -9n "${own}/changelog" "${own}/changelog.Debian" COMMAND_ERROR_IS_FATAL ANY)
