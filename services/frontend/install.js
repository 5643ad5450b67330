"use strict";
// What `npm install` does for a dependency that lies in the repository, without a registry: copy
// the package into node_modules, and note it there. Runs at every start, as the folder is a volume
// that may come up empty.

const fs = require("node:fs");
const path = require("node:path");

/** Copy every `file:` dependency of the package in `root` into its node_modules. */
function install(root) {
  const manifest = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));
  const modules = path.join(root, "node_modules");
  const packages = {};
  for (const [name, source] of Object.entries(manifest.dependencies)) {
    const from = path.join(root, source.replace(/^file:/, ""));
    const installed = JSON.parse(fs.readFileSync(path.join(from, "package.json"), "utf8"));
    fs.cpSync(from, path.join(modules, name), { recursive: true });
    packages[`node_modules/${name}`] = { version: installed.version, resolved: source };
  }
  const lock = { name: manifest.name, version: manifest.version, lockfileVersion: 3, packages };
  fs.writeFileSync(path.join(modules, ".package-lock.json"), JSON.stringify(lock, null, 2) + "\n");
}

module.exports = { install };
