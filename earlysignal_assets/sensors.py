"""Sensors, all of them running from the start."""

import dagster as dg

report_sensor = dg.AutomationConditionSensorDefinition(
    "report_sensor",
    target=dg.AssetSelection.groups("evaluation"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Renews the walk-forward report when evaluations have changed and none is under way.",
)
SENSORS = [report_sensor]
