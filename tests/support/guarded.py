"""A broker with an authorizer, and users of which each may do what was granted to it, and nothing else."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from streamproc.local.kafka import HOST, free_port
from streamproc.runtime.rights import Resource, Right
from tests.support.kafka import from_packages

PASSWORD = "not-to-be-shown"
KINDS = {
    Resource.TOPIC: ResourceType.TOPIC,
    Resource.GROUP: ResourceType.GROUP,
    Resource.TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
}


class Guarded(NamedTuple):
    """`open`: where whoever asks is a super user, without a log in; `address`: where users log in."""

    open: str
    address: str

    def login(self, user: str) -> dict[str, str]:
        """Return the settings, as in STREAMPROC_KEY, with which a user comes in."""
        return {
            "KAFKA__BOOTSTRAP_SERVERS": self.address,
            "KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA__SASL_USERNAME": user,
            "KAFKA__SASL_PASSWORD": PASSWORD,
        }

    def grant(self, user: str, rights: Iterable[Right]) -> None:
        """Give a user rights."""
        self.grant_all({user: rights})

    def grant_all(self, rights: "dict[str, Iterable[Right]]") -> None:
        """Give users their rights, all at once; return once the broker goes by them."""
        wanted = [_binding(user, right) for user, of_user in rights.items() for right in dict.fromkeys(of_user)]
        admin = AdminClient({"bootstrap.servers": self.open})
        for created in admin.create_acls(wanted).values():
            created.result()
        while wanted and wanted[-1] not in admin.describe_acls(_filter(wanted[-1])).result():
            pass

    def take(self, user: str, right: Right) -> None:
        """Take a right away; return once the broker goes by that."""
        it = _filter(_binding(user, right))
        admin = AdminClient({"bootstrap.servers": self.open})
        for deleted in admin.delete_acls([it]).values():
            deleted.result()
        while admin.describe_acls(it).result():
            pass


@contextmanager
def guarded_broker(users: Iterable[str]) -> Iterator[Guarded]:
    """A broker of one's own, with users who have no rights at first."""
    inside, port, controller = (free_port() for _ in range(3))
    with from_packages(inside, _properties(users, inside, port, controller)) as bootstrap:
        yield Guarded(bootstrap, f"{HOST}:{port}")


def _binding(user: str, right: Right) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL
    does = AclOperation[right.operation.name]
    allow = AclPermissionType.ALLOW
    return AclBinding(KINDS[right.resource], right.name, pattern, f"User:{user}", "*", does, allow)


def _filter(it: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        it.restype, it.name, it.resource_pattern_type, it.principal, it.host, it.operation, it.permission_type
    )


def _properties(users: Iterable[str], inside: int, port: int, controller: int) -> dict[str, str]:
    known = " ".join(f'user_{user}="{PASSWORD}"' for user in users)
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {
        "listeners": f"PLAINTEXT://{HOST}:{inside},SASL_PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "false",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{module} required {known};",
    }
