// The scans of gated cells in float32; a file for each type, as they are compiled at the same time.

#include "gated.hpp"

LONGHAUL_GATED(float, float32)
