"""Passwords: users' login profiles and the account's rules for them. There is no console to log in to; the rules are held all the same."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import find
from dewfall.services.iam.users import user_name
from dewfall.services.registry import operation

ROUNDS = 100_000
SWITCHES = ("RequireSymbols", "RequireNumbers", "RequireUppercaseCharacters", "RequireLowercaseCharacters", "AllowUsersToChangePassword")
SYMBOLS = "!@#$%^&*()_+-=[]{}|'"
NEEDS = {
    "RequireSymbols": (SYMBOLS, "Password should have at least one symbol"),
    "RequireNumbers": (string.digits, "Password should have at least one number"),
    "RequireUppercaseCharacters": (string.ascii_uppercase, "Password should have at least one uppercase letter"),
    "RequireLowercaseCharacters": (string.ascii_lowercase, "Password should have at least one lowercase letter"),
}


def _profile_key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, "", "iam", "login-profile", name)


def _hashed(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(salt), ROUNDS).hex()


def _check(tx: Tx, ctx: Ctx, password: str) -> None:
    record = tx.records.get(_rules_key(ctx))
    if record is None:
        return
    rules = record.document
    problems = [text for name, (wanted, text) in NEEDS.items() if rules[name] and not set(password) & set(wanted)]
    if len(password) < rules["MinimumPasswordLength"]:
        problems.insert(0, f"Password should have a minimum length of {rules['MinimumPasswordLength']}")
    if problems:
        raise AwsError("PasswordPolicyViolation", problems[0], status=400)


def _profile(tx: Tx, ctx: Ctx, name: str) -> Record:
    find(tx, ctx, "user", name)
    record = tx.records.get(_profile_key(ctx, name))
    if record is None:
        raise AwsError("NoSuchEntity", f"Login Profile for User {name} cannot be found.", status=404)
    return record


def _set(record: Record, password: str) -> None:
    salt = secrets.token_hex(16)
    record.document |= {"_salt": salt, "_password": _hashed(password, salt)}


@operation("iam", "CreateLoginProfile", records=True)
def create_login_profile(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        name = user_name(ctx, req)
        find(tx, ctx, "user", name)
        if tx.records.get(_profile_key(ctx, name)):
            raise AwsError("EntityAlreadyExists", f"Login Profile for user {name} already exists.", status=409)
        if req.get("Password"):
            _check(tx, ctx, req["Password"])
        document = {"UserName": name, "CreateDate": ctx.now().replace(microsecond=0)}
        document["PasswordResetRequired"] = bool(req.get("PasswordResetRequired"))
        record = Record(_profile_key(ctx, name), document, parent=name)
        _set(record, req.get("Password") or secrets.token_urlsafe(20))
        tx.records.create(record)
    return {"LoginProfile": record.document}


@operation("iam", "GetLoginProfile", records=True)
def get_login_profile(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"LoginProfile": _profile(tx, ctx, user_name(ctx, req)).document}


@operation("iam", "UpdateLoginProfile", records=True)
def update_login_profile(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _profile(tx, ctx, req["UserName"])
        if req.get("Password"):
            _check(tx, ctx, req["Password"])
            _set(record, req["Password"])
        if "PasswordResetRequired" in req:
            record.document["PasswordResetRequired"] = req["PasswordResetRequired"]
        tx.records.save(record)


@operation("iam", "DeleteLoginProfile", records=True)
def delete_login_profile(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_profile(tx, ctx, user_name(ctx, req)).key)


@operation("iam", "ChangePassword", records=True)
def change_password(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _profile(tx, ctx, user_name(ctx, {}))
        if not hmac.compare_digest(_hashed(req["OldPassword"], record.document["_salt"]), record.document["_password"]):
            raise AwsError("AccessDenied", "The old password was incorrect.", status=403)
        _check(tx, ctx, req["NewPassword"])
        _set(record, req["NewPassword"])
        tx.records.save(record)


# ---------------------------------------------------------------- the account's rules


def _rules_key(ctx: Ctx) -> Key:
    return Key(ctx.account, "", "iam", "password-policy", "policy")


@operation("iam", "UpdateAccountPasswordPolicy", records=True)
def update_account_password_policy(ctx: Ctx, req: dict[str, Any]) -> None:
    rules: dict[str, Any] = {name: bool(req.get(name)) for name in SWITCHES}
    rules |= {"MinimumPasswordLength": req.get("MinimumPasswordLength", 6)}
    rules |= {"ExpirePasswords": bool(req.get("MaxPasswordAge"))}
    rules |= {name: req[name] for name in ("HardExpiry", "MaxPasswordAge", "PasswordReusePrevention") if req.get(name)}
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_rules_key(ctx))
        tx.records.create(Record(_rules_key(ctx), rules))


@operation("iam", "GetAccountPasswordPolicy", records=True)
def get_account_password_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(_rules_key(ctx))
    if record is None:
        raise AwsError("NoSuchEntity", f"The Password Policy with domain name {ctx.account} cannot be found.", status=404)
    return {"PasswordPolicy": record.document}


@operation("iam", "DeleteAccountPasswordPolicy", records=True)
def delete_account_password_policy(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        if tx.records.get(_rules_key(ctx)) is None:
            raise AwsError("NoSuchEntity", "The account policy with name PasswordPolicy cannot be found.", status=404)
        tx.records.delete(_rules_key(ctx))
