#!/usr/bin/env bash
# run.sh: the tests with other people's clients. Installs the npm packages of package-lock.json into interop/node_modules, unless they are
# there, and runs the Go tests of this folder, which build our programs themselves. Arguments go to `go test`.
set -euo pipefail
cd "$(dirname "$0")"

for tool in node npm; do
	command -v "$tool" >/dev/null || { echo "interop: $tool is not installed: nothing was tested with other people's clients (apt-get install nodejs npm)" >&2; exit 1; }
done
# A copy of the lock file stands beside what was installed by it.
if ! cmp -s package-lock.json node_modules/.installed-by; then
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	cp package-lock.json node_modules/.installed-by
fi
exec go test -tags interop -count=1 -shuffle=on -timeout=5m "$@" .
