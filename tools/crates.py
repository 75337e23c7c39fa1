"""What is linked into the library or makes code for it, as cargo knows it."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POLICY = tomllib.loads((ROOT / "deny.toml").read_text())
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def read_toml(path):
    return tomllib.loads((ROOT / path).read_text())


def checksums():
    """By (name, version), of all in the lock file that come from elsewhere."""
    packages = read_toml("Cargo.lock")["package"]
    return {(one["name"], one["version"]): one["checksum"] for one in packages if "checksum" in one}


def cargo_metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    command += [f"--features={feature}" for feature in POLICY["graph"]["features"]]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


class Graph:
    """The crates for all platforms of the policy. What only tests need is among the direct ones alone."""

    def __init__(self):
        self.packages, self.depends, self.direct = {}, {}, {}
        for target in POLICY["graph"]["targets"]:
            metadata = cargo_metadata(target)
            self.root = metadata["resolve"]["root"]
            self.known = {one["id"]: one for one in metadata["packages"]}
            nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
            for id in nodes[self.root]["dependencies"]:
                self.direct[self.known[id]["name"]] = self.known[id]
            self._follow(nodes)

    def _follow(self, nodes):
        waiting, seen = [self.root], set()
        while waiting:
            id = waiting.pop()
            if id in seen:
                continue
            seen.add(id)
            needed = {dep["pkg"] for dep in nodes[id]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])}
            self.packages[id] = self.known[id]
            self.depends.setdefault(id, set()).update(needed)
            waiting += needed

    def others(self):
        """All but the module itself, by name and version."""
        packages = (one for id, one in self.packages.items() if id != self.root)
        return sorted(packages, key=lambda one: (one["name"], one["version"]))


def license_of(package):
    """An SPDX expression; old ones have a slash for OR."""
    return re.sub(r"\s*/\s*", " OR ", package["license"] or "none")
