# softlook::mpi, what programs that include softlook/mpi.hpp link. SOFTLOOK_MPI: ON, OFF, or AUTO, which
# makes it where MPI is found. An installed package makes it when it is asked for:
# find_package(softlook COMPONENTS mpi).
if(PROJECT_IS_TOP_LEVEL)
  set(SOFTLOOK_MPI AUTO CACHE STRING "Make softlook::mpi: ON, OFF, or AUTO (where MPI is found)")
else()
  set(SOFTLOOK_MPI OFF CACHE STRING "Make softlook::mpi: ON, OFF, or AUTO (where MPI is found)")
endif()
if(SOFTLOOK_MPI)
  # Its C functions are enough; the C++ bindings of MPI 2 would be another library.
  set(MPI_CXX_SKIP_MPICXX TRUE)
  if(SOFTLOOK_MPI STREQUAL "AUTO")
    find_package(MPI QUIET COMPONENTS CXX)
  else()
    find_package(MPI REQUIRED COMPONENTS CXX)
  endif()
endif()
if(SOFTLOOK_MPI AND MPI_CXX_FOUND)
  add_library(softlook_mpi INTERFACE)
  add_library(softlook::mpi ALIAS softlook_mpi)
  target_link_libraries(softlook_mpi INTERFACE softlook MPI::MPI_CXX)
endif()
