"""Where an S3-compatible store is; apart from what speaks with it, which is slow to import."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where an S3-compatible store is."""

    url: str
    """`s3://bucket` or `s3://bucket/prefix`."""
    endpoint: str = ""
    """Of a store that is not Amazon's: `https://host:port`."""
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: str = ""

    def __repr__(self) -> str:
        return f"Bucket(url={self.url!r}, endpoint={self.endpoint!r})"  # what has a repr ends in a log
