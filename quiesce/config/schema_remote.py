"""The shape of the sections for stores, encryption, notifications and monitors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from quiesce.config import scalars as kind


class Section(BaseModel):
    """A mapping of known keys only."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class StoreSection(Section):
    """An off-site place for copies of sets."""

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
        description="A file with lines like `AWS_ACCESS_KEY_ID=…`. Default: the environment, "
        "then the credentials of the platform.",
    )
    retention: kind.RetentionName | None = Field(
        None,
        description=(
            "The entry of `retention:` with the rules for sets in this store. Default: all are "
            "kept."
        ),
    )


class EncryptSection(Section):
    """The public keys for which sets are encrypted."""

    age: list[kind.Text] = Field([], description="Recipients of age: `age1…`, `ssh-ed25519 …`.")
    gpg: list[kind.Text] = Field(
        [], description="Key ids or addresses known to gpg on this machine."
    )
    where: kind.EncryptWord = Field(
        "offsite",
        description="Which sets: `offsite`, those in stores, or `everywhere`, local ones too.",
    )


class NotifySection(Section):
    """Somebody who is notified of the results of runs."""

    url: kind.Text = Field(..., description="An Apprise URL, as a reference such as `${NTFY_URL}`.")
    on: list[kind.EventWord] = Field(
        ["failure", "recovery", "overdue"],
        description="The events to report: `success`, `failure`, `recovery`, `overdue`.",
    )


class PingSection(Section):
    """URLs of a monitor that raises an alarm if a run does not report, as references."""

    url: kind.Text | None = Field(
        None,
        description="The URL to call after a success; with `/start` or `/fail` appended otherwise.",
    )
    start: kind.Text | None = Field(None, description="The URL to call when the task begins.")
    success: kind.Text | None = Field(None, description="The URL to call when it succeeded.")
    fail: kind.Text | None = Field(None, description="The URL to call when it failed.")
