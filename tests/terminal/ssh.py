"""A real sshd on the loopback interface, for the user who runs the tests."""

import getpass
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
PATIENCE_SECONDS = 20.0


def missing() -> str:
    """What this machine lacks for it; empty if nothing."""
    tools = {"sshd": SSHD, "ssh": shutil.which("ssh"), "ssh-keygen": shutil.which("ssh-keygen")}
    lacking = [name for name, found in tools.items() if not found]
    return f"{', '.join(lacking)} not installed" if lacking else ""


class Sshd:
    """A server on a free port, with keys of its own, that lets its own user in."""

    def __init__(self, folder: Path) -> None:
        assert SSHD is not None
        self._folder = folder
        for name in ("host", "user"):
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        self.port = free_port()
        config = folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {folder / 'host'}\n"
            f"AuthorizedKeysFile {folder / 'user.pub'}\nPidFile none\nStrictModes no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nPermitUserEnvironment no\n"
        )
        if getpass.getuser() == "root":
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it gives up its rights
        with open(folder / "sshd.log", "wb") as log:
            self._server = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(config)], stderr=log, stdin=subprocess.DEVNULL
            )
        self._wait_until_it_listens()

    def words(self, *command: str) -> list[str]:
        """The arguments of `ssh -tt` that run a command there in a terminal."""
        quiet = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        quiet += ["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-F", "none"]
        where = ["-p", str(self.port), "-i", str(self._folder / "user")]
        return ["-tt", *quiet, *where, f"{getpass.getuser()}@127.0.0.1", *command]

    def drop(self) -> int:
        """Kill every connection, as a lost line does; how many processes served them."""
        serving = psutil.Process(self._server.pid).children(recursive=True)
        lost = [process for process in serving if process.name().startswith("sshd")]
        for process in lost:
            process.kill()
        return len(lost)

    def close(self) -> None:
        """Stop serving."""
        self.drop()
        self._server.terminate()
        self._server.wait()

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self._folder / "sshd.log").read_text())

    @staticmethod
    def _run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
