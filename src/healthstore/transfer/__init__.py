"""Moving whole stores: migrate, verify, backup, restore, and loading rows from files.

Everything here works on :class:`~healthstore.abc.Backend` alone: pages in order of ``id`` are
read, digested and added, whatever store they come from or go to.
"""

from healthstore.transfer.backup import BackupReport, backup
from healthstore.transfer.clear import ClearReport, clear
from healthstore.transfer.comparison import Change, Comparison
from healthstore.transfer.digest import Digest
from healthstore.transfer.filling import release
from healthstore.transfer.lag import lag
from healthstore.transfer.load import Convert, Documents, LoadReport, load
from healthstore.transfer.migrate import MigrationReport, migrate
from healthstore.transfer.progress import (
    CollectionFinished,
    CollectionStarted,
    Finished,
    Mismatch,
    PageMoved,
    Planned,
    Progress,
    Stage,
    TransferEvent,
    Verified,
)
from healthstore.transfer.restore import Place, RestoreReport, restore
from healthstore.transfer.snapshot import Consistency
from healthstore.transfer.verify import VerificationReport, verify
from healthstore.transfer.walk import Moved

__all__ = (
    "BackupReport",
    "Change",
    "ClearReport",
    "CollectionFinished",
    "CollectionStarted",
    "Comparison",
    "Consistency",
    "Convert",
    "Digest",
    "Documents",
    "Finished",
    "LoadReport",
    "MigrationReport",
    "Mismatch",
    "Moved",
    "PageMoved",
    "Place",
    "Planned",
    "Progress",
    "RestoreReport",
    "Stage",
    "TransferEvent",
    "VerificationReport",
    "Verified",
    "backup",
    "clear",
    "lag",
    "load",
    "migrate",
    "release",
    "restore",
    "verify",
)
