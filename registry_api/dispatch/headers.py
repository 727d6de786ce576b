"""Further headers of a response, whatever kind of response it is."""

from starlette.types import Message, Send

from registry_api.http.messages import Headers, Sendable


class HeadersAdded:
    """A response with further headers: OCI-Namespace where the parameter `ns` was used (distribution-spec, development head),
    Warning where a cache could not ask upstream (distribution-spec, "Warnings")."""

    def __init__(self, response: Sendable, headers: Headers) -> None:
        self._response, self._headers = response, headers

    async def send(self, send: Send, *, head: bool) -> None:
        """Send the response with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        await self._response.send(send_with_headers, head=head)
