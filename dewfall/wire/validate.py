"""Parameters against the model's constraints: required, enum, length, range, pattern, in AWS's own words.

    1 validation error detected: Value 'a_b' at 'tags.1.member.key' failed to satisfy constraint: Member must …

Each shape is turned into a check once; a shape without constraints anywhere below costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sized
from typing import Any

from dewfall.errors import AwsError
from dewfall.wire import models
from dewfall.wire.faults import error_shapes
from dewfall.wire.patterns import compiled

# A violated constraint: path, value as shown, what must hold.
Violation = tuple[str, Any, str]
Check = Callable[[Any, str, list[Violation]], None]

_SECRET: Any = object()  # stands for a value that no message may show
LONGEST_MATCHED = 100_000
SHOWN = 1024
# Services that answer unknown enum values in words of their own, from their operations.
NO_ENUMS = frozenset({"s3", "s3control", "sqs", "sns", "ec2"})
# Services whose models' lengths and patterns are not what they enforce.
REQUIRED_ONLY = frozenset({"s3", "s3control", "sqs", "sns", "ec2"})
CODES = {"logs": "InvalidParameterException", "ecr": "InvalidParameterException", "cloudwatch": "ValidationError"}
# Enums that AWS lists in another order than its models do.
_ORDERS = (
    ("INSUFFICIENT_DATA", "ALARM", "OK"),
    ("PredictiveScaling", "StepScaling", "TargetTrackingScaling"),
    ("HEAD", "POST", "PATCH", "DELETE", "PUT", "GET", "OPTIONS"),
)
ENUM_ORDERS = {frozenset(names): names for names in _ORDERS}
# Lists that say of their members what every list's members are.
NO_NULLS = frozenset({"tagKeyListType"})
IAM_NAME = "[\\w+=,.@-]+"
# Services that print structures with their names, and what their own have that the model doesn't show.
PRINTS = frozenset({"events", "logs"})
HIDDEN = {"PutEventsRequestEntry": ("kmsKeyIdentifier", "internalMetadata")}
# Services that don't repeat the value that they refuse, nor tell which they would take.
SILENT = frozenset({"iam"})
IAM_PATHS = ("(\\u002F)|(\\u002F[\\u0021-\\u007E]+\\u002F)", "((/[A-Za-z0-9\\.,\\+@=_-]+)*)/")
# Where several members are refused, the order in which IAM names them; it is not the model's.
IAM_ORDER = ("clientIDList", "thumbprintList", "url", "minimumPasswordLength", "passwordReusePrevention", "maxPasswordAge")


def validate(service: str, operation: str, params: dict[str, Any]) -> None:
    """Raise what AWS answers to parameters that break the model's constraints."""
    check = _check_of_operation(service, operation)
    if check is None:
        return
    broken: list[Violation] = []
    check(params, "", broken)
    if broken:
        raise refusal(service, broken)


def refusal(service: str, broken: list[Violation]) -> AwsError:
    """The error for violated constraints, in the service's words."""
    path, _, rule = broken[0]
    if service in ("s3", "s3control"):
        return _refusal_of_s3(path)
    if service == "sqs":
        return AwsError("MissingParameter", f"The request must contain the parameter {path[:1].upper() + path[1:]}.", status=400)
    if service == "ecr":
        text = rule if "enum" in rule else rule.removeprefix("Member ")
        if "pattern: " in text:
            text = text.replace("expression pattern: ", "expression '") + "'"
        return AwsError(CODES[service], f"Invalid parameter at '{path}' failed to satisfy constraint: '{text}'", status=400)
    if service == "iam" and rule.endswith(f": {IAM_NAME}"):
        message = f"The specified value for {path} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
        return AwsError("ValidationError", message, status=400)
    if service == "iam" and path == "path" and rule.endswith(IAM_PATHS):
        message = (
            f"The specified value for {path} is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."
        )
        return AwsError("ValidationError", message, status=400)
    if service in SILENT:
        told = [(p, _SECRET, r.partition(": [")[0] if "enum value set" in r else r) for p, _, r in broken]
        broken = sorted(told, key=lambda v: IAM_ORDER.index(v[0]) if v[0] in IAM_ORDER else 0)
    if service == "logs" and path in ("logGroupName", "logStreamName") and rule.endswith("less than or equal to 512"):
        return AwsError(CODES[service], "Invalid LogGroup or LogStream, both must have length less than or equal to 512.", status=400)
    many = f"{len(broken)} validation error{'s' if len(broken) > 1 else ''} detected: "
    return AwsError(_code(service), many + "; ".join(_sentence(*violation) for violation in broken), status=400)


def _refusal_of_s3(path: str) -> AwsError:
    if path in ("delete", "multipartUpload", "createBucketConfiguration") or "." in path:
        return AwsError("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema", status=400)
    if path == "policy":
        return AwsError("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'", status=400)
    if path.endswith(("Configuration", "tagging", "accessControlPolicy", "bucketLoggingStatus", "ownershipControls")):
        return AwsError("MissingRequestBodyError", "Request Body is empty", status=400)
    return AwsError("InvalidArgument", f"Missing required parameter: {path[:1].upper() + path[1:]}", status=400)


@functools.cache
def _code(service: str) -> str:
    if service in CODES:
        return CODES[service]
    named = error_shapes(service)
    spoken = models.protocols(service)
    fallback = "ValidationError" if "query" in spoken else "ValidationException"
    return next((code for code in ("ValidationException", "ValidationError") if code in named), fallback)


def _sentence(path: str, value: Any, rule: str) -> str:
    if value is _SECRET:
        return f"Value at '{path}' failed to satisfy constraint: {rule}"
    shown = "null" if value is None else f"'{_java(value)}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {rule}"


class _Printed(str):
    """A value that is text already, as long as it is."""

    __slots__ = ()


def _printed(items: list[Any], shape: Any) -> str:
    """A list of structures as these services print them: every member by name, null where it was not given."""
    hidden = "".join(f", {name}=null" for name in HIDDEN.get(shape.name, ()))
    shown = []
    for item in items:
        members = (f"{_camel(name)}={'null' if item.get(name) is None else _java(item[name])}" for name in shape.members)
        shown.append(f"{shape.name}({', '.join(members)}{hidden})")
    text = f"[{', '.join(shown)}]"
    return _Printed(text) if hidden else text


def _java(value: Any) -> str:
    """A value as Java would print it."""
    if isinstance(value, _Printed):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        text = "[" + ", ".join(_java(item) for item in value) + "]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key}={_java(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, bytes):
        text = f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    else:
        text = str(value)
    return text[:SHOWN]


# ---------------------------------------------------------------- checks


@functools.cache
def _check_of_operation(service: str, operation: str) -> Check | None:
    model = models.operation_model(service, operation)
    if model is None or model.input_shape is None:
        return None
    return _Builder(service).check(model.input_shape)


class _Builder:
    """Turns shapes into checks; shapes that contain themselves get a check that is looked up when it runs."""

    def __init__(self, service: str) -> None:
        self.enums = service not in NO_ENUMS
        self.values = service not in REQUIRED_ONLY
        self.prints = service in PRINTS
        self.made: dict[str, Check | None] = {}
        self.making: set[str] = set()

    def check(self, shape: Any) -> Check | None:
        name = shape.name
        if name in self.made:
            return self.made[name]
        if name in self.making:
            return lambda value, path, broken: self._later(name, value, path, broken)
        self.making.add(name)
        made = self._make(shape)
        self.making.discard(name)
        self.made[name] = made
        return made

    def _later(self, name: str, value: Any, path: str, broken: list[Violation]) -> None:
        check = self.made.get(name)
        if check is not None:
            check(value, path, broken)

    def _make(self, shape: Any) -> Check | None:
        kind = shape.type_name
        if kind == "structure":
            return self._structure(shape)
        if kind == "list":
            return self._list(shape)
        if kind == "map":
            return self._map(shape)
        rules = self.rules(shape)
        if not rules:
            return None
        secret = bool(shape.metadata.get("sensitive"))

        def scalar(value: Any, path: str, broken: list[Violation]) -> None:
            for holds, rule in rules:
                if not holds(value):
                    broken.append((path, _SECRET if secret else value, rule))

        return scalar

    def _structure(self, shape: Any) -> Check | None:
        required = tuple((name, _camel(name)) for name in shape.required_members if name in shape.members)
        checked = tuple((name, _camel(name), check) for name, member in shape.members.items() if (check := self.check(member)) is not None)
        if not required and not checked:
            return None

        def structure(value: Any, path: str, broken: list[Violation]) -> None:
            if not isinstance(value, dict):
                return
            start = f"{path}." if path else ""
            for name, shown in required:
                if value.get(name) is None:
                    broken.append((start + shown, None, "Member must not be null"))
            for name, shown, check in checked:
                if value.get(name) is not None:
                    check(value[name], start + shown, broken)

        return structure

    def _list(self, shape: Any) -> Check | None:
        own = self.rules(shape)
        simple = shape.member.type_name not in ("structure", "list", "map")
        item_rules = self.rules(shape.member) if simple else ()
        check = None if simple else self.check(shape.member)
        if not own and not item_rules and check is None:
            return None
        told = [rule for _, rule in item_rules] + (["Member must not be null"] if shape.name in NO_NULLS else [])
        wanted = f"Member must satisfy constraint: [{', '.join(told)}]"
        printed = self.prints and shape.member.type_name == "structure"

        def items(value: Any, path: str, broken: list[Violation]) -> None:
            if not isinstance(value, list):
                return
            failed = [rule for holds, rule in own if not holds(value)]
            if failed:
                shown = _printed(value, shape.member) if printed and all(isinstance(item, dict) for item in value) else value
                broken.extend((path, shown, rule) for rule in failed)
            if item_rules and not all(holds(item) for item in value for holds, _ in item_rules):
                broken.append((path, value, wanted))
            if check is not None:
                for number, item in enumerate(value, 1):
                    check(item, f"{path}.{number}.member", broken)

        return items

    def _map(self, shape: Any) -> Check | None:
        own, key_rules = self.rules(shape), self.rules(shape.key)
        simple = shape.value.type_name not in ("structure", "list", "map")
        value_rules = self.rules(shape.value) if simple else ()
        check = None if simple else self.check(shape.value)
        if not own and not key_rules and not value_rules and check is None:
            return None
        keys_wanted = f"Map keys must satisfy constraint: [{', '.join(rule for _, rule in key_rules)}]"
        values_wanted = f"Map value must satisfy constraint: [{', '.join(rule for _, rule in value_rules)}]"

        def entries(value: Any, path: str, broken: list[Violation]) -> None:
            if not isinstance(value, dict):
                return
            broken.extend((path, value, rule) for holds, rule in own if not holds(value))
            if key_rules and not all(holds(key) for key in value for holds, _ in key_rules):
                broken.append((path, value, keys_wanted))
            if value_rules and not all(holds(item) for item in value.values() for holds, _ in value_rules):
                broken.append((path, value, values_wanted))
            if check is not None:
                for key, item in value.items():
                    check(item, f"{path}.{key}.member", broken)

        return entries

    def rules(self, shape: Any) -> tuple[tuple[Callable[[Any], bool], str], ...]:
        """A shape's own constraints, as tests with what they say."""
        if not self.values:
            return ()
        found: list[tuple[Callable[[Any], bool], str]] = []
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        number = shape.type_name in ("integer", "long", "float", "double")
        noun, measure = ("value", _number) if number else ("length", _length)
        if high is not None:
            found.append((functools.partial(_at_most, measure, high), f"Member must have {noun} less than or equal to {high}"))
        if low is not None and (number or low > 0):
            found.append((functools.partial(_at_least, measure, low), f"Member must have {noun} greater than or equal to {low}"))
        pattern = shape.metadata.get("pattern")
        engine = compiled(pattern) if pattern and shape.type_name == "string" else None
        if engine is not None:
            found.append((functools.partial(_matches, engine), f"Member must satisfy regular expression pattern: {pattern}"))
        if self.enums and shape.type_name == "string" and shape.enum:
            values = frozenset(shape.enum)
            shown = ENUM_ORDERS.get(values, shape.enum)
            found.append((values.__contains__, f"Member must satisfy enum value set: [{', '.join(shown)}]"))
        return tuple(found)


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _length(value: Any) -> float | None:
    """Length as Java counts it: UTF-16 units of a text, bytes of a blob, entries of a collection."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass")) // 2
    return len(value) if isinstance(value, Sized) else None


def _at_most(measure: Callable[[Any], float | None], limit: float, value: Any) -> bool:
    size = measure(value)
    return size is None or size <= limit


def _at_least(measure: Callable[[Any], float | None], limit: float, value: Any) -> bool:
    size = measure(value)
    return size is None or size >= limit


def _matches(engine: Any, value: Any) -> bool:
    return not isinstance(value, str) or len(value) > LONGEST_MATCHED or engine.fullmatch(value) is not None
