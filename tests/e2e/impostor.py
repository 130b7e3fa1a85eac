"""A server that answers what a test tells it to, to see what adapterctl makes of a daemon that is broken or hostile."""
import http.server
import threading


class Impostor:
    """`answers`: (method, path without its query) -> (status, headers, body, or a function of the request's path that
    gives such a triple); a body is text, bytes, or a list of them, sent one by one, and of functions, called in their turn. `seen` is the list of (method, path, headers, body) that came."""

    def __init__(self, answers):
        impostor = self
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                impostor.seen.append((self.command, self.path, self.headers, body))
                found = answers[self.command, self.path.split("?")[0]]
                status, headers, body = found(self.path) if callable(found) else found
                pieces = body if isinstance(body, list) else [body]
                pieces = [p.encode() if isinstance(p, str) else p for p in pieces]
                self.send_response(status)
                for name, value in {"Content-Length": str(sum(len(p) for p in pieces if not callable(p))), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in pieces:
                    if callable(piece):
                        piece()
                        continue
                    self.wfile.write(piece)
                    self.wfile.flush()
                self.close_connection = True

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
