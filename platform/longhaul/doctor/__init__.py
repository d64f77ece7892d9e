"""Whether this machine, its storage, its tracking and a cluster can run searches."""

from longhaul.doctor.finding import Finding as Finding
from longhaul.doctor.finding import Level as Level
