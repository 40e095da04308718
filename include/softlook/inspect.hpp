#pragma once

// Pictures and figures of weights; the page for a browser is softlook/inspect/report.hpp.

#include "softlook/inspect/heat_map.hpp"
