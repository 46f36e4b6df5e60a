"""The web server, built on the public library alone: `prise web`, and what the chat room serves its page with.

    request     what a client asks, as data                      response    what it is answered, as data
    framing     bytes to requests and pieces of their bodies     conversation   requests to answers, on one connection
    site        a folder (or several) as answers                 server      all of it put together

A request goes  framing -> conversation -> a handler -> response -> bytes.  The handler is the only part that knows what is
served: `async def handler(request, body) -> Response`.
"""
