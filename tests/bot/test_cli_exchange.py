"""Files in and out by the command line: what came of it, taken back, and how good the data is."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.bot.test_cli import Cli

LIST = "name,email,phone\nAnna,anna@gmial.com,+49301111111\n,bo.smith@example.de,\nAnna,anna@gmail.com,\nX,nope,\n"


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path, capsys)


def test_an_import_says_what_came_of_it_and_can_be_undone(cli: Cli) -> None:
    file = cli.file("list.csv", LIST)
    out, err = cli("import", "customers", file)
    assert out.splitlines() == [
        "2 new, 0 updated, 1 unchanged",
        "1 duplicates, 1 values corrected, 2 inferred",
    ]
    assert "1 rejected, rows or single values of rows" in err
    assert "quality of the file: index 1.33 (4 records ÷ 3 anomalous" in err
    assert "  email: 1 rejected, 1 corrected\n" in err
    assert "to take it back: wellheard import undo 1" in err
    assert "line 4: again what line 2 is about (by email)" in err
    assert "line 2: email 'anna@gmial.com' corrected to 'anna@gmail.com'" in err
    assert "line 5: this is no e-mail address: 'nope'" in err
    assert "nothing changed: this file is import 1" in cli("import", "customers", file)[1]
    listed = cli("imports")[0].splitlines()
    assert [line.split("\t")[0] for line in listed] == ["2", "1"]
    assert cli.json("imports")[1]["counts"]["new"] == 2
    assert cli("import", "undo", "1")[0].startswith("2 removed, 0 as before, 0 kept")
    assert "undone" in cli("imports")[0].splitlines()[1]
    assert "there is no import 1" in cli("import", "undo", "1", code=1)[1]
    assert "by its number" in cli("import", "undo", "list.csv", code=1)[1]
    assert cli("export", "customers")[0].count("\n") == 1


def test_the_quality_of_what_came_is_shown(cli: Cli) -> None:
    cli("import", "customers", cli.file("list.csv", LIST))
    out, _ = cli("quality")
    assert out.splitlines()[0] == "everything: index ∞, 2 records, 0 anomalous"
    assert "import:list.csv" in out
    whole, _ = cli.json("quality")
    assert (whole["records"], whole["index"]) == (2, None)
    assert whole["parts"]["email"] == {"inferred": 1}


def test_a_report_is_in_the_language_of_the_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    out, err = cli("import", "customers", cli.file("list.csv", LIST))
    assert out.splitlines()[0] == "新增 2，更新 0，不变 1"
    assert "第 5 行：这不是邮箱地址：'nope'" in err
    assert cli.json("import", "customers", cli.file("list.csv", LIST))["rejected"][0]["reason"].startswith(
        "这不是"
    )
    assert cli("quality")[0].startswith("全部：指数 ∞，2 条记录，0 条异常\n")
    assert "已完成" in cli("imports")[0]
    assert "没有第 9 次导入" in cli("import", "undo", "9", code=1)[1]
    assert "移除 2" in cli("import", "undo", "1")[0]


def test_a_workbook_goes_to_standard_output(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("import", "customers", cli.file("list.csv", LIST))
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", out)
    from bot.__main__ import main

    assert main(["export", "customers", "--format", "xlsx", "--config", str(cli.config)]) == 0
    assert isinstance(out.buffer, io.BytesIO)
    assert b"Bo Smith" in zipfile.ZipFile(out.buffer).read("xl/worksheets/sheet1.xml")
