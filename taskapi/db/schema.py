"""The stored documents as a contract with scripts that read MongoDB: its version, and what its pages say of fields.

``./scripts/docs`` writes the pages and schemas from the document classes. The string below a field is its description.
"""

from dataclasses import dataclass

VERSION = "2.0.0"
"""The version of the schema, by Semantic Versioning; docs/collections/changelog.md says what each version changed."""


@dataclass(frozen=True, slots=True)
class Confidential:
    """Marks a field whose values must not leave the database."""
