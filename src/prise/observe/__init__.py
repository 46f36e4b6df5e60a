"""Looking at a running server: metrics for Prometheus, hooks for tracing, structured logs, and the live view's eyes.

    metrics      where a server answers /metrics            observer    what is called for each connection
    exposition   counts as text, in two formats             logs        records as one JSON object a line
    processes    what the system knows of processes         scrape      reads the metrics of another server (`prise top`)

Built on the library as the web server is; `serve` and `listen` import what they were asked for.
"""

from prise.observe.logs import JsonLines
from prise.observe.observer import Observer

__all__ = ["JsonLines", "Observer"]
