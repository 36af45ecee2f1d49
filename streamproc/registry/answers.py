"""The answers of a registry, validated strictly: anything else did not come from a registry."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

MAX_ID = 0x7FFF_FFFF
"""Ids are Java ints. The four bytes of the framing can hold more, but registries cannot be asked for it."""
AVRO = "AVRO"

SchemaId = Annotated[int, Field(ge=0, le=MAX_ID)]
Version = Annotated[int, Field(ge=1)]


def _or(default: Any) -> BeforeValidator:
    """Treat null as absent."""
    return BeforeValidator(lambda value: default if value is None else value)


class _Model(BaseModel):
    """Strict: a text or a boolean is not a number. Unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Reference(_Model):
    """A schema that another one refers to. The schemas themselves contain the names that are used."""

    subject: str
    version: Version


class Registered(_Model):
    """A registered schema. `kind`: AVRO or another language; `text` is not trusted: anybody may have written it."""

    text: str = Field(alias="schema")
    kind: Annotated[str, _or(AVRO)] = Field(AVRO, alias="schemaType")
    references: Annotated[tuple[Reference, ...], _or(()), Field(strict=False)] = ()


class Identified(_Model):
    """The id of a schema that was registered or looked up."""

    id: SchemaId


class SubjectVersion(_Model):
    """A subject and version under which a schema is registered."""

    subject: str
    version: Version


class ErrorBody(_Model):
    """An error of the registry itself. A proxy's error has no `error_code`."""

    error_code: int


registered = TypeAdapter(Registered)
identified = TypeAdapter(Identified)
places = TypeAdapter(list[SubjectVersion])
