"""What masking finds, what it changes, and how fast it is: `make bench-masking`.

Recall and look-alikes are those of the two corpora in tests/repository/masking; the source code is that of the packages
which are installed in this environment.
"""

from __future__ import annotations

import statistics
import sysconfig
import time
from collections import Counter
from pathlib import Path

from tests.repository.masking.corpora import CONFIGURATION, KNOWN, NAMES, look_alikes, missed
from tests.repository.masking.packages import package_files, parses

from cco_sidecar.repository.masking import mask_file

_ROUNDS = 5
_FILES = 4_000


def main() -> None:
    for name in NAMES:
        for kind in (KNOWN, CONFIGURATION):
            left, total = missed(name, kind)
            print(f"{name} corpus, {kind}: {total - len(left)} of {total} masked ({1 - len(left) / total:.3f})")
            for each in left:
                print(f"    missed {each}")
        texts = look_alikes(name)
        changed = [each.id for each in texts if mask_file(each.text.encode(), each.path)[1]]
        print(f"{name} corpus, look-alikes: {len(changed)} of {len(texts)} changed {' '.join(changed)}")
    _packages()


def _packages() -> None:
    files = package_files(_FILES)
    size = sum(len(data) for _, data in files)
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        masked = [mask_file(data, str(path)) for path, data in files]
        times.append(time.perf_counter() - started)
    changed = [(path, data, found) for (path, _), (data, found) in zip(files, masked, strict=True) if found]
    broken = [path for path, data, _ in changed if not parses(path, data)]
    rules = Counter(each.rule for _, _, found in changed for each in found)
    speed = size / 1e6 / statistics.median(times)
    print(f"installed packages: {len(files)} files, {size / 1e6:.1f} MB, {speed:.0f} MB/s")
    print(f"    {len(changed)} files with findings, {len(broken)} with another syntax: {dict(rules.most_common())}")
    root = Path(sysconfig.get_paths()["purelib"])
    for path, _, found in changed:
        original = path.read_bytes().split(b"\n")
        for each in found[:3]:
            line = original[each.line - 1].strip()[:100].decode("utf-8", "replace")
            print(f"    {path.relative_to(root)}:{each.line} {each.rule}: {line}")


if __name__ == "__main__":
    main()
