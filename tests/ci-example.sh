#!/usr/bin/env bash
# Runs the example workflow of docs/ci/github.yml on pull requests of a scratch repository: a good
# change of policy, a bad one, one that loosens its own gates, one that changes nothing, and one with
# a wrong file; and docs/ci/nightly.yml on a night after a change. That of GitLab has to give the same
# command.
#
# The commands are taken out of the workflows, so that what is documented is what is tested. Nothing
# is fetched: the step that installs surgeline is left out, and the binary is the one given.
#
#   tests/ci-example.sh path/to/surgeline
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
workflows=$root/docs/ci
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "ci-example: $*" >&2
    exit 1
}

# step FILE NAME: the script of a step.
step() {
    awk -v name="$2" '
        /^ *- / { inside = ($0 ~ "^ *- name: " name "$"); script = 0 }
        inside && script && /^          / { print substr($0, 11) }
        inside && /^ *run: \|$/ { script = 1 }
    ' "$workflows/$1"
}
# A command on one line, with single spaces.
flat() { sed 's/\\$//' | tr -s ' \n' ' ' | sed 's/ $//'; }

# Values that the workflow sets for all its steps.
export SCENARIO POLICY GATES
for key in SCENARIO POLICY GATES; do
    value=$(awk -v key="$key:" '$1 == key { print $2; exit }' "$workflows/github.yml")
    [[ -n $value ]] || fail "the workflow sets no $key"
    printf -v "$key" %s "$value"
done
base_step=$(step github.yml Base)
check_step=$(step github.yml Check)
[[ $check_step == *"surgeline check"* && $base_step == *"git show"* ]] || fail "a step is missing"

gitlab=$(awk '/^    - >-$/ { inside = 1; next } inside && /^      / { print; next } { inside = 0 }' \
    "$workflows/gitlab.yml" | flat)
github=$(flat <<< "$check_step")
[[ ${gitlab# } == "${github/ --github/}" ]] || fail "GitLab runs \"$gitlab\", GitHub \"$github\""

mkdir "$scratch/bin" "$scratch/repository"
cp "$binary" "$scratch/bin/surgeline" 2>/dev/null || ln -s "$binary" "$scratch/bin/surgeline"
export PATH="$scratch/bin:$PATH"
cd "$scratch/repository"

# Nothing of the machine's user takes part, nor of a run on GitHub that this may be part of.
unset GITHUB_STEP_SUMMARY
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
git -c init.defaultBranch=main init --quiet

mkdir -p "$(dirname "$SCENARIO")" "$(dirname "$POLICY")" "$(dirname "$GATES")"
cat > "$SCENARIO" <<'TOML'
[scenario]
name = "replies"
horizon = "10m"
seed = 1

[traffic.web]
task = "reply"
arrivals = { kind = "poisson", rate = "4/s" }

[tasks.reply]
value = "$0.05"
steps = [
  { id = "answer", model_call = { intent = "answer", input = { kind = "lognormal", p50 = 700, p95 = 2000 }, output = { kind = "lognormal", p50 = 120, p95 = 300 } } },
]

[intents.answer]
confidence = 0.6
quality = { small = { success = 0.93 }, large = { success = 0.97 } }

[models]
small = { served_by = ["small"] }
large = { served_by = ["large"] }

[providers.small]
catalog = "openai/gpt-4o-mini"
[providers.large]
catalog = "openai/gpt-4o"
TOML
cat > "$GATES" <<'TOML'
[gates]
p95_latency = "<= +2% or +20ms"
success_rate = ">= -2%"
cost_per_successful_task = "<= +2%, <= $0.002"
TOML
policy() {
    cat > "$POLICY" <<TOML
[routing]
default_model = "$1"
[[routing.escalate_if]]
when = "confidence < $2"
model = "large"
TOML
}
policy small 0.5
git add .
long_ago=$(date -u -d "10 days ago" +%Y-%m-%dT%H:%M:%SZ)
GIT_COMMITTER_DATE=$long_ago git commit --quiet -m "In production"

# One pull request: a branch with the policy as it stands in the working tree. Leaves the exit code
# in `code`, what was printed in the file `log`, and the summary in the file `summary`.
pull_request() {
    local name=$1
    git checkout --quiet -b "$name" main
    "${@:2}"
    git commit --quiet --allow-empty -am "$name"
    rm -rf out
    code=0
    : > "$scratch/summary"
    (
        export BASE GITHUB_STEP_SUMMARY="$scratch/summary"
        BASE=$(git rev-parse main)
        # As GitHub runs a script: `bash -e`.
        bash -e -c "$base_step"
        bash -e -c "$check_step"
    ) > "$scratch/log" 2>&1 || code=$?
    git checkout --quiet main
    echo "ci-example: $name: exit code $code, $(head -c 200 <(grep -E '^(PASS|FAIL|INCONCLUSIVE)' "$scratch/log") | head -1)"
}

expect() {
    [[ $code == "$1" ]] || fail "exit code $code, not $1: $(cat "$scratch/log")"
}
# expect_in FILE TEXT
expect_in() {
    grep -qF -- "$2" "$1" || fail "$1 has no \"$2\": $(cat "$1")"
}
expect_not_in() {
    if grep -qF -- "$2" "$1"; then fail "$1 has \"$2\": $(cat "$1")"; fi
}

pull_request good policy small 0.3
expect 0
expect_in "$scratch/log" "PASS: all 4 gates hold; the cost per successful task falls by"
expect_not_in "$scratch/log" "::error"
expect_in "$scratch/summary" "PASS"
expect_in out/check.xml 'failures="0" errors="0"'
expect_in out/check.json '"verdict": "pass"'
cmp out/check.md "$scratch/summary" || fail "the summary is not the report"

pull_request bad policy large 0.5
expect 1
expect_in "$scratch/log" "::error title=fail%3A cost_per_successful_task,file=$POLICY::"
expect_not_in "$scratch/log" "::warning"
expect_in "$scratch/summary" "FAIL"
expect_in out/check.xml '<failure message="cost_per_successful_task is now'
expect_in out/check.json '"verdict": "fail"'

# A change that loosens its own gates is judged by those of the base branch.
loosened() {
    policy large 0.5
    sed -i 's/+2%/+1000%/; s/\$0.002/$9/' "$GATES"
}
pull_request loosened loosened
expect 1

comment() { echo "# No change at all." >> "$POLICY"; }
pull_request comment comment
expect 0
expect_in "$scratch/log" "PASS: the candidate changes nothing."
expect_not_in "$scratch/summary" "| ---"

broken() { sed -i s/default_model/defualt_model/ "$POLICY"; }
pull_request broken broken
expect 2
expect_in "$scratch/log" "did you mean \`default_model\`?"
[[ ! -e out/check.json && ! -s $scratch/summary ]] || fail "a report of nothing"

# The night after the good change was merged.
git merge --quiet good > "$scratch/log" 2>&1
rm -rf out
night=$(step nightly.yml Base; step nightly.yml Check)
[[ $night == *--seed* ]] || fail "the nightly check has no seed of its own"
bash -e -c "$night" > "$scratch/log" 2>&1 || fail "the night: $(cat "$scratch/log")"
expect_in "$scratch/log" "PASS: all 4 gates hold; the cost per successful task falls by"
grep -qE '"seed": 2[0-9]{7},' out/check.json || fail "the seed is not the date"

echo "ci-example: all is as documented"
