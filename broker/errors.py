"""What can go wrong between barloom and a broker, as one-sentence errors.

Belongs here: exception types of `broker`. Does not belong here: messages for a terminal or a page.
"""


class BrokerError(Exception):
    """Base of every error that `broker` raises on purpose; its text is one sentence for a user."""


class UnknownCostModelError(BrokerError):
    """A cost model that does not exist."""


class InvalidFillError(BrokerError):
    """A quantity, price or number of days for which no cost can be worked out."""


class FeeTableError(BrokerError):
    """The fee table that ships with the project is damaged."""


class GatewayError(BrokerError):
    """Base of everything that goes wrong between barloom and a gateway of Interactive Brokers."""


class GatewayUnreachableError(GatewayError):
    """No gateway answers at the address."""


class ClientIdInUseError(GatewayUnreachableError):
    """Another program, or an earlier session of ours, talks to the gateway under our number."""


class GatewayNotReadyError(GatewayError):
    """The gateway answered but did not tell everything that trading needs; `missing` names what did not come."""

    def __init__(self, text: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.missing = missing


class WrongAccountError(GatewayError):
    """The account does not fit the trading mode, or the login does not manage it."""


class GatewayTimeoutError(GatewayError):
    """The gateway did not answer a request in time: nothing is known about what was asked."""


class ContractError(GatewayError):
    """A text that names no contract, or more than one."""


class RequestRefusedError(GatewayError):
    """The gateway answered a request with an error; `code` is IB's number, `text` IB's words."""

    def __init__(self, code: int, text: str, subject: str = "request") -> None:
        super().__init__(f"{subject}: the gateway refuses with {code}: {text.rstrip('.')}.")
        self.code = code
        self.text = text


class NoDataError(RequestRefusedError):
    """IB says that there are no bars in the range asked for: an answer, not a failure."""


class PacingError(RequestRefusedError):
    """IB says that it was asked too often; to be asked again after a pause."""


class OrderBookError(BrokerError):
    """The order book was told something that cannot be: a reference used twice, an order that it does not know."""


class OrderTermsError(BrokerError):
    """An order with terms that the broker does not take."""


class SealedSettingError(BrokerError):
    """A setting of a broker that belongs to the account, not to a strategy."""


class LiveDataError(BrokerError):
    """A live feed that cannot be fed as it was asked for."""


class LiveRunError(BrokerError):
    """Cerebro is run in a way in which live trading does not work."""
