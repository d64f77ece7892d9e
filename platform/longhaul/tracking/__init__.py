"""MLflow, fed in the background from the ledger; import-light, MLflow is not imported here."""

from longhaul.tracking.lag import Lag as Lag
from longhaul.tracking.process import TrackingProcess as TrackingProcess
