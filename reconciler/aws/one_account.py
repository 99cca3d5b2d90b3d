"""Credentials that sign nothing for another account: whoever supplies them may renew them at any time.

A ``credential_process``, an SSO session or a profile gives new credentials when the old ones expire, in the middle of a
run, and they may be another account's. So the account of each access key is asked before anything is signed with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from reconciler.errors import Refused

_KNOWN: Final[dict[str, str]] = {}
"""Access key -> account, for all connections of the process: a key is of one account for ever."""


def know(access_key: str, account: str) -> None:
    """Remember the account of an access key, which AWS has said."""
    _KNOWN[access_key] = account


class OneAccount:
    """botocore credentials of one account. ``ask`` makes the call that says which account it is (GetCallerIdentity)."""

    def __init__(self, credentials: Any, account: str, ask: Callable[[], str]) -> None:
        self._credentials = credentials
        self._account = account
        self._ask = ask
        self._asking = threading.local()
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._credentials, name)

    def learn(self, ask: Callable[[], str], signed_with: Any = None) -> str:
        """The account that ``ask`` says, which may sign with any credentials, or with ``signed_with`` alone."""
        self._asking.now, self._asking.key = True, signed_with
        try:
            account = ask()
        finally:
            self._asking.now = False
        know(self._asking.key.access_key, account)
        return account

    def get_frozen_credentials(self) -> Any:
        """The credentials to sign with. Raises Refused where they are of another account."""
        if getattr(self._asking, "now", False):
            self._asking.key = self._asking.key or self._credentials.get_frozen_credentials()
            return self._asking.key
        frozen = self._credentials.get_frozen_credentials()
        with self._lock:
            account = _KNOWN.get(frozen.access_key) or self.learn(self._ask, frozen)
        if account != self._account:
            raise Refused(
                f"the credentials are for account {account} now; this stack is for account {self._account}",
                hint="they were renewed during the run, for another account; nothing was sent with them",
            )
        return frozen
