"""MLflow's UI, as a program that `up` starts: the experiments' tables first, then the server.

Its address may hold a password: it goes by the environment, never by the command line, which everybody can read.
"""

import os
import sys

from earlysignal_assets.workspace import Workspace
from earlysignal_core.lake import Lake
from earlysignal_core.settings import Settings
from earlysignal_core.tracking.store import ENVIRONMENT, Experiments


def main(host: str, port: str) -> None:
    """Prepare the store and become the server.

    Raises
    ------
    TrackingError
        If the store cannot be reached.
    """
    workspace = Workspace(Settings())
    address = workspace.settings.tracking_url
    if address is None:
        sys.exit("EARLYSIGNAL_TRACKING_URL is not set. Remedy: start it by `earlysignal up --mlflow`.")
    # MLflow's server and an asset that both find no tables would make them at once.
    Experiments(address.get_secret_value(), workspace.experiment, Lake(workspace.experiment_files)).prepare()
    settings = {
        "MLFLOW_BACKEND_STORE_URI": address.get_secret_value(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # evaluations of language models, in processes of their own
    }
    # One process: each has the size of the whole of MLflow, and it is one person's page.
    options = ["--host", host, "--port", port, "--workers", "1", "--artifacts-destination", workspace.experiment_files]
    command = [sys.executable, "-m", "mlflow", "server", *options]
    os.execve(command[0], command, {**os.environ, **ENVIRONMENT, **settings})  # noqa: S606 - commands of this package


if __name__ == "__main__":
    main(*sys.argv[1:])
