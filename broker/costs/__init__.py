"""What trading costs: commissions and fees, slippage, volume participation, interest.

Belongs here: pure functions of an order and a bar. Does not belong here: the order's way to the market. Costs are never
silently zero: `CostModel.notices` names every one that is.
"""

from broker.costs.commission import Charge
from broker.costs.financing import Financing
from broker.costs.model import CostModel
from broker.costs.participation import Participation
from broker.costs.settings import COST_MODELS, CostSettings, cost_model
from broker.costs.slippage import SlippageModel

__all__ = [
    "COST_MODELS",
    "Charge",
    "CostModel",
    "CostSettings",
    "Financing",
    "Participation",
    "SlippageModel",
    "cost_model",
]
