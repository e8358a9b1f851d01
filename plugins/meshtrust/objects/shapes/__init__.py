"""The fields that are read, as types for msgspec; here of the kinds of which no more than that they are there is read.

Everything else of an object is dropped while it is decoded, and a field of another type makes the object `Unread`. Only
a name is asked for; anything else may be missing.
"""

from typing import Required, TypedDict


class Metadata(TypedDict, total=False):
    name: Required[str]
    namespace: str
    creationTimestamp: str | None
    deletionTimestamp: str | None
    labels: dict[str, str] | None
    annotations: dict[str, str] | None


class Name(TypedDict, total=False):
    name: Required[str]
    namespace: str


class Namespace(TypedDict, total=False):
    metadata: Required[Metadata]


class ServiceAccount(TypedDict, total=False):
    metadata: Required[Name]


class WorkloadEntry(TypedDict, total=False):
    metadata: Required[Metadata]
