"""Compaction and proof of a lake, by Airflow: one run at a time, and a run that finds nothing to do costs seconds.

The lake's address is the Airflow variable `playlake_lake`; `playlake` is installed beside the worker.
"""

from __future__ import annotations

import datetime as dt

from airflow.models.dag import DAG
from airflow.operators.bash import BashOperator

with DAG(
    dag_id="playlake_compact",
    description="repair, dedupe, merge, gold, vacuum; then how the lake is",
    schedule=dt.timedelta(minutes=10),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": dt.timedelta(minutes=1), "execution_timeout": dt.timedelta(hours=1)},
) as dag:
    compact = BashOperator(
        task_id="compact", bash_command="playlake compact --lake '{{ var.value.playlake_lake }}' --json"
    )
    status = BashOperator(
        task_id="status", bash_command="playlake status --lake '{{ var.value.playlake_lake }}' --json"
    )
    compact >> status
