"""What can go wrong in the warehouse, as one small hierarchy of one-sentence errors.

Belongs here: exception types of `warehouse`. Does not belong here: messages for a terminal or a page.
"""


class WarehouseError(Exception):
    """Base of every error that the warehouse raises on purpose; its text is one sentence for a user."""


class InvalidRequestError(WarehouseError):
    """An argument names something that cannot exist: a resolution, a symbol, a range, a rule."""


class SourceError(WarehouseError):
    """A vendor could not deliver what was asked for."""


class UnknownSymbolError(SourceError):
    """The source does not know the symbol; asking again does not help."""


class SourceRefusedError(SourceError):
    """The vendor refuses the request as it is; asking again does not help."""


class SourceContractError(SourceError):
    """The vendor answered in a form that breaks its contract: a missing column, a wrong type, a bad time."""


class NoDataError(WarehouseError):
    """The warehouse holds no bars for what was asked."""


class CorruptFileError(WarehouseError):
    """A file under the data folder cannot be read as what its place says it is."""


class QueryError(WarehouseError):
    """SQL that is not allowed or not valid."""


class LedgerError(WarehouseError):
    """The ledger cannot be opened, read or written; what was to be written is to be taken for not written."""


class LedgerSchemaError(LedgerError):
    """The ledger was made by another version of barloom, whose tables this one does not know."""


class AlreadyRecordedError(LedgerError):
    """What may be recorded once is there already: an order reference, an execution, an answer to a command."""


class AccountLockedError(LedgerError):
    """Another process holds the account."""
