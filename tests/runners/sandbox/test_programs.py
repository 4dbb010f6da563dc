"""Programs keep working in the sandbox, as root and as an ordinary user; what is hidden stays hidden.

Only the shim is started, for an ordinary user with the system's Python: the test's own Python may be in root's home.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.runners.sandbox.conftest import SYSTEM_PYTHON
from tests.support.sidecars import until

from cco_sidecar.runners import confine, shim
from cco_sidecar.runners.sandbox import trial

needs_sandbox = pytest.mark.skipif(bool(trial()), reason=f"no sandbox here: {trial()}")
pytestmark = needs_sandbox


class Person:
    """A user with a home, who runs confined programs."""

    def __init__(self, uid: int) -> None:
        self.uid = uid
        # Not pytest's directory, which only its own user may enter.
        self.home = Path(tempfile.mkdtemp(prefix="cco-test-"))
        self.code, self.run, self.hidden = (self.home / name for name in ("code", "run", "hidden"))
        for directory in (self.code, self.run, self.hidden, self.hidden / "agent"):
            directory.mkdir()
        for module in (shim, confine):
            shutil.copy(str(module.__file__), self.code)
        (self.hidden / "operator.token").write_text("secret")
        (self.hidden / "agent" / "token").write_text("mine")
        self.own(self.home)

    def own(self, path: Path) -> None:
        for each in (path, *path.rglob("*")):
            os.chown(each, self.uid, self.uid, follow_symlinks=False)

    @property
    def identity(self) -> dict[str, Any]:
        return {} if self.uid == os.getuid() else {"user": self.uid, "group": self.uid, "extra_groups": []}

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": str(self.home), "LANG": "C.UTF-8"}

    def runs(self, script: str, **more: Any) -> tuple[int | None, str]:
        """Exit code and output of a shell script in the sandbox."""
        spec = {
            "argv": ["sh", "-c", script],
            "env": self.environment(),
            "cwd": str(self.home),
            "sandbox": {
                "hidden": [str(self.hidden)],
                "visible": [str(self.hidden / "agent")],
                "read_only": [str(self.code)],
                "user": None,
            }
            | more,
        }
        for old in self.run.iterdir():
            old.unlink()
        python = sys.executable if self.uid == os.getuid() else SYSTEM_PYTHON
        start = f"import sys; sys.path.append({str(self.code)!r}); import shim; shim.main()"
        with subprocess.Popen(
            [python, "-I", "-S", "-c", start, "shim.py", str(self.run)],
            cwd=self.run,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **self.identity,
        ) as process:
            told, _ = process.communicate(json.dumps(spec).encode(), timeout=60)
        if "error" in json.loads(told):
            return None, told.decode()
        report = json.loads((self.run / "exit.json").read_text())
        lines = (self.run / "output.log").read_text().splitlines()
        return report["exit_code"], "\n".join(line.split(" ", 3)[3] for line in lines)

    def works(self, script: str, **more: Any) -> str:
        code, output = self.runs(script, **more)
        assert code == 0, output
        return output


@pytest.fixture(params=["itself", "an ordinary user"])
def person(request: pytest.FixtureRequest) -> Iterator[Person]:
    made = Person(os.getuid() if request.param == "itself" else request.getfixturevalue("ordinary"))
    yield made
    shutil.rmtree(made.home)


def test_hidden_files_are_absent_and_the_agents_own_are_present(person: Person) -> None:
    assert person.works(f"cat {person.hidden}/agent/token; ls -A {person.hidden}").splitlines() == ["mineagent"]
    code, output = person.runs(f"cat {person.hidden}/operator.token")
    assert code and "No such file" in output


def test_hidden_paths_may_be_nested_or_dangling_links(person: Person) -> None:
    inner, dangling = person.hidden / "inner", person.home / "dangling"
    inner.mkdir()
    (inner / "key").write_text("secret")
    dangling.symlink_to("/nowhere/at/all")
    person.own(person.hidden)
    hidden = {"hidden": [str(path) for path in (inner, person.hidden, dangling)]}
    assert person.works(f"cat {person.hidden}/agent/token; ls -A {person.hidden}", **hidden).splitlines() == [
        "mineagent"
    ]
    # What is made visible inside it keeps its own secrets hidden.
    own = person.hidden / "agent" / "own"
    own.mkdir()
    (own / "key").write_text("secret")
    person.own(person.hidden)
    listed = person.works(f"ls -A {person.hidden}/agent {own}", hidden=[str(own), str(person.hidden)]).split()
    assert "token" in listed and "key" not in listed


def test_a_file_created_in_a_hidden_directory_stays_hidden(person: Person) -> None:
    token, again = person.hidden / "operator.token", person.home / "again"
    script = f"touch {person.home}/ready; while [ ! -e {again} ]; do sleep 0.02; done; cat {token}"
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(person.runs, script)
        until(lambda: (person.home / "ready").exists() or found.done(), "the agent")
        assert not found.done(), found.result()
        token.unlink()
        token.write_text("another secret")
        again.touch()
        code, output = found.result()
    assert code and "another secret" not in output


@pytest.mark.parametrize(
    "attempt",
    [
        "umount {hidden}",
        "umount -l {hidden}",
        "mount -o remount,rw {hidden}; touch {hidden}/x",
        "mkdir /tmp/m$$ && mount --bind {home} /tmp/m$$ && cat /tmp/m$$/hidden/operator.token",
        "unshare -rm umount {hidden}",
        "unshare -rm sh -c 'umount -l {hidden}; cat {hidden}/operator.token'",
        "nsenter -t 1 -m cat {hidden}/operator.token",
        "cat /proc/1/root{hidden}/operator.token",
        "echo x > {code}/shim.py",
        "mv {code} {code}.old",
        "kill -STOP 1 && kill -STOP $PPID && test -e /nowhere",
        "echo x > /proc/sys/kernel/core_pattern",
        "head -c 1 /dev/vda | grep -q .",
        "ls /proc | grep -q $(cat {home}/outside)",
    ],
)
def test_the_sandbox_cannot_be_bypassed(person: Person, attempt: str) -> None:
    (person.home / "outside").write_text(f"^{os.getpid()}$")
    script = attempt.format(hidden=person.hidden, home=person.home, code=person.code)
    code, output = person.runs(f"{script} 2>&1")
    assert code != 0 and "secret" not in output, output
    assert (person.code / "shim.py").read_text() == Path(str(shim.__file__)).read_text()


def test_everything_ends_with_the_agent(person: Person) -> None:
    """Not even a process survives that left its session, ignores signals and has another environment."""
    person.works("env -i setsid sh -c 'trap \"\" TERM HUP; sleep 600; sleep 601' & exit 0")
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 600" not in running.splitlines() and "sleep 601" not in running.splitlines()


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("exit 0", 0), ("kill -KILL $$", None)])
def test_the_exit_status_is_known(person: Person, script: str, code: int | None) -> None:
    assert person.runs(script)[0] == code


def test_a_missing_program_is_reported_at_once(person: Person) -> None:
    code, output = person.runs("exit 0", hidden=[str(person.home / "hidden")], read_only=["/nowhere"])
    assert code == 0, output
    spec_error = person.runs("exec /no/such/program")[0]
    assert spec_error == 127


WHO = "-c user.name=Agent -c user.email=agent@example.com"


def test_git_commits(person: Person) -> None:
    person.works(
        f"git init -q work && cd work && echo 1 > a && git add a && git {WHO} commit -qm one && git log --oneline"
    )


@pytest.fixture
def sshd(person: Person) -> Iterator[int]:
    """The person's own server, on a free port, with the person's key."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if program is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs openssh-server and openssh-client")
    if person.uid == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    ssh = person.home / ".ssh"
    ssh.mkdir(mode=0o700)
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh / name)], check=True)
    shutil.copy(ssh / "id.pub", ssh / "authorized_keys")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    (ssh / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {ssh}/host\nAuthorizedKeysFile {ssh}/authorized_keys\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
    )
    (ssh / "config").write_text(
        f"Host forge\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {ssh}/id\n  StrictHostKeyChecking no\n"
        f"  UserKnownHostsFile {ssh}/known_hosts\n"
    )
    person.own(ssh)
    process = subprocess.Popen([program, "-D", "-e", "-f", str(ssh / "sshd_config")], **person.identity)
    try:
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None:
                    break
        yield port
    finally:
        process.kill()
        process.wait()


def test_git_pushes_over_ssh_with_the_persons_own_configuration(person: Person, sshd: int) -> None:
    # ssh looks for its configuration in the home that the system knows.
    ssh = f"ssh -F {person.home}/.ssh/config"
    output = person.works(
        f"git init -q --bare there && git init -q here && cd here && echo 1 > a && git add a && git {WHO} commit -qm one "
        f"&& GIT_SSH_COMMAND='{ssh}' git push -q forge:{person.home}/there HEAD:refs/heads/pushed 2>&1 "
        "&& git -C ../there log --format=%s pushed"
    )
    assert output.splitlines()[-1] == "one"


def test_ssh_reads_the_included_system_configuration(person: Person) -> None:
    """With a single mapped user, root's files seem to belong to nobody, and ssh refuses them as included files."""
    if shutil.which("ssh") is None:
        pytest.skip("needs openssh-client")
    assert "hostname example.invalid" in person.works("ssh -G example.invalid")


def test_a_package_is_installed(person: Person) -> None:
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    package = person.home / "package"
    package.mkdir()
    (package / "package.json").write_text('{"name": "a-package", "version": "1.0.0", "main": "i.js"}')
    (package / "i.js").write_text("module.exports = 'installed'\n")
    person.own(package)
    output = person.works(
        "mkdir app && cd app && npm init -y >/dev/null && npm install --offline --no-audit --no-fund ../package >/dev/null 2>&1 "
        "&& node -p 'require(\"a-package\")'"
    )
    assert output.splitlines()[-1] == "installed"


def test_a_coding_programs_own_sandbox_works_inside(person: Person) -> None:
    assert person.works("unshare --user --map-current-user --mount --pid --fork sh -c 'echo inside'") == "inside"
    if shutil.which("bwrap") is None:
        pytest.skip("the rest needs bubblewrap")
    if person.uid == 0:
        # Root gets no /proc of its own inside ours, because it could write to kernel settings there.
        assert person.works("bwrap --ro-bind / / --dev-bind /dev /dev --unshare-pid echo inside") == "inside"
    else:
        assert person.works("bwrap --ro-bind / / --dev /dev --proc /proc --unshare-all echo inside") == "inside"
