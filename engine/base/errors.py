"""Exceptions that a person may see.

``str(error)`` is one sentence or two: what is wrong, and what to do about it. Pages show it in place, the terminal
prints it on one line and exits with code 2. Any other exception is a defect and surfaces as a traceback.
"""


class WorkbenchError(Exception):
    """Base of every error that is explained to the person instead of raised at them."""


class CheckpointError(WorkbenchError):
    """The file is not a checkpoint that can be opened, or not a model that can be slimmed."""


class DatasetError(WorkbenchError):
    """The data set description is missing, unreadable or points nowhere."""


class PlanError(WorkbenchError):
    """The requested pruning cannot be done (ratio out of range, a layer would be emptied)."""


class TrainingError(WorkbenchError):
    """Training cannot start with, or cannot go on with, these settings."""


class ExportError(WorkbenchError):
    """The model could not be exported, or the exported file failed its checks."""


class StorageError(WorkbenchError):
    """A file or folder cannot be written (no space, no permission)."""


class JobError(WorkbenchError):
    """A job cannot be started, stopped or found."""


class StopRequested(Exception):
    """Raised by a report function when the person asked to stop; a verb ends soon and keeps what it has."""
