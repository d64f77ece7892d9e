"""Makes the bucket that MLflow keeps artifacts in, where it is not there yet.

    AWS_ENDPOINT_URL=http://s3:8333 SECRETS=/run/secrets python make_bucket.py NAME

The keys are read from the files ``s3_access_key`` and ``s3_secret_key`` in the folder ``SECRETS``.
"""

import os
import sys
from pathlib import Path


def main(name: str) -> None:
    """Makes the bucket ``name``; one that is there already stays as it is."""
    # imported here: the image of the server has it, this repository's environment need not
    import boto3
    from botocore.exceptions import ClientError

    secrets = Path(os.environ.get("SECRETS", "/run/secrets"))
    client = boto3.client(
        "s3",
        aws_access_key_id=(secrets / "s3_access_key").read_text(encoding="utf-8").strip(),
        aws_secret_access_key=(secrets / "s3_secret_key").read_text(encoding="utf-8").strip(),
    )
    try:
        client.create_bucket(Bucket=name)
    except ClientError as error:
        # Which of the two it is depends on the server.
        known = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
        if error.response["Error"]["Code"] not in known:
            raise


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_bucket.py NAME")
    main(sys.argv[1])
