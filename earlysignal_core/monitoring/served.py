"""TEMPORARY stand-in until the room is merged."""
from dataclasses import dataclass
import numpy as np, pandas as pd
from earlysignal_core.ledger import predictions, outcomes, prediction_requests, retrain_requests, decisions
from earlysignal_core.evaluation.adjustment import Prices
from earlysignal_core.evaluation.outcomes import outcome_returns
from earlysignal_core.models.bundle import load
from earlysignal_core.monitoring.retrain_policy import calendar_figures
from earlysignal_core.quarters import Quarter
from earlysignal_core.tables import KNOWABLE, CACHES

@dataclass
class Judged:
    predictions: pd.DataFrame
    earlier: pd.DataFrame
    positions: pd.DataFrame
    counts: dict

def recent_rows(ledger, now, days, version=None):
    r = predictions.read(ledger, now - pd.Timedelta(days=days), now, served=True, features=True)
    return r.rename(columns={"predicted_probability": "probability"}).drop_duplicates("event", keep="last").reset_index(drop=True)

def requests(ledger, now, days=30):
    r = prediction_requests.read(ledger, now - pd.Timedelta(days=days), now)
    return r.assign(failed=(r["fallback"] == "no_answer"))

def retrain_figures(ledger, day):
    h = retrain_requests.history(ledger)
    st = h["state"]
    started = h["started_at"].dropna()
    since = (day.tz_localize("UTC") - started.max()) / pd.Timedelta(days=1) if len(started) else np.inf
    return {"running_retrains": float((st == "started").sum()), "open_requests": float(st.isin(["started", "pending"]).sum()), "days_since_retrain": since}

def calendar(ledger, lake, source, day):
    return calendar_figures(day, None, None)

def arrivals(lake, source, now):
    out = {}
    for cache, tables in CACHES.items():
        if cache in ("universe",): continue
        t = [x for x in tables if x in source.tables]
        if not t: continue
        qs = [q for q in Quarter.range(Quarter.of(now) - 6, Quarter.of(now)) if lake.has(t[0], q)]
        out[cache] = pd.concat([lake.read(t[0], [q], columns=[KNOWABLE])[KNOWABLE] for q in qs])
    return out

def champion_auc(ledger, lake, version):
    return float(load(lake, version).metadata["test"].get("auc") or np.nan)

def judged_events(ledger, lake, source, now):
    r = outcomes.read(ledger, now - pd.Timedelta(days=60), now, known_at=now)
    r = r[r["served"] & r["predicted_probability"].notna()]
    r = r[(r["announced_on"] <= now.tz_localize(None)) & (r["announced_on"] > now.tz_localize(None) - pd.Timedelta(days=30))].reset_index(drop=True)
    r = r.rename(columns={"predicted_probability": "probability", "actual_class": "label", "actual_return_7d": "return_7d"}).assign(company=r["symbol"], never=0.1, session=None)
    qs = [q for q in Quarter.range(Quarter.of(now) - 2, Quarter.of(now)) if lake.has("ohlcv", q)]
    prices = Prices.load(lake, source, qs).known(now).on_one_basis()
    o = outcome_returns(r, prices, source.benchmark)
    r["benchmark_7d"] = o.returns["benchmark_7d"]
    e = predictions.read(ledger, now - pd.Timedelta(days=400), now, served=True).rename(columns={"predicted_probability": "probability"})
    return Judged(r, e[e["probability"].notna()], o.positions, {"pending": float(r["label"].isna().sum())})
