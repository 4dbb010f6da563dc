#!/usr/bin/env bash
# Runs a script of dashboard/package.json, after writing the types of the API, which all of them need.
set -euo pipefail
cd "$(dirname "$0")/../dashboard"
npm run --silent types
npm run --silent "$1"
