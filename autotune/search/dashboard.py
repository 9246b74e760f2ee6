"""optuna-dashboard over a copy of the mirror that lives in this program's memory: no database is changed by looking."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import optuna

from autotune.errors import UsageError
from autotune.experiment.events import Event
from autotune.experiment.study import Study
from autotune.search.memory import quiet
from autotune.search.mirror import mirrored_trials, new_mirror

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A text beside a trial. `read` is asked when somebody opens it."""

    name: str
    read: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A study as it is to be shown. Notes are Markdown; of trials, by their number."""

    study: Study
    log: Sequence[Event]
    note: str
    notes: Mapping[int, str]
    artifacts: Mapping[int, Sequence[Artifact]]


def dashboard_app(several: Sequence[Shown]) -> WSGIApplication:
    """The dashboard of these studies as they are now. Raises UsageError where optuna-dashboard is not installed."""
    try:
        from optuna_dashboard import save_note, wsgi
    except ModuleNotFoundError as missing:
        raise UsageError(
            f"the dashboard needs the Python package {(missing.name or '').replace('_', '-')}",
            hint="Install it with: pip install 'autotune-board[dashboard]'",
        ) from None
    storage, texts = optuna.storages.InMemoryStorage(), _Texts()
    with quiet():
        for one in several:
            mirror = new_mirror(one.study, storage)
            save_note(mirror, one.note)
            for number, trial in enumerate(mirrored_trials(one.study, one.log)):
                # The dashboard knows what Optuna 4 called constraints, and greys out trials that break them.
                trial.system_attrs["constraints"] = list(trial.constraints.values())
                for artifact in one.artifacts.get(number, ()):
                    trial.system_attrs |= texts.add(f"{one.study.name}/{number}", artifact)
                mirror.add_trial(trial)
            for trial in mirror.get_trials(deepcopy=False):
                if trial.number in one.notes:
                    save_note(_Noted(storage, mirror, trial._trial_id), one.notes[trial.number])  # noqa: SLF001
    app: WSGIApplication = wsgi(storage, artifact_store=texts)
    return app


@dataclass(frozen=True)
class _Noted:
    """What `save_note` needs of a trial; a real one would ask a sampler for its parameters again."""

    storage: optuna.storages.BaseStorage
    study: optuna.study.Study
    _trial_id: int


class _Texts:
    """An artifact store of Optuna's, for reading alone: texts are made when they are asked for."""

    def __init__(self) -> None:
        self._artifacts: dict[str, Artifact] = {}

    def add(self, trial: str, artifact: Artifact) -> dict[str, Any]:
        """What a trial keeps of it: Optuna's own entry of an artifact."""
        id_ = hashlib.sha256(f"{trial}/{artifact.name}".encode()).hexdigest()[:32]
        self._artifacts[id_] = artifact
        entry = {
            "artifact_id": id_,
            "filename": artifact.name,
            "mimetype": "text/plain; charset=utf-8",
            "encoding": None,
        }
        return {f"artifacts:{id_}": json.dumps(entry)}

    def open_reader(self, artifact_id: str) -> BinaryIO:
        return io.BytesIO(self._artifacts[artifact_id].read().encode("utf-8", "replace"))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        raise NotImplementedError

    def remove(self, artifact_id: str) -> None:
        raise NotImplementedError
