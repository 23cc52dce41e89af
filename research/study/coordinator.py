"""The one who asks and tells.

Belongs here: batch after batch, what is known of earlier trials, when a study ends. Does not belong here: how points
are chosen (`sampling`), run (`dispatch`) or kept (`storage`).
"""

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from research.engine import PreparedRun
from research.errors import StudyError
from research.metric_catalog import Better
from research.study.dispatch import Dispatcher, here, in_order
from research.study.evaluate import Bounds, Evaluator, running_means
from research.study.folds import as_dates, session_days
from research.study.objective import Objective
from research.study.outcome import Progress, SearchResult, StudyTrial, TrialState, ranked
from research.study.proof import prove
from research.study.sampling import GridSource, Point, sampler_for, source_for
from research.study.space import SearchSpace
from research.study.specification import StudySpecification
from research.study.storage import Claim, Store
from research.study.unread import unread
from research.study.workers import Job, Workers

ASKED_TO_STOP, OUT_OF_TIME = "asked to stop", "out of time"

_FLUSH_SECONDS = 0.25
_TOLD_SECONDS = 0.2
_WAVE = {True: 1_024, False: 64}
"""Points that are asked together where nothing depends on what they come to: compiled ones, others."""
_OTHERS_SECONDS = 0.5


class Coordinator:
    """Runs one search on one store.

    Args:
        prepared: the experiment on the bars of the search.
        specification: how it is searched.
        sampler: the one that runs; chosen by the specification when not given.
        progress: told as trials end.
        stop: asked between trials.
        check_unread: whether parameters that change nothing end the search.
    """

    def __init__(
        self,
        prepared: PreparedRun,
        specification: StudySpecification,
        *,
        sampler: str | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
        check_unread: bool = True,
    ) -> None:
        self._prepared, self._specification = prepared, specification
        self._progress, self._stop = progress, stop
        self._check_unread = check_unread
        self.space = SearchSpace.of(prepared.strategy, prepared.experiment.params, specification.space)
        self.evaluator = Evaluator(prepared, specification)
        self.directions = tuple(Objective.parse(t, specification.penalties).better for t in specification.objectives)
        self.sampler = sampler or sampler_for(self.space, specification, compiled=self.evaluator.compiled)
        self._source = source_for(self.space, specification, self.sampler, self.directions)
        self._trials: dict[int, StudyTrial] = {}
        self._under_way: dict[int, StudyTrial] = {}
        self._known: set[str] = set()
        self._elsewhere: dict[int, Point] = {}
        self._numbers = 0
        self._began = time.monotonic()
        self._done_before = 0
        self._last_told = 0.0
        self._checked = 0

    @property
    def total(self) -> int:
        """Trials that there will be."""
        return self._source.total if isinstance(self._source, GridSource) else self._specification.n_trials

    @property
    def adaptive(self) -> bool:
        """Whether points depend on what earlier ones came to."""
        return self._source.adaptive

    @property
    def trials(self) -> list[StudyTrial]:
        """Trials that ended, by number; those of the batch that is under way are among them."""
        return in_order(list({**self._under_way, **self._trials}.values()))

    def job(self, digest: str) -> Job:
        """What workers must know; `digest` names the bars."""
        experiment = self._prepared.experiment
        text = json.dumps(
            [digest, experiment.specification(), self._specification.determining()], sort_keys=True, default=str
        )
        return Job(hashlib.sha256(text.encode()).hexdigest(), experiment, self._specification)

    def run(self, store: Store, workers: Workers | None = None, digest: str = "") -> SearchResult:
        """Search until all is done, time is up or a stop is asked for.

        Raises:
            StudyError: nothing can be searched, or a parameter changes nothing.
            UnprovenError: a kernel trial is not Backtrader's result.
        """
        self._began = time.monotonic()
        dispatcher = self._dispatcher(workers, digest)
        self._restore(store, dispatcher)
        while self._ended() is None and self._numbers < self.total:
            claims = store.claim(self._ask)
            if not claims:
                break
            self._evaluate(store, claims, dispatcher)
            self._look()
        self._wait_for_others(store)
        ended = self._ended()
        trials = self.trials
        if ended is None and self._check_unread:
            self._refuse_unread()
        verified = prove(self._prepared, self._specification, trials, self.directions[0]) if ended is None else 0
        self._tell_progress(at_once=True)
        return SearchResult(
            tuple(trials), self.directions, self.sampler, as_dates(session_days(self._prepared)),
            dict(self._source.forbidden), ended, verified, time.monotonic() - self._began,
        )  # fmt: skip

    def _dispatcher(self, workers: Workers | None, digest: str) -> Dispatcher | None:
        if workers is None:
            return None
        return Dispatcher(
            workers,
            self.job(digest),
            compiled=self.evaluator.compiled,
            trial_timeout=self._specification.trial_timeout,
            stop=self._must_stop,
        )

    def _restore(self, store: Store, dispatcher: Dispatcher | None) -> None:
        """Take up what is kept: points that were claimed and not finished are run first."""
        claims = store.load()
        self._numbers = len(claims)
        self._done_before = sum(1 for claim in claims if claim.trial is not None)
        self._known |= {claim.point.key for claim in claims}
        finished = {claim.number: claim.trial for claim in claims if claim.trial is not None}
        open_ones = [claim for claim in claims if claim.trial is None and claim.mine]
        first_open = min((claim.batch for claim in claims if claim.trial is None), default=None)
        for claim in claims:  # earlier batches first: they decide about pruning in the open ones
            if claim.number in finished and (first_open is None or claim.batch < first_open):
                self._tell(claim, finished[claim.number])
        rest = [one for one in claims if one.number in finished and one.number not in self._trials]
        if open_ones or rest:
            self._evaluate(store, open_ones, dispatcher, kept=rest)
        for claim in claims:
            if claim.trial is None and not claim.mine:
                self._somebody_elses(claim)

    def _ask(self, news: Sequence[Claim], first: int) -> list[tuple[int, Point]]:
        """The next batches of points, in the light of what others did meanwhile."""
        for claim in news:
            if claim.trial is not None:
                self._tell(claim, claim.trial)
            elif not claim.mine and claim.number not in self._elsewhere:
                self._somebody_elses(claim)
        self._numbers = max(self._numbers, first)
        batch, wave = self._specification.batch, self._wave()
        asked: list[tuple[int, Point]] = []
        while len(asked) < wave and first + len(asked) < self.total:
            begin = first + len(asked)
            count = min(batch - begin % batch, self.total - begin)
            points = self._source.ask(begin, count, self._known)
            self._known |= {point.key for point in points}
            asked += [(begin // batch, point) for point in points]
            if len(points) < count:
                break
        self._numbers += len(asked)
        return asked

    def _wave(self) -> int:
        """One batch where points or pruning depend on what came before."""
        pruned = self._specification.folds > 1 and self._specification.pruner != "none"
        return 1 if self._source.adaptive or pruned else _WAVE[self.evaluator.compiled]

    def _evaluate(
        self, store: Store, claims: Sequence[Claim], dispatcher: Dispatcher | None, kept: Sequence[Claim] = ()
    ) -> None:
        """Run claims, keep what they come to as it comes, and tell in order at the end.

        Args:
            store: keeps them.
            claims: of one batch, or of several that nothing depends on.
            dispatcher: runs them, this process when there is none.
            kept: of the same batches, finished by an earlier run.
        """
        found = self._under_way = {claim.number: claim.trial for claim in kept if claim.trial is not None}
        waiting: list[StudyTrial] = []
        flushed = time.monotonic()
        batches = {claim.number: claim.batch for claim in claims}
        try:
            for ended in self._running(claims, dispatcher):
                for trial in ended:
                    numbered = replace(trial, batch=batches[trial.number])
                    found[trial.number] = numbered
                    waiting.append(numbered)
                if time.monotonic() - flushed > _FLUSH_SECONDS:
                    store.finish(waiting)
                    waiting, flushed = [], time.monotonic()
                self._tell_progress()
        finally:
            store.finish(waiting)
        for claim in sorted([*claims, *kept], key=lambda one: one.number):
            trial_found = found.get(claim.number)
            if trial_found is not None:
                self._tell(claim, trial_found)

    def _running(self, claims: Sequence[Claim], dispatcher: Dispatcher | None) -> Iterator[list[StudyTrial]]:
        """Trials as they end, batch by batch where their bounds differ."""
        bounds_of: dict[int, Bounds] = {claim.batch: self._bounds(claim.batch) for claim in claims}
        groups: dict[Bounds, list[Claim]] = {}
        for claim in claims:
            groups.setdefault(bounds_of[claim.batch], []).append(claim)
        for bounds, group in groups.items():
            points = [(claim.number, claim.point.params) for claim in group]
            if dispatcher is None:
                yield from here(self.evaluator, points, bounds, self._must_stop)
            else:
                yield from dispatcher.run(points, bounds)

    def _bounds(self, batch: int) -> Bounds:
        """Medians of the running means of trials of earlier batches, after each fold that may be the last."""
        settings, folds = self._specification.pruning, self._specification.folds
        if folds == 1 or self._specification.pruner == "none":
            return ()
        earlier = [one for one in self._trials.values() if one.batch < batch and one.state is TrialState.COMPLETE]
        means = [running_means(trial.folds) for trial in earlier if trial.value is not None]
        if len(means) < settings.startup_trials:
            return ()
        warmup = min(settings.warmup_folds, max(1, folds // 2))
        bounds: list[float | None] = [None] * folds
        for at in range(warmup - 1, folds - 1, settings.interval):
            known = [mean[at] for mean in means]
            values = [value for value in known if value is not None]
            bounds[at] = statistics.median(values) if values else None
        return tuple(bounds)

    def _tell(self, claim: Claim, trial: StudyTrial) -> None:
        if claim.number in self._trials:
            return
        self._trials[claim.number] = trial
        self._known.add(claim.point.key)
        self._elsewhere.pop(claim.number, None)
        self._source.tell(claim.point, trial)

    def _somebody_elses(self, claim: Claim) -> None:
        self._elsewhere[claim.number] = claim.point
        self._known.add(claim.point.key)
        self._source.pending(claim.point)

    def _wait_for_others(self, store: Store) -> None:
        """Until those that run the rest of the same study are done, so that all of it is written down."""
        limit = time.monotonic() + (self._specification.trial_timeout or 3_600.0)
        while self._elsewhere and self._ended() is None and time.monotonic() < limit:
            time.sleep(_OTHERS_SECONDS)
            orphans = store.claim(lambda news, first: self._only_news(news))
            if orphans:
                self._evaluate(store, orphans, None)

    def _only_news(self, news: Sequence[Claim]) -> list[tuple[int, Point]]:
        for claim in news:
            if claim.trial is not None:
                self._tell(claim, claim.trial)
        return []

    def _ended(self) -> str | None:
        if self._stop is not None and self._stop():
            return ASKED_TO_STOP
        timeout = self._specification.timeout
        if timeout is not None and time.monotonic() - self._began > timeout and len(self._trials) < self.total:
            return OUT_OF_TIME
        return None

    def _must_stop(self) -> bool:
        return self._ended() is not None

    def _look(self) -> None:
        """End what cannot come to anything."""
        trials = list(self._trials.values())
        if trials and all(trial.state is TrialState.FAILED for trial in trials):
            raise StudyError(f"{self._specification.name}: every trial failed: {trials[0].reason}")
        if self._check_unread and len(trials) >= 2 * self._checked:
            self._checked = len(trials)
            self._refuse_unread()

    def _refuse_unread(self) -> None:
        sentence = unread(list(self._trials.values()))
        if sentence is not None:
            raise StudyError(f"{self._specification.name}: {sentence}")

    def _tell_progress(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._progress is None or (not at_once and now - self._last_told < _TOLD_SECONDS):
            return
        self._last_told = now
        trials = self.trials
        best = next(iter(ranked(trials, self._better)), None)
        done, seconds = len(trials), now - self._began
        ran = done - self._done_before
        left = seconds / ran * (self.total - done) if ran > 0 else None
        self._progress(Progress(done, self.total, best, seconds, left))

    @property
    def _better(self) -> Better:
        return self.directions[0]
