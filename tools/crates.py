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


def cargo(command, target_option, target, *options):
    command = ["cargo", command, "--locked", f"{target_option}={target}", *options]
    command += [f"--features={feature}" for feature in POLICY["graph"]["features"]]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(target):
    """Of what is needed by more than tests, (name, version)."""
    lines = cargo("tree", "--target", target, "--edges=normal,build", "--prefix=none", "--format={p}").splitlines()
    return {tuple(line.replace(" v", " ").split()[:2]) for line in lines}


class Graph:
    """The crates for all platforms of the policy. What only tests need is among the direct ones alone."""

    def __init__(self):
        self.packages, self.depends, self.direct = {}, {}, {}
        for target in POLICY["graph"]["targets"]:
            metadata = json.loads(cargo("metadata", "--filter-platform", target, "--format-version=1"))
            self.root = metadata["resolve"]["root"]
            self.known = {one["id"]: one for one in metadata["packages"]}
            nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
            for id in nodes[self.root]["dependencies"]:
                self.direct[self.known[id]["name"]] = self.known[id]
            self._follow(nodes, linked(target))

    def _follow(self, nodes, there):
        """Tests ask for more features of crates, and so for more crates: those are not there."""
        for id, node in nodes.items():
            if self._is_in(there, id):
                self.packages[id] = self.known[id]
                needed = (dep for dep in node["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"]))
                self.depends.setdefault(id, set()).update(dep["pkg"] for dep in needed if self._is_in(there, dep["pkg"]))

    def _is_in(self, there, id):
        return (self.known[id]["name"], self.known[id]["version"]) in there

    def others(self):
        """All but the module itself, by name and version."""
        packages = (one for id, one in self.packages.items() if id != self.root)
        return sorted(packages, key=lambda one: (one["name"], one["version"]))


def license_of(package):
    """An SPDX expression; old ones have a slash for OR."""
    return re.sub(r"\s*/\s*", " OR ", package["license"] or "none")
