"""HTTP without a framework: messages, bodies, ranges, paging, errors, connections.

The table from error class to status, what proxies say of a request, and what uvicorn leaves out.
No route is here, and no rule about content.
"""
