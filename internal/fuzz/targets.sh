#!/bin/sh
# targets.sh DIR...: a line for each fuzz target under the folders, its package's
# folder and its name.
grep -rl --include='*_test.go' '^func Fuzz' "$@" | sort | while read -r file; do
	sed -n "s|^func \(Fuzz[A-Za-z0-9]*\).*|$(dirname "$file") \1|p" "$file"
done
