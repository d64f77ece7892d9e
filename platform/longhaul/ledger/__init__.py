"""The durable record of searches; import-light, pyarrow is not imported here."""

from longhaul.ledger.errors import LedgerFormatError as LedgerFormatError
from longhaul.ledger.errors import SearchExistsError as SearchExistsError
from longhaul.ledger.errors import SearchOwnedError as SearchOwnedError
from longhaul.ledger.errors import StaleOwnerError as StaleOwnerError
from longhaul.ledger.errors import StorageError as StorageError
from longhaul.ledger.errors import StorageFullError as StorageFullError
from longhaul.ledger.errors import UnknownSearchError as UnknownSearchError
from longhaul.ledger.events import Event as Event
from longhaul.ledger.events import EventKind as EventKind
from longhaul.ledger.lease import Lease as Lease
from longhaul.ledger.lease import Owner as Owner
from longhaul.ledger.ledger import Ledger as Ledger
from longhaul.ledger.record import Fold as Fold
from longhaul.ledger.record import SearchRecord as SearchRecord
from longhaul.ledger.record import SearchState as SearchState
from longhaul.ledger.record import TrialRecord as TrialRecord
from longhaul.ledger.record import TrialState as TrialState
from longhaul.ledger.storage import LocalStorage as LocalStorage
from longhaul.ledger.storage import Storage as Storage
from longhaul.ledger.storage import check_search_name as check_search_name
from longhaul.ledger.storage import open_storage as open_storage
from longhaul.ledger.trial_folder import TrialFolder as TrialFolder
from longhaul.ledger.writer import Draft as Draft
from longhaul.ledger.writer import LedgerWriter as LedgerWriter
