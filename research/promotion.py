"""The gate between a study and an experiment that others run.

Belongs here: whether the winner of a study may become an experiment, writing its file and where it comes from. Does not
belong here: the checks (see `research.overfitting`), measuring them (see `research.assessment`).

The gate opens when no check of severity ERROR failed or stayed unknown. A person may open it all the same, with a
reason, and both are recorded. A file that holds something else is never overwritten.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from research.errors import StudyError
from research.experiment import Experiment, load_experiment
from research.result import page_text
from research.study.records import StudyRecord
from warehouse.files import write_bytes

UNKNOWN, FAILED = "unknown", "error"
"""What a finding may be that is not `ok` or `warn`."""


class RefusedError(StudyError):
    """A study is not promoted; `failing` names the checks that stand in its way."""

    def __init__(self, sentence: str, failing: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.failing = failing


@dataclass(frozen=True, slots=True)
class Promotion:
    """What was promoted and on what grounds; plain JSON types."""

    study: str
    experiment: str
    params: Mapping[str, Any]
    assessed_at: str
    findings: Sequence[Mapping[str, Any]]
    failing: Sequence[str]
    override_reason: str | None


def gate(study: str, findings: Sequence[Mapping[str, Any]], override_reason: str | None) -> tuple[str, ...]:
    """Let a study through or not.

    Returns:
        The checks that were overridden, none when all pass.

    Raises:
        RefusedError: a check failed or is unknown and nobody gave a reason to go on.
    """
    if override_reason is not None and not override_reason.strip():
        raise RefusedError(f"override: the reason for promoting {study} must be said in words.")
    failing = [one for one in findings if blocks(one)]
    if failing and override_reason is None:
        named = ", ".join(f"{one['check']} {'unknown' if one['severity'] == UNKNOWN else 'failed'}" for one in failing)
        raise RefusedError(
            f"{study} is not promoted: {named}; see its assessment for what each one means.",
            tuple(str(one["check"]) for one in failing),
        )
    return tuple(str(one["check"]) for one in failing)


def blocks(finding: Mapping[str, Any]) -> bool:
    """Whether a finding stands in the way: it failed, or is unknown where failing would be an ERROR."""
    severity = str(finding["severity"]).lower()
    return severity == FAILED or (severity == UNKNOWN and bool(finding.get("blocking", True)))


def promote(record: StudyRecord, *, experiments_dir: Path, override_reason: str | None = None) -> Path:
    """Write the winner of a study as an experiment, if its checks let it through.

    Args:
        record: a study that was assessed.
        experiments_dir: folder of experiments; the file is called after the study.
        override_reason: why it is promoted in spite of checks that stand in its way; recorded.

    Returns:
        The experiment's file.

    Raises:
        RefusedError: a check stands in the way, it was never assessed, or a file of that name holds something else.
    """
    assessment, best = record.page.get("assessment"), record.best
    if best is None:
        raise RefusedError(f"{record.name} is not promoted: none of its trials has a value.")
    if assessment is None:
        raise RefusedError(f"{record.name} is not promoted: it has not been assessed.")
    if assessment["trials_run"] != record.page["trials_run"]:
        raise RefusedError(
            f"{record.name} is not promoted: it was assessed with {assessment['trials_run']} trials and has"
            f" {record.page['trials_run']} now; assess it again."
        )
    failing = gate(record.name, assessment["findings"], override_reason)
    specification = record.specification
    experiment = promoted(specification.experiment, record.name, best["params"])
    promotion = Promotion(
        record.name, experiment.name, experiment.params, assessment["made_at"], assessment["findings"], failing,
        override_reason,
    )  # fmt: skip
    return write(promotion, experiment, experiments_dir, record.folder / "promotion.json")


def promoted(experiment: Experiment, study: str, params: Mapping[str, Any]) -> Experiment:
    """The experiment of a study's winner: its parameters beside the given ones, the study's name, status `testing`."""
    tags = experiment.tags.model_copy(update={"status": "testing"})
    given = {**experiment.params, **params}
    fields = experiment.model_copy(update={"name": study, "params": given, "tags": tags})
    return Experiment.parse(fields.model_dump(mode="json"))


def experiment_text(experiment: Experiment, promotion: Promotion) -> str:
    """The YAML file, with where it comes from in a comment; the same promotion gives the same text."""
    import yaml  # noqa: PLC0415

    lines = [
        f"Promoted from the study {promotion.study}, assessed at {promotion.assessed_at}.",
        f"Grounds: results/studies/{promotion.study}/promotion.json",
    ]
    if promotion.override_reason is not None:
        reason = " ".join(promotion.override_reason.split())
        lines.append(f"Overridden: {', '.join(promotion.failing) or 'nothing'}. Reason: {reason}")
    comment = "".join(f"# {line}\n" for line in lines)
    return comment + yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def write(promotion: Promotion, experiment: Experiment, experiments: Path, provenance: Path) -> Path:
    """Write the experiment's file and the grounds.

    Raises:
        RefusedError: a file of that name holds something else.
    """
    path = experiments / f"{experiment.name}.yaml"
    content = experiment_text(experiment, promotion).encode()
    if path.exists() and path.read_bytes() != content:
        raise RefusedError(f"experiment file: {path} exists and holds something else; it is left as it is.")
    write_bytes(provenance, page_text(json.loads(json.dumps(asdict(promotion)))).encode())
    write_bytes(path, content)
    written = load_experiment(path)
    if written != experiment:
        raise RefusedError(f"experiment file: {path} does not read back as what was written.")
    return path
