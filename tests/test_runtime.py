import os
import platform
import subprocess
import sys

CODE = "from tltool.runtime import keep_freed_memory; print(keep_freed_memory())"


def told(**environment):
    command = [sys.executable, "-c", CODE]
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    return subprocess.run(
        command, env=own | environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_freed_memory_is_kept_by_glibc_where_the_user_did_not_set_that():
    assert told() == str(platform.libc_ver()[0] == "glibc")
    assert told(MALLOC_TOP_PAD_="131072") == "False"
    assert told(GLIBC_TUNABLES="glibc.malloc.check=0") == "False"
