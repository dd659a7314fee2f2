"""Fits that know nothing of each other, two at a time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

AT_ONCE = 2

One = TypeVar("One")
Made = TypeVar("Made")


def side_by_side(fit: Callable[[One], Made], each: Iterable[One]) -> list[Made]:
    """Return what a function makes of each, in order: a fit runs on one thread, outside Python.

    Of several that fail the first one's error is raised, and what has not begun by then is left alone.
    """
    with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
        return list(threads.map(fit, each))
