#pragma once

// Attention over the ranks of an MPI program. Optional: not part of softlook.hpp, and needs MPI
// (link softlook::mpi).
#include "softlook/mpi/agreement.hpp"
#include "softlook/mpi/attention.hpp"
#include "softlook/mpi/communicator.hpp"
#include "softlook/mpi/decode_attention.hpp"
#include "softlook/mpi/options.hpp"
#include "softlook/mpi/partition.hpp"
#include "softlook/mpi/plan.hpp"
#include "softlook/mpi/rows.hpp"
#include "softlook/mpi/transfer.hpp"
