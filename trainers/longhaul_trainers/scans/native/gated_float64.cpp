// The scans of gated cells in float64; a file for each type, as they are compiled at the same time.

#include "gated.hpp"

LONGHAUL_GATED(double, float64)
