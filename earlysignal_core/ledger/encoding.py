"""Numbers as JSON and back, with every bit of them: JSON has no NaN, no infinity and, in PostgreSQL, no negative zero.

NaN is null; the others are text that both PostgreSQL (``(features ->> 'name')::float``) and Python read as numbers.
"""

import json
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

FloatArray = npt.NDArray[np.float64]
UNIT_SEPARATOR, RECORD_SEPARATOR = "\x1f", "\x1e"
_ILLEGIBLE = dict.fromkeys(map(ord, f"\0{UNIT_SEPARATOR}{RECORD_SEPARATOR}"), "\N{REPLACEMENT CHARACTER}")


def to_json(content: Any) -> str:
    """Return JSON that PostgreSQL accepts, whatever numbers and text are in it."""
    return json.dumps(_plain(content), allow_nan=False)


def rows_to_json(names: Sequence[str], values: FloatArray) -> list[str]:
    """Return each row of a matrix as a JSON object: fast, since every prediction carries all of its features.

    Parameters
    ----------
    names : sequence of str, length k
    values : ndarray of float64, shape (n, k)
    """
    n = len(values)
    if not names:
        return ["{}"] * n
    flat = values.T.ravel()
    texts = pc.fill_null(pc.cast(pa.array(flat, from_pandas=True), pa.string()), "null")
    odd = np.flatnonzero(np.isinf(flat) | ((flat == 0) & np.signbit(flat)))
    if len(odd):
        mask = np.zeros(len(flat), dtype=bool)
        mask[odd] = True
        texts = pc.replace_with_mask(texts, mask, pa.array([json.dumps(str(value)) for value in flat[odd].tolist()]))
    parts: list[Any] = []
    for column, name in enumerate(names):
        parts += [("," if column else "{") + json.dumps(name) + ":", texts.slice(column * n, n)]
    rows: list[str] = pc.binary_join_element_wise(*parts, "}", "").to_pylist()
    return rows


def rows_from_json(rows: Sequence[str]) -> tuple[list[str], FloatArray]:
    """Read what `rows_to_json` wrote: the names in sorted order, and the matrix; NaN where a row lacks one."""
    contents: list[dict[str, float | str | None]] = json.loads("[" + ",".join(rows) + "]")
    names = sorted(set().union(*contents))
    values = np.array([[content.get(name) for name in names] for content in contents], dtype="float64")
    return names, values.reshape(len(rows), len(names))


def numbers(content: Mapping[str, Any]) -> dict[str, float]:
    """Read a JSON object of numbers."""
    return {name: math.nan if value is None else float(value) for name, value in content.items()}


def legible(text: str) -> str:
    """Return a text that PostgreSQL can keep: no zero character, no half characters, and neither of the separators."""
    return text.translate(_ILLEGIBLE).encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | np.bool_():
            return value if value is None else bool(value)
        case str():
            return legible(value)
        case Mapping():
            return {legible(str(key)): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Integral():
            return int(value)
        case Real():
            return _plain_float(float(value))
        case _:
            return value


def _plain_float(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return str(value) if math.isinf(value) or (value == 0 and math.copysign(1, value) < 0) else value
