"""Alerts, Grafana's dashboard and CloudWatch's template: they parse, and they ask for what we serve."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from playlake.compactor_metrics import CompactorMetrics
from sink.lake import Lake
from stream_app.metrics import WorkerMetrics, WorkerState
from tests.deploy.promtool import promtool

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboards/playlake.json").read_text(encoding="utf-8"))
METRIC = re.compile(r"\b(?:playlake|process)_[a-z_]+")


def served(registry: CollectorRegistry) -> set[str]:
    """Every name that a registry can serve, of metrics without a sample yet, too."""
    names = set()
    for family in registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "summary": ["_sum", "_count"]}
        names |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    return names


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    lake = Lake.at(str(tmp_path_factory.mktemp("lake")))
    return served(WorkerMetrics(WorkerState).registry) | served(CompactorMetrics(lake, 60).registry)


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    done = promtool("test", "rules", "alerts_test.yml", folder=PROMETHEUS)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr


def test_prometheus_takes_the_configuration() -> None:
    done = promtool("check", "config", "prometheus.yml", folder=PROMETHEUS)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_served_is_tested_and_has_its_page_in_the_runbook(
    rule: dict[str, Any], known: set[str]
) -> None:
    assert set(METRIC.findall(rule["expr"])) <= known
    assert rule["alert"] in (PROMETHEUS / "alerts_test.yml").read_text(encoding="utf-8")
    assert f"docs/runbook.md#{rule['alert'].lower()}" == rule["annotations"]["runbook_url"]
    assert f"\n### {rule['alert']}\n" in (ROOT / "docs/runbook.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_is_served(panel: dict[str, Any], known: set[str]) -> None:
    assert panel["targets"] and panel["description"]
    for target in panel["targets"]:
        asked = set(METRIC.findall(target["expr"]))
        assert asked and asked <= known


def test_every_metric_of_ours_is_on_the_dashboard(known: set[str]) -> None:
    asked = {
        name for panel in DASHBOARD["panels"] for target in panel["targets"] for name in METRIC.findall(target["expr"])
    }
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known if name.startswith("playlake_")}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {"playlake_table_rows"} == families - shown, "it is in `playlake status`, and says little over time"


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len(panels) == len({panel["id"] for panel in panels})
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_below
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_the_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    uids = {source["uid"] for source in provisioned["datasources"]}
    sources = [panel["datasource"] for panel in DASHBOARD["panels"]]
    sources += [target["datasource"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert uids == {source["uid"] for source in sources}


# ---------------------------------------------------------------- CloudWatch

ALARMS = ROOT / "deploy/cloudwatch/alarms.yaml"


def test_the_template_of_alarms_passes_the_linter_of_cloudformation() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--template", ALARMS], capture_output=True, text=True, timeout=120
    )
    assert (0, "") == (done.returncode, done.stdout), done.stderr


def test_alarms_ask_for_what_the_agent_sends_and_the_agent_for_what_is_served(known: set[str]) -> None:
    agent = json.loads((ROOT / "deploy/cloudwatch/agent.json").read_text())
    declarations = agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]["metric_declaration"]
    sent = {selector.strip("^$") for each in declarations for selector in each["metric_selectors"]}
    assert sent <= known
    assert sent == set(re.findall(r"MetricName: (\w+)", ALARMS.read_text()))


def test_alarms_name_pages_of_the_runbook() -> None:
    named = set(re.findall(r"\b(Playlake[A-Za-z]+)", ALARMS.read_text()))
    assert named <= {rule["alert"] for rule in RULES}
    assert {rule["alert"] for rule in RULES} - named == {"PlaylakeFreshnessLate"}, "the agent sends no histograms"
