"""HTTP without a framework: messages, bodies, ranges, paging, errors, requests that begin without a task.

The table from error class to status, and what proxies say of a request.
No route is here, and no rule about content.
"""
