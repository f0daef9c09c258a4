"""Words of a foreign file are shown as words: no page makes links or pictures of them, which would call home."""

import json

import numpy as np
import pyarrow as pa
import pytest

from pages.shared.plain import plain
from seqrl import jobs
from seqrl.config import ImportJob, ImportSpec
from seqrl.datasets.importers import ImportRefused
from seqrl.datasets.importers.checks import shown_name
from seqrl.datasets.importing import import_dataset
from tests.foreign_files import LENGTHS, step_table, write_parquet
from tests.in_process import InProcess, do
from tests.reliability.drawing import draw, sentences

PICTURE = "![x](http://evil.example/x.png)"
MARKUP = (PICTURE, "[x](http://evil.example)", "<img src=x>", ":red[x]", "`x`", "$x$", "**x**", "~~x~~", "a\\[b")


def shown(app):
    """Everything that a page hands to Markdown."""
    said = (app.markdown, app.caption, app.error, app.warning, app.info, app.success, app.title, app.subheader)
    labels = [option for group in app.get("button_group") for option in group.proto.options]
    return "\n".join([element.value for elements in said for element in elements] + [str(label) for label in labels])


@pytest.mark.parametrize("text", MARKUP)
def test_markdown_finds_nothing_in_plain_text(text):
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").parseInline(plain(text))
    assert {child.type for child in tokens[0].children} <= {"text", "text_special"}
    assert "".join(child.content for child in tokens[0].children) == text


def test_tiers_of_a_file_are_plain_words(tiny, tmp_path):
    table = step_table().append_column("tier", pa.array(np.repeat([PICTURE, "expert", "<b>mean</b>"], LENGTHS)))
    do(tiny, ImportJob(spec=ImportSpec(name="marked", path=str(write_parquet(tmp_path / "a.parquet", table)))))
    tiers = set(tiny.dataset_episodes("marked")["tier"])
    assert tiers == {shown_name(PICTURE, 40), "expert", "bmean/b"}
    app = draw("datasets", dataset="marked")
    assert sentences(app) == [] and "](" not in shown(app)


def test_names_of_dimensions_are_refused_where_they_are_markup(tmp_path):
    facts = {"kind": "box", "size": 3, "shape": [3], "names": ["a", PICTURE, "c"]}
    table = step_table().replace_schema_metadata({"seqrl": json.dumps({"observation": facts})})
    path = write_parquet(tmp_path / "a.parquet", table)
    with pytest.raises(ImportRefused, match="have the name .*; give plain, short names"):
        import_dataset(ImportSpec(name="x", path=str(path)), tmp_path / "columns", tmp_path)


def test_a_refusal_that_quotes_a_file_is_shown_as_it_is(tiny, tmp_path):
    path = tmp_path / f"{PICTURE.replace('/', '_')}.npz"
    path.write_bytes(b"PK\x03\x04 no archive")
    row = jobs.submit(tiny, ImportJob(spec=ImportSpec(name="quoted", path=str(path))), InProcess())
    assert row.state == "failed" and "![x]" in row.error
    app = draw("datasets")
    app.session_state["dataset.jobs"] = [row.id]
    app.run()
    assert "![x](" not in shown(app)
