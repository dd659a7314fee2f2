"""The catalogue: one function is one feature, and all that is said of features derives from it."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from inspect import cleandoc
from typing import TYPE_CHECKING

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.arrays import Values

if TYPE_CHECKING:
    from earlysignal_core.features.point_in_time import PointInTime
    from earlysignal_core.sources import SourceDescription


@dataclass(frozen=True, eq=False)
class Feature:
    """One feature: a column of the feature table.

    Attributes
    ----------
    name : str
        The column's name: the function's.
    family : str
        The group that documentation, drift reports and ablations use.
    unit : str
    needs : mapping of str to int
        The tables that it reads and its look-back in each, in steps of that table's axis (sessions, fiscal quarters,
        days). Without one of them the feature is inactive.
    may_use : mapping of str to int
        Tables that sharpen it where they exist, with the look-back.
    requires : tuple of str
        What the source must provide beyond the tables, like ``macro:DGS10``; ``macro:DFF|FEDFUNDS`` asks for either.
        ``prices:raw`` asks for prices on the share basis of their day, like figures per share;
        ``consensus:snapshots`` for a consensus that was seen day by day, not assumed.
    of_the_day : bool
        True where all companies share one value on a day, so that few values are independent.
    definition : str
        The function's docstring.
    """

    name: str
    family: str
    unit: str
    needs: Mapping[str, int]
    compute: "Callable[[PointInTime], Values]" = field(repr=False)
    may_use: Mapping[str, int]
    requires: tuple[str, ...]
    of_the_day: bool
    definition: str

    def __call__(self, at: "PointInTime") -> Values:
        """Return the feature's values, one for each example."""
        return at.value(self)

    @property
    def of_the_company(self) -> bool:
        """Whether companies give it many independent values: the calendar and macro series do not."""
        return bool(self.needs) and "macro" not in self.needs and not self.of_the_day

    def inactive_because(self, source: "SourceDescription") -> str | None:
        """Say why the feature cannot be computed on a source, or None where it can."""
        for table in self.needs:
            if table not in source.tables:
                return f"no table `{table}`"
        facts = {*source.provides, f"prices:{source.prices}", f"consensus:{source.consensus}"}
        for fact in self.requires:
            kind, names = fact.split(":")
            options = [f"{kind}:{name}" for name in names.split("|")]
            if facts.isdisjoint(options):
                return "no " + " or ".join(f"`{option}`" for option in options)
        return None


_CATALOGUE: dict[str, Feature] = {}


def feature(
    *,
    family: str,
    unit: str,
    needs: Mapping[str, int] | None = None,
    may_use: Mapping[str, int] | None = None,
    requires: tuple[str, ...] = (),
    of: Iterable[Feature] = (),
    of_the_day: bool = False,
) -> "Callable[[Callable[[PointInTime], Values]], Feature]":
    """Enter a function into the catalogue.

    Parameters
    ----------
    family, unit, needs, may_use, requires, of_the_day
        As in `Feature`.
    of : iterable of Feature
        Features that this one combines: their needs and requirements become its own.
    """

    def enter(compute: "Callable[[PointInTime], Values]") -> Feature:
        parts = tuple(of)
        every_need = _deepest([part.needs for part in parts] + [needs or {}])
        entered = Feature(
            name=compute.__name__,
            family=family,
            unit=unit,
            needs=every_need,
            compute=compute,
            may_use=_deepest([part.may_use for part in parts] + [may_use or {}]),
            requires=tuple(dict.fromkeys([*(r for part in parts for r in part.requires), *requires])),
            of_the_day=of_the_day,
            definition=cleandoc(compute.__doc__ or ""),
        )
        known = _CATALOGUE.get(entered.name)
        if known is not None and known.compute.__module__ != compute.__module__:
            raise EarlySignalError(f"two features are named `{entered.name}`. Remedy: rename one of them.")
        _CATALOGUE[entered.name] = entered
        return entered

    return enter


def catalogue() -> dict[str, Feature]:
    """Return every feature by name, in a fixed order: any module of this package may define some."""
    _import_families()
    return dict(sorted(_CATALOGUE.items(), key=lambda item: (item[1].family, item[0])))


def look_back(features: Iterable[Feature]) -> dict[str, int]:
    """Return the deepest look-back into each table over some features, in steps of the table's axis."""
    chosen = list(features)
    return _deepest([f.needs for f in chosen] + [f.may_use for f in chosen])


@cache
def _import_families() -> None:
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


def _deepest(needs: Iterable[Mapping[str, int]]) -> dict[str, int]:
    deepest: dict[str, int] = {}
    for each in needs:
        for table, steps in each.items():
            deepest[table] = max(steps, deepest.get(table, 0))
    return deepest
