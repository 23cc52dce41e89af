"""What trading costs: commissions and fees, slippage, partial fills by volume, interest.

Belongs here: pure cost functions and their settings. Does not belong here: orders, Backtrader, sessions with a broker.
"""

from broker.costs.commissions import Charge
from broker.costs.financing import Financing
from broker.costs.model import MODELS, CostModel, CostSettings, SlippageSettings, cost_model
from broker.costs.participation import Participation
from broker.costs.slippage import SlippageModel

__all__ = [
    "MODELS",
    "Charge",
    "CostModel",
    "CostSettings",
    "Financing",
    "Participation",
    "SlippageModel",
    "SlippageSettings",
    "cost_model",
]
