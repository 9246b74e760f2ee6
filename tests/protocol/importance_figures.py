"""What each evaluator says of a search whose truth is known, in figures: order, the foremost, and the spread it states."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from importance_searches import Searched
from protocol_cache import ROOT, code_hash
from scipy.stats import spearmanr

from autotune.analysis.importance import ParameterImportance, importance_of
from autotune.measurement.scores import trial_scores
from autotune.search.encoding import encoding_of
from autotune.search.evaluators import importances_of
from autotune.search.memory import told
from autotune.space.record import Record

OURS: Final = "ours"
OPTUNAS: Final = ("fanova", "ped_anova", "mdi")
FOREMOST: Final = 8
RESAMPLED: Final = 8
"""So often the trials are drawn anew with replacement for a spread of Optuna's: from the smallest to the largest share."""
_ANALYSIS: Final = (
    "dataset",
    "reference",
    "questions",
    "basis",
    "posterior",
    "ensemble",
    "shares",
    "importance",
)
_SEARCH: Final = ("evaluators", "memory", "encoding", "distributions")
_SCORES: Final = ("scores", "levels", "references", "calibration", "logbook")


class Said(Record):
    """One evaluator of one search. `inside`: how many of the parameters, and of the foremost, have their true effect in the
    stated spread; None: it states none.
    """

    spearman: float
    top8_recall: float
    inside: float | None
    inside_top8: float | None


class SearchFigures(Record):
    """Every evaluator of one search. `r2`: of our model."""

    seed: int
    cv: float
    r2: float | None
    said: dict[str, Said]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
    """What an evaluator says of each parameter; one that it drops counts as 0, and can't be anything else. `low` None: no spread."""

    shares: Mapping[str, float]
    low: Mapping[str, float] | None
    high: Mapping[str, float]


def figures_of(searched: Searched, resampled: int) -> SearchFigures:
    found = importance_of(searched.study, searched.log)
    by_itself = [part for one in found.parameters for part in one.parts or (one,)]
    spreads = {OURS: _ours(by_itself), **_optunas(searched, resampled)}
    said = {name: _judged(searched.effects, spread) for name, spread in spreads.items()}
    return SearchFigures(seed=searched.seed, cv=searched.cv, r2=found.r2, said=said)


def _ours(several: Sequence[ParameterImportance]) -> _Spread:
    return _Spread(
        shares={one.id: one.share for one in several},
        low={one.id: one.low for one in several},
        high={one.id: one.high for one in several},
    )


def _optunas(searched: Searched, resampled: int) -> dict[str, _Spread]:
    encoding = encoding_of(searched.study, searched.log)
    trials = told(searched.log, trial_scores(searched.study, searched.log))
    chance = random.Random(f"resampled {searched.seed} {searched.cv}")
    drawn: dict[str, list[Mapping[str, float]]] = {name: [] for name in OPTUNAS}
    for number in range(resampled + 1):
        several = trials if number == 0 else chance.choices(trials, k=len(trials))
        for one in importances_of(encoding, several):
            if one.key in drawn:
                drawn[one.key].append(one.shares)
    return {name: _resampled(searched.effects, several) for name, several in drawn.items()}


def _resampled(effects: Mapping[str, float], several: Sequence[Mapping[str, float]]) -> _Spread:
    if len(several) == 1:
        return _Spread(shares=several[0], low=None, high={})
    ordered = {id_: sorted(one.get(id_, 0.0) for one in several[1:]) for id_ in effects}
    return _Spread(
        shares=several[0],
        low={id_: values[0] for id_, values in ordered.items()},
        high={id_: values[-1] for id_, values in ordered.items()},
    )


def _judged(effects: Mapping[str, float], spread: _Spread) -> Said:
    ids = list(effects)
    shares = [spread.shares.get(id_, 0.0) for id_ in ids]
    order = float(spearmanr([effects[id_] for id_ in ids], shares).statistic) if len(set(shares)) > 1 else 0.0
    foremost = sorted(ids, key=lambda id_: -effects[id_])[:FOREMOST]
    named = sorted(spread.shares, key=lambda id_: -spread.shares[id_])[:FOREMOST]
    low, high = spread.low, spread.high
    inside = {id_: low.get(id_, 0.0) <= effects[id_] <= high.get(id_, 0.0) for id_ in ids} if low else {}
    return Said(
        spearman=order,
        top8_recall=len(set(foremost) & set(named)) / FOREMOST,
        inside=statistics.fmean(inside.values()) if inside else None,
        inside_top8=statistics.fmean(inside[id_] for id_ in foremost) if inside else None,
    )


def kept_figures(
    several: Sequence[Searched], resampled: int, folder: Path, say: Callable[[str], None]
) -> list[SearchFigures]:
    """The same of each, from the folder where this state of the code has worked them out already."""
    place = folder / f"figures-{resampled}-{code_hash(_judging_code())}"
    place.mkdir(parents=True, exist_ok=True)
    found = []
    for one in several:
        file = place / f"{one.seed}-{100 * one.cv:g}.json"
        if not file.exists():
            say(f"evaluators of {one.seed} with {100 * one.cv:g} % noise")
            half = file.with_suffix(".half")
            half.write_text(figures_of(one, resampled).model_dump_json())
            half.replace(file)
        found.append(SearchFigures.model_validate_json(file.read_text()))
    return found


def _judging_code() -> list[Path]:
    """What the figures of a search depend on."""
    rooms = {"analysis": _ANALYSIS, "search": _SEARCH, "measurement": _SCORES}
    files = [ROOT / "autotune" / room / f"{name}.py" for room, names in rooms.items() for name in names]
    return [*files, Path(__file__)]


Figures = dict[str, dict[str, float | None]]


def by_noise(several: Sequence[SearchFigures], figure: Callable[[Said], float | None]) -> Figures:
    """The mean over the seeds: {noise in percent: {evaluator: value}}; None where an evaluator has no such figure."""
    found: Figures = {}
    for cv in sorted({one.cv for one in several}):
        mine = [one for one in several if one.cv == cv]
        found[f"{100 * cv:g} %"] = {
            name: _mean([figure(one.said[name]) for one in mine]) for name in (OURS, *OPTUNAS)
        }
    return found


def document(several: Sequence[SearchFigures], resampled: int) -> dict[str, object]:
    """What `scripts/bench-importance --json` prints."""
    return {
        **_figures(several),
        "seeds": len({one.seed for one in several}),
        "r2": {
            f"{100 * cv:g} %": _mean([one.r2 for one in several if one.cv == cv])
            for cv in sorted({one.cv for one in several})
        },
        "no_ranking": sum(one.r2 is None or not one.said[OURS].top8_recall for one in several),
        "spread": {
            OURS: "90 % limits",
            **dict.fromkeys(
                OPTUNAS,
                f"smallest to largest of {resampled} resamplings of the trials" if resampled else None,
            ),
        },
        "broken": broken(several),
    }


def broken(several: Sequence[SearchFigures]) -> list[str]:
    """What must hold and doesn't: ours ahead of each of Optuna's at every noise, in order and in the foremost."""
    found = []
    figures = _figures(several)
    for title in ("spearman", "top8_recall"):
        for noise, values in figures[title].items():
            ours = values[OURS] or 0.0
            theirs = {name: values[name] or 0.0 for name in OPTUNAS}
            found += [
                f"{title} at {noise} noise: {name} {one:.3f}, ours {ours:.3f}"
                for name, one in theirs.items()
                if one >= ours
            ]
    return found


def table(several: Sequence[SearchFigures]) -> str:
    """The same for a person."""
    seeds = len({one.seed for one in several})
    lines = [f"boards of 30 to 40 settings, real searches of 150 trials, {seeds} of them at each noise"]
    titles = {
        "spearman": "rank correlation with the true effects",
        "top8_recall": "of the eight largest, so many among the first eight",
        "coverage": "true effects inside the stated spread",
        "coverage_top8": "of the eight largest, inside the stated spread",
    }
    for key, figures in _figures(several).items():
        lines += ["", titles[key], "  noise" + "".join(f"{name:>11}" for name in (OURS, *OPTUNAS))]
        for noise, values in figures.items():
            cells = ("-" if (one := values[name]) is None else f"{one:.3f}" for name in (OURS, *OPTUNAS))
            lines.append(f"  {noise:>5}" + "".join(f"{cell:>11}" for cell in cells))
    missing = [f"BROKEN: {one}" for one in broken(several)]
    return "\n".join([*lines, "", *(missing or ["ours is ahead of all three at every noise"])])


def _figures(several: Sequence[SearchFigures]) -> dict[str, Figures]:
    return {
        "spearman": by_noise(several, lambda one: one.spearman),
        "top8_recall": by_noise(several, lambda one: one.top8_recall),
        "coverage": by_noise(several, lambda one: one.inside),
        "coverage_top8": by_noise(several, lambda one: one.inside_top8),
    }


def _mean(several: Sequence[float | None]) -> float | None:
    known = [one for one in several if one is not None]
    return round(statistics.fmean(known), 3) if known else None
