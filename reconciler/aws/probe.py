"""Whether AWS accepts an access key yet: IAM's changes take seconds to become visible everywhere.

Source: IAM User Guide, "Troubleshooting IAM" (changes are eventually visible); STS API, GetCallerIdentity (needs no
permission, and no policy can deny it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.aws.client import Aws


def accepted(aws: Aws, key_id: str, secret: str) -> bool:
    """Whether STS accepts the key; also True if STS cannot be reached. ``secret`` signs one request and is not kept."""
    from botocore.config import Config
    from botocore.exceptions import ClientError

    from reconciler.errors import NOT_ENABLED

    config = Config(retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=5)
    try:
        with aws._lock:
            client = aws._session().client(
                "sts", region_name=aws.home_region, aws_access_key_id=key_id, aws_secret_access_key=secret,
                config=config,
            )  # fmt: skip
            aws._tls.share(client)
    except Exception as problem:  # any library below botocore may raise anything
        raise aws._translated(problem, "sts", "", aws.home_region) from None
    try:
        client.get_caller_identity()
    except ClientError as refused:
        return refused.response.get("Error", {}).get("Code") not in NOT_ENABLED
    except Exception:  # no answer of STS, whatever the reason: it did not refuse the key
        return True
    finally:
        client.close()
    return True
