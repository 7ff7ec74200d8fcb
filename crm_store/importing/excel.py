"""Workbooks: the first sheet with rows, its header below a title or not.

calamine reads a sheet whole (about 1 KB a row of ten cells); CSV is the form for files without end.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from crm_store.exporter import unguarded
from crm_store.importing.headers import Known, header_among, named

MARKS = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HEAD = 30  # rows among which the header is


def is_workbook(path: Path) -> bool:
    """Whether it is a zip archive, as .xlsx and .ods are, or what .xls is; whatever its name says."""
    with path.open("rb") as stream:
        return stream.read(8).startswith(MARKS)


def rows(path: Path, known: Known = lambda name: True) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row's number and its cells by the header's names. Raise ValueError for what is no workbook."""
    try:
        import python_calamine  # an extra: most desks exchange CSV
    except ImportError as error:
        raise ValueError("workbooks need the extra `excel`: pip install 'wellheard[excel]'") from error
    try:
        with path.open("rb") as stream, python_calamine.CalamineWorkbook.from_object(stream) as workbook:
            header: list[str] = []
            for name in workbook.sheet_names:
                sheet = workbook.get_sheet_by_name(name)
                table = sheet.to_python(skip_empty_area=False)
                above = header_among([list(map(_value, cells)) for cells in table[:HEAD]], known)
                names = [named(_value(cell)) for cell in table[above]] if table else []
                if not any(names):
                    continue
                if header and names != header:
                    break  # another table; sheets that go on have the same header
                header = names
                for number, cells in enumerate(table[above + 1 :], start=above + 2):
                    if not any(_filled(cell) for cell in cells):
                        continue
                    row: dict[str, Any] = {}
                    for column, cell in zip(header, map(_value, cells), strict=False):
                        if column and not _filled(
                            row.get(column)
                        ):  # of two of one name the first that is filled
                            row[column] = cell
                    yield number, row
    except (python_calamine.CalamineError, OSError) as error:
        raise ValueError(f"this is no workbook that can be read: {error}") from error


def _filled(cell: object) -> bool:
    return cell not in (None, "")


def _value(cell: object) -> Any:
    match cell:
        case str():
            return unguarded(cell)
        case float() if cell.is_integer():
            return str(int(cell))  # 13800138000.0 is a phone, not a measurement
        case datetime():
            return cell.isoformat(" ")
        case date():
            return cell.isoformat()
        case time() | timedelta():
            return str(cell)
    return cell
