"""The OpenAPI description of the config server."""

from functools import lru_cache
from typing import Any, Dict, List, Optional

from panoptes_utils.config.keys import MAX_DEPTH, MAX_LENGTH, PATTERN
from panoptes_utils.config.status import version

_CHANGES = {
    "type": "object",
    "propertyNames": {"pattern": f"^{PATTERN}$", "maxLength": MAX_LENGTH},
    "additionalProperties": True,
    "example": {"location.elevation": "3400 m"},
}
_KEY_BODY = {
    "type": "object",
    "required": ["key"],
    "properties": {
        "key": {
            "type": ["string", "null"],
            "description": f"dotted key such as `devices[1].model`, at most {MAX_LENGTH} characters and "
            f"{MAX_DEPTH} levels; null for everything",
        },
        "verbose": {"description": "ignored"},
    },
    "example": {"key": "location.latitude"},
}
# Without a key the heartbeat is the server's own.
_HEARTBEAT_BODY = {name: value for name, value in _KEY_BODY.items() if name != "required"}
_PROBLEMS = {
    400: "malformed request",
    401: "a change, or a question for a secret key, without the token",
    403: "a change from a page of another origin",
    405: "method not possible here",
    409: "does not fit the configuration as it is, or a file cannot be read; `msg` says which",
    413: "body too long",
    415: "a change whose body is not declared as JSON",
    421: "addressed by a foreign name",
    422: "invalid key or value; `msg` names the key",
    429: "too many requests",
    507: "the disk is full; nothing was changed",
}


@lru_cache(maxsize=2)
def description(token: bool) -> Dict[str, Any]:
    """The OpenAPI 3.1 description.

    Args:
        token: changes and secret keys need the token.
    """
    key_query = {
        "name": "key",
        "in": "query",
        "schema": {"type": "string"},
        "description": "dotted key; everything without it",
    }
    read, alive = (
        {
            "get": _operation(answer, parameters=[key_query], token=token),
            "post": _operation(answer, body=body, token=token),
        }
        for answer, body in (("Value", _KEY_BODY), ("Alive", _HEARTBEAT_BODY))
    )
    reset = {"type": "object", "required": ["reset"], "properties": {"reset": {"const": True}}}
    paths: Dict[str, Any] = {
        "/get-config": _titled(read, "The value at a key, null where there is none"),
        "/set-config": _titled(
            {method: _operation("Changes", body=_CHANGES, write=True, token=token) for method in ("get", "post")},
            "Change values; the answer is sent when they are on the disk",
        ),
        "/reset-config": _titled(
            {"post": _operation("Outcome", body=reset, write=True, token=token)}, "Read the files again"
        ),
        "/heartbeat": _titled(alive, "Whether the server runs, or whether the value at a key is true"),
        "/status": _titled({"get": _operation("Status")}, "Unit name, release and state of the messaging hub"),
    }
    outcome = {
        "type": "object",
        "required": ["success", "msg"],
        "properties": {
            "success": {"type": "boolean"},
            "msg": {"type": "string"},
            "token_file": {
                "type": "string",
                "description": "where the token is; only beside 401, and for programs of the same machine",
            },
        },
    }
    status = {
        "type": "object",
        "required": ["name", "release", "version", "hub"],
        "properties": {
            "hub": {
                "type": "object",
                "required": ["state"],
                "properties": {"state": {"enum": ["up", "down"]}},
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PANOPTES config server",
            "version": version(),
            "description": "The configuration of one unit.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Value": {"description": "any JSON value"},
                "Alive": {"type": "boolean"},
                "Changes": _CHANGES,
                "Outcome": outcome,
                "Status": status,
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(
    answer: str,
    body: Optional[Dict[str, Any]] = None,
    parameters: Optional[List[Dict[str, Any]]] = None,
    write: bool = False,
    token: bool = False,
) -> Dict[str, Any]:
    statuses = [400, 405, 421, 429]
    if body:
        statuses.append(413)
    if write:
        statuses += [403, 409, 415, 422, 507]
    if token:
        statuses.append(401)
    operation: Dict[str, Any] = {
        "responses": {
            "200": {"description": "done", "content": _json({"$ref": f"#/components/schemas/{answer}"})},
            **{
                str(status): {
                    "description": _PROBLEMS[status],
                    "content": _json({"$ref": "#/components/schemas/Outcome"}),
                }
                for status in sorted(statuses)
            },
        }
    }
    if body:
        operation["requestBody"] = {"required": write, "content": _json(body)}
    if parameters:
        operation["parameters"] = parameters
    if token:
        # Reading goes without it, but for what is secret.
        operation["security"] = [{"token": []}] if write else [{}, {"token": []}]
    return operation


def _titled(operations: Dict[str, Any], summary: str) -> Dict[str, Any]:
    for operation in operations.values():
        operation["summary"] = summary
    return operations


def _json(schema: Dict[str, Any]) -> Dict[str, Any]:
    return {"application/json": {"schema": schema}}
