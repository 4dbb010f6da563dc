#!/usr/bin/env bash
# Completes the npm package in gen/ts: the grpc-js clients as ES module and as CommonJS, package.json, README and licence.
set -euo pipefail
cd "$(dirname "$0")/.."

build=.build/typescript
rm -rf "$build" && mkdir -p "$build"
ln -s "$PWD/.tools/node_modules" "$build/node_modules"
for format in esm cjs; do
    mkdir "$build/$format"
    cp -r "gen/ts/$format/google" clients/typescript/grpc-js.ts "$build/$format/"
done
echo '{"type": "module"}' >"$build/esm/package.json"
echo '{"type": "commonjs"}' >"$build/cjs/package.json"
for format in esm cjs; do
    (cd "$build" && node_modules/.bin/tsc --strict --declaration --target es2022 --module node16 --types node \
        --skipLibCheck --outDir "out/$format" --rootDir "$format" "$format/grpc-js.ts")
    cp "$build/out/$format"/grpc-js.{js,d.ts} "gen/ts/$format/"
done
# The package is of type module; this directory is not.
cp "$build/cjs/package.json" gen/ts/cjs/
version=$(sed -n 's/__version__ = "\(.*\)"/\1/p' src/cco_sidecar/__init__.py)
sed "s/\"version\": \".*\"/\"version\": \"$version\"/" clients/typescript/package.json >gen/ts/package.json
cp clients/typescript/README.md LICENSE gen/ts/
