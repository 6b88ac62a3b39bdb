"""`--format` templates do what docker's client does with them, its error texts included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from veneer.cli.gotemplate import Record, Template, TemplateError
from veneer.cli.inspected import typed

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "templates.json").read_text())


@pytest.mark.parametrize(
    ("template", "code", "output", "complaint"), GOLDEN["cases"], ids=lambda value: str(value)[:40]
)
def test_docker_and_veneer_agree(template: str, code: int, output: str, complaint: str) -> None:
    if code == 0:
        assert Template(template).execute(typed(GOLDEN["data"])) + "\n" == output
    else:
        with pytest.raises(TemplateError) as caught:
            Template(template).execute(typed(GOLDEN["data"]))
        assert f"{caught.value.message}\n" == complaint


def test_a_row_computes_only_the_fields_it_is_asked_for() -> None:
    def never() -> str:
        raise AssertionError("computed although nobody asked")

    row = Record("*formatter.imageContext", {"ID": lambda: "abc", "Digest": never})
    assert Template("{{.ID}}").execute(row) == "abc"
    with pytest.raises(TemplateError, match=r"can't evaluate field Foo in type \*formatter.imageContext"):
        Template("{{.Foo}}").execute(row)
    with pytest.raises(TemplateError, match="can't evaluate field X in type string"):
        Template("{{.ID.X}}").execute(row)


def test_a_row_as_json_has_its_keys_in_order() -> None:
    row = Record("row", {"B": lambda: "2", "A": lambda: "<1>"})
    assert Template("{{json .}}").execute(row) == '{"A":"\\u003c1\\u003e","B":"2"}'


def test_a_time_prints_as_go_does_and_encodes_as_rfc3339() -> None:
    image = typed({"Metadata": {"LastTagTime": "2026-11-24T03:00:41.446115000Z"}})
    assert Template("{{.Metadata.LastTagTime}}").execute(image) == "2026-11-24 03:00:41.446115 +0000 UTC"
    assert Template("{{json .Metadata}}").execute(image) == '{"LastTagTime":"2026-11-24T03:00:41.446115000Z"}'
    image = typed({"Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"}})
    assert Template("{{.Metadata.LastTagTime}}").execute(image) == "0001-01-01 00:00:00 +0000 UTC"


def test_the_id_has_both_of_its_names() -> None:
    assert Template("{{.Id}} {{.ID}}").execute(typed({"Id": "sha256:1"})) == "sha256:1 sha256:1"


def test_deep_nesting_is_no_python_error() -> None:
    for text in ("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "{{if 1}}" * 5000, "{{if 1}}{{else}}" * 5000):
        with pytest.raises(TemplateError, match="max expression depth exceeded"):
            Template(text)
    chained = Template("{{if 0}}" + "{{else if 0}}" * 20 + "{{else}}last{{end}}")
    assert chained.execute({}) == "last"


def test_numbers_too_large_for_go_print() -> None:
    assert (
        Template("{{1e400}} {{-1e400}} {{1e20}} {{1.5e300}}").execute({}) == "+Inf -Inf 100000000000000000000 1.5e+300"
    )


def test_what_is_null_in_json_is_empty_to_a_template() -> None:
    image = typed({"Config": {"Cmd": None, "Labels": None, "Entrypoint": ["a"]}})
    text = "{{.Config.Cmd}}{{.Config.Labels}}{{json .Config.Cmd}}{{json .Config}}{{len .Config.Labels}}"
    assert Template(text).execute(image) == '[]map[]null{"Cmd":null,"Labels":null,"Entrypoint":["a"]}0'
    assert Template("{{range .Config.Cmd}}x{{else}}none{{end}}{{.Config.Labels.x}}").execute(image) == "none<no value>"
    assert (
        Template('{{join .Config.Cmd ","}}|{{index .Config.Labels "x"}}|{{if .Config.Cmd}}y{{end}}').execute(image)
        == "||"
    )
