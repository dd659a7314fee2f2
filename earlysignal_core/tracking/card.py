"""The card of a model: one HTML page of what it was trained on, what it can and cannot do, and where it is weak.

A page beside the bundle and not in it: a bundle never changes, and more becomes known of a model after it is made.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from earlysignal_core.audit.findings import KINDS
from earlysignal_core.evaluation.findings import interval, number, percent
from earlysignal_core.evaluation.glossary import FIGURES
from earlysignal_core.evaluation.metrics import Figures
from earlysignal_core.evaluation.report import figure, share
from earlysignal_core.evaluation.resampling import LEVEL
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle, load
from earlysignal_core.models.ensemble import members_of, window_of
from earlysignal_core.quarterly import AUDIT, described
from earlysignal_core.tracking.judged import Judged, judged

CARDS = "reports/models"
# Findings that are no defects: moves and surprises that were looked at and kept.
_NO_DEFECTS = ("genuine_move", "extreme_surprise")
_IMPORTANT = 12
# An ability that lies within this of the limit is none that anybody could use.
_MARGIN = 0.05
# The figure, what its whole interval must exceed, and what can be said then, or where none of it is usable, or else.
_ABILITIES = (
    (
        "auc",
        0.5,
        "It ranks announcements by how likely a large beat is.",
        "It ranks no better than a coin, or too little better to be of use.",
        "Whether it ranks better than a coin cannot be told.",
    ),
    (
        "brier_skill",
        0.0,
        "Its probabilities say more than the base rate.",
        "Its probabilities say no more than the base rate, or too little more to be of use.",
        "Whether its probabilities say more than the base rate cannot be told.",
    ),
    (
        "auc_within_company",
        0.5,
        "It knows something of when a company beats, and not only which companies do.",
        "It does not know when a company beats, or too little to be of use.",
        "Whether it knows when a company beats cannot be told.",
    ),
    (
        "auc_given_large_surprise",
        0.5,
        "It knows something of the direction of a large surprise.",
        "It does not know the direction of a large surprise, or too little to be of use.",
        "Whether it knows the direction of a large surprise cannot be told.",
    ),
)


class Claim(NamedTuple):
    """What a model can or cannot do, or what is open, and what that rests on."""

    tone: str
    text: str
    grounds: str


def path_of(version: str) -> str:
    """Return where in the lake the card of a version lies."""
    return f"{CARDS}/{version}.html"


def write_card(lake: Lake, version: str) -> str:
    """Write the card of a model, of all that the lake knows of it by now, and return its path.

    The same lake gives the same bytes: nothing in it is of the moment of writing.
    """
    bundle = load(lake, version)
    known = judged(lake, bundle)
    lake.write_bytes(path_of(version), render(lake, bundle, known).encode())
    if known is not None:
        lake.write_bytes(_figures(version), known.figures.model_dump_json().encode())
    return path_of(version)


def figures_of(lake: Lake, version: str) -> Figures | None:
    """Return the figures that a model's card shows; None where it shows none."""
    if not lake.exists(_figures(version)):
        return None
    return Figures.model_validate_json(lake.read_bytes(_figures(version)))


def render(lake: Lake, bundle: Bundle, known: Judged | None) -> str:
    """Return the card as one HTML page without any outside reference."""
    environment = Environment(
        loader=PackageLoader("earlysignal_core.tracking"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "figure": figure, "share": share}
    source = described(lake)
    importance = list(bundle.metadata["importance"].items())[:_IMPORTANT]
    return environment.get_template("card.html").render(
        bundle=bundle,
        source=source,
        lineage=_lineage(lake, bundle),
        members=[(member, window_of(member, bundle.metadata)) for member in members_of(bundle.model)],
        families=_families(bundle.features),
        importance=[(name, weight, _meaning(name)) for name, weight in importance],
        judged=known,
        claims=[] if known is None else list(_claims(known)),
        defects=_defects(lake),
        level=LEVEL,
    )


def _figures(version: str) -> str:
    return f"{CARDS}/{version}.json"


def _lineage(lake: Lake, bundle: Bundle) -> dict[str, Any] | None:
    """Return the record of the dataset, where the lake keeps the one that this model was trained on."""
    path = f"dataset_lineage/{bundle.until}.json"
    if not lake.exists(path):
        return None
    found: dict[str, Any] = json.loads(lake.read_bytes(path))
    return found if found["content_sha256"] == bundle.metadata["dataset_sha256"] else None


def _families(features: list[str]) -> dict[str, int]:
    """Return how many features of each family a model reads."""
    known = catalogue()
    families = [known[name].family if name in known else "unknown" for name in features]
    return {family: families.count(family) for family in sorted(set(families))}


def _meaning(name: str) -> str:
    known = catalogue()
    return known[name].definition.split("\n")[0] if name in known else ""


def _defects(lake: Lake) -> list[tuple[str, int, str]] | None:
    """Return the kinds of defects that the audit has found, how many of each, and what each is."""
    if not lake.has(AUDIT):
        return None
    counts = lake.read(AUDIT)["kind"].value_counts()
    return [
        (kind, int(counts[kind]), text) for kind, text in KINDS.items() if kind in counts and kind not in _NO_DEFECTS
    ]


def _claims(known: Judged) -> Iterator[Claim]:
    """Yield what the figures bear: a claim, also that of an inability, is made only where the whole interval does."""
    found = known.figures
    for name, above, can, cannot, open_ in _ABILITIES:
        part = found[name]
        if not part.defined:
            continue
        n = found.rows_behind.get(name, found.n)
        grounds = f"{FIGURES[name].title} {number(part.value)} ({interval(part) or part.reason}), n = {n:,}."
        if name == "brier_skill":
            error, chance = percent(found["ece"].value), percent(found["ece_of_calibrated"].value)
            grounds += f" Forecast and observed rate differ by {error} on average, by chance alone by {chance}."
        if part.above(above):
            yield Claim("can", can, grounds)
        elif part.below(above + _MARGIN):
            yield Claim("cannot", cannot, grounds)
        else:
            yield Claim("open", open_, grounds)
    accuracy, never = found["accuracy_at_half"], found["accuracy_of_never"]
    if accuracy.defined:
        text = f"Accuracy says nothing here: “never” is right {percent(never.value)} of the time."
        yield Claim(
            "cannot", text, f"Calling a large beat from 0.5 on it is right {percent(accuracy.value)} of the time."
        )
