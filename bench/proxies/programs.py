"""Programs that serve on a port of this machine: started, watched, and ended."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

# Accepts all connections that have come before it serves any: else the last of
# a thousand wait for seconds behind the others, whatever is in between.
_NGINX = """\
{user}daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
worker_processes 1;
worker_rlimit_nofile 8192;
events {{ worker_connections 4000; multi_accept on; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
  scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end(program):
    program.terminate()
    for last_word in [program.terminate, program.kill]:
        try:
            program.wait(5)
            return
        except subprocess.TimeoutExpired:
            last_word()  # The relay ends its sessions at the second signal.
    program.wait()


@contextlib.contextmanager
def running(command, port):
    """A program, once it accepts connections; ended and waited for after.

    What it prints is in the file `messages` of what this yields."""
    with tempfile.TemporaryFile() as messages:
        program = subprocess.Popen(command, stdout=messages, stderr=messages)
        program.messages = messages
        try:
            for _ in range(500):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if program.poll() is not None:
                    sys.exit(f"{command[0]}: {said(program)}")
                time.sleep(0.02)
            yield program
        finally:
            _end(program)


def said(program):
    """All that a running program has printed."""
    program.messages.seek(0)
    return program.messages.read().decode()


def nginx_user():
    """The directive that lets nginx's workers read files of root's."""
    return "user root;\n" if os.geteuid() == 0 else ""


def run_nginx(folder, config, port):
    return running(["nginx", "-e", "stderr", "-p", folder, "-c", config], port)


def web_server(folder, port, bodies):
    """nginx, which serves random bytes: a file for each size, named after it."""
    for body in bodies:
        (folder / str(body)).write_bytes(os.urandom(body))
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(user=nginx_user(), folder=folder, port=port))
    return run_nginx(folder, config, port)


def process_tree(pid):
    """The process and its children: nginx serves in processes, not in threads."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def processor_seconds(pid):
    """What the process tree has used so far."""
    ticks = 0
    for process in process_tree(pid):
        # The second field, a name in parentheses, may have spaces.
        stat = pathlib.Path(f"/proc/{process}/stat").read_text()
        ticks += sum(map(int, stat.rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_kilobytes(pid):
    """The most that was resident at once, of each process of the tree."""
    total = 0
    for process in process_tree(pid):
        status = pathlib.Path(f"/proc/{process}/status").read_text()
        total += sum(int(line.split()[1]) for line in status.splitlines()
                     if line.startswith("VmHWM:"))
    return total
