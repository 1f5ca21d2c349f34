"""The files of a real fit keep to the schemas, and the schemas notice when they do not."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest

import spikefit
from spikefit.results.json_schema import METRICS_SCHEMA, PROVENANCE_SCHEMA


@pytest.fixture(scope="module")
def folder(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "out"
    spikefit.infer(recordings / "mouse_hd_a2929.nwb", out, interval=["0:30"], hidden=0)
    return out


@pytest.mark.parametrize(("name", "schema"), [("metrics", METRICS_SCHEMA), ("provenance", PROVENANCE_SCHEMA)])
def test_a_real_fit_keeps_to_its_schema(folder, name, schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    found = json.loads((folder / f"{name}.json").read_text())
    jsonschema.validate(found, schema)
    for key in schema["required"]:  # and the schema can see
        broken = copy.deepcopy(found)
        del broken[key]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)
        broken[key] = object
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)
