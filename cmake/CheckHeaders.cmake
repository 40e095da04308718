include("${PROJECT_SOURCE_DIR}/cmake/Precompiled.cmake")

# softlook_check_headers(<target>): one translation unit per public header, which includes it first
# (nothing may be missing) and twice (the guard holds). Files of the stamped room have no guard and
# are parts of engine/kernels/dispatch.hpp, so only *.hpp counts.
#
# A header that includes one of `bases`, directly or not, finds that one precompiled: it could use what
# comes with it anyway, and the base itself is compiled alone.
function(softlook_check_headers target)
  set(bases softlook/engine/call/bound_call.hpp Eigen/Core)
  set(root "${PROJECT_SOURCE_DIR}/include")
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${root}" "${root}/*.hpp")
  file(GLOB_RECURSE parts CONFIGURE_DEPENDS RELATIVE "${root}" "${root}/*.inl")
  list(FILTER headers EXCLUDE REGEX "exec/openmp\\.hpp$")  # needs a flag; its own test includes it
  list(FILTER headers EXCLUDE REGEX "^softlook/mpi[./]")  # need MPI; tests/mpi includes them
  foreach(header IN LISTS headers parts)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${root}/${header}")
    file(STRINGS "${root}/${header}" lines REGEX "^#include [<\"]")
    string(REGEX REPLACE "#include [<\"]([^>\"]*)[>\"][^;]*" "\\1" "included_by_${header}" "${lines}")
  endforeach()

  set(rest ${headers})
  foreach(base IN LISTS bases "")
    set(above "${base}")
    set(grown "${base}")
    while(grown)
      set(grown "")
      foreach(header IN LISTS headers parts)
        if(header IN_LIST above)
          continue()
        endif()
        foreach(included IN LISTS "included_by_${header}")
          if(included IN_LIST above)
            list(APPEND grown "${header}")
            break()
          endif()
        endforeach()
      endforeach()
      list(APPEND above ${grown})
    endwhile()
    set(sources "")
    foreach(header IN LISTS rest)
      if(base STREQUAL "" OR (header IN_LIST above AND NOT header STREQUAL base))
        string(MAKE_C_IDENTIFIER "${header}" name)
        set(source "${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cpp")
        file(CONFIGURE OUTPUT "${source}" CONTENT
             "#include <@header@>\n#include <@header@>\n\nint include_of_@name@() { return 0; }\n" @ONLY)
        list(APPEND sources "${source}")
        list(REMOVE_ITEM rest "${header}")
      endif()
    endforeach()
    string(MAKE_C_IDENTIFIER "${target}_${base}" part)
    add_library(${part} OBJECT ${sources})
    set_target_properties(${part} PROPERTIES UNITY_BUILD OFF)
    softlook_settings(${part})
    # Only compiling is the test; nothing runs, so nothing needs optimising.
    target_compile_options(${part} PRIVATE -O0)
    if(base)
      softlook_precompile(${part} <${base}>)
    endif()
  endforeach()
endfunction()
