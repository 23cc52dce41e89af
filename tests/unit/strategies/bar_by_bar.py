"""The declared strategies of the library once more, deciding bar by bar by Backtrader's own indicators.

Belongs here: what `test_declared_library` compares the declarations with. Does not belong here: tests.

Each asks for the symbol's side first, as a declared one does: the broker adds up positions in the order in which it was
first asked about them.
"""

import backtrader as bt

from strategies.base_strategy import BaseStrategy
from strategies.breakout import ATRBreakout, DonchianBreakout, KeltnerBreakout
from strategies.mean_reversion import BollingerReversion, RSIReversion, ZScoreReversion
from strategies.momentum import RSIMomentum
from strategies.sma_crossover import SMACrossover
from strategies.timing import ADXTrend, MACDTiming, StochasticTiming
from tests.unit.strategies.directional_movement import DirectionalStrength


class _Crossing(BaseStrategy):
    def decide(self, data):
        self.side(data)
        crossing = self.ind[data].crossing[0]
        if crossing > 0:
            self.enter_long(data)
        elif crossing < 0:
            self.enter_short(data)


class CrossingAverages(_Crossing):
    space = SMACrossover.space

    def indicators(self, data):
        short = bt.ind.SMA(data.close, period=self.p.sma_short)
        return {"crossing": bt.ind.CrossOver(short, bt.ind.SMA(data.close, period=self.p.sma_long))}


class CrossingMACD(_Crossing):
    space = MACDTiming.space

    def indicators(self, data):
        periods = {"period_me1": self.p.macd_fast, "period_me2": self.p.macd_slow, "period_signal": self.p.macd_signal}
        macd = bt.ind.MACD(data.close, **periods)
        return {"crossing": bt.ind.CrossOver(macd.macd, macd.signal)}


class CrossingStochastic(BaseStrategy):
    space = StochasticTiming.space

    def indicators(self, data):
        periods = {"period": self.p.stochastic_period, "period_dfast": self.p.smooth_k, "period_dslow": self.p.smooth_d}
        lines = bt.ind.Stochastic(data, **periods, safediv=True, safezero=0.5)
        return {"d": lines.percD, "crossing": bt.ind.CrossOver(lines.percK, lines.percD)}

    def decide(self, data):
        self.side(data)
        crossing, d = self.ind[data].crossing[0], self.ind[data].d[0]
        if crossing > 0 and d < self.p.oversold:
            self.enter_long(data)
        elif crossing < 0 and d > self.p.overbought:
            self.enter_short(data)


class TrendByADX(BaseStrategy):
    space = ADXTrend.space

    def indicators(self, data):
        return {"strength": DirectionalStrength(data, period=self.p.adx_period)}

    def decide(self, data):
        strength, side = self.ind[data].strength, self.side(data)
        adx, lead = strength.adx[0], strength.plus[0] - strength.minus[0]
        if adx > self.p.trend and lead > 0:
            self.enter_long(data)
        elif adx > self.p.trend and lead < 0:
            self.enter_short(data)
        elif side and (adx < self.p.trend_over or side * lead < 0):
            self.leave(data)


class Channel(BaseStrategy):
    space = DonchianBreakout.space

    def indicators(self, data):
        high, low = data.high(-1), data.low(-1)
        return {
            "entry_high": bt.ind.Highest(high, period=self.p.entry_bars),
            "entry_low": bt.ind.Lowest(low, period=self.p.entry_bars),
            "exit_high": bt.ind.Highest(high, period=self.p.exit_bars),
            "exit_low": bt.ind.Lowest(low, period=self.p.exit_bars),
            "atr": bt.ind.ATR(data, period=self.p.atr_period),
        }

    def decide(self, data):
        close, side, ind = data.close[0], self.side(data), self.ind[data]
        distance = self.p.atr_stop * ind.atr[0]
        if close > ind.entry_high[0]:
            self.enter_long(data, stop=close - distance)
        elif close < ind.entry_low[0]:
            self.enter_short(data, stop=close + distance)
        elif (side > 0 and close < ind.exit_low[0]) or (side < 0 and close > ind.exit_high[0]):
            self.leave(data)


class LargeMove(BaseStrategy):
    space = ATRBreakout.space

    def indicators(self, data):
        atr = bt.ind.ATR(data, period=self.p.atr_period)
        return {"atr": atr, "atr_before": atr(-1)}

    def decide(self, data):
        self.side(data)
        ind, close = self.ind[data], data.close[0]
        move, least = close - data.close[-1], self.p.breakout * ind.atr_before[0]
        distance = self.p.trail * ind.atr[0]
        if move > least:
            self.enter_long(data, stop=close - distance)
        elif move < -least:
            self.enter_short(data, stop=close + distance)
        side, stop = self.side(data), self.stop_price(data)
        if side and stop is not None and side * (close - side * distance - stop) > 0:
            self.protect(data, close - side * distance)


class AverageChannel(BaseStrategy):
    space = KeltnerBreakout.space

    def indicators(self, data):
        average = bt.ind.EMA(data.close, period=self.p.average_period)
        return {"middle": average, "atr": bt.ind.ATR(data, period=self.p.atr_period)}

    def decide(self, data):
        distance = data.close[0] - self.ind[data].middle[0]
        height, side = self.p.width * self.ind[data].atr[0], self.side(data)
        if distance > height:
            self.enter_long(data)
        elif distance < -height:
            self.enter_short(data)
        elif side * distance < 0:
            self.leave(data)


class WeakIndex(BaseStrategy):
    space = RSIReversion.space

    def indicators(self, data):
        return {"rsi": bt.ind.RSI(data.close, period=self.p.rsi_period, safediv=True)}

    def decide(self, data):
        rsi, side = self.ind[data].rsi[0], self.side(data)
        if rsi < self.p.oversold:
            self.enter_long(data)
        elif rsi > 100.0 - self.p.oversold:
            self.enter_short(data)
        elif (side > 0 and rsi > self.p.recovered) or (side < 0 and rsi < 100.0 - self.p.recovered):
            self.leave(data)


class StrongIndex(WeakIndex):
    space = RSIMomentum.space

    def decide(self, data):
        rsi, side = self.ind[data].rsi[0], self.side(data)
        if rsi > self.p.rsi_entry:
            self.enter_long(data)
        elif rsi < 100.0 - self.p.rsi_entry:
            self.enter_short(data)
        elif (side > 0 and rsi < self.p.rsi_exit) or (side < 0 and rsi > 100.0 - self.p.rsi_exit):
            self.leave(data)


class Bands(BaseStrategy):
    space = BollingerReversion.space

    def indicators(self, data):
        return {
            "average": bt.ind.SMA(data.close, period=self.p.band_period),
            "deviation": bt.ind.StdDev(data.close, period=self.p.band_period, safepow=True),
        }

    def decide(self, data):
        distance = data.close[0] - self.ind[data].average[0]
        deviation, side = self.ind[data].deviation[0], self.side(data)
        band, target = self.p.deviations * deviation, self.p.exit_deviations * deviation
        if distance < -band:
            self.enter_long(data)
        elif distance > band:
            self.enter_short(data)
        elif (side > 0 and distance >= target) or (side < 0 and distance <= -target):
            self.leave(data)


class Score(BaseStrategy):
    space = ZScoreReversion.space

    def indicators(self, data):
        average = bt.ind.SMA(data.close, period=self.p.lookback)
        deviation = bt.ind.StdDev(data.close, period=self.p.lookback, safepow=True)
        return {"z": bt.DivByZero(data.close - average, deviation, zero=0.0)}

    def decide(self, data):
        z, side = self.ind[data].z[0], self.side(data)
        if side and not self.p.exit_z < -side * z < self.p.stop_z:
            self.leave(data)
        elif -self.p.stop_z < z < -self.p.entry_z:
            self.enter_long(data)
        elif self.p.entry_z < z < self.p.stop_z:
            self.enter_short(data)


BAR_BY_BAR = {
    SMACrossover: CrossingAverages,
    MACDTiming: CrossingMACD,
    StochasticTiming: CrossingStochastic,
    ADXTrend: TrendByADX,
    DonchianBreakout: Channel,
    ATRBreakout: LargeMove,
    KeltnerBreakout: AverageChannel,
    RSIReversion: WeakIndex,
    RSIMomentum: StrongIndex,
    BollingerReversion: Bands,
    ZScoreReversion: Score,
}
"""Each declared strategy, and what decides the same bar by bar."""
