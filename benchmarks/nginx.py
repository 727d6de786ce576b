"""nginx as a peer for files: one worker, sendfile, no log, over the folder in which our blobs are."""

from pathlib import Path

from benchmarks.wire import Server
from tests.servers import Child, Children, answers, free_port, tool

_CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; location = /ready {{ return 200; }} }}
}}
"""


def start_nginx(children: Children, root: Path) -> tuple[Server, Child]:
    """Serve the files below `root`."""
    folder, port = children.folder / "nginx", free_port()
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, root=root))
    child = children.start("nginx", [tool("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(config)])
    child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/ready"))
    return Server("nginx", port), child
