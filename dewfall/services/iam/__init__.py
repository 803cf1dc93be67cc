"""IAM: users, groups, roles, policies, credentials, providers, the account, and simulation by the real evaluator.

Importing the package registers every operation.
"""

from dewfall.services.iam import (
    access_keys,
    account,
    devices,
    groups,
    inline,
    instance_profiles,
    passwords,
    policies,
    providers,
    roles,
    server_certificates,
    service_credentials,
    service_roles,
    simulation,
    users,
)

__all__ = [
    "access_keys",
    "account",
    "devices",
    "groups",
    "inline",
    "instance_profiles",
    "passwords",
    "policies",
    "providers",
    "roles",
    "server_certificates",
    "service_credentials",
    "service_roles",
    "simulation",
    "users",
]
