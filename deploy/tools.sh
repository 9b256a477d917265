#!/bin/sh
# Install what `make deploy-test` needs and the machine lacks, into one folder: kubectl, promtool
# and prometheus from Debian's packages, the rest from PyPI and npm, pinned.
# Usage: deploy/tools.sh FOLDER PYTHON
set -eu
folder=$1 python=$2
here=$(dirname "$0")/..
mkdir -p "$folder/bin" "$folder/node" "$folder/debian"
folder=$(cd "$folder" && pwd)
PATH="$folder/bin:$PATH"

debian() { # debian PACKAGE PROGRAM...: unpack a package, without installing it
	package=$1
	shift
	for program; do
		command -v "$program" >/dev/null || missing=$package
	done
	[ "${missing-}" = "$package" ] || return 0
	(cd "$folder/debian" && apt-get download -qq "$package" && dpkg -x "$package"_*.deb .) || {
		echo "$package is missing: install it, or run apt-get update first" >&2
		return 1
	}
	for program; do ln -sf "$folder/debian/usr/bin/$program" "$folder/bin/$program"; done
}

debian kubernetes-client kubectl
debian prometheus promtool prometheus
kubectl kustomize --help | grep -q load-restrictor || {
	echo "this kubectl is too old for the overlays: they need Kustomize 5, kubectl 1.27 or newer" >&2
	exit 1
}
"$python" -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --require-hashes \
	--target "$folder/python" -r "$here/locks/deploy.txt"
cp "$here/tests/deploy/package.json" "$here/tests/deploy/package-lock.json" "$folder/node"
npm ci --silent --ignore-scripts --prefix "$folder/node"
