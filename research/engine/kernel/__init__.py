"""The kernel: a declared strategy run by compiled rules, bit for bit as on Backtrader.

Belongs here: the strategy's desk, the broker and the risk guard on flat records. Does not belong here: choosing the
engine.
"""

from research.engine.kernel.kernel import Kernel, KernelRun, ineligible
from research.engine.kernel.output import Records, records_of, run_output

__all__ = ["Kernel", "KernelRun", "Records", "ineligible", "records_of", "run_output"]
