#!/usr/bin/env bash
# Runs the examples of docs/outputs.md, block by block, in a scratch folder: what is documented is what
# is tested. DuckDB, pandas and pyarrow are installed from PyPI into an environment that goes away.
#
#   tests/outputs-example.sh path/to/surgeline
#   tests/outputs-example.sh --list    # what would be run
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
page=$root/docs/outputs.md
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A file for each block, numbered, its language as the ending.
mkdir "$scratch/blocks"
awk -v into="$scratch/blocks" '
    /^```(sh|sql|python)$/ { file = sprintf("%s/%02d.%s", into, ++n, substr($0, 4)); next }
    /^```$/ { file = "" }
    file { print > file }
' "$page"

if [[ ${1:-} == --list ]]; then
    for block in "$scratch"/blocks/*; do
        echo "${block##*.} $(head -n 1 "$block")"
    done
    exit
fi

binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir "$scratch/bin" "$scratch/work"
ln -s "$binary" "$scratch/bin/surgeline"
python3 -m venv "$scratch/env"
"$scratch/env/bin/pip" install --quiet --disable-pip-version-check duckdb pandas pyarrow
export PATH="$scratch/bin:$scratch/env/bin:$PATH"
cd "$scratch/work"

for block in "$scratch"/blocks/*; do
    echo "== ${block##*/}: $(head -n 1 "$block")"
    case $block in
    *.sh)
        # A missed objective is no reason to stop.
        bash -eu "$block" > out.txt || [[ $? == 1 || $? == 3 ]]
        ;;
    *.sql) python -c 'import duckdb, sys; duckdb.sql(open(sys.argv[1]).read()).show()' "$block" ;;
    *.python) python "$block" ;;
    esac
done
echo "outputs-example: all is as documented"
