#pragma once

// Attention over the ranks of an MPI program. Optional: not part of softlook.hpp, and needs MPI
// (link softlook::mpi).
#include "softlook/mpi/agreement.hpp"
#include "softlook/mpi/communicator.hpp"
#include "softlook/mpi/partition.hpp"
#include "softlook/mpi/transfer.hpp"
