"""Composite alarms: alarms over the states of others."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.rules.alarm_rules import alarms_in, compile_rule
from dewfall.services.cloudwatch.alarm_states import alarm_key
from dewfall.services.cloudwatch.alarms import save_alarm
from dewfall.services.cloudwatch.faults import invalid
from dewfall.services.registry import operation


@operation("cloudwatch", "PutCompositeAlarm")
def put_composite_alarm(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    periods = [name for name in ("ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod") if req.get(name) is not None]
    if bool(req.get("ActionsSuppressor")) != bool(periods) or len(periods) == 1:
        raise invalid("ActionsSuppressor, ActionsSuppressorWaitPeriod and ActionsSuppressorExtensionPeriod must be specified together.")
    try:
        compile_rule(req["AlarmRule"])
    except ValueError as error:
        raise invalid(f"Error in AlarmRule: {error}") from None
    _check_alarms(ctx, req)
    document = {name: req[name] for name in ("AlarmName", "AlarmDescription", "AlarmRule", "ActionsSuppressor", *periods) if name in req}
    save_alarm(ctx, document | {"AlarmType": "CompositeAlarm"}, req)
    return {}


def _check_alarms(ctx: Ctx, req: dict[str, Any]) -> None:
    """What a rule looks at must be there."""
    with ctx.ports.store.reading() as tx:
        absent = [name for name in alarms_in(req["AlarmRule"]) if tx.records.get(alarm_key(ctx, name.rsplit(":alarm:", 1)[-1])) is None]
    if absent:
        raise invalid(f"Could not save the composite alarm as alarms [{', '.join(absent)}] in the alarm rule do not exist")
