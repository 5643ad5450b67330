"""The shape of what reaches beyond this machine in `stack.yaml`: stores, keys, people, monitors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from quiesce.config import scalars as kind


class Section(BaseModel):
    """A mapping of known keys only."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class StoreSection(Section):
    """A place away from here for copies of sets."""

    url: kind.Text = Field(
        ...,
        description="`s3://bucket/path`, `gs://…`, `az://…`, a folder, or `rclone:remote:path`.",
    )
    endpoint: kind.Text | None = Field(
        None, description="The address of an S3 service that is not Amazon's."
    )
    region: kind.Text | None = Field(None, description="The region of a bucket.")
    credentials_file: kind.Text | None = Field(
        None,
        description="A file with lines like `AWS_ACCESS_KEY_ID=…`. Default: the environment, then "
        "what the platform itself gives.",
    )
    retention: kind.RetentionName | None = Field(
        None, description="The entry of `retention:` for the sets in it. Default: all are kept."
    )


class EncryptSection(Section):
    """For whom sets are encrypted, with public keys alone."""

    age: list[kind.Text] = Field([], description="Recipients of age: `age1…`, `ssh-ed25519 …`.")
    gpg: list[kind.Text] = Field(
        [], description="Key ids or addresses that the gpg of this machine knows."
    )
    where: kind.EncryptWord = Field(
        "offsite",
        description="Which sets: `offsite`, those in stores, or `everywhere`, those here too.",
    )


class NotifySection(Section):
    """Somebody who is told how runs end."""

    url: kind.Text = Field(
        ..., description="Any address of Apprise, as a reference such as `${NTFY_URL}`."
    )
    on: list[kind.EventWord] = Field(
        ["failure", "recovery", "overdue"],
        description="Of what: `success`, `failure`, `recovery`, `overdue`.",
    )


class PingSection(Section):
    """Addresses of a monitor that misses a run which does not come, as references."""

    url: kind.Text | None = Field(
        None, description="Called after a success; with `/start` and `/fail` behind it otherwise."
    )
    start: kind.Text | None = Field(None, description="Called when the task begins.")
    success: kind.Text | None = Field(None, description="Called when it ended well.")
    fail: kind.Text | None = Field(None, description="Called when it did not.")
