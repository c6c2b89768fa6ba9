"""The ways in which `tests.mutations` breaks the product, and for each the fault tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FENCE = "tests/fault/test_fence.py::test_"
_KILL = "tests/fault/test_kill.py::test_"
_BESIDE = "tests/fault/test_compaction_beside_writers.py::test_"
_NOT_CHECKED = ("gone <= {file.path for file in live_files(handle, root)}", "bool(gone)")
_TAKEN = "tests/unit/test_compact.py::test_what_another_compaction_took_between_check_and_commit_is_left[128000000]"
_LEDGER_CLAIMED = (
    "tests/unit/test_verify_files.py::test_the_ledger_refuses_an_earlier_claimant_and_forgets_what_bronze_has_not"
)
_INGEST = "tests/fault/test_ingest.py::test_"
_TRIMMED = f"{_FENCE}a_zombie_woken_after_the_new_owner_trimmed_and_died[seed0-disk-before silver]"


@dataclass(frozen=True)
class Mutation:
    """One way to break the product.

    Attributes:
        name: what is broken, in the words of the protocol.
        path: of the file, from the root of the tree.
        replacements: old text, which must be there exactly once, and new text.
        tests: pytest ids, at least one of which must fail.
    """

    name: str
    path: str
    replacements: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]

    def apply(self, root: Path) -> dict[str, str]:
        """Return the changed file, by path.

        Raises:
            ValueError: an old text is not there exactly once.
            OSError: the file is not there.
        """
        text = (root / self.path).read_text(encoding="utf-8")
        for old, new in self.replacements:
            if text.count(old) != 1:
                raise ValueError(f"{self.path} has this {text.count(old)} times instead of once:\n{old}")
            text = text.replace(old, new)
        return {self.path: text}


MUTATIONS = (
    Mutation(
        "no claim",
        "sink/writer.py",
        (
            (
                "        epochs = self._claim_silver(sources, first_offsets)\n"
                '        for name in ("quarantine", "bronze"):\n'
                "            self._claim_table(name, epochs)\n",
                "        for name in CLAIM_ORDER:\n"
                "            self._reload(name)\n"
                '        epochs = {source: positions.epoch(self._handles["silver"], source) for source in sources}\n',
            ),
        ),
        (_TRIMMED,),
    ),
    Mutation(
        "epoch not checked",
        "sink/writer.py",
        (("            and positions.epoch(handle, source) == owned.epoch\n", ""),),
        (_TRIMMED,),
    ),
    Mutation(
        "txn left out: positions",
        "sink/writer.py",
        (("Transaction(source.app_id, last) for source, last in targets.items()", ""),),
        (f"{_KILL}a_worker_killed_at_a_step_of_a_flush[seed0-disk-after silver]",),
    ),
    Mutation(
        "txn left out: epochs",
        "sink/writer.py",
        (("        entries += [Transaction(source.epoch_id, self._owned[source].epoch) for source in targets]\n", ""),),
        (_TRIMMED,),
    ),
    Mutation(
        "version not checked on the committing handle",
        "sink/writer.py",
        (
            (
                "            self._drop(flush, self._lost(handle, name, flush))\n",
                "            if name in flush.attempted:\n"
                "                self._drop(flush, self._lost(handle, name, flush))\n",
            ),
        ),
        (f"{_FENCE}a_zombie_whose_handles_its_own_commits_refreshed[seed0]",),
    ),
    Mutation(
        "conflict taken for fence loss",
        "sink/writer.py",
        (
            (
                '                _log.info("commit to %s refused, others changed it: looking again", name)\n'
                "                _pause(attempt)\n"
                "                continue\n",
                '                _log.info("commit to %s refused, others changed it: looking again", name)\n'
                "                self._drop(flush, set(flush.targets))\n"
                "                return 0\n",
            ),
        ),
        (f"{_BESIDE}a_healthy_append_that_a_rewrite_refused_is_committed_again[seed0-disk-repair]",),
    ),
    Mutation(
        "conflict always committed again",
        "sink/writer.py",
        (
            (
                "            self._drop(flush, self._lost(handle, name, flush))\n",
                "            if name not in flush.attempted:\n"
                "                self._drop(flush, self._lost(handle, name, flush))\n",
            ),
        ),
        (_TRIMMED,),
    ),
    Mutation(
        "quarantine not trimmed",
        "sink/writer.py",
        (("        self._trim_quarantine(sources)\n", ""),),
        (f"{_KILL}a_claimant_killed_half_way_after_a_torn_flush[seed0-disk-after claim silver]",),
    ),
    Mutation(
        "bronze not skipped",
        "sink/writer.py",
        (("        return after(flush.rows[name], torn)\n", "        return flush.rows[name]\n"),),
        (f"{_KILL}a_worker_killed_at_a_step_of_a_flush[seed0-disk-before quarantine]",),
    ),
    Mutation(
        "silver before quarantine",
        "sink/writer.py",
        (
            (
                'FLUSH_ORDER: Final = ("bronze", "quarantine", "silver")',
                'FLUSH_ORDER: Final = ("bronze", "silver", "quarantine")',
            ),
        ),
        (f"{_KILL}a_catalogue_changed_between_a_torn_flush_and_the_restart[seed0-disk-before quarantine]",),
    ),
    Mutation(
        "ack before flush",
        "stream_app/app.py",
        (
            (
                "        self._pipeline.submit(fetched.records)\n",
                "        self._pipeline.submit(fetched.records)\n        event.ack()\n",
            ),
        ),
        (f"{_FENCE}the_group_hears_only_of_what_is_in_the_lake[seed0]",),
    ),
    Mutation(
        "revoked rows kept",
        "sink/writer.py",
        (
            (
                "        self._buffer = [{name: without(rows, gone) for name, rows in tables.items()} "
                "for tables in self._buffer]\n"
                "        if not self._targets:\n"
                "            self._buffer.clear()\n",
                "",
            ),
        ),
        (
            f"{_FENCE}rows_that_waited_for_a_flush_when_their_kafka_partitions_were_lost_are_read_again_and_written_once"
            "[seed0]",
        ),
    ),
    Mutation(
        "offset reset earliest",
        "stream_app/transport.py",
        (('"auto.offset.reset": "error"', '"auto.offset.reset": "earliest"'),),
        ("tests/fault/test_topic_changes.py::test_a_topic_truncated_under_a_worker[seed0-asleep]",),
    ),
    Mutation(
        "repair commits unchecked",
        "compaction/replace.py",
        (_NOT_CHECKED,),
        (f"{_BESIDE}a_rewrite_planned_before_a_compaction_is_planned_anew[seed0-repair]",),
    ),
    Mutation(
        "compaction commits unchecked",
        "compaction/replace.py",
        (_NOT_CHECKED,),
        (_TAKEN,),
    ),
    Mutation(
        "compaction's commit rebased unchecked",
        "compaction/replace.py",
        ((", max_commit_retries=0\n", "\n"),),
        (_TAKEN,),
    ),
    Mutation(
        "compaction that globs files",
        "compaction/delta_log.py",
        (
            (
                "    columns = handle.metadata().partition_columns\n    actions = pa.table(",
                "    import re\n"
                "    from pathlib import Path\n\n"
                "    def partition(path: str) -> str | None:\n"
                '        value = re.search(r"_date=([0-9-]+)/", path)\n'
                "        return value[1] if value else None\n\n"
                '    found = [str(path) for path in Path(root).glob("**/*.parquet") if "_delta_log" not in str(path)]\n'
                "    return [DataFile(path, partition(path), None, Path(path).stat().st_size) for path in found]\n"
                "    columns = handle.metadata().partition_columns\n    actions = pa.table(",
            ),
        ),
        ("tests/fault/test_compactors.py::test_two_at_once_begin_gold[seed0]",),
    ),
    Mutation(
        "the ledger of files only at a round's end",
        "stream_app/files_origin.py",
        (("        Patience(give_up)(write)\n", ""),),
        (f"{_INGEST}an_ingest_killed_at_a_step[seed0-after bronze]",),
    ),
    Mutation(
        "the ledger of files without its fence",
        "sink/ledger.py",
        (
            (
                "            if self._epoch is None or positions.epoch(self._handle, self._source) != self._epoch:\n",
                "            if self._epoch is None:\n",
            ),
        ),
        (_LEDGER_CLAIMED,),
    ),
)
