"""`playlake demo`: everything once, with nothing installed but the Python packages."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from playlake.progress import progress
from playlake.settings import VerbSettings
from schemas.errors import ConfigError, TerminalError

if TYPE_CHECKING:
    from audit.status import Status
    from producer.send import Sent

_MARK = ".playlake-demo"

_QUERIES = (
    "select title, content_type, plays, viewer_days, round(watch_seconds / 3600, 1) as watch_hours "
    "from gold.top_titles order by plays desc limit 5",
    "select event_date, count(*) as events, count(distinct user_id) as users, "
    "round(avg(quality_score), 3) as quality from silver group by event_date order by event_date",
    "select reason, count(*) as records from (select unnest(reasons) as reason from quarantine) "
    "group by reason order by records desc, reason limit 5",
)


class Settings(VerbSettings):
    """Run everything once on this machine, with nothing installed but the Python packages.

    Starts librdkafka's built-in broker, sends simulated events (2 % of them bad) through it to a worker in a process of
    its own, then runs the other verbs on the lake as you would: status, compact, three queries, verify.

    Example:
        playlake demo --events 200000 --lake demo-lake
    """

    verb: ClassVar[str] = "demo"

    events: int = Field(200_000, ge=1_000, description="how many records to send")
    lake: Path = Field(Path("demo-lake"), description="folder; only one that an earlier demo made is replaced")
    dirty: float = Field(0.02, ge=0, le=1, description="share of bad records")
    seed: int = Field(7, ge=0, description="another seed is another world")
    days: float = Field(3.0, gt=0, description="span of the event times, up to now")
    as_json: bool = Field(False, alias="json", description="print only the summary, as one JSON object")

    @field_validator("lake")
    @classmethod
    def _is_a_folder(cls, lake: Path) -> Path:
        if re.match(r"\w+:/", str(lake)):
            raise ValueError("the demo makes its lake in a folder of this machine, not in a store")
        return lake


@dataclass
class _Run:
    """What the demo has done so far, and how long each part took."""

    is_quiet: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str, title: str) -> Iterator[None]:
        """Announce a part and time it."""
        if not self.is_quiet:
            print(f"\n── {title}", flush=True)
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)

    def verb(self, *words: str) -> int:
        """Run a verb in this process as the command line would, showing the command first."""
        from playlake.cli import main

        if self.is_quiet:
            with _silence():
                return main(list(words))
        print(f"$ playlake {shlex.join(words)}", flush=True)
        return main(list(words))


def run(settings: Settings) -> int:
    """Run the demo; 0 when the promise holds at its end, 1 when it does not."""
    from audit.status import read_status
    from playlake.demo import fill
    from producer.simulate import Scenario
    from sink.lake import Lake

    started = time.monotonic()
    folder = settings.lake.expanduser().absolute()
    _make_room(folder)
    lake = str(settings.lake)
    demo = _Run(settings.as_json)
    scenario = Scenario(
        start_ms=round((time.time() - settings.days * 86_400) * 1000),
        seed=settings.seed,
        events=settings.events,
        days=settings.days,
        dirty=settings.dirty,
    )
    with (
        demo.part(
            "stream", f"{settings.events:,} events through a built-in broker to a worker, {settings.dirty:.1%} bad"
        ),
        progress("sent", settings.events) as on_sent,
    ):
        sent, broker, worker_said = fill(str(folder), folder / "worker.log", scenario, on_sent)
    if not demo.is_quiet:
        print(f"worker: {worker_said}")
    before = read_status(Lake.at(lake))
    with demo.part("status", "how the lake is"):
        _expect(demo.verb("status", "--lake", lake), "status")
    with demo.part("compact", "repair, dedupe, compact, gold, vacuum"):
        _expect(demo.verb("compact", "--lake", lake), "compact")
    with demo.part("query", "three questions"):
        for sql in _QUERIES:
            _expect(demo.verb("query", "--lake", lake, sql), "query")
    with demo.part("verify", "is every record that the broker acknowledged accounted for, exactly once?"):
        verdict = demo.verb("verify", "--lake", lake, "--broker", f"kafka://{broker.address}")
    after = read_status(Lake.at(lake))
    demo.seconds["total"] = round(time.monotonic() - started, 1)
    _summarise(demo, sent, before, after, verdict, lake)
    return verdict


def _make_room(folder: Path) -> None:
    """Make the demo's folder, replacing one that an earlier demo made, and no other."""
    if folder.exists() and not (folder / _MARK).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--lake {folder} is there and no demo made it: name a folder that isn't, or remove it")
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / _MARK).touch()
    except OSError as error:
        raise ConfigError(f"--lake {folder} can't be made: {error.strerror}") from None


def _expect(exit_code: int, verb: str) -> None:
    if exit_code:
        raise TerminalError(f"`playlake {verb}` ended with exit code {exit_code}")


def _summarise(demo: _Run, sent: Sent, before: Status, after: Status, verdict: int, lake: str) -> None:
    rows = {table.name: table.rows or 0 for table in after.tables}
    files_after = {table.name: table.files for table in after.tables}
    files = {table.name: table.files for table in before.tables}
    summary = {
        "lake": lake,
        "sent": sent.events,
        "silver": rows["silver"],
        "quarantine": rows["quarantine"],
        "duplicates_dropped": sent.events - rows["silver"] - rows["quarantine"],
        "null_partition_before": before.null_partition_rows,
        "null_partition_after": after.null_partition_rows,
        "silver_files_before": files["silver"],
        "silver_files_after": files_after["silver"],
        "holds": verdict == 0,
        "seconds": demo.seconds,
    }
    if demo.is_quiet:
        print(json.dumps(summary))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="what happened", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    bad = sum(count for kind, count in sent.by_kind.items() if not kind.startswith("valid"))
    lines = {
        "sent": f"{sent.events:,} records, {bad:,} of them bad in {len(sent.by_kind)} ways",
        "in silver": f"{summary['silver']:,} rows",
        "in quarantine": f"{summary['quarantine']:,} rows, each with its reasons and bytes",
        "duplicates dropped": f"{summary['duplicates_dropped']:,}",
        "null partition": f"{before.null_partition_rows:,} rows, {after.null_partition_rows:,} after repair",
        "files in silver": f"{summary['silver_files_before']:,}, {summary['silver_files_after']:,} after compaction",
        "the promise": "holds: nothing lost, nothing doubled" if verdict == 0 else "DOES NOT HOLD: see verify above",
        "seconds": ", ".join(f"{name} {seconds}" for name, seconds in demo.seconds.items()),
    }
    for name, text in lines.items():
        table.add_row(name, text)
    print()
    Console().print(table)
    print("\nlook further:")
    for words in (f"query --lake {lake}", f"status --lake {lake}", f"compact --lake {lake} --dry-run", "--help"):
        print(f"  {_own_command()} {words}")


def _own_command() -> str:
    """Return what to type for `playlake` in this folder, also where its environment is not on the PATH."""
    script = Path(sys.argv[0]).absolute()
    if script.name != "playlake":
        return f"{Path(sys.executable).name} -m playlake"
    return str(script.relative_to(Path.cwd())) if script.is_relative_to(Path.cwd()) else "playlake"


@contextmanager
def _silence() -> Iterator[None]:
    """Keep standard output to ourselves."""
    import io
    from contextlib import redirect_stdout

    with redirect_stdout(io.StringIO()):
        yield
