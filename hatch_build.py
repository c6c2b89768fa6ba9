"""Compiles the C parts when the package is built, if there is a C compiler; playlake works without them, slower."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("stream_app/plain_json.c", "stream_app/plain_avro.c", "stream_app/kafka_records.c")
LIBRARIES = ("-ldl",)
FLAGS = ("-O3", "-std=c11", "-shared", "-fPIC")


class CompiledParts(BuildHookInterface[Any]):
    """Adds a shared library beside each source, read through ctypes: no Python headers are needed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, or say why not."""
        compiler = shlex.split(os.environ.get("CC", "cc"))
        if not compiler or shutil.which(compiler[0]) is None:
            self.app.display_warning("no C compiler (CC names one): playlake will be slower, by half")
            return
        suffix = sysconfig.get_config_var("SHLIB_SUFFIX") or ".so"
        for source in SOURCES:
            library = Path(source).with_name(f"lib{Path(source).stem}{suffix}")
            command = [*compiler, *FLAGS, "-o", str(library), source, *LIBRARIES]
            done = subprocess.run(command, cwd=self.root, capture_output=True, text=True)  # noqa: S603  # our own words
            if done.returncode != 0:
                self.app.display_warning(f"{' '.join(command)} failed, playlake will be slower:\n{done.stderr}")
                return
            build_data["artifacts"].append(str(library))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
