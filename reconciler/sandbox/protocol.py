"""AWS's wire formats, driven by the service models that botocore ships.

One :class:`Api` per service and protocol turns an HTTP request into (operation, parameters) and a result or error into
an HTTP answer, for the protocols that recon's services use: rest-json (SES v2), rest-xml (Route 53), query (SES v1,
IAM, STS) and json (tagging, CloudTrail, and for the ledger Secrets Manager, SSM and KMS). CloudWatch offers json, query
and ``cbor``; a client chooses.

Parameters and results are plain dicts with the model's own member names. Requests are checked against the model:
required members, enums, lengths, ranges and patterns, as AWS's front ends do before a service sees a request.

Source: Smithy specification, "AWS protocols"; the botocore service models.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, unquote_plus
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from reconciler.sandbox import cbor

Params = dict[str, Any]

VALIDATION_CODE: Final = {
    "sesv2": "BadRequestException",
    "route53": "InvalidInput",
    "iam": "ValidationError",
    "sts": "ValidationError",
    "ses": "ValidationError",
    "resourcegroupstaggingapi": "InvalidParameterException",
    "cloudtrail": "InvalidParameterCombinationException",
    "cloudformation": "ValidationError",
    "cloudwatch": "ValidationError",
}


class ApiError(Exception):
    """An error answer: AWS's code and words; ``status`` is the HTTP status, or None for the model's own.

    ``members`` are further members of the error shape.
    """

    def __init__(self, code: str, message: str, status: int | None = None, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members


@dataclass(slots=True)
class Request:
    """One HTTP request. ``path`` is still percent-encoded, header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(slots=True)
class Response:
    """One HTTP answer; header names as they go over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    error_code: str | None = None


@lru_cache(maxsize=1)
def _session() -> Any:
    import botocore.session

    return botocore.session.get_session()


@cache
def _model(service: str) -> Any:
    return _session().get_service_model(service)


@cache
def api(service: str, protocol: str = "") -> Api:
    """The one Api of a service, by botocore's name (``sesv2``, ``route53``), in a protocol that it offers: by default
    the one that botocore speaks. Loading takes 5 to 60 ms."""
    return Api(service, _model(service), protocol)


def spoken(service: str, request: Request) -> str:
    """The protocol of a request; "" for the one that botocore speaks, also where the request has the marks of none.

    Source: Smithy specification, "Smithy RPC v2 CBOR protocol" and "AWS JSON 1.0 protocol": how requests are marked.
    """
    offered = _model(service).metadata.get("protocols", ())
    if len(offered) < 2:
        return ""
    name, value = cbor.HEADER
    marked = {
        cbor.PROTOCOL: request.headers.get(name) == value,
        "json": "x-amz-target" in request.headers,
        "query": b"Action=" in request.body[:2000] or "Action=" in request.query,
    }
    return next((protocol for protocol, marks in marked.items() if marks and protocol in offered), "")


@lru_cache(maxsize=2048)
def _pattern(text: str) -> re.Pattern[str] | None:
    """A model's pattern for Python; None where it uses what ``re`` cannot say (the check is then left out)."""
    for java, python in ((r"\p{L}", r"\w"), (r"\p{Z}", r"\s"), (r"\p{N}", r"\d"), (r"\p{Alnum}", "a-zA-Z0-9")):
        text = text.replace(java, python)
    try:
        return re.compile(text)
    except re.error:
        return None


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]


class Api:
    """Routes, reads and writes the messages of one service in one protocol."""

    def __init__(self, service: str, model: Any, protocol: str = "") -> None:
        self.service = service
        self.model = model
        self.protocol: str = protocol or getattr(model, "resolved_protocol", None) or model.metadata["protocol"]
        self.namespace: str = model.metadata.get("xmlNamespace", "")
        self._routes: dict[tuple[str, int], list[tuple[int, tuple[str | None, ...], tuple[str, ...], str]]] = {}
        if self.protocol.startswith("rest-"):
            for name in model.operation_names:
                http = model.operation_model(name).http
                self.add_route(http["method"], http["requestUri"], name)
        self.errors: dict[str, Any] = {shape.error_code: shape for shape in model.error_shapes}
        self.query_compatible = "awsQueryCompatible" in model.metadata
        """Whether errors carry the codes of the query protocol in a header of their own, beside the names of shapes."""

    # --- routing ---------------------------------------------------------------------------------------------------

    def add_route(self, method: str, uri: str, operation: str) -> None:
        """Let ``method uri`` reach an operation; also used for the older URIs that other SDK releases still send."""
        parts = [p for p in uri.partition("?")[0].split("/") if p]
        fixed = tuple(None if p.startswith("{") else p for p in parts)
        names = tuple(p[1:-1].rstrip("+") for p in parts if p.startswith("{"))
        routes = self._routes.setdefault((method, len(parts)), [])
        routes.append((len(names), fixed, names, operation))
        routes.sort(key=lambda r: r[0])

    def operation_of(self, request: Request) -> tuple[str, dict[str, str]]:
        """The operation that a request asks for, and the labels of its path.

        Raises: ApiError UnknownOperationException naming method and path.
        """
        if self.protocol.startswith("rest-"):
            parts = [unquote(p) for p in request.path.split("/") if p]
            for _, fixed, names, operation in self._routes.get((request.method, len(parts)), ()):
                if all(f is None or f == p for f, p in zip(fixed, parts, strict=True)):
                    values = [p for f, p in zip(fixed, parts, strict=True) if f is None]
                    return operation, dict(zip(names, values, strict=True))
            what = f"{request.method} {request.path}"
        elif self.protocol == "json":
            what = request.headers.get("x-amz-target", "").rpartition(".")[2]
            if what in self.model.operation_names:
                return what, {}
        elif self.protocol == cbor.PROTOCOL:
            what = request.path.rpartition("/operation/")[2]
            if what in self.model.operation_names:
                return what, {}
        else:
            form = dict(parse_qsl(request.body.decode(), keep_blank_values=True)) or dict(parse_qsl(request.query))
            what = form.get("Action", "")
            if what in self.model.operation_names:
                return what, {}
        code = "InvalidAction" if self.protocol == "query" else "UnknownOperationException"
        raise ApiError(code, f"{self.service} has no operation {what!r}", 404 if code != "InvalidAction" else 400)

    # --- requests --------------------------------------------------------------------------------------------------

    def parse(self, request: Request, operation: str, labels: Mapping[str, str]) -> Params:
        """The parameters of a request, not yet validated. Raises: ApiError on a malformed body."""
        shape = self.model.operation_model(operation).input_shape
        if shape is None:
            return {}
        try:
            if self.protocol == "query":
                pairs = parse_qsl(request.body.decode(), keep_blank_values=True)
                tree: dict[str, Any] = {}
                for key, value in pairs or parse_qsl(request.query, keep_blank_values=True):
                    _plant(tree, key.split("."), value)
                return _from_form(shape, tree)  # type: ignore[no-any-return]
            if self.protocol == "json":
                return _from_json(shape, json.loads(request.body or b"{}"))  # type: ignore[no-any-return]
            if self.protocol == cbor.PROTOCOL:
                return _from_json(shape, cbor.read(request.body))  # type: ignore[no-any-return]
            return self._parse_rest(shape, request, labels)
        except (ValueError, ElementTree.ParseError, TypeError, AttributeError) as error:
            code = "MalformedInput" if self.protocol == "rest-xml" else "SerializationException"
            raise ApiError(code, f"the request body does not fit {operation}: {error}", 400) from error

    def _parse_rest(self, shape: Any, request: Request, labels: Mapping[str, str]) -> Params:
        params: Params = {}
        query = [
            (unquote_plus(k), unquote_plus(v))
            for k, _, v in (pair.partition("=") for pair in request.query.split("&") if pair)
        ]
        body_members = {}
        for name, member in shape.members.items():
            where = member.serialization.get("location")
            wire = member.serialization.get("name", name)
            if where == "uri":
                if wire in labels:
                    params[name] = _scalar(member, labels[wire])
            elif where == "querystring":
                values = [v for k, v in query if k == wire]
                if values and member.type_name == "list":
                    params[name] = [_scalar(member.member, v) for v in values]
                elif values:
                    params[name] = _scalar(member, values[0])
            elif where == "header":
                if wire.lower() in request.headers:
                    params[name] = _scalar(member, request.headers[wire.lower()])
            else:
                body_members[name] = member
        if not request.body or not body_members:
            return params
        if self.protocol == "rest-json":
            document = json.loads(request.body)
            for name, member in body_members.items():
                wire = member.serialization.get("name", name)
                if document.get(wire) is not None:
                    params[name] = _from_json(member, document[wire])
        else:
            root = ElementTree.fromstring(request.body)
            params |= _from_xml_members(body_members, root)
        return params

    def validate(self, operation: str, params: Params) -> None:
        """Check parameters against the model. Raises: ApiError with all violations in AWS's wording."""
        shape = self.model.operation_model(operation).input_shape
        if shape is None:
            return
        found: list[str] = []
        _check(shape, params, "", found)
        if found:
            plural = "s" if len(found) > 1 else ""
            raise ApiError(
                VALIDATION_CODE.get(self.service, "ValidationException"),
                f"{len(found)} validation error{plural} detected: " + "; ".join(found),
                400,
            )

    def redact(self, operation: str, params: Params) -> Params:
        """The parameters with every member that the model calls sensitive replaced by ``(sensitive)``."""
        shape = self.model.operation_model(operation).input_shape
        return _redact(shape, params) if shape is not None else {}

    # --- answers ---------------------------------------------------------------------------------------------------

    def answer(self, operation: str, result: Mapping[str, Any], request_id: str) -> Response:
        """A result as HTTP; members that the output shape lacks are an error of ours and raise KeyError."""
        model = self.model.operation_model(operation)
        shape = model.output_shape
        status = model.http.get("responseCode", 200)
        headers = [("x-amzn-RequestId", request_id)]
        if shape is not None:
            unknown = set(result) - set(shape.members)
            if unknown:
                raise KeyError(f"{operation} has no output members {sorted(unknown)}")
            body_members = {}
            for name, member in shape.members.items():
                if member.serialization.get("location") == "header":
                    if result.get(name) is not None:
                        headers.append((member.serialization.get("name", name), str(result[name])))
                else:
                    body_members[name] = member
        if self.protocol == cbor.PROTOCOL:
            return Response(
                status, [*headers, *self._cbor_headers()], b"" if shape is None else cbor.write(shape, result)
            )
        if self.protocol in ("rest-json", "json"):
            kind = self._json_type()
            document = {} if shape is None else _json_members(body_members, result)
            body = json.dumps(document, separators=(",", ":")).encode()
        elif self.protocol == "rest-xml":
            kind = "text/xml"
            root = shape.name if shape is not None else operation + "Response"
            inner = "" if shape is None else _xml_members(body_members, result)
            space = "https://route53.amazonaws.com/doc/2013-04-01/"
            body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{space}">{inner}</{root}>'.encode()
        else:
            kind = "text/xml"
            inner = "" if shape is None else _xml_members(body_members, result)
            wrapper = None if shape is None else shape.serialization.get("resultWrapper")
            if wrapper:
                inner = f"<{wrapper}>{inner}</{wrapper}>"
            body = (
                f'<{operation}Response xmlns="{self.namespace}">{inner}<ResponseMetadata><RequestId>{request_id}'
                f"</RequestId></ResponseMetadata></{operation}Response>"
            ).encode()
        return Response(status, [*headers, ("Content-Type", kind)], body)

    def _json_type(self) -> str:
        version = self.model.metadata.get("jsonVersion", "1.1")
        return "application/json" if self.protocol == "rest-json" else f"application/x-amz-json-{version}"

    @staticmethod
    def _cbor_headers() -> tuple[tuple[str, str], ...]:
        return (cbor.HEADER, ("Content-Type", "application/cbor"))

    def error(self, error: ApiError, request_id: str) -> Response:
        """An error as HTTP, with the status of the model where the error names none."""
        shape = self.errors.get(error.code)
        modelled = shape.metadata.get("error", {}).get("httpStatusCode", 400) if shape is not None else 400
        status = error.status or modelled
        headers = [("x-amzn-RequestId", request_id)]
        name = error.code
        if self.query_compatible and self.protocol != "query":
            headers.append(("x-amzn-query-error", f"{error.code};{'Receiver' if status >= 500 else 'Sender'}"))
            name = shape.name if shape is not None else name
        if self.protocol == cbor.PROTOCOL:
            headers += self._cbor_headers()
            body = cbor.write_error(shape, name, error.message, error.members)
        elif self.protocol in ("rest-json", "json"):
            document = {"message": error.message, **error.members}
            if self.protocol == "json":
                document["__type"] = name
            headers += [("x-amzn-ErrorType", error.code), ("Content-Type", "application/json")]
            body = json.dumps(document).encode()
        else:
            space = self.namespace or "https://route53.amazonaws.com/doc/2013-04-01/"
            side = "Receiver" if status >= 500 else "Sender"
            headers.append(("Content-Type", "text/xml"))
            body = (
                f'<?xml version="1.0"?>\n<ErrorResponse xmlns="{space}"><Error><Type>{side}</Type>'
                f"<Code>{escape(error.code)}</Code><Message>{_text(error.message)}</Message></Error>"
                f"<RequestId>{request_id}</RequestId></ErrorResponse>"
            ).encode()
        return Response(status, headers, body, error.code)


# --- reading -------------------------------------------------------------------------------------------------------


def parse_time(value: Any) -> datetime:
    """A timestamp from the wire: epoch seconds or ISO 8601, as a time in UTC. Raises: ValueError."""
    if isinstance(value, int | float) or re.fullmatch(r"-?\d+(\.\d+)?", str(value)):
        return datetime.fromtimestamp(float(value), UTC)
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _scalar(shape: Any, value: Any) -> Any:
    """A value from text (query string, path, form, XML) by its shape."""
    kind = shape.type_name
    if kind in ("integer", "long"):
        return int(value)
    if kind in ("float", "double"):
        return float(value)
    if kind == "boolean":
        return str(value).lower() == "true"
    if kind == "timestamp":
        return parse_time(value)
    if kind == "blob":
        return base64.b64decode(value)
    return value


def _plant(tree: dict[str, Any], path: list[str], value: str) -> None:
    """Put ``a.member.1.b=value`` of a form into a tree of dicts."""
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _from_form(shape: Any, node: Any) -> Any:
    if shape.type_name == "structure":
        found = {}
        for name, member in shape.members.items():
            wire = member.serialization.get("name", name)
            if wire in node:
                found[name] = _from_form(member, node[wire])
        return found
    if shape.type_name == "list":
        if not isinstance(node, dict):
            return [] if node == "" else [_from_form(shape.member, node)]
        if not shape.serialization.get("flattened"):
            node = node.get(shape.member.serialization.get("name", "member"), {})
        return [_from_form(shape.member, node[key]) for key in sorted(node, key=int)] if node else []
    if shape.type_name == "map":
        entries = node if shape.serialization.get("flattened") else node.get("entry", {})
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        return {e[key_name]: _from_form(shape.value, e[value_name]) for _, e in sorted(entries.items())}
    return _scalar(shape, node)


def _from_json(shape: Any, node: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(node, dict):
            raise ValueError(f"{shape.name} is not an object")
        found = {}
        for name, member in shape.members.items():
            wire = member.serialization.get("name", name)
            if node.get(wire) is not None:
                found[name] = _from_json(member, node[wire])
        return found
    if kind == "list":
        if not isinstance(node, list):
            raise ValueError(f"{shape.name} is not a list")
        return [_from_json(shape.member, item) for item in node]
    if kind == "map":
        return {key: _from_json(shape.value, item) for key, item in node.items()}
    if kind == "timestamp":
        return node if isinstance(node, datetime) else parse_time(node)
    if kind == "blob":
        return node if isinstance(node, bytes) else base64.b64decode(node)
    if kind == "string" and not isinstance(node, str):
        raise ValueError(f"{shape.name} is not a string")
    if kind == "boolean" and not isinstance(node, bool):
        raise ValueError(f"{shape.name} is not true or false")
    return node


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _from_xml(shape: Any, element: ElementTree.Element) -> Any:
    if shape.type_name == "structure":
        return _from_xml_members(shape.members, element)
    if shape.type_name == "list":
        return [_from_xml(shape.member, child) for child in element]
    return _scalar(shape, element.text or "")


def _from_xml_members(members: Mapping[str, Any], element: ElementTree.Element) -> Params:
    children = {_local(child): child for child in element}
    found = {}
    for name, member in members.items():
        child = children.get(member.serialization.get("name", name))
        if child is not None:
            found[name] = _from_xml(member, child)
    return found


# --- checking ------------------------------------------------------------------------------------------------------


def _check(shape: Any, value: Any, path: str, found: list[str]) -> None:
    """Append one line per violated constraint, in the words of AWS's front ends."""

    def fail(constraint: str) -> None:
        shown = "" if shape.metadata.get("sensitive") or not isinstance(value, str) else f" '{value}'"
        found.append(f"Value{shown} at '{path}' failed to satisfy constraint: Member must {constraint}")

    kind, rules = shape.type_name, shape.metadata
    if kind == "structure":
        for name in shape.required_members:
            if name not in value:
                where = f"{path}.{_lower_first(name)}" if path else _lower_first(name)
                found.append(f"Value at '{where}' failed to satisfy constraint: Member must not be null")
        for name, item in value.items():
            _check(shape.members[name], item, f"{path}.{_lower_first(name)}" if path else _lower_first(name), found)
        return
    if kind == "list":
        for index, item in enumerate(value, 1):
            _check(shape.member, item, f"{path}.{index}.member", found)
    elif kind == "map":
        for key, item in value.items():
            _check(shape.key, key, path, found)
            _check(shape.value, item, f"{path}.{key}", found)
    low, high = rules.get("min"), rules.get("max")
    if kind in ("string", "list", "map", "blob"):
        if low is not None and len(value) < low:
            fail(f"have length greater than or equal to {low}")
        if high is not None and len(value) > high:
            fail(f"have length less than or equal to {high}")
    elif kind in ("integer", "long", "float", "double"):
        if low is not None and value < low:
            fail(f"have value greater than or equal to {low}")
        if high is not None and value > high:
            fail(f"have value less than or equal to {high}")
    if kind == "string":
        allowed = rules.get("enum")
        if allowed and value not in allowed:
            fail(f"satisfy enum value set: [{', '.join(allowed)}]")
        pattern = _pattern(rules["pattern"]) if "pattern" in rules else None
        if pattern is not None and not pattern.fullmatch(value):
            fail(f"satisfy regular expression pattern: {rules['pattern']}")


def _redact(shape: Any, value: Any) -> Any:
    if shape.metadata.get("sensitive"):
        return "(sensitive)"
    if shape.type_name == "structure":
        return {name: _redact(shape.members[name], item) for name, item in value.items()}
    if shape.type_name == "list":
        return [_redact(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: _redact(shape.value, item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    return value


# --- writing -------------------------------------------------------------------------------------------------------


def _json_members(members: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        member.serialization.get("name", name): _to_json(member, value[name])
        for name, member in members.items()
        if value.get(name) is not None
    }


def _to_json(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _json_members(shape.members, value)
    if kind == "list":
        return [_to_json(shape.member, item) for item in value]
    if kind == "map":
        return {key: _to_json(shape.value, item) for key, item in value.items()}
    if kind == "timestamp":
        return round(value.timestamp(), 3)
    if kind == "blob":
        return base64.b64encode(value).decode()
    return value


_XML_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


def _text(value: str) -> str:
    return escape(_XML_FORBIDDEN.sub("?", value), {"\r": "&#13;"})


def _xml_members(members: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    return "".join(
        _to_xml(member, member.serialization.get("name", name), value[name])
        for name, member in members.items()
        if value.get(name) is not None
    )


def _to_xml(shape: Any, tag: str, value: Any) -> str:
    kind = shape.type_name
    if kind == "structure":
        return f"<{tag}>{_xml_members(shape.members, value)}</{tag}>"
    if kind == "list":
        if shape.serialization.get("flattened"):
            return "".join(_to_xml(shape.member, shape.member.serialization.get("name", tag), v) for v in value)
        inner = shape.member.serialization.get("name", "member")
        return f"<{tag}>{''.join(_to_xml(shape.member, inner, v) for v in value)}</{tag}>"
    if kind == "map":
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        entries = "".join(
            f"<entry>{_to_xml(shape.key, key_name, k)}{_to_xml(shape.value, value_name, v)}</entry>"
            for k, v in value.items()
        )
        return f"<{tag}>{entries}</{tag}>"
    if kind == "timestamp":
        text = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    elif kind == "boolean":
        text = "true" if value else "false"
    elif kind == "blob":
        text = base64.b64encode(value).decode()
    else:
        text = _text(str(value))
    return f"<{tag}>{text}</{tag}>"


def page(items: Iterable[Any], token: str | None, size: int | None, limit: int) -> tuple[list[Any], str | None]:
    """One page of a list: the items and the next token, None on the last page.

    ``size`` is what the caller asked for, ``limit`` the service's maximum. Tokens are opaque to callers.
    Raises: ApiError InvalidNextTokenException.
    """
    every = list(items)
    start = 0
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("offset:"))
        except ValueError as error:
            raise ApiError("InvalidNextTokenException", "The specified request includes an invalid token.") from error
    end = start + min(size or limit, limit)
    following = base64.urlsafe_b64encode(f"offset:{end}".encode()).decode() if end < len(every) else None
    return every[start:end], following
