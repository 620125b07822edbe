# Lints, and writes what the later steps upload and post. Exits with evallint's own code: 0 clean, 1 findings, 2 the run failed.
# Written for the bash 3.2 of macOS as well.
set -o pipefail

paths=()
while IFS= read -r path; do
  if [ -n "$path" ]; then paths+=("$path"); fi
done < <(printf '%s\n' "$EVALLINT_PATHS" | tr -d '\r')
read -r -d '' -a options <<< "$EVALLINT_ARGS"

changed=()
if [ -n "$EVALLINT_BASE" ]; then
  if [ "$EVALLINT_CHANGED_ONLY" = true ] || [ "$EVALLINT_REVIEW" = true ]; then
    changed=(--diff-base "$EVALLINT_BASE")
    # a shallow checkout does not hold the commit that the branch left from
    if ! git merge-base "$EVALLINT_BASE" HEAD > /dev/null 2>&1; then
      git fetch --quiet --no-tags origin "$EVALLINT_BASE" || true
      if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
        git fetch --quiet --no-tags --unshallow origin || true
      fi
    fi
  fi
fi
narrowed=()
if [ "$EVALLINT_CHANGED_ONLY" = true ]; then
  narrowed=("${changed[@]}")
fi

lint() {
  "$EVALLINT" "${options[@]}" "$@" -- "${paths[@]}"
}

format=full
if [ "$EVALLINT_ANNOTATIONS" = true ]; then
  format=github
fi
lint "${narrowed[@]}" --output-format "$format"
status=$?
if [ "$status" -gt 1 ]; then
  exit "$status"
fi

sarif="$EVALLINT_SARIF_FILE"
if [ -z "$sarif" ] && [ "$EVALLINT_UPLOAD_SARIF" = true ]; then
  sarif="$RUNNER_TEMP/evallint.sarif"
fi
if [ -n "$sarif" ]; then
  # all findings: code scanning itself tells the new ones
  lint --exit-zero --output-format sarif --output-file "$sarif" || exit
  printf 'sarif=%s\n' "$sarif" >> "$GITHUB_OUTPUT"
fi

if [ "$EVALLINT_REVIEW" = true ] && [ "${#changed[@]}" -gt 0 ]; then
  review="$RUNNER_TEMP/evallint-review.json"
  lint "${changed[@]}" --exit-zero --output-format github-review --output-file "$review" || exit
  printf 'review=%s\n' "$review" >> "$GITHUB_OUTPUT"
fi
exit "$status"
