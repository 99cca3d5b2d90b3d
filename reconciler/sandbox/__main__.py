"""``python -m reconciler.sandbox [PORT] [--rates aws]``: the sandbox by itself, printing its variables."""

from __future__ import annotations

import argparse
import contextlib

from reconciler.sandbox import CLEARED, DEFAULT_PORT, environment, serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reconciler.sandbox", description="AWS for recon, on loopback.")
    parser.add_argument("port", nargs="?", type=int, default=DEFAULT_PORT, help="0 for any free port")
    parser.add_argument("--rates", choices=("aws", "off"), default="off", help="the request rates to enforce")
    parser.add_argument("--scenario", help="start in this incident")
    options = parser.parse_args()

    def ready(url: str, resolver: str) -> None:
        for name, value in environment(url, resolver=resolver, paced=options.rates == "aws").items():
            print(f"export {name}={value}", flush=True)
        print("unset", *CLEARED, flush=True)

    with contextlib.suppress(KeyboardInterrupt):
        serve(port=options.port, on_ready=ready, rates=options.rates, scenario=options.scenario)


if __name__ == "__main__":
    main()
