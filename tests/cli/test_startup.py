import subprocess
import sys

HEAVY = ("aiobotocore", "aiohttp", "anyio", "awscrt", "botocore", "cryptography", "gcloud", "tqdm")


def loaded_by(*words):
    """Return the modules that a command line loads."""
    script = (
        "import sys; from asyncstore.cli.app import run; code = run(sys.argv[1:]); "
        "print(*sys.modules, sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    return set(ended.stderr.splitlines())


def test_help_loads_no_sdk_and_no_store():
    for words in (["--help"], ["cp", "--help"], ["demo", "--help"], ["--version"]):
        loaded = loaded_by(*words)
        assert not {name for name in loaded if name.split(".")[0] in HEAVY}
        assert "asyncstore.store" not in loaded
        assert not {name for name in loaded if name.startswith("asyncstore.providers.")}


def test_the_module_is_the_command():
    ended = subprocess.run(
        [sys.executable, "-m", "asyncstore", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.startswith("asyncstore 0.")


def test_a_local_path_loads_no_sdk(tmp_path):
    loaded = loaded_by("ls", str(tmp_path))
    assert not {name for name in loaded if name.split(".")[0] in set(HEAVY) - {"anyio"}}
