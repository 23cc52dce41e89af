"""How far a download is, and an honest time until it is over."""

from datetime import UTC, date, datetime

from pipelines.cli.pages import PageCount
from warehouse.ingest import PageDone

DAY = date(2024, 1, 2)
NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


class Limited:
    """A source whose limits let one page out in ten seconds."""

    name = "limited"

    def symbols(self):
        return ()

    def fetch(self, request):
        raise NotImplementedError

    def pages(self, request):
        return (request,)

    def most_overlap(self, resolution):
        return 5

    def seconds_for(self, pages):
        return 10.0 * pages

    def stop(self):
        pass


def counted(symbols, *, source=None):
    """A count, what it showed, and its clock."""
    shown, clock = [], [0.0]
    count = PageCount(symbols, lambda *seen: shown.append(seen), clock=lambda: clock[0], now=lambda: NOON)
    count.begin(source or object())
    return count, shown, clock


def test_pages_of_all_symbols_are_counted_together():
    count, shown, _ = counted(2)
    for symbol, done, total in (("SPY", 0, 3), ("QQQ", 0, 2), ("SPY", 1, 3), ("QQQ", 1, 2)):
        count.on_page(PageDone(symbol, done, total, DAY, DAY))
    assert [(done, total) for done, total, _ in shown] == [(0, 3), (0, 5), (1, 5), (2, 5)]


def test_the_time_that_is_left_goes_by_the_pace_so_far():
    count, shown, clock = counted(1)
    count.on_page(PageDone("SPY", 0, 4, DAY, DAY))
    clock[0] = 600.0
    count.on_page(PageDone("SPY", 1, 4, DAY, DAY))
    assert [text.strip() for _, _, text in shown] == ["SPY", "SPY about 30 min left, until 12:30"]


def test_limits_that_take_longer_than_the_pace_are_told_from_the_start():
    count, shown, clock = counted(1, source=Limited())
    count.on_page(PageDone("SPY", 0, 60, DAY, DAY))
    clock[0] = 1.0
    count.on_page(PageDone("SPY", 1, 60, DAY, DAY))
    assert [text for _, _, text in shown] == [
        "SPY at least 10 min left, until 12:10", "SPY about 10 min left, until 12:09",
    ]  # fmt: skip


def test_symbols_whose_pages_are_not_known_make_it_a_lower_bound():
    count, shown, _ = counted(2, source=Limited())
    count.on_page(PageDone("SPY", 1, 3, DAY, DAY))
    count.on_page(PageDone("SPY", 3, 3, DAY, DAY))
    assert [text for _, _, text in shown] == ["SPY at least 20 s left", "SPY the other symbols follow"]


def test_nothing_is_said_to_be_left_at_the_end():
    count, shown, _ = counted(1, source=Limited())
    count.on_page(PageDone("SPY", 3, 3, DAY, DAY))
    assert shown == [(3, 3, "SPY ")]
