"""run_context.json: everything that a run depended on, so that it can be replayed and told from another.

Of the machine only what may change a result is kept (Python, platform, package versions): no environment variable,
no user name, no host name.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import metadata as packages
from pathlib import Path
from typing import Any

from .inputs import RunInputs
from .request import RunRequest, storable

PACKAGES = ("numpy", "numba", "backtrader", "pyarrow", "matplotlib", "lark", "pydantic")

IDENTITY = (
    "strategy",
    "factor_set",
    "timeframe",
    "start",
    "end",
    "symbols",
    "settings",
    "instruments",
    "engine",
    "market",
)
"""Keys that, together with the inputs' hashes, make two runs the same experiment."""


def run_context(
    request: RunRequest,
    inputs: RunInputs,
    *,
    run_id: str,
    created_at: str,
    start: str,
    end: str,
    ruined: bool,
    arguments: Mapping[str, Any],
    warnings: tuple[str, ...],
) -> dict[str, Any]:
    """Return what run_context.json holds; the hashes of the output files are added when they are written."""
    choice = request.choice
    context: dict[str, Any] = {
        "run_id": run_id,
        "created_at": created_at,
        "strategy": {"name": choice.name, "source": choice.source, "params": storable(choice.params)},
        "engine": request.engine,
        "market": request.market,
        "factor_set": request.factor_set,
        "timeframe": request.timeframe.label,
        "start": start,
        "end": end,
        "symbols": list(inputs.symbols),
        "refused": dict(inputs.refused),
        "synthetic": inputs.metadata["synthetic"],
        "ruined": ruined,
        "arguments": dict(arguments),
        "settings": asdict(request.core),
        "instruments": {name: asdict(limits) for name, limits in request.instruments.items()},
        "inputs": _input_facts(request, inputs),
        "seeds": {},
        "software": software(),
        "warnings": list(warnings),
    }
    context["experiment_sha256"] = experiment_sha256(context)
    return context


def _input_facts(request: RunRequest, inputs: RunInputs) -> dict[str, Any]:
    metadata = inputs.metadata
    futures = {} if inputs.futures is None else {"futures": dict(inputs.futures.facts)}
    return futures | {
        "data_root": str(inputs.data_root),
        "datahub_root": str(request.datahub_root),
        "dsl_path": None if request.dsl_path is None else str(request.dsl_path),
        "dsl_sha1": metadata["dsl_sha1"],
        "benchmark": inputs.benchmark,
        "factor_files": {symbol: metadata["files"][symbol]["sha256"] for symbol in inputs.symbols},
        "klines": {symbol: dict(facts) for symbol, facts in inputs.sources.items()},
    }


def experiment_sha256(context: Mapping[str, Any]) -> str:
    """Return the hash of what decides a result: two runs with the same one must give the same files."""
    deciding: dict[str, Any] = {name: context[name] for name in IDENTITY}
    inputs = context["inputs"]
    deciding["factor_files"] = inputs["factor_files"]
    deciding["bars"] = {symbol: facts["bars_sha256"] for symbol, facts in inputs["klines"].items()}
    if "futures" in inputs:
        deciding["futures"] = futures_digests(inputs["futures"])
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def futures_digests(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what is read for futures -> the hash of what a run depends on."""
    tables = {name: str(facts[name]["sha256"]) for name in ("tiers", "fees")}
    return tables | {f"funding of {symbol}": one["settlements_sha256"] for symbol, one in facts["funding"].items()}


def software() -> dict[str, str]:
    """Return the versions that may change a result, and the hash of this project's own code."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{name: packages.version(name) for name in PACKAGES},
        "project_code_sha256": code_sha256(),
    }


@cache
def code_sha256() -> str:
    """Return one hash of the package's source files, tests and benchmarks apart."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        if place.parts[0] not in ("tests", "benchmarks", "results"):
            digest.update(place.as_posix().encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
