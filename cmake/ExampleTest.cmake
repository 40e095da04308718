# softlook_example_test(<name> <regular expression> <command...>): a run of an example that writes a line
# like this, whatever its exit status.
function(softlook_example_test name expression)
  add_test(NAME "example/${name}" COMMAND ${ARGN} WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
  set_tests_properties("example/${name}" PROPERTIES LABELS example
    PASS_REGULAR_EXPRESSION "${expression}")
endfunction()
