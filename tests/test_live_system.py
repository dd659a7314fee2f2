"""The whole system as it runs: the world changes, and it notices, retrains, proves and promotes by itself."""

import json
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from running import run
from system import System, starting, stop, wait_for
from test_alerts import Webhook, serving

# On 1 July 2015 the companies that used to beat are those that no longer do. Half a season later 200 outcomes tell.
WORLD = {
    "EARLYSIGNAL_SYNTHETIC__FIRST": "2014-Q3",
    "EARLYSIGNAL_SYNTHETIC__QUARTERS": "6",
    "EARLYSIGNAL_SYNTHETIC__BREAK_QUARTER": "2015-Q3",
    "EARLYSIGNAL_SYNTHETIC__SYMBOLS": "320",
    "EARLYSIGNAL_SYNTHETIC__BASE_RATE": "0.3",
    "EARLYSIGNAL_SYNTHETIC__SIGNAL": "2",
    "EARLYSIGNAL_WINDOW_MONTHS": "12",
}
# A ramp wants 20 predictions a step: the rest of one season, and the first days of the next.
BEFORE, AFTER, LATER = "2015-06-29", "2015-08-10", "2015-10-14"
OLD, NEW = "v2015.629.0", "v2015.810.0"
CAUSE = "earlysignal/cause"
LATEST = """query($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode {
  assetMaterializations(limit: 1) { partition runId metadataEntries {
    label ... on TextMetadataEntry { text } ... on FloatMetadataEntry { floatValue } } } } } }"""


def command(home: Path, *arguments: str) -> None:
    done = run(home, *arguments, **WORLD)
    assert done.returncode == 0, done.stdout + done.stderr


def days_lived(system: System) -> list[tuple[str, str]]:
    return [
        (run.tags["dagster/partition"], run.status) for run in system.runs_of("day") if "dagster/run_key" in run.tags
    ]


def shown(system: System, asset: str) -> dict[str, Any]:
    """What the page of an asset shows of its latest materialisation."""
    (latest,) = system.ask(LATEST, asset={"path": [asset]})["assetNodeOrError"]["assetMaterializations"]
    return {each["label"]: each.get("text", each.get("floatValue")) for each in latest["metadataEntries"]}


def move_clock(system: System, day: str) -> None:
    system.launch_job("manual_clock", {"ops": {"set_clock": {"config": {"to": f"{day}T07:00"}}}})


@pytest.mark.long
def test_the_world_changes_and_a_better_model_takes_over_by_itself(tmp_path: Path) -> None:
    home, webhook = tmp_path / "home", Webhook()
    command(home, "train", "--quarter", "2015-Q3")  # fills the caches
    command(home, "days", "--from", BEFORE, "--to", BEFORE)
    with serving(webhook) as port:
        settings = WORLD | {"EARLYSIGNAL_ALERT_URLS": f"json://127.0.0.1:{port}/"}
        with starting(home, settings=settings) as system:
            wait_for(system.healthy)
            assert shown(system, "promotion")["champion"] == OLD
            move_clock(system, AFTER)

            def retrains() -> dict[str, tuple[str, str]]:
                return {
                    run.tags["dagster/partition"]: (run.tags[CAUSE], run.status) for run in system.runs_of("retrain")
                }

            wait_for(lambda: retrains().get(AFTER) == ("accuracy", "SUCCESS"), seconds=3600)
            days = days_lived(system)
            assert {status for _, status in days} == {"SUCCESS"}
            assert [day for day, _ in days] == [f"{day:%Y-%m-%d}" for day in pd.date_range(BEFORE, AFTER)[1:]]

            told = shown(system, "promotion")
            assert (told["decided"], told["champion"]) == ("ramp", OLD)
            assert told["AUC difference"] > 0.02
            assert told["common events"] >= 200
            wanted = {"Emergency retrain: accuracy", f"{NEW} takes a growing share of the answers"}
            wait_for(lambda: wanted <= {json.loads(body)["title"] for *_, body in webhook.received})

            move_clock(system, LATER)
            wait_for(lambda: shown(system, "production_status")["Champion"].startswith(NEW), seconds=7200)
            assert shown(system, "production_status")["Previous"].startswith(OLD)
            assert not {"FAILURE", "CANCELED"} & {status for _, status in days_lived(system)}  # the next may have begun
            wait_for(lambda: f"{NEW} serves" in {json.loads(body)["title"] for *_, body in webhook.received})
            stop(system, signal.SIGINT)
