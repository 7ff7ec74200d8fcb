"""The API does what its description says, and nothing else: every check that schemathesis has, on a live service.

It makes requests of the description, good and bad ones, and follows what the answers offer.
WELLHEARD_API_EXAMPLES sets how many for each operation.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.api.kit import served, ticketed

pytest.importorskip("schemathesis")
EXAMPLES = os.environ.get("WELLHEARD_API_EXAMPLES", "5")
HOOKS = """
from datetime import UTC, datetime

import schemathesis
from hypothesis import strategies as st


def said(moment):
    return moment.isoformat().replace("+00:00", "Z")


moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
schemathesis.openapi.format("date-time", moments.map(said))
"""


@pytest.mark.timeout(400)
async def test_the_api_is_what_its_description_says(tmp_path: Path) -> None:
    (tmp_path / "api_hooks.py").write_text(HOOKS)
    async with served(tmp_path, more="[api]\nper_minute = 10000000") as (world, caller):
        await ticketed(world, "where is my parcel? I have been waiting for three weeks")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"{world.url}/api/v1/openapi.json",
            "-H",
            f"Authorization: Bearer {caller.token}",
            "--checks=all",
            f"--max-examples={EXAMPLES}",
            "--continue-on-failure",
            "--no-color",
            "--suppress-health-check=too_slow",  # of making the requests, on a busy machine
            cwd=tmp_path,
            env=os.environ | {"SCHEMATHESIS_HOOKS": "api_hooks", "PYTHONPATH": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode(errors="replace")
        assert process.returncode == 0, said[-20_000:]
        generated = re.search(r"(\d+) generated", said)
        assert generated is not None
        assert int(generated[1]) > 500, said[-4000:]
        dump = await world.dump()
        assert dump["integrity"] == "ok"
