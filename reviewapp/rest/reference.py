"""The OpenAPI description as what a page for people shows."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
PAGE = "Paginated"  # what the names of the components begin with that are pages of another


@dataclass(frozen=True)
class FieldType:
    """What a value may be: words around the name of a component, which has its own entry."""

    before: str = ""
    component: str = ""
    after: str = ""


@dataclass(frozen=True)
class ApiField:
    """A key of an address or body, or a field of an answer."""

    name: str
    kind: FieldType
    text: str
    required: bool = False


@dataclass(frozen=True)
class Operation:
    """A method of an address: what it takes, and the status and content of its answer."""

    id: str
    method: str
    path: str
    summary: str
    text: str
    values: list[ApiField]
    status: str
    answer: FieldType
    errors: list[str]
    example: str


@dataclass(frozen=True)
class Component:
    """Something that operations take or answer."""

    name: str
    text: str
    values: list[ApiField]


def operations(description: Schema, site: str) -> list[Operation]:
    """Return the operations; `site` is the address that the examples begin with."""
    return [
        _operation(path, method, operation, site)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]


def components(description: Schema) -> list[Component]:
    """Return what the operations take and answer, without the pages of it."""
    return [
        Component(name, schema.get("description", ""), list(_values(schema)))
        for name, schema in sorted(description["components"]["schemas"].items())
        if not name.startswith(PAGE)
    ]


def _operation(path: str, method: str, operation: Schema, site: str) -> Operation:
    values = [
        ApiField(p["name"], _kind(p["schema"]), p.get("description", ""), p.get("required", False))
        for p in operation.get("parameters", [])
    ]
    if "requestBody" in operation:
        values.append(ApiField("the body", _content(operation["requestBody"]), "", required=True))
    status, *errors = operation["responses"]
    return Operation(
        operation["operationId"],
        method.upper(),
        path,
        operation["summary"],
        operation.get("description", ""),
        values,
        status,
        _content(operation["responses"][status]),
        errors,
        _curl(path, method, operation.get("x-example", ""), site),
    )


def _content(described: Schema) -> FieldType:
    return _kind(described["content"]["application/json"]["schema"])


def _curl(path: str, method: str, example: str, site: str) -> str:
    """Return a command; the example is the end of the address, or the body that is sent."""
    if method == "get":
        return f"curl {shlex.quote(site + path.partition('{')[0] + example)}"
    lines = [f"curl -X {method.upper()} {site}{re.sub('{.*?}', '1', path)}"]
    lines += ["-H 'Authorization: Token YOUR-TOKEN'"]
    if example:
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(example)}"]
    return " \\\n  ".join(lines)


def _values(schema: Schema) -> Iterator[ApiField]:
    kinds = schema.get("discriminator", {"mapping": {}})
    for value, reference in kinds["mapping"].items():
        kind = _kind({"$ref": reference})
        yield ApiField(f"{kinds['propertyName']}: {value}", kind, "")
    for name, inner in schema.get("properties", {}).items():
        text = inner.get("description", "").partition("* `")[0].strip().rstrip(".")
        yield ApiField(name, _kind(inner), text)


def _kind(schema: Schema) -> FieldType:
    """Return what the JSON schema allows."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name.startswith(PAGE):
            return FieldType("page of", name.removeprefix(PAGE).removesuffix("List"))
        return FieldType(component=name)
    if "array" in _types(schema):
        inner = _kind(schema["items"])
        if inner.before.startswith("one of "):
            return FieldType("any of " + inner.before.removeprefix("one of "))
        return FieldType(f"list of {inner.before}".strip(), inner.component, inner.after)
    if "allOf" in schema or "oneOf" in schema:
        several = schema.get("allOf") or schema["oneOf"]
        named = next(_kind(part) for part in several if "$ref" in part)
        return FieldType(named.before, named.component, "or null" if len(several) > 1 else "")
    return FieldType(_words(schema))


def _types(schema: Schema) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def _words(schema: Schema) -> str:
    """Return in words what a schema without parts allows: "integer, 1 to 100"."""
    words = [" or ".join(_types(schema)) or "any value"]
    if "enum" in schema:
        words = ["one of " + ", ".join(map(str, schema["enum"]))]
    if isinstance(schema.get("additionalProperties"), dict):
        inner = _kind(schema["additionalProperties"])
        words = [f"object of {inner.before or inner.component}"]
    if "minimum" in schema or "maximum" in schema:
        words.append(_range(schema.get("minimum"), schema.get("maximum")))
    if "multipleOf" in schema:
        words.append(f"a multiple of {schema['multipleOf']}")
    if "maxLength" in schema:
        words.append(f"at most {schema['maxLength']} characters")
    if "format" in schema and schema["format"] in ("uri", "date-time"):
        words.append(schema["format"])
    if "default" in schema:
        words.append(f"default {schema['default']}")
    return ", ".join(words)


def _range(least: Any, most: Any) -> str:
    if most is None:
        return f"at least {least}"
    return f"{least} to {most}" if least is not None else f"at most {most}"
