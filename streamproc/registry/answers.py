"""What a registry answers, as strict as it can be: whatever else comes is no registry's answer."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

MAX_ID = 0x7FFF_FFFF
"""Ids are Java's ints: the four bytes of the framing hold more, and a registry is not made to be asked for it."""
AVRO = "AVRO"

SchemaId = Annotated[int, Field(ge=0, le=MAX_ID)]
Version = Annotated[int, Field(ge=1)]


def _or(default: Any) -> BeforeValidator:
    """Take null for absent."""
    return BeforeValidator(lambda value: default if value is None else value)


class _Model(BaseModel):
    """Numbers are numbers: no text, no boolean. What it does not know is left out."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Reference(_Model):
    """A schema that another one uses; under which name, the schemas themselves say."""

    subject: str
    version: Version


class Registered(_Model):
    """A schema as it was registered. `kind`: AVRO or another language; `text` is of anybody's making."""

    text: str = Field(alias="schema")
    kind: Annotated[str, _or(AVRO)] = Field(AVRO, alias="schemaType")
    references: Annotated[tuple[Reference, ...], _or(()), Field(strict=False)] = ()


class Identified(_Model):
    """What was registered, or looked up."""

    id: SchemaId


class SubjectVersion(_Model):
    """Where a schema is known."""

    subject: str
    version: Version


class ErrorBody(_Model):
    """The registry's own way to say no. A proxy's has no `error_code`."""

    error_code: int


registered = TypeAdapter(Registered)
identified = TypeAdapter(Identified)
places = TypeAdapter(list[SubjectVersion])
