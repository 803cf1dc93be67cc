"""The account as a whole: its alias, its counts and quotas, everything that is in it, and the report of credentials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.common import page
from dewfall.services.iam.access_keys import KEYS_LIMIT
from dewfall.services.iam.entities import encoded
from dewfall.services.iam.instance_profiles import shown as shown_profile
from dewfall.services.iam.policies import find_policy, managed, policy_name
from dewfall.services.iam.roles import shown as shown_role
from dewfall.services.registry import operation

LISTS = {"User": "UserDetailList", "Group": "GroupDetailList", "Role": "RoleDetailList"}
POLICIES = ("LocalManagedPolicy", "AWSManagedPolicy")
COUNTED = {
    "Users": "user",
    "Groups": "group",
    "Roles": "role",
    "Policies": "policy",
    "InstanceProfiles": "instance-profile",
    "MFADevices": "virtual-mfa-device",
    "MFADevicesInUse": "mfa-device",
    "ServerCertificates": "server-certificate",
}
QUOTAS = {
    "AccessKeysPerUserQuota": KEYS_LIMIT,
    "AssumeRolePolicySizeQuota": 2048,
    "AttachedPoliciesPerGroupQuota": 10,
    "AttachedPoliciesPerRoleQuota": 10,
    "AttachedPoliciesPerUserQuota": 10,
    "GroupPolicySizeQuota": 5120,
    "GroupsPerUserQuota": 10,
    "GroupsQuota": 300,
    "InstanceProfilesQuota": 1000,
    "PoliciesQuota": 1500,
    "PolicySizeQuota": 6144,
    "PolicyVersionsInUseQuota": 10000,
    "RolePolicySizeQuota": 10240,
    "RolesQuota": 1000,
    "ServerCertificatesQuota": 20,
    "SigningCertificatesPerUserQuota": 2,
    "UserPolicySizeQuota": 2048,
    "UsersQuota": 5000,
    "VersionsPerPolicyQuota": 5,
}
FIXED = {
    "AccountAccessKeysPresent": 0,
    "AccountMFAEnabled": 0,
    "AccountPasswordPresent": 0,
    "AccountSigningCertificatesPresent": 0,
    "GlobalEndpointTokenVersion": 1,
}
COLUMNS = [
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    "access_key_1_active",
    "access_key_1_last_rotated",
    "access_key_1_last_used_date",
    "access_key_1_last_used_region",
    "access_key_1_last_used_service",
    "access_key_2_active",
    "access_key_2_last_rotated",
    "access_key_2_last_used_date",
    "access_key_2_last_used_region",
    "access_key_2_last_used_service",
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
]


def _alias_key(ctx: Ctx) -> Key:
    return Key(ctx.account, "", "iam", "account-alias", "alias")


@operation("iam", "CreateAccountAlias")
def create_account_alias(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_alias_key(ctx))
        tx.records.create(Record(_alias_key(ctx), {"AccountAlias": req["AccountAlias"]}))


@operation("iam", "DeleteAccountAlias")
def delete_account_alias(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(_alias_key(ctx))
        if record is None or record.document["AccountAlias"] != req["AccountAlias"]:
            raise AwsError("NoSuchEntity", f"The account alias with name {req['AccountAlias']} cannot be found.", status=404)
        tx.records.delete(record.key)


@operation("iam", "ListAccountAliases")
def list_account_aliases(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(_alias_key(ctx))
    return {"AccountAliases": [record.document["AccountAlias"]] if record else [], "IsTruncated": False}


@operation("iam", "GetAccountSummary")
def get_account_summary(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        found = {name: tx.records.list(ctx.account, "", "iam", kind) for name, kind in COUNTED.items()}
        providers = sum(len(tx.records.list(ctx.account, "", "iam", kind)) for kind in ("oidc-provider", "saml-provider"))
    attached = sum(len(r.document["_attached"]) for kind in ("Users", "Groups", "Roles") for r in found[kind])
    counts = {name: len(records) for name, records in found.items()}
    return {"SummaryMap": counts | {"Providers": providers, "PolicyVersionsInUse": attached} | QUOTAS | FIXED}


# ---------------------------------------------------------------- everything


@operation("iam", "GetAccountAuthorizationDetails")
def get_account_authorization_details(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    wanted = req.get("Filter") or [*LISTS, *POLICIES]
    with ctx.ports.store.reading() as tx:
        items = [item for kind in wanted for item in _details(tx, ctx, kind)]
    taken, token = page(items, req, key=lambda i: str(i[1]["Arn"]), limit_member="MaxItems", token_member="Marker", default=1000)
    answer: dict[str, Any] = {member: [] for member in (*LISTS.values(), "Policies")}
    for member, item in taken:
        answer[member].append(item)
    return answer | {"IsTruncated": token is not None} | ({"Marker": token} if token else {})


def _details(tx: Tx, ctx: Ctx, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if kind in LISTS:
        for record in tx.records.list(ctx.account, "", "iam", kind.lower()):
            yield LISTS[kind], _entity(tx, ctx, kind, record.document)
        return
    own = [r.key.name for r in tx.records.list(ctx.account, "", "iam", "policy")]
    for arn in own if kind == "LocalManagedPolicy" else managed():
        yield "Policies", _policy(find_policy(tx, ctx, arn))


def _entity(tx: Tx, ctx: Ctx, kind: str, document: dict[str, Any]) -> dict[str, Any]:
    inline = [{"PolicyName": name, "PolicyDocument": encoded(text)} for name, text in document["_inline"].items()]
    attached = [{"PolicyName": policy_name(arn), "PolicyArn": arn} for arn in document["_attached"]]
    more: dict[str, Any] = {f"{kind}PolicyList": inline, "AttachedManagedPolicies": attached}
    if kind == "User":
        more["GroupList"] = document["_groups"]
    if kind == "Role":
        profiles = tx.records.list(ctx.account, "", "iam", "instance-profile")
        more["InstanceProfileList"] = [shown_profile(tx, ctx, p.document) for p in profiles if document["RoleName"] in p.document["_roles"]]
        document = shown_role(document)
    return document | more


def _policy(policy: dict[str, Any]) -> dict[str, Any]:
    versions = [
        {"VersionId": n, "IsDefaultVersion": n == policy["DefaultVersionId"], "Document": encoded(v["Document"]), "CreateDate": v["CreateDate"]}
        for n, v in policy["_versions"].items()
    ]
    return policy | {"PolicyVersionList": versions}


# ---------------------------------------------------------------- the report


def _report_key(ctx: Ctx) -> Key:
    return Key(ctx.account, "", "iam", "credential-report", "report")


@operation("iam", "GenerateCredentialReport")
def generate_credential_report(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """The report is ready at once, and new with every call; as on AWS, the first says that it was begun."""
    with ctx.ports.store.transaction() as tx:
        known = tx.records.delete(_report_key(ctx))
        rows = [COLUMNS, *(_row(tx, ctx, record.document) for record in tx.records.list(ctx.account, "", "iam", "user"))]
        text = "\n".join(",".join(row) for row in rows) + "\n"
        tx.records.create(Record(_report_key(ctx), {"Content": text, "GeneratedTime": ctx.now().replace(microsecond=0)}))
    return {"State": "COMPLETE"} if known else {"State": "STARTED", "Description": "No report exists. Starting a new report generation task"}


def _row(tx: Tx, ctx: Ctx, user: dict[str, Any]) -> list[str]:
    name = user["UserName"]
    login = tx.records.get(Key(ctx.account, "", "iam", "login-profile", name))
    keys = [r.document for r in tx.records.list(ctx.account, "", "iam", "access-key", parent=name)]
    row = dict.fromkeys(COLUMNS, "N/A") | {"user": name, "arn": user["Arn"], "user_creation_time": user["CreateDate"].isoformat()}
    row |= {"password_enabled": str(login is not None).lower(), "password_last_used": "no_information" if login else "N/A"}
    row["password_last_changed"] = login.document["CreateDate"].isoformat() if login else "N/A"
    certificates = [r.document for r in tx.records.list(ctx.account, "", "iam", "signing-certificate", parent=name)]
    certificates.sort(key=lambda certificate: str(certificate["UploadDate"]))
    row["mfa_active"] = str(bool(tx.records.list(ctx.account, "", "iam", "mfa-device", parent=name))).lower()
    for place in (1, 2):
        key = keys[place - 1] if len(keys) >= place else None
        certificate = certificates[place - 1] if len(certificates) >= place else None
        row[f"cert_{place}_active"] = str(bool(certificate and certificate["Status"] == "Active")).lower()
        row[f"cert_{place}_last_rotated"] = certificate["UploadDate"].isoformat() if certificate else "N/A"
        used = key.get("_used") if key else None
        row |= {f"access_key_{place}_last_used_{n}": used[m] for n, m in (("region", "Region"), ("service", "ServiceName"))} if used else {}
        row |= {f"access_key_{place}_last_used_date": used["LastUsedDate"].isoformat()} if used else {}
        row[f"access_key_{place}_active"] = str(bool(key and key["Status"] == "Active")).lower()
        row[f"access_key_{place}_last_rotated"] = key["CreateDate"].isoformat() if key else "N/A"
    return [row[column] for column in COLUMNS]


@operation("iam", "GetCredentialReport")
def get_credential_report(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(_report_key(ctx))
    if record is None:
        raise AwsError("ReportNotPresent", "Credential report not present", status=410)
    return {"Content": record.document["Content"].encode(), "ReportFormat": "text/csv", "GeneratedTime": record.document["GeneratedTime"]}
