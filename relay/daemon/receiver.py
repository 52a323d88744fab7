"""A receiver process: the listeners on one event loop, and the spool behind them."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial

from relay.config import Config
from relay.config.data_dir import REFUSALS, TAIL, TALLY
from relay.daemon.child import descriptors, run_child
from relay.daemon.messages import Start
from relay.smtp.listeners import Listeners
from relay.spool.interface import Intake
from relay.spool.opening import diagnosed, open_intake
from relay.telemetry.metrics import begin_receiver

#: Of Python's collector. By default (700, 10, 10) it runs every few mails, which leave no cycles behind.
_THRESHOLDS = (10_000, 20, 20)


class Receiver:
    """The receiving half."""

    def __init__(self, sockets: Sequence[int]) -> None:
        self._sockets = sockets
        self._server: Listeners | None = None
        self._intake: Intake | None = None

    async def start(self, order: Start) -> None:
        """Open the spool, then the listeners: no peer is greeted before there is a place for mail."""
        self._intake = open_intake(order.config, process=f"receiver-{order.index}")
        with diagnosed(order.config, files=True):
            self._server = Listeners(
                config=order.config,
                intake=self._intake,
                # Limits by address hold over all receivers, which count in one small file.
                tally=order.config.data_dir / TALLY,
                refusals=order.config.data_dir / REFUSALS,
                tail=order.config.data_dir / TAIL,
                index=order.index,
                receivers=order.receivers,
            )
        opened = {
            index: [socket.socket(fileno=self._sockets[position]) for position in positions]
            for index, positions in order.sockets.items()
        }
        begin_receiver()
        await self._server.start(opened)
        gc.set_threshold(*_THRESHOLDS)

    def problem(self) -> str:
        """The reason why this receiver takes no mail now; "" when it does."""
        return self._server.problem() if self._server else ""

    def notice(self) -> str:
        """Always "": the deliverer tells what a person should know of the spool."""
        return ""

    def away(self) -> Mapping[str, str]:
        """The services that give no answers about mail, and why; and "deliverer" while no node delivers."""
        away = self._server.away if self._server else {}
        why = self._intake.undelivered() if self._intake else ""
        return {**away, "deliverer": why} if why else away

    def has_moved(self) -> bool:
        """Returns whether another spool lies where the open one was."""
        return self._intake is not None and self._intake.has_moved()

    async def reload(self, config: Config) -> None:
        """Use a new configuration for new sessions. Open sessions keep theirs."""
        if self._server:
            self._server.reload(config)

    async def stop(self, seconds: float) -> None:
        """Stop in the direction of flow: listeners, sessions, spool."""
        if self._server:
            await self._server.drain(seconds)
        if self._intake:
            await self._intake.close()


def main(line: int, stacks: int, sockets: Sequence[int], _template: None = None) -> int:
    """The life of a receiver. Returns its exit code."""
    return run_child(partial(Receiver, sockets), line=line, stacks=stacks)


if __name__ == "__main__":
    sys.exit(main(*descriptors()))
