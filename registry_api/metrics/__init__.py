"""What Prometheus reads of this process and its siblings, and the access log.

`requests` counts requests, `siblings` shares the counts between the processes of one socket, `families` names them, `scrape` and
`exposition` put them together, `routes` answers `/metrics`. `observer` notes each request; `access_log` writes its line.
Leans on `auth`, `context`, `http` and `management`.
"""
