"""What assets are given: the lake, the source and the ledger."""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.lake import Lake, RememberingLake
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.settings import Settings
from earlysignal_core.sources import Source, open_source


class LakeResource(dg.ConfigurableResource[Lake]):
    """The lake, by its fsspec URL; a run reads each partition once."""

    url: str

    def create_resource(
        self,
        context: dg.InitResourceContext,  # noqa: ARG002 - Dagster passes it by name
    ) -> Lake:
        """Open it."""
        return RememberingLake(self.url)


class SourceResource(dg.ConfigurableResource[Source]):
    """The source that the settings name."""

    def create_resource(
        self,
        context: dg.InitResourceContext,  # noqa: ARG002 - Dagster passes it by name
    ) -> Source:
        """Open it."""
        return open_source(Settings())


def ledger_url() -> str:
    """Return the database of the workspace's ledgers.

    Raises
    ------
    EarlySignalError
        If the settings name none.
    """
    url = Settings().ledger_url
    if url is None:
        raise EarlySignalError(
            "no ledger is named. Remedy: start Dagster by `earlysignal up`, or set EARLYSIGNAL_LEDGER_URL to a "
            "PostgreSQL database."
        )
    return url.get_secret_value()


class LedgerResource(dg.ConfigurableResource[Ledger]):
    """The ledger that the settings name; it is open for as long as a run lasts.

    Its URL is no field, since Dagster shows fields and it may hold a password.
    """

    @contextmanager
    def yield_for_execution(
        self,
        context: dg.InitResourceContext,  # noqa: ARG002 - Dagster passes it by name
    ) -> Generator[Ledger, None, None]:
        """Open it at its newest revision, and close it."""
        with Ledger(ledger_url()) as ledger:
            ledger.migrate()
            yield ledger
