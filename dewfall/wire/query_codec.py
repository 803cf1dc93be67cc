"""Form bodies → plain values, by shape: the requests of query and ec2."""

from __future__ import annotations

from typing import Any

from dewfall.errors import AwsError
from dewfall.wire import xml_codec


class Form:
    """Form fields with the names that have something below them and the numbers there, so that presence is one look-up."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        self.prefixes: dict[str, set[int]] = {}
        for name in fields:
            end = name.find(".")
            while end >= 0:
                following = name.find(".", end + 1)
                part = name[end + 1 : following if following >= 0 else None]
                numbers = self.prefixes.setdefault(name[:end], set())
                if part.isdecimal() and len(part) < 10:
                    numbers.add(int(part))
                end = following

    def holds(self, name: str) -> bool:
        """Whether there is a field of this name or below it."""
        return name in self.fields or name in self.prefixes


def read(shape: Any, form: Form, protocol: str) -> dict[str, Any]:
    """The whole input structure."""
    found: dict[str, Any] = _structure(shape, form, "", protocol)
    return found


def _value(shape: Any, form: Form, name: str, protocol: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, form, name, protocol)
    if kind == "list":
        return _list(shape, form, name, protocol)
    if kind == "map":
        return _map(shape, form, name, protocol)
    try:
        return xml_codec.scalar(shape, form.fields.get(name, ""))
    except AwsError:
        raise AwsError("MalformedInput", f"Invalid value {form.fields.get(name, '')!r} for {name}: expected {kind}", status=400) from None


def _structure(shape: Any, form: Form, prefix: str, protocol: str) -> dict[str, Any]:
    found = {}
    for name, member in shape.members.items():
        key = f"{prefix}.{_member(name, member, protocol)}" if prefix else _member(name, member, protocol)
        if form.holds(key):
            found[name] = _value(member, form, key, protocol)
    return found


def _member(name: str, member: Any, protocol: str) -> str:
    setting = member.serialization
    if protocol == "ec2":
        return str(setting.get("queryName") or _capital(setting.get("name", name)))
    if member.type_name == "list" and setting.get("flattened"):
        return str(member.member.serialization.get("name") or setting.get("name", name))
    return str(setting.get("name", name))


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _list(shape: Any, form: Form, name: str, protocol: str) -> list[Any]:
    if form.fields.get(name) == "" and name not in form.prefixes:
        return []
    base = name
    if protocol != "ec2" and not shape.serialization.get("flattened"):
        base = next((b for b in (f"{name}.{shape.member.serialization.get('name', 'member')}", f"{name}.member") if b in form.prefixes), name)
    return [_value(shape.member, form, f"{base}.{i}", protocol) for i in _numbers(form, base)]


def _map(shape: Any, form: Form, name: str, protocol: str) -> dict[str, Any]:
    base = name if shape.serialization.get("flattened") or f"{name}.entry" not in form.prefixes else f"{name}.entry"
    key, value = shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")
    return {form.fields.get(f"{base}.{i}.{key}", ""): _value(shape.value, form, f"{base}.{i}.{value}", protocol) for i in _numbers(form, base)}


def _numbers(form: Form, base: str) -> list[int]:
    return sorted(form.prefixes.get(base, ()))
