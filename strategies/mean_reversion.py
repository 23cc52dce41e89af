"""Mean reversion: what went too far comes back.

Belongs here: strategies of single symbols that buy weakness. Does not belong here: the spread of two symbols (see
`pairs`).
"""

from typing import Any, ClassVar

from strategies.base_strategy import BaseStrategy
from strategies.declaration import Bars, Signals
from strategies.indicators import rsi, sma, stddev, zscore
from strategies.parameters import Constraint, Float, Int, ParameterSpace


class RSIReversion(BaseStrategy):
    """Buy when the relative strength index says oversold, leave when it has recovered.

    With `allow_short` the mirror image: sell short above `100 - oversold`, cover below `100 - recovered`.

    Parameters (and those of `BaseStrategy`):
        rsi_period: Bars in Wilder's averages of gains and losses.
        oversold: Index, 0 to 100, below which to buy.
        recovered: Index above which to leave; more than `oversold`.
    """

    family: ClassVar[str] = "mean reversion"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "rsi_period": Int(2, 30, default=14, valid=(2, 1000)),
            "oversold": Float(10.0, 40.0, 1.0, default=30.0, valid=(0.0, 50.0)),
            "recovered": Float(45.0, 75.0, 1.0, default=55.0, valid=(0.0, 100.0)),
        },
        (Constraint("oversold < recovered"),),
    )

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Buy weakness, leave on recovery."""
        index = bars.compute(rsi, bars.close, p.rsi_period)
        return Signals(
            p.rsi_period,
            long_entry=index < p.oversold,
            short_entry=index > 100.0 - p.oversold,
            long_exit=index > p.recovered,
            short_exit=index < 100.0 - p.recovered,
        )


class BollingerReversion(BaseStrategy):
    """Buy a close below the lower Bollinger band, leave at the average or a little beyond.

    Bands lie `deviations` standard deviations (divided by n) around the simple average of closes, this bar included.
    With `allow_short` the mirror image at the upper band.

    Parameters (and those of `BaseStrategy`):
        band_period: Bars in the average and in the deviation.
        deviations: Distance of the bands from the average, in standard deviations.
        exit_deviations: Distance beyond the average at which to leave, in standard deviations; 0 is the average.
    """

    family: ClassVar[str] = "mean reversion"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "band_period": Int(10, 60, default=20, valid=(2, 1000)),
            "deviations": Float(1.0, 3.0, 0.25, default=2.0, valid=(0.1, 10.0)),
            "exit_deviations": Float(0.0, 1.0, 0.25, default=0.0, valid=(0.0, 10.0)),
        },
        (Constraint("exit_deviations < deviations"),),
    )

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Buy below the band, leave at the average."""
        distance = bars.close - bars.compute(sma, bars.close, p.band_period)
        deviation = bars.compute(stddev, bars.close, p.band_period)
        band, target = p.deviations * deviation, p.exit_deviations * deviation
        return Signals(
            p.band_period - 1,
            long_entry=distance < -band,
            short_entry=distance > band,
            long_exit=distance >= target,
            short_exit=distance <= -target,
        )


class ZScoreReversion(BaseStrategy):
    """Buy a close far below its average, leave on the way back, give up when it goes further.

    z is the distance of the close from its simple average in standard deviations (divided by n, this bar included).
    Long below `-entry_z`, out above `-exit_z`; below `-stop_z` the average has moved, not the price: out, and no entry.
    With `allow_short` the mirror image.

    Parameters (and those of `BaseStrategy`):
        lookback: Bars in the average and in the deviation; z cannot exceed the root of one less.
        entry_z: Distance at which to enter, in standard deviations.
        exit_z: Distance at which to leave; less than `entry_z`.
        stop_z: Distance at which to give up; more than `entry_z`.
    """

    family: ClassVar[str] = "mean reversion"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "lookback": Int(10, 120, default=30, valid=(3, 2000)),
            "entry_z": Float(1.0, 3.0, 0.25, default=2.0, valid=(0.1, 20.0)),
            "exit_z": Float(0.0, 1.0, 0.25, default=0.5, valid=(0.0, 20.0)),
            "stop_z": Float(3.0, 6.0, 0.5, default=4.0, valid=(0.1, 50.0)),
        },
        (Constraint("exit_z < entry_z < stop_z"),),
    )

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Enter between the entry and the stop, leave outside of them."""
        z = bars.compute(zscore, bars.close, p.lookback)
        return Signals(
            p.lookback - 1,
            long_entry=(-p.stop_z < z) & (z < -p.entry_z),
            short_entry=(p.entry_z < z) & (z < p.stop_z),
            long_exit=~((p.exit_z < -z) & (-z < p.stop_z)),
            short_exit=~((p.exit_z < z) & (z < p.stop_z)),
            exits_first=True,
        )
