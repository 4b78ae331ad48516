#!/bin/sh
# bundle.sh OUT DIR...: makes the folder OUT, with all that fuzzing the targets
# under the folders takes on a machine of the same kind that has neither Go nor
# the repository: a program and its testdata for each package, and the scripts.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
: >"$out/targets"
"$here/targets.sh" "$@" | while read -r dir target; do
	name=$(echo "$dir" | sed 's|^[./]*||; s|/|-|g')
	if [ ! -d "$out/$name" ]; then
		mkdir "$out/$name"
		(cd "$dir" && ${GO:-go} test -c -fuzz=Fuzz -trimpath -ldflags='-s -w' -o "$out/$name/fuzz.test" . </dev/null)
		if [ -d "$dir/testdata" ]; then cp -r "$dir/testdata" "$out/$name"; fi
	fi
	echo "$name $target" >>"$out/targets"
done
cp "$here/fuzz.sh" "$here/fuzz-collect.sh" "$out"
