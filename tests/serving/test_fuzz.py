"""Random request bodies and paths from schemathesis: every request is answered or rejected, never with a 500."""

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st

NUMBERS = {"oneOf": [{"type": "number"}, {"type": "array", "items": {"$ref": "#/components/schemas/Numbers"}}]}
VALUE = {
    "oneOf": [
        {"$ref": "#/components/schemas/Numbers"},
        {"type": "boolean"},
        {"type": "string"},
        {"type": "object", "properties": {"b64": {"type": "string", "format": "byte"}}, "required": ["b64"]},
        {"type": "array", "items": {"$ref": "#/components/schemas/Value"}},
    ]
}
NAMES = ["frames", "source", "driving", "initial_value", "initial_jacobian", "relative", "adapt_scale", "use_initial"]
INPUTS = {"type": "object", "properties": {name: {"$ref": "#/components/schemas/Value"} for name in NAMES}}
SIGNATURES = ["detect", "detect_uint8", "detect_jpeg", "encode_source_jpeg", "animate_jpeg", "transfer", "metadata"]
BODY = {
    "type": "object",
    "properties": {
        "signature_name": {"type": "string", "enum": SIGNATURES},
        "inputs": {"oneOf": [INPUTS, {"$ref": "#/components/schemas/Value"}]},
        "instances": {"type": "array", "items": {"oneOf": [INPUTS, {"$ref": "#/components/schemas/Value"}]}},
    },
}
REQUEST = {"required": True, "content": {"application/json": {"schema": BODY}}}
RESPONSES = {"responses": {"default": {"description": "an answer, or an error as JSON"}}}


def parameters(**schemas):
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name, schema in schemas.items()]


MODEL, VERSION = {"type": "string", "enum": ["fomm"]}, {"type": "integer"}
SCHEMA = {
    "openapi": "3.0.3",
    "info": {"title": "TF-Serving's REST API", "version": "1"},
    "components": {"schemas": {"Numbers": NUMBERS, "Value": VALUE}},
    "paths": {
        "/v1/models/fomm:predict": {"post": {"requestBody": REQUEST, **RESPONSES}},
        "/v1/models/{model}/versions/{version}:predict": {
            "post": {"parameters": parameters(model=MODEL, version=VERSION), "requestBody": REQUEST, **RESPONSES}
        },
        "/v1/models/{model}/labels/{label}:predict": {
            "post": {
                "parameters": parameters(model={"type": "string"}, label={"type": "string"}),
                "requestBody": REQUEST,
                **RESPONSES,
            }
        },
        "/v1/models/{model}/versions/{version}/metadata": {
            "get": {"parameters": parameters(model=MODEL, version=VERSION), **RESPONSES}
        },
    },
}


def assert_answered(response):
    assert response.status_code < 500, response.text[:500]
    if response.status_code != 200:
        assert response.json()["error"]


OPERATIONS = [result.ok() for result in schemathesis.openapi.from_dict(SCHEMA).get_all_operations()]
STRATEGIES = [
    operation.as_strategy(generation_mode=mode)
    for operation in OPERATIONS
    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
]


@pytest.mark.slow
@hypothesis.settings(max_examples=300, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(st.one_of(STRATEGIES))
def test_rest_fuzzed_requests_get_no_500(embedded, case):
    assert_answered(case.call(base_url=f"http://{embedded.rest}"))


@pytest.mark.slow
@hypothesis.given(st.binary(max_size=200))
def test_rest_random_bytes_get_no_500(embedded, body):
    assert_answered(httpx.post(f"{embedded.url}:predict", content=body))
