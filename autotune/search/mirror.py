"""A copy of the search in Optuna's own tables, for `optuna.load_study` and optuna-dashboard. The night never reads it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState, create_trial

from autotune.errors import StorageError
from autotune.experiment.events import Event, NightBegun, NightEnded
from autotune.experiment.study import Study
from autotune.experiment.synthetic_boards import LABEL
from autotune.measurement.scores import trial_scores
from autotune.search.encoding import Encoding, encoding_of, nights
from autotune.search.memory import Told, frozen, quiet, told, worst_of

_OURS = "autotune fingerprint"
_LOCK_PATIENCE_S = 60


def write_mirror(study: Study, log: Sequence[Event], url: str) -> None:
    """Brings the Optuna study of this name in the database at `url` up to what the log says.

    Trial numbers are ours; a trial that has no number yet, or never got one, is there as failed, so that the numbers
    agree. While a night runs, trials are only added: an earlier one's value may be older than what is known now. When
    the night is over, anything that differs makes the whole copy anew. Raises StorageError for an Optuna study of this
    name that is not our copy, and for a database that doesn't let us write.
    """
    if next(nights(log), None) is None:
        return
    with quiet():
        try:
            _write(study, log, url)
        except StorageError:
            raise
        except Exception as problem:
            reason = str(problem).strip().partition("\n")[0]
            raise StorageError(
                f"Optuna's tables can't be written: {reason}", hint="the study itself doesn't need them"
            ) from problem


def _write(study: Study, log: Sequence[Event], url: str) -> None:
    storage = _Tables(_driver_url(url), engine_kwargs=_engine_options(url))
    try:
        mirror = _study(study, storage)
        wanted = mirrored_trials(study, log)
        there = mirror.get_trials(deepcopy=False)
        over = not _is_night_open(log)
        extends = len(there) <= len(wanted) and all(
            _agree(old, new, exactly=over) for old, new in zip(there, wanted, strict=False)
        )
        if not extends:
            optuna.delete_study(study_name=study.name, storage=storage)
            mirror = _study(study, storage)
            there = []
        for trial in wanted[len(there) :]:
            mirror.add_trial(trial)
    finally:
        storage.remove_session()
        storage.engine.dispose()


class _Tables(optuna.storages.RDBStorage):
    """Optuna's own tables, written without two queries before each parameter of each trial.

    They would look for another distribution of that name; ours are the same in all trials (`Encoding`). An Optuna that
    no longer calls this only takes its time again; one that keeps its tables elsewhere costs the mirror, and nothing else.
    """

    def _set_trial_param_without_commit(
        self,
        session: Any,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        from optuna.storages._rdb import models  # its own affair: see above

        del previous_distribution
        session.add(
            models.TrialParamModel(
                trial_id=trial_id,
                param_name=param_name,
                param_value=param_value_internal,
                distribution_json=distribution_to_json(distribution),
            )
        )


def _study(study: Study, storage: optuna.storages.RDBStorage) -> optuna.study.Study:
    if study.name in optuna.get_all_study_names(storage):
        mirror = optuna.load_study(study_name=study.name, storage=storage)
        if _OURS not in mirror.user_attrs:
            raise StorageError(
                f"the Optuna study {study.name} in this database is not autotune's copy; it is left alone",
                hint="give the study another name, or keep Optuna's studies in another database",
            )
        return mirror
    return new_mirror(study, storage)


def new_mirror(study: Study, storage: optuna.storages.BaseStorage) -> optuna.study.Study:
    """The Optuna study of this name, made in a storage that has none, without trials."""
    mirror = optuna.create_study(study_name=study.name, storage=storage, direction="maximize")
    mirror.set_user_attr(_OURS, study.fingerprint)
    if study.is_synthetic:
        mirror.set_user_attr("synthetic", LABEL)
    mirror.set_metric_names(["ln of the ratio to stock"])
    return mirror


def mirrored_trials(study: Study, log: Sequence[Event]) -> list[FrozenTrial]:
    """What the mirror should hold, by number; the open ones at the end are left for later."""
    encoding = encoding_of(study, log)
    several = told(log, trial_scores(study, log))
    while several and several[-1].state == "open":
        several.pop()
    worst = worst_of(several)
    return [_trial(one, encoding, worst) for one in several]


def _trial(one: Told, encoding: Encoding, worst: float) -> FrozenTrial:
    point = encoding.encode(one.proposal.configuration)
    trial = frozen(one, point, worst)
    if trial is None or trial.state is TrialState.RUNNING:
        trial = create_trial(
            state=TrialState.FAIL, params=dict(point.drawn), distributions=point.distributions
        )
    at = datetime.fromisoformat(one.proposal.at).astimezone().replace(tzinfo=None)
    trial.datetime_start = trial.datetime_complete = at
    trial.set_user_attr("origin", one.proposal.origin)
    trial.set_user_attr("samples", one.n)
    trial.set_user_attr("night", one.proposal.night)
    trial.set_user_attr("configuration", one.proposal.configuration.model_dump(mode="json")["values"])
    if math.isfinite(one.score):
        trial.set_user_attr("ratio to stock", math.exp(one.score))
    return trial


def _agree(old: FrozenTrial, new: FrozenTrial, *, exactly: bool) -> bool:
    """Whether a stored trial may stay. Optuna keeps what it was told once for ever."""
    if old.params != new.params or old.distributions != new.distributions:
        return False
    if not exactly:
        return True
    same_value = old.values == new.values or (
        old.value is not None and new.value is not None and math.isclose(old.value, new.value, abs_tol=1e-9)
    )
    return old.state is new.state and same_value and old.constraints == new.constraints


def _is_night_open(log: Sequence[Event]) -> bool:
    latest = next(event for event in reversed(log) if isinstance(event, NightBegun))
    return not any(isinstance(event, NightEnded) and event.night == latest.night for event in log)


def _driver_url(url: str) -> str:
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return f"postgresql+psycopg://{url.removeprefix(plain)}"
    return url


def _engine_options(url: str) -> dict[str, Any]:
    """SQLite takes its write lock at a transaction's first change, not in its middle, and waits for it."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": _LOCK_PATIENCE_S, "isolation_level": "IMMEDIATE"}}
    return {}
