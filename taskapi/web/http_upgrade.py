"""The callbacks of a parser that takes over after another one has read the head."""

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class AfterHead:
    """The callbacks of a parser: those of ``protocol``, but for the first head."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._skipping = True
        self.on_message_begin = self._unless_skipping(protocol.on_message_begin)
        self.on_url = self._unless_skipping(protocol.on_url)
        self.on_header = self._unless_skipping(protocol.on_header)
        self._on_headers_complete = self._unless_skipping(protocol.on_headers_complete)
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_headers_complete(self) -> None:
        self._on_headers_complete()
        self._skipping = False

    def _unless_skipping(self, callback: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: bytes) -> None:
            if not self._skipping:
                callback(*arguments)

        return call
