"""The whole system as it runs: the world changes, and it notices, retrains, proves and begins a ramp by itself."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from running import run
from system import System, starting, stop, wait_for
from test_alerts import Webhook, serving

# In 2015-Q3 the companies that used to beat are those that no longer do. The champion has not seen it; a retrain in
# October has, in one season. Its last twelve months tell enough to be much better (AUC .85 against .52 on 85 events).
WORLD = {
    "EARLYSIGNAL_SYNTHETIC__FIRST": "2014-Q3",
    "EARLYSIGNAL_SYNTHETIC__QUARTERS": "6",
    "EARLYSIGNAL_SYNTHETIC__BREAK_QUARTER": "2015-Q3",
    "EARLYSIGNAL_SYNTHETIC__SYMBOLS": "150",
    "EARLYSIGNAL_SYNTHETIC__BASE_RATE": "0.3",
    "EARLYSIGNAL_SYNTHETIC__SIGNAL": "2",
    "EARLYSIGNAL_WINDOW_MONTHS": "12",
    "EARLYSIGNAL_PROMOTION__MIN_EVENTS": "50",
}
OLD, NEW = "v2015.3.0", "v2015.1031.0"
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


@pytest.mark.long
def test_the_world_changes_and_a_better_model_begins_to_take_over_by_itself(tmp_path: Path) -> None:
    home, webhook = tmp_path / "home", Webhook()
    command(home, "train", "--quarter", "2015-Q3")
    command(home, "clock", "2015-10-13")
    command(home, "promote", OLD, "--reason", "the first one")
    # The emergencies of the first two Saturdays come too early to be decided: outcomes are missing.
    command(home, "days", "--from", "2015-10-13", "--to", "2015-10-29")
    with serving(webhook) as port:
        settings = WORLD | {"EARLYSIGNAL_ALERT_URLS": f"json://127.0.0.1:{port}/"}
        with starting(home, settings=settings) as system:
            wait_for(system.healthy)
            before = {run.id for run in system.runs_of("retrain")}
            system.launch_job("move_clock", {"ops": {"set_clock": {"config": {"to": "2015-10-31T07:00"}}}})

            def retrains() -> list[tuple[str, str, str]]:
                runs = [run for run in system.runs_of("retrain") if run.id not in before]
                return [(run.tags["dagster/partition"], run.tags[CAUSE], run.status) for run in runs]

            wait_for(lambda: [status for *_, status in retrains()] == ["SUCCESS"], seconds=240)
            assert retrains() == [("2015-10-31", "prediction drift", "SUCCESS")]
            assert days_lived(system) == [("2015-10-30", "SUCCESS"), ("2015-10-31", "SUCCESS")]

            (promotion,) = system.ask(LATEST, asset={"path": ["promotion"]})["assetNodeOrError"][
                "assetMaterializations"
            ]
            told = {each["label"]: each.get("text", each.get("floatValue")) for each in promotion["metadataEntries"]}
            assert (told["decided"], told["champion"]) == ("ramp", OLD)
            assert told["auc_difference"] > 0.1
            assert told["events"] > 50

            wanted = {"Emergency retrain: prediction drift", f"{NEW} takes a growing share of the answers"}
            wait_for(lambda: wanted <= {json.loads(body)["title"] for *_, body in webhook.received})
            stop(system, signal.SIGINT)
